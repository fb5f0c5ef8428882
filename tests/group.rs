//! Groups: the cap, failing open, slow start, outliers, who joins and leaves.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#![cfg(not(any(risefall_loom, risefall_shuttle)))]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use risefall::{
    Cause, Effect, Group, GroupPolicy, GroupPolicyBuilder, ManualClock, Member, Mode, Outcome,
    Policy, Recovery, Registry, Rule, State,
};

const FAILED: Outcome = Outcome::Failed(Cause::BadGateway);
const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 80))
}

struct World {
    clock: Arc<ManualClock>,
    dials: Registry,
    group: Group,
}

/// One failure in the service word takes a member down, one success in its dial word up.
fn policy() -> GroupPolicyBuilder {
    GroupPolicy::builder().service(service(Recovery::PROBE))
}

fn service(recovery: Recovery) -> Policy {
    let policy = GroupPolicy::default().service().clone().into_builder();
    let policy = policy.max_fails(1).min_rises(1).recovery(recovery);
    policy.build().unwrap()
}

fn world(members: u8, policy: GroupPolicyBuilder) -> World {
    let clock = Arc::new(ManualClock::new());
    let dial_policy = Policy::builder().max_fails(1).min_rises(1);
    let dials = Registry::builder()
        .policy(dial_policy.build().unwrap())
        .clock(clock.clone())
        .build();
    let group = Group::new(&dials, policy.build().unwrap());
    group.set((1..=members).map(|host| (address(host), 1)));
    World {
        clock,
        dials,
        group,
    }
}

impl World {
    fn member(&self, host: u8) -> Arc<Member> {
        let members = self.group.members();
        Arc::clone(members.find(&address(host)).expect("it is a member"))
    }

    fn calls(&self, host: u8, outcome: Outcome, times: u32) {
        self.slow_calls(host, outcome, times, MILLI);
    }

    fn slow_calls(&self, host: u8, outcome: Outcome, times: u32, took: Duration) {
        let member = self.member(host);
        for _ in 0..times {
            member.end(member.admit_anyway(), outcome, took);
        }
    }

    fn eligible(&self) -> Vec<u8> {
        let members = self.group.members();
        let eligible = members.iter().filter(|member| member.is_eligible());
        eligible.map(|member| host_of(member)).collect()
    }

    fn state(&self, host: u8) -> State {
        self.member(host).status().service.state
    }

    /// Until the member is due for a probe.
    fn expire(&self, host: u8) {
        let retry_in = self.member(host).status().service.retry_in;
        self.clock.advance(retry_in.unwrap());
        assert_eq!(self.state(host), State::ProbeDue);
    }

    fn sweep(&self) -> Vec<(u8, Rule, Effect)> {
        let sweep = self.group.sweep(self.group.now());
        let found = sweep.outliers.iter();
        found
            .map(|one| (one.address.to_string(), one))
            .map(|(text, one)| {
                let host = text.split(['.', ':']).nth(3).unwrap().parse().unwrap();
                (host, one.rule, one.effect)
            })
            .collect()
    }
}

fn host_of(member: &Member) -> u8 {
    match member.address() {
        SocketAddr::V4(v4) => v4.ip().octets()[3],
        SocketAddr::V6(_) => panic!("all are IPv4"),
    }
}

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

#[test]
fn who_leaves_frees_its_slot_and_what_comes_late_changes_nothing() {
    let world = world(4, policy());
    let mut told = world.group.subscribe(8);
    let gone = world.member(1);
    world.calls(1, FAILED, 1);
    world.calls(2, FAILED, 1);
    let held = gone.admit_anyway();
    world.group.remove(&address(1));
    let counts = world.group.counts();
    assert_eq!(
        (counts.members, counts.ejected, counts.most_ejected),
        (3, 1, 1)
    );
    gone.end(held, FAILED, MILLI);
    gone.end(gone.admit_anyway(), FAILED, MILLI);
    assert_eq!(world.group.counts().ejected, 1);
    assert!(gone.is_eligible(), "nothing is held against it any more");
    let states: Vec<_> = std::iter::from_fn(|| told.next())
        .map(|one| one.to)
        .collect();
    assert_eq!(states, [State::Down, State::Down, State::Drained]);
    // Back again, with nothing held against it, though the old handle is still about.
    world.group.add(address(1), 1);
    assert_eq!(world.state(1), State::Up);
    assert_eq!(world.group.counts().most_ejected, 2);
    world.calls(1, FAILED, 1);
    assert_eq!(world.group.counts().ejected, 2);
    world.group.remove(&address(1));
    drop(gone);
    let _ = world.sweep();
    world.group.add(address(1), 1);
    assert!(world.member(1).is_eligible());
}

