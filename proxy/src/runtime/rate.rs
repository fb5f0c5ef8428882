//! How fast a listener accepts, over all workers.
//!
//! One number, the moment at which the next connection is due (the virtual scheduling algorithm of
//! ITU-T I.371): exact, and moved by one exchange for each connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A listener's schedule.
#[derive(Debug)]
pub(super) struct Rate {
    start: Instant,
    /// In nanoseconds from the start.
    due: AtomicU64,
}

impl Rate {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            due: AtomicU64::new(0),
        }
    }

    /// Takes the right to accept one of `per_second`, or tells how long to wait for it.
    pub(super) fn take(&self, per_second: u32) -> Result<(), Duration> {
        self.take_at(self.start.elapsed(), per_second)
    }

    fn take_at(&self, now: Duration, per_second: u32) -> Result<(), Duration> {
        if per_second == 0 {
            return Ok(());
        }
        let step = NANOS / u64::from(per_second);
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let burst = step.max(BURST);
        let mut due = self.due.load(Ordering::Relaxed);
        loop {
            if due > now.saturating_add(burst) {
                return Err(Duration::from_nanos(due - now - burst));
            }
            let next = due.max(now).saturating_add(step);
            let moved =
                self.due
                    .compare_exchange_weak(due, next, Ordering::Relaxed, Ordering::Relaxed);
            match moved {
                Ok(_) => return Ok(()),
                Err(found) => due = found,
            }
        }
    }
}

const NANOS: u64 = 1_000_000_000;
/// Connections come in bursts, and timers are coarse: a tenth of a second's worth may come at once.
const BURST: u64 = NANOS / 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_and_no_more() {
        let rate = Rate::new();
        let taken = (0..2000)
            .filter(|&ms| rate.take_at(Duration::from_millis(ms), 100).is_ok())
            .count();
        // Two seconds' worth, and the burst.
        assert!((200..=212).contains(&taken), "{taken}");
    }

    #[test]
    fn a_refusal_tells_how_long_to_wait() {
        let rate = Rate::new();
        let now = Duration::from_secs(1);
        let wait = loop {
            if let Err(wait) = rate.take_at(now, 10) {
                break wait;
            }
        };
        assert!(rate.take_at(now + wait, 10).is_ok());
        assert!(rate.take_at(now + wait, 10).is_err());
        assert!(rate.take_at(now, 0).is_ok(), "0 is no bound");
    }
}
