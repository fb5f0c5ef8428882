//! A server that dies in full traffic: what its users notice.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::world::{Answers, Silent, World};
use crate::{Policy, PolicyBuilder, Recovery, State};

/// Dials `hb` 500 times a second for so long, `b` answering in 1 to 10 ms; how long each waited,
/// shortest first. A dial that fails ends the test.
async fn waits(world: &Arc<World>, seconds: u64) -> Vec<Duration> {
    let mut turns = interval(Duration::from_millis(2));
    let mut dials = JoinSet::new();
    for turn in 0..seconds * 500 {
        turns.tick().await;
        world.becomes('b', Answers(turn % 10 + 1));
        let world = Arc::clone(world);
        dials.spawn(async move {
            let began = Instant::now();
            world.dial("hb").await.expect("no dial is lost");
            began.elapsed()
        });
    }
    let mut waits = dials.join_all().await;
    waits.sort_unstable();
    waits
}

async fn bears_the_loss_of_one(policy: PolicyBuilder) {
    let world = Arc::new(World::with(policy, &[('h', Silent), ('b', Answers(1))]));
    for seconds in [1, 9] {
        let waits = waits(&world, seconds).await;
        let (p99, longest) = (waits[waits.len() * 99 / 100], waits[waits.len() - 1]);
        assert!(p99 <= Duration::from_millis(50), "p99 {p99:?}");
        assert!(longest <= Duration::from_millis(500), "longest {longest:?}");
    }
    assert_eq!(world.status('h').state, State::Down, "its races have told");
    assert_eq!(world.status('b').state, State::Up);
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_costs_no_dial_and_little_time_from_the_first_second() {
    bears_the_loss_of_one(Policy::builder()).await;
    bears_the_loss_of_one(Policy::builder().recovery(Recovery::PROBE)).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_went_silent_for_a_moment_is_back_within_two_seconds() {
    let world = Arc::new(World::new(&[('h', Answers(3)), ('b', Answers(1))]));
    waits(&world, 1).await;
    assert_eq!(world.status('h').state, State::Up);
    world.becomes('h', Silent);
    waits(&world, 2).await;
    assert_eq!(world.status('h').state, State::Suspect);
    world.becomes('h', Answers(3));
    waits(&world, 2).await;
    assert_eq!(world.status('h').state, State::Up);
    world.forget();
    waits(&world, 1).await;
    assert!(!world.take_dials().contains('b'), "all is as it was");
}
