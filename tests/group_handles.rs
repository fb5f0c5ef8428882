//! A group beside a balancer of somebody's own, by other handles to its registries, and through lists
//! and rights that are not the newest.
// A test fails by panicking, and so do its helpers.
#![allow(clippy::expect_used, clippy::unwrap_used)]
#![cfg(not(any(risefall_loom, risefall_shuttle)))]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use risefall::{
    Cause, Group, GroupPolicy, GroupPolicyBuilder, ManualClock, Member, Outcome, Policy, Registry,
};

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
        .spare_single(false)
        .fail_open_below(0);
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

fn host(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 80))
}

/// One failure ejects.
fn strict() -> GroupPolicyBuilder {
    let service = GroupPolicy::default().service().clone().into_builder();
    GroupPolicy::builder().service(service.max_fails(1).min_rises(1).build().unwrap())
}

fn fail(member: &Member) {
    let right = member.admit_anyway();
    member.end(right, Outcome::Failed(Cause::BadGateway), Duration::ZERO);
}

#[test]
fn a_list_of_before_is_asked_by_dials_and_checks_alone() {
    let world = world(strict().build().unwrap());
    world.group.set([(host(1), 1), (host(2), 1)]);
    let old = world.group.members();
    fail(old.get(0).unwrap());
    assert!(!old.get(0).unwrap().is_eligible());
    world.group.set([(host(3), 1)]);
    for member in old.iter() {
        assert!(member.is_eligible() && member.admit().is_ok());
        fail(member);
        assert!(member.is_eligible());
        world.checks.record(member.address(), FAILED);
        assert!(!member.is_eligible() && member.admit().is_err());
    }
    // Nor does it count for those that took its place.
    assert!(old.choose(7).is_none());
    assert_eq!(world.group.counts().live, 1);
}

#[test]
fn a_group_that_loses_those_who_are_down_has_never_too_few() {
    let world = world(strict().fail_open_below(50).build().unwrap());
    world.group.set((1..=10).map(|one| (host(one), 1)));
    let members = world.group.members();
    fail(members.get(0).unwrap());
    for one in 5..=9 {
        world.dials.record(host(one), FAILED);
    }
    let _ = world.group.sweep(world.group.now());
    assert_eq!(world.group.counts().live, 4);
    assert!(world.group.counts().is_failing_open);
    world.group.set((1..=4).map(|one| (host(one), 1)));
    assert_eq!(world.group.counts().live, 3);
    assert!(!members.get(0).unwrap().is_eligible());
}

#[test]
fn who_becomes_the_only_member_is_not_out() {
    for spares in [true, false] {
        let policy = strict().spare_single(spares).fail_open_below(0);
        let world = world(policy.build().unwrap());
        world.group.set([(host(1), 1), (host(2), 1)]);
        let members = world.group.members();
        let one = members.get(0).unwrap();
        fail(one);
        assert!(!one.is_eligible());
        world.group.remove(&host(2));
        assert_eq!(one.is_eligible(), spares);
        assert_eq!(world.group.counts().ejected, u32::from(!spares));
    }
}

#[test]
fn what_an_operator_holds_down_by_the_checks_word_stays_down_when_it_fails_open() {
    let world = world(strict().fail_open_below(100).build().unwrap());
    world.group.set([(host(1), 1), (host(2), 1)]);
    let members = world.group.members();
    world.checks.record(host(1), FAILED);
    world.checks.force_down(host(2));
    let _ = world.group.sweep(world.group.now());
    assert!(members.get(0).unwrap().is_eligible());
    let forced = members.get(1).unwrap();
    assert!(!forced.is_eligible() && forced.admit().is_err());
}

#[test]
fn calls_of_an_earlier_verdict_are_no_part_of_the_next_ones_rates() {
    let policy = strict().failure_percent(50).min_volume(10).window(SECOND);
    let world = world(policy.build().unwrap());
    world.group.set([(host(1), 1), (host(2), 1)]);
    let members = world.group.members();
    let one = members.get(0).unwrap();
    let hanging: Vec<_> = (0..20).map(|_| one.admit().unwrap()).collect();
    fail(one);
    world.clock.advance(SECOND * 120);
    one.end(one.admit().unwrap(), Outcome::Success, Duration::ZERO);
    let _ = world.group.sweep(world.group.now());
    for right in hanging {
        one.end(right, Outcome::Failed(Cause::TimedOut), SECOND);
    }
    world.clock.advance(SECOND / 2);
    let sweep = world.group.sweep(world.group.now());
    assert_eq!((sweep.judged, sweep.outliers.len()), (0, 0));
    assert!(one.is_eligible());
}

#[test]
fn a_sweep_is_wanted_each_second_and_at_once_by_another_window() {
    let by = |window| strict().window(window).build().unwrap();
    let world = world(by(SECOND * 3600));
    assert_eq!(world.group.sweep(SECOND * 5).next, SECOND * 6);
    world.group.set_policy(by(SECOND));
    assert_eq!(world.group.sweep(SECOND * 6).next, SECOND * 6 + SECOND / 8);
    assert_eq!(world.group.sweep(Duration::MAX).next, Duration::MAX);
}
