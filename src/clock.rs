//! Where the registry gets its time: monotonic, and passed in.
//!
//! Rules never read a clock; they take `now`. Only the public door asks one, and only where the
//! answer depends on time: a healthy address is up whatever the time is.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A source of monotonic time.
///
/// Implementations must never go back. They may stand still or lag: the registry merges times
/// from several threads as the latest one seen.
pub trait Clock: Debug + Send + Sync {
    /// Time since an origin that is fixed for this clock.
    fn elapsed(&self) -> Duration;
}

/// The operating system's monotonic clock (the default). One read costs about 25 ns.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    origin: Instant,
}

impl MonotonicClock {
    /// A clock whose origin is now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A clock that is read once and asked often: about 1 ns a read.
///
/// Something must call [`CachedClock::update`] regularly, once per turn of an event loop for
/// instance; between two calls time stands still for the registry.
#[derive(Debug)]
pub struct CachedClock {
    source: MonotonicClock,
    /// Nanoseconds since `source`'s origin.
    ///
    /// Written by `update`, read by `elapsed`. Ordering: `Relaxed`; the number is the whole
    /// message, and `fetch_max` keeps it from going back when two threads update at once.
    nanos: AtomicU64,
}

impl CachedClock {
    /// A clock whose origin is now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            source: MonotonicClock::new(),
            nanos: AtomicU64::new(0),
        }
    }

    /// Takes the time from the operating system.
    pub fn update(&self) {
        self.nanos
            .fetch_max(whole_nanos(self.source.elapsed()), Ordering::Relaxed);
    }
}

impl Default for CachedClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for CachedClock {
    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

/// A clock that moves only when told to: for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    /// Nanoseconds since the origin. `Relaxed`: the number is the whole message.
    nanos: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at its origin.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.nanos.fetch_add(whole_nanos(by), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

/// Nanoseconds, saturating after 584 years.
fn whole_nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_clock_stands_still_until_it_is_updated() {
        let clock = CachedClock::new();
        assert_eq!(clock.elapsed(), Duration::ZERO);
        clock.update();
        let first = clock.elapsed();
        assert!(first > Duration::ZERO);
        assert_eq!(clock.elapsed(), first);
    }

    #[test]
    fn a_manual_clock_moves_by_what_it_is_told() {
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(3));
        clock.advance(Duration::from_millis(1));
        assert_eq!(clock.elapsed(), Duration::from_millis(3001));
    }
}
