//! Who is dialled when, and what each dial's end says.

use std::time::Duration;

use super::super::connect;
use super::world::{Answers, NoRoute, Refuses, Silent, World, address, faults};
use crate::judge::Judge;
use crate::{Cause, ConnectError, Outcome, Policy, Registry, State, TcpDialler};

#[tokio::test(start_paused = true)]
async fn a_silent_address_is_suspect_after_30_ms_and_the_next_is_dialled() {
    let world = World::new(&[('a', Silent), ('b', Answers(5))]);
    assert_eq!(world.dial("ab").await.unwrap(), 'b');
    assert_eq!(world.now_ms(), 35);
    assert_eq!(world.take_dials(), "0 a, 30 b");
    assert_eq!(world.judge.take_told(), "a is silent, b Success in 5ms");
    assert_eq!(world.status('a').state, State::Suspect);
    assert_eq!(world.failures('a'), (0, None), "losing blames nobody");
}

#[tokio::test(start_paused = true)]
async fn the_usual_time_stretches_patience_up_to_the_attempt_delay() {
    for (usual_ms, least, most) in [(20, 80, 130), (500, 250, 250), (1, 30, 30)] {
        let world = World::new(&[('a', Silent), ('b', Answers(1))]);
        let a = address('a');
        // Only what has a record has a usual time.
        let _pinned = world.judge.registry.endpoint(a);
        let took = Duration::from_millis(usual_ms);
        let ticket = world.judge.begin(&a);
        world.judge.end(a, ticket, Outcome::Success, took);
        world.dial("ab").await.unwrap();
        let waited = world.now_ms() - 1;
        assert!(
            (least..=most).contains(&waited),
            "{usual_ms} ms usual, waited {waited} ms"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_starts_the_next_at_once() {
    let world = World::new(&[
        ('a', Refuses(3)),
        ('b', NoRoute),
        ('c', Answers(2)),
        ('d', Answers(2)),
    ]);
    assert_eq!(world.dial("abcd").await.unwrap(), 'c');
    assert_eq!(world.take_dials(), "0 a, 3 b, 3 c");
    assert_eq!(world.failures('a'), (1, Some(Cause::Refused)));
    assert_eq!(world.failures('b'), (0, None), "our own fault");
}

#[tokio::test(start_paused = true)]
async fn families_take_turns() {
    let world = World::new(&[('A', Silent), ('B', Silent), ('a', Silent), ('b', Silent)]);
    world.dial("ABab").await.unwrap_err();
    assert_eq!(world.take_dials(), "0 A, 30 a, 60 B, 90 b");
}

#[tokio::test(start_paused = true)]
async fn an_address_given_twice_is_dialled_once() {
    let world = World::new(&[('a', Refuses(1)), ('b', Refuses(1))]);
    let error = world.dial("aabab").await.unwrap_err();
    assert_eq!(world.take_dials(), "0 a, 1 b");
    assert_eq!(faults(&error), "a connection refused, b connection refused");
    let std::net::SocketAddr::V4(a) = address('a') else {
        unreachable!()
    };
    let mapped = (a.ip().to_ipv6_mapped(), a.port()).into();
    world.dial_at(&[address('a'), mapped]).await.unwrap_err();
    assert_eq!(world.take_dials(), "0 a");
}

#[tokio::test(start_paused = true)]
async fn a_loser_that_stalled_is_blamed() {
    let world = World::new(&[('a', Silent), ('b', Answers(2_000))]);
    assert_eq!(world.dial("ab").await.unwrap(), 'b');
    assert_eq!(world.failures('a'), (1, Some(Cause::Stalled)));
    assert_eq!(
        world.judge.take_told(),
        "a is silent, b is silent, b Success in 2s, a Failed(Stalled) in 2.03s",
    );
    assert_eq!(world.status('b').state, State::Up, "an answer clears it");
}

#[tokio::test(start_paused = true)]
async fn the_slow_first_address_may_still_win() {
    let world = World::new(&[('a', Answers(40)), ('b', Answers(20))]);
    assert_eq!(world.dial("ab").await.unwrap(), 'a');
    assert_eq!(world.status('a').state, State::Up);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.streams_open(), 0, "no stream is left behind");
}

#[tokio::test(start_paused = true)]
async fn the_error_has_the_cause_of_each_address_in_the_order_given() {
    let world = World::new(&[
        ('a', Silent),
        ('b', Answers(0)),
        ('c', Refuses(2)),
        ('d', NoRoute),
    ]);
    world.take_down("b");
    let error = world.dial("abcd").await.unwrap_err();
    assert_eq!(
        faults(&error),
        "a silent for 5s, b down, c connection refused, d network unreachable"
    );
    assert_eq!(world.failures('a'), (1, Some(Cause::TimedOut)));
    assert_eq!(world.failures('c'), (1, Some(Cause::Refused)));
    assert_eq!(world.failures('d'), (0, None));
}

#[tokio::test(start_paused = true)]
async fn silence_is_not_told_where_there_is_nobody_to_turn_to() {
    let world = World::new(&[('a', Answers(100)), ('b', Silent), ('c', Refuses(1))]);
    world.take_down("b");
    world.dial("a").await.unwrap();
    world.dial("ab").await.unwrap();
    assert_eq!(world.dial("ca").await.unwrap(), 'a');
    assert!(!world.judge.take_told().contains("silent"));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_blames_who_had_time_to_stall() {
    let policy = Policy::builder().dial_timeout(Duration::from_millis(1_010));
    let world = World::with(policy, &[('a', Silent), ('b', Silent)]);
    let error = world.dial("ab").await.unwrap_err();
    assert_eq!(world.now_ms(), 1_010);
    assert_eq!(faults(&error), "a silent for 1.01s, b silent for 1.01s");
    assert_eq!(world.failures('a'), (1, Some(Cause::Stalled)));
    assert_eq!(world.failures('b'), (0, None), "it had 980 ms");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_tells_of_who_had_no_turn() {
    let policy = Policy::builder().dial_timeout(Duration::from_millis(50));
    let world = World::with(policy, &[('a', Silent), ('b', Silent), ('c', Answers(1))]);
    let error = world.dial("abc").await.unwrap_err();
    assert_eq!(world.take_dials(), "0 a, 30 b");
    assert_eq!(
        faults(&error),
        "a silent for 50ms, b silent for 50ms, c silent for 50ms"
    );
    assert_eq!(world.failures('a'), (0, None));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_for_one_address() {
    for (deadline_ms, failures) in [(900, 0), (1_100, 1)] {
        let deadline = Duration::from_millis(deadline_ms);
        let world = World::with(Policy::builder().dial_timeout(deadline), &[('a', Silent)]);
        let error = world.dial("a").await.unwrap_err();
        assert_eq!(faults(&error), format!("a silent for {deadline:?}"));
        assert_eq!(world.now_ms(), deadline_ms);
        assert_eq!(world.failures('a').0, failures);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silence_longer_than_the_connect_timeout_is_a_time_out() {
    let policy = Policy::builder().connect_timeout(Duration::from_millis(20));
    let world = World::with(policy, &[('a', Silent), ('b', Answers(1))]);
    assert_eq!(world.dial("ab").await.unwrap(), 'b');
    assert_eq!(world.take_dials(), "0 a, 20 b");
    assert_eq!(world.failures('a'), (1, Some(Cause::TimedOut)));
}

#[tokio::test(start_paused = true)]
async fn times_without_end_are_none() {
    let mut world = World::new(&[('a', Silent), ('b', Answers(1))]);
    world.options.connect_timeout = Duration::MAX;
    world.options.dial_timeout = Duration::MAX;
    assert_eq!(world.dial("ab").await.unwrap(), 'b');
    assert_eq!(world.dial("b").await.unwrap(), 'b');
}

#[tokio::test(start_paused = true)]
async fn no_time_at_all_ends_at_once() {
    for names in ["a", "abc"] {
        let mut world = World::new(&[('a', Answers(1)), ('b', Answers(1)), ('c', Answers(1))]);
        world.options.connect_timeout = Duration::ZERO;
        let error = world.dial(names).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Unreachable { .. }),
            "{error:?}"
        );
        assert_eq!(world.now_ms(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn no_address_is_told_apart() {
    let world = World::new(&[]);
    let error = world.dial("").await.unwrap_err();
    assert!(matches!(error, ConnectError::NoAddress));
}

#[test]
fn dials_may_move_between_threads() {
    fn movable<T: Send>(_: T) {}
    let registry = Registry::new(Policy::default());
    let shared: std::sync::Arc<dyn Judge> = std::sync::Arc::new(registry.clone());
    let connector = registry.connector();
    movable(connect(&shared, &TcpDialler::new(), &[]));
    movable(registry.connect(address('a')));
    movable(registry.connect("localhost:1"));
    movable(connector.connect("localhost", 1));
    movable(connector.connect_to(&[]));
}
