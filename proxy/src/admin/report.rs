//! What `/status` says: the form that programs and `risefall status` read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use risefall::judge::Judge;
use risefall::{JournalEntry, Recovery, Registry, Transition};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::operator::{Operator, STATES};
use crate::net::resolve::Names;
use crate::plan::Token;
use crate::runtime::force::InForce;
use crate::runtime::memory::Guard;
use crate::telemetry::counters::{Count, Counters, ListenerCounts};

/// Where a status comes from.
#[derive(Clone)]
pub struct Report {
    /// What is in force.
    pub(crate) force: Arc<ArcSwap<InForce>>,
    /// Each worker's counts.
    pub(crate) counters: Arc<[Arc<Counters>]>,
    /// How short memory is.
    pub(crate) memory: Arc<Guard>,
    /// Whether the process is about to end.
    pub(crate) draining: watch::Receiver<bool>,
    /// Who reloads; `None` where nobody does.
    pub(crate) operator: Option<Arc<Operator>>,
    /// Where names are looked up.
    pub(crate) names: Arc<dyn Names>,
    /// When the proxy was started.
    pub(crate) started: Instant,
}

/// The proxy at one moment. Times are in milliseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ProxyStatus {
    /// The program's version.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// How long it has been running.
    pub uptime_ms: u64,
    /// The number of the plan in force: 1 at the start, one more for each reload.
    pub generation: u64,
    /// Whether it takes new work.
    pub ready: bool,
    /// The last reload, if there was one.
    pub last_reload: Option<ReloadStatus>,
    /// Where it listens.
    pub listeners: Vec<ListenerStatus>,
    /// Groups of servers.
    pub upstreams: Vec<UpstreamStatus>,
    /// When an address is down, and for how long.
    pub policy: PolicyStatus,
    /// Every address with something against it, down ones first.
    pub health: Vec<AddressStatus>,
    /// First failures that found no room in the registry.
    pub overflow: u64,
    /// What clients have had so far.
    pub traffic: TrafficStatus,
    /// Memory in use, where there is a bound on it.
    pub memory: Option<MemoryStatus>,
    /// The last changes of health, the latest first; 64 at most.
    pub events: Vec<Event>,
}

/// How a reload ended.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ReloadStatus {
    /// How long ago.
    pub age_ms: u64,
    /// Whether it was put in force.
    pub ok: bool,
    /// What changed, or why nothing did.
    pub summary: String,
}

/// One address that is listened on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ListenerStatus {
    /// The forward proxy that it belongs to.
    pub name: String,
    /// Where.
    pub address: SocketAddr,
    /// `listening`, or `draining` when the process is about to end.
    pub state: String,
    /// Connections that are open.
    pub connections: u64,
    /// Connections that were served.
    pub accepted: u64,
    /// Connections that were turned away.
    pub refused: u64,
}

/// One group of servers.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Its servers.
    pub endpoints: Vec<EndpointStatus>,
}

/// One server of a group.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct EndpointStatus {
    /// As the configuration says it: an address or a name, with its port.
    pub address: String,
    /// Its share.
    pub weight: u16,
    /// Whether it is tried only when no other can be had.
    pub backup: bool,
    /// Its health, if it is an address.
    pub status: Option<AddressStatus>,
}

/// What clients have had, over all workers.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct TrafficStatus {
    /// Client connections that are open.
    pub connections: u64,
    /// Requests and tunnels that go on.
    pub in_flight: u64,
    /// Requests and tunnels that are over.
    pub requests: u64,
    /// Those of them that were answered with 5xx, or not at all.
    pub failed: u64,
    /// Body and tunnel bytes from clients.
    pub bytes_in: u64,
    /// Body and tunnel bytes to clients.
    pub bytes_out: u64,
}

/// Memory in bytes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MemoryStatus {
    /// In use.
    pub used: u64,
    /// What may be used.
    pub limit: u64,
}

/// A change of an address's health.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Event {
    /// How long ago.
    pub age_ms: u64,
    /// Which address.
    pub address: SocketAddr,
    /// What it was.
    pub from: String,
    /// What it became.
    pub to: String,
    /// The failure that did it, if one did.
    pub cause: Option<String>,
    /// How many results in a row that was.
    pub evidence: u8,
}

/// The registry's thresholds and times.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PolicyStatus {
    /// Failures in a row that take an address down.
    pub max_fails: u8,
    /// Successes in a row that bring it up.
    pub min_rises: u8,
    /// How long the first trip takes it down.
    pub fail_timeout_ms: u64,
    /// The longest that one does.
    pub max_fail_timeout_ms: u64,
    /// How long one dial may take.
    pub connect_timeout_ms: u64,
    /// What happens at the end of the down time: `probe` or `open`.
    pub recovery: String,
}

