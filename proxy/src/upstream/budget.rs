//! How many requests are sent again: a share of those that are sent at all.
//!
//! When every server is in trouble, retries multiply the load that put them there. So they are
//! paid for by first tries, over the last seconds: a few are always to be had, so that one client
//! is helped at night, and beyond that no more than a share of the traffic.
//!
//! One budget for each group and worker: plain numbers, no lock, no clock.

use std::cell::Cell;
use std::time::Duration;

/// What one worker may send again to the servers of one group.
#[derive(Debug)]
pub struct Budget {
    percent: Cell<u8>,
    /// First tries and retries of each of the last seconds, by the second modulo their number.
    seconds: [Cell<Spent>; WINDOW],
    /// The sum of `seconds`.
    sum: Cell<Spent>,
    /// The latest second that was counted in.
    latest: Cell<u64>,
    refused: Cell<u64>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Spent {
    firsts: u32,
    retries: u32,
}

impl Budget {
    /// Retries up to `percent` of the first tries, and [`FREE`] a second beside them; none at all
    /// if it is 0.
    #[must_use]
    pub fn new(percent: u8) -> Self {
        Self {
            percent: Cell::new(percent),
            seconds: Default::default(),
            sum: Cell::default(),
            latest: Cell::new(0),
            refused: Cell::new(0),
        }
    }

    /// Changes the share for what follows; what was spent stays spent.
    pub fn adjust(&self, percent: u8) {
        self.percent.set(percent);
    }

    /// A request is sent for the first time, `now` after some moment that does not change.
    pub fn deposit(&self, now: Duration) {
        self.turn(now);
        self.change(|spent| spent.firsts = spent.firsts.saturating_add(1));
    }

    /// Whether a request may be sent again; if so, that is counted.
    #[must_use]
    pub fn withdraw(&self, now: Duration) -> bool {
        self.turn(now);
        let Spent { firsts, retries } = self.sum.get();
        let share = u64::from(firsts) * u64::from(self.percent.get()) / 100;
        let allowed = match self.percent.get() {
            0 => 0,
            _ => share + FREE * WINDOW as u64,
        };
        let is_allowed = u64::from(retries) < allowed;
        if is_allowed {
            self.change(|spent| spent.retries = spent.retries.saturating_add(1));
        } else {
            self.refused.set(self.refused.get() + 1);
        }
        is_allowed
    }

    /// How many were refused, since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.get()
    }

    fn change(&self, change: impl Fn(&mut Spent)) {
        let counts = self.slot(self.latest.get()).into_iter().chain([&self.sum]);
        for count in counts {
            let mut spent = count.get();
            change(&mut spent);
            count.set(spent);
        }
    }

    /// Forgets what is older than the window. A clock that lags counts in the latest second.
    fn turn(&self, now: Duration) {
        let (now, latest) = (now.as_secs(), self.latest.get());
        if now <= latest {
            return;
        }
        let passed = (now - latest).min(WINDOW as u64);
        for second in now - passed + 1..=now {
            let Some(slot) = self.slot(second) else {
                continue;
            };
            let gone = slot.take();
            let sum = self.sum.get();
            self.sum.set(Spent {
                firsts: sum.firsts.saturating_sub(gone.firsts),
                retries: sum.retries.saturating_sub(gone.retries),
            });
        }
        self.latest.set(now);
    }

    fn slot(&self, second: u64) -> Option<&Cell<Spent>> {
        self.seconds.get((second % WINDOW as u64) as usize)
    }
}

/// Retries a second that need no first tries.
pub const FREE: u64 = 3;
/// Seconds that are remembered.
const WINDOW: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn drawn(budget: &Budget, now: Duration, most: usize) -> usize {
        (0..most).take_while(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn a_few_are_free_and_the_rest_is_a_share_of_the_first_tries() {
        let budget = Budget::new(20);
        assert_eq!(drawn(&budget, at(0), 1000), 30);
        assert_eq!(budget.refused(), 1);
        for _ in 0..1000 {
            budget.deposit(at(1));
        }
        assert_eq!(drawn(&budget, at(1), 1000), 200);
    }

    #[test]
    fn what_is_older_than_the_window_neither_pays_nor_counts() {
        let budget = Budget::new(50);
        for _ in 0..100 {
            budget.deposit(at(0));
        }
        assert_eq!(drawn(&budget, at(9), 1000), 80);
        // The first tries have gone, the retries have not.
        assert_eq!(drawn(&budget, at(10), 1000), 0);
        assert_eq!(drawn(&budget, at(19), 1000), 30);
        assert_eq!(drawn(&budget, at(1_000_000), 1000), 30);
    }

    #[test]
    fn a_share_of_nothing_is_none() {
        let budget = Budget::new(0);
        budget.deposit(at(0));
        assert!(!budget.withdraw(at(0)));
        budget.adjust(100);
        assert!(budget.withdraw(at(0)));
    }

    #[test]
    fn a_clock_that_lags_does_no_harm() {
        let budget = Budget::new(100);
        budget.deposit(at(50));
        budget.deposit(at(3));
        assert_eq!(budget.sum.get().firsts, 2);
        assert!(budget.withdraw(at(3)));
    }

    #[test]
    fn whatever_comes_the_sums_are_right_and_the_share_is_kept() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let percent = random.u8(1..=100);
            let budget = Budget::new(percent);
            let mut now = Duration::ZERO;
            // Second, and whether it was a retry.
            let mut log: Vec<(u64, bool)> = Vec::new();
            for _ in 0..500 {
                if random.u8(..8) == 0 {
                    now += Duration::from_millis(random.u64(..4000));
                }
                if random.bool() {
                    budget.deposit(now);
                    log.push((now.as_secs(), false));
                } else if budget.withdraw(now) {
                    log.push((now.as_secs(), true));
                }
                let lately = |is_retry| {
                    let ago = |second| now.as_secs() - second;
                    let lately = log.iter().filter(|one| ago(one.0) < 10);
                    lately.filter(|one| one.1 == is_retry).count() as u32
                };
                let sum = budget.sum.get();
                // What nobody has asked for since is not forgotten yet.
                budget.turn(now);
                assert!(sum.retries >= lately(true));
                let (firsts, retries) = (lately(false), lately(true));
                assert_eq!(budget.sum.get(), Spent { firsts, retries });
            }
            assert!(budget.sum.get().retries <= 500 * u32::from(percent) / 100 + 30);
        }
    }
}
