//! Probes, suspects and fail-open: what a dial does for the judge's sake.

use std::time::Duration;

use tokio::time::sleep;

use super::world::{Answers, Refuses, Silent, World, faults};
use crate::{Cause, ConnectError, Policy, Recovery, State};

#[tokio::test(start_paused = true)]
async fn one_probe_goes_beside_the_first_and_the_others_wait() {
    let world = World::probing(&[('a', Answers(5)), ('p', Silent), ('q', Silent)]);
    world.make_due("pq").await;
    assert_eq!(world.dial("paq").await.unwrap(), 'a');
    assert_eq!(world.take_dials(), "0 a, 0 p");
    assert_eq!(world.status('p').state, State::Probing);
    assert_eq!(world.status('q').state, State::ProbeDue);
    // The next dial's probe is the other's.
    assert_eq!(world.dial("paq").await.unwrap(), 'a');
    assert_eq!(world.take_dials(), "0 a, 0 q");
    assert_eq!(world.dial("paq").await.unwrap(), 'a');
    assert_eq!(world.take_dials(), "0 a");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_lost_still_brings_its_address_up() {
    let world = World::probing(&[('a', Answers(5)), ('p', Answers(50))]);
    world.make_due("p").await;
    for rises in 1..=2 {
        assert_eq!(world.dial("pa").await.unwrap(), 'a');
        assert_eq!(world.status('p').state, State::Probing);
        sleep(Duration::from_millis(50)).await;
        let expected = if rises == 1 {
            State::ProbeDue
        } else {
            State::Up
        };
        assert_eq!(world.status('p').state, expected);
        assert_eq!(world.streams_open(), 0, "closed as soon as it was open");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_lost_and_stays_silent_takes_its_address_down_again() {
    let world = World::probing(&[('a', Answers(5)), ('p', Silent)]);
    world.make_due("p").await;
    let began = world.now_ms();
    world.dial("pa").await.unwrap();
    sleep(Duration::from_millis(4_990)).await;
    assert_eq!(world.status('p').state, State::Probing);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(world.now_ms() - began, 5_005);
    let status = world.status('p');
    assert_eq!((status.state, status.trips), (State::Down, 2));
    assert_eq!(status.last_failure.unwrap().cause, Cause::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_probe_may_win() {
    let world = World::probing(&[('a', Answers(20)), ('p', Answers(1))]);
    world.make_due("p").await;
    assert_eq!(world.dial("ap").await.unwrap(), 'p');
    assert_eq!(world.status('p').successes, 1);
    assert_eq!(world.judge.take_told(), "", "the loser is let go");
}

#[tokio::test(start_paused = true)]
async fn without_a_better_address_the_probe_is_the_dial() {
    let world = World::probing(&[('c', Answers(1)), ('p', Answers(100))]);
    world.make_due("p").await;
    world.take_down("c");
    assert_eq!(world.dial("cp").await.unwrap(), 'p');
    assert_eq!(world.dial("p").await.unwrap(), 'p');
    assert_eq!(world.status('p').state, State::Up);
    assert_eq!(world.take_dials(), "0 p, 100 p");
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_does_not_hurry_the_others() {
    let world = World::probing(&[('a', Answers(10)), ('b', Answers(1)), ('p', Refuses(2))]);
    world.make_due("p").await;
    assert_eq!(world.dial("abp").await.unwrap(), 'a');
    assert_eq!(world.take_dials(), "0 a, 0 p");
    assert_eq!(world.status('p').trips, 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_given_the_probe_is_told_it_is_down() {
    let world = World::probing(&[('p', Answers(10))]);
    world.make_due("p").await;
    let (first, second) = tokio::join!(world.dial("p"), world.dial("p"));
    first.unwrap();
    let ConnectError::FallDown { addresses } = second.unwrap_err() else {
        panic!("dialled")
    };
    assert_eq!(addresses[0].state, State::Probing);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_comes_last_and_is_raced_once_a_second() {
    let world = World::new(&[('s', Silent), ('a', Answers(5))]);
    world.make_suspect("s");
    for dials in ["0 a, 0 s", "0 a", "0 a"] {
        assert_eq!(world.dial("sa").await.unwrap(), 'a');
        assert_eq!(world.take_dials(), dials);
    }
    sleep(Duration::from_millis(1_010)).await;
    world.dial("sa").await.unwrap();
    assert_eq!(world.take_dials(), "0 a, 0 s");
    // The races were lost, and their verdicts are waited for.
    sleep(Duration::from_secs(6)).await;
    assert_eq!(world.failures('s'), (2, Some(Cause::TimedOut)));
}

#[tokio::test(start_paused = true)]
async fn a_race_that_is_answered_clears_the_suspect() {
    let world = World::new(&[('s', Answers(8)), ('a', Answers(5))]);
    world.make_suspect("s");
    assert_eq!(world.dial("sa").await.unwrap(), 'a');
    sleep(Duration::from_millis(5)).await;
    assert_eq!(world.status('s').state, State::Up);
    assert_eq!(
        world.judge.take_told(),
        "s is raced, a Success in 5ms, s Success in 8ms"
    );
    assert_eq!(world.streams_open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_is_not_raced_is_the_last_resort() {
    let world = World::new(&[('s', Answers(5)), ('t', Answers(5)), ('a', Silent)]);
    world.make_suspect("st");
    // Both races are taken.
    for name in ['s', 't'] {
        let address = super::world::address(name);
        assert!(crate::judge::Judge::claim_race(&*world.judge, &address));
    }
    assert_eq!(world.dial("sat").await.unwrap(), 's');
    assert_eq!(world.take_dials(), "0 a, 30 s");
}

#[tokio::test(start_paused = true)]
async fn where_all_are_suspect_they_are_as_good_as_any() {
    let world = World::new(&[('s', Silent), ('t', Answers(5))]);
    world.make_suspect("st");
    assert_eq!(world.dial("st").await.unwrap(), 't');
    assert_eq!(world.take_dials(), "0 s, 30 t");
    assert_eq!(
        world.judge.take_told(),
        "t Success in 5ms",
        "no race, no silence told twice"
    );
}

#[tokio::test(start_paused = true)]
async fn a_probe_comes_before_a_race() {
    let world = World::probing(&[('a', Answers(5)), ('p', Answers(5)), ('s', Answers(5))]);
    world.make_due("p").await;
    world.make_suspect("s");
    world.dial("asp").await.unwrap();
    assert_eq!(world.take_dials(), "0 a, 0 p");
}

#[tokio::test(start_paused = true)]
async fn all_down_is_told_at_once_in_the_order_given() {
    let world = World::new(&[('a', Answers(1)), ('b', Answers(1))]);
    world.take_down("ba");
    let ConnectError::FallDown { addresses } = world.dial("ab").await.unwrap_err() else {
        panic!("dialled")
    };
    let told = addresses.iter().map(|status| status.address);
    assert!(told.eq(['a', 'b'].map(super::world::address)));
    assert_eq!(world.take_dials(), "");
}

#[tokio::test(start_paused = true)]
async fn fail_open_dials_who_is_next_in_turn() {
    let world = World::with(
        Policy::builder().fail_open(true),
        &[('a', Answers(1)), ('b', Answers(1)), ('f', Answers(1))],
    );
    world.judge.registry.force_down(super::world::address('f'));
    world.take_down("b");
    tokio::time::advance(Duration::from_secs(1)).await;
    world.take_down("a");
    assert_eq!(world.dial("fab").await.unwrap(), 'b');
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(world.dial("a").await.unwrap(), 'a');
    assert!(matches!(
        world.dial("f").await,
        Err(ConnectError::FallDown { .. })
    ));
    assert_eq!(world.take_dials(), "0 b, 1001 a");
    world.becomes('b', Refuses(1));
    let error = world.dial("fab").await.unwrap_err();
    assert_eq!(
        faults(&error),
        "f forced down, a down, b connection refused"
    );
}

#[tokio::test(start_paused = true)]
async fn forced_up_is_dialled_whatever_happened() {
    let policy = Policy::builder().recovery(Recovery::PROBE);
    let world = World::with(policy, &[('a', Refuses(1)), ('b', Answers(1))]);
    world.judge.registry.force_up(super::world::address('a'));
    for _ in 0..5 {
        assert_eq!(world.dial("ab").await.unwrap(), 'b');
        assert_eq!(world.take_dials(), "0 a, 1 b");
    }
}
