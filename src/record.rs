//! One address's atomic word, the key that says whose it is, and the retry loop on the word.
//!
//! A record outlives its address: evicted, it is *vacant*, and another address of the same bucket
//! takes it in place. Word and tag therefore both carry the incarnation, and a reader believes the
//! word only if they agree.

use std::sync::atomic::AtomicU64 as PlainU64;
use std::time::Duration;

use crate::address::{Key, PLACE_BITS};
use crate::gate::{Gate, Slot};
use crate::journal::{Change, Journal, JournalEntry};
use crate::outcome::Cause;
use crate::state::{Event, Moment, is_out, is_taken_down, lapsed, lapsed_for, spared, step};
use crate::sync::{AtomicU64, Link, OnceBox, OnceLock, Ordering, order};
use crate::usual::Usual;
use crate::word::{INCARNATION_MASK, Tick, Word};

/// The state of one address at a time, a link of its bucket's chain.
pub(crate) struct Record {
    /// Phase, streak, incarnation and tick in one word, so no reader meets half an update.
    ///
    /// Written by `apply`, `claim`, `publish` and `vacate`, read by all. Ordering: exchanges
    /// release and acquire, loads acquire. For the word alone `Relaxed` would do, every fact being
    /// inside it. The ordering is what makes the registry causal *across* addresses: who sees one
    /// address's change sees all that its writer had recorded or seen before. Partners: each
    /// other. Model: `who_sees_a_change_sees_what_came_before_it` in `tests/loom/`.
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
    /// The last failure (tick, incarnation and cause) and the usual connect time. Tells people and
    /// orders dials; decides no verdict, so it may lag behind the word. `Relaxed`: one word, one
    /// fact. std's own in the models too.
    last: PlainU64,
    /// The last changes, from the first one on.
    journal: OnceBox<Journal>,
    /// The next link. Set once and never taken back, so a walk can never lose its way.
    next: OnceLock<Link<Record>>,
}

/// What became of an event.
pub(crate) enum Applied {
    /// The word was exchanged.
    Changed {
        before: Word,
        after: Word,
        /// Keeps a record whose verdict has changed from eviction until that is told, so that
        /// nothing of the address's next stay can be told before. Taken before the exchange:
        /// whoever sees the new word sees the holder.
        holder: Option<Link<Record>>,
    },
    /// The word said all there was to say.
    Same,
    /// The record is not this address's any more.
    Gone,
}

/// What an attempt remembers of its address's record: which incarnation and which generation.
///
/// A result counts only in the generation in which its attempt began: one that began before the
/// address went down says nothing about the address that came up again.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    not(feature = "tokio"),
    expect(unreachable_pub, reason = "seen by dials alone")
)]
pub struct Ticket {
    // A life in its parts, which pack better: a right is moved with every request.
    place: usize,
    incarnation: u16,
    generation: u8,
    /// Whether the address had a record; without one there is no life either.
    has_record: bool,
}

/// One stay of one address in one record.
///
/// Incarnations are counted by each record for itself. An address that leaves and comes back may be
/// given another record of its bucket, which has changed hands as often.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Life {
    /// Where the record is; it stays there as long as the registry.
    pub(crate) place: usize,
    pub(crate) incarnation: u16,
}

/// Whether a record counts against the capacity.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Charge {
    /// A failing address that nobody holds.
    Capped,
    /// Entered by a handle or an operator: these never ask the cap.
    Pinned,
}

impl Ticket {
    pub(crate) fn of(record: &Record, word: Word) -> Self {
        let Life { place, incarnation } = record.life(word);
        Self {
            place,
            incarnation,
            generation: word.generation(),
            has_record: true,
        }
    }

    fn life(self) -> Option<Life> {
        let Self {
            place, incarnation, ..
        } = self;
        self.has_record.then_some(Life { place, incarnation })
    }

    /// Whether a result of its attempt still speaks of `word`, which is the record's.
    ///
    /// A record that came later begins with the first generation: its address was neutral at both
    /// ends of what it missed.
    pub(crate) fn is_current(self, record: &Record, word: Word) -> bool {
        let generation = if self.life() == Some(record.life(word)) {
            self.generation
        } else {
            0
        };
        generation == word.generation()
    }
}

impl Record {
    /// A record that belongs to `key` from the start, holding `word`.
    pub(crate) fn new(key: Key, charge: Charge, word: Word) -> Self {
        Self {
            word: AtomicU64::new(word.to_bits()),
            high: AtomicU64::new(key.high),
            low: AtomicU64::new(key.low),
            tag: AtomicU64::new(tag(key, charge, word)),
            last: PlainU64::new(0),
            journal: OnceBox::new(),
            next: OnceLock::new(),
        }
    }

