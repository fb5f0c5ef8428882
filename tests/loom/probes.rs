//! Probes and their leases, attempts, overrides, and the order of what is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use risefall::{Admission, Cause, ManualClock, Outcome, Permit, Policy, Recovery, Registry, State};

use super::world::*;

const LEASE: Duration = Duration::from_secs(10);

fn probing(capacity: usize) -> (Registry, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let recovery = Recovery::Probe {
        permits: 1,
        lease: LEASE,
    };
    let policy = Policy::builder()
        .max_fails(1)
        .min_rises(1)
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

/// A registry whose only address is due for a probe.
fn due() -> (Registry, Arc<ManualClock>) {
    let (registry, clock) = probing(2);
    registry.add_fall_down(address(1, 1));
    clock.advance(Duration::from_secs(70));
    assert_eq!(registry.status(&address(1, 1)).state, State::ProbeDue);
    (registry, clock)
}

fn permit(registry: &Registry) -> Option<Permit> {
    match registry.try_admit(&address(1, 1)) {
        Admission::Probe(permit) => Some(permit),
        _ => None,
    }
}

fn fails(permit: Permit) {
    permit.end(Outcome::Failed(Cause::Refused));
}

#[test]
fn of_two_callers_at_expiry_one_is_given_the_permit() {
    loom::model(|| {
        let (registry, _) = due();
        let given = Arc::new(Mutex::new(Vec::new()));
        let ask = |given: &Arc<Mutex<Vec<Permit>>>| {
            let given = Arc::clone(given);
            move |registry: &Registry| match registry.try_admit(&address(1, 1)) {
                Admission::Probe(permit) => given.lock().unwrap().push(permit),
                Admission::Deny { state, .. } => assert_eq!(state, State::Probing),
                Admission::Pass => panic!("nobody passes"),
            }
        };
        beside(&registry, ask(&given), ask(&given));
        assert_eq!(given.lock().unwrap().len(), 1);
    });
}

#[test]
fn one_who_loses_the_race_for_a_permit_is_never_let_pass() {
    loom::model(|| {
        let (registry, _) = due();
        let and_back = |registry: &Registry| drop(permit(registry));
        let asks = |registry: &Registry| {
            let admission = registry.try_admit(&address(1, 1));
            assert!(!matches!(admission, Admission::Pass), "it is on probation");
            drop(admission);
        };
        beside(&registry, and_back, asks);
        assert_eq!(registry.status(&address(1, 1)).state, State::ProbeDue);
    });
}

#[test]
fn a_lost_probe_that_is_told_late_changes_nothing_for_the_next() {
    for outcome in [
        Outcome::Success,
        Outcome::Failed(Cause::TimedOut),
        Outcome::Cancelled,
    ] {
        loom::model(move || {
            let (registry, clock) = due();
            let lost = permit(&registry).unwrap();
            clock.advance(LEASE + Duration::from_millis(4));
            let settles = move |_: &Registry| lost.end(outcome);
            let mut second = None;
            beside(&registry, |registry| second = permit(registry), settles);
            let state = registry.status(&address(1, 1)).state;
            match (second, outcome) {
                // Given before the late word came: that was void.
                (Some(second), _) if state == State::Probing => {
                    assert!(permit(&registry).is_none(), "never two");
                    fails(second);
                    assert_eq!(registry.status(&address(1, 1)).state, State::Down);
                }
                // Told before anybody else was given one: it counts.
                (None, Outcome::Success) => assert_eq!(state, State::Up),
                (None, Outcome::Failed(_)) => assert_eq!(state, State::Down),
                (second, outcome) => panic!("{second:?} {outcome:?} {state}"),
            }
        });
    }
}

#[test]
fn a_probe_and_a_plain_failure_end_in_one_of_the_two_orders() {
    loom::model(|| {
        let (registry, _) = due();
        let probe = permit(&registry).unwrap();
        let succeeds = move |_: &Registry| probe.end(Outcome::Success);
        beside(&registry, |r| r.add_fall_down(address(1, 1)), succeeds);
        // Down after up, or down before the probe's end, which is void then. Either way two trips.
        let status = registry.status(&address(1, 1));
        assert_eq!((status.state, status.trips), (State::Down, 2));
    });
}

#[test]
fn a_result_from_before_the_trip_never_counts_after_it() {
    loom::model(|| {
        let registry = registry(2, 2, 1);
        let k = address(1, 1);
        registry.add_fall_down(k);
        // The second failure trips; the first attempt's success then says nothing any more.
        let late = move |registry: &Registry| registry.attempt(&k).end(Outcome::Success);
        beside(&registry, |r| r.add_fall_down(k), late);
        let status = registry.status(&k);
        // Success before the failure: one failure. Begun and ended after it: up. Begun before and
        // ended after it: void, down.
        let is_one_of = match status.state {
            State::Up => status.failures <= 1,
            State::Down => status.failures == 2 && status.successes == 0,
            _ => false,
        };
        assert!(is_one_of, "{status:?}");
    });
}

#[test]
fn a_stale_attempt_is_void_whatever_it_meets() {
    loom::model(|| {
        let (registry, _) = probing(2);
        let k = address(1, 1);
        registry.add_fall_down(k);
        // Begun while it was down; it comes up and its failure arrives meanwhile.
        let handle = registry.endpoint(k);
        let fails = move |_: &Registry| {
            let attempt = handle.attempt();
            assert!(!attempt.address().ip().is_loopback());
            attempt.end(Outcome::Failed(Cause::TimedOut));
        };
        beside(&registry, |r| r.add_rise_up(k), fails);
        let status = registry.status(&k);
        // Failed while down, then up. Up, and failed as a new attempt: down again, a trip more.
        // Begun down and ended up: void.
        match status.state {
            State::Up => assert_eq!(status.failures, 0),
            State::Down => assert_eq!(status.trips, 2),
            other => panic!("{other}"),
        }
    });
}

#[test]
fn an_operators_word_stands_whatever_comes_beside_it() {
    loom::model(|| {
        let registry = registry(2, 1, 1);
        let k = address(1, 1);
        beside(&registry, |r| r.force_up(k), move |r| r.add_fall_down(k));
        assert_eq!(registry.status(&k).state, State::ForcedUp);
        assert!(!registry.is_fall_down(&k));
    });
}

#[test]
fn a_release_and_a_failure_end_in_one_of_the_two_orders() {
    loom::model(|| {
        let registry = registry(2, 2, 1);
        let k = address(1, 1);
        registry.drain(k);
        beside(&registry, |r| r.release(k), move |r| r.add_fall_down(k));
        let status = registry.status(&k);
        assert!(
            status.state == State::Up && status.failures <= 1,
            "{status:?}"
        );
    });
}

#[test]
fn a_permit_outlives_no_eviction() {
    loom::model(|| {
        let (registry, clock) = probing(1);
        let (k, newcomer) = (address(1, 1), address(2, 2));
        registry.add_fall_down(k);
        clock.advance(Duration::from_secs(70));
        let probe = permit(&registry).unwrap();
        // Forgotten: the newcomer may have the record, and the late word must not reach it.
        clock.advance(Duration::from_secs(3600));
        let settles = move |_: &Registry| probe.end(Outcome::Success);
        beside(&registry, |r| r.add_fall_down(newcomer), settles);
        let [old, new] = [k, newcomer].map(|address| registry.status(&address));
        assert_eq!((old.state, old.trips), (State::Up, 0));
        // The success of a forgotten probe leaves a trace of its own only if it came first.
        assert!(
            new.state == State::Down || registry.overflow() == 1,
            "{new:?}"
        );
    });
}

#[test]
fn a_longer_reader_keeps_the_record_from_eviction() {
    loom::model(|| {
        let (registry, clock) = lagging(1, 1);
        let k = address(1, 1);
        let patient = Policy::builder()
            .max_fails(1)
            .fail_timeout(Duration::from_secs(600));
        let patient = registry.with_policy(patient.build().unwrap());
        registry.add_fall_down(k);
        let newcomer = move |registry: &Registry| {
            clock.set(EXPIRED);
            registry.add_fall_down(address(2, 2));
        };
        beside(&registry, newcomer, move |_| {
            assert!(patient.is_fall_down(&k))
        });
        assert_eq!(registry.overflow(), 1);
    });
}

#[test]
fn what_two_winners_tell_comes_once_and_in_order() {
    loom::model(|| {
        let registry = registry(2, 1, 1);
        let k = address(1, 1);
        let mut transitions = registry.subscribe(8);
        registry.add_fall_down(k);
        beside(&registry, |r| r.add_rise_up(k), move |r| r.force_down(k));
        let told: Vec<_> = transitions.by_ref().map(|t| t.to).collect();
        let orders: [&[State]; 2] = [
            &[State::Down, State::Up, State::ForcedDown],
            &[State::Down, State::ForcedDown],
        ];
        assert!(orders.contains(&&*told), "{told:?}");
    });
}

#[test]
fn a_subscription_misses_no_change_after_it_began() {
    loom::model(|| {
        let registry = registry(2, 1, 1);
        let k = address(1, 1);
        registry.add_fall_down(k);
        let trips = move |r: &Registry| {
            r.force_down(k);
            r.release(k);
        };
        let mut transitions = None;
        beside(&registry, |r| transitions = Some(r.subscribe(8)), trips);
        registry.add_fall_down(k);
        let told: Vec<_> = transitions.unwrap().map(|t| t.to).collect();
        let all = [State::ForcedDown, State::Up, State::Down];
        assert!(all.ends_with(&told) && !told.is_empty(), "{told:?}");
    });
}
