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
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[derive(Clone, Default)]
    struct Fake {
        name: u64,
        weight: u16,
        is_down: bool,
        in_flight: u32,
        cost: u64,
    }

    impl Candidate for Fake {
        fn is_down(&self) -> bool {
            self.is_down
        }
        fn weight(&self) -> u16 {
            self.weight
        }
        fn in_flight(&self) -> u32 {
            self.in_flight
        }
        fn cost(&self) -> u64 {
            self.cost
        }
        fn name(&self) -> u64 {
            self.name
        }
    }

    fn servers(weights: &[u16]) -> Vec<Fake> {
        let servers = weights.iter().enumerate().map(|(name, &weight)| Fake {
            name: name as u64,
            weight,
            ..Fake::default()
        });
        servers.collect()
    }

    fn chosen(balance: Balance, servers: &[Fake], times: usize) -> Vec<usize> {
        let balancer = Balancer::new(balance, servers, 7);
        let chosen = (0..times).map(|key| balancer.choose(servers, key as u64).unwrap());
        chosen.collect()
    }

    fn counts(chosen: &[usize], len: usize) -> Vec<usize> {
        let mut counts = vec![0; len];
        for &place in chosen {
            counts[place] += 1;
        }
        counts
    }

    const ALL: [Balance; 5] = [
        Balance::RoundRobin,
        Balance::LeastConn,
        Balance::Random,
        Balance::P2c,
        Balance::Hash,
    ];

    #[test]
    fn round_robin_is_exact_and_smooth() {
        let servers = servers(&[5, 1, 1]);
        let chosen = chosen(Balance::RoundRobin, &servers, 70);
        assert_eq!(counts(&chosen, 3), [50, 10, 10]);
        for seven in chosen.windows(7) {
            assert_eq!(counts(seven, 3), [5, 1, 1], "{chosen:?}");
        }
        // The light ones never come one after the other.
        for two in chosen.windows(2) {
            assert!(two[0] == 0 || two[1] == 0, "{chosen:?}");
        }
    }

    #[test]
    fn weights_that_share_a_divisor_make_a_short_sequence() {
        assert_eq!(spread(&[200, 100]).len(), 3);
        assert_eq!(spread(&[]).len(), 0);
        assert_eq!(spread(&[0]).len(), 1);
        let mut equals = spread(&[1, 1, 1]);
        equals.sort_unstable();
        assert_eq!(&*equals, [0, 1, 2]);
        assert_eq!(spread(&[256; 4096]).len(), 4096);
        assert_eq!(spread(&[256, 255]).len(), 511);
    }

    #[test]
    fn chance_follows_the_weights() {
        let servers = servers(&[3, 1]);
        for balance in [Balance::Random, Balance::Hash] {
            let counts = counts(&chosen(balance, &servers, 4000), 2);
            assert!((2700..3300).contains(&counts[0]), "{balance:?} {counts:?}");
        }
    }

    #[test]
    fn no_way_chooses_a_server_that_is_down() {
        for balance in ALL {
            let mut servers = servers(&[1, 2, 3, 4]);
            for down in [1, 3] {
                servers[down].is_down = true;
            }
            let counts = counts(&chosen(balance, &servers, 400), 4);
            assert_eq!((counts[1], counts[3]), (0, 0), "{balance:?}");
            assert!(counts[0] > 0 && counts[2] > 0, "{balance:?} {counts:?}");
            for server in &mut servers {
                server.is_down = true;
            }
            let balancer = Balancer::new(balance, &servers, 7);
            assert_eq!(balancer.choose(&servers, 1), None, "{balance:?}");
            assert_eq!(
                Balancer::new(balance, &[] as &[Fake], 7).choose(&[] as &[Fake], 1),
                None
            );
        }
    }

    #[test]
    fn the_fewest_connections_for_the_weight_come_first_and_equals_in_turn() {
        let mut servers = servers(&[1, 4, 1]);
        for (server, in_flight) in servers.iter_mut().zip([3, 8, 2]) {
            server.in_flight = in_flight;
        }
        // 3, 2, 2 for each unit of weight.
        let counts = counts(&chosen(Balance::LeastConn, &servers, 30), 3);
        assert_eq!(counts[0], 0);
        assert!(counts[1] > 5 && counts[2] > 5, "{counts:?}");
    }

    #[test]
    fn of_two_the_idler_and_the_quicker_is_better() {
        let mut servers = servers(&[1; 10]);
        for server in &mut servers {
            server.cost = 1000;
        }
        servers[3].cost = 100_000;
        servers[4].in_flight = 50;
        let counts = counts(&chosen(Balance::P2c, &servers, 5000), 10);
        // Only when both picks are the same one.
        assert!(counts[3] < 120 && counts[4] < 220, "{counts:?}");
        assert!(counts[0] > 400, "{counts:?}");
    }

    #[test]
    fn a_key_keeps_its_server_while_others_come_and_go() {
        let mut servers = servers(&[1; 10]);
        let place_of = |servers: &[Fake]| -> HashMap<u64, u64> {
            let balancer = Balancer::new(Balance::Hash, servers, 1);
            let keys = 0..1000;
            keys.map(|key| (key, servers[balancer.choose(servers, key).unwrap()].name))
                .collect()
        };
        let before = place_of(&servers);
        let balancer = Balancer::new(Balance::Hash, &servers, 99);
        servers[2].is_down = true;
        for (&key, &name) in &before {
            let now = servers[balancer.choose(&servers, key).unwrap()].name;
            assert!(now == name || name == 2, "{key}");
        }
        servers.remove(2);
        let after = place_of(&servers);
        let moved = before
            .iter()
            .filter(|(key, name)| after[key] != **name)
            .count();
        let there = before.values().filter(|&&name| name == 2).count();
        assert_eq!(moved, there, "only the keys of the one that has gone");
    }
}
