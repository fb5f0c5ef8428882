//! What all threads of one process share, from its start to its end.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::clients::Clients;
use super::force::InForce;
use super::memory;
use super::standing::Standings;
use crate::admin::Report;
use crate::admin::operator::Operator;
use crate::net::resolve::Names;
use crate::telemetry::access::AccessLog;
use crate::telemetry::counters::Counters;
use crate::upstream::check::Checks;
use crate::upstream::evidence::Evidences;

/// What every worker is given.
pub(super) struct Shared {
    /// Read by each worker through a cache of its own, so that a connection's start writes no line
    /// that another core reads.
    pub(super) force: Arc<ArcSwap<InForce>>,
    pub(super) names: Arc<dyn Names>,
    pub(super) access: Option<AccessLog>,
    pub(super) clients: Arc<Clients>,
    pub(super) memory: Arc<memory::Guard>,
    pub(super) evidences: Arc<Evidences>,
    pub(super) checks: Arc<Checks>,
    /// That another plan is in force, for upkeep that need not wait for its next look.
    pub(super) renewed: Arc<Notify>,
    pub(super) counters: Arc<[Arc<Counters>]>,
    /// Connections that were cut at the end of the drain time.
    pub(super) cut: Arc<AtomicUsize>,
}

impl Shared {
    pub(super) fn new(force: InForce, names: Arc<dyn Names>, access: Option<AccessLog>) -> Self {
        let workers = force.plan.threads;
        Self {
            names,
            access,
            clients: Arc::default(),
            memory: Arc::new(memory::Guard::new(workers)),
            evidences: Arc::default(),
            checks: Arc::new(Checks::new(force.plan.limits.checks)),
            renewed: Arc::default(),
            counters: (0..workers).map(|_| Arc::default()).collect(),
            cut: Arc::default(),
            force: Arc::new(ArcSwap::from_pointee(force)),
        }
    }

    /// What the admin API tells of, with who reloads; `draining` is whether the process is about to
    /// end.
    pub(super) fn report(
        &self,
        operator: Option<Arc<Operator>>,
        draining: watch::Receiver<bool>,
    ) -> Report {
        let (evidences, checks) = (Arc::clone(&self.evidences), Arc::clone(&self.checks));
        Report {
            force: Arc::clone(&self.force),
            standings: Standings::new(evidences, checks),
            counters: Arc::clone(&self.counters),
            memory: Arc::clone(&self.memory),
            draining,
            operator,
            names: Arc::clone(&self.names),
            started: Instant::now(),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shared")
            .field("force", &self.force)
            .finish_non_exhaustive()
    }
}