#[test]
fn who_stays_keeps_its_health_through_changes_of_members_weights_and_policies() {
    let world = world(4, policy());
    let mut members = world.group.members();
    assert!(!world.group.refresh(&mut members));
    world.calls(1, FAILED, 1);
    let same = world.member(2);
    world.group.add(address(5), 3);
    assert!(world.group.refresh(&mut members) && !world.group.refresh(&mut members));
    assert_eq!(members.len(), 5);
    assert!(
        Arc::ptr_eq(&same, &world.member(2)),
        "not even the handle changes"
    );
    world.group.set([
        (address(5), 3),
        (address(1), 7),
        (address(1), 9),
        (address(2), 0),
    ]);
    assert_eq!(world.member(1).given_weight(), 7, "the first counts");
    assert_eq!(world.member(2).given_weight(), 1, "nobody weighs nothing");
    assert_eq!(world.eligible(), [5, 2]);
    world
        .group
        .set_policy(policy().max_ejected_percent(100).build().unwrap());
    assert_eq!(world.group.counts().most_ejected, 3);
    assert_eq!(world.state(1), State::Down);
    assert_eq!(world.group.counts().ejected, 1);
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

fn shares(world: &World, host: u8, steps: &[(Duration, u32)]) {
    let began = world.group.now();
    for &(after, expected) in steps {
        world.clock.advance(began + after - world.group.now());
        let weight = world.member(host).weight(world.group.now());
        assert_eq!(weight, expected, "{after:?} after its return");
    }
}

#[test]
fn a_member_that_comes_back_by_answers_or_by_dials_warms_up() {
    let steps = [
        (Duration::ZERO, 256),
        (SECOND, 448),
        (SECOND * 2, 640),
        (Duration::from_millis(3_996), 1023),
        (SECOND * 4, 1024),
    ];
    let world = world(4, policy().slow_start(SECOND * 4, 25));
    assert_eq!(world.member(1).weight(world.group.now()), 1024);
    world.calls(1, FAILED, 1);
    world.expire(1);
    let right = world.member(1).admit().unwrap();
    world.member(1).end(right, Outcome::Success, MILLI);
    shares(&world, 1, &steps);
    // A failure meanwhile does not begin it anew.
    world.dials.add_fall_down(address(2));
    world.clock.advance(SECOND);
    world.dials.add_rise_up(address(2));
    shares(&world, 2, &steps);
    // An operator took it out for work on it.
    world.dials.drain(address(3));
    world.clock.advance(SECOND);
    world.dials.release(address(3));
    shares(&world, 3, &steps);
    assert_eq!(world.member(4).weight(world.group.now()), 1024);
}

#[test]
fn a_member_that_time_brings_back_warms_up_from_then_on() {
    let world = world(2, policy().slow_start(SECOND * 4, 25));
    // The dial registry has the classic recovery: at expiry nothing is written.
    world.dials.add_fall_down(address(1));
    world.clock.advance(SECOND * 61);
    assert_eq!(world.member(1).weight(world.group.now()), 448);
    // Nor by what comes next.
    world.dials.add_rise_up(address(1));
    world.clock.advance(SECOND);
    assert_eq!(world.member(1).weight(world.group.now()), 640);
    let _ = world.sweep();
    world.clock.advance(SECOND * 2);
    assert_eq!(world.member(1).weight(world.group.now()), 1024);
}

#[test]
fn who_joins_later_warms_up_and_the_first_do_not() {
    let world = world(2, policy().slow_start(SECOND * 4, 25));
    world.group.add(address(3), 2);
    let weights = || {
        let (members, now) = (world.group.members(), world.group.now());
        members
            .iter()
            .map(|one| one.weight(now))
            .collect::<Vec<_>>()
    };
    assert_eq!(weights(), [1024, 1024, 512]);
    world.group.remove(&address(1));
    world.clock.advance(SECOND * 4);
    world.group.add(address(1), 1);
    assert_eq!(weights(), [1024, 2048, 256]);
}

#[test]
fn choices_follow_weights_and_shares() {
    let world = world(0, policy().slow_start(SECOND * 4, 25));
    world
        .group
        .set([(address(1), 1), (address(2), 3), (address(3), 4)]);
    let chosen = || {
        let members = world.group.members();
        let mut counts = [0; 4];
        for seed in 0..8000 {
            counts[usize::from(host_of(members.choose(seed).unwrap()))] += 1;
        }
        counts
    };
    let near = |counts: [i32; 4], expected: [i32; 4]| {
        for (count, expected) in counts.iter().zip(expected) {
            assert!((count - expected).abs() < 200, "{counts:?}");
        }
    };
    near(chosen(), [0, 1000, 3000, 4000]);
    world.dials.add_fall_down(address(3));
    world.clock.advance(SECOND);
    near(chosen(), [0, 2000, 6000, 0]);
    world.dials.add_rise_up(address(3));
    // A quarter of 4.
    near(chosen(), [0, 1600, 4800, 1600]);
}

#[test]
fn what_those_who_are_down_do_not_take_is_spread_over_all_others() {
    for (weights, up, due) in [
        // They stand at both ends of those who are down.
        (&[1; 64][..], &[1, 64][..], &[2000, 2000][..]),
        (&[1; 64], &[9], &[4000]),
        (&[1; 40], &[1, 2, 20, 40], &[1000, 1000, 1000, 1000]),
        (&[250, 1, 3, 250], &[2, 3], &[1000, 3000]),
    ] {
        let world = world(0, policy());
        let hosts = (1..).map(address);
        world.group.set(hosts.zip(weights.iter().copied()));
        let all = 1..=u8::try_from(weights.len()).unwrap();
        for host in all.filter(|host| !up.contains(host)) {
            world.dials.add_fall_down(address(host));
        }
        let members = world.group.members();
        let mut counts = vec![0_i32; up.len()];
        for seed in 0..4000 {
            let host = host_of(members.choose(seed).unwrap());
            counts[up.iter().position(|&one| one == host).unwrap()] += 1;
        }
        for (count, due) in counts.iter().zip(due) {
            assert!((count - due).abs() < 150, "{up:?} {counts:?}");
        }
    }
}

#[test]
fn who_warms_up_beside_those_who_are_down_has_its_share() {
    let world = world(64, policy().slow_start(SECOND * 4, 25));
    for host in 1..=64 {
        world.dials.add_fall_down(address(host));
    }
    world.clock.advance(SECOND);
    world.dials.add_rise_up(address(1));
    world.clock.advance(SECOND * 4);
    world.dials.add_rise_up(address(64));
    let members = world.group.members();
    let first = |seed: &u64| host_of(members.choose(*seed).unwrap()) == 1;
    let count = (0..5000).filter(first).count();
    // A quarter goes to the one beside a whole.
    assert!((3850..4150).contains(&count), "{count}");
}

/// Calls of which the good ones are spread evenly, so that no streak takes the member down.
fn mixed_calls(world: &World, host: u8, good: u32, bad: u32) {
    let member = world.member(host);
    let total = good + bad;
    for n in 0..total {
        let is_good = (n + 1) * good / total > n * good / total;
        let outcome = if is_good { Outcome::Success } else { FAILED };
        member.end(member.admit_anyway(), outcome, MILLI);
    }
}

/// Judged by rates alone: it takes 255 failures in a row to go down otherwise.
fn by_rates() -> GroupPolicyBuilder {
    let patient = service(Recovery::PROBE).into_builder().max_fails(255);
    policy().service(patient.build().unwrap())
}

#[test]
fn outliers_are_ejected_by_the_sweep_the_worst_first_as_far_as_the_cap_goes() {
    let world = world(6, by_rates().max_ejected_percent(34));
    let mut told = world.group.subscribe(8);
    for host in 1..=6 {
        mixed_calls(&world, host, 100, 0);
    }
    assert_eq!(world.sweep(), [], "nothing is against anybody");
    for (host, bad) in [(1, 900), (2, 1200), (3, 1100)] {
        mixed_calls(&world, host, 20, bad);
    }
    assert_eq!(world.sweep(), [], "it is not time yet");
    world.clock.advance(SECOND * 5 / 4);
    let rule = Rule::FailurePercent;
    assert_eq!(
        world.sweep(),
        [
            (2, rule, Effect::Ejected),
            (3, rule, Effect::Ejected),
            (1, rule, Effect::Spared)
        ]
    );
    assert_eq!(world.eligible(), [1, 4, 5, 6]);
    let causes: Vec<_> = std::iter::from_fn(|| told.next())
        .map(|one| one.cause)
        .collect();
    assert_eq!(causes, [Some(Cause::Outlier); 2]);
    assert_eq!(world.group.counts().spared, 1);
}

#[test]
fn who_fails_more_than_its_group_is_ejected_and_not_again_for_what_was() {
    let world = world(5, by_rates());
    for host in 1..=5 {
        mixed_calls(&world, host, 100, if host == 4 { 90 } else { 1 });
    }
    assert_eq!(world.sweep(), [], "the window begins with the first sweep");
    for host in 1..=5 {
        mixed_calls(&world, host, 100, if host == 4 { 90 } else { 1 });
    }
    world.clock.advance(SECOND * 2);
    assert_eq!(world.sweep(), [(4, Rule::SuccessRate, Effect::Ejected)]);
    world.expire(4);
    let right = world.member(4).admit().unwrap();
    world.member(4).end(right, Outcome::Success, MILLI);
    for _ in 0..10 {
        world.clock.advance(SECOND * 2);
        assert_eq!(world.sweep(), []);
    }
}

#[test]
fn counts_slide_out_of_the_window() {
    let world = world(5, by_rates().min_volume(100).window(SECOND * 8));
    let sweep = |seconds| {
        world.clock.advance(SECOND * seconds);
        world.sweep()
    };
    assert_eq!(sweep(1), []);
    mixed_calls(&world, 1, 5, 60);
    assert_eq!(sweep(4), [], "65 calls say nothing");
    assert_eq!(sweep(4), []);
    assert_eq!(sweep(1), []);
    mixed_calls(&world, 1, 5, 60);
    assert_eq!(sweep(1), [], "nor do 65 others, long after");
    mixed_calls(&world, 1, 5, 60);
    assert_eq!(sweep(1), [(1, Rule::FailurePercent, Effect::Ejected)]);
}

#[test]
fn slow_calls_and_those_that_callers_gave_up_on_are_failures_by_their_share() {
    let world = world(3, by_rates().slow_calls(SECOND, 50));
    let _ = world.sweep();
    world.calls(1, Outcome::Success, 100);
    world.slow_calls(1, Outcome::Success, 98, SECOND * 2);
    world.slow_calls(2, Outcome::Cancelled, 150, SECOND * 2);
    world.slow_calls(2, Outcome::Cancelled, 999, MILLI);
    world.slow_calls(3, Outcome::LocalFault, 150, SECOND * 2);
    world.clock.advance(SECOND * 2);
    assert_eq!(world.sweep(), [(2, Rule::SlowCalls, Effect::Ejected)]);
    assert_eq!(world.member(2).journal()[0].cause, Some(Cause::Slow));
    world.slow_calls(1, Outcome::Success, 2, SECOND + MILLI);
    world.clock.advance(SECOND * 2);
    assert_eq!(
        world.sweep(),
        [(1, Rule::SlowCalls, Effect::Spared)],
        "one of three may go"
    );
}

#[test]
fn an_observing_group_judges_and_tells_and_ejects_nobody() {
    let world = world(5, policy().mode(Mode::Observe).slow_start(SECOND * 4, 25));
    let mut told = world.group.subscribe(8);
    world.calls(1, FAILED, 1);
    assert_eq!(told.next().map(|one| one.to), Some(State::Down));
    let counts = world.group.counts();
    assert_eq!((counts.ejected, counts.ejections, counts.live), (1, 1, 5));
    assert_eq!(world.eligible(), [1, 2, 3, 4, 5]);
    let one = world.member(1);
    one.end(one.admit().unwrap(), Outcome::Success, MILLI);
    assert_eq!(told.next(), None, "it would be out");
    world.expire(1);
    let probe = one.admit().unwrap();
    assert!(probe.is_probe() && !one.admit().unwrap().is_probe());
    one.end(probe, Outcome::Success, MILLI);
    assert_eq!(told.map(|one| one.to).last(), Some(State::Up));
    assert_eq!(world.member(1).weight(world.group.now()), 1024);
    // What dials say holds.
    world.dials.add_fall_down(address(2));
    assert_eq!(world.eligible(), [1, 3, 4, 5]);
    // In force at once when it is.
    world.calls(1, FAILED, 1);
    world.group.set_policy(policy().build().unwrap());
    assert_eq!(world.eligible(), [3, 4, 5]);
}

#[test]
fn an_observed_outlier_is_told_as_one() {
    let world = world(2, by_rates().mode(Mode::Observe));
    let _ = world.sweep();
    mixed_calls(&world, 1, 20, 200);
    world.clock.advance(SECOND * 2);
    assert_eq!(world.sweep(), [(1, Rule::FailurePercent, Effect::Observed)]);
    assert_eq!(world.eligible(), [1, 2]);
}

#[test]
fn a_reset_forgets_what_the_group_holds_against_a_member() {
    let world = world(2, policy());
    world.calls(1, FAILED, 1);
    world.group.reset(&address(1));
    assert_eq!(
        (world.eligible(), world.group.counts().ejected),
        (vec![1, 2], 0)
    );
    world.group.reset(&address(77));
}

#[test]
fn a_group_without_members_chooses_nobody() {
    let world = world(0, policy());
    let members = world.group.members();
    assert!(members.is_empty() && members.choose(1).is_none() && members.admit(1).is_none());
    let _ = world.sweep();
    assert!(!world.group.counts().is_failing_open);
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Call(u8, bool),
    Admit(u8, bool),
    Dial(u8, bool),
    Advance(u64),
    Sweep,
    Add(u8),
    Remove(u8),
    Reset(u8),
    Cap(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1u8..7, any::<bool>()).prop_map(|(host, good)| Op::Call(host, good)),
        8 => (1u8..7, any::<bool>()).prop_map(|(host, good)| Op::Admit(host, good)),
        2 => (1u8..7, any::<bool>()).prop_map(|(host, good)| Op::Dial(host, good)),
        3 => (0u64..400_000).prop_map(Op::Advance),
        2 => Just(Op::Sweep),
        2 => (1u8..7).prop_map(Op::Add),
        2 => (1u8..7).prop_map(Op::Remove),
        1 => (1u8..7).prop_map(Op::Reset),
        1 => (0u8..=100).prop_map(Op::Cap),
    ]
}

