//! What a history seldom meets: an address that moves to another record, a lease that is shared.

use std::net::SocketAddr;
use std::sync::Arc;

use risefall::{Admission, Cause, ManualClock, Outcome, Registry, State};

use crate::address;
use crate::model::{Probes, Rules, ticks};

/// An address that was given a record of its bucket, left it, and was given another, which had
/// changed hands as often as the first.
fn moved(registry: &Registry, between: impl FnOnce(SocketAddr)) -> SocketAddr {
    let [first, second, mover] = [0, 2, 4].map(address);
    registry.add_fall_down(first);
    registry.add_fall_down(second);
    registry.reset(second);
    registry.sweep();
    // Where the second was.
    between(mover);
    registry.reset(mover);
    registry.sweep();
    registry.reset(first);
    registry.sweep();
    // The next record is the one where the first was.
    mover
}

#[test]
fn a_change_after_a_move_to_another_record_is_told() {
    let registry = Registry::builder().capacity(4).build();
    let mut told = registry.subscribe(16);
    let mover = moved(&registry, |mover| {
        for _ in 0..3 {
            registry.force_down(mover);
            registry.release(mover);
        }
    });
    assert_eq!(told.by_ref().count(), 6);
    registry.force_down(mover);
    assert_eq!(told.next().map(|change| change.to), Some(State::ForcedDown));
}

#[test]
fn an_attempt_from_before_a_move_to_another_record_is_judged_as_of_no_record() {
    let registry = Registry::builder().capacity(4).build();
    let mut attempts = Vec::new();
    let mover = moved(&registry, |mover| {
        registry.force_down(mover);
        attempts.push(registry.attempt(&mover));
        registry.release(mover);
        attempts.push(registry.attempt(&mover));
    });
    registry.add_fall_down(mover);
    // Nothing was held against it when it left, and nothing has changed since.
    attempts.pop().unwrap().end(Outcome::Failed(Cause::Refused));
    assert_eq!(registry.status(&mover).failures, 2);
    registry.add_fall_down(mover);
    assert!(registry.is_fall_down(&mover));
    // It began before the address went down, in the other record's first generation.
    attempts.pop().unwrap().end(Outcome::Success);
    assert_eq!(registry.status(&mover).successes, 0);
}

#[test]
fn a_permit_is_silent_from_when_it_was_given_not_from_when_its_lease_began() {
    let rules = Rules {
        id: 0,
        max_fails: 1,
        min_rises: 1,
        fail_timeout: 4,
        max_fail_timeout: 8,
        forget_after: 100,
        stall_after: 5,
        probes: Some(Probes {
            permits: 2,
            lease: 50,
        }),
    };
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder()
        .policy(rules.policy())
        .clock(clock.clone())
        .build();
    let at = address(0);
    registry.add_fall_down(at);
    clock.advance(ticks(5));
    let first = registry.try_admit(&at);
    clock.advance(ticks(5));
    let second = registry.try_admit(&at);
    assert!(matches!(second, Admission::Probe(_)));
    drop(second);
    assert_eq!(registry.status(&at).state, State::ProbeDue);
    drop(first);
    assert_eq!(registry.status(&at).state, State::Down);
}
