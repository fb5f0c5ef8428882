//! What happened, counted while it happens.

use std::{collections::BTreeMap, time::Instant};

use hdrhistogram::Histogram;

use crate::{outcome::Outcome, targets::Class};

/// Counts and latencies of one thread's units, and after merging of all.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) live: ClassTally,
    pub(crate) dead: ClassTally,
    window_end: Instant,
}

/// Counts and latencies for the targets of one class.
#[derive(Clone, Debug)]
pub(crate) struct ClassTally {
    pub(crate) outcomes: BTreeMap<Outcome, u64>,
    /// Microseconds. Holds the units that ended as their class should, and the timed-out ones with
    /// the time they waited. A unit that failed fast would make a bad proxy look quick.
    pub(crate) latency_us: Histogram<u64>,
    /// Units that ended inside the window: what a rate may count.
    pub(crate) in_window: u64,
}

impl Tally {
    pub(crate) fn new(window_end: Instant) -> Self {
        Self {
            live: ClassTally::new(),
            dead: ClassTally::new(),
            window_end,
        }
    }

    /// One unit, due at `due`, ended at `ended`.
    pub(crate) fn record(&mut self, class: Class, outcome: Outcome, due: Instant, ended: Instant) {
        let is_expected = match class {
            Class::Live => outcome == Outcome::Ok,
            Class::Dead => outcome.is_error_answer(),
        };
        let is_in_window = ended <= self.window_end;
        let tally = match class {
            Class::Live => &mut self.live,
            Class::Dead => &mut self.dead,
        };
        *tally.outcomes.entry(outcome).or_default() += 1;
        tally.in_window += u64::from(is_in_window);
        if is_expected || outcome == Outcome::Timeout {
            let micros = ended.saturating_duration_since(due).as_micros();
            let micros = u64::try_from(micros).unwrap_or(u64::MAX);
            tally.latency_us.saturating_record(micros);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.live.merge(&other.live);
        self.dead.merge(&other.dead);
    }
}

impl ClassTally {
    fn new() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the bounds are constants that satisfy the histogram"
        )]
        let latency_us = Histogram::new_with_bounds(1, MAX_LATENCY_US, SIGNIFICANT_DIGITS)
            .expect("the upper bound is at least twice the lower, and digits are at most five");
        Self {
            outcomes: BTreeMap::new(),
            latency_us,
            in_window: 0,
        }
    }

    pub(crate) fn units(&self) -> u64 {
        self.outcomes.values().sum()
    }

    fn merge(&mut self, other: &Self) {
        for (&outcome, &count) in &other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.in_window += other.in_window;
        #[expect(clippy::expect_used, reason = "all histograms are made by `new`")]
        self.latency_us
            .add(&other.latency_us)
            .expect("both have the same bounds");
    }
}

/// The longest window and the longest timeout: an open-loop unit can wait for both.
const MAX_LATENCY_US: u64 = 1_200_000_000;
/// Values are kept to one part in a thousand.
const SIGNIFICANT_DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn fast_failures_are_counted_and_leave_the_percentiles_alone() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut tally = Tally::new(at(1000));
        tally.record(Class::Live, Outcome::Ok, begin, at(20));
        tally.record(Class::Live, Outcome::Status(502), begin, at(1));
        tally.record(Class::Live, Outcome::Timeout, begin, at(1500));
        tally.record(Class::Dead, Outcome::Status(503), begin, at(2));
        tally.record(Class::Dead, Outcome::Ok, begin, at(900));
        assert_eq!(tally.live.units(), 3);
        assert_eq!(tally.live.in_window, 2);
        assert_eq!(tally.live.latency_us.len(), 2);
        assert!(tally.live.latency_us.min() >= 19_000);
        assert_eq!(tally.dead.latency_us.len(), 1);
        assert!(tally.dead.latency_us.max() < 2_100);
    }

    #[test]
    fn merging_adds_everything() {
        let begin = Instant::now();
        let mut all = Tally::new(begin);
        for ms in [1, 2, 3] {
            let mut one = Tally::new(begin);
            one.record(
                Class::Dead,
                Outcome::Reply(5),
                begin,
                begin + Duration::from_millis(ms),
            );
            all.merge(&one);
        }
        assert_eq!(all.dead.outcomes[&Outcome::Reply(5)], 3);
        assert_eq!(all.dead.latency_us.len(), 3);
        assert_eq!(all.dead.in_window, 0);
    }
}
