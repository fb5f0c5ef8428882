//! How many words of a registry may be down by evidence at once.
//!
//! Whoever is about to take a word down reserves a slot first, by one exchange that counts and
//! compares at once, so that no number of racing threads passes the limit. From then on the slot
//! belongs to the word: the exchange that brings it up again, whoever makes it, gives the slot
//! back, and a word is brought up by one exchange alone. A trip that does not happen gives it back
//! by [`Slot`]'s drop.

use std::sync::atomic::AtomicU64 as PlainU64;

use crossbeam::utils::CachePadded;

use crate::sync::{AtomicU64, Ordering, order};

/// The limit of one group, and what is taken of it.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Members, the most that may be down, how many are: 21 bits each, in one word, so that a
    /// reservation never meets half a change of the limit.
    ///
    /// Written by `reserve`, `release` and `resize`, read by all. Ordering: a release of a slot is
    /// `Release` and a reservation `Acquire`, each other's partners: who sees the word that took a
    /// freed slot down sees the word that freed it up, so that nobody ever sees more words down
    /// than the limit. For the count alone `Relaxed` would do. Model:
    /// `who_sees_the_next_one_down_sees_the_one_before_it_up`.
    seats: CachePadded<AtomicU64>,
    /// Trips that found no slot. `Relaxed`: a count, nothing else; std's own in the models too.
    refused: PlainU64,
    /// Trips that found one. `Relaxed`, as above.
    trips: PlainU64,
}

/// What a gate holds at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Seats {
    pub(crate) members: u32,
    pub(crate) most: u32,
    pub(crate) taken: u32,
}

/// A slot that no word has yet. Given back by its drop.
#[derive(Debug)]
#[must_use = "a slot that is dropped is given back"]
pub(crate) struct Slot<'a>(&'a Gate);

impl Gate {
    /// A gate that lets nobody through until it is resized.
    pub(crate) fn new() -> Self {
        Self {
            seats: CachePadded::new(AtomicU64::new(0)),
            refused: PlainU64::new(0),
            trips: PlainU64::new(0),
        }
    }

    /// A slot, if one is left. Lock-free: an exchange is lost only to another that succeeded.
    pub(crate) fn reserve(&self) -> Option<Slot<'_>> {
        let next = |bits| {
            let seats = Seats::from_bits(bits);
            let taken = seats.taken + 1;
            (taken <= seats.most).then(|| Seats { taken, ..seats }.to_bits())
        };
        let success = order("gate_reserve", Ordering::Acquire);
        self.seats
            .fetch_update(success, Ordering::Relaxed, next)
            .is_ok()
            .then(|| Slot(self))
    }

    /// Gives back the slot of a word that is not down any more.
    pub(crate) fn release(&self) {
        let give = |bits| {
            let seats = Seats::from_bits(bits);
            let taken = seats.taken.saturating_sub(1);
            Some(Seats { taken, ..seats }.to_bits())
        };
        let success = order("gate_release", Ordering::Release);
        // Never fails: `give` refuses nothing.
        let _ = self.seats.fetch_update(success, Ordering::Relaxed, give);
    }

    /// Another number of members, and of those that may be down. What is taken stays taken, be it
    /// more than may be: nobody is brought up by a change of the limit.
    pub(crate) fn resize(&self, members: u32, most: u32) {
        let size = |bits| {
            let seats = Seats::from_bits(bits);
            let (members, most) = (members.min(SEATS_MOST), most.min(SEATS_MOST));
            Some(
                Seats {
                    members,
                    most,
                    ..seats
                }
                .to_bits(),
            )
        };
        let _ = self
            .seats
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, size);
    }

    pub(crate) fn seats(&self) -> Seats {
        Seats::from_bits(self.seats.load(Ordering::Relaxed))
    }

    /// A trip did not happen for want of a slot.
    pub(crate) fn note_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }
}

impl Slot<'_> {
    /// The trip has happened: the slot is the word's.
    pub(crate) fn keep(self) {
        self.0.trips.fetch_add(1, Ordering::Relaxed);
        std::mem::forget(self);
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Seats {
    fn from_bits(bits: u64) -> Self {
        let part = |shift: u32| (bits >> shift) as u32 & SEATS_MOST;
        Self {
            members: part(2 * SEAT_BITS),
            most: part(SEAT_BITS),
            taken: part(0),
        }
    }

    fn to_bits(self) -> u64 {
        u64::from(self.members) << (2 * SEAT_BITS)
            | u64::from(self.most) << SEAT_BITS
            | u64::from(self.taken)
    }
}

const SEAT_BITS: u32 = 21;
/// The most members that a gate counts.
pub(crate) const SEATS_MOST: u32 = (1 << SEAT_BITS) - 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_limit_is_reached_and_not_passed() {
        let gate = Gate::new();
        assert!(gate.reserve().is_none(), "nobody before the first size");
        gate.resize(5, 2);
        let (first, second) = (gate.reserve().unwrap(), gate.reserve().unwrap());
        assert!(gate.reserve().is_none());
        assert_eq!(gate.seats().taken, 2, "who gets none gives none back");
        first.keep();
        drop(second);
        assert_eq!(gate.seats().taken, 1);
        gate.release();
        assert_eq!((gate.seats().taken, gate.trips()), (0, 1));
    }

    #[test]
    fn a_smaller_limit_takes_nothing_back_and_gives_nothing_out() {
        let gate = Gate::new();
        gate.resize(4, 2);
        (0..2).for_each(|_| gate.reserve().unwrap().keep());
        gate.resize(2, 1);
        gate.release();
        assert!(gate.reserve().is_none(), "one is taken, one is the most");
        gate.release();
        gate.reserve().unwrap().keep();
        assert_eq!(
            gate.seats(),
            Seats {
                members: 2,
                most: 1,
                taken: 1
            }
        );
    }

    proptest! {
        #[test]
        fn packing_is_lossless(
            members in 0..=SEATS_MOST, most in 0..=SEATS_MOST, taken in 0..=SEATS_MOST,
        ) {
            let seats = Seats { members, most, taken };
            prop_assert_eq!(Seats::from_bits(seats.to_bits()), seats);
        }
    }
}
