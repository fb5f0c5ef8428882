//! What sites and groups of servers have had so far, by name.
//!
//! Each worker counts for itself, as in [`counters`](super::counters). A name that stays through a
//! reload keeps its counts; one that goes and comes back begins anew.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::counters::{CLASSES, Count};

/// One worker's counts of one group of servers.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct UpstreamCounts {
    /// Requests and tunnels that were for the group, however often each was sent.
    pub requests: Count,
    /// Requests and tunnels that are at one of its servers now.
    pub in_flight: Count,
    /// Tries that a server did not answer well, by [`Failure`].
    pub failures: [Count; FAILURES.len()],
    /// Requests that were sent again.
    pub retries: Count,
    /// Those that were not, because the budget was spent.
    pub retries_refused: Count,
    /// Requests that wait for a server now.
    pub waiting: Count,
    /// Requests that have waited.
    pub queued: Count,
    /// Requests that found the queue full.
    pub queue_full: Count,
    /// Requests that waited in vain.
    pub queue_timeouts: Count,
}

/// How a try failed, as an index of [`FAILURES`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// There was no connection.
    Connect,
    /// There was no TLS on it.
    Tls,
    /// There was no answer in time.
    Timeout,
    /// The connection broke.
    Reset,
    /// What came was no HTTP, or none that was asked for.
    Malformed,
    /// The answer was one of the statuses that count.
    Status,
}

/// One worker's counts of one site.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SiteCounts {
    /// Requests that are over, by the class of their answer.
    pub requests: [Count; CLASSES.len()],
}

/// A site, as its requests are counted and logged by one worker.
#[derive(Debug, Default)]
pub struct Service {
    /// The site's name.
    pub name: Box<str>,
    /// What it has had.
    pub counts: Arc<SiteCounts>,
}

/// Where a group's servers are, as the worker that looked last has found them.
#[derive(Debug, Default)]
pub struct Found(ArcSwap<Vec<Finding>>);

/// What is known of where one server is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Finding {
    /// As the configuration calls it.
    pub server: Box<str>,
    /// Where it was last found.
    pub addresses: Vec<SocketAddr>,
    /// Why it was not found when it was last looked up.
    pub error: Option<Box<str>>,
}

/// Where one worker tells of one group of servers.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// What it counts.
    pub counts: Arc<UpstreamCounts>,
    /// Where it finds them.
    pub found: Arc<Found>,
}

/// The counts of all workers.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    upstreams: BTreeMap<String, (Each<UpstreamCounts>, Arc<Found>)>,
    sites: BTreeMap<String, Each<SiteCounts>>,
}

/// One for each worker.
type Each<T> = Arc<[Arc<T>]>;

impl UpstreamCounts {
    /// A try has failed.
    pub fn note_failure(&self, failure: Failure) {
        if let Some(count) = self.failures.get(failure as usize) {
            count.bump();
        }
    }
}

impl SiteCounts {
    /// A request is over; 0 if it was not answered.
    pub fn note_end(&self, status: u16) {
        if let Some(count) = self.requests.get(usize::from(status / 100)) {
            count.bump();
        }
    }
}

impl Finding {
    fn learn(&mut self, told: &Self) {
        if !told.addresses.is_empty() {
            self.addresses.clone_from(&told.addresses);
            self.error.clone_from(&told.error);
        } else if told.error.is_some() {
            self.error.clone_from(&told.error);
        }
    }
}

impl Found {
    /// Tells what one worker knows. What others have found stays, where it knows less: a name that it
    /// has not looked up yet, or did not find now.
    pub fn tell(&self, told: &[Finding]) {
        self.0.rcu(|known| {
            let mut all = Vec::clone(known);
            for one in told {
                match all.iter_mut().find(|known| known.server == one.server) {
                    Some(known) => known.learn(one),
                    None => all.push(one.clone()),
                }
            }
            all
        });
    }

    /// Forgets all servers but these.
    fn keep(&self, servers: &[String]) {
        self.0.rcu(|known| {
            let mut left = Vec::clone(known);
            left.retain(|one| servers.iter().any(|name| **name == *one.server));
            left
        });
    }

    /// What is known of `server`; nothing while nobody has looked.
    #[must_use]
    pub fn of(&self, server: &str) -> Finding {
        let found = self.0.load();
        let mut meant = found.iter().filter(|known| *known.server == *server);
        meant.next().cloned().unwrap_or_default()
    }
}

/// Only the same counts are equal.
impl PartialEq for Tally {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.counts, &other.counts)
    }
}

