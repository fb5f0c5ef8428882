//! Races on paused time, by the real registry on the same clock, with no socket.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::{future, io};

use tokio::time::sleep;

use super::flight::Open;
use super::*;
use crate::clock::Clock;
use crate::error::{DialFailure, DialFault};
use crate::outcome::Cause;
use crate::policy::{PolicyBuilder, Recovery};
use crate::snapshot::State;

/// How an address answers.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Accepts(u64),
    Refuses(u64),
    Never,
}

use Manner::{Accepts, Never, Refuses};

/// Addresses that answer as told after milliseconds, and a note of each dial.
#[derive(Default)]
struct Net {
    manners: Mutex<HashMap<SocketAddr, Manner>>,
    dials: Mutex<Vec<(u64, SocketAddr)>>,
    in_the_air: Arc<AtomicUsize>,
    began: Option<Instant>,
}

struct InTheAir(Arc<AtomicUsize>);

impl Drop for InTheAir {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Open for Net {
    type Stream = SocketAddr;

    fn open(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<SocketAddr>> + Send + 'static {
        let at = self.began.unwrap().elapsed().as_millis() as u64;
        self.dials.lock().unwrap().push((at, address));
        let manner = self.manners.lock().unwrap()[&address];
        self.in_the_air.fetch_add(1, Ordering::Relaxed);
        let held = InTheAir(Arc::clone(&self.in_the_air));
        async move {
            let _held = held;
            match manner {
                Accepts(after) => {
                    sleep(Duration::from_millis(after)).await;
                    Ok(address)
                }
                Refuses(after) => {
                    sleep(Duration::from_millis(after)).await;
                    Err(io::ErrorKind::ConnectionRefused.into())
                }
                Never => future::pending().await,
            }
        }
    }
}

/// The registry's time is tokio's, which stands still while anything can run.
#[derive(Debug)]
struct Paused(Instant);

impl Clock for Paused {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

struct World {
    registry: Registry,
    net: Net,
}

impl World {
    fn new(manners: &[(SocketAddr, Manner)]) -> Self {
        Self::with(manners, |policy| policy)
    }

    fn with(
        manners: &[(SocketAddr, Manner)],
        change: impl FnOnce(PolicyBuilder) -> PolicyBuilder,
    ) -> Self {
        let policy = change(Policy::builder()).build().unwrap();
        let clock = Arc::new(Paused(Instant::now()));
        let registry = Registry::builder().policy(policy).clock(clock).build();
        let net = Net {
            began: Some(Instant::now()),
            ..Net::default()
        };
        let world = Self { registry, net };
        for &(address, manner) in manners {
            world.becomes(address, manner);
        }
        world
    }

    fn becomes(&self, address: SocketAddr, manner: Manner) {
        self.net.manners.lock().unwrap().insert(address, manner);
    }

    async fn dial(&self, addresses: &[SocketAddr]) -> Result<SocketAddr, ConnectError> {
        let options = Options::of(self.registry.policy());
        let deadline = options.deadline();
        let won = race::connect(&self.registry, &self.net, addresses, &options, deadline).await;
        won.map(|(stream, address)| {
            assert_eq!(stream, address);
            address
        })
    }

    /// When, in milliseconds, which address was dialled; and forgets it.
    fn dials(&self) -> Vec<(u64, SocketAddr)> {
        std::mem::take(&mut self.net.dials.lock().unwrap())
    }

    fn state(&self, address: SocketAddr) -> State {
        self.registry.status(&address).state
    }

    fn take_down(&self, address: SocketAddr) {
        for _ in 0..self.registry.policy().max_fails() {
            self.registry.add_fall_down(address);
        }
        assert_eq!(self.state(address), State::Down);
    }

