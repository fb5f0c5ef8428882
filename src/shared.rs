//! What all handles of a registry share: asking the index, changing the ledger, and the order in
//! which the two happen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam::utils::CachePadded;

use crate::address::{AddressHash, Key};
use crate::clock::Clock;
use crate::event::{Hub, Transition, Transitions};
use crate::index::Index;
use crate::outcome::Cause;
use crate::policy::Policy;
use crate::record::{Applied, Charge, Record};
use crate::snapshot::{State, Status};
use crate::state::{self, Event, Thresholds, Tick, Word, step};
use crate::sync::{Entered, Ledger, Link};

/// What all handles share.
pub(crate) struct Shared {
    /// Dropped before the index, which then owns its records alone and can take them apart.
    ledger: Ledger<Key, Link<Record>, AddressHash>,
    index: Index,
    hash: AddressHash,
    thresholds: Thresholds,
    clock: Arc<dyn Clock>,
    tally: CachePadded<Tally>,
    capacity: usize,
    policy: Policy,
    hub: Arc<Hub>,
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
}

impl Shared {
    pub(crate) fn new(policy: Policy, capacity: usize, clock: Arc<dyn Clock>) -> Self {
        let hash = AddressHash::random();
        let tally = Tally {
            charged: AtomicUsize::new(0),
            cursor: AtomicUsize::new(0),
            overflow: AtomicU64::new(0),
        };
        Self {
            index: Index::with_capacity(capacity),
            hash,
            thresholds: policy.thresholds(),
            clock,
            ledger: Ledger::new(hash),
            tally: CachePadded::new(tally),
            capacity,
            policy,
            hub: Arc::default(),
            #[cfg(test)]
            pause: tests::Pause::default(),
        }
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn len(&self) -> usize {
        self.ledger.len()
    }

    pub(crate) fn overflow(&self) -> u64 {
        self.tally.overflow.load(Ordering::Relaxed)
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> Transitions {
        self.hub.join(capacity)
    }

    #[inline]
    pub(crate) fn find(&self, key: Key) -> Option<(&Record, Word)> {
        self.index.find(self.bucket(key), key)
    }

    #[inline]
    fn bucket(&self, key: Key) -> usize {
        self.index.bucket(self.hash.of(key))
    }

    pub(crate) fn now(&self) -> Tick {
        Tick::at(self.clock.elapsed())
    }

    #[inline]
    pub(crate) fn is_down(&self, word: Word) -> bool {
        word.holds_down() && state::is_down(word, self.now(), &self.thresholds)
    }

    fn is_stale(&self, word: Word, now: Tick) -> bool {
        state::is_stale(word, now, &self.thresholds)
    }

    pub(crate) fn status_of(&self, key: Key) -> Status {
        match self.find(key) {
            Some((record, word)) => self.status(key, record, word),
            None => Status::unknown(key.address()),
        }
    }

    pub(crate) fn status(&self, key: Key, record: &Record, word: Word) -> Status {
        let last = record.last_failure(word);
        Status::of(key.address(), word, last, self.now(), &self.thresholds)
    }

    pub(crate) fn statuses(&self) -> Vec<Status> {
        let mut statuses = Vec::new();
        self.ledger.for_each(|record| {
            let word = record.word();
            if word.is_taken() && !word.is_neutral() && !self.is_stale(word, self.now()) {
                statuses.push(self.status(record.key(), record, word));
            }
        });
        statuses
    }

    #[inline]
    pub(crate) fn record_success(&self, record: &Record, word: Word, key: Key) {
        if !word.is_neutral() {
            self.succeed(record, word, key);
        }
    }

    fn succeed(&self, record: &Record, word: Word, key: Key) {
        let now = self.now();
        if let Applied::Changed { before, after } =
            record.apply(word, Event::Success, now, &self.thresholds)
        {
            self.tell(key, before, after, now, None);
        }
    }

    pub(crate) fn record_failure(&self, key: Key, cause: Cause) {
        let now = self.now();
        while let Some((record, word)) = self.find(key) {
            if self.fail(record, word, key, now, cause) {
                return;
            }
        }
        self.enter_failing(key, now, cause);
    }

    /// False if the record is another address's by now.
    pub(crate) fn fail(
        &self,
        record: &Record,
        word: Word,
        key: Key,
        now: Tick,
        cause: Cause,
    ) -> bool {
        match record.apply(word, Event::Failure, now, &self.thresholds) {
            Applied::Gone => return false,
            Applied::Same => {}
            Applied::Changed { before, after } => {
                record.note_failure(after, cause);
                self.tell(key, before, after, now, Some(cause));
            }
        }
        true
    }

    fn tell(&self, key: Key, before: Word, after: Word, now: Tick, cause: Option<Cause>) {
        let verdict = |word| match state::is_down(word, now, &self.thresholds) {
            true => State::Down,
            false => State::Up,
        };
        let (from, to) = (verdict(before), verdict(after));
        if from != to {
            let at = self.clock.elapsed();
            self.hub.publish(Transition {
                address: key.address(),
                from,
                to,
                cause,
                at,
            });
        }
    }
}

/// Membership: who has a record.
impl Shared {
    /// The first failure of an address that has no record.
    fn enter_failing(&self, key: Key, now: Tick, cause: Cause) {
        let neutral = Word::vacant(now).claimed().taken();
        let first = |word| step(word, Event::Failure, now, &self.thresholds);
        match self.enter(key, now, Charge::Capped, first) {
            Entered::Created(record) => {
                let after = record.word();
                record.note_failure(after, cause);
                self.tell(key, neutral, first(neutral), now, Some(cause));
            }
            Entered::Present(record) => {
                // Our clone keeps it from being evicted.
                self.fail(&record, record.word(), key, now, cause);
            }
            Entered::Refused => {
                self.tally.overflow.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn pin(&self, key: Key) -> Link<Record> {
        loop {
            match self.enter(key, self.now(), Charge::Pinned, |word| word) {
                Entered::Created(record) | Entered::Present(record) => return record,
                // Pins ask no cap, so this does not happen.
                Entered::Refused => {}
            }
        }
    }

    /// Finds the member `key` or makes it one, its word being what `first` makes of a neutral one.
    ///
    /// Room is made before the shard's lock is taken: a victim may live in any shard, and nobody
    /// holds two locks.
    fn enter(
        &self,
        key: Key,
        now: Tick,
        charge: Charge,
        first: impl Fn(Word) -> Word,
    ) -> Entered<Link<Record>> {
        let bucket = self.bucket(key);
        // A member needs no room, and must not be evicted to make it.
        if self.index.find(bucket, key).is_none() {
            self.make_room(bucket, now, charge);
        }
        self.ledger.enter(key, || {
            if charge == Charge::Capped && !self.reserve() {
                return None;
            }
            let first = |word| {
                // Between claiming a record and making it visible.
                #[cfg(test)]
                self.pause.here();
                first(word)
            };
            let placed = self.index.place(bucket, key, charge, now, first);
            if placed.is_none() {
                self.release(charge);
            }
            placed
        })
    }

    /// Evicts what is in the newcomer's way.
    ///
    /// How hard it tries: a bucket without a vacancy gives up one of its own, so that chains grow
    /// by live evidence only; at capacity the newcomer looks through the next [`SWEEP`] buckets as
    /// well, so that after `buckets / SWEEP` refusals every record has been looked at. A handle's
    /// entry looks at a few buckets, which keeps the records of dropped handles from piling up.
    fn make_room(&self, bucket: usize, now: Tick, charge: Charge) {
        if !self.index.has_vacancy(bucket) {
            self.evict_one(bucket, now);
        }
        match charge {
            Charge::Pinned => self.sweep(4, now),
            Charge::Capped if self.tally.charged.load(Ordering::Relaxed) >= self.capacity => {
                self.sweep(SWEEP, now);
            }
            Charge::Capped => {}
        }
    }

    /// Evicts from the next `buckets` buckets until one record has gone.
    fn sweep(&self, buckets: usize, now: Tick) {
        for _ in 0..buckets.min(self.index.buckets()) {
            let turn = self.tally.cursor.fetch_add(1, Ordering::Relaxed);
            if self.evict_one(turn % self.index.buckets(), now) {
                return;
            }
        }
    }

    /// Evicts every record without evidence that nobody holds.
    pub(crate) fn sweep_all(&self) {
        let now = self.now();
        for bucket in 0..self.index.buckets() {
            while self.evict_one(bucket, now) {}
        }
    }

    /// Evicts one record without evidence, an expired one before a neutral one.
    fn evict_one(&self, bucket: usize, now: Tick) -> bool {
        let expired = |word: Word| !word.is_neutral() && self.is_stale(word, now);
        self.evict_where(bucket, now, expired) || self.evict_where(bucket, now, Word::is_neutral)
    }

    fn evict_where(&self, bucket: usize, now: Tick, chosen: impl Fn(Word) -> bool) -> bool {
        self.index.chain(bucket).any(|record| {
            let word = record.word();
            word.is_taken() && chosen(word) && self.evict(record.key(), now)
        })
    }

    /// Takes `key` out, if nobody holds it and nothing speaks against it. The key may have been
    /// read from a record that was changing hands: then it is no member, or one that may go. The exchange of the word
    /// to vacant is the moment; the ledger follows under the same lock.
    fn evict(&self, key: Key, now: Tick) -> bool {
        let mut charge = Charge::Pinned;
        let gone = self.ledger.remove_if(&key, |record| {
            charge = record.charge();
            // Two owners: the ledger and the chain. A first handle is made only under this lock,
            // so nobody can come to hold the record while we look.
            let vacated = Link::strong_count(record) == 2 && record.vacate(now, &self.thresholds);
            // Between freeing the record and taking the member out.
            #[cfg(test)]
            self.pause.here();
            vacated
        });
        if gone {
            self.index.leave(self.bucket(key));
            self.release(charge);
        }
        gone
    }

    fn reserve(&self) -> bool {
        let room = |charged| (charged < self.capacity).then_some(charged + 1);
        self.tally
            .charged
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .is_ok()
    }

    fn release(&self, charge: Charge) {
        if charge == Charge::Capped {
            self.tally.charged.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Buckets looked through by an entry that finds the registry full.
const SWEEP: usize = 64;

#[cfg(test)]
mod tests;