/// Down by evidence, as the word says: what holds a slot once time has been written down.
fn is_ejected(member: &Member) -> bool {
    let state = member.status().service.state;
    matches!(state, State::Down | State::ProbeDue | State::Probing)
}

proptest! {
    /// Whatever happens: nobody is ejected above the cap of that moment, and the group counts as
    /// ejected just those that are.
    #[test]
    fn slots_are_as_many_as_words_that_are_down(
        ops in prop::collection::vec(op(), 1..120), open in any::<bool>(),
    ) {
        let recovery = if open { Recovery::Open } else { Recovery::PROBE };
        let service = service(recovery).into_builder().max_fails(2).build().unwrap();
        let judged = |percent| policy().service(service.clone()).max_ejected_percent(percent);
        let world = world(5, judged(50));
        // Old handles stay about, as those of requests under way do.
        let mut handles: Vec<Arc<Member>> = Vec::new();
        for op in ops {
            let before = world.group.counts();
            let handle = |host: u8| handles.iter().rev().find(|one| host_of(one) == host).cloned();
            match op {
                Op::Call(host, good) | Op::Admit(host, good) => if let Some(member) = handle(host) {
                    let right = match op {
                        Op::Admit(..) => member.admit().ok(),
                        _ => Some(member.admit_anyway()),
                    };
                    let outcome = if good { Outcome::Success } else { FAILED };
                    right.into_iter().for_each(|right| member.end(right, outcome, MILLI));
                },
                Op::Dial(host, true) => world.dials.add_rise_up(address(host)),
                Op::Dial(host, false) => world.dials.add_fall_down(address(host)),
                Op::Advance(millis) => world.clock.advance(Duration::from_millis(millis)),
                Op::Sweep => drop(world.sweep()),
                Op::Add(host) => world.group.add(address(host), 1),
                Op::Remove(host) => world.group.remove(&address(host)),
                Op::Reset(host) => world.group.reset(&address(host)),
                Op::Cap(percent) => world.group.set_policy(judged(percent).build().unwrap()),
            }
            handles.extend(world.group.members().iter().cloned());
            handles.drain(..handles.len().saturating_sub(40));
            let after = world.group.counts();
            if after.ejected > before.ejected {
                prop_assert!(after.ejected <= before.most_ejected, "{:?} {:?}", op, after);
            }
        }
        let _ = world.sweep();
        let (members, counts) = (world.group.members(), world.group.counts());
        let ejected = members.iter().filter(|one| is_ejected(one)).count();
        prop_assert_eq!(counts.ejected as usize, ejected);
        prop_assert_eq!(counts.members as usize, members.len());
    }
}
