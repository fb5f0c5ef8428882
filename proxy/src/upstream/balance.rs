//! Which server of a group is next.
//!
//! One balancer for each worker: its cursor, its turns and its random numbers are written by one
//! thread, so a choice takes no lock and allocates nothing. Weights are put into a sequence
//! beforehand, in which a server of weight 3 stands three times, evenly spread: round robin walks
//! it, random choices point into it.
//!
//! What a server would have got that may not be had is shared by all others, by their weights: it
//! must not go to whoever stands beside it, or one that is down doubles the load of its neighbour.
//! So the walk goes on behind the one that it has found, not behind the one that it has asked
//! first; chance draws again; and least connections counts whose turn it is among equals. Which
//! servers may be had is asked anew for each choice, and nothing is learned by choosing.
//!
//! Who stands in for a server whose dials are silent or fail is found without a turn
//! ([`Balancer::choose_aside`]): it is asked for more often than it is taken, and a walk that went on
//! each time would pass the same servers over and over.

use std::cell::Cell;
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
    /// How long it has taken of late, in nanoseconds; 0 if nobody knows.
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
    /// Where the walk of the sequence goes on; less than its length.
    cursor: Cell<usize>,
    /// Whose turn it is among equals; empty for the other ways.
    turns: Turns,
    /// The state of the random numbers.
    random: Cell<u64>,
}