/// One address.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AddressStatus {
    /// Which.
    pub address: SocketAddr,
    /// `up`, `suspect`, `down`, `probe_due`, `probing`, `set_aside`, `forced_up`, `forced_down` or
    /// `drained`.
    pub state: String,
    /// Whether it is not dialled now.
    pub is_down: bool,
    /// Failures in a row.
    pub failures: u8,
    /// Successes in a row since it went down.
    pub successes: u8,
    /// How often it went down and has not made up for yet; from the second on, each doubles the
    /// down time.
    pub trips: u8,
    /// Why it failed last.
    pub last_cause: Option<String>,
    /// How long ago that was.
    pub last_failure_age_ms: Option<u64>,
    /// When it is tried again; absent while it may be, and where only an operator can tell.
    pub retry_in_ms: Option<u64>,
    /// How long a connect to it usually takes, where that is known.
    pub usual_connect_ms: Option<u64>,
}

/// One address and how it came to be what it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AddressReport {
    /// The address now.
    pub status: AddressStatus,
    /// Its last changes, oldest first, 16 at most.
    pub journal: Vec<Change>,
}

/// A change of one address.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Change {
    /// How long ago.
    pub age_ms: u64,
    /// What it was.
    pub from: String,
    /// What it became.
    pub to: String,
    /// The failure that did it, if one did.
    pub cause: Option<String>,
    /// How many results in a row that was.
    pub evidence: u8,
}

impl Report {
    /// The present status.
    #[must_use]
    pub fn status(&self) -> ProxyStatus {
        let force = self.force.load();
        let judge = &force.judge;
        let mut health: Vec<_> = judge.statuses().iter().map(AddressStatus::of).collect();
        health.sort_unstable_by_key(|one| (!one.is_down, one.address));
        let is_draining = *self.draining.borrow();
        ProxyStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: milliseconds(self.started.elapsed()),
            generation: force.generation,
            ready: !is_draining,
            last_reload: self.last_reload(),
            listeners: listeners(&force, is_draining),
            upstreams: upstreams(&force),
            policy: PolicyStatus::of(judge.as_ref()),
            health,
            overflow: judge.overflow(),
            traffic: self.traffic(),
            memory: (self.memory.room()).map(|(used, limit)| MemoryStatus { used, limit }),
            events: self.events(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerStatus> {
        listeners(&self.force.load(), !self.is_ready())
    }

    /// Groups of servers.
    #[must_use]
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        upstreams(&self.force.load())
    }

    /// Every address with something against it, and how it came to be so.
    #[must_use]
    pub fn addresses(&self) -> Vec<AddressReport> {
        let statuses = self.force.load().judge.statuses();
        let reports = statuses.iter().map(|status| self.address(status.address));
        reports.collect()
    }

    /// How many addresses are in each of [`STATES`].
    #[must_use]
    pub fn counts_by_state(&self) -> [u64; STATES.len()] {
        let mut counts = [0; STATES.len()];
        for status in self.force.load().judge.statuses() {
            let named = STATES.iter().position(|&name| name == status.state.name());
            if let Some(count) = named.and_then(|nth| counts.get_mut(nth)) {
                *count += 1;
            }
        }
        counts
    }

    /// First failures that found no room.
    #[must_use]
    pub fn overflow(&self) -> u64 {
        self.force.load().judge.overflow()
    }

    /// The number of the plan in force.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.force.load().generation
    }

    /// What every request has to show, if anything.
    pub(super) fn token(&self) -> Option<Token> {
        self.force.load().plan.admin()?.token.clone()
    }

