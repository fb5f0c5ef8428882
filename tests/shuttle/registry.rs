//! Permits, what is told, records that change hands, overrides and imports.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use risefall::{Admission, Cause, Endpoint, Outcome, Permit, Recovery, Registry, State};
use shuttle::thread;

use super::world::*;

/// Everybody asks once; how many got a permit, which they keep.
fn ask_all(registry: &Registry, callers: usize) -> Vec<Permit> {
    let permits = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (kept, asked) = (Arc::clone(&permits), registry.clone());
    together(many(callers, move |_| match asked.try_admit(&address(1)) {
        Admission::Probe(permit) => kept.lock().unwrap().push(permit),
        Admission::Deny { state, .. } => assert_eq!(state, State::Probing),
        Admission::Pass => panic!("nobody passes"),
    }));
    std::mem::take(&mut *permits.lock().unwrap())
}

#[test]
fn the_herd_gets_as_many_permits_as_there_are() {
    for permits in [1, 2] {
        check(move || {
            let (registry, clock) = registry(4, probing(permits));
            take_down(&registry, address(1));
            expire(&registry, &clock, address(1));
            let first = ask_all(&registry, 5);
            assert_eq!(first.len(), usize::from(permits));
            // Lost, and offered again when the lease has ended.
            clock.advance(LEASE + TICK);
            let second = ask_all(&registry, 5);
            assert_eq!(second.len(), usize::from(permits));
            // What was lost turns up beside what is told in time.
            let told = registry.clone();
            let late = first.into_iter().map(|permit| {
                let end = move || permit.end(Outcome::Success);
                Box::new(end) as Box<dyn FnOnce() + Send>
            });
            let in_time = second.into_iter().map(|permit| {
                let end = move || permit.end(Outcome::Failed(Cause::Refused));
                Box::new(end) as Box<dyn FnOnce() + Send>
            });
            together(late.chain(in_time).collect());
            let status = told.status(&address(1));
            assert_eq!((status.state, status.trips), (State::Down, 2));
        });
    }
}

#[test]
fn permits_in_use_never_exceed_the_policy() {
    check(|| {
        let (registry, clock) = registry(4, probing(2));
        take_down(&registry, address(1));
        expire(&registry, &clock, address(1));
        let in_use = Arc::new(AtomicUsize::new(0));
        together(many(5, move |n| match registry.try_admit(&address(1)) {
            Admission::Probe(permit) => {
                assert!(in_use.fetch_add(1, Ordering::SeqCst) < 2);
                thread::yield_now();
                in_use.fetch_sub(1, Ordering::SeqCst);
                match n {
                    0 => permit.end(Outcome::Success),
                    1 => permit.end(Outcome::Cancelled),
                    _ => drop(permit),
                }
            }
            Admission::Deny { .. } => {}
            Admission::Pass => {
                assert_eq!(registry.status(&address(1)).state, State::Up);
            }
        }));
    });
}

#[test]
fn what_is_told_alternates_and_ends_as_it_is() {
    check(|| {
        let (registry, _) = registry(4, Recovery::Open);
        let transitions = registry.subscribe(64);
        let observed = registry.clone();
        together(many(5, move |n| {
            for _ in 0..3 {
                if n < 3 {
                    registry.add_fall_down(address(1));
                } else {
                    registry.add_rise_up(address(1));
                }
            }
        }));
        let mut was = State::Up;
        for transition in transitions {
            assert_eq!(transition.from, was, "{transition:?}");
            assert_ne!(transition.to, was);
            was = transition.to;
        }
        assert_eq!(observed.status(&address(1)).state, was);
    });
}

#[test]
fn records_change_hands_under_everybody() {
    check(|| {
        let (registry, clock) = registry(2, probing(1));
        take_down(&registry, address(1));
        expire(&registry, &clock, address(1));
        let pinned: Endpoint = registry.endpoint(address(9));
        let observed = registry.clone();
        let threads = many(5, move |n| match n {
            // Comes up and may go.
            0 => {
                (0..4).for_each(|_| registry.add_rise_up(address(1)));
                registry.reset(address(1));
            }
            1 => drop(registry.try_admit(&address(1))),
            2 => take_down(&registry, address(2)),
            3 => {
                take_down(&registry, address(3));
                registry.sweep();
            }
            _ => {
                pinned.add_fall_down();
                assert_eq!(pinned.status().failures, 1);
                pinned.attempt().end(Outcome::Success);
                assert_eq!(registry.status(&address(9)).failures, 0);
            }
        });
        together(threads);
        assert!(observed.len() <= 3);
        for host in [2, 3] {
            let status = observed.status(&address(host));
            let is_tracked = status.state == State::Down;
            assert!(is_tracked || observed.overflow() > 0, "{status:?}");
        }
    });
}

#[test]
fn an_operators_word_stands_and_its_end_is_clean() {
    check(|| {
        let (registry, _) = registry(4, Recovery::Open);
        let observed = registry.clone();
        together(many(5, move |n| match n {
            0 => registry.force_down(address(1)),
            1 | 2 => registry.add_fall_down(address(1)),
            3 => registry.add_rise_up(address(1)),
            _ => {
                let rate_limited = Outcome::RateLimited { retry_after: LEASE };
                registry.record(address(1), rate_limited);
            }
        }));
        assert_eq!(observed.status(&address(1)).state, State::ForcedDown);
        observed.release(address(1));
        let status = observed.status(&address(1));
        assert_eq!((status.state, status.failures), (State::Up, 0));
    });
}

#[test]
fn an_import_beside_everything_else_takes_over_only_what_is_newer() {
    check(|| {
        let (old, _) = registry(8, Recovery::Open);
        take_down(&old, address(1));
        take_down(&old, address(2));
        let snapshot = Arc::new(old.export());
        let (registry, clock) = registry(8, Recovery::Open);
        clock.advance(Duration::from_secs(1_000));
        let observed = registry.clone();
        together(many(4, move |n| match n {
            0 | 1 => {
                let imported = registry.import_aged(&snapshot, LEASE).unwrap();
                assert_eq!(imported.refused, 0);
            }
            2 => {
                registry.add_fall_down(address(1));
                (0..2).for_each(|_| registry.add_rise_up(address(1)));
            }
            _ => {
                let exported = registry.export();
                assert!(exported.entries.len() <= 2);
            }
        }));
        // Nobody knew better about the second one.
        assert_eq!(observed.status(&address(2)).state, State::Down);
    });
}