impl Tallies {
    /// Those of the next plan: names that stay keep what they have.
    #[must_use]
    pub fn next<'a>(
        &self,
        upstreams: impl Iterator<Item = &'a str>,
        sites: impl Iterator<Item = &'a str>,
        workers: usize,
    ) -> Self {
        let upstreams = upstreams.map(|name| {
            let known = self.upstreams.get(name).cloned();
            let tallied = known.unwrap_or_else(|| (each(workers), Arc::default()));
            (name.to_owned(), tallied)
        });
        let sites = sites.map(|name| {
            let known = self.sites.get(name).cloned();
            (name.to_owned(), known.unwrap_or_else(|| each(workers)))
        });
        Self {
            upstreams: upstreams.collect(),
            sites: sites.collect(),
        }
    }

    /// Where `worker` tells of an upstream.
    #[must_use]
    pub fn upstream(&self, name: &str, worker: usize) -> Tally {
        let Some((workers, found)) = self.upstreams.get(name) else {
            return Tally::default();
        };
        Tally {
            counts: workers.get(worker).cloned().unwrap_or_default(),
            found: Arc::clone(found),
        }
    }

    /// What `worker` counts of a site.
    #[must_use]
    pub fn site(&self, name: &str, worker: usize) -> Arc<SiteCounts> {
        let workers = self.sites.get(name);
        let counts = workers.and_then(|workers| workers.get(worker));
        counts.cloned().unwrap_or_default()
    }

    /// A number of an upstream, over all workers.
    pub fn upstream_sum(
        &self,
        name: &str,
        count: impl Fn(&UpstreamCounts) -> Option<&Count>,
    ) -> u64 {
        let workers = self.upstreams.get(name).into_iter();
        let counts = workers.flat_map(|(workers, _)| workers.iter());
        counts
            .filter_map(|worker| count(worker))
            .map(Count::get)
            .sum()
    }

    /// A number of a site, over all workers.
    pub fn site_sum(&self, name: &str, count: impl Fn(&SiteCounts) -> Option<&Count>) -> u64 {
        let workers = self.sites.get(name).into_iter();
        let counts = workers.flat_map(|workers| workers.iter());
        counts
            .filter_map(|worker| count(worker))
            .map(Count::get)
            .sum()
    }

    /// Forgets where other servers of an upstream are than these.
    pub fn keep(&self, upstream: &str, servers: &[String]) {
        if let Some((_, found)) = self.upstreams.get(upstream) {
            found.keep(servers);
        }
    }

    /// Where a server of an upstream was last found.
    #[must_use]
    pub fn found(&self, upstream: &str, server: &str) -> Finding {
        let known = self.upstreams.get(upstream);
        known.map_or_else(Finding::default, |(_, found)| found.of(server))
    }
}

fn each<T: Default>(workers: usize) -> Each<T> {
    (0..workers).map(|_| Arc::default()).collect()
}

/// The names of [`Failure`].
pub const FAILURES: [&str; 6] = ["connect", "tls", "timeout", "reset", "malformed", "status"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_stay_keep_their_counts_and_workers_are_added_up() {
        let names = |names: &'static [&'static str]| names.iter().copied();
        let first = Tallies::default().next(names(&["a", "b"]), names(&["s"]), 2);
        for worker in 0..2 {
            first.upstream("a", worker).counts.requests.add(3);
            first.site("s", worker).note_end(204);
        }
        let next = first.next(names(&["a"]), names(&["s", "t"]), 2);
        assert_eq!(next.upstream_sum("a", |one| Some(&one.requests)), 6);
        assert_eq!(next.site_sum("s", |one| one.requests.get(2)), 2);
        assert!(next.upstream("a", 1) == first.upstream("a", 1));
        let again = next.next(names(&["a", "b"]), names(&[]), 2);
        assert!(again.upstream("b", 0) != first.upstream("b", 0));
        // What nobody has asked for is counted nowhere.
        next.upstream("b", 0).counts.requests.bump();
        assert_eq!(next.upstream_sum("b", |one| Some(&one.requests)), 0);
    }

    #[test]
    fn what_one_worker_does_not_know_leaves_what_another_has_found() {
        let finding = |server: &str, ports: &[u16], error: Option<&str>| Finding {
            server: server.into(),
            addresses: ports
                .iter()
                .map(|&port| ([10, 0, 0, 1], port).into())
                .collect(),
            error: error.map(Into::into),
        };
        let names = || std::iter::once("a");
        let tallies = Tallies::default().next(names(), std::iter::empty(), 2);
        let found = tallies.upstream("a", 0).found;
        found.tell(&[finding("one", &[1, 2], None), finding("two", &[3], None)]);
        // Another worker has asked for one of them, in vain, and not for the other yet.
        let other = tallies.upstream("a", 1).found;
        other.tell(&[finding("one", &[], Some("no")), finding("two", &[], None)]);
        assert_eq!(found.of("one"), finding("one", &[1, 2], Some("no")));
        assert_eq!(found.of("two"), finding("two", &[3], None));
        // Connections of an older plan may look up other servers.
        other.tell(&[finding("old", &[4], None)]);
        assert_eq!(found.of("old"), finding("old", &[4], None));
        found.tell(&[finding("one", &[2], None)]);
        assert_eq!(found.of("one"), finding("one", &[2], None));
        tallies.keep("a", &["one".to_owned()]);
        assert_eq!(found.of("old"), Finding::default());
        assert_eq!(found.of("one"), finding("one", &[2], None));
    }

    #[test]
    fn each_failure_has_a_name_of_its_own() {
        let counts = UpstreamCounts::default();
        counts.note_failure(Failure::Status);
        counts.note_failure(Failure::Connect);
        assert_eq!(
            counts.failures.each_ref().map(Count::get),
            [1, 0, 0, 0, 0, 1]
        );
    }
}