    /// Whether new work is taken.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !*self.draining.borrow()
    }

    fn last_reload(&self) -> Option<ReloadStatus> {
        let (when, ok, summary) = self.operator.as_ref()?.reloads().last?;
        Some(ReloadStatus {
            age_ms: milliseconds(when.elapsed()),
            ok,
            summary,
        })
    }

    fn events(&self) -> Vec<Event> {
        let events = self.operator.as_ref().map(|operator| operator.events());
        let events = events.unwrap_or_default();
        events
            .iter()
            .map(|(when, change)| Event::of(*when, change))
            .collect()
    }

    /// What clients have had so far.
    #[must_use]
    pub fn traffic(&self) -> TrafficStatus {
        let sum = |count: fn(&Counters) -> &Count| {
            let counts = self.counters.iter().map(|worker| count(worker).get());
            counts.sum::<u64>()
        };
        let classes = |is_meant: fn(usize) -> bool| {
            let rows = self.counters.iter().flat_map(|worker| &worker.requests);
            let counts = rows.flat_map(|row| row.iter().enumerate());
            let meant = counts.filter(|&(class, _)| is_meant(class));
            meant.map(|(_, count)| count.get()).sum()
        };
        TrafficStatus {
            connections: sum(|worker| &worker.connections),
            in_flight: sum(|worker| &worker.in_flight),
            requests: classes(|_| true),
            failed: classes(|class| class == 0 || class == 5),
            bytes_in: sum(|worker| &worker.bytes_in),
            bytes_out: sum(|worker| &worker.bytes_out),
        }
    }

    /// Has `act` overrule the registry; `None` if there is none.
    pub(super) fn on_registry<T>(&self, act: impl FnOnce(&Registry) -> T) -> Option<T> {
        self.force.load().judge.registry().map(act)
    }

    /// One address, whether anything is held against it or not.
    #[must_use]
    pub fn address(&self, address: SocketAddr) -> AddressReport {
        let force = self.force.load();
        AddressReport {
            status: AddressStatus::of(&force.judge.status(&address)),
            journal: (force.judge.journal(&address).iter())
                .map(Change::of)
                .collect(),
        }
    }
}

fn listeners(force: &InForce, is_draining: bool) -> Vec<ListenerStatus> {
    let state = if is_draining { "draining" } else { "listening" };
    let listeners = force.listeners.iter().map(|listener| {
        let sum = |count: fn(&ListenerCounts) -> &Count| {
            let counts = listener.counts.iter().map(|worker| count(worker).get());
            counts.sum()
        };
        ListenerStatus {
            name: listener.forward.clone(),
            address: listener.address,
            state: state.to_owned(),
            connections: sum(|worker| &worker.open),
            accepted: sum(|worker| &worker.accepted),
            refused: sum(|worker| &worker.refused),
        }
    });
    listeners.collect()
}

fn upstreams(force: &InForce) -> Vec<UpstreamStatus> {
    let upstreams = force.plan.upstreams().map(|upstream| UpstreamStatus {
        name: upstream.name().to_owned(),
        endpoints: (upstream.servers().iter())
            .map(|server| EndpointStatus {
                address: server.target.to_string(),
                weight: server.weight,
                backup: server.is_backup,
                status: (server.target.address())
                    .map(|address| AddressStatus::of(&force.judge.status(&address))),
            })
            .collect(),
    });
    upstreams.collect()
}

impl PolicyStatus {
    fn of(judge: &dyn Judge) -> Self {
        let policy = judge.policy();
        Self {
            max_fails: policy.max_fails(),
            min_rises: policy.min_rises(),
            fail_timeout_ms: milliseconds(policy.fail_timeout()),
            max_fail_timeout_ms: milliseconds(policy.max_fail_timeout()),
            connect_timeout_ms: milliseconds(policy.connect_timeout()),
            recovery: match policy.recovery() {
                Recovery::Open => "open",
                _ => "probe",
            }
            .to_owned(),
        }
    }
}

impl Event {
    fn of(when: Instant, change: &Transition) -> Self {
        Self {
            age_ms: milliseconds(when.elapsed()),
            address: change.address,
            from: change.from.name().to_owned(),
            to: change.to.name().to_owned(),
            cause: change.cause.map(|cause| cause.to_string()),
            evidence: change.evidence,
        }
    }
}

impl AddressStatus {
    pub(super) fn of(status: &risefall::Status) -> Self {
        Self {
            address: status.address,
            state: status.state.name().to_owned(),
            is_down: status.state.is_down(),
            failures: status.failures,
            successes: status.successes,
            trips: status.trips,
            last_cause: status.last_failure.map(|last| last.cause.to_string()),
            last_failure_age_ms: status.last_failure.map(|last| milliseconds(last.age)),
            retry_in_ms: status.retry_in.map(milliseconds),
            usual_connect_ms: status.usual.map(milliseconds),
        }
    }
}

impl Change {
    fn of(entry: &JournalEntry) -> Self {
        Self {
            age_ms: milliseconds(entry.age),
            from: entry.from.name().to_owned(),
            to: entry.to.name().to_owned(),
            cause: entry.cause.map(|cause| cause.to_string()),
            evidence: entry.evidence,
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
