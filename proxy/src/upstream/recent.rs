//! How quick a server has been.

use std::cell::Cell;
use std::time::Duration;

/// How long a server takes of late: the peak at once, what is better only by and by (a peak-
/// sensitive exponentially weighted moving average).
#[derive(Debug, Default)]
pub(super) struct Recent {
    nanos: Cell<u64>,
    at: Cell<Duration>,
}

impl Recent {
    /// It took so long, `now`.
    pub(super) fn note(&self, took: Duration, now: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let passed = now.saturating_sub(self.at.replace(now));
        let before = self.nanos.get();
        if took >= before {
            self.nanos.set(took);
            return;
        }
        // The part of the past that still counts: all at once, nothing after four spans. In whole
        // milliseconds, by numbers that divide at once: this is done for each request.
        let passed = passed.as_secs() * 1000 + u64::from(passed.subsec_millis());
        let rest = MEMORY_MS.saturating_sub(passed / 4).max(MEMORY_MS / 8);
        let past = before - took;
        let faded = match past.checked_mul(rest) {
            Some(product) => product / MEMORY_MS,
            None => past / MEMORY_MS * rest,
        };
        // One good answer alone forgets an eighth.
        self.nanos.set(took + (faded - faded / 8));
    }

    /// In nanoseconds; 0 if nothing was noted.
    #[must_use]
    pub(super) fn nanos(&self) -> u64 {
        self.nanos.get()
    }
}

/// How long a bad answer counts in full.
const MEMORY_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_counts_at_once_and_fades() {
        let recent = Recent::default();
        let ms = Duration::from_millis;
        recent.note(ms(10), ms(0));
        recent.note(ms(500), ms(10));
        assert_eq!(recent.nanos(), 500_000_000);
        recent.note(ms(10), ms(20));
        assert!((400_000_000..500_000_000).contains(&recent.nanos()));
        for turn in 0..60 {
            recent.note(ms(10), ms(30 + turn));
        }
        assert!(recent.nanos() < 20_000_000, "{}", recent.nanos());
        recent.note(ms(500), ms(100));
        recent.note(ms(10), ms(100_000));
        assert!(recent.nanos() < 80_000_000, "{}", recent.nanos());
    }
}
