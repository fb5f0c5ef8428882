//! `risefall explain`: what would become of a request now, and why.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::ask::{self, AskError, Door, start_of};
use super::check::print;
use super::failed;
use crate::admin::explain::{Explanation, ForwardExplanation};

/// Show what would become of a request now: listener, rule, upstream, and each address with the
/// reason why it would be dialled or not. Names are looked up, nothing is dialled.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Explain {
    /// A URL, or HOST:PORT as CONNECT and SOCKS say it
    #[arg(value_name = "TARGET")]
    target: String,

    /// Only this forward proxy
    #[arg(long, value_name = "NAME")]
    forward: Option<String>,

    /// Whether this client may
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,

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
        path
    }
}

fn show(explanation: &Explanation) -> String {
    let mut out = format!("{}\n", explanation.target);
    for forward in &explanation.forwards {
        // Writing to a string does not fail.
        let _ = show_forward(&mut out, forward);
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
    for one in &forward.endpoints {
        let verdict = if one.is_eligible { "yes" } else { "no" };
        let mut what = one.address.to_string();
        if let Some(server) = one.server.as_ref().filter(|server| **server != what) {
            what = format!("{what} ({server})");
        }
        let backup = if one.is_backup { "backup; " } else { "" };
        writeln!(out, "  {verdict:7}  {what}  {backup}{}", one.reason)?;
    }
    Ok(())
}

const EXAMPLES: &str = "\
Examples:
  risefall explain http://example.com/
  risefall explain 192.0.2.7:443 --forward office --client 192.168.1.20";
