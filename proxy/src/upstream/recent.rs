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
        // The part of the past that still counts: all at once, nothing after four spans.
        let span = MEMORY.as_millis();
        let rest = span.saturating_sub(passed.as_millis() / 4).max(span / 8);
        let faded = u128::from(before - took) * rest / span;
        // One good answer alone forgets an eighth.
        let faded = faded - faded / 8;
        self.nanos
            .set(took + u64::try_from(faded).unwrap_or(u64::MAX));
    }

    /// In nanoseconds; 0 if nothing was noted.
    #[must_use]
    pub(super) fn nanos(&self) -> u64 {
        self.nanos.get()
    }
}

/// How long a bad answer counts in full.
const MEMORY: Duration = Duration::from_secs(10);

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
