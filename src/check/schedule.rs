//! Which check is to begin when: rules of time alone.
//!
//! A check begins at once when it comes, for the second time at some moment of its first pace, and
//! from then on once a pace, more or less: those that came together do not stay together. None is
//! begun twice at a time, and no more than a bounded number at all. Those that are due wait in the
//! order in which they became so; whoever waits longest goes first, however many come behind.
//!
//! A check that has begun has a lease. If nobody tells how it ended, its place is free again when
//! that is over.
//!
//! Each call costs the logarithm of the number of checks: two ordered queues, and a table beside
//! them.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

/// The checks that are to come, and those under way. Times count from an origin of the caller's.
#[derive(Debug)]
pub(super) struct Schedule<K> {
    places: HashMap<K, Place>,
    /// Those that wait, by when they are due.
    waiting: BTreeMap<Slot, K>,
    /// Those under way, by when their lease ends. No longer than `most`, or than it was before.
    flying: BTreeMap<Slot, K>,
    most: usize,
    turns: u64,
    seed: u64,
}

/// One run of a check, told apart from every other of the same schedule.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Turn(u64);

/// How long from the beginning of one run to that of the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pace {
    pub(super) interval: Duration,
    /// By how many percent it may be shorter or longer: 0 to 50.
    pub(super) jitter_percent: u8,
}

#[derive(Debug)]
struct Place {
    lease: Duration,
    turn: Turn,
    stage: Stage,
    is_new: bool,
    /// Wanted again as soon as the run under way is over.
    is_hasty: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Waits { due: Duration },
    Flies { began: Duration, until: Duration },
}

/// A place in a queue: the turn tells apart what is due at one moment, first come first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Slot {
    at: Duration,
    turn: Turn,
}

impl Ord for Slot {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        #[cfg(test)]
        tests::count_comparison();
        (self.at, self.turn).cmp(&(other.at, other.turn))
    }
}

impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Copy + Eq + Hash> Schedule<K> {
    /// Nothing to check. At most `most` go at once; `seed` is where the jitter begins.
    pub(super) fn new(most: usize, seed: u64) -> Self {
        Self {
            places: HashMap::new(),
            waiting: BTreeMap::new(),
            flying: BTreeMap::new(),
            most: most.max(1),
            turns: 0,
            seed,
        }
    }

    /// At most `most` go at once from now on. Those under way go on.
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most.max(1);
    }

    /// Checks `key` from `now` on. What is told of it later than `lease` after it has begun comes
    /// too late. Nothing if it is there already.
    pub(super) fn insert(&mut self, key: K, lease: Duration, now: Duration) {
        if self.places.contains_key(&key) {
            return;
        }
        let turn = self.next_turn();
        let place = Place {
            lease,
            turn,
            stage: Stage::Waits { due: now },
            is_new: true,
            is_hasty: false,
        };
        self.places.insert(key, place);
        self.waiting.insert(Slot { at: now, turn }, key);
    }

    /// Checks it no longer. The turn that is under way, if one is: nobody waits for it any more.
    pub(super) fn remove(&mut self, key: K) -> Option<Turn> {
        let place = self.places.remove(&key)?;
        let turn = place.turn;
        match place.stage {
            Stage::Waits { due: at } => {
                self.waiting.remove(&Slot { at, turn });
                None
            }
            Stage::Flies { until: at, .. } => {
                self.flying.remove(&Slot { at, turn });
                Some(turn)
            }
        }
    }

    /// When there is something to do next: a check to begin, or a lease that ends. `None` while
    /// nothing is to come.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let begins = self.waiting.first_key_value().map(|(slot, _)| slot.at);
        let begins = begins.filter(|_| self.flying.len() < self.most);
        let lapses = self.flying.first_key_value().map(|(slot, _)| slot.at);
        match (begins, lapses) {
            (Some(begins), Some(lapses)) => Some(begins.min(lapses)),
            (one, other) => one.or(other),
        }
    }

    /// Begins the check that has been due for longest, if one is and there is room.
    pub(super) fn begin(&mut self, now: Duration) -> Option<(K, Turn)> {
        let (slot, _) = self.waiting.first_key_value()?;
        if slot.at > now || self.flying.len() >= self.most {
            return None;
        }
        let (Slot { turn, .. }, key) = self.waiting.pop_first()?;
        let place = self.places.get_mut(&key)?;
        let until = now.saturating_add(place.lease);
        place.stage = Stage::Flies { began: now, until };
        self.flying.insert(Slot { at: until, turn }, key);
        Some((key, turn))
    }

    /// The check whose lease ended first, if one has. It is still under way until its
    /// [`end`](Self::end).
    pub(super) fn lapsed(&self, now: Duration) -> Option<(K, Turn)> {
        let (slot, key) = self.flying.first_key_value()?;
        (slot.at <= now).then_some((*key, slot.turn))
    }

    /// Whether that turn is under way.
    #[cfg(test)]
    pub(super) fn is_flying(&self, key: K, turn: Turn) -> bool {
        let place = self.places.get(&key);
        place.is_some_and(|place| place.turn == turn && matches!(place.stage, Stage::Flies { .. }))
    }

    /// The turn is over; the next one comes a pace after it began, or at once if that is past.
    /// Nothing if that turn is not under way.
    pub(super) fn end(&mut self, key: K, turn: Turn, pace: Pace, now: Duration) {
        let next = self.next_turn();
        let seed = self.seed;
        let Some(place) = self.places.get_mut(&key).filter(|place| place.turn == turn) else {
            return;
        };
        let Stage::Flies { began, until } = place.stage else {
            return;
        };
        self.flying.remove(&Slot { at: until, turn });
        let is_new = std::mem::take(&mut place.is_new);
        let at = match std::mem::take(&mut place.is_hasty) {
            true => now,
            false => now.max(began.saturating_add(pace.spread(is_new, mixed(seed, next)))),
        };
        place.turn = next;
        place.stage = Stage::Waits { due: at };
        self.waiting.insert(Slot { at, turn: next }, key);
    }

    /// Wants the check at `now`, or as soon as the run that is under way is over.
    pub(super) fn hasten(&mut self, key: K, now: Duration) {
        let Some(place) = self.places.get_mut(&key) else {
            return;
        };
        let turn = place.turn;
        match &mut place.stage {
            Stage::Flies { .. } => place.is_hasty = true,
            Stage::Waits { due } if *due > now => {
                self.waiting.remove(&Slot { at: *due, turn });
                *due = now;
                self.waiting.insert(Slot { at: now, turn }, key);
            }
            Stage::Waits { .. } => {}
        }
    }

    fn next_turn(&mut self) -> Turn {
        self.turns += 1;
        Turn(self.turns)
    }
}

impl Pace {
    /// The interval with its jitter; of what is new, a random part, so that those who came together
    /// part.
    fn spread(self, is_new: bool, random: u64) -> Duration {
        let nanos = self.interval.as_nanos();
        let random = u128::from(random >> 32);
        let part = |of: u128| of.saturating_mul(random) >> 32;
        let jitter = nanos.saturating_mul(u128::from(self.jitter_percent)) / 100;
        let nanos = match is_new && jitter > 0 {
            true => part(nanos),
            false => nanos.saturating_sub(jitter) + part(2 * jitter),
        };
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The number of a turn as a random number: SplitMix64.
fn mixed(seed: u64, Turn(turn): Turn) -> u64 {
    let mut mixed = seed.wrapping_add(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
