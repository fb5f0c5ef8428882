//! A tower layer that asks before each call and reports how it ended (feature `tower`).
//!
//! ```
//! use risefall::tower::{Denied, HealthLayer};
//! use risefall::{Policy, Registry};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let registry = Registry::new(Policy::default());
//! let endpoint = registry.endpoint("192.0.2.7:443".parse().unwrap());
//! let mut service = ServiceBuilder::new()
//!     .layer(HealthLayer::new(endpoint))
//!     .service(service_fn(|_request: &str| async {
//!         Err::<(), _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
//!     }));
//!
//! for _ in 0..3 {
//!     service.ready().await.unwrap().call("hello").await.unwrap_err();
//! }
//! // Three in a row: the service is not called any more.
//! let error = service.ready().await.unwrap().call("hello").await.unwrap_err();
//! let denied = Denied::of(&*error).unwrap();
//! assert_eq!(denied.status().failures, 3);
//! println!("again in {:?}", denied.retry_in()); // a minute
//! # }
//! ```
//!
//! # When it asks
//!
//! In `call`, which answers at once with [`Denied`] if the peer is down. `poll_ready` is the inner
//! service's alone, because none of its answers fits:
//!
//! - *Pending* would have to wake somebody when the down time is over. Callers would queue up
//!   meanwhile, without a bound, and all of them wake at once: the herd that probation is to prevent.
//! - *An error* means that the service is finished and is to be thrown away; a peer that is down
//!   comes back.
//! - *Ready* with a permit taken would let a caller that becomes ready, and then never calls, keep
//!   the one probe that everybody waits for.
//!
//! Errors of the inner service's `poll_ready` are handed on and count against nobody: there was no
//! call. Whoever balances over several services asks their [`Endpoint`](crate::Endpoint)s before
//! choosing.
//!
//! # What it reports
//!
//! What a [`Classify`] makes of answers and errors; by default every answer is a success, and errors
//! are judged by [`outcome_of`]. For HTTP and gRPC there are `HttpStatus` and `GrpcStatus` (feature
//! `http`), which also watch the body to its end.
//!
//! The error is a boxed one, as in most of tower: an error of the inner service stays what it is, for
//! those who downcast; [`Denied::of`] finds ours.
//!
//! # One registry or two
//!
//! What a server *answers* and whether it can be *reached* are different evidence. A registry that
//! dials (as `HealthConnector` does) forgets a streak of bad answers with
//! each new connection. Give the layer a registry of its own, whose policy lets answers count:
//!
//! ```
//! use risefall::{Policy, Recovery, Registry, Weight};
//!
//! # fn main() -> Result<(), risefall::PolicyError> {
//! let services = Registry::new(
//!     Policy::builder()
//!         .weigh_answers(Weight::Count)
//!         .recovery(Recovery::PROBE)
//!         .build()?,
//! );
//! # Ok(()) }
//! ```
//!
//! # Cancel safety
//!
//! Dropping a call's future, or a body before its end, says nothing of the peer and gives a probe's
//! permit back; see [`Call`] and [`HealthLayer::stall_after`].

mod call;
mod classify;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod watched;

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

pub use self::call::{Call, Denied, Peer};
pub use self::classify::{ByError, Classify, outcome_of};
#[cfg(feature = "http")]
pub use self::http::{GrpcStatus, HttpStatus};
#[cfg(feature = "http")]
pub use self::watched::Watched;

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Wraps services so that each call asks whether its peer is down, and tells how it ended.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until a service is wrapped in it"]
pub struct HealthLayer<L, C = ByError> {
    asking: Asking<L, C>,
}

/// What a layer and its services have in common.
#[derive(Clone, Debug)]
struct Asking<L, C> {
    locate: L,
    classify: C,
    stall_after: Option<Duration>,
}

impl HealthLayer<Peer> {
    /// Every call goes to that peer: an [`Endpoint`](crate::Endpoint), or an address of a registry
    /// ([`Peer::at`]).
    pub fn new(peer: impl Into<Peer>) -> Self {
        Self::asking(peer.into())
    }
}

impl<L> HealthLayer<L> {
    /// Whom a call goes to depends on the request.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use risefall::tower::{HealthLayer, Peer};
    /// use risefall::{Policy, Registry};
    ///
    /// struct Request {
    ///     to: Option<SocketAddr>,
    /// }
    ///
    /// let registry = Registry::new(Policy::default());
    /// let layer = HealthLayer::by_request(move |request: &Request| {
    ///     request.to.map(|address| Peer::at(&registry, address))
    /// });
    /// # let _ = layer;
    /// ```
    pub fn by_request<R>(locate: L) -> Self
    where
        L: Locate<R>,
    {
        Self::asking(locate)
    }

