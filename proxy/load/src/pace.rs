//! When units start.
//!
//! Closed loop: a connection starts its next unit when the last one ends. Open loop: units are due
//! on a fixed schedule, whatever the proxy does, and latency counts from that moment; waiting for
//! the proxy before starting the clock would leave its worst moments out of the numbers.
//!
//! The event loop's timers tick in milliseconds, coarser than what is measured, so a thread of its
//! own keeps the schedule and hands out permits. It wakes about 0.1 ms late, and that much is
//! counted as latency.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// The window in which units start, shared by all connections.
#[derive(Debug)]
pub(crate) struct Pace {
    begin: Instant,
    end: Instant,
    schedule: Option<Schedule>,
}

#[derive(Debug)]
struct Schedule {
    rate: NonZeroU32,
    /// Units due in the whole window.
    total: u64,
    /// A permit for each unit that is due and not yet started.
    due: Semaphore,
    /// Units started, which is also the number of the next one.
    ///
    /// Written and read by every connection. Ordering: `Relaxed`; only the count matters, and a
    /// unit is due because a permit was taken, which the semaphore orders.
    started: AtomicU64,
}

impl Pace {
    pub(crate) fn new(begin: Instant, window: Duration, rate: Option<NonZeroU32>) -> Self {
        Self {
            begin,
            end: begin + window,
            schedule: rate.map(|rate| Schedule {
                rate,
                total: due_before(rate, window),
                due: Semaphore::new(0),
                started: AtomicU64::new(0),
            }),
        }
    }

    /// When the window closes.
    pub(crate) fn end(&self) -> Instant {
        self.end
    }

    /// Waits until another unit is to start, and says when it was due. `None`: no more units.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it has taken nothing.
    pub(crate) async fn next(&self) -> Option<Instant> {
        let Some(schedule) = &self.schedule else {
            let now = Instant::now();
            return (now < self.end).then_some(now);
        };
        schedule.due.acquire().await.ok()?.forget();
        let number = schedule.started.fetch_add(1, Ordering::Relaxed);
        Some(self.begin + due_after(schedule.rate, number))
    }

    /// Hands out permits until the window is over. Runs on a thread of its own; returns at once
    /// when there is no schedule.
    pub(crate) fn keep_schedule(&self) {
        let Some(schedule) = &self.schedule else {
            return;
        };
        let mut released = 0;
        while released < schedule.total {
            let elapsed = self.begin.elapsed();
            // One nanosecond more turns "before" into "at or before".
            let due = due_before(schedule.rate, elapsed + Duration::from_nanos(1));
            let due = due.min(schedule.total);
            schedule.due.add_permits((due - released) as usize);
            released = due;
            park_until(self.begin + due_after(schedule.rate, released));
        }
        park_until(self.end + LAST_START);
        schedule.due.close();
    }

    /// Units that were due and found no free connection. Final once the connections are done.
    pub(crate) fn not_started(&self) -> u64 {
        self.schedule.as_ref().map_or(0, |schedule| {
            schedule.total - schedule.started.load(Ordering::Relaxed)
        })
    }
}

/// How long after the beginning unit `number` is due.
fn due_after(rate: NonZeroU32, number: u64) -> Duration {
    let rate = u64::from(rate.get());
    let rest_ns = (number % rate) * NANOS_PER_SECOND / rate;
    Duration::from_secs(number / rate) + Duration::from_nanos(rest_ns)
}

/// How many units are due before `elapsed` has passed.
fn due_before(rate: NonZeroU32, elapsed: Duration) -> u64 {
    let rate = u64::from(rate.get());
    let part = u64::from(elapsed.subsec_nanos()) * rate;
    elapsed.as_secs() * rate + part.div_ceil(NANOS_PER_SECOND)
}

/// Parking may end early; the clock decides.
fn park_until(moment: Instant) {
    loop {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// A unit due at the very end may still start this late, so that a late wake-up of the loader is
/// not reported as a proxy that kept every connection busy.
const LAST_START: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32) -> NonZeroU32 {
        NonZeroU32::new(per_second).unwrap()
    }

    #[test]
    fn units_are_due_at_even_distances() {
        assert_eq!(due_after(rate(4), 0), Duration::ZERO);
        assert_eq!(due_after(rate(4), 6), Duration::from_millis(1500));
        assert_eq!(due_after(rate(3), 1), Duration::from_nanos(333_333_333));
        assert_eq!(
            due_after(rate(1_000_000), 600_000_000),
            Duration::from_secs(600)
        );
    }

    #[test]
    fn the_count_due_agrees_with_the_moments() {
        for per_second in [1, 3, 7, 1000, 999_983] {
            let rate = rate(per_second);
            for number in [0, 1, 2, 5, 1_000, 123_457] {
                let moment = due_after(rate, number);
                let one = Duration::from_nanos(1);
                assert_eq!(
                    due_before(rate, moment + one),
                    number + 1,
                    "{per_second} {number}"
                );
                assert!(due_before(rate, moment) <= number + 1);
            }
        }
        assert_eq!(due_before(rate(100), Duration::from_secs(2)), 200);
    }

    #[tokio::test]
    async fn a_late_unit_still_counts_from_when_it_was_due() {
        let window = Duration::from_secs(5);
        let begin = Instant::now().checked_sub(window + LAST_START).unwrap();
        let pace = Pace::new(begin, window, Some(rate(2)));
        let schedule = pace.schedule.as_ref().unwrap();
        schedule.due.add_permits(3);
        assert_eq!(pace.next().await, Some(begin));
        assert_eq!(pace.next().await, Some(begin + Duration::from_millis(500)));
        assert_eq!(pace.not_started(), 8);
        pace.keep_schedule();
        assert_eq!(pace.next().await, None);
    }

    #[tokio::test]
    async fn a_closed_loop_ends_with_its_window() {
        let window = Duration::from_secs(60);
        let now = Instant::now();
        assert!(Pace::new(now, window, None).next().await.is_some());
        let past = now.checked_sub(window).unwrap();
        assert_eq!(Pace::new(past, window, None).next().await, None);
    }
}
