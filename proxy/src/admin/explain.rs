//! `/explain`: what would become of a request now, step by step: listener, rule, upstream, and each
//! address with the reason why it is dialled or not.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use risefall::State;
use risefall::judge::Judge;
use serde::{Deserialize, Serialize};

use super::Report;
use super::report::AddressStatus;
use crate::net::guard::{Guard, Verdict};
use crate::net::resolve::Resolver;
use crate::plan::{Forward, Upstream};
use crate::proto::Target;
use crate::runtime::force::InForce;
use crate::units;

/// What is asked.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Question {
    target: Target,
    /// As it was written.
    written: String,
    forward: Option<String>,
    client: Option<IpAddr>,
}

/// What would become of a request for the target.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Explanation {
    /// The host and the port.
    pub target: String,
    /// What each forward proxy would do.
    pub forwards: Vec<ForwardExplanation>,
}

/// What one forward proxy would do.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ForwardExplanation {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub listeners: Vec<SocketAddr>,
    /// What it speaks.
    pub protocols: String,
    /// Who may use it; whether the client that was asked for may.
    pub clients: String,
    /// Whether that client is turned away.
    pub is_client_refused: bool,
    /// The upstream through which targets are reached, if they are not dialled from here.
    pub parent: Option<String>,
    /// Why nothing is dialled at all, if so.
    pub refused: Option<String>,
    /// What would be dialled, the best first as far as that is known beforehand.
    pub endpoints: Vec<EndpointExplanation>,
}

/// One address.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct EndpointExplanation {
    /// Which.
    pub address: SocketAddr,
    /// The server whose address it is, as the configuration says it; absent without an upstream.
    pub server: Option<String>,
    /// Whether it is tried only when no other can be had.
    pub is_backup: bool,
    /// Whether it is dialled.
    pub is_eligible: bool,
    /// Why it is, or why not.
    pub reason: String,
    /// What is held against it.
    pub status: AddressStatus,
}

impl Question {
    /// Reads a query: `target=...`, and `forward=NAME` and `client=IP` if wanted.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, String> {
        let (mut written, mut forward, mut client) = (None, None, None);
        for pair in query.unwrap_or_default().split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            match key {
                "target" => written = Some(value),
                "forward" => forward = Some(value),
                "client" => {
                    let ip = value.parse().map_err(|_| {
                        format!("found the client {value:?}, expected an IP address\n")
                    })?;
                    client = Some(ip);
                }
                _ => {
                    return Err(format!(
                        "found {key:?}, expected target=, forward= or client=\n"
                    ));
                }
            }
        }
        let written = written.ok_or("expected target=URL or target=HOST:PORT\n")?;
        let target = target_of(&written).map_err(|error| format!("{error}\n"))?;
        Ok(Self {
            target,
            written,
            forward,
            client,
        })
    }
}

