//! What all handles of a registry share. Here: asking. `recording.rs` changes records and tells
//! observers; `membership.rs` decides who has a record at all.

mod membership;
mod recording;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;

pub(crate) use self::recording::Admitted;
use crate::address::{AddressHash, Key};
use crate::clock::Clock;
use crate::event::{Hub, Transitions};
use crate::gate::Gate;
use crate::index::Index;
use crate::journal::JournalEntry;
use crate::policy::Policy;
use crate::record::{Record, is_spent};
#[cfg(feature = "tokio")]
use crate::snapshot::State;
use crate::snapshot::{Snapshot, SnapshotEntry, Status};
#[cfg(feature = "tokio")]
use crate::state::Verdict;
use crate::state::{self, Moment};
use crate::sync::{Ledger, Link};
use crate::word::{Tick, Word};

/// What all handles share.
pub(crate) struct Shared {
    /// Dropped before the index, which then owns its records alone and can take them apart.
    ledger: Ledger<Key, Link<Record>, AddressHash>,
    index: Index,
    hash: AddressHash,
    clock: Arc<dyn Clock>,
    tally: CachePadded<Tally>,
    capacity: usize,
    /// The registry's own, by which records are given up. Handles may have others.
    policy: Arc<Policy>,
    hub: Arc<Hub>,
    /// How many words may be down at once; `None` where that is all the same.
    gate: Option<Arc<Gate>>,
    #[cfg(test)]
    pause: tests::Pause,
}

/// Counts that only membership changes write, away from what readers load.
struct Tally {
    /// Members that ask the cap: never above the capacity. `Relaxed`: a reservation is the
    /// exchange itself and publishes nothing.
    charged: AtomicUsize,
    /// Where the next sweep begins. `Relaxed`: any place will do.
    cursor: AtomicUsize,
    /// First failures that found no room. `Relaxed`: a count, nothing else.
    overflow: AtomicU64,
    /// The longest that evidence counts by a policy other than the registry's, in ticks; only
    /// grows. `Relaxed`: a handle that has just been made cannot know evidence that went before.
    keep: AtomicU64,
}

/// An address and its hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) key: Key,
    pub(crate) hash: u64,
}

/// An address, and the policy of the handle by which somebody asks or tells about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) subject: Subject,
}

impl Shared {
    pub(crate) fn new(
        policy: Arc<Policy>,
        capacity: usize,
        clock: Arc<dyn Clock>,
        gate: Option<Arc<Gate>>,
        hash: AddressHash,
    ) -> Self {
        let tally = Tally {
            charged: AtomicUsize::new(0),
            cursor: AtomicUsize::new(0),
            overflow: AtomicU64::new(0),
            keep: AtomicU64::new(0),
        };
        Self {
            index: Index::with_capacity(capacity),
            hash,
            clock,
            ledger: Ledger::new(hash),
            tally: CachePadded::new(tally),
            capacity,
            policy,
            hub: Arc::default(),
            gate,
            #[cfg(test)]
            pause: tests::Pause::default(),
        }
    }

    pub(crate) fn hash(&self) -> AddressHash {
        self.hash
    }

    pub(crate) fn len(&self) -> usize {
        self.ledger.len()
    }

    pub(crate) fn overflow(&self) -> u64 {
        self.tally.overflow.load(Ordering::Relaxed)
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn gate(&self) -> Option<&Gate> {
        self.gate.as_deref()
    }

    /// Another policy is about to judge this evidence.
    pub(crate) fn keep_for(&self, policy: &Policy) {
        let longest = state::longest(policy.rules());
        self.tally.keep.fetch_max(longest.0, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn subject(&self, key: Key) -> Subject {
        let hash = self.hash.of(key);
        Subject { key, hash }
    }

    #[inline]
    pub(crate) fn find(&self, subject: Subject) -> Option<(&Link<Record>, Word)> {
        self.index.find(self.bucket(subject), subject.key)
    }

    #[inline]
    fn bucket(&self, subject: Subject) -> usize {
        self.index.bucket(subject.hash)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    pub(crate) fn now(&self) -> Tick {
        Tick::at(self.elapsed())
    }

    fn moment<'a>(&self, case: Case<'a>) -> Moment<'a> {
        self.moment_at(case, self.now())
    }

    fn moment_at<'a>(&self, case: Case<'a>, now: Tick) -> Moment<'a> {
        Moment {
            rules: case.policy.rules(),
            now,
            salt: case.subject.hash,
        }
    }

    /// By the registry's own policy.
    fn own_case(&self, subject: Subject) -> Case<'_> {
        let policy = &self.policy;
        Case { policy, subject }
    }
}

/// Reading.
impl Shared {
    #[inline]
    pub(crate) fn is_down(&self, word: Word, case: Case<'_>) -> bool {
        let rules = case.policy.rules();
        state::is_down(word, rules, case.subject.hash, || self.now())
    }

    #[cfg(feature = "tokio")]
    fn verdict(&self, word: Word, case: Case<'_>) -> Verdict {
        state::verdict(word, &self.moment(case))
    }

    /// The verdict and the usual connect time, for whoever is about to choose among addresses.
    #[cfg(feature = "tokio")]
    pub(crate) fn standing(&self, case: Case<'_>) -> (State, Option<Duration>) {
        let found = self.find(case.subject);
        found.map_or((State::Up, None), |(record, word)| {
            let state = if word.is_neutral() {
                State::Up
            } else {
                self.verdict(word, case).state
            };
            (state, record.usual().time())
        })
    }

    pub(crate) fn status_of(&self, case: Case<'_>) -> Status {
        match self.find(case.subject) {
            Some((record, word)) => self.status(case, record, word),
            None => Status::unknown(case.subject.key.address()),
        }
    }

    pub(crate) fn status(&self, case: Case<'_>, record: &Record, word: Word) -> Status {
        Status::of(
            case.subject.key.address(),
            word,
            record.last_failure(word),
            record.usual(),
            &self.moment(case),
        )
    }

    pub(crate) fn statuses(&self, policy: &Policy) -> Vec<Status> {
        let mut statuses = Vec::new();
        self.ledger.for_each(|record| {
            let (word, subject) = (record.word(), self.subject(record.key()));
            let case = Case { policy, subject };
            if word.is_taken() && !is_spent(word, &self.moment(case)) {
                statuses.push(self.status(case, record, word));
            }
        });
        statuses
    }

    pub(crate) fn journal_of(&self, subject: Subject) -> Vec<JournalEntry> {
        self.find(subject)
            .map_or_else(Vec::new, |(record, word)| record.journal(word, self.now()))
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> Transitions {
        let mut transitions = self.hub.join(capacity);
        self.ledger.for_each(|record| {
            let word = record.word();
            if word.is_taken() && word.generation() != 0 {
                let address = record.key().address();
                transitions.begins_with(address, record.life(word), word.generation());
            }
        });
        transitions
    }

    pub(crate) fn export(&self) -> Snapshot {
        let mut entries = Vec::new();
        self.ledger.for_each(|record| {
            let (word, subject) = (record.word(), self.subject(record.key()));
            let cause = record.last_failure(word).map(|(cause, _)| cause);
            let moment = self.moment(self.own_case(subject));
            if word.is_taken() {
                entries.extend(SnapshotEntry::of(
                    subject.key.address(),
                    word,
                    cause,
                    &moment,
                ));
            }
        });
        Snapshot::new(entries)
    }
}

#[cfg(test)]
mod tests;
