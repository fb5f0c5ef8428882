//! When each server of a group is looked up, and what was found last.
//!
//! A server that is a name holds as long as its answer says, within bounds; then it is due, and is
//! looked up when the group is next asked: a group that nobody asks looks nothing up. While a
//! lookup fails, the last addresses stay, and it is tried again after a pause that grows.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::evidence::Called;
use super::group::Server;
use crate::error::Fault;
use crate::net::resolve::{Found, Offer, Resolver, Service};
use crate::proto::{Host, Target};
use crate::telemetry::tally::Finding;

/// The servers of one group, in their order.
pub(super) struct Lookups {
    all: Vec<Lookup>,
    /// When the first of them is due; `None` if there is nothing to look up, or all of it is
    /// being looked up. Every request asks.
    next: Option<Instant>,
}

/// One address of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Spot {
    /// Which.
    pub address: SocketAddr,
    /// Its share; never 0.
    pub weight: u16,
    /// Whether it is asked only when no other is up.
    pub is_backup: bool,
}

/// What a lookup said of a server.
#[derive(Debug)]
pub(super) enum Answer {
    /// The addresses of its name.
    Name(Found),
    /// Who offers its service.
    Service(Service),
}

struct Lookup {
    server: Server,
    stage: Stage,
    /// Whether it was looked up once, or need not be.
    is_settled: bool,
    /// With the target that led there.
    last: Vec<(Target, Spot)>,
    /// Lookups in a row that failed.
    failures: u32,
    /// Why the last one did.
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// An address: there is nothing to look up.
    Fixed,
    /// Being looked up.
    UnderWay,
    /// To be looked up then.
    Until(Instant),
}

/// Asks where `server` is.
///
/// # Errors
///
/// It is not found, or nobody knows in time.
pub(super) async fn ask(server: &Server, resolver: &Resolver) -> Result<Answer, Fault> {
    match server.target.host() {
        Host::Name(service) if server.is_srv => {
            let service = resolver.resolve_srv(service.as_str()).await?;
            Ok(Answer::Service(service))
        }
        _ => {
            let found = resolver.resolve_with_ttl(&server.target).await?;
            Ok(Answer::Name(found))
        }
    }
}

impl Server {
    /// Its addresses, for who only wants to know.
    ///
    /// # Errors
    ///
    /// It is not found, or nobody knows in time.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn spots(&self, resolver: &Resolver) -> Result<Vec<Spot>, Fault> {
        let answer = ask(self, resolver).await?;
        let found = offered(self, answer, &[]).found;
        Ok(found.into_iter().map(|(_, spot)| spot).collect())
    }
}

impl Lookups {
    /// Nothing is known of those that are names: they are due.
    pub(super) fn new(servers: &[Server], now: Instant) -> Self {
        let all: Vec<_> = servers.iter().map(|one| Lookup::new(one, now)).collect();
        let next = all.iter().filter_map(Lookup::due).min();
        Self { all, next }
    }

    /// Those of a list that takes the place of `before`: what is known of the servers that are in both
    /// goes on, so that nobody waits for it anew.
    pub(super) fn behind(before: &Self, servers: &[Server], now: Instant) -> Self {
        let known = |server: &Server| before.all.iter().find(|one| one.server == *server);
        let all = servers.iter().map(|server| match known(server) {
            Some(known) => known.again(now),
            None => Lookup::new(server, now),
        });
        let all: Vec<_> = all.collect();
        let next = all.iter().filter_map(Lookup::due).min();
        Self { all, next }
    }

    /// When one is to be looked up next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Those that are to be looked up; under way until they are [noted](Self::note).
    pub(super) fn start(&mut self, now: Instant) -> Vec<(usize, Server)> {
        let mut started = Vec::new();
        for (nth, one) in self.all.iter_mut().enumerate() {
            if one.due().is_some_and(|due| due <= now) {
                one.stage = Stage::UnderWay;
                started.push((nth, one.server.clone()));
            }
        }
        self.next = self.all.iter().filter_map(Lookup::due).min();
        started
    }

    /// Notes how a lookup ended. `None` if all is well, else how many failed in a row.
    pub(super) fn note(
        &mut self,
        nth: usize,
        answer: Result<Answer, Fault>,
        now: Instant,
    ) -> Option<u32> {
        let one = self.all.get_mut(nth)?;
        match answer {
            Ok(answer) => one.found(answer, now),
            Err(fault) => one.failed(fault, now),
        }
        one.is_settled = true;
        let failures = one.failures;
        self.next = self.all.iter().filter_map(Lookup::due).min();
        (failures > 0).then_some(failures)
    }

