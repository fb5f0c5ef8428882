//! The rules: what one word says of an address, and what an event makes of it.
//!
//! Everything a verdict rests on lives in one 64-bit word, because separate counters and times
//! cannot be read as one fact. This file is plain arithmetic on that word: whoever holds it
//! (`record.rs`) loads, asks [`step`] and exchanges.
//!
//! # The bit budget
//!
//! | bits | field | why so many |
//! |--:|---|---|
//! | 0-32 | tick | 33 bits of 4 ms: a turn of 1.09 years |
//! | 33-46 | incarnation | 14 bits: how often the record has been given to a new address |
//! | 47-54 | streak | 8 bits: thresholds go to 255 |
//! | 55-57 | back-off | 3 bits: up to 128 times `fail_timeout`. Always 0 today |
//! | 58-59 | override | 2 bits: forced up, forced down, drained. Always 0 today |
//! | 60-63 | phase | 4 bits: five in use; room for probes and suspicion |
//!
//! A probe's lease begins at the tick of the word that offers it and needs no bits of its own.
//!
//! **The tick turns over.** Ages are taken modulo a turn, so a word that nobody has touched for
//! exactly a turn looks young again, for at most one `fail_timeout` and 4.4 minutes (what may lie in
//! the future, see `SKEW`): an address that failed 1.09 years ago may be skipped for that long.
//! Nothing else follows from it.
//!
//! **The incarnation turns over** after 16 384 new addresses in one record. An exchange could be
//! fooled only by a word equal in every bit, so all of these would have to come and go within one
//! tick of 4 ms, 0.25 µs each; one takes a shard lock twice and costs more than that.

use std::time::Duration;

/// The registry's unit of time.
pub(crate) const TICK: Duration = Duration::from_millis(4);

/// A moment, in ticks since the clock's origin, modulo a turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tick(u64);

/// A span, in ticks.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Ticks(u64);

/// What a policy decides by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thresholds {
    pub(crate) max_fails: u8,
    pub(crate) min_rises: u8,
    pub(crate) fail_timeout: Ticks,
}

/// What is recorded against an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    Failure,
    Success,
}

/// What a word says its record is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Belongs to no address: may be taken.
    Vacant,
    /// Being given to an address; its key is not whole yet.
    Claimed,
    /// Up, with a streak of failures that may be zero.
    Up,
    /// Down, with a streak of failures.
    Down,
    /// Down, with a streak of successes.
    Rising,
}

/// One address's whole state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Word(u64);

/// What `event` at `now` makes of `word`.
///
/// Equal words mean that there is nothing to write. A vacant or claimed word is returned as it is:
/// it is nobody's.
pub(crate) fn step(word: Word, event: Event, now: Tick, thresholds: &Thresholds) -> Word {
    if !word.is_taken() {
        return word;
    }
    if event == Event::Success && word.is_neutral() {
        return word;
    }
    let now = now.max(word.tick());
    let word = if is_stale(word, now, thresholds) {
        word.cleared()
    } else {
        word
    };
    match event {
        Event::Failure => failed(word, thresholds),
        Event::Success => succeeded(word, thresholds),
    }
    .at(now)
}

fn failed(word: Word, thresholds: &Thresholds) -> Word {
    match word.phase() {
        Phase::Up => {
            let streak = word.streak().saturating_add(1);
            let down = streak >= thresholds.max_fails;
            word.with(if down { Phase::Down } else { Phase::Up }, streak)
        }
        Phase::Rising => word.with(Phase::Down, 1),
        _ => word.with(Phase::Down, word.streak().saturating_add(1)),
    }
}

fn succeeded(word: Word, thresholds: &Thresholds) -> Word {
    let rises = match word.phase() {
        Phase::Up => return word.cleared(),
        Phase::Rising => word.streak().saturating_add(1),
        _ => 1,
    };
    if rises >= thresholds.min_rises {
        word.cleared()
    } else {
        word.with(Phase::Rising, rises)
    }
}

