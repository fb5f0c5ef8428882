//! Who wants which checks, and what becomes of what they find. No sockets, no clock of its own.
//!
//! Subscribers that want the same check of the same address share it: it runs once, and each is
//! told, to judge by thresholds of its own. The next run comes soon while the verdict of one of
//! them is changing, and late only when all hold the server for down.

mod joining;
mod judging;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use self::judging::{Word, tell_dials, wanted};
use super::definition::Definition;
use super::report::{Finding, LastCheck, Report};
use super::schedule::{Schedule, Turn};
use super::standing::Standing;
use crate::endpoint::{Endpoint, EndpointId};
use crate::error::PolicyError;
use crate::registry::Registry;

/// All checks of a process, without whoever makes them: it says which is to be made now
/// ([`poll`](Self::poll)), and is told what was found ([`handle_finding`](Self::handle_finding)).
///
/// [`Checker`](super::Checker) drives one with tokio. Drive it yourself for another runtime, or in
/// a simulation. Times count from an origin that is the same in all calls.
#[derive(Debug)]
pub struct Board {
    dials: Registry,
    schedule: Schedule<CheckId>,
    checks: HashMap<CheckId, Check>,
    ids: HashMap<(SocketAddr, Arc<Definition>), CheckId>,
    subscribers: HashMap<SubscriberId, Subscriber>,
    words: HashMap<EndpointId, Word>,
    flying: HashMap<Turn, CheckId>,
    /// The shortest interval of each check, and how many checks have it.
    paces: BTreeMap<Duration, usize>,
    /// Turns that nobody waits for any more, and nobody has been told so.
    dropped: VecDeque<Turn>,
    last_id: u64,
}

/// One subscriber of a [`Board`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SubscriberId(u64);

/// By what a subscriber judges.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Thresholds {
    /// Failures in a row that take a server down: 1 to 255. Default 3.
    pub fall: u8,
    /// Passes in a row that bring it up: 1 to 255. Default 2.
    pub rise: u8,
    /// What holds before the first verdict.
    pub start: Start,
}

/// What holds of a server that has never been checked. Its first check is made at once and is its
/// first verdict, whatever the thresholds: there is no other yet that it could be a slip against.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Start {
    /// It is eligible (the default): who has just started must not refuse what would have worked,
    /// and dials are judged all the same.
    #[default]
    Eligible,
    /// It is not: for servers that join others which serve already, and may not be ready. Its word
    /// says down, by the cause `reported`.
    NotEligible,
}

/// What is to be done now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Make this check, and tell of it.
    Begin(Job),
    /// Nobody waits for that one any more: end it, and do not tell.
    Drop(Turn),
}

/// One check to make.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Job {
    /// By which it is told of.
    pub turn: Turn,
    /// Which server.
    pub address: SocketAddr,
    /// How, and for how long at most.
    pub definition: Arc<Definition>,
}

/// What a subscriber keeps, to ask without the board.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) id: SubscriberId,
    pub(super) word: Endpoint,
    pub(super) standing: Arc<Standing>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct CheckId(u64);

#[derive(Debug)]
struct Check {
    address: SocketAddr,
    definition: Arc<Definition>,
    /// Oldest first. Not empty.
    subscribers: Vec<SubscriberId>,
}

#[derive(Debug)]
struct Subscriber {
    check: CheckId,
    word: Endpoint,
    /// The same word, judged by one result.
    at_once: Endpoint,
    /// What dials meet, judged as this subscriber judges them.
    dial: Endpoint,
    last: Option<LastCheck>,
    checks: u64,
    failed: u64,
}

impl Board {
    /// Nothing to check. Dials of checks are told to `dials`; at most `in_flight` checks go at once
    /// (at least 1); `seed` is where the jitter begins.
    #[must_use]
    pub fn new(dials: Registry, in_flight: usize, seed: u64) -> Self {
        Self {
            dials,
            schedule: Schedule::new(in_flight, seed),
            checks: HashMap::new(),
            ids: HashMap::new(),
            subscribers: HashMap::new(),
            words: HashMap::new(),
            flying: HashMap::new(),
            paces: BTreeMap::new(),
            dropped: VecDeque::new(),
            last_id: 0,
        }
    }

    /// Checks `address` from `now` on, and records in its word of `evidence` what is found: a
    /// registry that nothing else records in.
    ///
    /// A word that another subscriber has already keeps its verdict, so that a new plan can
    /// subscribe before the old one leaves; so does one that was imported as down. With
    /// [`Start::NotEligible`] a word that is down by the cause `reported` is that of a server which was
    /// not checked yet: somebody who knew of it before has said so, and the first check is its first
    /// verdict all the same.
    ///
    /// # Errors
    ///
    /// A threshold is zero. Nothing has changed then.
    pub fn subscribe(
        &mut self,
        address: SocketAddr,
        definition: impl Into<Arc<Definition>>,
        evidence: &Registry,
        thresholds: Thresholds,
        now: Duration,
    ) -> Result<SubscriberId, PolicyError> {
        let definition = definition.into();
        let dial = self.dials.endpoint(address);
        let handle = self.enter(address, dial, definition, evidence, thresholds, now)?;
        Ok(handle.id)
    }

