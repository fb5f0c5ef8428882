//! Small registries, and threads beside each other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use risefall::{Clock, ManualClock, Policy, Registry};

pub(super) fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], port))
}

pub(super) fn policy(max_fails: u8, min_rises: u8) -> Policy {
    Policy::builder()
        .max_fails(max_fails)
        .min_rises(min_rises)
        .build()
        .unwrap()
}

pub(super) fn registry(capacity: usize, max_fails: u8, min_rises: u8) -> Registry {
    Registry::builder()
        .capacity(capacity)
        .policy(policy(max_fails, min_rises))
        .clock(Arc::new(ManualClock::new()))
        .build()
}

/// A clock that loom sees: a thread may read a time that another has moved on from already.
#[derive(Debug)]
pub(super) struct LaggingClock {
    seconds: AtomicU64,
}

impl LaggingClock {
    pub(super) fn set(&self, seconds: u64) {
        self.seconds.store(seconds, Ordering::Relaxed);
    }
}

impl Clock for LaggingClock {
    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.seconds.load(Ordering::Relaxed))
    }
}

pub(super) fn lagging(capacity: usize, max_fails: u8) -> (Registry, Arc<LaggingClock>) {
    let clock = Arc::new(LaggingClock {
        seconds: AtomicU64::new(1),
    });
    let registry = Registry::builder()
        .capacity(capacity)
        .policy(policy(max_fails, 2))
        .clock(clock.clone())
        .build();
    (registry, clock)
}

pub(super) const EXPIRED: u64 = 62;

/// Runs both at once: `other` in a thread of its own, `first` in the model's.
///
/// What only reads has to be `other`. loom begins with a run in which `first` is not interrupted
/// and looks for races backwards from there; it remembers one access per cell, so a thread that
/// loads before it exchanges hides an earlier load of the other, and with it the race.
pub(super) fn beside(
    registry: &Registry,
    first: impl FnOnce(&Registry),
    other: impl FnOnce(&Registry) + 'static,
) {
    let thread = spawn(registry, other);
    first(registry);
    thread.join().unwrap();
}

pub(super) fn spawn(
    registry: &Registry,
    run: impl FnOnce(&Registry) + 'static,
) -> thread::JoinHandle<()> {
    let registry = registry.clone();
    thread::spawn(move || run(&registry))
}

/// A record in the only bucket that nothing speaks against: the next newcomer evicts it.
pub(super) fn leave_neutral(registry: &Registry, address: SocketAddr) {
    registry.add_fall_down(address);
    registry.add_rise_up(address);
}
