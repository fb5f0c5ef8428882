//! Which server of a group is next.
//!
//! One balancer for each worker: its cursor, its counts and its random numbers are written by one
//! thread, so a choice takes no lock and allocates nothing. Weights are put into a sequence
//! beforehand, in which a server of weight 3 stands three times, evenly spread: round robin walks
//! it, random choices point into it. A server that health holds down is passed over; nothing is
//! learned by choosing.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How a server is chosen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Balance {
    /// Each in turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest connections for its weight.
    LeastConn,
    /// Any, by weight.
    Random,
    /// The better of two that chance has picked: fewer requests, quicker answers of late.
    P2c,
    /// The same for the same key, as long as it is up (a hash ring).
    Hash,
}

/// What a balancer asks of a server.
pub trait Candidate {
    /// Whether health holds it down.
    fn is_down(&self) -> bool;
    /// Its share; never 0.
    fn weight(&self) -> u16;
    /// What goes on there now.
    fn in_flight(&self) -> u32;
    /// How long it has taken of late, in any unit; 0 if nobody knows.
    fn cost(&self) -> u64;
    /// What it is told by on the hash ring.
    fn name(&self) -> u64;
}

/// Chooses among servers that do not change.
#[derive(Debug)]
pub struct Balancer {
    balance: Balance,
    /// Each server as often as its weight says.
    sequence: Box<[u16]>,
    /// Points on the hash ring, in their order; empty for the other ways.
    ring: Box<[(u64, u16)]>,
    cursor: Cell<usize>,
    random: RefCell<fastrand::Rng>,
}

impl Balancer {
    /// A balancer for `servers`, of which the first [`SERVERS_MOST`] count. `seed` is where its
    /// random numbers and its walk begin: workers that begin alike would all go to one server.
    #[must_use]
    pub fn new<C: Candidate>(balance: Balance, servers: &[C], seed: u64) -> Self {
        let servers = servers.get(..SERVERS_MOST).unwrap_or(servers);
        let weights: Vec<_> = servers.iter().map(|one| one.weight().max(1)).collect();
        let sequence = spread(&weights);
        let mut random = fastrand::Rng::with_seed(seed);
        let start = random.usize(..sequence.len().max(1));
        Self {
            balance,
            ring: match balance {
                Balance::Hash => ring(servers, &weights),
                _ => Box::default(),
            },
            sequence,
            cursor: Cell::new(start),
            random: RefCell::new(random),
        }
    }

    /// The place of the next server, if one is up. `servers` are those it was made for; `key` is
    /// what the hash ring is asked with.
    #[must_use]
    pub fn choose<C: Candidate>(&self, servers: &[C], key: u64) -> Option<usize> {
        self.choose_from(servers, key, |one| !one.is_down())
    }

    /// As [`Balancer::choose`], of those for which `may` says yes.
    pub fn choose_from<C: Candidate>(
        &self,
        servers: &[C],
        key: u64,
        may: impl Fn(&C) -> bool,
    ) -> Option<usize> {
        match self.balance {
            Balance::RoundRobin => self.walk(servers, self.step(), &may),
            Balance::LeastConn => self.least(servers, &may),
            Balance::Random => self.walk(servers, self.toss(), &may),
            Balance::P2c => self.better_of_two(servers, &may),
            Balance::Hash => self.on_ring(servers, key, &may),
        }
    }

    /// The next place of the walk.
    fn step(&self) -> usize {
        let next = self.cursor.get();
        self.cursor.set(next.wrapping_add(1));
        next
    }

    fn toss(&self) -> usize {
        let len = self.sequence.len().max(1);
        self.random.borrow_mut().usize(..len)
    }

    /// The first that may be had from `start` on.
    fn walk<C>(&self, servers: &[C], start: usize, may: impl Fn(&C) -> bool) -> Option<usize> {
        let len = self.sequence.len();
        let start = start.checked_rem(len)?;
        let (before, from) = self.sequence.split_at(start);
        let mut places = from.iter().chain(before).map(|&place| usize::from(place));
        places.find(|&place| servers.get(place).is_some_and(&may))
    }

