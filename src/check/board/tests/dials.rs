//! What checks tell dials, and what they leave to them.

use super::world::*;
use crate::check::report::{Failure, Finding, Verdict, Way};
use crate::outcome::Cause;
use crate::policy::{Policy, Recovery};
use crate::snapshot::State;

#[test]
fn a_check_clears_its_own_word_alone() {
    let mut world = World::new(4);
    let group = world.group();
    let id = world.subscribe(1, &group, thresholds(2, 1));
    world.dials.add_fall_down(address(1));
    for _ in 0..9 {
        world.check(&passed());
    }
    // Failures in a row that clients met are theirs.
    assert_eq!(world.dials.status(&address(1)).failures, 1);
    world.check(&failed());
    world.check(&failed());
    // And a service that fails is no dial that does.
    assert_eq!(world.verdict(id), Verdict::Down);
    assert!(!world.dials.is_fall_down(&address(1)));
}

#[test]
fn one_that_cannot_connect_is_evidence_for_dials_until_they_are_down() {
    let mut world = World::new(4);
    let group = world.group();
    world.subscribe(1, &group, thresholds(3, 2));
    for _ in 0..9 {
        world.check(&refused());
    }
    let status = world.dials.status(&address(1));
    assert_eq!((status.state, status.failures), (State::Down, 3));
    assert_eq!(status.last_failure.unwrap().cause, Cause::Refused);
}

#[test]
fn one_that_gives_up_early_is_none() {
    let timed_out = |took| Finding {
        way: Way::Failed(Cause::TimedOut),
        took,
        ..finding(Err(Failure::DialTimedOut(took)))
    };
    let mut world = World::new(4);
    let group = world.group();
    let id = world.subscribe(1, &group, thresholds(3, 2));
    let stalls = world.dials.policy().stall_after();
    for (took, failures) in [(ms(20), 0), (stalls - ms(1), 0), (stalls, 1), (ms(1500), 2)] {
        world.check(&timed_out(took));
        assert_eq!(
            world.dials.status(&address(1)).failures,
            failures,
            "{took:?}"
        );
    }
    assert_eq!(world.verdict(id), Verdict::Down, "it has not passed");
}

#[test]
fn a_server_comes_back_without_a_client_who_pays_for_the_trial() {
    for recovery in [Recovery::Open, Recovery::PROBE] {
        let policy = Policy::builder().recovery(recovery).build().unwrap();
        let mut world = World::with_dials(4, policy);
        let group = world.group();
        let id = world.subscribe(1, &group, thresholds(3, 2));
        for _ in 0..40 {
            world.check(&refused());
        }
        let is_eligible = |world: &World| {
            !world.dials.is_fall_down(&address(1)) && !group.is_fall_down(&address(1))
        };
        world.check(&passed());
        assert!(!is_eligible(&world), "{recovery:?}");
        world.check(&passed());
        assert!(is_eligible(&world), "{recovery:?}");
        assert_eq!(world.dials.status(&address(1)).state, State::Up);
        assert_eq!(world.verdict(id), Verdict::Up);
    }
}

#[test]
fn a_server_that_is_due_for_a_probe_is_probed_by_checks() {
    let recovery = Recovery::PROBE;
    let policy = Policy::builder().recovery(recovery).build().unwrap();
    let mut world = World::with_dials(4, policy);
    let group = world.group();
    world.subscribe(1, &group, thresholds(3, 2));
    world.check(&passed());
    (0..3).for_each(|_| world.dials.add_fall_down(address(1)));
    let left = world.dials.status(&address(1)).retry_in.unwrap();
    world.clock.advance(left);
    assert_eq!(world.dials.status(&address(1)).state, State::ProbeDue);
    world.check(&refused());
    assert_eq!(world.dials.status(&address(1)).state, State::Down);
    let left = world.dials.status(&address(1)).retry_in.unwrap();
    world.clock.advance(left);
    world.check(&passed());
    world.check(&passed());
    assert_eq!(world.dials.status(&address(1)).state, State::Up);
}

#[test]
fn one_dial_of_two_who_judge_it_otherwise_is_told_once() {
    let mut world = World::new(4);
    let (lenient, strict) = (world.group(), world.group());
    world.subscribe(1, &lenient, thresholds(9, 2));
    let policy = Policy::builder().max_fails(1).min_rises(1).build().unwrap();
    let dials = world.dials.with_policy(policy);
    let (at, now) = (address(1), world.now);
    let entered = world.board.enter(
        at,
        dials.endpoint(at),
        definition(),
        &strict,
        thresholds(9, 2),
        now,
    );
    entered.unwrap();
    world.check(&refused());
    assert_eq!(world.dials.status(&address(1)).failures, 1);
    assert!(dials.is_fall_down(&address(1)) && !world.dials.is_fall_down(&address(1)));
    // The lenient one may still dial, and what that meets counts.
    world.check(&refused());
    assert_eq!(world.dials.status(&address(1)).failures, 2);
    // For the strict one it is down, so an answer counts, and one is enough.
    world.check(&passed());
    assert!(!dials.is_fall_down(&address(1)));
    assert_eq!(world.dials.status(&address(1)).failures, 0);
}