/// Whether the address must not be dialled at `now`.
pub(crate) fn is_down(word: Word, now: Tick, thresholds: &Thresholds) -> bool {
    word.holds_down() && !is_stale(word, now, thresholds)
}

/// Whether the word has outlived its evidence: the next record clears it first.
pub(crate) fn is_stale(word: Word, now: Tick, thresholds: &Thresholds) -> bool {
    word.is_taken() && now.since(word.tick()) > thresholds.fail_timeout
}

/// How long until a down address may be dialled again; zero when it may.
pub(crate) fn retry_in(word: Word, now: Tick, thresholds: &Thresholds) -> Duration {
    if !is_down(word, now, thresholds) {
        return Duration::ZERO;
    }
    // The age may equal the timeout and still be down, hence one tick more.
    let left = thresholds.fail_timeout.0 + 1 - now.since(word.tick()).0;
    Ticks(left).time()
}

/// A span in ticks, rounded up, so that nothing ends early.
pub(crate) fn whole_ticks(time: Duration) -> Ticks {
    let ticks = time.as_nanos().div_ceil(TICK.as_nanos());
    Ticks(u64::try_from(ticks).unwrap_or(u64::MAX))
}

impl Tick {
    pub(crate) fn at(elapsed: Duration) -> Self {
        // By parts: one division of 128 bits costs as much as all the rest of a read. What the
        // multiplication could wrap is far above the mask.
        let ticks = elapsed.as_secs().wrapping_mul(TICKS_PER_SECOND);
        let rest = u64::from(elapsed.subsec_nanos() / TICK.subsec_nanos());
        Self(ticks.wrapping_add(rest) & TICK_MASK)
    }

    /// The age of `earlier`. What lies slightly in the future is of age zero: another thread may
    /// have taken its time a little later than ours.
    pub(crate) fn since(self, earlier: Self) -> Ticks {
        let age = self.0.wrapping_sub(earlier.0) & TICK_MASK;
        Ticks(if age > TICK_MASK - SKEW { 0 } else { age })
    }

    fn max(self, other: Self) -> Self {
        if self.since(other) == Ticks(0) {
            other
        } else {
            self
        }
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits & TICK_MASK)
    }
}

impl Ticks {
    pub(crate) fn time(self) -> Duration {
        TICK.saturating_mul(u32::try_from(self.0).unwrap_or(u32::MAX))
    }
}

