//! Where what the admin API says comes from.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use risefall::Registry;
use tokio::sync::watch;

use super::operator::{Operator, STATES};
use super::service::UpstreamStatus;
use super::status::{
    AddressReport, AddressStatus, Change, Event, MemoryStatus, PolicyStatus, ProxyStatus,
    ReloadStatus, TrafficStatus, milliseconds,
};
use crate::net::resolve::Names;
use crate::plan::Token;
use crate::runtime::force::InForce;
use crate::runtime::memory::Guard;
use crate::runtime::standing::Standings;
use crate::telemetry::counters::{Count, Counters};

/// Where a status comes from.
#[derive(Clone)]
pub struct Report {
    /// What is in force.
    pub(crate) force: Arc<ArcSwap<InForce>>,
    /// How servers stand.
    pub(crate) standings: Standings,
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

impl Report {
    /// The present status.
    #[must_use]
    pub fn status(&self) -> ProxyStatus {
        let force = self.force.load();
        let judge = &force.judge;
        let mut health: Vec<_> = judge.statuses().iter().map(AddressStatus::of).collect();
        health.sort_unstable_by_key(|one| (!one.is_down, one.address));
        ProxyStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: milliseconds(self.started.elapsed()),
            generation: force.generation,
            ready: self.is_ready(),
            last_reload: self.last_reload(),
            listeners: self.listeners(),
            sites: self.sites(),
            certificates: self.certificates(),
            upstreams: self.upstreams(),
            policy: PolicyStatus::of(judge.as_ref()),
            health,
            overflow: judge.overflow(),
            traffic: self.traffic(),
            memory: (self.memory.room()).map(|(used, limit)| MemoryStatus { used, limit }),
            events: self.events(),
        }
    }

    /// Every address with something against it, and how it came to be so.
    #[must_use]
    pub fn addresses(&self) -> Vec<AddressReport> {
        let statuses = self.force.load().judge.statuses();
        let upstreams = self.upstreams();
        let reports = statuses.iter();
        reports
            .map(|status| self.reported(status.address, &upstreams))
            .collect()
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
        self.reported(address, &self.upstreams())
    }

    fn reported(&self, address: SocketAddr, upstreams: &[UpstreamStatus]) -> AddressReport {
        let force = self.force.load();
        AddressReport {
            status: AddressStatus::of(&force.judge.status(&address)),
            journal: (force.judge.journal(&address).iter())
                .map(Change::of)
                .collect(),
            upstreams: (upstreams.iter())
                .filter_map(|upstream| upstream.only(address))
                .collect(),
        }
    }
}
