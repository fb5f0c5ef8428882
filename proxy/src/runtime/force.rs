//! What is in force: a plan, who judges by it, and where it is listened to.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use risefall::judge::Judge;

use super::rate::Rate;
use crate::net::listen::{BindError, Bound};
use crate::net::tls::ServerTls;
use crate::plan::listen::{Engine, Listen};
use crate::plan::{Plan, Site, Upstream};
use crate::telemetry::counters::ListenerCounts;
use crate::telemetry::tally::Tallies;

/// One plan with what it has at run time. Replaced as a whole.
pub struct InForce {
    /// What is to be done.
    pub plan: Arc<Plan>,
    /// Asked before each dial.
    pub judge: Arc<dyn Judge>,
    /// Where it listens, in the order of the plan.
    pub listeners: Vec<Listener>,
    /// Every address of this process.
    pub own: Vec<SocketAddr>,
    /// What its sites and upstreams have had; names that stay keep their counts.
    pub tallies: Tallies,
    /// 1 for the plan of the start, one more for each that came after it.
    pub generation: u64,
}

/// One address that is listened on.
#[derive(Clone)]
pub struct Listener {
    /// No other has had it, and none will.
    pub id: u64,
    /// What answers there.
    pub engine: Engine,
    /// How TLS is spoken there, if it is. Tickets and sessions are all workers'.
    pub tls: Option<Arc<ServerTls>>,
    /// What was asked for; its port may be 0.
    pub said: SocketAddr,
    /// Where it listens.
    pub address: SocketAddr,
    /// What each worker has had from it.
    pub counts: Arc<[ListenerCounts]>,
    /// How fast it accepts.
    pub(super) rate: Arc<Rate>,
}

/// What a reload has done.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Listeners that are new.
    pub added: Vec<SocketAddr>,
    /// Listeners that are no more; their connections have the drain time to end.
    pub removed: Vec<SocketAddr>,
    /// Listeners that stayed.
    pub kept: usize,
    /// The number of the plan that is in force now.
    pub generation: u64,
}

impl InForce {
    /// What a process begins with.
    pub(super) fn first(
        plan: Plan,
        judge: Arc<dyn Judge>,
        listeners: Vec<Listener>,
        admin: Option<SocketAddr>,
    ) -> Self {
        Self::after(&Tallies::default(), 0, plan, judge, listeners, admin)
    }

    /// What comes after this, with what is kept of it.
    pub(super) fn next(
        &self,
        plan: Plan,
        judge: Arc<dyn Judge>,
        listeners: Vec<Listener>,
        admin: Option<SocketAddr>,
    ) -> Self {
        let (tallies, generation) = (&self.tallies, self.generation);
        Self::after(tallies, generation, plan, judge, listeners, admin)
    }

    fn after(
        tallies: &Tallies,
        generation: u64,
        plan: Plan,
        judge: Arc<dyn Judge>,
        listeners: Vec<Listener>,
        admin: Option<SocketAddr>,
    ) -> Self {
        let upstreams = plan.upstreams().map(Upstream::name);
        let sites = plan.sites().map(Site::name);
        let tallies = tallies.next(upstreams, sites, plan.threads());
        for upstream in plan.upstreams() {
            let servers: Vec<_> = upstream.servers().iter().map(ToString::to_string).collect();
            tallies.keep(upstream.name(), &servers);
        }
        let own = listeners.iter().map(|one| one.address).chain(admin);
        Self {
            tallies,
            own: own.collect(),
            listeners,
            judge,
            plan: Arc::new(plan),
            generation: generation + 1,
        }
    }

    /// Who judges the dials to an upstream's servers: all by the same words, each by its own
    /// thresholds.
    #[must_use]
    pub fn judge_of(&self, upstream: &Upstream) -> Arc<dyn Judge> {
        match (&upstream.policy, self.judge.registry()) {
            (Some(policy), Some(registry)) => Arc::new(registry.with_policy(Arc::clone(policy))),
            _ => Arc::clone(&self.judge),
        }
    }
}

impl Listener {
    pub(super) fn new(
        id: u64,
        wanted: &Listen,
        bound: &Bound,
        threads: usize,
    ) -> Result<Self, BindError> {
        Ok(Self {
            id,
            engine: wanted.engine.clone(),
            tls: tls_of(wanted)?,
            said: wanted.address,
            address: bound.address,
            counts: (0..threads).map(|_| ListenerCounts::default()).collect(),
            rate: Arc::new(Rate::new()),
        })
    }

    /// Has another plan's engine answer. Clients go on with their tickets while the certificates
    /// are the same.
    pub(super) fn serve(&mut self, wanted: &Listen) -> Result<(), BindError> {
        let tls = tls_of(wanted)?;
        let is_same = match (&self.tls, &tls) {
            (Some(known), Some(tls)) => tls.is_same_as(known),
            _ => false,
        };
        if !is_same {
            self.tls = tls;
        }
        self.engine = wanted.engine.clone();
        Ok(())
    }

    /// The name of what answers there.
    #[must_use]
    pub fn name(&self) -> &str {
        self.engine.name()
    }

    /// What a port that the system chose belongs to.
    #[must_use]
    pub fn owner(&self) -> String {
        self.engine.owner()
    }
}

fn tls_of(wanted: &Listen) -> Result<Option<Arc<ServerTls>>, BindError> {
    let Some(tls) = wanted.engine.tls() else {
        return Ok(None);
    };
    let made = ServerTls::new(tls.identities.clone(), tls.versions, ALPN);
    made.map(Some).map_err(|error| BindError {
        address: wanted.address,
        error: io::Error::other(error),
    })
}

/// What sites speak by TLS, best first.
const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

impl fmt::Display for Changes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |all: &[SocketAddr]| {
            let unique: HashSet<_> = all.iter().collect();
            debug_assert_eq!(unique.len(), all.len(), "no address is told twice");
            let all: Vec<_> = all.iter().map(ToString::to_string).collect();
            all.join(", ")
        };
        write!(out, "generation {} is in force", self.generation)?;
        if !self.added.is_empty() {
            write!(out, "; listening on {}", listed(&self.added))?;
        }
        if !self.removed.is_empty() {
            write!(out, "; draining {}", listed(&self.removed))?;
        }
        if self.added.is_empty() && self.removed.is_empty() {
            write!(out, "; the same listeners")?;
        }
        Ok(())
    }
}

impl fmt::Debug for InForce {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("InForce")
            .field("generation", &self.generation)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}
