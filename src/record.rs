//! One address's atomic word, the key that says whose it is, and the retry loop on the word.
//!
//! A record outlives its address: evicted, it is *vacant*, and another address of the same bucket
//! takes it in place. Word and tag therefore both carry the incarnation, and a reader believes the
//! word only if they agree.

use crate::address::{Key, PLACE_BITS};
use crate::outcome::Cause;
use crate::state::{self, Event, INCARNATION_MASK, Thresholds, Tick, Word, step};
use crate::sync::{AtomicU64, Link, OnceLock, Ordering, order};

/// The state of one address at a time, a link of its bucket's chain.
pub(crate) struct Record {
    /// Phase, streak, incarnation and tick in one word, so no reader meets half an update.
    ///
    /// Written by `apply`, `claim`, `publish` and `vacate`, read by all. Ordering: exchanges
    /// release and acquire, loads acquire. For the word alone `Relaxed` would do, every fact being
    /// inside it. The ordering is what makes the registry causal *across* addresses: who sees one
    /// address's change sees all that its writer had recorded or seen before. Partners: each
    /// other. Model: `who_sees_a_change_sees_what_came_before_it` in `tests/loom.rs`.
    word: AtomicU64,
    /// The upper half of the address; written by `publish` while the word is claimed.
    ///
    /// Ordering of `high`, `low` and `tag`: stores release, loads acquire. A reader that meets a
    /// new key is thereby sure to meet the claimed word or a later one, and cannot pair the new
    /// key with the old verdict; one that meets the new tag is sure to meet the new key.
    /// Partners: `publish` and `word_if`. Model: `a_reused_record_is_never_read_as_its_old_address`.
    high: AtomicU64,
    /// The lower half.
    low: AtomicU64,
    /// Port and scope (`Key::place`), incarnation above, `UNCHARGED` on top.
    tag: AtomicU64,
    /// The last failure: tick, incarnation and cause. Tells people; decides nothing, so it may
    /// lag behind the word. `Relaxed`: one word, one fact.
    last: AtomicU64,
    /// The next link. Set once and never taken back, so a walk can never lose its way.
    next: OnceLock<Link<Record>>,
}

/// What became of an event.
pub(crate) enum Applied {
    /// The word was exchanged.
    Changed { before: Word, after: Word },
    /// The word said all there was to say.
    Same,
    /// The record is not this address's any more.
    Gone,
}

/// Whether a record counts against the capacity.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Charge {
    /// A failing address that nobody holds.
    Capped,
    /// Entered by a handle: pins never ask the cap.
    Pinned,
}

impl Record {
    /// A record that belongs to `key` from the start, holding `word`.
    pub(crate) fn new(key: Key, charge: Charge, word: Word) -> Self {
        Self {
            word: AtomicU64::new(word.to_bits()),
            high: AtomicU64::new(key.high),
            low: AtomicU64::new(key.low),
            tag: AtomicU64::new(tag(key, charge, word)),
            last: AtomicU64::new(0),
            next: OnceLock::new(),
        }
    }

    pub(crate) fn next(&self) -> &OnceLock<Link<Record>> {
        &self.next
    }

    /// Cuts the chain behind this record.
    pub(crate) fn take_next(&mut self) -> Option<Link<Record>> {
        self.next.take()
    }

