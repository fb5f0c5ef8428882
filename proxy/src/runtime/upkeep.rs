//! What one worker does for the whole process beside its connections: it has servers checked, and
//! looks whether certificates have been exchanged.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use risefall::check::Failure;
use risefall::{Cause, Registry, State, Transition, Transitions};

use super::force::InForce;
use super::shared::Shared;
use crate::net::tls::{Identity, refresh_all};
use crate::plan::Upstream;
use crate::serve::context::Context;
use crate::telemetry::log;
use crate::upstream::check::{Checked, Checks, Seen};
use crate::upstream::evidence::{Called, Evidence};
use crate::upstream::groups::Means;
use crate::upstream::member::target_of;

/// Keeps servers checked as long as it is polled, on the worker's `LocalSet`. Which servers there
/// are is looked at again and again, since names lead to others in their own time; between two
/// looks the checks go on.
pub(super) async fn check(shared: Arc<Shared>, context: Rc<Context>) {
    let checks = Arc::clone(&shared.checks);
    tokio::task::spawn_local(async move { checks.run().await });
    let mut last: Option<Looked> = None;
    let mut words = Words::default();
    loop {
        let force = shared.force.load_full();
        shared.checks.tell_weights();
        let Some(looked) = Looked::at(&force, &shared, &context).await else {
            // There is another plan by now.
            continue;
        };
        // Before anything is found of those that are new.
        words.tell(&force, &shared);
        if last.as_ref() != Some(&looked) {
            shared.checks.set_in_flight(force.plan.limits.checks);
            let is_planned = |upstream: &str, server: &str| looked.has(upstream, server);
            shared.checks.set(looked.wanted(&shared.checks), is_planned);
            last = Some(looked);
        }
        // Another plan is followed at once.
        let pause = match last.as_ref().is_some_and(Looked::is_whole) {
            true => LOOK_EVERY,
            false => LOOK_SOON,
        };
        let _ = tokio::time::timeout(pause, shared.renewed.notified()).await;
    }
}

/// The groups that are checked, and what there is of them at one time.
struct Looked {
    generation: u64,
    groups: Vec<CheckedGroup>,
}

struct CheckedGroup {
    upstream: Arc<Upstream>,
    evidence: Arc<Evidence>,
    /// Where its servers are, and what they are called.
    found: Vec<(SocketAddr, Called)>,
    dials: Registry,
}

impl Looked {
    /// `None` if another plan came in force meanwhile: what is asked for by an old plan must not be
    /// judged by it anew.
    async fn at(force: &InForce, shared: &Shared, context: &Context) -> Option<Self> {
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
        let mut groups = Vec::new();
        for upstream in &force.plan.upstreams {
            if upstream.check.is_none() {
                continue;
            }
            if shared.force.load().generation != force.generation {
                return None;
            }
            let (group, evidence) = (means.group(upstream), means.evidence(upstream));
            // Begins the lookups that are due, and does not wait for them: a name server that is
            // silent must not keep the servers of others from being checked.
            tokio::select! {
                biased;
                _ = group.members(context.dialler.resolver()) => {}
                () = std::future::ready(()) => {}
            }
            groups.push(CheckedGroup {
                found: evidence.found(),
                evidence,
                // A judge of another kind keeps what its dials meet to itself.
                dials: group.judge().registry().cloned().unwrap_or_else(nobodys),
                upstream: Arc::clone(upstream),
            });
        }
        let is_in_force = shared.force.load().generation == force.generation;
        is_in_force.then_some(Self {
            generation: force.generation,
            groups,
        })
    }

    /// Whether servers of all groups are found.
    fn is_whole(&self) -> bool {
        self.groups.iter().all(|one| !one.found.is_empty())
    }

    /// Whether the plan has that server, and it is checked.
    fn has(&self, upstream: &str, server: &str) -> bool {
        let mut groups = self.groups.iter();
        groups.any(|group| {
            let mut servers = group.upstream.servers().iter();
            group.upstream.name() == upstream && servers.any(|one| one.to_string() == server)
        })
    }

    fn wanted(&self, checks: &Checks) -> Vec<Checked> {
        let groups = self.groups.iter();
        groups.flat_map(|group| group.wanted(checks)).collect()
    }
}

/// Nothing has changed while all are the same values.
impl PartialEq for Looked {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&CheckedGroup, &CheckedGroup)| {
            one.found == other.found && one.evidence == other.evidence
        };
        self.generation == other.generation
            && self.groups.len() == other.groups.len()
            && self.groups.iter().zip(&other.groups).all(is_same)
    }
}

