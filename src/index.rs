//! What readers ask: buckets of insert-only chains. A reader never waits.
//!
//! Members here and members of the ledger are the same at all times, so no change of *state* ever
//! has to be published: it happens in the word, in place. Links are never taken out of a chain and
//! no record is freed while the registry lives. Hence a walk needs no guard, and one that misses an
//! address either met no record of it or passed a place that it left or came to during the walk; in
//! each case nothing was held against the address at some moment of the walk.
//!
//! A bucket knows how many of its records are taken. Zero, the usual answer while all is well, ends
//! the question after one load, however long the chain of vacant records is.
//!
//! # Memory
//!
//! Chains never shrink, and a vacant record can be taken only by an address of its own bucket. So a
//! chain is as long as the most members with live evidence its bucket ever had at once, at most
//! [`LONGEST_CHAIN`] beside pins: under endless churn of new addresses the records come to two or
//! three times the capacity, and can never exceed four times.

use crate::address::Key;
use crate::record::{Charge, Record};
use crate::sync::{AtomicU8, Link, OnceLock, Ordering, order};
use crate::word::{Tick, Word};

/// The read side of the registry.
pub(crate) struct Index {
    heads: Box<[OnceLock<Link<Record>>]>,
    /// Taken records per bucket, apart from the heads so that the bytes of many buckets share a
    /// line. 255 sticks: such a bucket is walked for ever, which costs time and nothing else.
    ///
    /// Written by `place` before a record becomes visible and by `leave` after it is vacant, read
    /// first by every walk. Ordering: additions and reads as below. A reader that sees zero has
    /// learnt that what was here left, so it acquires what the leaver had seen: `leave` releases.
    /// An addition needs no release: its own record carries it. Model:
    /// `who_sees_a_change_sees_what_came_before_it`.
    taken: Box<[AtomicU8]>,
    mask: usize,
}

/// The most records a bucket grows to for failing addresses. With four on average at full
/// capacity, one bucket in a million would need more.
pub(crate) const LONGEST_CHAIN: usize = 16;

/// Failing addresses per bucket at full capacity.
const AVERAGE_CHAIN: usize = 4;

impl Index {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let buckets = capacity.div_ceil(AVERAGE_CHAIN).next_power_of_two();
        Self {
            heads: (0..buckets).map(|_| OnceLock::new()).collect(),
            taken: (0..buckets).map(|_| AtomicU8::new(0)).collect(),
            mask: buckets - 1,
        }
    }

    #[inline]
    pub(crate) fn bucket(&self, hash: u64) -> usize {
        (hash >> 32) as usize & self.mask
    }

    pub(crate) fn buckets(&self) -> usize {
        self.heads.len()
    }

    /// The record of `key` and its word. Wait-free: at most one turn of the chain.
    #[inline]
    pub(crate) fn find(&self, bucket: usize, key: Key) -> Option<(&Link<Record>, Word)> {
        if self.is_empty(bucket) {
            return None;
        }
        self.chain(bucket)
            .find_map(|record| record.word_if(key).map(|word| (record, word)))
    }

    #[inline]
    pub(crate) fn is_empty(&self, bucket: usize) -> bool {
        self.taken
            .get(bucket)
            .is_none_or(|taken| taken.load(order("taken_read", Ordering::Acquire)) == 0)
    }

    /// Every record of a bucket, vacant ones too.
    pub(crate) fn chain(&self, bucket: usize) -> impl Iterator<Item = &Link<Record>> {
        let head = self.heads.get(bucket).and_then(OnceLock::get);
        std::iter::successors(head, |record| record.next().get())
    }

    /// Whether the bucket has a record that nobody has.
    pub(crate) fn has_vacancy(&self, bucket: usize) -> bool {
        self.chain(bucket).any(|record| record.word().is_vacant())
    }

    /// Gives `key` a record of the bucket, a vacant one or a new one; `None` when a failing
    /// address finds the chain full. `first` makes the first word from the incarnation's neutral one.
    pub(crate) fn place(
        &self,
        bucket: usize,
        key: Key,
        charge: Charge,
        now: Tick,
        first: impl Fn(Word) -> Word,
    ) -> Option<Link<Record>> {
        let mut link = self.heads.get(bucket)?;
        let mut length = 0;
        loop {
            while let Some(record) = link.get() {
                if let Some(claimed) = record.claim() {
                    self.enter(bucket);
                    record.publish(key, charge, first(claimed.taken()));
                    return Some(Link::clone(record));
                }
                length += usize::from(record.charge() == Charge::Capped);
                link = record.next();
            }
            if charge == Charge::Capped && length >= LONGEST_CHAIN {
                return None;
            }
            let word = first(Word::vacant(now).claimed().taken());
            let record = Link::new(Record::new(key, charge, word));
            self.enter(bucket);
            // Lost to another newcomer of this bucket: the walk goes on behind it.
            if link.set(Link::clone(&record)).is_ok() {
                return Some(record);
            }
            self.leave(bucket);
        }
    }

    /// To be called after a record of the bucket was vacated.
    pub(crate) fn leave(&self, bucket: usize) {
        self.count(bucket, order("taken_leave", Ordering::Release), |taken| {
            taken.saturating_sub(1)
        });
    }

    fn enter(&self, bucket: usize) {
        self.count(bucket, Ordering::Relaxed, |taken| taken + 1);
    }

    fn count(&self, bucket: usize, ordering: Ordering, change: impl Fn(u8) -> u8) {
        if let Some(taken) = self.taken.get(bucket) {
            // Fails only at 255, which sticks.
            let _ = taken.fetch_update(ordering, Ordering::Relaxed, |taken| {
                (taken != u8::MAX).then(|| change(taken))
            });
        }
    }
}

/// Takes the chains apart link by link: a chain of many pins would overflow the stack if each
/// record dropped the next.
impl Drop for Index {
    fn drop(&mut self) {
        for head in &mut self.heads {
            let mut link = head.take();
            while let Some(mut record) = link {
                // A record that a handle still holds keeps the rest; nobody walks it any more.
                link = Link::get_mut(&mut record).and_then(Record::take_next);
            }
        }
    }
}