    /// Whether each was looked up once at least.
    pub(super) fn is_settled(&self) -> bool {
        self.all.iter().all(|one| one.is_settled)
    }

    /// Whether what is known is enough to go by: nobody waits for the name of another server when one
    /// is known that is no backup, and `is_usable`.
    pub(super) fn is_ready(&self, is_usable: impl Fn(SocketAddr) -> bool) -> bool {
        let mut spots = self.all.iter().flat_map(|one| &one.last);
        self.is_settled() || spots.any(|(_, spot)| !spot.is_backup && is_usable(spot.address))
    }

    /// Whether a lookup is under way.
    pub(super) fn is_looking(&self) -> bool {
        self.all.iter().any(|one| one.stage == Stage::UnderWay)
    }

    /// What is known: each address once, as the first server that has it says.
    pub(super) fn spots(&self) -> Vec<Spot> {
        let mut spots: Vec<Spot> = Vec::new();
        for (_, spot) in self.all.iter().flat_map(|one| &one.last) {
            // Two names for one server are one server.
            if spots.iter().all(|known| known.address != spot.address) {
                spots.push(*spot);
            }
        }
        spots
    }

    /// What is known of where each server is.
    pub(super) fn found(&self) -> Vec<Finding> {
        let all = self.all.iter().map(|one| Finding {
            server: one.server.to_string().into(),
            addresses: one.last.iter().map(|(_, spot)| spot.address).collect(),
            error: one.fault.as_ref().map(|fault| fault.to_string().into()),
        });
        all.collect()
    }

    /// What the server at `address` is called.
    pub(super) fn called(&self, address: SocketAddr) -> Called {
        let mut all = self.all.iter().flat_map(|one| {
            let last = one.last.iter();
            last.map(move |(target, spot)| (one, target, spot))
        });
        let found = all.find(|(_, _, spot)| spot.address == address);
        let (server, host) = found.map_or_else(Default::default, |(one, target, _)| {
            (one.server.to_string(), target.host().to_string())
        });
        Called {
            server: server.into(),
            host: host.into(),
        }
    }

    /// Why nothing is known.
    pub(super) fn fault(&self) -> Fault {
        let fault = self.all.iter().find_map(|one| one.fault.as_ref());
        fault.map_or(Fault::Cut("a group without servers"), told_again)
    }
}

impl Spot {
    fn of(server: &Server, address: SocketAddr) -> Self {
        Self {
            address,
            weight: server.weight.max(1),
            is_backup: server.is_backup,
        }
    }
}

impl Lookup {
    fn new(server: &Server, now: Instant) -> Self {
        let known = server.target.address();
        let known = known.map(|address| (server.target.clone(), Spot::of(server, address)));
        Self {
            server: server.clone(),
            stage: match known {
                Some(_) => Stage::Fixed,
                None => Stage::Until(now),
            },
            is_settled: known.is_some(),
            last: known.into_iter().collect(),
            failures: 0,
            fault: None,
        }
    }

    /// The same in another list. A lookup that is under way for the first is begun anew.
    fn again(&self, now: Instant) -> Self {
        Self {
            server: self.server.clone(),
            stage: match self.stage {
                Stage::UnderWay => Stage::Until(now),
                stage => stage,
            },
            is_settled: self.is_settled,
            last: self.last.clone(),
            failures: self.failures,
            fault: self.fault.as_ref().map(told_again),
        }
    }

    fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Until(due) => Some(due),
            Stage::Fixed | Stage::UnderWay => None,
        }
    }

    fn found(&mut self, answer: Answer, now: Instant) {
        let offered = offered(&self.server, answer, &self.last);
        if offered.found.is_empty() {
            let error = std::io::Error::other("none of the servers that offer it is found");
            let name = self.server.to_string().into();
            return self.failed(Fault::Name { name, error }, now);
        }
        self.last = offered.found;
        self.failures = 0;
        self.fault = None;
        self.stage = Stage::Until(now + offered.life);
    }

    fn failed(&mut self, fault: Fault, now: Instant) {
        let doubled = RETRY_LEAST.saturating_mul(1 << self.failures.min(DOUBLINGS_MOST));
        self.failures = self.failures.saturating_add(1);
        self.fault = Some(fault);
        self.stage = Stage::Until(now + doubled.min(RETRY_MOST));
    }
}