/// The host and the port of a URL, or of what CONNECT and SOCKS say.
fn target_of(written: &str) -> Result<Target, String> {
    let (authority, port) = match written.split_once("://") {
        None => (written, None),
        Some((scheme, rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let authority = rest.get(..end).unwrap_or_default();
            let port = match scheme.to_ascii_lowercase().as_str() {
                "http" | "ws" => Some(80),
                "https" | "wss" => Some(443),
                _ => None,
            };
            (authority, port)
        }
    };
    let target = match port {
        Some(port) => Target::parse_or_port(authority, port),
        None => Target::parse(authority),
    };
    target.map_err(|error| {
        format!("found {written:?} ({error}), expected a URL or HOST:PORT, such as example.com:443")
    })
}

/// Answers the question; names are looked up, nothing is dialled.
pub(super) async fn answer(report: &Report, question: &Question) -> Result<Explanation, String> {
    let force = report.force.load_full();
    let timeouts = &force.plan.timeouts;
    let resolver = Resolver::new(Arc::clone(&report.names), 1, timeouts.resolve);
    let mut forwards = Vec::new();
    for forward in force.plan.forwards() {
        let is_meant = |name: &String| *name == forward.name;
        if question.forward.as_ref().is_none_or(is_meant) {
            forwards.push(explain(&force, forward, question, &resolver).await);
        }
    }
    if forwards.is_empty() {
        let names: Vec<_> = force.plan.forwards().map(Forward::name).collect();
        return Err(format!(
            "there is no such forward proxy; expected one of {}\n",
            names.join(", ")
        ));
    }
    Ok(Explanation {
        target: question.target.to_string(),
        forwards,
    })
}

async fn explain(
    force: &InForce,
    forward: &Forward,
    question: &Question,
    resolver: &Resolver,
) -> ForwardExplanation {
    let guard = Guard::new(force.own.clone(), forward.allow_private);
    let (clients, is_client_refused) = clients(forward, question.client);
    let mut refused = spoken(forward, &question.written);
    let mut endpoints = Vec::new();
    if refused.is_none() {
        let found = match &forward.parent {
            None => direct(force, &guard, &question.target, resolver).await,
            Some(upstream) => through(force, &guard, &question.target, upstream, resolver).await,
        };
        match found {
            Ok(found) => endpoints = found,
            Err(why) => refused = Some(why),
        }
    }
    let listeners = force.listeners.iter();
    ForwardExplanation {
        name: forward.name.clone(),
        listeners: (listeners.filter(|one| one.forward == forward.name))
            .map(|one| one.address)
            .collect(),
        protocols: forward.protocols.to_string(),
        clients,
        is_client_refused,
        parent: forward.parent.as_ref().map(|parent| parent.name.clone()),
        refused,
        endpoints,
    }
}

fn clients(forward: &Forward, client: Option<IpAddr>) -> (String, bool) {
    use crate::plan::Access;
    let who = match &forward.access {
        Access::Anyone => "whoever reaches it, which is this machine".to_owned(),
        Access::Ranges(ranges) => {
            let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
            format!("those in {}", ranges.join(", "))
        }
    };
    match client {
        None => (who, false),
        Some(client) if forward.access.admits(client) => (format!("{who}: {client} may"), false),
        Some(client) => (format!("{who}: {client} may not (403, SOCKS 02)"), true),
    }
}

/// Why the listener does not speak what a URL asks for, if it does not.
fn spoken(forward: &Forward, written: &str) -> Option<String> {
    let scheme = written.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some("http") if !forward.protocols.http => {
            Some("http:// is asked for in HTTP, which is not spoken here".to_owned())
        }
        _ => None,
    }
}

async fn direct(
    force: &InForce,
    guard: &Guard,
    target: &Target,
    resolver: &Resolver,
) -> Result<Vec<EndpointExplanation>, String> {
    let found = resolver.resolve(target).await;
    let found = found.map_err(|fault| format!("{fault} ({})", fault.status()))?;
    let endpoints = found.into_iter().map(|address| {
        let status = force.judge.status(&address);
        let barred = match guard.judge(address) {
            Verdict::Allowed => None,
            Verdict::Own => Some("a listener of this proxy itself (508, SOCKS 02)"),
            Verdict::Private => Some(PRIVATE),
        };
        endpoint(force.judge.as_ref(), &status, barred, None, false)
    });
    Ok(endpoints.collect())
}

async fn through(
    force: &InForce,
    guard: &Guard,
    target: &Target,
    upstream: &Upstream,
    resolver: &Resolver,
) -> Result<Vec<EndpointExplanation>, String> {
    if let Some(address) = target.address()
        && guard.judge(address) != Verdict::Allowed
    {
        return Err(format!("{address} is {PRIVATE}"));
    }
    let judge = judge_of(force, upstream);
    let mut endpoints = Vec::new();
    for server in &upstream.servers {
        let name = Some(server.target.to_string());
        // One that is not found is as good as none; the others are tried.
        let found = resolver.resolve(&server.target).await.unwrap_or_default();
        for address in found {
            let is_own = guard.judge(address) == Verdict::Own;
            let barred = is_own.then_some("a listener of this proxy itself (508, SOCKS 02)");
            let status = judge.status(&address);
            let is_backup = server.is_backup;
            endpoints.push(endpoint(
                judge.as_ref(),
                &status,
                barred,
                name.clone(),
                is_backup,
            ));
        }
    }
    if endpoints.is_empty() {
        return Err("none of the upstream's servers is found (502)".to_owned());
    }
    endpoints.sort_by_key(|one| (one.is_backup, !one.is_eligible));
    Ok(endpoints)
}