    fn least<C: Candidate>(&self, servers: &[C], may: impl Fn(&C) -> bool) -> Option<usize> {
        // Among equals, each in turn.
        let start = self.step().checked_rem(servers.len())?;
        let (before, from) = servers.split_at(start);
        let turned = from.iter().chain(before).enumerate();
        let up = turned.filter(|(_, one)| may(one));
        let (nth, _) = up.min_by(|(_, one), (_, other)| {
            // in_flight / weight, without a division.
            let one_loads = u64::from(one.in_flight()) * u64::from(other.weight().max(1));
            let other_loads = u64::from(other.in_flight()) * u64::from(one.weight().max(1));
            one_loads.cmp(&other_loads)
        })?;
        Some((start + nth) % servers.len())
    }

    fn better_of_two<C: Candidate>(
        &self,
        servers: &[C],
        may: impl Fn(&C) -> bool,
    ) -> Option<usize> {
        let one = self.walk(servers, self.toss(), &may)?;
        let other = self.walk(servers, self.toss(), &may)?;
        let cost = |place: usize| {
            let server = servers.get(place)?;
            let load = u64::from(server.in_flight()).saturating_add(1);
            Some(load.saturating_mul(server.cost().max(1)))
        };
        Some(if cost(other) < cost(one) { other } else { one })
    }

    fn on_ring<C>(&self, servers: &[C], key: u64, may: impl Fn(&C) -> bool) -> Option<usize> {
        let at = self.ring.partition_point(|&(point, _)| point < mix(key));
        let (before, from) = self.ring.split_at(at);
        let mut places = from
            .iter()
            .chain(before)
            .map(|&(_, place)| usize::from(place));
        places.find(|&place| servers.get(place).is_some_and(&may))
    }
}

/// Each place as often as its weight says, as evenly spread as may be: at every step the one that
/// is due first, earliest deadline first.
fn spread(weights: &[u16]) -> Box<[u16]> {
    let divisor = weights
        .iter()
        .copied()
        .reduce(common_divisor)
        .unwrap_or(1)
        .max(1);
    let mut due = BinaryHeap::new();
    for (place, weight) in weights.iter().enumerate() {
        let weight = u64::from(weight / divisor).max(1);
        let Ok(place) = u16::try_from(place) else {
            break;
        };
        // Somewhere in its first span, so that the light ones do not come in a row: the fractions
        // of the multiples of the golden ratio are as far from each other as may be.
        let fraction = (u64::from(place) + 1).wrapping_mul(GOLDEN) >> 32;
        let first = ((ROUND / weight) >> 32) * fraction;
        due.push(Reverse((first, place, weight)));
    }
    let total: u64 = due.iter().map(|Reverse((_, _, weight))| weight).sum();
    let mut sequence = Vec::new();
    for _ in 0..total {
        let Some(Reverse((at, place, weight))) = due.pop() else {
            break;
        };
        sequence.push(place);
        due.push(Reverse((at + ROUND / weight, place, weight)));
    }
    sequence.into()
}

fn common_divisor(one: u16, other: u16) -> u16 {
    if other == 0 {
        one
    } else {
        common_divisor(other, one % other)
    }
}

fn ring<C: Candidate>(servers: &[C], weights: &[u16]) -> Box<[(u64, u16)]> {
    let mut points = Vec::new();
    for (place, (server, weight)) in servers.iter().zip(weights).enumerate() {
        let Ok(place) = u16::try_from(place) else {
            break;
        };
        for nth in 0..POINTS * u64::from(*weight) {
            points.push((mix(server.name() ^ mix(nth)), place));
        }
    }
    points.sort_unstable();
    points.into()
}

/// Spreads the bits of a number (the finalizer of `SplitMix64`).
#[must_use]
pub fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// More servers than these are not balanced.
pub const SERVERS_MOST: usize = 4096;
/// Points on the ring for each unit of weight.
const POINTS: u64 = 100;
/// Far from overflow, and the highest weight's span is still a whole number of the lower half.
const ROUND: u64 = 1 << 56;
/// The golden ratio's fraction of a whole number's range.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests;
