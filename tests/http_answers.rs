//! HTTP and gRPC answers judged by their status and the end of their bodies.
#![cfg(feature = "http")]
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, Response};
use http_body::{Body, Frame};
use hyper::body::Bytes;
use risefall::tower::{Classify, GrpcStatus, HealthLayer, HttpStatus, Watched};
use risefall::{Cause, ManualClock, Policy, Recovery, Registry, State, Weight};
use tower::{Layer, Service};

fn address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 80))
}

/// A body by script; what is not scripted is waited for.
#[derive(Clone, Debug)]
struct Script(VecDeque<Step>);

#[derive(Clone, Debug)]
enum Step {
    Data,
    Trailers(&'static str),
    Breaks,
    BreaksBy(io::ErrorKind),
    Ends,
}
use Step::{Breaks, BreaksBy, Data, Ends, Trailers};

#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("broken off")]
    Broken,
    #[error("io")]
    Io(#[source] io::Error),
}

impl Body for Script {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(step) = self.0.pop_front() else {
            return Poll::Pending;
        };
        Poll::Ready(match step {
            Data => Some(Ok(Frame::data(Bytes::from_static(b"text")))),
            Trailers(code) => {
                let code = code.parse().unwrap();
                let trailers = HeaderMap::from_iter([(GRPC_STATUS, code)]);
                Some(Ok(Frame::trailers(trailers)))
            }
            Breaks => Some(Err(BodyError::Broken)),
            BreaksBy(kind) => Some(Err(BodyError::Io(kind.into()))),
            Ends => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0.front(), Some(Ends))
    }
}

const GRPC_STATUS: http::HeaderName = http::HeaderName::from_static("grpc-status");

/// Answers with what it is sent.
#[derive(Clone)]
struct Mirror;

impl Service<Response<Script>> for Mirror {
    type Response = Response<Script>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Script>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, response: Response<Script>) -> Self::Future {
        ready(Ok(response))
    }
}

struct World {
    registry: Registry,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let policy = Policy::builder()
            .recovery(Recovery::PROBE)
            .weigh_answers(Weight::Count);
        let registry = Registry::builder().policy(policy.build().unwrap());
        let registry = registry.clock(clock.clone()).build();
        Self { registry, clock }
    }

    fn failures(&self) -> (u8, Option<Cause>) {
        let status = self.registry.status(&address());
        (status.failures, status.last_failure.map(|last| last.cause))
    }

    fn make_due(&self) {
        (0..3).for_each(|_| self.registry.add_fall_down(address()));
        let left = self.registry.status(&address()).retry_in.unwrap();
        self.clock.advance(left);
    }

    /// What the layer makes of an answer.
    fn answer<C>(&self, judge: C, status: u16, body: &[Step]) -> Response<Watched<Script>>
    where
        C: Classify<Response<Script>, Answer = Response<Watched<Script>>> + Clone,
    {
        let endpoint = self.registry.endpoint(address());
        let mut service = HealthLayer::new(endpoint).classify(judge).layer(Mirror);
        let body = Script(body.iter().cloned().collect());
        let response = Response::builder().status(status).body(body).unwrap();
        let mut future = std::pin::pin!(service.call(response));
        match future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(answer) => answer.unwrap(),
            Poll::Pending => panic!("it waits"),
        }
    }
}

/// Reads until the body ends, breaks or has to be waited for.
fn read(body: &mut Watched<Script>) {
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(Ok(_))) = Pin::new(&mut *body).poll_frame(&mut context) {}
}

/// Two failures, one answer read as far as it goes, and dropped: what is held against the peer then.
fn after<C>(judge: C, body: &[Step]) -> (u8, Option<Cause>)
where
    C: Classify<Response<Script>, Answer = Response<Watched<Script>>> + Clone,
{
    let world = World::new();
    (0..2).for_each(|_| world.registry.add_fall_down(address()));
    let mut body = world.answer(judge, 200, body).into_body();
    if !body.is_end_stream() {
        assert_eq!(world.failures().0, 2, "told by the body, not before");
    }
    read(&mut body);
    drop(body);
    world.failures()
}

#[test]
fn a_body_tells_by_its_end() {
    let reset = (3, Some(Cause::Reset));
    let nothing = (2, Some(Cause::Reported));
    for (body, told) in [
        (&[Data, Data, Ends][..], 0),
        (&[Ends], 0),
        (&[Trailers("14"), Ends], 0),
        (&[Data, Breaks], 3),
        (&[Breaks], 3),
        (&[Data], 2),
        (&[], 2),
    ] {
        let failures = after(HttpStatus::new(), body);
        assert_eq!(failures.0, told, "{body:?}");
        match told {
            3 => assert_eq!(failures, reset, "{body:?}"),
            2 => assert_eq!(failures, nothing, "{body:?}"),
            _ => {}
        }
    }
    let slow = after(HttpStatus::new(), &[BreaksBy(io::ErrorKind::TimedOut)]);
    assert_eq!(slow, (3, Some(Cause::TimedOut)));
}

