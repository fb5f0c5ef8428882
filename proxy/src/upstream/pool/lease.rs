//! A connection while a request has it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::body::{Body as _, Bytes, Frame, Incoming};
use hyper::client::conn::{TrySendError, http1};
use hyper::{Request, Response};
use risefall::Outcome;

use super::pace::Wait;
use super::wire::Wire;
use super::{Driver, Shareable, Shared, Shelf};
use crate::net::ticks::{Ticks, Watch};
use crate::upstream::evidence::Right;
use crate::upstream::member::Busy;
use crate::upstream::upload::Upload;

/// A connection, for one request.
pub struct Lease {
    /// In its box from the pool to the pool: what is moved about is small.
    pub(super) held: Box<Held>,
    pub(super) shelf: Rc<Shelf>,
    pub(super) pool: Rc<Shared>,
}

/// What a [`Lease`] is of.
pub struct Held {
    /// Where it leads.
    pub address: SocketAddr,
    /// Whether it has served a request before: if so, its server may close it at any moment.
    pub is_reused: bool,
    /// The server of a group that this request keeps busy.
    pub busy: Option<Busy>,
    /// By what right the request is sent there, until it is told how it went.
    pub right: Option<Right>,
    way: Way,
}

pub(super) enum Way {
    H1(Single),
    H2(Turn),
}

/// A connection that speaks HTTP/1.
pub(super) struct Single {
    pub(super) sender: http1::SendRequest<Upload>,
    pub(super) wire: Rc<Wire>,
    pub(super) wait: Wait,
    /// The tick at which it came.
    pub(super) since: u64,
    pub(super) _driver: Driver,
}

/// One request of a connection that has many.
pub(super) struct Turn {
    pub(super) connection: Rc<Shareable>,
    pub(super) ticks: Ticks,
}

impl Deref for Lease {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.held
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Held {
        &mut self.held
    }
}

impl Held {
    pub(super) fn new(address: SocketAddr, is_reused: bool, way: Way) -> Box<Self> {
        Box::new(Self {
            address,
            is_reused,
            busy: None,
            right: None,
            way,
        })
    }

    /// Whether it speaks HTTP/2.
    #[must_use]
    pub fn is_h2(&self) -> bool {
        matches!(self.way, Way::H2(_))
    }

    /// Whether it takes a request now, as far as is known.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.way {
            Way::H1(single) => single.sender.is_ready(),
            Way::H2(turn) => turn.connection.sender.is_ready(),
        }
    }

    /// Has no other request sent over the connection, if it has many: what it leads to has not
    /// answered, and may be gone.
    pub fn retire(&self) {
        if let Way::H2(turn) = &self.way {
            turn.connection.is_retired.set(true);
        }
    }

    /// Has whoever waits for the answer do the connection's work as well, if it speaks HTTP/1: its
    /// task need not be woken then. Not for a request with a body, which has to go on while nobody
    /// takes the answer, nor for one that may leave HTTP.
    pub fn attend(&self) {
        if let Way::H1(single) = &self.way {
            single.wire.borrow();
        }
    }

    /// Sends the request that it has written, and waits for the head of the answer; no longer than
    /// `watch` says.
    ///
    /// # Errors
    ///
    /// Those of the engine; the request comes back if nothing of it was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the request up; over HTTP/1 the connection with it, once the lease is
    /// dropped.
    pub async fn send(
        &mut self,
        watch: &Watch,
        write: impl FnOnce() -> Request<Upload>,
    ) -> Option<Result<Response<Incoming>, TrySendError<Request<Upload>>>> {
        match &mut self.way {
            Way::H1(single) => {
                // Written in that moment, because it is large and is not moved about.
                let mut sent = pin!(single.sender.try_send_request(write()));
                let wire = &single.wire;
                single.wait.begin();
                let sent = poll_fn(|cx| {
                    let sent = match wire.is_borrowed() {
                        true => wire.poll_for(cx, |cx| sent.as_mut().poll(cx)),
                        false => sent.as_mut().poll(cx),
                    };
                    match sent {
                        Poll::Ready(sent) => Poll::Ready(Some(sent)),
                        Poll::Pending => watch.poll_due(cx).map(|()| None),
                    }
                });
                let sent = sent.await;
                single.wait.end();
                sent
            }
            Way::H2(turn) => {
                let mut sender = turn.connection.sender.clone();
                watch
                    .guard(Box::pin(sender.try_send_request(write())))
                    .await
            }
        }
    }

    /// The next part of `body`, which is the answer's.
    pub fn poll_frame(
        &self,
        mut body: Pin<&mut Incoming>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match &self.way {
            Way::H1(Single { wire, .. }) if wire.is_borrowed() => {
                wire.poll_for_more(cx, |cx| body.as_mut().poll_frame(cx))
            }
            _ => body.poll_frame(cx),
        }
    }

    /// Tells the server's evidence how the request went, unless that was told before.
    pub fn end(&mut self, outcome: Outcome) {
        if let (Some(right), Some(busy)) = (self.right.take(), &self.busy) {
            busy.end(right, outcome);
        }
    }

    /// The tick at which it came to lie idle.
    pub(super) fn since(&self) -> u64 {
        match &self.way {
            Way::H1(single) => single.since,
            Way::H2(turn) => turn.connection.since.get(),
        }
    }
}

impl Lease {
    /// Keeps the connection for another request, if it is fit for one and there is room.
    ///
    /// The engine is ready when both messages have ended well and neither side asked to close.
    pub fn give_back(mut self) {
        self.end(Outcome::Success);
        // Whoever waits for its end may well want the connection.
        let _busy = self.busy.take();
        let Self {
            mut held,
            shelf,
            pool,
        } = self;
        let Way::H1(single) = &mut held.way else {
            return;
        };
        let limits = pool.limits.get();
        if !single.sender.is_ready() || pool.count.get() >= limits.total {
            return;
        }
        single.wire.give_back();
        single.since = pool.ticks.now();
        held.is_reused = true;
        let mut idle = shelf.idle.borrow_mut();
        if idle.len() < limits.per_origin {
            idle.push(held);
            pool.count.set(pool.count.get() + 1);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let requests = &self.connection.requests;
        requests.set(requests.get().saturating_sub(1));
        self.connection.since.set(self.ticks.now());
    }
}