    /// Takes it down and waits until it is due for a probe.
    async fn make_due(&self, address: SocketAddr) {
        self.take_down(address);
        let left = self.registry.status(&address).retry_in.unwrap();
        sleep(left).await;
        assert_eq!(self.state(address), State::ProbeDue);
        self.dials();
    }
}

fn v4(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 80))
}

fn v6(host: u8) -> SocketAddr {
    format!("[2001:db8::{host}]:80").parse().unwrap()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn causes(error: ConnectError) -> Vec<(SocketAddr, String)> {
    let told = |DialFailure { address, fault }: DialFailure| {
        let text = match fault {
            DialFault::Down(status) => status.state.to_string(),
            DialFault::TimedOut(after) => format!("timed out after {after:?}"),
            DialFault::Io(error) => error.kind().to_string(),
        };
        (address, text)
    };
    match error {
        ConnectError::Unreachable { attempts } => attempts.into_iter().map(told).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_address_is_dialled_after_silence_and_the_loser_blames_nobody() {
    let world = World::new(&[(v6(1), Accepts(100)), (v4(1), Accepts(20))]);
    assert_eq!(world.dial(&[v6(1), v4(1)]).await.unwrap(), v4(1));
    assert_eq!(world.dials(), [(0, v6(1)), (30, v4(1))]);
    assert_eq!(world.state(v6(1)), State::Suspect);
    assert_eq!(world.registry.status(&v6(1)).failures, 0);
    assert_eq!(world.net.in_the_air.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn the_pace_follows_the_usual_connect_time_up_to_the_attempt_delay() {
    let world = World::new(&[(v4(1), Accepts(20)), (v4(2), Accepts(1))]);
    for address in [v4(1), v4(2)] {
        let _pinned = world.registry.endpoint(address);
        std::mem::forget(_pinned);
    }
    // 20 ms is learnt as up to 23: silence is remarkable after four times that.
    assert_eq!(world.dial(&[v4(1)]).await.unwrap(), v4(1));
    let usual = world.registry.status(&v4(1)).usual.unwrap();
    assert!(usual >= ms(20) && usual < ms(30), "{usual:?}");
    world.dials();
    world.becomes(v4(1), Never);
    let began = Instant::now();
    assert_eq!(world.dial(&[v4(1), v4(2)]).await.unwrap(), v4(2));
    let waited = began.elapsed();
    assert!(
        waited >= usual * 4 && waited < usual * 4 + ms(5),
        "{waited:?}"
    );

    let far = World::new(&[(v4(1), Accepts(200)), (v4(2), Accepts(1))]);
    std::mem::forget(far.registry.endpoint(v4(1)));
    assert_eq!(far.dial(&[v4(1)]).await.unwrap(), v4(1));
    far.becomes(v4(1), Never);
    let began = Instant::now();
    assert_eq!(far.dial(&[v4(1), v4(2)]).await.unwrap(), v4(2));
    assert_eq!(began.elapsed().as_millis(), 251);
}

#[tokio::test(start_paused = true)]
async fn a_failure_gives_the_next_its_turn_at_once_and_every_cause_is_told() {
    let world = World::new(&[(v6(1), Refuses(1)), (v4(1), Refuses(2)), (v4(2), Never)]);
    world.take_down(v4(9));
    let error = world.dial(&[v6(1), v4(9), v4(1), v4(2)]).await.unwrap_err();
    assert_eq!(world.dials(), [(0, v6(1)), (1, v4(1)), (3, v4(2))]);
    let told = [
        (v4(9), "down".to_owned()),
        (v6(1), "connection refused".to_owned()),
        (v4(1), "connection refused".to_owned()),
        (v4(2), "timed out after 5s".to_owned()),
    ];
    assert_eq!(causes(error), told);
    for address in [v6(1), v4(1), v4(2)] {
        assert_eq!(world.registry.status(&address).failures, 1, "{address}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_address_has_nowhere_to_go_and_silence_writes_nothing() {
    let world = World::new(&[(v4(1), Accepts(900))]);
    assert_eq!(world.dial(&[v4(1)]).await.unwrap(), v4(1));
    assert!(world.registry.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_loser_that_had_stalled_has_failed() {
    let world = World::new(&[(v4(1), Never), (v4(2), Accepts(1200))]);
    assert_eq!(world.dial(&[v4(1), v4(2)]).await.unwrap(), v4(2));
    let last = world.registry.status(&v4(1)).last_failure.unwrap();
    assert_eq!(last.cause, Cause::Stalled);
    assert_eq!(world.registry.status(&v4(2)).failures, 0);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_everything() {
    let timeouts = |policy: PolicyBuilder| policy.dial_timeout(ms(700)).connect_timeout(ms(5000));
    let world = World::with(&[(v4(1), Never), (v4(2), Never)], timeouts);
    let began = Instant::now();
    let error = world.dial(&[v4(1), v4(2)]).await.unwrap_err();
    assert_eq!(began.elapsed(), ms(700));
    let told = [
        (v4(1), "timed out after 700ms"),
        (v4(2), "timed out after 670ms"),
    ];
    assert_eq!(
        causes(error),
        told.map(|(address, text)| (address, text.to_owned()))
    );
    assert_eq!(
        world.registry.status(&v4(1)).failures,
        0,
        "it had not stalled yet"
    );
    let began = Instant::now();
    assert!(world.dial(&[v4(1)]).await.is_err());
    assert_eq!(began.elapsed(), ms(700));
    assert_eq!(world.net.in_the_air.load(Ordering::Relaxed), 0);
}

fn probing(policy: PolicyBuilder) -> PolicyBuilder {
    policy.recovery(Recovery::PROBE)
}

#[tokio::test(start_paused = true)]
async fn a_probe_flies_beside_the_first_good_one_and_goes_on_when_that_has_won() {
    let world = World::with(&[(v4(1), Accepts(300)), (v4(2), Accepts(5))], probing);
    world.make_due(v4(1)).await;
    let began = Instant::now();
    assert_eq!(world.dial(&[v4(1), v4(2)]).await.unwrap(), v4(2));
    assert_eq!(began.elapsed(), ms(5));
    assert_eq!(
        world.dials().iter().map(|dial| dial.1).collect::<Vec<_>>(),
        [v4(1), v4(2)]
    );
    // One probe at a time: the next caller is told that it is down.
    assert_eq!(world.state(v4(1)), State::Probing);
    assert_eq!(world.dial(&[v4(1), v4(2)]).await.unwrap(), v4(2));
    assert_eq!(world.dials().len(), 1);
    sleep(ms(300)).await;
    assert_eq!(world.registry.status(&v4(1)).successes, 1);
    assert_eq!(world.state(v4(1)), State::ProbeDue);
    assert_eq!(world.dial(&[v4(1), v4(2)]).await.unwrap(), v4(2));
    sleep(ms(300)).await;
    assert_eq!(world.state(v4(1)), State::Up);
}

#[tokio::test(start_paused = true)]
async fn a_call_makes_one_probe_however_many_are_due() {
    let world = World::with(
        &[(v4(1), Never), (v4(2), Never), (v4(3), Accepts(1))],
        probing,
    );
    world.make_due(v4(1)).await;
    world.make_due(v4(2)).await;
    assert_eq!(world.dial(&[v4(1), v4(2), v4(3)]).await.unwrap(), v4(3));
    assert_eq!(world.dials().len(), 2);
    assert_eq!(
        [world.state(v4(1)), world.state(v4(2))],
        [State::Probing, State::ProbeDue]
    );
    // The probe's own end comes with the connect timeout.
    sleep(ms(5001)).await;
    assert_eq!(world.state(v4(1)), State::Down);
    assert_eq!(world.registry.status(&v4(1)).trips, 2);
}

#[tokio::test(start_paused = true)]
async fn a_dead_address_gets_one_dial_at_expiry_from_a_thousand_callers() {
    let world = World::with(&[(v4(1), Refuses(10))], probing);
    world.make_due(v4(1)).await;
    let answers = all((0..1000).map(|_| world.dial_owned(vec![v4(1)]))).await;
    assert_eq!(world.dials().len(), 1);
    let dialled = answers
        .iter()
        .filter(|answer| matches!(answer, Err(ConnectError::Unreachable { .. })));
    assert_eq!(dialled.count(), 1);
    assert_eq!(world.state(v4(1)), State::Down);
}

#[tokio::test(start_paused = true)]
async fn all_down_fails_at_once_or_open() {
    let world = World::with(&[(v4(1), Accepts(1)), (v4(2), Accepts(1))], |policy| policy);
    world.take_down(v4(1));
    sleep(ms(1000)).await;
    world.take_down(v4(2));
    let both = [v4(2), v4(1)];
    let error = world.dial(&both).await.unwrap_err();
    assert!(matches!(error, ConnectError::FallDown { ref addresses } if addresses.len() == 2));
    assert!(world.dials().is_empty());
    let open = Policy::builder().fail_open(true).build().unwrap();
    let options = Options::of(&open);
    let dial = async |addresses: &[SocketAddr]| {
        let deadline = options.deadline();
        race::connect(&world.registry, &world.net, addresses, &options, deadline).await
    };
    assert_eq!(
        dial(&both).await.unwrap().1,
        v4(1),
        "the one that expires first"
    );
    assert_eq!(world.registry.status(&v4(1)).successes, 1);
    world.registry.force_down(v4(1));
    assert_eq!(dial(&both).await.unwrap().1, v4(2));
    world.registry.drain(v4(2));
    assert!(dial(&both).await.is_err(), "an operator's word stands");
}

/// Polls `dial` for at most `time` on the paused clock and drops it.
async fn dropped_after(time: Duration, world: &World, addresses: &[SocketAddr]) -> bool {
    tokio::time::timeout(time, world.dial(addresses))
        .await
        .is_err()
}

#[tokio::test(start_paused = true)]
async fn dropped_at_any_moment_a_dial_blames_only_what_had_stalled() {
    for millis in (0..40).chain((40..2400).step_by(97)) {
        let manners = [(v4(1), Never), (v4(2), Never), (v4(3), Never)];
        let world = World::with(&manners, probing);
        world.make_due(v4(3)).await;
        assert!(dropped_after(ms(millis), &world, &[v4(1), v4(2), v4(3)]).await);
        assert_eq!(
            world.net.in_the_air.load(Ordering::Relaxed),
            0,
            "{millis} ms"
        );
        for (address, began) in [(v4(1), 0), (v4(2), 30)] {
            let had_stalled = millis >= began + 1000;
            let failures = world.registry.status(&address).failures;
            assert_eq!(
                failures,
                u8::from(had_stalled),
                "{address} after {millis} ms"
            );
        }
        // The permit is given back, or it was the probe that stalled.
        let expected = if millis >= 1000 {
            State::Down
        } else {
            State::ProbeDue
        };
        assert_eq!(world.state(v4(3)), expected, "{millis} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_at_any_await_a_dial_leaks_no_permit() {
    // Every poll is an await at which the caller may give up.
    for polls in 0..12 {
        let manners = [
            (v4(1), Accepts(40)),
            (v4(2), Refuses(5)),
            (v4(3), Accepts(60)),
        ];
        let world = World::with(&manners, probing);
        world.make_due(v4(3)).await;
        let mut dial = Box::pin(world.dial_owned(vec![v4(2), v4(1), v4(3)]));
        for _ in 0..polls {
            let once = future::poll_fn(|context| Poll::Ready(dial.as_mut().poll(context)));
            if once.await.is_ready() {
                break;
            }
            sleep(ms(7)).await;
        }
        drop(dial);
        sleep(ms(200)).await;
        assert_eq!(world.net.in_the_air.load(Ordering::Relaxed), 0);
        assert_eq!(world.state(v4(3)), State::ProbeDue, "{polls} polls");
        assert_eq!(world.registry.status(&v4(1)).failures, 0);
    }
}

/// 500 dials a second for ten seconds, one of two addresses black-holed: how long each waited.
async fn storm(world: &Arc<World>, both: [SocketAddr; 2]) -> Vec<Duration> {
    let start = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..5000u64 {
        let world = Arc::clone(world);
        // Half of the callers have the dead one first: nobody knows it beforehand.
        let order = if n % 2 == 0 { both } else { [both[1], both[0]] };
        callers.spawn(async move {
            sleep(ms(2 * n)).await;
            let began = Instant::now();
            world.dial(&order).await.expect("no dial is lost");
            (began - start, began.elapsed())
        });
    }
    let waits = callers.join_all().await;
    let mut first_second: Vec<_> = waits
        .iter()
        .filter(|wait| wait.0 < ms(1000))
        .map(|wait| wait.1)
        .collect();
    first_second.sort_unstable();
    assert!(
        first_second[first_second.len() * 99 / 100] <= ms(50),
        "from the first second"
    );
    waits.into_iter().map(|wait| wait.1).collect()
}

#[tokio::test(start_paused = true)]
async fn with_one_of_two_black_holed_nobody_is_lost_and_hardly_anybody_waits() {
    for recovery in [Recovery::Open, Recovery::PROBE] {
        let manners = [(v4(1), Never), (v4(2), Accepts(10))];
        let world = Arc::new(World::with(&manners, |policy| policy.recovery(recovery)));
        let mut waits = storm(&world, [v4(1), v4(2)]).await;
        waits.sort_unstable();
        assert!(
            waits[waits.len() * 99 / 100] <= ms(50),
            "{:?}",
            waits[waits.len() * 99 / 100]
        );
        assert!(waits[waits.len() - 1] <= ms(500), "{:?}", waits.last());
        let dead = world.dials().iter().filter(|dial| dial.1 == v4(1)).count();
        assert!(dead < 40, "{dead} dials of the dead one");
        assert_eq!(world.state(v4(2)), State::Up);
        // Races that went on alone have taken it down by now.
        assert_eq!(world.state(v4(1)), State::Down);
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_answers_again_is_one_no_more() {
    let world = World::new(&[(v4(1), Never), (v4(2), Accepts(1))]);
    assert_eq!(world.dial(&[v4(1), v4(2)]).await.unwrap(), v4(2));
    assert_eq!(world.state(v4(1)), State::Suspect);
    world.becomes(v4(1), Accepts(8));
    world.dials();
    let began = Instant::now();
    assert_eq!(world.dial(&[v4(1), v4(2)]).await.unwrap(), v4(2));
    assert_eq!(began.elapsed(), ms(1), "its race costs the caller nothing");
    assert_eq!(world.dials().len(), 2);
    sleep(ms(10)).await;
    assert_eq!(world.state(v4(1)), State::Up);
}

/// Waits for all of them at once.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures
        .map(|future| (Some(Box::pin(future)), None))
        .collect();
    future::poll_fn(|context| {
        let mut is_done = true;
        for (future, answer) in &mut waiting {
            let polled = future.as_mut().map(|future| future.as_mut().poll(context));
            match polled {
                Some(Poll::Ready(output)) => (*future, *answer) = (None, Some(output)),
                Some(Poll::Pending) => is_done = false,
                None => {}
            }
        }
        if is_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    waiting
        .into_iter()
        .filter_map(|(_, answer)| answer)
        .collect()
}

impl World {
    async fn dial_owned(&self, addresses: Vec<SocketAddr>) -> Result<SocketAddr, ConnectError> {
        self.dial(&addresses).await
    }
}