    /// The word, if this record is `key`'s. Wait-free.
    #[inline]
    pub(crate) fn word_if(&self, key: Key) -> Option<Word> {
        let tag = self.tag.load(order("tag_read", Ordering::Acquire));
        if tag & PLACE_MASK != key.place
            || self.low.load(order("key_read", Ordering::Acquire)) != key.low
            || self.high.load(order("key_read", Ordering::Acquire)) != key.high
        {
            return None;
        }
        let word = self.word();
        (word.is_taken() && word.incarnation() == tag >> PLACE_BITS & INCARNATION_MASK)
            .then_some(word)
    }

    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word::from_bits(self.word.load(order("word_read", Ordering::Acquire)))
    }

    /// Whose record this is. Only for those who know that it is taken and stays so: holders of a
    /// handle, or of the shard's lock.
    pub(crate) fn key(&self) -> Key {
        Key {
            high: self.high.load(Ordering::Acquire),
            low: self.low.load(Ordering::Acquire),
            place: self.tag.load(Ordering::Acquire) & PLACE_MASK,
        }
    }

    pub(crate) fn charge(&self) -> Charge {
        let uncharged = self.tag.load(Ordering::Acquire) & UNCHARGED != 0;
        if uncharged {
            Charge::Pinned
        } else {
            Charge::Capped
        }
    }

    /// Exchanges the word for what `event` makes of it, as long as it is of `seen`'s incarnation.
    ///
    /// Lock-free: an exchange is lost only to another that succeeded, and what it wrote is a
    /// different word, since `step` writes nothing where nothing changes.
    pub(crate) fn apply(
        &self,
        mut seen: Word,
        event: Event,
        now: Tick,
        thresholds: &Thresholds,
    ) -> Applied {
        let incarnation = seen.incarnation();
        loop {
            if !seen.is_taken() || seen.incarnation() != incarnation {
                return Applied::Gone;
            }
            let next = step(seen, event, now, thresholds);
            if next == seen {
                return Applied::Same;
            }
            match self.exchange(seen, next) {
                Ok(()) => {
                    return Applied::Changed {
                        before: seen,
                        after: next,
                    };
                }
                Err(actual) => seen = actual,
            }
        }
    }

    /// Takes a vacant record for a new address. Nobody reads its key until `publish`.
    pub(crate) fn claim(&self) -> Option<Word> {
        // A look that may be stale is enough: the exchange decides.
        let seen = Word::from_bits(self.word.load(Ordering::Relaxed));
        if !seen.is_vacant() {
            return None;
        }
        let claimed = seen.claimed();
        self.exchange(seen, claimed).ok().map(|()| claimed)
    }

    /// Gives the claimed record to `key`. The last store makes it visible.
    pub(crate) fn publish(&self, key: Key, charge: Charge, word: Word) {
        self.last.store(0, Ordering::Relaxed);
        self.high
            .store(key.high, order("key_write", Ordering::Release));
        self.low
            .store(key.low, order("key_write", Ordering::Release));
        self.tag.store(
            tag(key, charge, word),
            order("tag_write", Ordering::Release),
        );
        self.word
            .store(word.to_bits(), order("word_write", Ordering::Release));
    }

    /// Frees the record if nothing speaks against its address any more.
    pub(crate) fn vacate(&self, now: Tick, thresholds: &Thresholds) -> bool {
        let mut seen = self.word();
        while seen.is_taken() && (seen.is_neutral() || state::is_stale(seen, now, thresholds)) {
            match self.exchange(seen, seen.vacated()) {
                Ok(()) => return true,
                Err(actual) => seen = actual,
            }
        }
        false
    }

    /// Notes why and when the address failed last.
    pub(crate) fn note_failure(&self, word: Word, cause: Cause) {
        let note = word.tick().to_bits()
            | word.incarnation() << LAST_INCARNATION
            | cause.to_bits() << LAST_CAUSE;
        self.last.store(note, Ordering::Relaxed);
    }

    /// Why and when it failed last, if that was in `word`'s incarnation.
    pub(crate) fn last_failure(&self, word: Word) -> Option<(Cause, Tick)> {
        let note = self.last.load(Ordering::Relaxed);
        let cause = Cause::from_bits(note >> LAST_CAUSE)?;
        (note >> LAST_INCARNATION & INCARNATION_MASK == word.incarnation())
            .then(|| (cause, Tick::from_bits(note)))
    }

    fn exchange(&self, seen: Word, next: Word) -> Result<(), Word> {
        self.word
            .compare_exchange(
                seen.to_bits(),
                next.to_bits(),
                order("word_exchange", Ordering::AcqRel),
                order("word_read", Ordering::Acquire),
            )
            .map(drop)
            .map_err(Word::from_bits)
    }
}

fn tag(key: Key, charge: Charge, word: Word) -> u64 {
    let uncharged = if charge == Charge::Pinned {
        UNCHARGED
    } else {
        0
    };
    key.place | word.incarnation() << PLACE_BITS | uncharged
}

const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;
const UNCHARGED: u64 = 1 << 63;
const LAST_INCARNATION: u32 = 33;
const LAST_CAUSE: u32 = 47;