impl Word {
    /// A record that no address has had yet, as of `now`.
    pub(crate) fn vacant(now: Tick) -> Self {
        Self(0).at(now)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn phase(self) -> Phase {
        match self.0 >> PHASE_SHIFT {
            1 => Phase::Claimed,
            2 => Phase::Up,
            3 => Phase::Down,
            4 => Phase::Rising,
            _ => Phase::Vacant,
        }
    }

    pub(crate) fn streak(self) -> u8 {
        (self.0 >> STREAK_SHIFT) as u8
    }

    pub(crate) fn tick(self) -> Tick {
        Tick(self.0 & TICK_MASK)
    }

    pub(crate) fn incarnation(self) -> u64 {
        self.0 >> INCARNATION_SHIFT & INCARNATION_MASK
    }

    pub(crate) fn is_vacant(self) -> bool {
        self.phase() == Phase::Vacant
    }

    /// Belongs to an address whose key can be read.
    pub(crate) fn is_taken(self) -> bool {
        !matches!(self.phase(), Phase::Vacant | Phase::Claimed)
    }

    /// Up with nothing against it: the same as having no record at all.
    pub(crate) fn is_neutral(self) -> bool {
        self.phase() == Phase::Up && self.streak() == 0
    }

    /// Down, for as long as it is not stale.
    pub(crate) fn holds_down(self) -> bool {
        matches!(self.phase(), Phase::Down | Phase::Rising)
    }

    /// The next incarnation, on its way to an address. The tick stays: it never goes back.
    pub(crate) fn claimed(self) -> Self {
        let next = self.incarnation().wrapping_add(1) & INCARNATION_MASK;
        let kept = self.0 & TICK_MASK;
        Self(kept | next << INCARNATION_SHIFT).with(Phase::Claimed, 0)
    }

    /// The claimed word as its new address's, before any event.
    pub(crate) fn taken(self) -> Self {
        self.with(Phase::Up, 0)
    }

    pub(crate) fn vacated(self) -> Self {
        self.with(Phase::Vacant, 0)
    }

    fn cleared(self) -> Self {
        self.with(Phase::Up, 0)
    }

    fn with(self, phase: Phase, streak: u8) -> Self {
        let phase = match phase {
            Phase::Vacant => 0,
            Phase::Claimed => 1,
            Phase::Up => 2,
            Phase::Down => 3,
            Phase::Rising => 4,
        };
        let kept = self.0 & !(PHASE_MASK << PHASE_SHIFT) & !(STREAK_MASK << STREAK_SHIFT);
        Self(kept | phase << PHASE_SHIFT | u64::from(streak) << STREAK_SHIFT)
    }

    fn at(self, tick: Tick) -> Self {
        Self(self.0 & !TICK_MASK | tick.0)
    }
}

const TICKS_PER_SECOND: u64 = 1_000_000_000 / TICK.subsec_nanos() as u64;
const TICK_BITS: u32 = 33;
const TICK_MASK: u64 = (1 << TICK_BITS) - 1;
const INCARNATION_SHIFT: u32 = 33;
pub(crate) const INCARNATION_MASK: u64 = (1 << 14) - 1;
const STREAK_SHIFT: u32 = 47;
const STREAK_MASK: u64 = 0xff;
const PHASE_SHIFT: u32 = 60;
const PHASE_MASK: u64 = 0xf;

/// How far in the future a tick may lie and still count as now: 65 536 ticks, 4.4 minutes.
const SKEW: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLASSIC: Thresholds = Thresholds {
        max_fails: 3,
        min_rises: 2,
        fail_timeout: Ticks(15_000),
    };

    fn after(events: &[Event], now: Tick) -> Word {
        events
            .iter()
            .fold(Word::vacant(now).claimed().taken(), |word, &event| {
                step(word, event, now, &CLASSIC)
            })
    }

    use Event::{Failure, Success};

    #[test]
    fn third_failure_in_a_row_takes_it_down() {
        let now = Tick(100);
        assert!(!is_down(after(&[Failure; 2], now), now, &CLASSIC));
        assert!(is_down(after(&[Failure; 3], now), now, &CLASSIC));
        assert!(!is_down(
            after(&[Failure, Failure, Success, Failure], now),
            now,
            &CLASSIC
        ));
    }

    #[test]
    fn second_success_in_a_row_brings_it_up() {
        let now = Tick(100);
        let one = after(&[Failure, Failure, Failure, Success], now);
        assert!(is_down(one, now, &CLASSIC));
        assert!(step(one, Success, now, &CLASSIC).is_neutral());
        let interrupted = step(step(one, Failure, now, &CLASSIC), Success, now, &CLASSIC);
        assert!(is_down(interrupted, now, &CLASSIC));
    }

    #[test]
    fn evidence_ends_one_tick_after_the_timeout() {
        let down = after(&[Failure; 3], Tick(0));
        assert!(is_down(down, Tick(14_999), &CLASSIC));
        assert!(is_down(down, Tick(15_000), &CLASSIC));
        assert!(!is_down(down, Tick(15_001), &CLASSIC));
        assert_eq!(retry_in(down, Tick(15_000), &CLASSIC), TICK);
        assert_eq!(retry_in(down, Tick(15_001), &CLASSIC), Duration::ZERO);
    }

    #[test]
    fn a_stale_record_is_cleared_before_the_next_one_counts() {
        let two = after(&[Failure; 2], Tick(0));
        assert!(is_down(
            step(two, Failure, Tick(15_000), &CLASSIC),
            Tick(15_000),
            &CLASSIC
        ));
        let later = step(two, Failure, Tick(15_001), &CLASSIC);
        assert_eq!((later.phase(), later.streak()), (Phase::Up, 1));
        let down = after(&[Failure; 3], Tick(0));
        assert!(step(down, Success, Tick(15_001), &CLASSIC).is_neutral());
    }

