//! What is in force: a plan, who judges by it, and where it is listened to.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use risefall::judge::Judge;

use super::rate::Rate;
use crate::net::inherit::Inherited;
use crate::net::listen::{self, BindError, Bound, Claim, Neighbours};
use crate::net::tls::ServerTls;
use crate::plan::listen::{Engine, Listen};
use crate::plan::{Plan, Site, Upstream, overlap};
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

/// The tallies of `plan`, with what those `before` have of it.
pub(super) fn tallies(plan: &Plan, before: &Tallies) -> Tallies {
    let upstreams = plan.upstreams().map(Upstream::name);
    before.next(upstreams, plan.sites().map(Site::name), plan.threads())
}

/// The way from the listeners there are to those that a plan asks for.
pub(super) struct Difference {
    /// Those that stay and those that are new, in the order of the plan.
    pub(super) listeners: Vec<Listener>,
    /// The sockets of the new ones.
    pub(super) bound: Vec<(u64, Bound)>,
    pub(super) removed: Vec<Listener>,
}

impl Difference {
    /// Finds out what has to be bound, and binds it. Listens on all of it or on nothing.
    ///
    /// # Errors
    ///
    /// Every address that cannot be had.
    pub(super) fn of(
        plan: &Plan,
        listeners: &[Listener],
        admin: Option<SocketAddr>,
        inherited: &mut Inherited,
    ) -> Result<Self, Vec<BindError>> {
        let mut left: Vec<_> = listeners.to_vec();
        let mut next = listeners.iter().map(|one| one.id).max().unwrap_or(0);
        let (mut all, mut claims, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for wanted in plan.listens() {
            let said = wanted.address;
            let stays = left.iter().position(|one| {
                // A port that the system chose is its owner's.
                one.said == said && (said.port() != 0 || one.owner() == wanted.owner())
            });
            if let Some(nth) = stays {
                let mut kept = left.remove(nth);
                match kept.serve(wanted) {
                    Ok(()) => all.push(Ok(kept)),
                    Err(error) => errors.push(error),
                }
                continue;
            }
            match inherited.take(&wanted.owner(), said, plan.threads()) {
                Ok(Some(bound)) => {
                    claims.push(Got::Bound(bound));
                    all.push(Err(wanted));
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    let address = said;
                    errors.push(BindError { address, error });
                    continue;
                }
            }
            let mut own = listeners.iter().map(|one| one.address).chain(admin);
            let neighbours = if own.any(|own| overlap(own, said)) {
                Neighbours::Own
            } else {
                Neighbours::None
            };
            match listen::claim(said, plan.threads(), neighbours) {
                Ok(claim) => {
                    claims.push(Got::Claim(claim));
                    all.push(Err(wanted));
                }
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let bound = claims.into_iter().map(Got::listen);
        let bound = bound
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| vec![error])?;
        let mut bound = bound.into_iter();
        let (mut listeners, mut fresh) = (Vec::new(), Vec::new());
        for one in all {
            match one {
                Ok(kept) => listeners.push(kept),
                Err(wanted) => {
                    let Some(bound) = bound.next() else { continue };
                    next += 1;
                    let listener = Listener::new(next, wanted, &bound, plan.threads());
                    listeners.push(listener.map_err(|error| vec![error])?);
                    fresh.push((next, bound));
                }
            }
        }
        Ok(Self {
            listeners,
            bound: fresh,
            removed: left,
        })
    }
}

impl Listener {
    fn new(id: u64, wanted: &Listen, bound: &Bound, threads: usize) -> Result<Self, BindError> {
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
    fn serve(&mut self, wanted: &Listen) -> Result<(), BindError> {
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

/// Sockets that are to be listened on, or are already.
enum Got {
    Claim(Claim),
    Bound(Bound),
}

impl Got {
    fn listen(self) -> Result<Bound, BindError> {
        match self {
            Self::Claim(claim) => claim.listen(),
            Self::Bound(bound) => Ok(bound),
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Draft, ForwardDraft};

    fn plan(forwards: &[(&str, &[&str])]) -> Plan {
        let forwards = forwards.iter().map(|(name, listen)| ForwardDraft {
            name: (*name).to_owned(),
            ..ForwardDraft::on(listen.iter().map(|at| at.parse().unwrap()).collect())
        });
        Draft {
            forwards: forwards.collect(),
            admin: None,
            threads: 1,
            ..Draft::default()
        }
        .resolve()
        .unwrap()
    }

    fn difference(plan: &Plan, listeners: &[Listener]) -> Difference {
        Difference::of(plan, listeners, None, &mut Inherited::default()).unwrap()
    }

    #[test]
    fn listeners_stay_by_their_address_even_under_another_name() {
        let first = difference(&plan(&[("a", &["127.0.0.1:0"])]), &[]);
        let at = first.listeners[0].address.to_string();
        let mut known = first.listeners.clone();
        known[0].said = first.listeners[0].address;
        let moved = difference(&plan(&[("b", &[&at])]), &known);
        assert!(moved.bound.is_empty() && moved.removed.is_empty());
        assert_eq!(moved.listeners[0].name(), "b");
        assert_eq!(moved.listeners[0].id, known[0].id);
    }

    #[test]
    fn a_port_that_the_system_chose_stays_with_its_name() {
        let both = plan(&[("a", &["127.0.0.1:0", "127.0.0.1:0"])]);
        let first = difference(&both, &[]);
        assert_eq!(first.bound.len(), 2);
        let again = difference(&both, &first.listeners);
        assert!(again.bound.is_empty() && again.removed.is_empty());
        let one = difference(&plan(&[("a", &["127.0.0.1:0"])]), &first.listeners);
        assert_eq!((one.bound.len(), one.removed.len()), (0, 1));
        let other = difference(&plan(&[("b", &["127.0.0.1:0"])]), &first.listeners);
        assert_eq!((other.bound.len(), other.removed.len()), (1, 2));
        assert!(other.listeners[0].id > first.listeners[1].id);
    }

    #[test]
    fn every_address_that_cannot_be_had_is_told() {
        let taken = [0, 0].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let at = taken
            .each_ref()
            .map(|one| one.local_addr().unwrap().to_string());
        let plan = plan(&[("a", &[&at[0]]), ("b", &["127.0.0.1:0", &at[1]])]);
        let errors = Difference::of(&plan, &[], None, &mut Inherited::default())
            .err()
            .unwrap();
        assert_eq!(errors.len(), 2);
    }
}
