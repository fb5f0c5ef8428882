//! One failing address in one atomic word, for the rivals: phase, streak and time of the last
//! record. An entry that has nothing against its address any more is retired for good, and whoever
//! retired it takes it out of the map; so the maps hold failing addresses only.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The clock of a rival: read only where the answer depends on time.
pub(crate) struct Time(Instant);

/// Phase in bits 62-63, streak in bits 48-55, milliseconds below.
///
/// `Relaxed` throughout: every fact is inside the word, and the maps order membership.
pub(crate) struct Entry(AtomicU64);

impl Time {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the rival was made.
    fn now(&self) -> u64 {
        let elapsed = self.0.elapsed();
        elapsed.as_secs() * 1000 + u64::from(elapsed.subsec_millis())
    }
}

impl Entry {
    /// The entry of an address that failed for the first time.
    pub(crate) fn failed(time: &Time) -> Self {
        Self(AtomicU64::new(word(UP, 1, time.now())))
    }

    #[inline]
    pub(crate) fn is_down(&self, time: &Time) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        matches!(phase(word), DOWN | RISING) && !is_stale(word, time.now())
    }

    pub(crate) fn is_retired(&self) -> bool {
        phase(self.0.load(Ordering::Relaxed)) == RETIRED
    }

    /// Records a failure; false if the entry was retired, which counts nothing.
    pub(crate) fn fail(&self, time: &Time) -> bool {
        let now = time.now();
        self.change(|old| match phase(old) {
            RETIRED => None,
            _ if is_stale(old, now) => Some(word(UP, 1, now)),
            RISING => Some(word(DOWN, 1, now)),
            up_or_down => {
                let streak = streak(old).saturating_add(1);
                let down = up_or_down == DOWN || streak >= 3;
                Some(word(if down { DOWN } else { UP }, streak, now))
            }
        })
        .is_some()
    }

    /// Records a success; true if the entry has thereby been retired and must leave the map.
    pub(crate) fn succeed(&self, time: &Time) -> bool {
        let now = time.now();
        let left = self.change(|old| match phase(old) {
            RETIRED => None,
            DOWN if !is_stale(old, now) => Some(word(RISING, 1, now)),
            _ => Some(word(RETIRED, 0, now)),
        });
        left.is_some_and(|new| phase(new) == RETIRED)
    }

    fn change(&self, rule: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            let new = rule(old)?;
            match self
                .0
                .compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(new),
                Err(actual) => old = actual,
            }
        }
    }
}

fn word(phase: u64, streak: u8, now: u64) -> u64 {
    phase << 62 | u64::from(streak) << 48 | now & MILLIS
}

fn phase(word: u64) -> u64 {
    word >> 62
}

fn streak(word: u64) -> u8 {
    (word >> 48) as u8
}

fn is_stale(word: u64, now: u64) -> bool {
    now.saturating_sub(word & MILLIS) > 60_000
}

const UP: u64 = 0;
const DOWN: u64 = 1;
/// Down, one success of two seen.
const RISING: u64 = 2;
const RETIRED: u64 = 3;
const MILLIS: u64 = (1 << 48) - 1;
