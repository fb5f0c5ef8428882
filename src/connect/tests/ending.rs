//! The dialler is told how each dial ended, once, whoever has won.

use std::time::Duration;

use tokio::time::{advance, sleep, timeout};

use super::world::{Answers, NoRoute, Refuses, Silent, World};
use crate::Policy;

#[tokio::test(start_paused = true)]
async fn whoever_was_raced_against_the_winner_is_told_of_as_well() {
    let world = World::new(&[
        ('a', Refuses(3)),
        ('b', NoRoute),
        ('c', Silent),
        ('d', Answers(2)),
        ('e', Answers(2)),
    ]);
    assert_eq!(world.dial("abcde").await.unwrap(), 'd');
    assert_eq!(
        world.take_ends(),
        "a connection refused, b network unreachable, d Answered, c Abandoned"
    );
}

#[tokio::test(start_paused = true)]
async fn a_loser_that_stalled_was_silent() {
    let world = World::new(&[('a', Silent), ('b', Answers(2_000))]);
    assert_eq!(world.dial("ab").await.unwrap(), 'b');
    assert_eq!(world.take_ends(), "b Answered, a Silent");
}

#[tokio::test(start_paused = true)]
async fn at_a_timeout_and_at_the_end_of_the_call_all_were_silent() {
    let world = World::new(&[('a', Silent)]);
    world.dial("a").await.unwrap_err();
    assert_eq!(world.take_ends(), "a Silent");
    let policy = Policy::builder().dial_timeout(Duration::from_millis(50));
    let world = World::with(policy, &[('a', Silent), ('b', Silent), ('c', Silent)]);
    world.dial("abc").await.unwrap_err();
    // The third had no turn.
    assert_eq!(world.take_ends(), "a Silent, b Silent");
    world.dial("a").await.unwrap_err();
    assert_eq!(world.take_ends(), "a Silent");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_early_leaves_abandoned_dials() {
    let world = World::new(&[('a', Silent), ('b', Silent)]);
    let dial = timeout(Duration::from_millis(999), world.dial("ab"));
    dial.await.unwrap_err();
    assert_eq!(world.take_ends(), "a Abandoned, b Abandoned");
    let dial = timeout(Duration::from_millis(1_020), world.dial("ab"));
    dial.await.unwrap_err();
    assert_eq!(world.take_ends(), "a Silent, b Abandoned");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_goes_on_alone_is_told_of_when_it_ends() {
    for (host, end) in [(Refuses(9), "p connection refused"), (Silent, "p Silent")] {
        let world = World::probing(&[('a', Answers(1)), ('p', host)]);
        world.make_due("p").await;
        assert_eq!(world.dial("ap").await.unwrap(), 'a');
        assert_eq!(world.take_ends(), "a Answered");
        advance(Duration::from_secs(9)).await;
        sleep(Duration::from_millis(1)).await;
        assert_eq!(world.take_ends(), end);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_is_told_of_once() {
    let world = World::probing(&[('p', Silent)]);
    world.make_due("p").await;
    let dial = timeout(Duration::from_millis(5), world.dial("p"));
    dial.await.unwrap_err();
    assert_eq!(world.take_ends(), "p Abandoned");
    let dial = timeout(Duration::from_millis(1_005), world.dial("p"));
    dial.await.unwrap_err();
    assert_eq!(world.take_ends(), "p Silent");
}
