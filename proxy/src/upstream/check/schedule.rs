//! Which server is to be checked when: rules of time alone.
//!
//! A server is checked at once when it comes, for the second time at some moment of its first
//! interval, and from then on once an interval, more or less: servers that came together are not
//! checked together for ever. No server is checked twice at a time, and no more than a bounded
//! number at all; those that are due wait their turn.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

/// The checks that are to come. Times are counted from some moment that does not change.
#[derive(Debug)]
pub struct Schedule<K> {
    places: HashMap<K, Place>,
    /// Those that wait, by when they are due; the turn tells those of one moment apart.
    waiting: BTreeMap<(Duration, Turn), K>,
    in_flight: usize,
    turns: u64,
    random: fastrand::Rng,
}

/// One check: told apart from an earlier one of a server that has gone and come again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Turn(u64);

#[derive(Debug)]
struct Place {
    interval: Duration,
    /// The one that is under way, or that is to come.
    turn: Turn,
    stage: Stage,
    is_new: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Waits { due: Duration },
    Goes { began: Duration },
}

impl<K: Clone + Eq + Hash> Schedule<K> {
    /// Nothing to check; `seed` is where its jitter begins.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            places: HashMap::new(),
            waiting: BTreeMap::new(),
            in_flight: 0,
            turns: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// From `now` on checks these, each once and with its interval. Those that stay keep their time, unless
    /// their interval has become shorter. Returns those that have gone.
    pub fn set(
        &mut self,
        wanted: impl IntoIterator<Item = (K, Duration)>,
        now: Duration,
    ) -> Vec<K> {
        let mut gone = std::mem::take(&mut self.places);
        for (key, interval) in wanted {
            if self.places.contains_key(&key) {
                continue;
            }
            let interval = interval.max(INTERVAL_LEAST);
            let turn = self.next_turn();
            let place = gone.remove(&key).unwrap_or(Place {
                interval,
                turn,
                stage: Stage::Waits { due: now },
                is_new: true,
            });
            let place = Place { interval, ..place };
            self.places.insert(key, place);
        }
        self.waiting.clear();
        for (key, place) in &mut self.places {
            if let Stage::Waits { due } = &mut place.stage {
                *due = (*due).min(now + place.interval);
                self.waiting.insert((*due, place.turn), key.clone());
            }
        }
        gone.into_keys().collect()
    }

    /// When the next check is to be begun; `None` while nothing can be.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        let ((due, _), _) = self.waiting.first_key_value()?;
        (self.in_flight < CHECKS_MOST).then_some(*due)
    }

    /// Begins the check that is due first, if one is and there is room.
    pub fn take_due(&mut self, now: Duration) -> Option<(K, Turn)> {
        if self.next_due()? > now {
            return None;
        }
        let ((_, turn), key) = self.waiting.pop_first()?;
        self.places.get_mut(&key)?.stage = Stage::Goes { began: now };
        self.in_flight += 1;
        Some((key, turn))
    }

    /// Whether the check is still wanted: its server has not gone meanwhile.
    #[must_use]
    pub fn is_wanted(&self, key: &K, turn: Turn) -> bool {
        self.places.get(key).is_some_and(|place| place.turn == turn)
    }

    /// The check is over. Every one that was taken is to be told of once.
    pub fn done(&mut self, key: &K, turn: Turn, now: Duration) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let next = self.next_turn();
        let Some(place) = self.places.get_mut(key).filter(|place| place.turn == turn) else {
            return;
        };
        let Stage::Goes { began } = place.stage else {
            return;
        };
        let share = match std::mem::take(&mut place.is_new) {
            true => self.random.f64(),
            false => 0.9 + 0.2 * self.random.f64(),
        };
        let due = (began + place.interval.mul_f64(share)).max(now);
        place.turn = next;
        place.stage = Stage::Waits { due };
        self.waiting.insert((due, next), key.clone());
    }

    fn next_turn(&mut self) -> Turn {
        self.turns += 1;
        Turn(self.turns)
    }
}

