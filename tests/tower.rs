//! The tower layer around a service that does as it is told.
#![cfg(feature = "tower")]
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::error::Error;
use std::future::{Future, Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use risefall::tower::{Call, Denied, Health, HealthLayer, Locate, Peer, outcome_of};
use risefall::{Cause, ManualClock, Outcome, Policy, Recovery, Registry, State};
use tower::{Layer, Service};

const SECOND: Duration = Duration::from_secs(1);

fn address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 80))
}

fn registry() -> (Registry, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let policy = Policy::builder().recovery(Recovery::PROBE).build().unwrap();
    let registry = Registry::builder()
        .policy(policy)
        .clock(clock.clone())
        .build();
    (registry, clock)
}

/// Takes it down, and lets its down time pass.
fn make_due(registry: &Registry, clock: &ManualClock) {
    (0..3).for_each(|_| registry.add_fall_down(address()));
    clock.advance(registry.status(&address()).retry_in.unwrap());
    assert_eq!(registry.status(&address()).state, State::ProbeDue);
}

/// Answers what it is asked for, and counts the calls.
#[derive(Clone, Default)]
struct Echo(Arc<AtomicUsize>);

/// What is asked for: an answer, or an error of that kind.
type Wanted = Result<u32, io::ErrorKind>;

impl Echo {
    fn calls(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Service<Wanted> for Echo {
    type Response = u32;
    type Error = io::Error;
    type Future = Ready<io::Result<u32>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, wanted: Wanted) -> Self::Future {
        self.0.fetch_add(1, Ordering::Relaxed);
        ready(wanted.map_err(io::Error::from))
    }
}

/// Never answers.
#[derive(Clone)]
struct Silent;

impl Service<()> for Silent {
    type Response = ();
    type Error = io::Error;
    type Future = std::future::Pending<io::Result<()>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        std::future::pending()
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn now<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

fn denied(answer: Result<u32, risefall::tower::BoxError>) -> Denied {
    *Denied::of(&*answer.unwrap_err()).expect("denied")
}

#[test]
fn the_fourth_call_of_a_failing_peer_is_denied_without_a_call() {
    let (registry, _) = registry();
    let echo = Echo::default();
    let layer = HealthLayer::new(registry.endpoint(address()));
    let mut service = layer.layer(echo.clone());
    for _ in 0..3 {
        let error = now(service.call(Err(io::ErrorKind::ConnectionReset))).unwrap_err();
        let inner = error.downcast_ref::<io::Error>().expect("as it was");
        assert_eq!(inner.kind(), io::ErrorKind::ConnectionReset);
    }
    let denied = denied(now(service.call(Ok(1))));
    assert_eq!(echo.calls(), 3);
    assert_eq!(denied.status().address, address());
    assert_eq!(denied.status().state, State::Down);
    assert_eq!(denied.status().last_failure.unwrap().cause, Cause::Reset);
    let left = registry.status(&address()).retry_in.unwrap();
    assert_eq!(denied.retry_in(), Some(left));
    // Up to a tenth is added to a down time.
    assert!((60..=67).contains(&denied.retry_after().unwrap()));
    let text = denied.to_string();
    assert!(
        text.starts_with("health check falldown: 192.0.2.1:80 down"),
        "{text}"
    );
}

#[test]
fn readiness_is_the_inner_service_s_and_asks_nobody() {
    let (registry, clock) = registry();
    let mut service = HealthLayer::new(registry.endpoint(address())).layer(Echo::default());
    make_due(&registry, &clock);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        let ready = Service::<Wanted>::poll_ready(&mut service, &mut context);
        assert!(matches!(ready, Poll::Ready(Ok(()))));
    }
    assert_eq!(registry.status(&address()).state, State::ProbeDue);
}

#[test]
fn answers_end_a_streak_and_what_is_nobody_s_fault_does_not() {
    let (registry, _) = registry();
    let mut service = HealthLayer::new(registry.endpoint(address())).layer(Echo::default());
    let failures = || registry.status(&address()).failures;
    for _ in 0..2 {
        now(service.call(Err(io::ErrorKind::TimedOut))).unwrap_err();
    }
    now(service.call(Err(io::ErrorKind::OutOfMemory))).unwrap_err();
    assert_eq!(failures(), 2);
    assert_eq!(now(service.call(Ok(7))).unwrap(), 7);
    assert_eq!(failures(), 0);
    assert_eq!(
        registry.status(&address()).usual,
        None,
        "a call is no connect"
    );
}

#[test]
fn two_probes_bring_it_up_and_a_failed_one_takes_it_down_for_longer() {
    let (registry, clock) = registry();
    let mut service = HealthLayer::new(registry.endpoint(address())).layer(Echo::default());
    make_due(&registry, &clock);
    now(service.call(Err(io::ErrorKind::ConnectionReset))).unwrap_err();
    let status = registry.status(&address());
    assert_eq!((status.state, status.trips), (State::Down, 2));
    clock.advance(status.retry_in.unwrap());
    for successes in 0..2 {
        assert_eq!(registry.status(&address()).successes, successes);
        now(service.call(Ok(1))).unwrap();
    }
    assert_eq!(registry.status(&address()).state, State::Up);
}

#[test]
fn of_many_callers_at_expiry_one_is_let_through() {
    let (registry, clock) = registry();
    let layer = HealthLayer::new(registry.endpoint(address()));
    make_due(&registry, &clock);
    let calling = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let mut service = layer.layer(Silent);
            let calling = &calling;
            scope.spawn(move || {
                for _ in 0..100 {
                    let mut call = service.call(());
                    match poll(&mut call) {
                        Poll::Pending => calling.lock().unwrap().push(call),
                        Poll::Ready(answer) => {
                            let error = answer.unwrap_err();
                            let state = Denied::of(&*error).unwrap().status().state;
                            assert_eq!(state, State::Probing);
                        }
                    }
                }
            });
        }
    });
    assert_eq!(calling.into_inner().unwrap().len(), 1);
}

