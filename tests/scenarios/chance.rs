//! Chance that comes out the same each time.

use std::sync::atomic::{AtomicU64, Ordering};

/// Spreads the bits of a number (`SplitMix64`).
pub(crate) fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A row of numbers.
pub(crate) struct Chance(AtomicU64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(mixed(seed)))
    }

    pub(crate) fn next(&self) -> u64 {
        mixed(self.0.fetch_add(1, Ordering::Relaxed)) >> 1
    }

    /// One of so many.
    pub(crate) fn below(&self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    /// From 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        (self.next() >> 10) as f64 / (1u64 << 53) as f64
    }
}
