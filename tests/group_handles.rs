//! A group beside a balancer of somebody's own, and by other handles to its registries.
// A test fails by panicking, and so do its helpers.
#![allow(clippy::expect_used, clippy::unwrap_used)]
#![cfg(not(any(risefall_loom, risefall_shuttle)))]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use risefall::{Cause, Group, GroupPolicy, ManualClock, Member, Outcome, Policy, Registry};

const SECOND: Duration = Duration::from_secs(1);
const FAILED: Outcome = Outcome::Failed(Cause::Refused);

struct World {
    clock: Arc<ManualClock>,
    dials: Registry,
    checks: Registry,
    group: Group,
}

/// One member. Both of its other words go down by one failure, for a second.
fn world(policy: GroupPolicy) -> World {
    let clock = Arc::new(ManualClock::new());
    let made = || {
        let registry = Registry::builder().policy(lasting(SECOND));
        registry.clock(clock.clone()).build()
    };
    let (dials, checks) = (made(), made());
    let group = Group::builder(&dials)
        .checks(&checks)
        .policy(policy)
        .build();
    group.set([(address(), 3)]);
    World {
        clock,
        dials,
        checks,
        group,
    }
}

fn address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 80))
}

fn lasting(time: Duration) -> Policy {
    let policy = Policy::builder().max_fails(1).min_rises(1);
    policy.fail_timeout(time).build().unwrap()
}

fn member(group: &Group) -> Arc<Member> {
    Arc::clone(group.members().find(&address()).expect("it is a member"))
}

#[test]
fn words_are_asked_by_the_policies_of_the_handles_that_came_last() {
    let world = world(GroupPolicy::default());
    let before = member(&world.group);
    for word in [&world.dials, &world.checks] {
        word.record(address(), FAILED);
        let of = |registry: &Registry, time| registry.with_policy(lasting(time));
        let set = |time| {
            let (dials, checks) = (of(&world.dials, time), of(&world.checks, time));
            world.group.set_registries(&dials, Some(&checks));
        };
        set(SECOND * 9);
        world.clock.advance(SECOND * 2);
        assert!(!member(&world.group).is_eligible());
        set(SECOND);
        assert!(member(&world.group).is_eligible());
        // Who holds one of before asks by the policy of before.
        assert!(before.is_eligible());
    }
}

#[test]
fn without_checks_their_word_is_not_asked_any_more() {
    let world = world(GroupPolicy::default());
    world.checks.record(address(), FAILED);
    assert!(!member(&world.group).is_eligible());
    world.group.set_registries(&world.dials, None);
    assert!(member(&world.group).is_eligible());
    assert_eq!(member(&world.group).given_weight(), 3);
}

#[test]
fn what_the_group_holds_against_a_member_stays_with_other_handles() {
    let service = GroupPolicy::default().service().clone().into_builder();
    let policy = GroupPolicy::builder()
        .service(service.max_fails(1).build().unwrap())
        .spare_single(false);
    let world = world(policy.build().unwrap());
    let one = member(&world.group);
    one.end(
        one.admit().unwrap(),
        Outcome::Failed(Cause::BadGateway),
        SECOND,
    );
    assert!(!one.is_eligible());
    world
        .group
        .set_registries(&world.dials, Some(&world.checks));
    assert!(!member(&world.group).is_eligible());
    assert_eq!(world.group.counts().ejected, 1);
}

#[test]
fn a_share_is_a_part_of_the_whole_whatever_the_weight() {
    let policy = GroupPolicy::builder().slow_start(SECOND * 4, 25);
    let world = world(policy.build().unwrap());
    let one = member(&world.group);
    assert_eq!(one.share(), Member::WHOLE);
    world.dials.record(address(), FAILED);
    world.dials.record(address(), Outcome::Success);
    assert_eq!(one.share(), Member::WHOLE / 4);
    assert_eq!(one.weight(world.group.now()), 3 * one.share());
    world.clock.advance(SECOND * 2);
    assert_eq!(one.share(), Member::WHOLE / 8 * 5);
    world.clock.advance(SECOND * 2);
    assert_eq!(one.share(), Member::WHOLE);
}
