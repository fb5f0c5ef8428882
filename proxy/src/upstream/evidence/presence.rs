//! Which servers are members of a group: those that workers have found.
//!
//! Workers look names up each for itself, and may be told different addresses. What one of them
//! would send requests to is a member; what none would is none, as it must not count for how many
//! may be left out at once. Left out are also what an older plan had and the newest has not, and
//! what a worker found that nobody has asked since it was to look again. Who holds such a server
//! may go on with it, judged by its dials alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use risefall::{Cause, Endpoint, Registry};

use super::Words;
use crate::upstream::group::Server;

/// What one worker has found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The number of the plan that it has looked by.
    pub generation: u64,
    /// Whom that plan names.
    pub servers: Vec<Server>,
    /// Where they are, and what they are called there.
    pub addresses: Vec<(SocketAddr, Called)>,
    /// When it is to look again; `None` where there is nothing to look up.
    pub due: Option<Instant>,
}

/// What a server is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Called {
    /// As the plan says it, with its port.
    pub server: Arc<str>,
    /// What the plan, or a name server, calls its host.
    pub host: Arc<str>,
}

#[cfg(test)]
impl Called {
    /// One that is called the same everywhere.
    pub(crate) fn of(name: &str) -> Self {
        Self {
            server: name.into(),
            host: name.into(),
        }
    }
}

/// What workers have found, by the number of the list.
#[derive(Debug, Default)]
pub(super) struct Present(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    all: BTreeMap<u64, Found>,
    next: u64,
    /// The members that these have come to.
    members: BTreeMap<SocketAddr, Called>,
    /// Where it is noted of new members that no check has ended yet, if they are not to be used before.
    unchecked: Option<Registry>,
}

/// The servers that one worker has found, members of their group for as long as this is kept.
///
/// A list that takes the place of another is to begin before that ends: what is known of a server
/// that is in both is kept.
#[derive(Debug)]
#[must_use = "they are members only while it is kept"]
pub struct Presence {
    words: Arc<Words>,
    number: u64,
}

impl Presence {
    pub(super) fn begin(words: &Arc<Words>, found: Found) -> Self {
        let mut lists = words.lists();
        let number = lists.next;
        lists.next += 1;
        lists.all.insert(number, found);
        words.follow(lists, Instant::now());
        Self {
            words: Arc::clone(words),
            number,
        }
    }

    /// The same servers were found again, or are those of a newer plan as well.
    pub fn confirm(&self, generation: u64, due: Option<Instant>) {
        let mut lists = self.words.lists();
        if let Some(found) = lists.all.get_mut(&self.number) {
            found.generation = found.generation.max(generation);
            found.due = due;
        }
        self.words.follow(lists, Instant::now());
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut lists = self.words.lists();
        lists.all.remove(&self.number);
        self.words.follow(lists, Instant::now());
    }
}

impl Words {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        // Whoever panicked left whole lists behind.
        self.present
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The members, with what they are called.
    pub(super) fn found(&self) -> Vec<(SocketAddr, Called)> {
        let lists = self.lists();
        let members = lists.members.iter();
        members
            .map(|(&address, called)| (address, called.clone()))
            .collect()
    }

    /// From now on it is noted there of new members that no check has ended yet.
    pub(super) fn set_unchecked(&self, unchecked: Option<Registry>) {
        self.lists().unchecked = unchecked;
    }

    /// Leaves out what nobody has asked for any more.
    pub(super) fn tidy(&self, now: Instant) {
        self.follow(self.lists(), now);
    }

    /// Makes the members what the lists say, under their lock, so that no two who change them pass
    /// each other.
    fn follow(&self, mut lists: MutexGuard<'_, Lists>, now: Instant) {
        let newest = lists.all.values().max_by_key(|found| found.generation);
        let current = lists.all.values().filter(|found| {
            let is_of_plan = newest.is_some_and(|newest| newest.servers == found.servers);
            let is_asked = found.due.is_none_or(|due| now < due + PATIENCE);
            is_of_plan && is_asked
        });
        let found = current.flat_map(|found| &found.addresses);
        let found: BTreeMap<_, _> = found.cloned().collect();
        // While all are idle, those stay that there were.
        let is_any = !found.is_empty() || lists.all.is_empty();
        if is_any && lists.members != found {
            if !lists.members.keys().eq(found.keys()) {
                // Before anybody can choose them; kept until the group has handles of its own.
                let _held = lists.hold(found.keys());
                // Weights are the balancers' own.
                self.group.set(found.keys().map(|&address| (address, 1)));
            }
            lists.members = found;
        }
    }
}

impl Lists {
    /// Takes those down by their checks' word that are new, if they are not to be used before one has
    /// ended.
    fn hold<'a>(&self, found: impl Iterator<Item = &'a SocketAddr>) -> Vec<Endpoint> {
        let Some(unchecked) = &self.unchecked else {
            return Vec::new();
        };
        let new = found.filter(|address| !self.members.contains_key(address));
        let held = new.map(|&address| unchecked.endpoint(address));
        let held: Vec<_> = held.filter(|word| !word.is_fall_down()).collect();
        for word in &held {
            word.record_failure(Cause::Reported);
        }
        held
    }
}

