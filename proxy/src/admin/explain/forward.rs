//! What a forward proxy would do.

use std::net::{IpAddr, SocketAddr};

use risefall::State;
use risefall::judge::Judge;

use super::{EndpointExplanation, ForwardExplanation, Question};
use crate::admin::status::{AddressStatus, CheckStatus};
use crate::admin::{Report, reason};
use crate::net::guard::{Guard, Verdict};
use crate::net::resolve::Resolver;
use crate::plan::{Forward, Upstream};
use crate::proto::Target;
use crate::runtime::force::InForce;

/// What `forward` would do.
pub(super) async fn explain(
    report: &Report,
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
            Some(upstream) => {
                let through = Through {
                    report,
                    force,
                    upstream,
                };
                through.explain(&guard, &question.target, resolver).await
            }
        };
        match found {
            Ok(found) => endpoints = found,
            Err(why) => refused = Some(why),
        }
    }
    let listeners = force.listeners.iter();
    ForwardExplanation {
        name: forward.name.clone(),
        listeners: (listeners.filter(|one| one.owner() == forward.name))
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
            Verdict::Own => Some(OWN),
            Verdict::Private => Some(PRIVATE),
        };
        endpoint(force.judge.as_ref(), &status, barred)
    });
    Ok(endpoints.collect())
}

/// The upstream through which targets are reached.
struct Through<'a> {
    report: &'a Report,
    force: &'a InForce,
    upstream: &'a Upstream,
}

impl Through<'_> {
    async fn explain(
        &self,
        guard: &Guard,
        target: &Target,
        resolver: &Resolver,
    ) -> Result<Vec<EndpointExplanation>, String> {
        if let Some(address) = target.address()
            && guard.judge(address) != Verdict::Allowed
        {
            return Err(format!("{address} is {PRIVATE}"));
        }
        let mut endpoints = Vec::new();
        for server in &self.upstream.servers {
            // One that is not found is as good as none; the others are tried.
            for spot in server.spots(resolver).await.unwrap_or_default() {
                let is_own = guard.judge(spot.address) == Verdict::Own;
                endpoints.push(EndpointExplanation {
                    server: Some(server.to_string()),
                    is_backup: spot.is_backup,
                    ..self.endpoint(spot.address, is_own)
                });
            }
        }
        if endpoints.is_empty() {
            return Err("none of the upstream's servers is found (502)".to_owned());
        }
        endpoints.sort_by_key(|one| (one.is_backup, !one.is_eligible));
        Ok(endpoints)
    }

    fn endpoint(&self, address: SocketAddr, is_own: bool) -> EndpointExplanation {
        let Self {
            report,
            force,
            upstream,
        } = self;
        let standing = report.standings.of_parent(force, upstream, address);
        let is_down = standing.is_down();
        let reason = reason::of(&standing, force.judge_of(upstream).policy().max_fails());
        EndpointExplanation {
            address,
            server: None,
            is_backup: false,
            is_eligible: !is_own && !is_down,
            reason: match (is_own, is_down) {
                (true, _) => OWN.to_owned(),
                (false, true) => format!("{reason} (503, SOCKS 04)"),
                (false, false) => reason,
            },
            status: AddressStatus::of(&standing.dial),
            traffic: None,
            check: standing.check.as_ref().map(AddressStatus::of),
            check_report: standing.seen.as_ref().map(CheckStatus::of),
        }
    }
}

fn endpoint(
    judge: &dyn Judge,
    status: &risefall::Status,
    barred: Option<&str>,
) -> EndpointExplanation {
    EndpointExplanation {
        address: status.address,
        server: None,
        is_backup: false,
        is_eligible: barred.is_none() && !status.state.is_down(),
        reason: barred.map_or_else(|| reason_of(status, judge), str::to_owned),
        status: AddressStatus::of(status),
        traffic: None,
        check: None,
        check_report: None,
    }
}

/// The state and its cause in a sentence, and what clients are told.
fn reason_of(status: &risefall::Status, judge: &dyn Judge) -> String {
    let reason = reason::dial(status, judge.policy().max_fails());
    match status.state {
        State::Down => format!("{reason} (503, SOCKS 04)"),
        _ => reason,
    }
}

const OWN: &str = "a listener of this proxy itself (508, SOCKS 02)";
const PRIVATE: &str =
    "not a public address, and this listener does not allow private ones (403, SOCKS 02)";