    fn asking(locate: L) -> Self {
        let asking = Asking {
            locate,
            classify: ByError,
            stall_after: None,
        };
        Self { asking }
    }
}

impl<L, C> HealthLayer<L, C> {
    /// Judges answers and errors by that. Default: [`ByError`].
    pub fn classify<D>(self, classify: D) -> HealthLayer<L, D> {
        let Asking {
            locate,
            stall_after,
            ..
        } = self.asking;
        let asking = Asking {
            locate,
            classify,
            stall_after,
        };
        HealthLayer { asking }
    }

    /// A call that is dropped after so long without an answer is a failure. Default: never, since
    /// a dropped call may be anybody's doing.
    ///
    /// For callers that time out by dropping (a timeout *outside* of this layer). It should be less
    /// than their timeout, and more than any honest answer takes. A timeout *inside* of this layer
    /// is an error like another, for the classifier to judge.
    pub fn stall_after(mut self, time: Duration) -> Self {
        self.asking.stall_after = Some(time);
        self
    }
}

impl<S, L: Clone, C: Clone> Layer<S> for HealthLayer<L, C> {
    type Service = Health<S, L, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let asking = self.asking.clone();
        Health { inner, asking }
    }
}

/// Whom a request goes to.
///
/// Implemented for a [`Peer`], whatever the request, and for functions of the request.
pub trait Locate<R> {
    /// The peer; `None` if it is nobody who is judged, and the call goes ahead.
    fn locate(&self, request: &R) -> Option<Peer>;
}

impl<R> Locate<R> for Peer {
    fn locate(&self, _: &R) -> Option<Peer> {
        Some(self.clone())
    }
}

impl<R, F: Fn(&R) -> Option<Peer>> Locate<R> for F {
    fn locate(&self, request: &R) -> Option<Peer> {
        self(request)
    }
}

/// A service that asks before each call. From a [`HealthLayer`].
#[derive(Clone, Debug)]
pub struct Health<S, L, C = ByError> {
    inner: S,
    asking: Asking<L, C>,
}

impl<S, L, C> Health<S, L, C> {
    /// The service inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<R, S, L, C> Service<R> for Health<S, L, C>
where
    S: Service<R>,
    S::Error: Into<BoxError>,
    L: Locate<R>,
    C: Classify<S::Response> + Clone,
{
    type Response = C::Answer;
    type Error = BoxError;
    type Future = Calling<S::Future, C>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let call = match self.asking.locate.locate(&request) {
            Some(peer) => peer.call(),
            None => Ok(Call::unjudged()),
        };
        let state = match call {
            Ok(call) => State::Calling {
                future: self.inner.call(request),
                call: Some(call.stalls_after(self.asking.stall_after)),
                classify: self.asking.classify.clone(),
            },
            Err(denied) => State::Denied {
                denied: Some(denied),
            },
        };
        Calling { state }
    }
}

pin_project! {
    /// One call of a [`Health`] service.
    ///
    /// # Cancel safety
    ///
    /// Dropping it says nothing of the peer, and gives a probe's permit back; after the layer's
    /// `stall_after`, if it has one, it is a failure.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Calling<F, C> {
        #[pin]
        state: State<F, C>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProjected]
    enum State<F, C> {
        Calling {
            #[pin]
            future: F,
            // `None` when it is over.
            call: Option<Call>,
            classify: C,
        },
        Denied {
            // `None` when it is over.
            denied: Option<Denied>,
        },
    }
}

impl<F, C, A, E> Future for Calling<F, C>
where
    F: Future<Output = Result<A, E>>,
    E: Into<BoxError>,
    C: Classify<A>,
{
    type Output = Result<C::Answer, BoxError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjected::Calling {
                future,
                call,
                classify,
            } => {
                if call.is_none() {
                    return Poll::Pending;
                }
                let answer = ready!(future.poll(context));
                // It was there above.
                let call = call.take().unwrap_or_else(Call::unjudged);
                Poll::Ready(match answer {
                    Ok(answer) => Ok(classify.answered(answer, call)),
                    Err(error) => {
                        let error = error.into();
                        call.end(classify.failed(&*error));
                        Err(error)
                    }
                })
            }
            StateProjected::Denied { denied } => match denied.take() {
                Some(denied) => Poll::Ready(Err(denied.into())),
                None => Poll::Pending,
            },
        }
    }
}
