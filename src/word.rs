//! One address's whole state in 64 bits, and the registry's unit of time.
//!
//! Everything a verdict rests on lives in one word, because separate counters and times cannot be
//! read as one fact. This file packs and unpacks; what the fields mean is in `state.rs`.
//!
//! # The bit budget
//!
//! | bits | field | why so many |
//! |--:|---|---|
//! | 0-28 | tick | 29 bits of 4 ms: a turn of 24.8 days |
//! | 29-31 | permits | 3 bits: probes on their way under the current lease, up to 7 |
//! | 32-34 | generation | 3 bits: how often the verdict has changed |
//! | 35-37 | trips | 3 bits: trips remembered, up to 7: the last back-off is 64 times `fail_timeout` |
//! | 38-45 | streak | 8 bits: thresholds go to 255 |
//! | 46-59 | incarnation | 14 bits: how often the record has been given to a new address |
//! | 60-63 | phase | 4 bits: twelve in use |
//!
//! A lease begins at the tick of the word that grants it and needs no bits of its own. An
//! operator's override is a phase: it hides all evidence, so none is kept beneath it.
//!
//! **The tick turns over.** Ages are taken modulo a turn, so a word that nobody has touched for
//! exactly a turn looks young again: an address that failed 24.8 days ago and was never dialled
//! since may be skipped for as long as it would have been then. Nothing else follows from it, and
//! whoever sweeps the registry now and then never meets it.
//!
//! **The incarnation turns over** after 16 384 new addresses in one record. An exchange could be
//! fooled only by a word equal in every bit, so all of these would have to come and go within one
//! tick of 4 ms, 0.25 µs each; one takes a shard lock twice and costs more than that.
//!
//! **The generation turns over** after eight changes of verdict. A result is judged by it only
//! within one incarnation, so a dial would have to be on its way through eight changes of verdict
//! to be taken for a current one, and then it counts as one more result.

use std::time::Duration;

/// The registry's unit of time.
pub(crate) const TICK: Duration = Duration::from_millis(4);

/// A moment, in ticks since the clock's origin, modulo a turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tick(u64);

/// A span, in ticks.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Ticks(pub(crate) u64);

/// What a word says its record is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Belongs to no address: may be taken.
    Vacant,
    /// Being given to an address; its key is not whole yet.
    Claimed,
    /// Up, with a streak of failures that may be zero.
    Up,
    /// Up with a streak of failures, and silent for longer than usual.
    Suspect,
    /// Suspect, and its one race of the moment has been taken.
    Raced,
    /// Down, with a streak of failures.
    Down,
    /// Down, with a streak of successes.
    Rising,
    /// Being tried by probes, with a streak of their successes.
    Probing,
    /// Not to be asked for a span, which the streak holds.
    SetAside,
    /// Up because an operator said so.
    ForcedUp,
    /// Down because an operator said so.
    ForcedDown,
    /// Given no new work because an operator said so.
    Drained,
}

