//! The registry against a plain model of the classic rules: random operations, one thread, a
//! manual clock that likes to stop one tick before, on and after each boundary.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use risefall::{Endpoint, ManualClock, Policy, Registry, State};

const TICK: Duration = Duration::from_millis(4);
const ADDRESSES: u8 = 12;

/// The classic design: two counters, a flag and a time under one key.
#[derive(Default)]
struct Entry {
    fails: u32,
    rises: u32,
    failed: bool,
    last: u64,
}

struct Model {
    max_fails: u32,
    min_rises: u32,
    timeout: u64,
    now: u64,
    entries: HashMap<u8, Entry>,
}

impl Model {
    fn fresh(&mut self, address: u8) -> &mut Entry {
        let (now, timeout) = (self.now, self.timeout);
        let entry = self.entries.entry(address).or_default();
        if now - entry.last > timeout {
            *entry = Entry::default();
        }
        entry.last = now;
        entry
    }

    fn fail(&mut self, address: u8) {
        let max_fails = self.max_fails;
        let entry = self.fresh(address);
        entry.fails += 1;
        entry.rises = 0;
        entry.failed |= entry.fails >= max_fails;
    }

    fn rise(&mut self, address: u8) {
        let min_rises = self.min_rises;
        let entry = self.fresh(address);
        entry.rises += 1;
        entry.fails = 0;
        entry.failed &= entry.rises < min_rises;
    }

    fn is_down(&self, address: u8) -> bool {
        self.entries
            .get(&address)
            .is_some_and(|entry| entry.failed && self.now - entry.last <= self.timeout)
    }

    fn fails(&self, address: u8) -> u32 {
        match self.entries.get(&address) {
            Some(entry) if self.now - entry.last <= self.timeout => entry.fails,
            _ => 0,
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Fail(u8),
    Rise(u8),
    Pin(u8),
    Unpin(u8),
    Advance(u64),
}

fn op(timeout: u64) -> impl Strategy<Value = Op> {
    let address = 0..ADDRESSES;
    prop_oneof![
        6 => address.clone().prop_map(Op::Fail),
        4 => address.clone().prop_map(Op::Rise),
        1 => address.clone().prop_map(Op::Pin),
        1 => address.prop_map(Op::Unpin),
        3 => prop_oneof![
            Just(0), Just(1), Just(timeout - 1), Just(timeout), Just(timeout + 1), 0..=timeout * 2
        ].prop_map(Op::Advance),
    ]
}

#[derive(Clone, Debug)]
struct Run {
    max_fails: u8,
    min_rises: u8,
    timeout: u64,
    capacity: usize,
    ops: Vec<Op>,
}

fn run() -> impl Strategy<Value = Run> {
    (1..5u8, 1..4u8, 2..50u64, 1..=24usize).prop_flat_map(
        |(max_fails, min_rises, timeout, capacity)| {
            let ops = prop::collection::vec(op(timeout), 1..200);
            ops.prop_map(move |ops| Run {
                max_fails,
                min_rises,
                timeout,
                capacity,
                ops,
            })
        },
    )
}

fn address(n: u8) -> SocketAddr {
    match n % 2 {
        0 => SocketAddr::from(([10, 0, 0, n], 80)),
        _ => format!("[2001:db8::{n:x}]:80").parse().unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_registry_agrees_with_the_classic_model(run in run()) {
        let clock = Arc::new(ManualClock::new());
        let policy = Policy::builder()
            .max_fails(run.max_fails)
            .min_rises(run.min_rises)
            .fail_timeout(TICK * run.timeout as u32)
            .build()
            .unwrap();
        let registry =
            Registry::builder().policy(policy).capacity(run.capacity).clock(clock.clone()).build();
        let mut model = Model {
            max_fails: run.max_fails.into(),
            min_rises: run.min_rises.into(),
            timeout: run.timeout,
            now: 0,
            entries: HashMap::new(),
        };
        let mut pins: HashMap<u8, Endpoint> = HashMap::new();
        for op in run.ops {
            match op {
                Op::Fail(n) => {
                    let before = registry.overflow();
                    match pins.get(&n) {
                        Some(endpoint) => endpoint.add_fall_down(),
                        None => registry.add_fall_down(address(n)),
                    }
                    // A first failure that found no room is not tracked; nothing else may be lost.
                    if registry.overflow() == before {
                        model.fail(n);
                    } else {
                        prop_assert_eq!(model.fails(n), 0);
                        prop_assert!(!model.is_down(n));
                    }
                }
                Op::Rise(n) => {
                    match pins.get(&n) {
                        Some(endpoint) => endpoint.add_rise_up(),
                        None => registry.add_rise_up(address(n)),
                    }
                    model.rise(n);
                }
                Op::Pin(n) => {
                    pins.insert(n, registry.endpoint(address(n)));
                }
                Op::Unpin(n) => {
                    pins.remove(&n);
                }
                Op::Advance(ticks) => {
                    clock.advance(TICK * ticks as u32);
                    model.now += ticks;
                }
            }
            for n in 0..ADDRESSES {
                let status = registry.status(&address(n));
                prop_assert_eq!(registry.is_fall_down(&address(n)), model.is_down(n));
                prop_assert_eq!(status.state == State::Down, model.is_down(n));
                prop_assert_eq!(u32::from(status.failures), model.fails(n));
                if let Some(endpoint) = pins.get(&n) {
                    prop_assert_eq!(endpoint.is_fall_down(), model.is_down(n));
                }
                if let Some(left) = status.retry_in {
                    prop_assert!(left > Duration::ZERO && left <= TICK * (run.timeout as u32 + 1));
                }
            }
        }
    }
}
