//! Failures, successes, records that change hands.

use std::net::SocketAddr;

use risefall::{Registry, State};

use super::world::*;

#[test]
fn two_trippers_make_exactly_one_transition() {
    loom::model(|| {
        let registry = registry(2, 2, 1);
        let mut transitions = registry.subscribe(8);
        let k = address(1, 1);
        let threads = [(); 2].map(|()| spawn(&registry, move |r| r.add_fall_down(k)));
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(registry.is_fall_down(&k));
        assert_eq!(registry.status(&k).failures, 2, "no failure is lost");
        assert_eq!(transitions.next().map(|t| t.to), Some(State::Down));
        assert_eq!(transitions.next(), None);
    });
}

#[test]
fn a_trip_and_a_recovery_happen_one_after_the_other() {
    loom::model(|| {
        let registry = registry(2, 2, 1);
        let mut transitions = registry.subscribe(8);
        let k = address(1, 1);
        registry.add_fall_down(k);
        let fail = spawn(&registry, move |r| r.add_fall_down(k));
        let rise = spawn(&registry, move |r| r.add_rise_up(k));
        fail.join().unwrap();
        rise.join().unwrap();
        let told: Vec<_> = std::iter::from_fn(|| transitions.next())
            .map(|t| t.to)
            .collect();
        match registry.status(&k).failures {
            0 => assert_eq!(told, [State::Down, State::Up], "failed, then rose"),
            1 => assert!(told.is_empty(), "rose, then failed"),
            more => panic!("{more} failures"),
        }
    });
}

#[test]
fn a_trip_against_expiry_counts_the_failure_in_one_of_the_two_times() {
    loom::model(|| {
        let (registry, clock) = lagging(2, 2);
        let k = address(1, 1);
        registry.add_fall_down(k);
        let late = spawn(&registry, move |r| {
            clock.set(EXPIRED);
            r.add_fall_down(k);
        });
        let early = spawn(&registry, move |r| r.add_fall_down(k));
        late.join().unwrap();
        early.join().unwrap();
        // Early before late: down, expired, begun anew with one. Late before early: begun anew
        // with one, and the early thread's clock does not move time back, so two: down.
        let status = registry.status(&k);
        assert!(matches!(status.failures, 1 | 2), "{status:?}");
        assert_eq!(status.state == State::Down, status.failures == 2);
    });
}

#[test]
fn an_insertion_is_seen_whole_or_not_at_all() {
    loom::model(|| {
        let registry = registry(4, 1, 1);
        let (k, other) = (address(1, 1), address(2, 2));
        let insert_other = spawn(&registry, move |r| r.add_fall_down(other));
        let read = move |r: &Registry| {
            let (first, second) = (r.is_fall_down(&k), r.is_fall_down(&k));
            assert!(!first || second, "once down, it stays down");
        };
        beside(&registry, |r| r.add_fall_down(k), read);
        insert_other.join().unwrap();
        assert!(registry.is_fall_down(&k) && registry.is_fall_down(&other));
        assert_eq!(registry.len(), 2);
    });
}

#[test]
fn a_first_failure_of_one_address_in_two_threads_makes_one_record() {
    loom::model(|| {
        let registry = registry(4, 2, 1);
        let k = address(1, 1);
        let fail = spawn(&registry, move |r| r.add_fall_down(k));
        registry.add_fall_down(k);
        fail.join().unwrap();
        assert_eq!(registry.len(), 1);
        assert_eq!(registry.status(&k).failures, 2);
    });
}

/// The reader's address is put together from the old and the new one: a torn key would match it.
fn nobody_reads(asked: SocketAddr) {
    loom::model(move || {
        let registry = registry(1, 1, 1);
        let (old, new) = (address(1, 1), address(2, 2));
        leave_neutral(&registry, old);
        let read = move |r: &Registry| assert!(!r.is_fall_down(&asked));
        beside(&registry, |r| r.add_fall_down(new), read);
        assert!(registry.is_fall_down(&new));
    });
}

#[test]
fn a_reused_record_is_never_read_as_its_old_address() {
    nobody_reads(address(1, 1));
}

#[test]
fn a_reused_record_is_never_read_as_the_old_host_on_the_new_port() {
    nobody_reads(address(1, 2));
}

#[test]
fn a_reused_record_is_never_read_as_the_new_host_on_the_old_port() {
    nobody_reads(address(2, 1));
}