/// One address's whole state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Word(u64);

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

    /// The moment `age` before this one.
    pub(crate) fn before(self, age: Ticks) -> Self {
        Self(self.0.wrapping_sub(age.0) & TICK_MASK)
    }

    pub(crate) fn max(self, other: Self) -> Self {
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

impl Phase {
    /// Set by an operator; evidence changes nothing.
    pub(crate) fn is_forced(self) -> bool {
        matches!(self, Self::ForcedUp | Self::ForcedDown | Self::Drained)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        match bits {
            1 => Self::Claimed,
            2 => Self::Up,
            3 => Self::Down,
            4 => Self::Rising,
            5 => Self::Probing,
            6 => Self::Suspect,
            7 => Self::Raced,
            8 => Self::SetAside,
            9 => Self::ForcedUp,
            10 => Self::ForcedDown,
            11 => Self::Drained,
            _ => Self::Vacant,
        }
    }

    pub(crate) fn to_bits(self) -> u64 {
        match self {
            Self::Vacant => 0,
            Self::Claimed => 1,
            Self::Up => 2,
            Self::Down => 3,
            Self::Rising => 4,
            Self::Probing => 5,
            Self::Suspect => 6,
            Self::Raced => 7,
            Self::SetAside => 8,
            Self::ForcedUp => 9,
            Self::ForcedDown => 10,
            Self::Drained => 11,
        }
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
        Phase::from_bits(self.0 >> PHASE_SHIFT)
    }

    pub(crate) fn streak(self) -> u8 {
        (self.0 >> STREAK_SHIFT) as u8
    }

    pub(crate) fn tick(self) -> Tick {
        Tick(self.0 & TICK_MASK)
    }

    /// Probes on their way under the current lease.
    pub(crate) fn permits(self) -> u8 {
        (self.0 >> PERMITS_SHIFT) as u8 & SMALL_MASK as u8
    }

    /// How often the verdict has changed, modulo eight.
    pub(crate) fn generation(self) -> u8 {
        (self.0 >> GENERATION_SHIFT) as u8 & SMALL_MASK as u8
    }

    /// How often it went down and has not made up for yet.
    pub(crate) fn trips(self) -> u8 {
        (self.0 >> TRIPS_SHIFT) as u8 & SMALL_MASK as u8
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
    #[inline]
    pub(crate) fn is_neutral(self) -> bool {
        self.0 & NEUTRAL_MASK == NEUTRAL
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

    /// This word in the incarnation of `other`.
    pub(crate) fn of_incarnation(self, other: Self) -> Self {
        let mask = INCARNATION_MASK << INCARNATION_SHIFT;
        Self(self.0 & !mask | other.0 & mask)
    }

    pub(crate) fn vacated(self) -> Self {
        self.with(Phase::Vacant, 0)
    }

    pub(crate) fn with(self, phase: Phase, streak: u8) -> Self {
        let kept = self.0 & !(PHASE_MASK << PHASE_SHIFT) & !(STREAK_MASK << STREAK_SHIFT);
        Self(kept | phase.to_bits() << PHASE_SHIFT | u64::from(streak) << STREAK_SHIFT)
    }

    /// At most [`SMALL_MOST`].
    pub(crate) fn with_trips(self, trips: u8) -> Self {
        self.with_small(TRIPS_SHIFT, trips.min(SMALL_MOST))
    }

    pub(crate) fn with_permits(self, permits: u8) -> Self {
        self.with_small(PERMITS_SHIFT, permits.min(SMALL_MOST))
    }

    /// Another verdict.
    pub(crate) fn next_generation(self) -> Self {
        self.with_small(GENERATION_SHIFT, self.generation().wrapping_add(1))
    }

    pub(crate) fn at(self, tick: Tick) -> Self {
        Self(self.0 & !TICK_MASK | tick.0)
    }

    fn with_small(self, shift: u32, value: u8) -> Self {
        Self(self.0 & !(SMALL_MASK << shift) | (u64::from(value) & SMALL_MASK) << shift)
    }
}

const TICKS_PER_SECOND: u64 = 1_000_000_000 / TICK.subsec_nanos() as u64;
const TICK_BITS: u32 = 29;
pub(crate) const TICK_MASK: u64 = (1 << TICK_BITS) - 1;
const PERMITS_SHIFT: u32 = 29;
const GENERATION_SHIFT: u32 = 32;
const TRIPS_SHIFT: u32 = 35;
const SMALL_MASK: u64 = 0b111;
const STREAK_SHIFT: u32 = 38;
const STREAK_MASK: u64 = 0xff;
pub(crate) const INCARNATION_SHIFT: u32 = 46;
pub(crate) const INCARNATION_MASK: u64 = (1 << 14) - 1;
const PHASE_SHIFT: u32 = 60;
const PHASE_MASK: u64 = 0xf;
const NEUTRAL: u64 = 2 << PHASE_SHIFT;
const NEUTRAL_MASK: u64 =
    PHASE_MASK << PHASE_SHIFT | STREAK_MASK << STREAK_SHIFT | SMALL_MASK << TRIPS_SHIFT;

/// The most that a field of three bits holds: trips, permits.
pub(crate) const SMALL_MOST: u8 = 7;

/// How far in the future a tick may lie and still count as now: 65 536 ticks, 4.4 minutes.
const SKEW: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_older_clock_sample_never_moves_time_back() {
        assert_eq!(Tick(40).max(Tick(50)), Tick(50));
        assert_eq!(Tick(40).since(Tick(50)), Ticks(0));
    }

    #[test]
    fn ages_survive_the_turn_of_the_tick() {
        let last = Tick(TICK_MASK);
        assert_eq!(Tick(4).since(last), Ticks(5));
        assert_eq!(Tick(4).before(Ticks(5)), last);
        assert_eq!(Tick::at(TICK * 5).since(Tick(2)), Ticks(3));
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
        let first = Word::vacant(Tick(9))
            .claimed()
            .taken()
            .with(Phase::Down, 3)
            .with_trips(2);
        let second = first.vacated().claimed().taken();
        assert_eq!(second.incarnation(), first.incarnation() + 1);
        assert_eq!(second.tick(), first.tick());
        assert_eq!(second.generation(), 0);
        assert!(second.is_neutral());
    }

    #[test]
    fn what_is_remembered_is_not_neutral() {
        let neutral = Word::vacant(Tick(9)).claimed().taken().next_generation();
        assert!(neutral.is_neutral());
        assert!(!neutral.with_trips(1).is_neutral());
        assert!(!neutral.with(Phase::Up, 1).is_neutral());
        assert!(!neutral.with(Phase::Suspect, 0).is_neutral());
    }

    proptest! {
        #[test]
        fn packing_is_lossless(
            tick in 0..=TICK_MASK, streak in any::<u8>(), incarnation in 0..=INCARNATION_MASK,
            trips in 0..=SMALL_MOST, permits in 0..=SMALL_MOST, generation in 0..=SMALL_MOST,
            phase in 0..12u64,
        ) {
            let phase = Phase::from_bits(phase);
            let mut word = Word(incarnation << INCARNATION_SHIFT)
                .with(phase, streak)
                .with_trips(trips)
                .with_permits(permits)
                .at(Tick(tick));
            for _ in 0..generation {
                word = word.next_generation();
            }
            prop_assert_eq!(word.phase(), phase);
            prop_assert_eq!(word.streak(), streak);
            prop_assert_eq!(word.tick(), Tick(tick));
            prop_assert_eq!(word.incarnation(), incarnation);
            prop_assert_eq!(word.trips(), trips);
            prop_assert_eq!(word.permits(), permits);
            prop_assert_eq!(word.generation(), generation);
        }
    }
}