    #[test]
    fn a_success_too_few_refreshes_the_time() {
        let down = after(&[Failure; 3], Tick(0));
        let rising = step(down, Success, Tick(15_000), &CLASSIC);
        assert!(is_down(rising, Tick(30_000), &CLASSIC));
        assert!(!is_down(rising, Tick(30_001), &CLASSIC));
    }

    #[test]
    fn an_older_clock_sample_never_moves_time_back() {
        let word = after(&[Failure], Tick(50));
        assert_eq!(step(word, Failure, Tick(40), &CLASSIC).tick(), Tick(50));
        assert_eq!(Tick(40).since(Tick(50)), Ticks(0));
    }

    #[test]
    fn ages_survive_the_turn_of_the_tick() {
        let last = Tick(TICK_MASK);
        assert_eq!(Tick(4).since(last), Ticks(5));
        assert_eq!(Tick::at(TICK * 5).since(Tick(2)), Ticks(3));
        let down = after(&[Failure; 3], last);
        assert!(is_down(down, Tick(14_999), &CLASSIC));
        assert!(!is_down(down, Tick(15_000), &CLASSIC));
    }

    #[test]
    fn a_moment_is_the_last_whole_tick() {
        for nanos in [
            0,
            3_999_999,
            4_000_000,
            999_999_999,
            1_000_000_000,
            u64::MAX,
        ] {
            let expected = (nanos / 4_000_000) & TICK_MASK;
            assert_eq!(
                Tick::at(Duration::from_nanos(nanos)),
                Tick(expected),
                "{nanos} ns"
            );
        }
    }

    #[test]
    fn spans_round_up() {
        assert_eq!(whole_ticks(Duration::from_millis(4)), Ticks(1));
        assert_eq!(whole_ticks(Duration::from_micros(4001)), Ticks(2));
        assert_eq!(Ticks(15_000).time(), Duration::from_secs(60));
    }

    #[test]
    fn a_reused_word_differs_from_every_earlier_one() {
        let first = after(&[Failure; 3], Tick(9));
        let second = first.vacated().claimed().taken();
        assert_eq!(second.incarnation(), first.incarnation() + 1);
        assert_eq!(second.tick(), first.tick());
        assert!(second.is_neutral());
    }

    proptest! {
        #[test]
        fn no_word_and_no_event_panics_or_leaves_the_rules(
            bits in any::<u64>(), now in 0..=TICK_MASK, success in any::<bool>(),
            max_fails in 1u8.., min_rises in 1u8.., timeout in 1u64..1 << 25,
        ) {
            let thresholds = Thresholds { max_fails, min_rises, fail_timeout: Ticks(timeout) };
            let event = if success { Success } else { Failure };
            let word = Word::from_bits(bits);
            let next = step(word, event, Tick(now), &thresholds);
            prop_assert_eq!(next.incarnation(), word.incarnation());
            prop_assert_eq!(next.is_taken(), word.is_taken());
            if next != word {
                prop_assert!(next.is_taken());
            }
            // A success never takes down what was up; a failure never brings up what was down.
            let (was, is) = (is_down(word, Tick(now), &thresholds),
                             is_down(next, Tick(now), &thresholds));
            prop_assert!(!(success && !was && is));
            prop_assert!(success || !was || is);
        }

        #[test]
        fn packing_is_lossless(tick in 0..=TICK_MASK, streak in any::<u8>(), incarnation in 0..=INCARNATION_MASK) {
            let word = Word(incarnation << INCARNATION_SHIFT).with(Phase::Down, streak).at(Tick(tick));
            prop_assert_eq!(word.phase(), Phase::Down);
            prop_assert_eq!(word.streak(), streak);
            prop_assert_eq!(word.tick(), Tick(tick));
            prop_assert_eq!(word.incarnation(), incarnation);
        }
    }
}
