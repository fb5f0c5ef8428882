//! What a person sees when the proxy has started.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use risefall::{Policy, Recovery};

use super::VERSION;
use crate::plan::{Access, Forward, Plan};
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
    let force = running.in_force();
    let is_alone = plan.forwards().count() == 1;
    for forward in plan.forwards() {
        let name = match is_alone && forward.name() == "proxy" {
            true => String::new(),
            false => format!("  ({})", forward.name()),
        };
        let listeners = force.listeners.iter();
        for listener in listeners.filter(|one| one.forward == forward.name()) {
            let (address, protocols) = (listener.address, forward.protocols());
            writeln!(out, "  proxy    {address}  {protocols}{name}")?;
        }
        write_rules(out, forward)?;
    }
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
    match (running.admin_address(), running.admin_path()) {
        (Some(address), _) => writeln!(
            out,
            "  admin    {address}  see: risefall status, or http://{address}/"
        )?,
        (None, Some(path)) => {
            let at = format!("unix:{}", path.display());
            writeln!(out, "  admin    {at}  see: risefall status --admin {at}")?;
        }
        (None, None) => match running.admin_error() {
            Some(error) => writeln!(out, "  admin    none: {error}")?,
            None => writeln!(out, "  admin    off")?,
        },
    }
    let threads = plan.threads();
    writeln!(
        out,
        "  threads  {threads}; up to {} connections",
        plan.limits().connections
    )?;
    if let Some((address, forward)) =
        (running.forward_addresses().first().copied()).zip(plan.forwards().next())
    {
        let scheme = if forward.protocols().http {
            "http"
        } else {
            "socks5h"
        };
        writeln!(
            out,
            "  try it   curl -x {scheme}://{} http://example.com/",
            reachable(address)
        )?;
    }
    Ok(())
}

fn write_rules(out: &mut String, forward: &Forward) -> std::fmt::Result {
    match forward.access() {
        Access::Anyone => writeln!(out, "  clients  this machine")?,
        Access::Ranges(ranges) => {
            let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
            writeln!(out, "  clients  {}", ranges.join(", "))?;
        }
    }
    let targets = match forward.allows_private() {
        true => "public and private addresses",
        false => "public addresses",
    };
    match forward.parent() {
        None => writeln!(out, "  targets  {targets}, never this proxy itself"),
        Some(parent) => {
            let servers = parent.servers().iter();
            let servers: Vec<_> = servers.map(|server| server.target.to_string()).collect();
            let (name, servers) = (parent.name(), servers.join(", "));
            writeln!(out, "  targets  all through upstream {name}: {servers}")
        }
    }
}

/// A wildcard is no address to connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}