#[test]
fn a_dropped_call_gives_its_permit_back_however_long_it_took() {
    for waited in [0, 1, 9] {
        let (registry, clock) = registry();
        let mut service = HealthLayer::new(registry.endpoint(address())).layer(Silent);
        make_due(&registry, &clock);
        let mut call = service.call(());
        assert!(poll(&mut call).is_pending());
        assert_eq!(registry.status(&address()).state, State::Probing);
        clock.advance(SECOND * waited);
        drop(call);
        let status = registry.status(&address());
        assert_eq!(
            (status.state, status.trips),
            (State::ProbeDue, 1),
            "{waited} s"
        );
        // An ordinary call says nothing, either.
        registry.reset(address());
        let mut call = service.call(());
        assert!(poll(&mut call).is_pending());
        clock.advance(SECOND * waited);
        drop(call);
        assert_eq!(registry.status(&address()).failures, 0, "{waited} s");
    }
}

#[test]
fn with_a_limit_a_silent_call_that_is_dropped_is_a_failure() {
    let (registry, clock) = registry();
    let layer = HealthLayer::new(registry.endpoint(address())).stall_after(SECOND * 5);
    let mut service = layer.layer(Silent);
    for (waited, failures) in [(4, 0), (5, 1), (6, 2)] {
        let mut call = service.call(());
        assert!(poll(&mut call).is_pending());
        clock.advance(SECOND * waited);
        drop(call);
        assert_eq!(registry.status(&address()).failures, failures);
    }
    let last = registry.status(&address()).last_failure.unwrap();
    assert_eq!(last.cause, Cause::Stalled);
}

#[test]
fn a_straggler_from_before_a_trip_changes_nothing() {
    let (registry, clock) = registry();
    let peer = Peer::at(&registry, address());
    let straggler = peer.call().unwrap();
    make_due(&registry, &clock);
    let before = registry.status(&address());
    straggler.end(Outcome::Failed(Cause::Reset));
    assert_eq!(registry.status(&address()), before);
}

#[test]
fn whom_a_call_goes_to_may_depend_on_the_request() {
    let (registry, _) = registry();
    let echo = Echo::default();
    let judged = registry.clone();
    // Odd ones go to the peer, even ones to nobody who is judged.
    let layer = HealthLayer::by_request(move |wanted: &Wanted| {
        let is_judged = wanted.map_or(true, |number| number % 2 == 1);
        is_judged.then(|| Peer::at(&judged, address()))
    });
    let mut service = layer.layer(echo.clone());
    assert!(registry.is_empty(), "nothing is pinned");
    for _ in 0..3 {
        now(service.call(Err(io::ErrorKind::ConnectionRefused))).unwrap_err();
    }
    denied(now(service.call(Ok(1))));
    assert_eq!(now(service.call(Ok(2))).unwrap(), 2);
    assert_eq!(echo.calls(), 4);
}

#[test]
fn a_function_judges_answers_and_errors() {
    let (registry, _) = registry();
    let layer = HealthLayer::new(registry.endpoint(address())).classify(
        |result: Result<&u32, &(dyn Error + 'static)>| match result {
            Ok(500) => Outcome::Failed(Cause::Reported),
            Ok(_) => Outcome::Success,
            Err(error) => outcome_of(error),
        },
    );
    let mut service = layer.layer(Echo::default());
    now(service.call(Ok(500))).unwrap();
    now(service.call(Err(io::ErrorKind::ConnectionReset))).unwrap_err();
    assert_eq!(registry.status(&address()).failures, 2);
    now(service.call(Ok(200))).unwrap();
    assert_eq!(registry.status(&address()).failures, 0);
}

#[test]
fn a_denial_of_a_layer_inside_is_not_told_again() {
    let (registry, _) = registry();
    let outer = SocketAddr::from(([192, 0, 2, 9], 80));
    let inner = HealthLayer::new(registry.endpoint(address())).layer(Echo::default());
    let mut service = HealthLayer::new(registry.endpoint(outer)).layer(inner);
    (0..3).for_each(|_| registry.add_fall_down(address()));
    for _ in 0..4 {
        let denied = denied(now(service.call(Ok(1))));
        assert_eq!(denied.status().address, address());
    }
    assert_eq!(registry.status(&outer).failures, 0);
}

#[test]
fn what_crosses_threads_may() {
    fn crosses<T: Send + Sync + 'static>() {}
    fn locates<L: Locate<()>>() {}
    crosses::<Call>();
    crosses::<Denied>();
    crosses::<Health<Echo, Peer>>();
    locates::<Peer>();
}
