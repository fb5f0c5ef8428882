//! `risefall status`: asks the running proxy what it holds against which address, and why.

mod services;

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;

use super::ask::{self, AskError, Door, start_of};
use super::check::print;
use super::{address, failed};
use crate::admin::status::{AddressReport, AddressStatus, ProxyStatus, ReloadStatus};
use crate::units;

/// Show which addresses the running proxy holds for failing or down, or why one of them is.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Status {
    /// Show how this address came to be what it is. Example: 192.0.2.7:443
    #[arg(value_name = "ADDR", value_parser = address)]
    address: Option<SocketAddr>,

    #[command(flatten)]
    door: Door,

    /// Print what the proxy answers, for programs: times in milliseconds
    #[arg(long)]
    json: bool,

    /// Show it again and again, every so often, until interrupted
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "1s", value_parser = units::duration)]
    watch: Option<Duration>,
}

impl Status {
    pub(super) fn run(self) -> ExitCode {
        match self.watch {
            None => match self.look() {
                Ok(shown) => print(&shown),
                Err(error) => failed(error),
            },
            Some(pause) => self.watch(pause.max(WATCH_LEAST)),
        }
    }

    fn look(&self) -> Result<String, AskError> {
        match self.address {
            None => self.shown("/status", show),
            Some(address) => self.shown(&format!("/status?address={address}"), show_address),
        }
    }

    /// A proxy that does not answer may be about to; who watches wants to see that.
    fn watch(&self, pause: Duration) -> ExitCode {
        let is_terminal = io::stdout().is_terminal();
        loop {
            let shown = self.look().unwrap_or_else(|error| format!("{error}\n"));
            let clear = if is_terminal { CLEAR } else { "" };
            let mut out = io::stdout();
            let written = out.write_all(format!("{clear}{shown}").as_bytes());
            if written.and_then(|()| out.flush()).is_err() {
                // Whoever watched has gone.
                return ExitCode::SUCCESS;
            }
            #[expect(clippy::disallowed_methods, reason = "nothing else is to be done")]
            std::thread::sleep(pause);
        }
    }

    fn shown<T: DeserializeOwned>(
        &self,
        path: &str,
        show: impl FnOnce(&T) -> String,
    ) -> Result<String, AskError> {
        let body = ask::get(&self.door, path)?;
        let answer = serde_json::from_str(&body).map_err(|_| AskError::NotOurs {
            admin: self.door.name(),
            found: start_of(&body),
        })?;
        Ok(if self.json {
            format!("{body}\n")
        } else {
            show(&answer)
        })
    }
}

fn show(status: &ProxyStatus) -> String {
    let mut out = format!(
        "risefall {}, up {}{}, process {}, generation {}\n",
        status.version,
        about(status.uptime_ms),
        if status.ready { "" } else { ", draining" },
        status.pid,
        status.generation,
    );
    let traffic = &status.traffic;
    out.push_str(&format!(
        "{} connections, {} in flight, {} served, {} of them failed\n",
        traffic.connections, traffic.in_flight, traffic.requests, traffic.failed
    ));
    if let Some(reload) = &status.last_reload {
        out.push_str(&reloaded(reload));
    }
    out.push('\n');
    out.push_str(&services::show(status));
    out.push('\n');
    if status.health.is_empty() {
        out.push_str("no failing addresses\n");
    } else {
        out.push_str(&table(&status.health));
    }
    if status.overflow > 0 {
        let overflow = status.overflow;
        out.push_str(&format!(
            "{overflow} failing addresses found no room and are not tracked\n"
        ));
    }
    out
}

/// What the last reload came to; of several mistakes how many there are, and the first of them.
fn reloaded(reload: &ReloadStatus) -> String {
    let how = if reload.ok { "done" } else { "refused" };
    let ago = about(reload.age_ms);
    let lines = reload.summary.lines();
    let mistakes: Vec<_> = lines
        .filter_map(|line| line.strip_prefix(MISTAKE))
        .collect();
    if reload.ok || mistakes.len() < 2 {
        let summary = reload.summary.lines().next().unwrap_or_default();
        let summary = summary.strip_prefix(MISTAKE).unwrap_or(summary);
        return format!("reload {how} {ago} ago: {summary}\n");
    }
    let count = mistakes.len();
    let mut out = format!("reload {how} {ago} ago: {count} mistakes\n");
    for mistake in mistakes.iter().take(MISTAKES_SHOWN) {
        out.push_str(&format!("  {mistake}\n"));
    }
    let more = count.saturating_sub(MISTAKES_SHOWN);
    if more > 0 {
        out.push_str(&format!(
            "  and {more} more: `risefall check -c FILE` shows all\n"
        ));
    }
    out
}

