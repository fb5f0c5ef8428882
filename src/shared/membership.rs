//! Who has a record: entering, making room, leaving.

use std::sync::atomic::Ordering;

use super::recording::{Applies, News};
use super::{Case, Shared, Subject};
use crate::record::{Charge, Record, is_spent};
use crate::state::{self, step};
use crate::sync::{Entered, Link};
use crate::word::{Tick, Ticks, Word};

impl Shared {
    /// What happened to an address that has no record: it becomes a member, if that leaves anything
    /// to remember.
    pub(super) fn happen_first(&self, case: Case<'_>, news: News, charge: Charge) -> Applies {
        let moment = self.moment(case);
        let neutral = Word::vacant(moment.now).claimed().taken();
        let first = |word| step(word, news.event, &moment);
        if first(neutral).is_neutral() {
            return Applies::Same;
        }
        match self.enter(case.subject, moment.now, charge, first) {
            Entered::Created(record) => {
                // The incarnation is the record's; what has happened to it since is another's to
                // tell. Our clone keeps it from being evicted.
                let before = neutral.of_incarnation(record.word());
                self.tell(case, &record, before, first(before), news.cause);
                Applies::Changed
            }
            Entered::Present(record) => self.change(case, &record, record.word(), news),
            Entered::Refused => {
                self.tally.overflow.fetch_add(1, Ordering::Relaxed);
                Applies::Refused
            }
        }
    }

    pub(crate) fn pin(&self, subject: Subject) -> Link<Record> {
        loop {
            match self.enter(subject, self.now(), Charge::Pinned, |word| word) {
                Entered::Created(record) | Entered::Present(record) => return record,
                // Pins ask no cap, so this does not happen.
                Entered::Refused => {}
            }
        }
    }

    /// Finds the member or makes it one, its word being what `first` makes of a neutral one.
    ///
    /// Room is made before the shard's lock is taken: a victim may live in any shard, and nobody
    /// holds two locks.
    fn enter(
        &self,
        subject: Subject,
        now: Tick,
        charge: Charge,
        first: impl Fn(Word) -> Word,
    ) -> Entered<Link<Record>> {
        let bucket = self.bucket(subject);
        // A member needs no room, and must not be evicted to make it.
        if self.index.find(bucket, subject.key).is_none() {
            self.make_room(bucket, now, charge);
        }
        self.ledger.enter(subject.key, || {
            if charge == Charge::Capped && !self.reserve() {
                return None;
            }
            let first = |word| {
                // Between claiming a record and making it visible.
                #[cfg(test)]
                self.pause.here();
                first(word)
            };
            let placed = self.index.place(bucket, subject.key, charge, now, first);
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
        let is_kind = |word: Word, neutral| word.is_taken() && word.is_neutral() == neutral;
        [false, true].into_iter().any(|neutral| {
            self.index.chain(bucket).any(|record| {
                let word = record.word();
                is_kind(word, neutral) && self.evict_if_spent(record, word, now)
            })
        })
    }

    fn evict_if_spent(&self, record: &Record, word: Word, now: Tick) -> bool {
        let subject = self.subject(record.key());
        self.may_go(subject, word, now) && self.evict(subject, now)
    }

    /// Takes the address out, if nobody holds it and nothing speaks against it. The key may have
    /// been read from a record that was changing hands: then it is no member, or one that may go.
    /// The exchange of the word to vacant is the moment; the ledger follows under the same lock.
    fn evict(&self, subject: Subject, now: Tick) -> bool {
        let mut charge = Charge::Pinned;
        let gone = self.ledger.remove_if(&subject.key, |record| {
            charge = record.charge();
            let vacated =
                record.vacate(|word| is_held_by_nobody(record) && self.may_go(subject, word, now));
            // Between freeing the record and taking the member out.
            #[cfg(test)]
            self.pause.here();
            vacated
        });
        if gone {
            self.index.leave(self.bucket(subject));
            self.release(charge);
        }
        gone
    }

    /// Whether nothing speaks against the address any more, by any policy in use.
    fn may_go(&self, subject: Subject, word: Word, now: Tick) -> bool {
        let moment = self.moment_at(self.own_case(subject), now);
        let keep = Ticks(self.tally.keep.load(Ordering::Relaxed));
        is_spent(word, &moment)
            && (word.is_neutral() || now.since(word.tick()) > state::kept_for(word, keep))
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

/// Two owners: the ledger and the chain. A first handle is made only under the shard's lock, which
/// the caller has; and who is about to tell a change took hold of the record before making it, so
/// it is asked after the word was read.
fn is_held_by_nobody(record: &Link<Record>) -> bool {
    let is_free = Link::strong_count(record) == 2;
    // What the last holder did, it did before: std counts without ordering. A checker's count has
    // it built in, so that no model can miss this.
    std::sync::atomic::fence(Ordering::Acquire);
    is_free
}

/// Buckets looked through by an entry that finds the registry full.
const SWEEP: usize = 64;