fn judge_of(force: &InForce, upstream: &Upstream) -> Arc<dyn Judge> {
    match (&upstream.policy, force.judge.registry()) {
        (Some(policy), Some(registry)) => Arc::new(registry.with_policy(Arc::clone(policy))),
        _ => Arc::clone(&force.judge),
    }
}

fn endpoint(
    judge: &dyn Judge,
    status: &risefall::Status,
    barred: Option<&str>,
    server: Option<String>,
    is_backup: bool,
) -> EndpointExplanation {
    EndpointExplanation {
        address: status.address,
        server,
        is_backup,
        is_eligible: barred.is_none() && !status.state.is_down(),
        reason: barred.map_or_else(|| standing(status, judge), str::to_owned),
        status: AddressStatus::of(status),
    }
}

/// The state and its cause in a sentence.
fn standing(status: &risefall::Status, judge: &dyn Judge) -> String {
    let (failures, most) = (status.failures, judge.policy().max_fails());
    let last = status.last_failure.map(|last| {
        let ago = units::show_about(last.age);
        format!("{}, {ago} ago", last.cause)
    });
    let last = last.unwrap_or_else(|| "nothing that is remembered".to_owned());
    let until = status.retry_in.map(units::show_about);
    let until = |word: &str| match &until {
        Some(time) => format!("{word} {time}"),
        None => String::new(),
    };
    match status.state {
        State::Up if failures == 0 => "nothing is held against it".to_owned(),
        State::Up => format!("{failures} of {most} failures in a row; the last: {last}"),
        State::Suspect => format!("silent for longer than usual, so dialled last; {last}"),
        State::Down => format!(
            "down{}: {failures} failures in a row, the last: {last} (503, SOCKS 04)",
            until(" for another")
        ),
        State::ProbeDue => "its down time is over: the next client tries it alone".to_owned(),
        State::Probing => format!("a client is trying it{}", until("; at most for another")),
        State::ForcedUp => "an operator holds it up".to_owned(),
        State::ForcedDown => "an operator holds it down".to_owned(),
        State::Drained => "an operator lets no new connections to it".to_owned(),
        other => format!(
            "{}{}",
            other.name().replace('_', " "),
            until(", for another")
        ),
    }
}

const PRIVATE: &str =
    "not a public address, and this listener does not allow private ones (403, SOCKS 02)";

/// How long an answer may take: as long as its lookups.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_url_or_what_connect_says() {
        for (written, target) in [
            ("http://example.com/a?b", "example.com:80"),
            ("https://example.com", "example.com:443"),
            ("wss://example.com:8443/x", "example.com:8443"),
            ("socks5://example.com:22", "example.com:22"),
            ("example.com:22", "example.com:22"),
            ("[::1]:22", "[::1]:22"),
        ] {
            assert_eq!(target_of(written).unwrap().to_string(), target, "{written}");
        }
        for written in ["", "example.com", "http://", "socks5://a", "http://a:x/"] {
            assert!(target_of(written).is_err(), "{written}");
        }
    }

    #[test]
    fn a_question_is_a_target_and_what_narrows_it() {
        let query = "target=http%3A%2F%2Fa%2F&forward=office&client=192.0.2.1";
        let question = Question::parse(Some(query)).unwrap();
        assert_eq!(question.target.to_string(), "a:80");
        assert_eq!(question.forward.as_deref(), Some("office"));
        for query in [
            None,
            Some(""),
            Some("target=a"),
            Some("target=a:1&client=b"),
            Some("x=1"),
        ] {
            assert!(Question::parse(query).is_err(), "{query:?}");
        }
    }
}