#[test]
fn an_old_verdict_is_never_paired_with_a_new_key() {
    loom::model(|| {
        let (registry, clock) = lagging(1, 1);
        let (old, new, torn) = (address(1, 1), address(2, 2), address(2, 1));
        registry.add_fall_down(old);
        let reuse = |r: &Registry| {
            clock.set(EXPIRED);
            r.add_fall_down(new);
        };
        beside(&registry, reuse, move |r| assert!(!r.is_fall_down(&torn)));
        assert!(registry.is_fall_down(&new));
    });
}

#[test]
fn a_late_failure_never_blames_the_address_that_took_the_record() {
    loom::model(|| {
        let registry = registry(1, 3, 1);
        let (old, new) = (address(1, 1), address(2, 2));
        leave_neutral(&registry, old);
        beside(
            &registry,
            |r| r.add_fall_down(new),
            move |r| r.add_fall_down(old),
        );
        let failures = [old, new].map(|k| registry.status(&k).failures);
        assert!(matches!(failures, [1, 0] | [0, 1]), "{failures:?}");
        assert_eq!(registry.overflow(), 1);
        assert_eq!(registry.len(), 1);
    });
}

#[test]
fn a_late_success_never_clears_the_address_that_took_the_record() {
    loom::model(|| {
        let registry = registry(1, 2, 1);
        let (old, new) = (address(1, 1), address(2, 2));
        registry.add_fall_down(old);
        // Rises and makes the record neutral, so that the newcomer may take it.
        let reuse = |r: &Registry| {
            r.add_rise_up(old);
            r.add_fall_down(new);
        };
        beside(&registry, reuse, move |r| r.add_rise_up(old));
        assert_eq!(registry.status(&new).failures, 1);
    });
}

#[test]
fn a_pinned_record_is_never_evicted() {
    loom::model(|| {
        let registry = registry(1, 1, 1);
        let (k, newcomer) = (address(1, 1), address(2, 2));
        leave_neutral(&registry, k);
        let pin = move |r: &Registry| {
            let endpoint = r.endpoint(k);
            endpoint.add_fall_down();
            assert!(endpoint.is_fall_down());
            assert!(
                r.is_fall_down(&k),
                "what the handle recorded is seen by address"
            );
        };
        beside(&registry, |r| r.add_fall_down(newcomer), pin);
    });
}

#[test]
fn who_sees_a_change_sees_what_came_before_it() {
    loom::model(|| {
        let registry = registry(4, 1, 1);
        let (first, second) = (address(1, 1), address(2, 2));
        leave_neutral(&registry, second);
        let write = |r: &Registry| {
            r.add_fall_down(first);
            r.add_fall_down(second);
        };
        let read = move |r: &Registry| {
            assert!(!r.is_fall_down(&second) || r.is_fall_down(&first));
        };
        beside(&registry, write, read);
    });
}

#[test]
fn who_sees_an_insertion_sees_what_came_before_it() {
    loom::model(|| {
        // The record is there already, vacant and reused, so that only the word publishes it.
        let registry = registry(1, 2, 1);
        let (k, newcomer) = (address(1, 1), address(2, 2));
        let endpoint = registry.endpoint(k);
        leave_neutral(&registry, address(3, 3));
        let write = |r: &Registry| {
            r.add_fall_down(k);
            r.add_fall_down(k);
            r.add_fall_down(newcomer);
        };
        let read = move |r: &Registry| {
            assert!(r.status(&newcomer).failures == 0 || endpoint.is_fall_down());
        };
        beside(&registry, write, read);
    });
}

#[test]
fn who_sees_that_an_address_left_sees_what_came_before_it() {
    loom::model(|| {
        // Two registries, so that nothing but the eviction itself can carry the news.
        let [registry, witness] = [(); 2].map(|()| registry(1, 1, 1));
        let (gone, newcomer) = (address(1, 1), address(2, 2));
        registry.add_fall_down(gone);
        let write = {
            let witness = witness.clone();
            move |r: &Registry| {
                witness.add_fall_down(gone);
                r.add_rise_up(gone);
                r.add_fall_down(newcomer);
            }
        };
        let read = move |r: &Registry| {
            assert!(r.is_fall_down(&gone) || witness.is_fall_down(&gone));
        };
        beside(&registry, write, read);
    });
}