/// Turns by weight among any servers, whoever of them takes part: each is due again a span after
/// the turn that it had, the shorter the more it weighs, and the first that is due is next.
#[derive(Debug, Default)]
struct Turns {
    due: Box<[Cell<u64>]>,
    /// When the last turn was due. Who has missed turns is due by then and not before: they are
    /// not made up for.
    now: Cell<u64>,
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
        let cursor = random.usize(..sequence.len().max(1));
        let turns = match balance {
            Balance::LeastConn => Turns::begin(&weights, &mut random),
            _ => Turns::default(),
        };
        Self {
            balance,
            ring: match balance {
                Balance::Hash => ring(servers, &weights),
                _ => Box::default(),
            },
            sequence,
            cursor: Cell::new(cursor),
            turns,
            random: Cell::new(random.get_seed()),
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
            Balance::RoundRobin => self.walk(servers, may),
            Balance::LeastConn => self.least(servers, may),
            Balance::Random => self.draw(servers, |_, one| may(one)),
            Balance::P2c => self.better_of_two(servers, may),
            Balance::Hash => self.on_ring(servers, key, may),
        }
    }

    /// As [`Balancer::choose_from`], but it is nobody's turn: who is found may be left, and asked for
    /// again, without a change of what comes next. Its shares are those of the weights all the same:
    /// what goes by turns else goes by chance here.
    pub fn choose_aside<C: Candidate>(
        &self,
        servers: &[C],
        key: u64,
        may: impl Fn(&C) -> bool,
    ) -> Option<usize> {
        match self.balance {
            Balance::RoundRobin => self.draw(servers, |_, one| may(one)),
            Balance::LeastConn => self.draw_of_least(servers, may),
            Balance::Random | Balance::P2c | Balance::Hash => self.choose_from(servers, key, may),
        }
    }

    /// The next of the sequence that may be had. The walk goes on behind it: so each has as many
    /// turns in a round as it stands there, whoever is passed over.
    fn walk<C>(&self, servers: &[C], may: impl Fn(&C) -> bool) -> Option<usize> {
        let (before, from) = self.sequence.split_at_checked(self.cursor.get())?;
        // A heavy server stands many times in a row where the others are light.
        let mut passed = None;
        for (nth, &place) in from.iter().chain(before).enumerate() {
            if passed == Some(place) {
                continue;
            }
            if servers.get(usize::from(place)).is_some_and(&may) {
                let next = self.cursor.get() + nth + 1;
                self.cursor.set(next % self.sequence.len());
                return Some(place.into());
            }
            passed = Some(place);
        }
        None
    }

    /// The one with the fewest connections for its weight; among equals the one whose turn it is.
    fn least<C: Candidate>(&self, servers: &[C], may: impl Fn(&C) -> bool) -> Option<usize> {
        let mut least: Option<(usize, &C, u64)> = None;
        for (place, (one, due)) in servers.iter().zip(self.turns.all()).enumerate() {
            let is_less = least.is_none_or(|(_, other, other_due)| {
                loads(one, other)
                    .cmp(&loads(other, one))
                    .then(due.cmp(&other_due))
                    .is_lt()
            });
            if is_less && may(one) {
                least = Some((place, one, due));
            }
        }
        let (place, one, due) = least?;
        self.turns.take(place, due, one.weight());
        Some(place)
    }

    /// One of those with the fewest connections for their weight, by weight.
    fn draw_of_least<C: Candidate>(
        &self,
        servers: &[C],
        may: impl Fn(&C) -> bool,
    ) -> Option<usize> {
        let mut least: Option<&C> = None;
        for one in servers.iter().take(SERVERS_MOST) {
            let is_less = least.is_none_or(|other| loads(one, other) < loads(other, one));
            if is_less && may(one) {
                least = Some(one);
            }
        }
        let least = least?;
        self.draw(servers, |_, one| {
            loads(one, least) == loads(least, one) && may(one)
        })
    }

    /// Any for which `may` says yes, by weight.
    ///
    /// One that may not be had is drawn again, which leaves the others' shares as they are: exact,
    /// and a single look where all are up. So many draws as there are servers cost about as much as
    /// a look at each; after them all are looked at.
    #[inline]
    fn draw<C: Candidate>(&self, servers: &[C], may: impl Fn(usize, &C) -> bool) -> Option<usize> {
        let mut random = fastrand::Rng::with_seed(self.random.get());
        let mut point = || random.usize(..self.sequence.len().max(1));
        let drawn = (0..servers.len()).find_map(|_| {
            let place = usize::from(*self.sequence.get(point())?);
            may(place, servers.get(place)?).then_some(place)
        });
        let drawn = drawn.or_else(|| draw_of_all(servers, may, &mut random));
        self.random.set(random.get_seed());
        drawn
    }

    /// Two different ones are drawn, or a slow one of two servers would still be taken whenever
    /// chance has it that both are that one.
    ///
    /// Weights count twice. They draw, so that among idle ones, where the first is taken, each gets
    /// its share; and they divide the load, so that under load a server of weight 3 has three times
    /// as many requests as one of weight 1 beside it, though of two servers both are always drawn.
    fn better_of_two<C: Candidate>(
        &self,
        servers: &[C],
        may: impl Fn(&C) -> bool,
    ) -> Option<usize> {
        let one = self.draw(servers, |_, one| may(one))?;
        let other = self.draw(servers, |place, other| place != one && may(other));
        let Some(other) = other else {
            return Some(one);
        };
        let is_better = is_better(servers.get(other)?, servers.get(one)?);
        Some(if is_better { other } else { one })
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

impl Turns {
    /// Begins somewhere: workers that begin alike would all go to one server.
    fn begin(weights: &[u16], random: &mut fastrand::Rng) -> Self {
        let due = weights
            .iter()
            .map(|&weight| random.u64(..span(weight)).into());
        Self {
            due: due.collect(),
            now: Cell::default(),
        }
    }

    /// When each is due.
    fn all(&self) -> impl Iterator<Item = u64> {
        let now = self.now.get();
        self.due.iter().map(move |due| due.get().max(now))
    }

    /// The server at `place` takes its turn, that was due at `now`.
    fn take(&self, place: usize, now: u64, weight: u16) {
        if let Some(due) = self.due.get(place) {
            due.set(now.saturating_add(span(weight)));
        }
        self.now.set(now);
    }
}

/// A look at all: each takes the place of those before it as often as its weight is of theirs and
/// its own.
#[cold]
fn draw_of_all<C: Candidate>(
    servers: &[C],
    may: impl Fn(usize, &C) -> bool,
    random: &mut fastrand::Rng,
) -> Option<usize> {
    let (mut drawn, mut sum) = (None, 0);
    for (place, one) in servers.iter().take(SERVERS_MOST).enumerate() {
        if may(place, one) {
            let weight = u64::from(one.weight().max(1));
            sum += weight;
            if random.u64(..sum) < weight {
                drawn = Some(place);
            }
        }
    }
    drawn
}

/// Whether `other` is to be taken, though `one` was drawn first.
///
/// One that is clearly slower is weighed by the time until it would have done everything. Among
/// those that are about as quick connections alone count: the slightest difference would send all
/// requests of a quiet hour to one server.
#[inline]
fn is_better<C: Candidate>(other: &C, one: &C) -> bool {
    let (other_cost, one_cost) = (other.cost(), one.cost());
    if !is_slower(other_cost, one_cost) && !is_slower(one_cost, other_cost) {
        return loads(other, one) < loads(one, other);
    }
    let time = |server: &C, cost: u64, weight: u16| {
        let ahead = u64::from(server.in_flight()).saturating_add(1);
        let load = ahead.saturating_mul(weight.max(1).into());
        load.saturating_mul(cost.max(1))
    };
    time(other, other_cost, one.weight()) < time(one, one_cost, other.weight())
}

/// Whether who takes `nanos` is clearly slower than who takes `others`.
fn is_slower(nanos: u64, others: u64) -> bool {
    nanos > others.saturating_mul(2).saturating_add(ALIKE_NANOS)
}

/// What goes on at `one` for its weight, in a unit that it shares with the same of `other`:
/// without a division.
fn loads<C: Candidate>(one: &C, other: &C) -> u64 {
    u64::from(one.in_flight()) * u64::from(other.weight().max(1))
}

fn span(weight: u16) -> u64 {
    SPAN / u64::from(weight.max(1))
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
/// Until one of weight 1 is due again: fine enough for the highest weight, and a worker chooses for
/// years before turns end.
const SPAN: u64 = 1 << 20;
/// Who is slower by no more than this, or not even half as quick, is not clearly slower: garbage
/// collections and crowded processors make that difference.
const ALIKE_NANOS: u64 = 5_000_000;
/// Far from overflow, and the highest weight's span is still a whole number of the lower half.
const ROUND: u64 = 1 << 56;
/// The golden ratio's fraction of a whole number's range.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests;