impl CheckedGroup {
    fn wanted(&self, checks: &Checks) -> Vec<Checked> {
        let Some(check) = &self.upstream.check else {
            return Vec::new();
        };
        let name: Arc<str> = self.upstream.name.as_str().into();
        let members = self.found.iter().filter_map(|(server, called)| {
            let tls = match &self.upstream.tls {
                None => None,
                Some(tls) => Some(checks.tls(tls, &called.host)?),
            };
            let made = check.definition(&target_of(&called.host, server.port())?, tls);
            let refused = |error: &_| {
                tracing::error!(upstream = %name, %server, %error, "cannot be checked");
            };
            Some(Checked {
                upstream: Arc::clone(&name),
                server: Arc::clone(&called.server),
                address: *server,
                definition: Arc::new(made.inspect_err(refused).ok()?),
                thresholds: check.thresholds,
                evidence: Arc::clone(&self.evidence),
                dials: self.dials.clone(),
            })
        });
        members.collect()
    }
}

fn nobodys() -> Registry {
    Registry::builder().capacity(1).build()
}

/// What traffic and checks say of the servers of each upstream, as it changes.
#[derive(Default)]
struct Words(HashMap<String, [Option<Transitions>; 2]>);

impl Words {
    /// Logs what has changed since the last time.
    fn tell(&mut self, force: &InForce, shared: &Shared) {
        self.0
            .retain(|name, _| force.plan.upstreams().any(|one| one.name() == name));
        for upstream in force.plan.upstreams() {
            let Some(evidence) = shared.evidences.find(upstream.name()) else {
                // No worker has asked for it yet.
                continue;
            };
            let words = self.0.entry(upstream.name().to_owned()).or_default();
            let [traffic, checks] = words;
            let name = upstream.name();
            let changes = traffic.get_or_insert_with(|| evidence.group().subscribe(CHANGES_KEPT));
            // Servers come and go: that is no change of their health.
            let is_known =
                |change: &Transition| change.to != State::Drained && change.from != State::Drained;
            for change in changes.filter(is_known) {
                let ejection = (change.cause)
                    .and_then(|cause| evidence.ejection(change.address, cause))
                    .map(|ejection| ejection.to_string());
                let failures = failures_in_a_row(&change);
                log::service_transition(name, "traffic", &change, ejection.as_deref(), failures);
            }
            let Some(registry) = evidence.checks() else {
                *checks = None;
                continue;
            };
            let changes = checks.get_or_insert_with(|| registry.subscribe(CHANGES_KEPT));
            for change in changes {
                let seen = shared.checks.seen(name, change.address);
                let (reason, failures) = checked(&change, seen.as_ref());
                log::service_transition(name, "check", &change, reason.as_deref(), failures);
            }
        }
    }
}

/// How many failures took it down; `None` if it was one verdict on all that it did, which the word
/// has as if it had been so many.
fn failures_in_a_row(change: &Transition) -> Option<u8> {
    let is_by_rates = matches!(change.cause, Some(Cause::Outlier | Cause::Slow));
    (!is_by_rates).then_some(change.evidence)
}

/// Why checks took the server down, in their own words, or what the server has said of itself; and
/// how many failures in a row it was, if it was that.
fn checked(change: &Transition, seen: Option<&Seen>) -> (Option<String>, Option<u8>) {
    if change.to == State::Down && change.cause == Some(Cause::Reported) {
        return (Some(UNCHECKED.to_owned()), None);
    }
    let Some(seen) = seen else {
        return (None, None);
    };
    let report = &seen.report;
    match (change.to, &report.last) {
        (State::Down, Some(last)) => match &last.result {
            Err(said @ Failure::Agent(_)) => (Some(said.to_string()), None),
            // The first verdict takes one check.
            Err(failure) => {
                let failed = u8::try_from(seen.failed).unwrap_or(u8::MAX);
                (Some(failure.to_string()), Some(failed.min(change.evidence)))
            }
            Ok(()) => (None, None),
        },
        (State::Drained, _) => {
            let says = report.availability.name();
            (Some(format!("it says {says}")), None)
        }
        _ => (None, None),
    }
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

/// Of a server that `start = "down"` keeps from being used.
const UNCHECKED: &str = "not checked yet";
/// Changes of one word of one upstream that may wait to be logged.
const CHANGES_KEPT: usize = 256;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// While servers are not found yet.
const LOOK_SOON: Duration = Duration::from_millis(50);