    /// Whose stay `word` is of.
    pub(crate) fn life(&self, word: Word) -> Life {
        Life {
            place: std::ptr::from_ref(self).addr(),
            incarnation: word.incarnation() as u16,
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

    /// Exchanges the word for what `event` makes of it, as long as it is of `seen`'s incarnation
    /// and of the generation in which the attempt of `ticket` began, if there was one.
    ///
    /// With a `gate`, a word is taken down only for a slot of it, which is the word's until it is
    /// up again.
    ///
    /// Lock-free: an exchange is lost only to another that succeeded, and what it wrote is a
    /// different word, since `step` writes nothing where nothing changes.
    pub(crate) fn apply(
        record: &Link<Self>,
        mut seen: Word,
        ticket: Option<Ticket>,
        event: Event,
        moment: &Moment<'_>,
        gate: Option<&Gate>,
    ) -> Applied {
        let incarnation = seen.incarnation();
        let mut slot = None;
        loop {
            if !seen.is_taken() || seen.incarnation() != incarnation {
                return Applied::Gone;
            }
            if ticket.is_some_and(|ticket| !ticket.is_current(record, seen)) {
                return Applied::Same;
            }
            let mut next = step(seen, event, moment);
            let is_trip = !is_taken_down(seen) && is_taken_down(next);
            let mut is_refused = false;
            if is_trip && let Some(gate) = gate {
                slot = slot.or_else(|| gate.reserve());
                is_refused = slot.is_none();
            }
            if is_refused {
                next = spared(seen, moment);
            }
            if next == seen {
                note_refusal(gate, is_refused);
                return Applied::Same;
            }
            if is_out(seen) && !is_out(next) {
                record.note_return(seen, moment);
            }
            let is_to_be_told = next.generation() != seen.generation();
            let holder = is_to_be_told.then(|| Link::clone(record));
            match record.exchange(seen, next) {
                Ok(()) => {
                    note_refusal(gate, is_refused);
                    pass_slot(gate, slot, seen, next);
                    return Applied::Changed {
                        before: seen,
                        after: next,
                        holder,
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

    /// Frees the record if nothing speaks against its address any more: `is_spent` says so of its
    /// word.
    pub(crate) fn vacate(&self, is_spent: impl Fn(Word) -> bool) -> bool {
        let mut seen = self.word();
        while seen.is_taken() && is_spent(seen) {
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
        // Not an exchange: that would cost a failure a fifth more, and what may be lost is one step
        // of the usual connect time, which the next connect makes again.
        let usual = self.last.load(Ordering::Relaxed) & !LAST_FAILURE;
        self.last.store(note | usual, Ordering::Relaxed);
    }

    /// Why and when it failed last, if that was in `word`'s incarnation.
    pub(crate) fn last_failure(&self, word: Word) -> Option<(Cause, Tick)> {
        let note = self.last.load(Ordering::Relaxed);
        let cause = Cause::from_bits(note >> LAST_CAUSE & 0xf)?;
        (note >> LAST_INCARNATION & INCARNATION_MASK == word.incarnation())
            .then(|| (cause, Tick::from_bits(note)))
    }

    /// How long a connect to the address usually takes.
    pub(crate) fn usual(&self) -> Usual {
        Usual::from_bits(self.last.load(Ordering::Relaxed) >> LAST_USUAL)
    }

    pub(crate) fn note_usual(&self, took: Duration) {
        let learn = |last: u64| {
            let usual = Usual::from_bits(last >> LAST_USUAL).after(took)?;
            Some(last & LAST_FAILURE | usual.to_bits() << LAST_USUAL)
        };
        // Fails only when there is nothing to learn.
        let _ = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, learn);
    }

    /// `word` is what the change made of the record's.
    pub(crate) fn write_journal(&self, change: Change, word: Word) {
        self.own_journal().write(change, word);
    }

    fn own_journal(&self) -> &Journal {
        self.journal.get_or_init(|| Box::new(Journal::new()))
    }

    /// `seen` is about to be up again: now, or since time alone brought it up.
    fn note_return(&self, seen: Word, moment: &Moment<'_>) {
        let now = moment.now.max(seen.tick());
        let ago = lapsed_for(seen, &Moment { now, ..*moment });
        self.begin_return(seen, ago.map_or(now, |ago| now.before(ago)));
    }

    /// Counts `word`'s address as one that came back at `at`.
    pub(crate) fn begin_return(&self, word: Word, at: Tick) {
        self.own_journal().note_return(word, at);
    }

    /// When `word`'s address came back, if it did.
    #[inline]
    pub(crate) fn back_since(&self, word: Word) -> Option<Tick> {
        self.journal.get()?.back_since(word)
    }

    /// Whether its verdict has never changed.
    #[inline]
    pub(crate) fn is_untried(&self) -> bool {
        self.journal.get().is_none()
    }

    /// Forgets the return of `at`.
    pub(crate) fn forget_return(&self, word: Word, at: Tick) {
        if let Some(journal) = self.journal.get() {
            journal.forget_return(word, at);
        }
    }

    /// The last changes of `word`'s address.
    pub(crate) fn journal(&self, word: Word, now: Tick) -> Vec<JournalEntry> {
        self.journal
            .get()
            .map_or_else(Vec::new, |journal| journal.read(word, now))
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

/// Whether nothing is held against the address of `word` any more.
pub(crate) fn is_spent(word: Word, moment: &Moment<'_>) -> bool {
    let now = moment.now.max(word.tick());
    word.is_neutral() || lapsed(word, &Moment { now, ..*moment }).is_neutral()
}

/// The word has been exchanged: its slot is its own, or is given back. One that it did not need is
/// dropped.
fn pass_slot(gate: Option<&Gate>, slot: Option<Slot<'_>>, before: Word, after: Word) {
    match (is_taken_down(before), is_taken_down(after), gate) {
        (false, true, _) => slot.into_iter().for_each(Slot::keep),
        (true, false, Some(gate)) => gate.release(),
        _ => {}
    }
}

fn note_refusal(gate: Option<&Gate>, is_refused: bool) {
    if is_refused && let Some(gate) = gate {
        gate.note_refusal();
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
const LAST_INCARNATION: u32 = 29;
const LAST_CAUSE: u32 = 43;
const LAST_USUAL: u32 = 47;
/// Tick, incarnation and cause.
const LAST_FAILURE: u64 = (1 << LAST_USUAL) - 1;
