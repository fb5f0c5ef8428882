//! Subscribers that share a check or a word, and checks that nobody waits for any more.

use std::time::Duration;

use super::world::*;
use crate::check::board::{GRACE, Step};
use crate::check::definition::{Definition, Kind, Timing};
use crate::check::report::Verdict;

#[test]
fn the_same_check_is_made_once_and_each_judges_for_itself() {
    let mut world = World::new(4);
    let (one, other) = (world.group(), world.group());
    let strict = world.subscribe(1, &one, thresholds(1, 3));
    let lenient = world.subscribe(1, &other, thresholds(3, 1));
    assert_eq!(world.board.len(), 1);
    let mut verdicts = Vec::new();
    let mut began = Vec::new();
    for finding in [
        passed(),
        failed(),
        failed(),
        failed(),
        passed(),
        passed(),
        passed(),
    ] {
        began.push(world.check(&finding).as_millis());
        verdicts.push((world.verdict(strict), world.verdict(lenient)));
    }
    use Verdict::{Down, Up};
    assert_eq!(
        verdicts,
        [
            (Up, Up),
            (Down, Up),
            (Down, Up),
            (Down, Down),
            (Down, Up),
            (Down, Up),
            (Up, Up)
        ]
    );
    // Soon while one of them is changing, late only when both are down.
    assert_eq!(began, [0, 1000, 1100, 1200, 6200, 6300, 6400]);
    // Another definition is another check.
    let timing = Timing::default();
    let also = Definition::new(Kind::Connect, None, timing).unwrap();
    let now = world.now;
    let also = world
        .board
        .subscribe(address(1), also, &one, thresholds(3, 2), now);
    assert!(also.is_ok());
    assert_eq!(world.board.len(), 2);
}

#[test]
fn one_that_joins_a_shared_check_does_not_wait_for_its_next_turn() {
    let mut world = World::new(4);
    let (one, other) = (world.group(), world.group());
    world.subscribe(1, &one, thresholds(3, 2));
    world.check(&passed());
    let late = world.subscribe(1, &other, thresholds(3, 2));
    assert_eq!(world.check(&passed()), Duration::ZERO);
    assert_eq!(world.verdict(late), Verdict::Up);
}

#[test]
fn a_new_plan_keeps_the_verdict_of_who_stays() {
    let mut world = World::new(4);
    let group = world.group();
    let old = world.subscribe(1, &group, thresholds(2, 2));
    for finding in [passed(), failed(), failed(), said("50%")] {
        world.check(&finding);
    }
    let new = world.subscribe(1, &group, thresholds(2, 3));
    world.board.unsubscribe(old);
    assert_eq!(world.board.report(old), None);
    let report = world.board.report(new).unwrap();
    assert_eq!((report.verdict, report.weight_percent), (Verdict::Down, 50));
    assert_eq!(report.successes, 1);
    // While both were there, one finding counted once; now the new thresholds hold.
    for (finding, verdict) in [(passed(), Verdict::Down), (passed(), Verdict::Up)] {
        world.check(&finding);
        assert_eq!(world.verdict(new), verdict);
    }
    // With the last one goes what was held against it.
    world.check(&failed());
    world.check(&failed());
    assert_eq!(world.verdict(new), Verdict::Down);
    assert_eq!(group.status(&address(1)).failures, 2);
    world.board.unsubscribe(new);
    assert_eq!(group.status(&address(1)).failures, 0);
    assert!(world.board.is_empty());
    assert_eq!(world.board.next_due(), None);
}

#[test]
fn two_with_one_word_count_a_finding_once() {
    let mut world = World::new(4);
    let group = world.group();
    let old = world.subscribe(1, &group, thresholds(3, 2));
    let new = world.subscribe(1, &group, thresholds(2, 2));
    world.check(&passed());
    world.check(&failed());
    assert_eq!(world.board.report(new).unwrap().failures, 1);
    world.check(&failed());
    // Two are what the newer asks for, and too few for whoever reads by three.
    assert_eq!(world.verdict(new), Verdict::Down);
    assert_eq!(world.verdict(old), Verdict::Up);
}

#[test]
fn a_check_that_outlives_its_subscriber_is_dropped_and_tells_nobody() {
    let mut world = World::new(1);
    let group = world.group();
    let first = world.subscribe(1, &group, thresholds(1, 1));
    let job = world.begin();
    world.subscribe(2, &group, thresholds(1, 1));
    assert_eq!(world.board.poll(world.now), None);
    world.board.unsubscribe(first);
    assert_eq!(world.board.next_due(), Some(Duration::ZERO));
    assert_eq!(world.board.poll(world.now), Some(Step::Drop(job.turn)));
    // Its place is free, and the same server again is another check.
    let again = world.subscribe(1, &group, thresholds(1, 1));
    assert_eq!(world.begin().address, address(2));
    assert!(!world.board.handle_finding(job.turn, &refused(), world.now));
    assert_eq!(world.verdict(again), Verdict::Pending);
    assert_eq!(world.dials.status(&address(1)).failures, 0);
    assert_eq!(world.board.in_flight(), 1);
}

#[test]
fn one_that_nobody_tells_of_blames_nobody_and_gives_its_place_back() {
    let mut world = World::new(1);
    let group = world.group();
    let id = world.subscribe(1, &group, thresholds(1, 1));
    world.subscribe(2, &group, thresholds(1, 1));
    let job = world.begin();
    world.now += ms(500) + GRACE;
    assert_eq!(world.board.next_due(), Some(world.now));
    assert_eq!(world.board.poll(world.now), Some(Step::Drop(job.turn)));
    assert_eq!(world.verdict(id), Verdict::Pending);
    assert!(!world.board.handle_finding(job.turn, &failed(), world.now));
    assert_eq!(world.begin().address, address(2));
}
