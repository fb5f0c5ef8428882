//! Who is ejected and who comes back: the slots of the cap, probes, answers that come late.

use std::time::Duration;

use risefall::{Group, Outcome, Recovery, State};

use super::world::*;

#[test]
fn no_more_are_ejected_than_may_be_and_a_freed_slot_is_taken_by_the_next() {
    let world = world(4, policy());
    for host in 1..=4 {
        world.calls(host, FAILED, 3);
    }
    assert_eq!(world.eligible(), [3, 4]);
    let counts = world.group.counts();
    assert_eq!(
        (counts.ejected, counts.most_ejected, counts.live),
        (2, 2, 2)
    );
    assert_eq!((counts.ejections, counts.spared), (2, 6));
    world.expire(1);
    let right = world.member(1).admit().unwrap();
    assert!(right.is_probe());
    world.member(1).end(right, Outcome::Success, MILLI);
    assert_eq!(world.group.counts().ejected, 1);
    // Its failures are not lost: it was one short of going down.
    world.calls(3, FAILED, 1);
    assert!(world.member(1).is_eligible() && !world.member(3).is_eligible());
    assert_eq!(world.state(3), State::Down);
    assert_eq!(world.group.counts().ejected, 2);
}

#[test]
fn a_member_that_goes_down_again_keeps_its_slot_and_takes_no_second() {
    let world = world(4, policy());
    world.calls(1, FAILED, 5);
    world.expire(1);
    let right = world.member(1).admit().unwrap();
    world.member(1).end(right, FAILED, MILLI);
    assert_eq!(world.state(1), State::Down);
    let counts = world.group.counts();
    assert_eq!((counts.ejected, counts.ejections, counts.spared), (1, 1, 0));
}

#[test]
fn an_only_member_is_never_ejected_unless_it_may_be() {
    let spared = world(1, policy());
    spared.calls(1, FAILED, 100);
    assert_eq!(spared.eligible(), [1]);
    let ejected = world(1, policy().spare_single(false).fail_open_below(0));
    ejected.calls(1, FAILED, 1);
    assert_eq!(ejected.eligible(), []);
    assert!(ejected.group.members().admit(7).is_none());
}

#[test]
fn two_groups_share_what_dials_say_and_judge_answers_for_themselves() {
    let strict = world(4, policy());
    let lenient = service(Recovery::PROBE).into_builder().max_fails(3);
    let lenient = policy().service(lenient.build().unwrap()).build().unwrap();
    let other = Group::new(&strict.dials, lenient);
    other.set([(address(1), 1), (address(2), 1)]);
    let members = other.members();
    let first = members.get(0).unwrap();
    strict.calls(1, FAILED, 2);
    first.end(first.admit().unwrap(), FAILED, MILLI);
    first.end(first.admit().unwrap(), FAILED, MILLI);
    assert!(!strict.member(1).is_eligible() && first.is_eligible());
    assert_eq!(first.status().service.failures, 2);
    strict.dials.add_fall_down(address(2));
    assert!(!strict.member(2).is_eligible());
    assert!(!members.get(1).unwrap().is_eligible());
    assert_eq!(other.counts().ejected, 0, "dials ask no cap");
    let denied = members.get(1).unwrap().admit().unwrap_err();
    assert_eq!(denied.state, State::Down);
    assert!(denied.retry_in.is_some());
}

#[test]
fn a_lower_threshold_takes_nobody_down_without_a_slot() {
    let lenient = service(Recovery::PROBE)
        .into_builder()
        .max_fails(3)
        .build()
        .unwrap();
    let world = world(4, policy().service(lenient));
    for host in 1..=4 {
        world.calls(host, FAILED, 2);
    }
    world.group.set_policy(policy().build().unwrap());
    assert_eq!(world.eligible(), [1, 2, 3, 4]);
    assert!(world.member(1).admit().is_ok());
    for host in 1..=4 {
        world.calls(host, FAILED, 1);
    }
    assert_eq!(
        (world.eligible(), world.group.counts().ejected),
        (vec![3, 4], 2)
    );
}

#[test]
fn what_time_alone_brings_back_gives_its_slot_back_at_the_next_sweep() {
    let world = world(4, policy().service(service(Recovery::Open)));
    world.calls(1, FAILED, 1);
    world.calls(2, FAILED, 1);
    world.clock.advance(Duration::from_millis(60_004));
    assert_eq!(world.eligible(), [1, 2, 3, 4]);
    world.calls(3, FAILED, 1);
    assert_eq!(world.state(3), State::Up, "the slots are still taken");
    let _ = world.sweep();
    assert_eq!(world.group.counts().ejected, 0);
    world.calls(3, FAILED, 1);
    assert_eq!(
        (world.state(3), world.group.counts().ejected),
        (State::Down, 1)
    );
}

#[test]
fn a_right_that_is_dropped_gives_its_probe_back_however_late() {
    let world = world(4, policy());
    world.calls(1, FAILED, 1);
    world.expire(1);
    let right = world.member(1).admit().unwrap();
    assert!(world.member(1).admit().is_err(), "one at a time");
    world.clock.advance(SECOND * 5);
    drop(right);
    assert_eq!(world.state(1), State::ProbeDue);
    assert!(world.member(1).admit().unwrap().is_probe());
}

#[test]
fn what_was_under_way_when_it_went_down_changes_nothing() {
    let world = world(4, policy());
    let member = world.member(1);
    let [early, late] = [(); 2].map(|()| member.admit().unwrap());
    member.end(early, FAILED, MILLI);
    member.end(late, Outcome::Success, MILLI);
    assert_eq!(world.state(1), State::Down);
}