#[test]
fn a_body_that_nobody_waits_for_was_good() {
    for polls in [0, 1] {
        let world = World::new();
        world.registry.add_fall_down(address());
        let mut body = world.answer(HttpStatus::new(), 200, &[Data]).into_body();
        for _ in 0..polls {
            let mut context = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut body).poll_frame(&mut context).is_ready());
        }
        drop(body);
        assert_eq!(world.failures().0, 0, "{polls} polls");
    }
}

#[test]
fn a_bad_status_is_told_once_whatever_the_body_does() {
    for body in [&[Data, Ends][..], &[Breaks], &[]] {
        let world = World::new();
        let mut body = world.answer(HttpStatus::new(), 503, body).into_body();
        assert_eq!(world.failures(), (1, Some(Cause::BadGateway)));
        read(&mut body);
        drop(body);
        assert_eq!(world.failures(), (1, Some(Cause::BadGateway)));
    }
}

#[test]
fn a_server_that_asks_for_it_is_set_aside() {
    let world = World::new();
    let endpoint = world.registry.endpoint(address());
    let mut service = HealthLayer::new(endpoint)
        .classify(HttpStatus::new())
        .layer(Mirror);
    let response = || {
        let response = Response::builder().status(429).header("retry-after", "30");
        response.body(Script(VecDeque::new())).unwrap()
    };
    drop(service.call(response()).output_now());
    let status = world.registry.status(&address());
    assert_eq!((status.state, status.failures), (State::SetAside, 0));
    let error = service.call(response()).output_now().unwrap_err();
    let denied = risefall::tower::Denied::of(&*error).unwrap();
    // Kept to within a sixteenth, rounded up.
    assert!((30..=32).contains(&denied.retry_after().unwrap()));
}

/// The answer of a future that is ready.
trait OutputNow: Future + Sized {
    fn output_now(self) -> Self::Output {
        let mut future = std::pin::pin!(self);
        match future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it waits"),
        }
    }
}

impl<F: Future> OutputNow for F {}

#[test]
fn a_probe_is_told_by_the_head_and_its_body_only_if_it_breaks() {
    let world = World::new();
    world.make_due();
    let endless = world.answer(HttpStatus::new(), 200, &[Data]);
    assert_eq!(world.registry.status(&address()).successes, 1);
    let mut whole = world
        .answer(HttpStatus::new(), 200, &[Data, Ends])
        .into_body();
    assert_eq!(world.registry.status(&address()).state, State::Up);
    read(&mut whole);
    drop((whole, endless));
    assert_eq!(world.failures().0, 0);

    let world = World::new();
    world.make_due();
    let mut body = world
        .answer(HttpStatus::new(), 200, &[Data, Ends])
        .into_body();
    read(&mut body);
    let successes = world.registry.status(&address()).successes;
    assert_eq!(successes, 1, "one probe counts once");
    world.registry.add_rise_up(address());
    let mut broken = world
        .answer(HttpStatus::new(), 200, &[Data, Breaks])
        .into_body();
    read(&mut broken);
    assert_eq!(world.failures(), (1, Some(Cause::Reset)));
}

#[test]
fn grpc_is_judged_by_its_trailers() {
    for (body, told) in [
        (&[Data, Trailers("0")][..], (0, None)),
        (&[Data, Trailers("14")], (3, Some(Cause::BadGateway))),
        (&[Data, Trailers("14"), Ends], (3, Some(Cause::BadGateway))),
        (&[Data, Trailers("4")], (3, Some(Cause::Slow))),
        (&[Data, Trailers("1")], (2, Some(Cause::Reported))),
        (&[Data, Trailers("5")], (0, None)),
        (&[Data, Trailers("none")], (3, Some(Cause::Reset))),
        (&[Data, Ends], (3, Some(Cause::Reset))),
        (&[Data, Breaks], (3, Some(Cause::Reset))),
        (&[Data], (2, Some(Cause::Reported))),
    ] {
        let (failures, cause) = after(GrpcStatus::new(), body);
        assert_eq!(failures, told.0, "{body:?}");
        if failures > 0 {
            assert_eq!(cause, told.1, "{body:?}");
        }
    }
}

#[test]
fn a_head_may_stand_for_trailers_and_another_status_for_itself() {
    let world = World::new();
    let endpoint = world.registry.endpoint(address());
    let mut service = HealthLayer::new(endpoint)
        .classify(GrpcStatus::new())
        .layer(Mirror);
    let response = Response::builder().header(GRPC_STATUS, "14");
    let response = response.body(Script([Ends].into())).unwrap();
    drop(service.call(response).output_now());
    assert_eq!(world.failures(), (1, Some(Cause::BadGateway)));
    drop(world.answer(GrpcStatus::new(), 502, &[]));
    assert_eq!(world.failures(), (2, Some(Cause::BadGateway)));
}
