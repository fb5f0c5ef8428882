//! Registries, many threads at once, and the schedules that they are run by.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use risefall::{ManualClock, Policy, Recovery, Registry, State};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

pub(super) const LEASE: Duration = Duration::from_secs(10);
pub(super) const TICK: Duration = Duration::from_millis(4);

pub(super) fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 80))
}

pub(super) fn registry(capacity: usize, recovery: Recovery) -> (Registry, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let policy = Policy::builder()
        .max_fails(2)
        .min_rises(2)
        .recovery(recovery)
        .build()
        .unwrap();
    let registry = Registry::builder()
        .capacity(capacity)
        .policy(policy)
        .clock(clock.clone())
        .build();
    (registry, clock)
}

pub(super) fn probing(permits: u8) -> Recovery {
    Recovery::Probe {
        permits,
        lease: LEASE,
    }
}

/// Half of the schedules at random, half by priorities that change at a few points, which finds
/// what needs a rare order of few events. The same ones each time, unless the number is given.
pub(super) fn check(model: impl Fn() + Send + Sync + 'static) {
    let asked = std::env::var("RISEFALL_SCHEDULES");
    let (schedules, seed) = match asked {
        Ok(text) => (
            text.parse().expect("a number of schedules"),
            u64::from(std::process::id()),
        ),
        Err(_) => (2_000, 1),
    };
    println!("{schedules} schedules from seed {seed}");
    let model = Arc::new(model);
    let random = Arc::clone(&model);
    let scheduler = RandomScheduler::new_from_seed(seed, schedules / 2);
    Runner::new(scheduler, Config::default()).run(move || random());
    let scheduler = PctScheduler::new_from_seed(seed, 3, schedules / 2);
    Runner::new(scheduler, Config::default()).run(move || model());
}

/// Runs all at once and waits for them.
pub(super) fn together(threads: Vec<Box<dyn FnOnce() + Send>>) {
    let running: Vec<_> = threads.into_iter().map(thread::spawn).collect();
    for thread in running {
        thread.join().unwrap();
    }
}

pub(super) fn many(
    count: usize,
    work: impl Fn(usize) + Send + Sync + 'static,
) -> Vec<Box<dyn FnOnce() + Send>> {
    let work = Arc::new(work);
    (0..count)
        .map(|n| {
            let work = Arc::clone(&work);
            Box::new(move || work(n)) as Box<dyn FnOnce() + Send>
        })
        .collect()
}

pub(super) fn take_down(registry: &Registry, address: SocketAddr) {
    (0..2).for_each(|_| registry.add_fall_down(address));
}

pub(super) fn expire(registry: &Registry, clock: &ManualClock, address: SocketAddr) {
    clock.advance(registry.status(&address).retry_in.unwrap());
    assert_eq!(registry.status(&address).state, State::ProbeDue);
}
