//! Why an address is in the state it is in: its last changes, bounded.
//!
//! A record gets a journal with its first change of verdict or suspicion, and keeps it for whoever
//! has the record next; entries carry the incarnation, so nobody reads another's. Each entry is
//! one word: a reader meets whole entries. Two changes of one moment may stand in either order.
//!
//! Its entries tell people and decide nothing, so their cells are std's own, `Relaxed`, in the models
//! too. When the address last came back stands beside them, and is what slow start goes by.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::outcome::Cause;
use crate::snapshot::State;
use crate::sync::AtomicU64 as SharedU64;
use crate::word::{Phase, Tick, Word};

/// One change of an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct JournalEntry {
    /// How long ago, in steps of 4 ms.
    pub age: Duration,
    /// What it was.
    pub from: State,
    /// What it became.
    pub to: State,
    /// The failure that did it, if one did.
    pub cause: Option<Cause>,
    /// How many results in a row that was: failures on the way down, successes on the way up.
    pub evidence: u8,
}

/// `2.1s ago up -> down: refused, 3 in a row`
impl fmt::Display for JournalEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1}s ago {} -> {}",
            self.age.as_secs_f64(),
            self.from,
            self.to
        )?;
        if let Some(cause) = self.cause {
            write!(f, ": {cause}")?;
            if self.evidence > 1 {
                write!(f, ", {} in a row", self.evidence)?;
            }
        }
        Ok(())
    }
}

/// A change as the record's writer sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) from: State,
    pub(crate) to: State,
    pub(crate) cause: Option<Cause>,
    pub(crate) evidence: u8,
}

/// The last changes of one record.
#[derive(Debug)]
pub(crate) struct Journal {
    entries: [AtomicU64; ENTRIES],
    /// The next place to write, modulo 256, a multiple of the ring.
    next: AtomicU8,
    /// When it came back: tick and incarnation, or zero.
    ///
    /// Written by `note_return` before the exchange that brings the word up, and by
    /// `forget_return`; read by who weighs. Ordering: `Relaxed`. The exchange publishes it: who
    /// sees the word up sees when that was. Model:
    /// `who_sees_it_up_again_weighs_it_from_that_moment`.
    back: SharedU64,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            entries: Default::default(),
            next: AtomicU8::new(0),
            back: SharedU64::new(0),
        }
    }

    /// `word`'s address is about to be up again, since `at`. An earlier moment than the one that is
    /// known changes nothing.
    pub(crate) fn note_return(&self, word: Word, at: Tick) {
        let later = |bits| {
            let known = since(bits, word);
            let latest = known.map_or(at, |known| known.max(at));
            Some(latest.to_bits() | BACK | life(word) << LIFE)
        };
        // Never fails: `later` refuses nothing.
        let _ = self
            .back
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// When `word`'s address came back, if it did.
    #[inline]
    pub(crate) fn back_since(&self, word: Word) -> Option<Tick> {
        since(self.back.load(Ordering::Relaxed), word)
    }

    /// Forgets the return of `at`, and none that came after it.
    pub(crate) fn forget_return(&self, word: Word, at: Tick) {
        let known = at.to_bits() | BACK | life(word) << LIFE;
        // Fails only when it has come back again.
        let _ = self
            .back
            .compare_exchange(known, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// `word` is what the change made of the record.
    pub(crate) fn write(&self, change: Change, word: Word) {
        let entry = word.tick().to_bits()
            | u64::from(change.evidence) << EVIDENCE
            | change.cause.map_or(0, Cause::to_bits) << CAUSE
            | change.from.to_phase().to_bits() << FROM
            | change.to.to_phase().to_bits() << TO
            | life(word) << LIFE;
        let place = usize::from(self.next.fetch_add(1, Ordering::Relaxed)) % ENTRIES;
        if let Some(cell) = self.entries.get(place) {
            cell.store(entry, Ordering::Relaxed);
        }
    }

    /// The changes of `word`'s incarnation, oldest first.
    pub(crate) fn read(&self, word: Word, now: Tick) -> Vec<JournalEntry> {
        let next = usize::from(self.next.load(Ordering::Relaxed)) % ENTRIES;
        let (newer, older) = self.entries.split_at(next);
        let mut entries: Vec<_> = older
            .iter()
            .chain(newer)
            .filter_map(|cell| entry(cell.load(Ordering::Relaxed), word, now))
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.age));
        entries
    }
}

fn entry(bits: u64, word: Word, now: Tick) -> Option<JournalEntry> {
    if bits == 0 || bits >> LIFE != life(word) {
        return None;
    }
    Some(JournalEntry {
        age: now.since(Tick::from_bits(bits)).time(),
        from: State::of_phase(Phase::from_bits(bits >> FROM & 0xf)),
        to: State::of_phase(Phase::from_bits(bits >> TO & 0xf)),
        cause: Cause::from_bits(bits >> CAUSE & 0xf),
        evidence: (bits >> EVIDENCE) as u8,
    })
}

fn since(bits: u64, word: Word) -> Option<Tick> {
    (bits & BACK != 0 && bits >> LIFE == life(word)).then(|| Tick::from_bits(bits))
}

/// What fits of the incarnation.
fn life(word: Word) -> u64 {
    word.incarnation() & ((1 << (64 - LIFE)) - 1)
}

/// Changes kept of one address.
const ENTRIES: usize = 16;

const EVIDENCE: u32 = 29;
const CAUSE: u32 = 37;
const FROM: u32 = 41;
const TO: u32 = 45;
const LIFE: u32 = 50;
/// Tells a return from none.
const BACK: u64 = 1 << 49;

#[cfg(test)]
mod tests {
    use super::*;

    fn change(evidence: u8) -> Change {
        Change {
            from: State::Up,
            to: State::Down,
            cause: Some(Cause::Refused),
            evidence,
        }
    }

    #[test]
    fn the_last_sixteen_are_kept_oldest_first() {
        let journal = Journal::new();
        let word = |tick| Word::vacant(Tick::from_bits(tick)).claimed().taken();
        for n in 1..=20u8 {
            journal.write(change(n), word(u64::from(n)));
        }
        let read = journal.read(word(20), Tick::from_bits(20));
        let evidence: Vec<_> = read.iter().map(|entry| entry.evidence).collect();
        assert_eq!(evidence, (5..=20).collect::<Vec<_>>());
        assert_eq!(
            read[0].to_string(),
            "0.1s ago up -> down: refused, 5 in a row"
        );
    }

    #[test]
    fn a_return_is_the_latest_one_of_its_address_until_it_is_forgotten() {
        let journal = Journal::new();
        let word = Word::vacant(Tick::from_bits(9)).claimed().taken();
        assert_eq!(journal.back_since(word), None);
        for at in [7, 9, 8] {
            journal.note_return(word, Tick::from_bits(at));
        }
        assert_eq!(journal.back_since(word), Some(Tick::from_bits(9)));
        assert_eq!(journal.back_since(word.vacated().claimed().taken()), None);
        journal.forget_return(word, Tick::from_bits(8));
        assert_eq!(journal.back_since(word), Some(Tick::from_bits(9)));
        journal.forget_return(word, Tick::from_bits(9));
        assert_eq!(journal.back_since(word), None);
    }

    #[test]
    fn nobody_reads_the_journal_of_the_address_that_had_the_record_before() {
        let journal = Journal::new();
        let now = Tick::from_bits(1);
        let word = Word::vacant(now).claimed().taken();
        journal.write(change(3), word);
        assert_eq!(journal.read(word, now).len(), 1);
        assert!(
            journal
                .read(word.vacated().claimed().taken(), now)
                .is_empty()
        );
    }
}
