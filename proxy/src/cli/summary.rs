//! What a person sees when the proxy has started.

use std::fmt::Write as _;

use risefall::{Policy, Recovery};

use super::VERSION;
use crate::plan::{Access, Plan};
use crate::runtime::Running;
use crate::units;

/// Says what listens where, who may use it for what, and how to try it.
pub(super) fn of(plan: &Plan, policy: &Policy, running: &Running) -> String {
    let mut out = format!("risefall {VERSION}\n");
    // Writing to a string does not fail.
    let _ = write_to(&mut out, plan, policy, running);
    out
}

fn write_to(out: &mut String, plan: &Plan, policy: &Policy, running: &Running) -> std::fmt::Result {
    for address in running.forward_addresses() {
        writeln!(out, "  proxy    {address}  HTTP, CONNECT and SOCKS5")?;
    }
    match plan.access() {
        Access::Anyone => writeln!(out, "  clients  this machine")?,
        Access::Ranges(ranges) => {
            let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
            writeln!(out, "  clients  {}", ranges.join(", "))?;
        }
    }
    writeln!(
        out,
        "  targets  {}, never this proxy itself",
        match plan.allows_private() {
            true => "public and private addresses",
            false => "public addresses",
        }
    )?;
    writeln!(
        out,
        "  health   down after {} failures in a row, for {}; up after {} successes; a dial may \
         take {}",
        policy.max_fails(),
        units::show(policy.fail_timeout()),
        policy.min_rises(),
        units::show(policy.connect_timeout()),
    )?;
    if let Recovery::Probe { .. } = policy.recovery() {
        writeln!(
            out,
            "           then one probe at a time, each that fails doubling the time, up to {}",
            units::show(policy.max_fail_timeout()),
        )?;
    }
    match (running.admin_address(), running.admin_error()) {
        (Some(address), _) => writeln!(out, "  admin    {address}  see: risefall status")?,
        (None, Some(error)) => writeln!(out, "  admin    none: {error}")?,
        (None, None) => writeln!(out, "  admin    off")?,
    }
    let threads = plan.threads();
    writeln!(
        out,
        "  threads  {threads}; up to {} connections",
        plan.limits().connections
    )?;
    if let Some(address) = running.forward_addresses().first() {
        writeln!(
            out,
            "  try it   curl -x http://{address} http://example.com/"
        )?;
    }
    Ok(())
}
