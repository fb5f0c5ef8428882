//! How quick a server has been.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// How long a server takes of late: the peak at once, what is better only by and by (a peak-
/// sensitive exponentially weighted moving average).
///
/// A server that looks slow is not asked and so does not show that it has become quick. Therefore
/// what it took is halved for every [`HALF_LIFE_MS`] for which others have answered since: then it
/// looks quick enough to be asked once more.
#[derive(Debug, Default)]
pub(super) struct Recent {
    nanos: Cell<u64>,
    at: Cell<Duration>,
    /// When any server of the group has answered last: the time as far as a choice knows it, which
    /// reads no clock.
    latest: Rc<Cell<Duration>>,
}

impl Recent {
    /// Of a server of a group that notes in `latest` when one has answered.
    pub(super) fn beside(latest: &Rc<Cell<Duration>>) -> Self {
        Self {
            latest: Rc::clone(latest),
            ..Self::default()
        }
    }

    /// It took so long, `now`.
    pub(super) fn note(&self, took: Duration, now: Duration) {
        self.latest.set(now);
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let worse = self.nanos().saturating_sub(took);
        self.at.set(now);
        // One good answer alone forgets an eighth.
        self.nanos.set(took + (worse - worse / 8));
    }

    /// In nanoseconds; 0 if nothing was noted.
    #[inline]
    #[must_use]
    pub(super) fn nanos(&self) -> u64 {
        let nanos = self.nanos.get();
        let passed = self.latest.get().saturating_sub(self.at.get());
        if passed.is_zero() {
            return nanos;
        }
        // In whole milliseconds, by numbers that divide at once: this is done for each choice.
        let passed_ms = passed.as_secs() * 1000 + u64::from(passed.subsec_millis());
        let halves = u32::try_from(passed_ms / HALF_LIFE_MS).unwrap_or(u32::MAX);
        let rest = nanos.checked_shr(halves).unwrap_or(0);
        // A straight line from each half to the next.
        rest - (rest / (2 * HALF_LIFE_MS)) * (passed_ms % HALF_LIFE_MS)
    }
}

/// Short enough that a server that takes 50 ms where others take 1 ms is asked again within half a
/// minute, and long enough that hardly a request finds out.
const HALF_LIFE_MS: u64 = 8192;

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

    #[test]
    fn one_that_is_not_asked_any_more_looks_quicker_while_others_answer() {
        let (latest, ms) = (Rc::default(), Duration::from_millis);
        let (slow, quick) = (Recent::beside(&latest), Recent::beside(&latest));
        slow.note(ms(64), ms(0));
        let mut before = slow.nanos();
        for halves in 1..=5_u32 {
            quick.note(ms(1), ms(u64::from(halves) * 8192 - 4096));
            assert!(slow.nanos() < before && slow.nanos() > before / 2);
            quick.note(ms(1), ms(u64::from(halves) * 8192));
            before = slow.nanos();
            assert_eq!(before, 64_000_000 >> halves);
        }
        // What it shows then counts at once: that it is slow, and that it is quick.
        let now = ms(41_000);
        slow.note(ms(64), now);
        assert_eq!(slow.nanos(), 64_000_000);
        quick.note(ms(1), ms(100_000));
        slow.note(ms(1), ms(100_000));
        assert!(slow.nanos() < 1_100_000, "{}", slow.nanos());
        quick.note(ms(1), ms(100_000_000));
        assert_eq!(slow.nanos(), 0);
    }
}
