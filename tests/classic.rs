//! The classic four verbs, and the mistakes that earlier implementations of them made.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use risefall::{Cause, HealthCheck, ManualClock, Policy, Registry, State};

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn registry(policy: Policy) -> (Registry, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    (
        Registry::builder()
            .policy(policy)
            .clock(clock.clone())
            .build(),
        clock,
    )
}

#[test]
fn unknown_and_never_failed_are_the_same_thing() {
    let (registry, _) = registry(Policy::default());
    let (unknown, healthy) = (address(1), address(2));
    for _ in 0..10 {
        registry.add_rise_up(healthy);
    }
    assert!(
        registry.is_empty(),
        "a success on a healthy address leaves no record"
    );
    let (mut a, mut b) = (registry.status(&unknown), registry.status(&healthy));
    (a.address, b.address) = (address(0), address(0));
    assert_eq!(a, b);
}

#[test]
fn the_first_failure_takes_down_when_max_fails_is_one() {
    let (registry, _) = registry(Policy::builder().max_fails(1).build().unwrap());
    registry.add_fall_down(address(1));
    assert!(registry.is_fall_down(&address(1)));
}

#[test]
fn down_ends_after_fail_timeout_and_counting_begins_anew() {
    let (registry, clock) = registry(Policy::default());
    for _ in 0..3 {
        registry.add_fall_down(address(1));
    }
    clock.advance(Duration::from_secs(60));
    assert!(registry.is_fall_down(&address(1)));
    clock.advance(Duration::from_millis(4));
    assert!(!registry.is_fall_down(&address(1)));
    for expected in [false, false, true] {
        registry.add_fall_down(address(1));
        assert_eq!(registry.is_fall_down(&address(1)), expected);
    }
}

#[test]
fn memory_is_bounded_whatever_addresses_fail() {
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder()
        .capacity(64)
        .clock(clock.clone())
        .build();
    for port in 0..10_000 {
        registry.add_fall_down(address(port));
    }
    assert_eq!(registry.len(), 64);
    assert_eq!(registry.overflow(), 10_000 - 64);
    let untracked = (0..10_000)
        .map(address)
        .find(|a| registry.status(a).failures == 0)
        .unwrap();
    assert!(
        !registry.is_fall_down(&untracked),
        "what is not tracked reads as up"
    );
}

#[test]
fn live_evidence_is_never_evicted_and_expired_evidence_makes_room() {
    let clock = Arc::new(ManualClock::new());
    let policy = Policy::builder().max_fails(1).build().unwrap();
    let registry = Registry::builder()
        .capacity(16)
        .policy(policy)
        .clock(clock.clone())
        .build();
    for port in 0..16 {
        registry.add_fall_down(address(port));
    }
    for port in 100..200 {
        registry.add_fall_down(address(port));
    }
    assert!((0..16).all(|port| registry.is_fall_down(&address(port))));
    clock.advance(Duration::from_secs(61));
    for port in 200..216 {
        registry.add_fall_down(address(port));
    }
    assert!((200..216).all(|port| registry.is_fall_down(&address(port))));
    assert_eq!(registry.len(), 16);
}

#[test]
fn pins_never_ask_the_cap_and_never_lose_their_record() {
    let registry = Registry::builder().capacity(4).build();
    let pinned: Vec<_> = (0..300)
        .map(|port| registry.endpoint(address(port)))
        .collect();
    for port in 1_000..1_100 {
        registry.add_fall_down(address(port));
    }
    for endpoint in &pinned {
        for _ in 0..3 {
            endpoint.add_fall_down();
        }
        assert!(
            registry.is_fall_down(&endpoint.address()),
            "seen by address as well"
        );
    }
    assert_eq!(registry.len(), 304);
}

#[test]
fn dropped_handles_do_not_pile_up() {
    let registry = Registry::builder().capacity(64).build();
    for port in 0..20_000 {
        drop(registry.endpoint(address(port)));
    }
    assert!(
        registry.len() <= 64,
        "{} records are left of dropped handles",
        registry.len()
    );
}

#[test]
fn statuses_list_live_evidence_with_its_cause() {
    let (registry, clock) = registry(Policy::default());
    registry.record_failure(address(1), Cause::Refused);
    clock.advance(Duration::from_secs(2));
    for _ in 0..3 {
        registry.record_failure(address(2), Cause::TimedOut);
    }
    clock.advance(Duration::from_secs(1));
    let _pinned = registry.endpoint(address(3));
    let mut statuses = registry.statuses();
    statuses.sort_by_key(|status| status.address);
    let [first, second] = &statuses[..] else {
        panic!("two entries, got {statuses:?}")
    };
    assert_eq!((first.state, first.failures), (State::Up, 1));
    assert_eq!(first.last_failure.unwrap().age, Duration::from_secs(3));
    assert_eq!((second.state, second.failures), (State::Down, 3));
    assert_eq!(second.last_failure.unwrap().cause, Cause::TimedOut);
    assert_eq!(
        second.to_string(),
        "192.0.2.1:2 down, 3 failures in a row, last timed out 1.0s ago, tried again in 59.0s"
    );
    clock.advance(Duration::from_secs(120));
    assert!(registry.statuses().is_empty());
}

#[test]
fn each_change_of_verdict_is_told_once() {
    let (registry, _) = registry(Policy::default());
    let mut transitions = registry.subscribe(16);
    for _ in 0..5 {
        registry.record_failure(address(1), Cause::Reset);
    }
    registry.add_rise_up(address(1));
    registry.add_rise_up(address(1));
    registry.add_rise_up(address(1));
    let down = transitions.next().unwrap();
    assert_eq!(
        (down.from, down.to, down.cause),
        (State::Up, State::Down, Some(Cause::Reset))
    );
    let up = transitions.next().unwrap();
    assert_eq!((up.from, up.to, up.cause), (State::Down, State::Up, None));
    assert_eq!(transitions.next(), None);
}

#[test]
fn the_process_wide_registry_is_configured_before_first_use_or_not_at_all() {
    let policy = Policy::builder().max_fails(2).build().unwrap();
    assert_eq!(HealthCheck::configure(policy.clone()), Ok(()));
    assert!(HealthCheck::configure(Policy::default()).is_err());
    HealthCheck::add_fall_down(address(1));
    HealthCheck::add_fall_down(address(1));
    assert!(HealthCheck::is_fall_down(&address(1)));
    assert_eq!(HealthCheck::registry().policy(), &policy);
}
