//! A call may be dropped at any moment: nobody is blamed falsely, no permit is lost.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;

use super::world::{Answers, Refuses, Silent, World};
use crate::{Cause, State};

/// A future that is given up after so many polls.
struct UpTo<'a, F> {
    polls: usize,
    future: Pin<&'a mut F>,
}

impl<F: Future> Future for UpTo<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        let poll = self.future.as_mut().poll(cx).map(Some);
        if poll.is_pending() && self.polls == 0 {
            return Poll::Ready(None);
        }
        poll
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_at_any_time_it_blames_who_stalled_and_nobody_else() {
    for ms in [
        0, 1, 3, 29, 30, 31, 33, 35, 59, 60, 100, 500, 985, 1_015, 1_025, 1_045, 2_000, 4_990,
    ] {
        let world = World::probing(&[
            ('a', Silent),
            ('b', Silent),
            ('c', Refuses(3)),
            ('p', Silent),
        ]);
        world.make_due("p").await;
        let dial = world.dial("acbp");
        timeout(Duration::from_millis(ms), dial).await.unwrap_err();

        let stalled = |since: u64| {
            if ms >= since + 1_000 {
                (1, Some(Cause::Stalled))
            } else {
                (0, None)
            }
        };
        assert_eq!(world.failures('a'), stalled(0), "dropped at {ms} ms");
        // `c` begins when `a` has been silent for 30 ms, and `b` when `c` has refused.
        assert_eq!(world.failures('b'), stalled(33), "dropped at {ms} ms");
        let refused = u8::from(ms >= 33);
        assert_eq!(world.failures('c').0, refused, "dropped at {ms} ms");
        let suspect = ms >= 30;
        assert_eq!(
            world.status('a').state == State::Suspect,
            suspect,
            "dropped at {ms} ms"
        );
        let probe = world.status('p');
        if ms < 1_000 {
            assert_eq!(probe.state, State::ProbeDue, "given back at {ms} ms");
        } else {
            assert_eq!((probe.state, probe.trips), (State::Down, 2), "at {ms} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_after_any_poll_it_leaves_no_trace() {
    let mut polls = 0;
    loop {
        let world = World::probing(&[('a', Answers(80)), ('c', Refuses(3)), ('p', Silent)]);
        world.make_due("p").await;
        let answer = {
            let future = pin!(world.dial("cap"));
            UpTo { polls, future }.await
        };
        let refused = world.take_dials().contains('a');
        assert_eq!(world.failures('c').0, u8::from(refused), "{polls} polls");
        assert_eq!(world.failures('a').0, 0, "{polls} polls");
        if let Some(answer) = answer {
            assert_eq!(answer.unwrap(), 'a');
            assert_eq!(world.status('p').state, State::Probing);
            break;
        }
        assert_eq!(world.status('p').state, State::ProbeDue, "{polls} polls");
        assert_eq!(world.streams_open(), 0, "{polls} polls");
        polls += 1;
    }
    assert!(polls >= 3, "each await was a place to stop: {polls}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_of_one_address_gives_its_permit_back() {
    for ms in [0, 1, 500, 985, 1_015] {
        let world = World::probing(&[('p', Silent)]);
        world.make_due("p").await;
        let dial = world.dial("p");
        timeout(Duration::from_millis(ms), dial).await.unwrap_err();
        let expected = if ms < 1_000 {
            State::ProbeDue
        } else {
            State::Down
        };
        assert_eq!(world.status('p').state, expected, "dropped at {ms} ms");
    }
}

#[test]
fn a_runtime_that_ends_takes_what_lingers_with_it() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let world = runtime.block_on(async {
        let world = World::probing(&[('a', Answers(1)), ('p', Silent)]);
        world.make_due("p").await;
        world.dial("ap").await.unwrap();
        world
    });
    assert_eq!(
        runtime.block_on(async { world.status('p').state }),
        State::Probing
    );
    drop(runtime);
    assert_eq!(world.streams_open(), 0);
}
