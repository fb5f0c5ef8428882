//! Who is ejected by rates, and a group that only observes.

use risefall::{Cause, Effect, GroupPolicyBuilder, Mode, Outcome, Recovery, Rule, State};

use super::world::*;

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
