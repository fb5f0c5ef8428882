//! What one worker does for the whole process beside its connections: it has servers checked, and
//! looks whether certificates have been exchanged.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use risefall::{State, Transition, Transitions};

use super::Shared;
use super::force::InForce;
use crate::net::tls::{ClientTls, Identity, refresh_all};
use crate::plan::Upstream;
use crate::plan::upstream::Check;
use crate::serve::context::Context;
use crate::telemetry::log;
use crate::upstream::check::{CheckTls, Checked, Checker};
use crate::upstream::evidence::{Evidence, Evidences};
use crate::upstream::groups::Means;

/// Keeps servers checked as long as it is polled, on the worker's `LocalSet`. Which servers there
/// are is looked at again and again, since names lead to others in their own time; between two
/// looks the checks go on.
pub(super) async fn check(shared: Arc<Shared>, context: Rc<Context>) {
    let checker = Checker::new();
    tokio::task::spawn_local(Rc::clone(&checker).run());
    let mut last: Vec<Sameness> = Vec::new();
    let mut words = Words::default();
    loop {
        let force = shared.force.load_full();
        words.tell(&force, &shared.evidences);
        let wanted = wanted(&force, &shared, &context).await;
        let (keys, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
        if keys != last {
            last = keys;
            checker.set(wanted);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What traffic and checks say of the servers of each upstream, as it changes.
#[derive(Default)]
struct Words(HashMap<String, [Option<Transitions>; 2]>);

impl Words {
    /// Logs what has changed since the last time.
    fn tell(&mut self, force: &InForce, evidences: &Evidences) {
        self.0
            .retain(|name, _| force.plan.upstreams().any(|one| one.name() == name));
        for upstream in force.plan.upstreams() {
            let Some(evidence) = evidences.find(upstream.name()) else {
                // No worker has asked for it yet.
                continue;
            };
            let words = self.0.entry(upstream.name().to_owned()).or_default();
            let [traffic, checks] = words;
            let changes = traffic.get_or_insert_with(|| evidence.group().subscribe(CHANGES_KEPT));
            // Servers come and go: that is no change of their health.
            let is_known =
                |change: &Transition| change.to != State::Drained && change.from != State::Drained;
            for change in changes.filter(is_known) {
                log::service_transition(upstream.name(), "traffic", &change);
            }
            let Some(registry) = evidence.checks() else {
                *checks = None;
                continue;
            };
            let changes = checks.get_or_insert_with(|| registry.subscribe(CHANGES_KEPT));
            for change in changes {
                log::service_transition(upstream.name(), "check", &change);
            }
        }
    }
}

/// What makes a checked server another one.
#[derive(Clone, PartialEq)]
struct Sameness {
    upstream: Arc<str>,
    address: SocketAddr,
    check: Check,
    tls: Option<Arc<ClientTls>>,
    evidence: Arc<Evidence>,
}

async fn wanted(force: &InForce, shared: &Shared, context: &Context) -> Vec<(Sameness, Checked)> {
    let means = Means {
        judge: &force.judge,
        evidences: &shared.evidences,
        own: force.own.clone(),
        ticks: &context.ticks,
        groups: &context.groups,
        tallies: &force.tallies,
        // The one who is called for this: see `worker::work`.
        worker: 0,
        generation: force.generation,
    };
    let mut all = Vec::new();
    for upstream in force.plan.upstreams() {
        if upstream.check.is_some() {
            all.extend(checked(upstream, &means, context).await);
        }
    }
    all
}

async fn checked(
    upstream: &Upstream,
    means: &Means<'_>,
    context: &Context,
) -> Vec<(Sameness, Checked)> {
    let Some(check) = &upstream.check else {
        return Vec::new();
    };
    let group = means.group(upstream);
    let resolver = context.dialler.resolver();
    let Ok(members) = group.members(resolver).await else {
        // The lookup has said so.
        return Vec::new();
    };
    let evidence = means.evidence(upstream);
    let name: Arc<str> = upstream.name.as_str().into();
    let members = members.all().filter_map(|member| {
        let tls = match &upstream.tls {
            None => None,
            Some(tls) => Some(CheckTls {
                config: tls.offering(&[b"http/1.1"]),
                name: tls.server_name(&member.host).ok()?,
            }),
        };
        let sameness = Sameness {
            upstream: Arc::clone(&name),
            address: member.address,
            check: check.clone(),
            tls: upstream.tls.clone(),
            evidence: Arc::clone(&evidence),
        };
        let checked = Checked {
            upstream: Arc::clone(&name),
            address: member.address,
            target: member.target()?,
            check: check.clone(),
            tls,
            evidence: Arc::clone(&evidence),
            dials: Arc::clone(group.judge()),
        };
        Some((sameness, checked))
    });
    members.collect()
}

/// Looks at the files of all certificates again and again, off the event loop: a stat of each, and
/// a read of what has changed.
pub(super) async fn follow_certificates(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let force = shared.force.load();
        let tls = force.listeners.iter().filter_map(|one| one.tls.as_ref());
        let identities: Vec<Arc<Identity>> =
            tls.flat_map(|tls| tls.identities()).cloned().collect();
        drop(force);
        if identities.is_empty() {
            continue;
        }
        // One that hangs is waited for: the next look would hang as well.
        let looked = tokio::task::spawn_blocking(move || refresh_all(&identities, now_s()));
        if let Err(error) = looked.await {
            tracing::error!(%error, "certificates could not be looked at");
        }
    }
}

/// Seconds of Unix time.
#[expect(
    clippy::disallowed_methods,
    reason = "certificates end by the wall clock"
)]
pub(crate) fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Changes of one word of one upstream that may wait to be logged.
const CHANGES_KEPT: usize = 256;
const LOOK_EVERY: Duration = Duration::from_secs(1);
