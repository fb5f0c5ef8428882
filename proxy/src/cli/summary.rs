//! What a person sees when the proxy has started.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use risefall::{Policy, Recovery};

use super::VERSION;
use super::settle::Settings;
use super::{files, reverse};
use crate::plan::files::{Cors, Files, Links};
use crate::plan::site::{Action, HostPattern, SiteTls};
use crate::plan::{Access, Engine, Forward, Front, Plan, Site};
use crate::runtime::Running;
use crate::units;

/// Says what listens where, who may use it for what, what should be known, and how to try it.
pub(super) fn of(settings: &Settings, running: &Running, warnings: &[String]) -> String {
    let mut out = format!("risefall {VERSION}\n");
    // Writing to a string does not fail.
    let _ = write_to(&mut out, settings, running, warnings);
    out
}

fn write_to(
    out: &mut String,
    settings: &Settings,
    running: &Running,
    warnings: &[String],
) -> std::fmt::Result {
    let plan = &settings.plan;
    let force = running.in_force();
    let is_alone = plan.forwards().count() == 1;
    for forward in plan.forwards() {
        let name = match is_alone && forward.name() == "proxy" {
            true => String::new(),
            false => format!("  ({})", forward.name()),
        };
        let listeners = force.listeners.iter();
        for listener in listeners.filter(|one| one.owner() == forward.name()) {
            let (address, protocols) = (listener.address, forward.protocols());
            writeln!(out, "  proxy    {address}  {protocols}{name}")?;
        }
        write_rules(out, forward)?;
    }
    write_fronts(out, plan, running)?;
    for warning in warnings {
        writeln!(out, "  warning  {warning}")?;
    }
    if plan.forwards().count() + plan.upstreams().count() > 0 {
        write_policy(out, &settings.policy)?;
    }
    write_rest(out, plan, running)
}

/// When an address is down, and for how long.
fn write_policy(out: &mut String, policy: &Policy) -> std::fmt::Result {
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
    Ok(())
}

/// What is said of the process.
fn write_rest(out: &mut String, plan: &Plan, running: &Running) -> std::fmt::Result {
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
    write_try(out, plan, running)
}

/// Every address of the sites with the hosts that are answered there, then what each site does.
fn write_fronts(out: &mut String, plan: &Plan, running: &Running) -> std::fmt::Result {
    let fronts = plan
        .listens()
        .iter()
        .filter_map(|listen| match &listen.engine {
            Engine::Front(front) => Some(front),
            Engine::Forward(_) => None,
        });
    for front in fronts {
        let (address, scheme) = (address_of(front, running), scheme(front));
        for site in front.sites() {
            let hosts = match site.hosts() {
                [] => "every host".to_owned(),
                hosts => list(hosts),
            };
            writeln!(
                out,
                "  site     {scheme}://{address}  {hosts}{}",
                named(site)
            )?;
            if !front.is_tls() && !address.ip().is_loopback() && asks_in_the_clear(site) {
                writeln!(
                    out,
                    "  warning  passwords go to {address} in the clear: whoever is on the way can \
                     read them; speak TLS there"
                )?;
            }
        }
    }
    for site in plan.sites() {
        for route in site.routes() {
            let (matches, action) = (route.matches(), route.action());
            writeln!(out, "  route    {matches}  {}{}", told(action), named(site))?;
            if let Action::Files(files) = action {
                writeln!(out, "           {}", exposed(files))?;
            }
            if !route.users().is_empty() {
                let count = route.users().len();
                let users = if count == 1 { "user" } else { "users" };
                writeln!(
                    out,
                    "           for {count} {users} alone, by name and password"
                )?;
            }
        }
        for identity in site.tls().into_iter().flat_map(SiteTls::identities) {
            writeln!(
                out,
                "  tls      {}{}",
                identity.cert().display(),
                named(site)
            )?;
        }
    }
    Ok(())
}

/// What else of a folder is shown, and to whom.
fn exposed(files: &Files) -> String {
    let listing = match files.listing {
        true => "folders without an index are listed",
        false => "no folder is listed",
    };
    let hidden = match files.hidden {
        true => "names that begin with a dot are shown",
        false => "names that begin with a dot are hidden",
    };
    let links = match files.links {
        Links::Inside => "links lead nowhere else",
        Links::All => "links lead anywhere on this machine",
        Links::Off => "links are not followed",
    };
    let cors = match files.cors {
        Cors::Off => "",
        Cors::Any => "; pages of every origin may read it",
        Cors::Origins(_) => "; pages of other origins may read it",
    };
    format!("{listing}; {hidden}; {links}{cors}")
}

/// Whether clients that speak no TLS are asked for passwords.
fn asks_in_the_clear(site: &Site) -> bool {
    let is_redirected = site.tls().is_some_and(SiteTls::redirects);
    !is_redirected && site.routes().any(|route| !route.users().is_empty())
}

/// The name of a site, if the operator gave it one.
fn named(site: &Site) -> String {
    match site.name() {
        reverse::SITE | files::SITE => String::new(),
        name => format!("  ({name})"),
    }
}

/// What becomes of a request, in a few words.
fn told(action: &Action) -> String {
    match action {
        Action::Upstream(upstream) => {
            let servers = upstream.servers().iter();
            let servers: Vec<_> = servers.map(|server| &server.target).collect();
            format!("to {}: {}", upstream.name(), list(&servers))
        }
        Action::Redirect { to, status } => format!("redirect {} to {to}", status.as_str()),
        Action::Files(files) => format!("files of {}", files.root.display()),
        Action::Respond { status, .. } => format!("answered with {}", status.as_str()),
    }
}

fn list(each: &[impl ToString]) -> String {
    let each: Vec<_> = each.iter().map(ToString::to_string).collect();
    each.join(", ")
}

fn scheme(front: &Front) -> &'static str {
    if front.is_tls() { "https" } else { "http" }
}

/// Where a front listens, with the port that the system chose.
fn address_of(front: &Front, running: &Running) -> SocketAddr {
    let force = running.in_force();
    let mut listeners = force.listeners.iter();
    let bound = listeners
        .find(|one| one.said == front.address() && one.owner() == format!("site.{}", front.name()))
        .map(|one| one.address);
    bound.unwrap_or(front.address())
}

/// A command that asks a front: for a host that it is for.
fn curl(front: &Front, at: SocketAddr) -> String {
    let scheme = scheme(front);
    let mut hosts = front.sites.iter().map(|site| site.hosts().first());
    match hosts.next() {
        Some(Some(host)) if hosts.all(|host| host.is_some()) => {
            let host = match host {
                HostPattern::Exact(host) => host.clone(),
                HostPattern::Wildcard(domain) => format!("www.{domain}"),
            };
            format!("curl --connect-to ::{at} {scheme}://{host}/")
        }
        _ => format!("curl {scheme}://{at}/"),
    }
}

/// A command that shows the first listener at work.
fn write_try(out: &mut String, plan: &Plan, running: &Running) -> std::fmt::Result {
    let Some(first) = plan.listens().first() else {
        return Ok(());
    };
    let forward = match &first.engine {
        Engine::Front(front) => {
            let at = reachable(address_of(front, running));
            return writeln!(out, "  try it   {}", curl(front, at));
        }
        Engine::Forward(forward) => forward,
    };
    let Some(&address) = running.forward_addresses().first() else {
        return Ok(());
    };
    let scheme = if forward.protocols().http {
        "http"
    } else {
        "socks5h"
    };
    let at = reachable(address);
    writeln!(
        out,
        "  try it   curl -x {scheme}://{at} http://example.com/"
    )
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