/// How long after it should have looked again a worker may still ask.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use risefall::check::{Kind, Start};
    use risefall::{Outcome, Policy};

    use super::super::{Evidence, Evidences};
    use super::*;
    use crate::plan::Check;
    use crate::plan::upstream::Service;
    use crate::proto::Target;

    const FAILED: Outcome = Outcome::Failed(Cause::BadGateway);

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn evidence() -> Arc<Evidence> {
        let service = Service::by(Policy::builder().max_fails(1).build().unwrap());
        let dials = Registry::new(Policy::default());
        Evidences::default().get("api", &service, None, &dials)
    }

    /// What a worker has found by a plan whose only server is that name.
    fn found(generation: u64, name: &str, ports: &[u16]) -> Found {
        Found {
            generation,
            servers: vec![Server {
                target: Target::parse(&format!("{name}:80")).unwrap(),
                is_srv: false,
                weight: 1,
                is_backup: false,
            }],
            addresses: ports
                .iter()
                .map(|&port| (address(port), Called::of(name)))
                .collect(),
            due: None,
        }
    }

    fn members(evidence: &Evidence) -> Vec<u16> {
        let members = evidence.group().members();
        members.iter().map(|one| one.address().port()).collect()
    }

    fn fail(evidence: &Evidence, port: u16) {
        let handle = evidence.handle(address(port)).unwrap();
        handle.end(handle.admit().unwrap(), FAILED, Duration::ZERO);
    }

    fn is_down(evidence: &Evidence, port: u16) -> bool {
        evidence.handle(address(port)).unwrap().is_down()
    }

    #[test]
    fn members_are_those_that_somebody_has_found() {
        let evidence = evidence();
        let one = evidence.enter(found(1, "a", &[1, 2]));
        let other = evidence.enter(found(1, "a", &[2, 3]));
        assert_eq!(members(&evidence), [1, 2, 3]);
        drop(one);
        assert_eq!(members(&evidence), [2, 3]);
        assert!(evidence.handle(address(1)).is_none());
        drop(other);
        assert!(members(&evidence).is_empty());
    }

    #[test]
    fn who_is_in_the_next_list_as_well_keeps_what_is_held_against_it() {
        let evidence = evidence();
        let before = evidence.enter(found(1, "a", &[1, 2]));
        fail(&evidence, 1);
        let after = evidence.enter(found(2, "b", &[1, 3]));
        drop(before);
        assert!(is_down(&evidence, 1));
        // One that has left and comes again has nothing against it.
        drop(after);
        let again = evidence.enter(found(3, "a", &[1]));
        assert!(!is_down(&evidence, 1));
        drop(again);
    }

    #[test]
    fn what_the_newest_plan_has_not_is_no_member_whoever_still_has_it() {
        let evidence = evidence();
        let idle = evidence.enter(found(1, "old", &[1, 2]));
        let held = evidence.handle(address(1)).unwrap();
        fail(&evidence, 1);
        let new = evidence.enter(found(2, "new", &[3]));
        assert_eq!(members(&evidence), [3]);
        // A connection of before goes on with what it has.
        assert!(!held.is_down() && held.admit().is_some());
        idle.confirm(1, None);
        assert_eq!(members(&evidence), [3]);
        // A plan that is as the first was.
        idle.confirm(3, None);
        assert_eq!(members(&evidence), [1, 2]);
        drop((idle, new));
    }

    #[test]
    fn what_a_worker_found_that_nobody_asks_any_more_is_left_out() {
        let evidence = evidence();
        let now = Instant::now();
        let found = |ports| Found {
            due: Some(now),
            ..found(1, "a", ports)
        };
        let idle = evidence.enter(found(&[1]));
        let busy = evidence.enter(found(&[2]));
        busy.confirm(1, Some(now + PATIENCE));
        evidence.tidy(now + PATIENCE / 2);
        assert_eq!(members(&evidence), [1, 2]);
        evidence.tidy(now + PATIENCE);
        assert_eq!(members(&evidence), [2]);
        // Nobody asks any more: all is as it was.
        evidence.tidy(now + PATIENCE * 9);
        assert_eq!(members(&evidence), [2]);
        idle.confirm(1, Some(now + PATIENCE * 9));
        assert_eq!(members(&evidence), [1, 2]);
        drop((idle, busy));
    }

    #[test]
    fn where_servers_start_down_one_that_is_new_is_down_before_anybody_can_choose_it() {
        let service = Service::by(Policy::builder().max_fails(1).build().unwrap());
        let dials = Registry::new(Policy::default());
        let evidences = Evidences::default();
        let mut check = Check::of(Kind::Connect);
        let usual = evidences.get("api", &service, Some(&check), &dials);
        let first = usual.enter(found(1, "a", &[1]));
        assert!(!is_down(&usual, 1));
        check.thresholds.start = Start::NotEligible;
        let evidence = evidences.get("api", &service, Some(&check), &dials);
        let second = evidence.enter(found(2, "a", &[1, 2]));
        drop(first);
        // Who stays keeps its verdict.
        assert_eq!([1, 2].map(|port| is_down(&evidence, port)), [false, true]);
        let checks = evidence.checks().unwrap();
        for _ in 0..check.thresholds.rise {
            checks.add_rise_up(address(2));
        }
        assert!(!is_down(&evidence, 2));
        let third = evidence.enter(found(2, "a", &[1, 2]));
        drop(second);
        assert!(!is_down(&evidence, 2));
        // One that had left and comes again is new.
        let fourth = evidence.enter(found(3, "b", &[1]));
        drop(third);
        assert_eq!(members(&evidence), [1]);
        let fifth = evidence.enter(found(4, "a", &[1, 2]));
        assert_eq!([1, 2].map(|port| is_down(&evidence, port)), [false, true]);
        drop((fourth, fifth));
    }
}
