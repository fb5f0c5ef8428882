//! `risefall explain`: what would become of a request now, and why.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::ask::{self, AskError, Door, start_of};
use super::check::print;
use super::failed;
use crate::admin::explain::{
    EndpointExplanation, Explanation, ForwardExplanation, SiteExplanation,
};

/// Show what would become of a request now: listener, rule, upstream, and each address with the
/// reason why it would be dialled or not. Names are looked up, and files; nothing is dialled.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Explain {
    /// A URL, or HOST:PORT as CONNECT and SOCKS say it
    #[arg(value_name = "TARGET")]
    target: String,

    /// Only this forward proxy
    #[arg(long, value_name = "NAME")]
    forward: Option<String>,

    /// As if this client asked. Default for sites: this machine
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,

    /// What a site is asked with
    #[arg(long, value_name = "NAME", default_value = "GET")]
    method: String,

    /// A field of what a site is asked with, such as 'Accept: text/html'; may be given several times
    #[arg(long, value_name = "FIELD")]
    header: Vec<String>,

    #[command(flatten)]
    door: Door,

    /// Print what the proxy answers, for programs
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(self) -> ExitCode {
        let body = match ask::get(&self.door, &self.path()) {
            Ok(body) => body,
            Err(error) => return failed(error),
        };
        if self.json {
            return print(&format!("{body}\n"));
        }
        match serde_json::from_str::<Explanation>(&body) {
            Ok(explanation) => print(&show(&explanation)),
            Err(_) => failed(AskError::NotOurs {
                admin: self.door.name(),
                found: start_of(&body),
            }),
        }
    }

    fn path(&self) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut path = format!("/explain?target={}", encoded(&self.target));
        if let Some(forward) = &self.forward {
            path = format!("{path}&forward={}", encoded(forward));
        }
        if let Some(client) = &self.client {
            path = format!("{path}&client={client}");
        }
        path = format!("{path}&method={}", encoded(&self.method));
        for header in &self.header {
            path = format!("{path}&header={}", encoded(header));
        }
        path
    }
}

fn show(explanation: &Explanation) -> String {
    let mut out = format!("{}\n", explanation.target);
    for forward in &explanation.forwards {
        // Writing to a string does not fail.
        let _ = show_forward(&mut out, forward);
    }
    for site in &explanation.sites {
        let _ = show_site(&mut out, site);
    }
    out
}

fn show_forward(out: &mut String, forward: &ForwardExplanation) -> std::fmt::Result {
    let listeners: Vec<_> = forward.listeners.iter().map(ToString::to_string).collect();
    let (name, protocols) = (&forward.name, &forward.protocols);
    writeln!(
        out,
        "\nforward {name} on {}: {protocols}",
        listeners.join(", ")
    )?;
    writeln!(out, "  clients  {}", forward.clients)?;
    match &forward.parent {
        Some(parent) => writeln!(out, "  way      through upstream {parent}")?,
        None => writeln!(out, "  way      dialled from here")?,
    }
    if let Some(why) = &forward.refused {
        writeln!(out, "  refused  {why}")?;
    }
    show_endpoints(out, &forward.endpoints)
}

fn show_site(out: &mut String, told: &SiteExplanation) -> std::fmt::Result {
    let name = match &told.site {
        Some(site) => format!("site {site}"),
        None => "no site".to_owned(),
    };
    let at = told.listener.map_or_else(String::new, |at| at.to_string());
    let scheme = if told.tls { "HTTPS" } else { "HTTP" };
    writeln!(out, "\n{name} on {at}: {scheme}")?;
    for (what, said) in [
        ("shows", &told.certificate),
        ("refused", &told.refused),
        ("route", &told.route),
        ("action", &told.action),
        ("choice", &told.choice),
    ] {
        if let Some(said) = said {
            writeln!(out, "  {what:7}  {said}")?;
        }
    }
    show_endpoints(out, &told.endpoints)?;
    for other in &told.passed {
        writeln!(out, "  passed   {other}")?;
    }
    Ok(())
}

fn show_endpoints(out: &mut String, all: &[EndpointExplanation]) -> std::fmt::Result {
    for one in all {
        let verdict = if one.is_eligible { "yes" } else { "no" };
        let mut what = one.address.to_string();
        if let Some(server) = one.server.as_ref().filter(|server| **server != what) {
            what = format!("{what} ({server})");
        }
        let backup = if one.is_backup { "backup; " } else { "" };
        writeln!(out, "  {verdict:7}  {what}  {backup}{}", one.reason)?;
        if let Some(checks) = &one.check_report {
            writeln!(out, "  {:7}  checked: {checks}", "")?;
        }
    }
    Ok(())
}

const EXAMPLES: &str = "\
Examples:
  risefall explain http://example.com/
  risefall explain https://shop.example.com/cart --method POST --header 'X-Canary: 1'
  risefall explain 192.0.2.7:443 --forward office --client 192.168.1.20";