fn show_address(report: &AddressReport) -> String {
    let one = &report.status;
    let mut out = table(std::slice::from_ref(one));
    if let Some(usual) = one.usual_connect_ms {
        out.push_str(&format!(
            "a connect usually takes up to {}\n",
            about(usual.max(1))
        ));
    }
    if !report.upstreams.is_empty() {
        out.push('\n');
        out.push_str(&services::show_server(&report.upstreams));
        out.push('\n');
    }
    if report.journal.is_empty() {
        out.push_str("no changes are remembered\n");
        return out;
    }
    if report.upstreams.is_empty() {
        out.push('\n');
    }
    let mut rows = vec![["WHEN", "FROM", "TO", "WHY"].map(String::from)];
    rows.extend(report.journal.iter().map(|change| {
        let why = match (&change.cause, change.evidence) {
            (Some(cause), 0..=1) => cause.clone(),
            (Some(cause), failures) => format!("{cause}, {failures} in a row"),
            (None, 0) => "-".to_owned(),
            (None, 1) => "1 success".to_owned(),
            (None, successes) => format!("{successes} successes in a row"),
        };
        let when = format!("{} ago", about(change.age_ms));
        [when, words(&change.from), words(&change.to), why]
    }));
    out.push_str(&aligned(&rows));
    out
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn table(health: &[AddressStatus]) -> String {
    let heads = [
        "ADDRESS",
        "STATE",
        "STREAK",
        "TRIPS",
        "LAST FAILURE",
        "NEXT TRY",
    ];
    let mut rows = vec![heads.map(String::from)];
    rows.extend(health.iter().map(row));
    aligned(&rows)
}

fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let mut out = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn row(one: &AddressStatus) -> [String; 6] {
    let streak = match (one.failures, one.successes) {
        (0, 0) => "-".to_owned(),
        (failures, 0) => format!("{failures} failed"),
        (_, successes) => format!("{successes} succeeded"),
    };
    let last = match (&one.last_cause, one.last_failure_age_ms) {
        (Some(cause), Some(age)) => format!("{cause}, {} ago", about(age)),
        (Some(cause), None) => cause.clone(),
        (None, _) => "-".to_owned(),
    };
    let next = match (one.state.as_str(), one.retry_in_ms) {
        ("probing", Some(ms)) => format!("after its probe, in {} at most", about(ms)),
        (_, Some(ms)) => format!("in {}", about(ms)),
        ("probe_due", None) => "now, by one client".to_owned(),
        ("forced_down" | "drained", None) => "when released".to_owned(),
        (_, None) => "any time".to_owned(),
    };
    let trips = match one.trips {
        0 => "-".to_owned(),
        trips => trips.to_string(),
    };
    [
        one.address.to_string(),
        words(&one.state),
        streak,
        trips,
        last,
        next,
    ]
}

fn about(ms: u64) -> String {
    units::show_about(Duration::from_millis(ms))
}

/// How a mistake of the configuration begins.
const MISTAKE: &str = "error: ";
const MISTAKES_SHOWN: usize = 3;
const WATCH_LEAST: Duration = Duration::from_millis(100);
/// Home, and all behind it gone (ECMA-48 §8.3.21, §8.3.39).
const CLEAR: &str = "\x1b[H\x1b[2J";
const EXAMPLES: &str = "\
Examples:
  risefall status
  risefall status --watch
  risefall status --watch=250ms
  risefall status 192.0.2.7:443
  risefall status --json | jq '.health[] | select(.is_down)'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_say_when_an_address_is_tried_again() {
        let one = AddressStatus {
            address: "192.0.2.7:443".parse().unwrap(),
            state: "down".to_owned(),
            failures: 3,
            successes: 0,
            last_cause: Some("refused".to_owned()),
            last_failure_age_ms: Some(12_300),
            retry_in_ms: Some(47_700),
            is_down: true,
            trips: 2,
            usual_connect_ms: None,
        };
        assert_eq!(
            table(&[one]),
            "ADDRESS        STATE  STREAK    TRIPS  LAST FAILURE        NEXT TRY\n\
             192.0.2.7:443  down   3 failed  2      refused, 12.3s ago  in 47.7s\n"
        );
    }

    #[test]
    fn of_a_refused_reload_all_mistakes_are_counted_and_the_first_are_shown() {
        let told = |ok, mistakes: usize| {
            let shown = (1..=mistakes).map(|nth| {
                format!("error: a.toml:{nth}:1: log.x: unknown\n --> a.toml:{nth}:1\n  |\n\n")
            });
            let summary = format!("{}{mistakes} mistakes", shown.collect::<String>());
            reloaded(&ReloadStatus {
                age_ms: 2_000,
                ok,
                summary,
            })
        };
        let one = "reload refused 2.0s ago: a.toml:1:1: log.x: unknown\n";
        assert_eq!(told(false, 1), one);
        let two = "reload refused 2.0s ago: 2 mistakes\n  a.toml:1:1: log.x: unknown\n  \
                   a.toml:2:1: log.x: unknown\n";
        assert_eq!(told(false, 2), two);
        assert!(told(false, 3).ends_with("  a.toml:3:1: log.x: unknown\n"));
        let five = told(false, 5);
        assert!(
            five.starts_with("reload refused 2.0s ago: 5 mistakes\n"),
            "{five}"
        );
        assert!(five.ends_with("  and 2 more: `risefall check -c FILE` shows all\n"));
        let plain = ReloadStatus {
            age_ms: 2_000,
            ok: true,
            summary: "nothing changes\nmore".to_owned(),
        };
        assert_eq!(reloaded(&plain), "reload done 2.0s ago: nothing changes\n");
    }
}