    /// Ends a subscription. A check that nobody else wants is made no more, and one under way is
    /// dropped; a word that nobody else has is cleared, so that nothing old is held against a
    /// server that comes again.
    pub fn unsubscribe(&mut self, id: SubscriberId) {
        let Some(subscriber) = self.subscribers.remove(&id) else {
            return;
        };
        self.leave_check(id, subscriber.check);
        self.leave_word(&subscriber.word);
    }

    /// At most `in_flight` checks go at once from now on (at least 1). Those under way go on, though
    /// they may be more.
    pub fn set_in_flight(&mut self, in_flight: usize) {
        self.schedule.set_most(in_flight);
    }

    /// When [`poll`](Self::poll) will have something; `None` while only a call can change that. A
    /// time that is past is now.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        match self.dropped.is_empty() {
            true => self.schedule.next_due(),
            false => Some(Duration::ZERO),
        }
    }

    /// How much later than it says one may [`poll`](Self::poll), so that checks are begun together
    /// and nobody notices: a fiftieth of the shortest interval, at least 1 ms, at most 20 ms.
    #[must_use]
    pub fn slack(&self) -> Duration {
        let shortest = self.paces.first_key_value().map(|(&pace, _)| pace);
        let slack = shortest.unwrap_or(SLACK_MOST) / SLACK_PARTS;
        slack.clamp(SLACK_LEAST, SLACK_MOST)
    }

    /// What is to be done at `now`; to be asked until it is nothing.
    pub fn poll(&mut self, now: Duration) -> Option<Step> {
        if let Some(turn) = self.dropped.pop_front() {
            return Some(Step::Drop(turn));
        }
        if let Some((_, turn)) = self.schedule.lapsed(now) {
            self.handle_finding(turn, &Finding::lost(), now);
            return Some(Step::Drop(turn));
        }
        let (id, turn) = self.schedule.begin(now)?;
        let check = self.checks.get(&id)?;
        self.flying.insert(turn, id);
        Some(Step::Begin(Job {
            turn,
            address: check.address,
            definition: Arc::clone(&check.definition),
        }))
    }

    /// Takes what the check of that turn found. False, and nothing has changed, if nobody waits for
    /// it any more.
    pub fn handle_finding(&mut self, turn: Turn, finding: &Finding, now: Duration) -> bool {
        let Some(id) = self.flying.remove(&turn) else {
            return false;
        };
        let Some(check) = self.checks.get(&id) else {
            return false;
        };
        let subscribers = check.subscribers.iter().rev();
        let subscribers = subscribers.filter_map(|id| self.subscribers.get(id));
        tell_dials(subscribers.map(|one| &one.dial), finding);
        let timing = *check.definition.timing();
        let (mut told, mut interval) = (Vec::new(), timing.interval().max(timing.down_interval()));
        // Of two with one word the newer judges.
        for id in check.subscribers.iter().rev() {
            let Some(subscriber) = self.subscribers.get_mut(id) else {
                continue;
            };
            let last = LastCheck::of(finding, now);
            subscriber.checks += 1;
            subscriber.failed += u64::from(last.is_failed());
            subscriber.last = Some(last);
            let word_id = subscriber.word.id();
            if let Some(word) = self.words.get_mut(&word_id)
                && !told.contains(&word_id)
            {
                told.push(word_id);
                word.take(subscriber, finding);
                interval = interval.min(wanted(&timing, subscriber, word.is_pending));
            }
        }
        let pace = timing.pace(interval);
        self.schedule.end(id, turn, pace, now);
        true
    }

    /// The server as that subscriber's checks see it.
    #[must_use]
    pub fn report(&self, id: SubscriberId) -> Option<Report> {
        let subscriber = self.subscribers.get(&id)?;
        let word = self.words.get(&subscriber.word.id())?;
        let status = subscriber.word.status();
        let (weight_percent, availability) = word.standing.read();
        Some(Report {
            address: status.address,
            verdict: word.verdict(subscriber, status.state),
            failures: match status.state.is_down() {
                true => 0,
                false => status.failures,
            },
            successes: status.successes,
            checks: subscriber.checks,
            failed: subscriber.failed,
            last: subscriber.last.clone(),
            weight_percent,
            availability,
        })
    }

    /// Different checks that are made: those that are shared count once.
    #[must_use]
    pub fn len(&self) -> usize {
        self.checks.len()
    }

    /// Whether nothing is checked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    /// Checks under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            fall: 3,
            rise: 2,
            start: Start::Eligible,
        }
    }
}

/// Of the shortest interval: as much as jitter hides.
const SLACK_PARTS: u32 = 50;
const SLACK_LEAST: Duration = Duration::from_millis(1);
const SLACK_MOST: Duration = Duration::from_millis(20);
/// How long after its time a check may be told of.
const GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