/// Checks under way at once.
pub const CHECKS_MOST: usize = 64;
/// A shorter interval would be a load of its own.
const INTERVAL_LEAST: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn taken(schedule: &mut Schedule<u32>, now: Duration) -> Vec<(u32, Turn)> {
        std::iter::from_fn(|| schedule.take_due(now)).collect()
    }

    #[test]
    fn the_first_is_at_once_and_the_rest_once_an_interval() {
        let mut schedule = Schedule::new(7);
        schedule.set([(1, ms(1000))], ms(500));
        let (mut now, mut times) = (ms(0), Vec::new());
        while times.len() < 100 {
            now = schedule.next_due().unwrap();
            let (key, turn) = schedule.take_due(now).unwrap();
            assert_eq!(schedule.next_due(), None);
            times.push(now);
            schedule.done(&key, turn, now + ms(20));
        }
        assert_eq!(times[0], ms(500));
        assert!(times[1] - times[0] <= ms(1000));
        for pair in times[1..].windows(2) {
            let between = pair[1] - pair[0];
            assert!(between >= ms(899) && between <= ms(1101), "{between:?}");
        }
        assert!(now > ms(90_000));
    }

    #[test]
    fn those_that_came_together_spread_over_the_interval() {
        let mut schedule = Schedule::new(7);
        schedule.set((0..60).map(|key| (key, ms(1000))), ms(0));
        for (key, turn) in taken(&mut schedule, ms(0)) {
            schedule.done(&key, turn, ms(1));
        }
        for tenth in 1..=10 {
            let due = taken(&mut schedule, ms(100 * tenth));
            assert!((1..=15).contains(&due.len()), "{}", due.len());
            for (key, turn) in due {
                // Not again within this interval.
                schedule.done(&key, turn, ms(100 * tenth));
            }
        }
    }

    #[test]
    fn no_more_go_at_once_than_there_is_room_for() {
        let mut schedule = Schedule::new(7);
        schedule.set((0..100).map(|key| (key, ms(1000))), ms(0));
        let first = taken(&mut schedule, ms(0));
        assert_eq!((first.len(), schedule.next_due()), (CHECKS_MOST, None));
        schedule.done(&first[0].0, first[0].1, ms(5));
        assert_eq!(taken(&mut schedule, ms(5)).len(), 1);
    }

    #[test]
    fn a_check_that_takes_longer_than_its_interval_is_not_doubled() {
        let mut schedule = Schedule::new(7);
        schedule.set([(1, ms(100))], ms(0));
        let (key, turn) = schedule.take_due(ms(0)).unwrap();
        assert_eq!(schedule.take_due(ms(5000)), None);
        schedule.done(&key, turn, ms(5000));
        assert_eq!(schedule.next_due(), Some(ms(5000)));
    }

    #[test]
    fn what_stays_keeps_its_time_and_what_has_gone_is_told() {
        let mut schedule = Schedule::new(7);
        schedule.set([(1, ms(1000)), (2, ms(1000))], ms(0));
        for (key, turn) in taken(&mut schedule, ms(0)) {
            schedule.done(&key, turn, ms(0));
        }
        let due: Vec<_> = schedule.waiting.keys().copied().collect();
        assert!(
            schedule
                .set([(1, ms(1000)), (2, ms(1000))], ms(1))
                .is_empty()
        );
        assert_eq!(schedule.waiting.keys().copied().collect::<Vec<_>>(), due);
        // A shorter interval counts from now.
        schedule.set([(1, ms(20)), (2, ms(20))], ms(2));
        assert!(schedule.waiting.keys().all(|(due, _)| *due <= ms(22)));
        assert_eq!(schedule.set([(1, ms(20))], ms(3)), [2]);
    }

    #[test]
    fn a_check_of_a_server_that_went_and_came_again_is_nobody_s() {
        let mut schedule = Schedule::new(7);
        schedule.set([(1, ms(1000))], ms(0));
        let (key, turn) = schedule.take_due(ms(0)).unwrap();
        assert!(schedule.is_wanted(&key, turn));
        // It stays under way through a plan that has it still.
        schedule.set([(1, ms(1000))], ms(1));
        assert!(schedule.is_wanted(&key, turn));
        assert_eq!(schedule.next_due(), None);
        schedule.set([], ms(2));
        schedule.set([(1, ms(1000))], ms(3));
        assert!(!schedule.is_wanted(&key, turn));
        let (_, again) = schedule.take_due(ms(3)).unwrap();
        schedule.done(&key, turn, ms(4));
        assert!(schedule.is_wanted(&key, again));
        assert_eq!((schedule.in_flight, schedule.next_due()), (1, None));
    }
}
