//! What is passed over when too few are left.

use std::sync::Arc;

use risefall::{Cause, Group, ManualClock, Outcome, Policy, Registry, State};

use super::world::*;

#[test]
fn what_checks_say_takes_a_member_out_and_is_passed_over_when_too_few_are_left() {
    let clock = Arc::new(ManualClock::new());
    let dials = Registry::builder().clock(clock.clone()).build();
    let strict = Policy::builder().max_fails(1).build().unwrap();
    let checks = Registry::builder().clock(clock).policy(strict).build();
    let group = Group::builder(&dials).checks(&checks).capacity(8).build();
    group.set((1..=4).map(|host| (address(host), 1)));
    let members = group.members();
    let eligible = || members.iter().filter(|one| one.is_eligible()).count();
    checks.record(address(1), Outcome::Failed(Cause::TimedOut));
    assert_eq!(eligible(), 3);
    assert_eq!(
        members.get(0).unwrap().admit().unwrap_err().state,
        State::Down
    );
    for host in [2, 3] {
        checks.record(address(host), Outcome::Failed(Cause::TimedOut));
    }
    assert_eq!(eligible(), 1, "nobody has counted yet");
    let _ = group.sweep(group.now());
    assert_eq!(group.counts().live, 1);
    assert!(group.counts().is_failing_open);
    assert_eq!(eligible(), 4);
    assert!(members.get(0).unwrap().admit().is_ok());
}

#[test]
fn below_the_share_answers_are_passed_over_but_not_dials() {
    let world = world(4, policy());
    world.calls(1, FAILED, 1);
    world.dials.add_fall_down(address(2));
    let _ = world.sweep();
    assert_eq!(world.eligible(), [3, 4], "half are live");
    world.calls(3, FAILED, 1);
    assert_eq!(
        world.eligible(),
        [1, 3, 4],
        "one is: all that can be dialled"
    );
    assert!(world.member(1).admit().is_ok());
    assert_eq!(world.member(2).admit().unwrap_err().state, State::Down);
}

#[test]
fn what_is_met_by_passing_over_a_verdict_does_not_move_it() {
    let world = world(4, policy());
    world.calls(1, FAILED, 1);
    world.dials.force_down(address(2));
    world.dials.force_down(address(3));
    let _ = world.sweep();
    let member = world.member(1);
    let before = member.status().service;
    assert_eq!((before.state, before.trips), (State::Down, 1));
    for outcome in [Outcome::Success, FAILED].repeat(5) {
        world.clock.advance(MILLI * 4);
        member.end(member.admit().unwrap(), outcome, MILLI);
    }
    let after = member.status().service;
    assert_eq!((after.state, after.trips), (State::Down, 1));
    let passed = before.retry_in.unwrap() - after.retry_in.unwrap();
    assert_eq!(passed, MILLI * 40, "neither prolonged nor ended");
    // When its time is over, one request is a probe, as ever.
    world.expire(1);
    let probe = member.admit().unwrap();
    assert!(probe.is_probe());
    assert!(!member.admit().unwrap().is_probe());
    member.end(probe, Outcome::Success, MILLI);
    assert_eq!(world.state(1), State::Up);
}

#[test]
fn when_no_dial_is_up_one_is_asked_all_the_same_unless_that_is_forbidden() {
    for (percent, expected) in [(50, Some(1)), (0, None)] {
        let world = world(3, policy().fail_open_below(percent));
        world.dials.add_fall_down(address(1));
        world.clock.advance(SECOND);
        world.dials.add_fall_down(address(2));
        world.dials.force_down(address(3));
        let members = world.group.members();
        assert!(members.choose(1).is_none());
        let admitted = members.admit(1).map(|(member, _)| host_of(member));
        assert_eq!(
            admitted, expected,
            "the first to be due, never a forced one"
        );
        assert_eq!(members.last_resort().map(|one| host_of(one)), expected);
    }
}

#[test]
fn nobody_sweeps_and_yet_the_last_are_found_when_all_others_are_down() {
    let world = world(4, policy());
    world.calls(1, FAILED, 1);
    for host in [2, 3, 4] {
        world.dials.add_fall_down(address(host));
    }
    let members = world.group.members();
    assert_eq!(members.choose(3).map(|one| host_of(one)), Some(1));
}