/// An answer in terms of a group.
struct Offered {
    /// In the order of the addresses: that of an answer is another each time.
    found: Vec<(Target, Spot)>,
    life: Duration,
}

fn offered(server: &Server, answer: Answer, last: &[(Target, Spot)]) -> Offered {
    let (mut found, ttl) = match answer {
        Answer::Name(Found { addresses, ttl }) => {
            let spots = addresses.into_iter().map(|one| Spot::of(server, one));
            let found = spots.map(|spot| (server.target.clone(), spot)).collect();
            (found, ttl)
        }
        Answer::Service(service) => offered_by(server, service, last),
    };
    found.sort_by_key(|(_, spot): &(_, Spot)| (spot.address, spot.is_backup, spot.weight));
    let life = ttl.unwrap_or(LIFE).clamp(LIFE_LEAST, LIFE_MOST);
    Offered { found, life }
}

/// Those of the first priority are the usual ones. An offer whose addresses were not found keeps
/// its last ones, and is asked for again soon.
fn offered_by(
    server: &Server,
    service: Service,
    last: &[(Target, Spot)],
) -> (Vec<(Target, Spot)>, Option<Duration>) {
    let Service { offers, mut ttl } = service;
    let first = offers.iter().map(|(offer, _)| offer.priority).min();
    let weights = weights(&offers, server.weight);
    let mut found = Vec::new();
    for ((offer, addresses), weight) in offers.into_iter().zip(weights) {
        let addresses = addresses.unwrap_or_else(|| {
            ttl = Some(ttl.unwrap_or(LIFE).min(RETRY_LEAST));
            let same = last.iter().filter(|(target, _)| *target == offer.target);
            same.map(|(_, spot)| spot.address).collect()
        });
        for address in addresses {
            let spot = Spot {
                address,
                weight,
                is_backup: server.is_backup || Some(offer.priority) != first,
            };
            found.push((offer.target.clone(), spot));
        }
    }
    (found, ttl)
}

/// The records' weights times the server's own share, scaled down if they are too high to balance.
fn weights<T>(offers: &[(Offer, T)], share: u16) -> Vec<u16> {
    let share = u64::from(share.max(1));
    let raw = |(offer, _): &(Offer, T)| u64::from(offer.weight) * share;
    let most = offers.iter().map(raw).max().unwrap_or(1);
    let scaled = offers.iter().map(|one| match most {
        _ if most <= WEIGHT_MOST => raw(one),
        _ => raw(one) * WEIGHT_MOST / most,
    });
    scaled
        .map(|weight| u16::try_from(weight).unwrap_or(u16::MAX).max(1))
        .collect()
}

/// The same once more: each of those who wait is told.
fn told_again(fault: &Fault) -> Fault {
    let copy = |error: &std::io::Error| match error.raw_os_error() {
        Some(code) => std::io::Error::from_raw_os_error(code),
        None => std::io::Error::new(error.kind(), error.to_string()),
    };
    match fault {
        Fault::Name { name, error } => Fault::Name {
            name: name.clone(),
            error: copy(error),
        },
        Fault::NameTimedOut { name, after } => Fault::NameTimedOut {
            name: name.clone(),
            after: *after,
        },
        Fault::Internal(error) => Fault::Internal(copy(error)),
        other => Fault::Internal(std::io::Error::other(other.to_string())),
    }
}

/// How long an answer holds that does not say.
const LIFE: Duration = Duration::from_secs(30);
/// Some servers say 0.
const LIFE_LEAST: Duration = Duration::from_secs(1);
/// A mistake of the past must not last for days.
const LIFE_MOST: Duration = Duration::from_secs(3600);
/// The first pause after a lookup that failed; each is twice the one before.
const RETRY_LEAST: Duration = Duration::from_secs(5);
/// The longest pause.
const RETRY_MOST: Duration = Duration::from_secs(30);
/// Past the longest pause.
const DOUBLINGS_MOST: u32 = 3;
/// The highest weight that a record has here.
const WEIGHT_MOST: u64 = 256;

#[cfg(test)]
mod tests;
