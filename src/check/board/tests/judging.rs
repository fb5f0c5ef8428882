//! When the next check is made, and what a subscriber makes of what they find.

use super::world::*;
use crate::check::board::{SLACK_LEAST, Start, Thresholds};
use crate::check::definition::{Definition, Kind, Timing};
use crate::check::report::{Failure, Verdict};
use crate::outcome::{Cause, Weight};

#[test]
fn checks_come_soon_while_a_verdict_changes_and_late_while_it_is_down() {
    let mut world = World::new(4);
    let group = world.group();
    let id = world.subscribe(1, &group, thresholds(3, 2));
    let mut began = Vec::new();
    for finding in [
        passed(), // the first
        passed(),
        failed(), // changing
        passed(), // a slip: back to the usual
        failed(),
        failed(),
        failed(), // down
        failed(),
        passed(), // changing
        failed(), // a slip
        passed(),
        passed(), // up
        passed(),
    ] {
        began.push(world.check(&finding));
    }
    let between: Vec<_> = began
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_millis())
        .collect();
    assert_eq!(
        between,
        [
            1000, 1000, 100, 1000, 100, 100, 5000, 5000, 100, 5000, 100, 1000
        ]
    );
    assert_eq!(world.verdict(id), Verdict::Up);
}

#[test]
fn fall_and_rise_are_what_they_say_and_the_first_check_is_the_first_verdict() {
    let mut world = World::new(4);
    let group = world.group();
    let well = world.subscribe(1, &group, thresholds(3, 2));
    assert_eq!(world.verdict(well), Verdict::Pending);
    for (finding, verdict) in [
        (passed(), Verdict::Up),
        (failed(), Verdict::Up),
        (failed(), Verdict::Up),
        (failed(), Verdict::Down),
        (passed(), Verdict::Down),
        (passed(), Verdict::Up),
    ] {
        world.check(&finding);
        assert_eq!(world.verdict(well), verdict);
        assert_eq!(
            group.endpoint(address(1)).is_fall_down(),
            verdict == Verdict::Down
        );
    }
    world.board.unsubscribe(well);
    let ill = world.subscribe(2, &group, thresholds(3, 2));
    assert!(!group.is_fall_down(&address(2)));
    for (finding, verdict) in [
        (failed(), Verdict::Down),
        (passed(), Verdict::Down),
        (passed(), Verdict::Up),
        (failed(), Verdict::Up),
    ] {
        world.check(&finding);
        assert_eq!(world.verdict(ill), verdict);
    }
}

#[test]
fn who_wants_proof_first_is_not_eligible_until_the_first_check_has_passed() {
    for (finding, verdict) in [(passed(), Verdict::Up), (failed(), Verdict::Down)] {
        let mut world = World::new(4);
        let group = world.group();
        let wanted = Thresholds {
            start: Start::NotEligible,
            ..thresholds(3, 2)
        };
        let id = world.subscribe(1, &group, wanted);
        assert!(group.is_fall_down(&address(1)));
        assert_eq!(world.verdict(id), Verdict::Pending);
        // What is our own fault is no verdict.
        world.check(&finding_of(Failure::Local("no room".to_owned())));
        assert_eq!(world.verdict(id), Verdict::Pending);
        world.check(&finding);
        assert_eq!(world.verdict(id), verdict);
        assert_eq!(group.is_fall_down(&address(1)), verdict == Verdict::Down);
    }
}

#[test]
fn one_that_was_held_before_it_is_subscribed_to_is_judged_by_its_first_check_all_the_same() {
    let mut world = World::new(4);
    let group = world.group();
    let policy = group.policy().clone().into_builder();
    let policy = policy.weight(Cause::Reported, Weight::Trip);
    let holder = group.with_policy(policy.build().unwrap());
    let hold = || {
        holder.record_failure(address(1), Cause::Reported);
        assert!(group.is_fall_down(&address(1)));
    };
    hold();
    let wanted = Thresholds {
        start: Start::NotEligible,
        ..thresholds(3, 2)
    };
    let id = world.subscribe(1, &group, wanted);
    assert_eq!(world.verdict(id), Verdict::Pending);
    world.check(&passed());
    assert_eq!(world.verdict(id), Verdict::Up);
    assert!(!group.is_fall_down(&address(1)));
    // It was away for a moment, and nobody has told the board.
    hold();
    world.check(&passed());
    assert_eq!(world.verdict(id), Verdict::Up);
    // One that has failed since needs all of its passes.
    hold();
    world.check(&failed());
    world.check(&passed());
    assert_eq!(world.verdict(id), Verdict::Down);
}

#[test]
fn checks_may_wait_for_each_other_for_a_part_of_the_shortest_interval() {
    let mut world = World::new(4);
    let group = world.group();
    assert_eq!(world.board.slack(), SLACK_LEAST);
    let id = world.subscribe(1, &group, thresholds(3, 2));
    assert_eq!(
        world.board.slack(),
        ms(2),
        "of 100 ms while a verdict changes"
    );
    let timing = Timing::builder().interval(ms(5000)).build().unwrap();
    let slow = Definition::new(Kind::Connect, None, timing).unwrap();
    let (at, now) = (address(2), world.now);
    let other = world
        .board
        .subscribe(at, slow, &group, thresholds(3, 2), now);
    assert_eq!(world.board.slack(), ms(2));
    world.board.unsubscribe(id);
    assert_eq!(world.board.slack(), ms(20));
    world.board.unsubscribe(other.unwrap());
    assert_eq!(world.board.slack(), SLACK_LEAST);
}

#[test]
fn a_verdict_that_was_imported_stays_until_it_is_risen_from() {
    let mut world = World::new(4);
    let before = world.group();
    (0..3).for_each(|_| before.add_fall_down(address(1)));
    let group = world.group();
    group.import(&before.export()).unwrap();
    let id = world.subscribe(1, &group, thresholds(3, 2));
    assert_eq!(world.verdict(id), Verdict::Down);
    world.check(&passed());
    assert_eq!(world.verdict(id), Verdict::Down);
    world.check(&passed());
    assert_eq!(world.verdict(id), Verdict::Up);
}

#[test]
fn a_report_says_word_reason_moment_and_time() {
    let mut world = World::new(4);
    let group = world.group();
    let id = world.subscribe(1, &group, thresholds(3, 2));
    world.check(&passed());
    world.check(&failed());
    let report = world.board.report(id).unwrap();
    assert_eq!(
        report.to_string(),
        "192.0.2.1:80 is up: status 500, expected 200-399 (in 3ms), 1 failed in a row"
    );
    let last = report.last.unwrap();
    assert_eq!((last.at, last.took), (world.now, ms(3)));
    world.check(&finding(Err(Failure::Local("no room".to_owned()))));
    let report = world.board.report(id).unwrap();
    assert_eq!((report.checks, report.failed), (3, 1));
    let zero = world.board.subscribe(
        address(2),
        definition(),
        &group,
        thresholds(0, 1),
        world.now,
    );
    assert_eq!(
        zero.unwrap_err().to_string(),
        "max_fails must be at least 1"
    );
    assert_eq!(world.board.len(), 1);
}
