//! Open connections to servers, kept between requests.
//!
//! One pool for each worker, so nothing is locked or shared between cores. A connection is keyed by
//! whom it was dialled for: an authority as a client spelled it, or a server of a group. Looking one
//! up costs a hash and no allocation. The connection used last is used next, so that the others grow
//! old and go.
//!
//! A [`Lease`] is a connection while a request has it. One that speaks HTTP/1 has one request at a
//! time: it comes back by [`Lease::give_back`], which keeps it only if the engine says that it is
//! ready for another; a lease that is dropped closes it. One that speaks HTTP/2 has many at a time
//! and stays in the pool meanwhile.
//!
//! The task that drives a connection ends with the last that holds it: it has no deadline of its
//! own, and one that writes to a server which has stopped reading would stay for ever.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::Executor;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use risefall::Outcome;
use tokio::task::AbortHandle;

use crate::net::stream::Stream;
use crate::net::ticks::{Span, Ticks};
use crate::upstream::evidence::Right;
use crate::upstream::member::Busy;
use crate::upstream::upload::Upload;

/// One worker's open connections.
#[derive(Clone)]
pub struct Pool {
    shared: Rc<Shared>,
}

/// A connection, for one request.
pub struct Lease {
    /// Where it leads.
    pub address: SocketAddr,
    /// Whether it has served a request before: if so, its server may close it at any moment.
    pub is_reused: bool,
    /// The server of a group that this request keeps busy.
    pub busy: Option<Busy>,
    /// By what right the request is sent there, until it is told how it went.
    pub right: Option<Right>,
    way: LeasedWay,
    pool: Rc<Shared>,
}

enum LeasedWay {
    H1(Single),
    H2(Turn),
}

/// A connection that speaks HTTP/1.
struct Single {
    sender: http1::SendRequest<Upload>,
    key: Rc<str>,
    address: SocketAddr,
    /// The tick at which it came.
    since: u64,
    _driver: Driver,
}

/// A connection that speaks HTTP/2.
struct Shareable {
    sender: http2::SendRequest<Upload>,
    address: SocketAddr,
    requests: Cell<usize>,
    /// Whether it takes no more: its server has left a request without an answer.
    is_retired: Cell<bool>,
    /// Requests that the server takes at a time.
    most: Rc<Cell<usize>>,
    /// The tick at which the last request ended.
    since: Cell<u64>,
    _driver: Driver,
}

/// One request of a connection that has many.
struct Turn {
    connection: Rc<Shareable>,
    ticks: Ticks,
}

/// The task that drives a connection. Ends when this is dropped, and the socket with it.
struct Driver(AbortHandle);

struct Shared {
    /// Emptied lists stay until the next `reap`, with their room: the next lease comes soon.
    idle: RefCell<HashMap<Rc<str>, Vec<Single>>>,
    /// The sum of the lists' lengths.
    count: Cell<usize>,
    shareable: RefCell<HashMap<Rc<str>, Vec<Rc<Shareable>>>>,
    limits: Cell<PoolLimits>,
    ticks: Ticks,
    h1: http1::Builder,
    h2: http2::Builder<Local>,
}

/// How much a pool keeps, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Idle connections to one origin.
    pub per_origin: usize,
    /// Idle connections in all.
    pub total: usize,
    /// How long an unused connection is kept.
    pub idle: Span,
}

/// Runs what an engine has to do beside a connection on the worker's own thread.
#[derive(Clone, Copy, Debug)]
pub struct Local;

impl<F> Executor<F> for Local
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: PoolLimits, ticks: Ticks) -> Self {
        let mut h2 = http2::Builder::new(Local);
        h2.initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD_MOST)
            .max_frame_size(FRAME);
        let shared = Shared {
            idle: RefCell::default(),
            count: Cell::new(0),
            shareable: RefCell::default(),
            limits: Cell::new(limits),
            ticks,
            h1: http1::Builder::new(),
            h2,
        };
        Self {
            shared: Rc::new(shared),
        }
    }

    /// An open connection of `key` that takes a request now, if there is one.
    #[must_use]
    pub fn take(&self, key: &str) -> Option<Lease> {
        self.take_single(key).or_else(|| self.take_turn(key))
    }

    /// The same, of those that speak HTTP/1 and so can leave it.
    #[must_use]
    pub fn take_single(&self, key: &str) -> Option<Lease> {
        let mut idle = self.shared.idle.borrow_mut();
        let list = idle.get_mut(key)?;
        while let Some(one) = list.pop() {
            self.shared.count.set(self.shared.count.get() - 1);
            if one.sender.is_ready() {
                return Some(self.lease(one.address, true, LeasedWay::H1(one)));
            }
        }
        None
    }

    fn take_turn(&self, key: &str) -> Option<Lease> {
        let mut shareable = self.shared.shareable.borrow_mut();
        let list = shareable.get_mut(key)?;
        list.retain(|one| !one.sender.is_closed());
        let free = list.iter().find(|one| one.has_room())?;
        Some(self.lease(free.address, true, LeasedWay::H2(self.turn(free))))
    }

    fn turn(&self, connection: &Rc<Shareable>) -> Turn {
        connection.requests.set(connection.requests.get() + 1);
        Turn {
            connection: Rc::clone(connection),
            ticks: self.shared.ticks.clone(),
        }
    }

    fn lease(&self, address: SocketAddr, is_reused: bool, way: LeasedWay) -> Lease {
        Lease {
            address,
            is_reused,
            busy: None,
            right: None,
            way,
            pool: Rc::clone(&self.shared),
        }
    }

    /// Makes a fresh connection that speaks HTTP/1 ready for requests and has a task drive it.
    ///
    /// # Errors
    ///
    /// Those of the engine.
    pub async fn adopt(
        &self,
        key: &str,
        stream: Stream,
        address: SocketAddr,
    ) -> hyper::Result<Lease> {
        let io = TokioIo::new(stream);
        let (sender, connection) = self.shared.h1.handshake::<_, Upload>(io).await?;
        let driver = drive(address, connection.with_upgrades());
        let single = Single {
            sender,
            key: key.into(),
            address,
            since: self.shared.ticks.now(),
            _driver: driver,
        };
        Ok(self.lease(address, false, LeasedWay::H1(single)))
    }

    /// The same for a connection that speaks HTTP/2. Others may use it from now on.
    ///
    /// # Errors
    ///
    /// Those of the engine.
    pub async fn adopt_h2(
        &self,
        key: &str,
        stream: Stream,
        address: SocketAddr,
    ) -> hyper::Result<Lease> {
        let io = TokioIo::new(stream);
        let (sender, connection) = self.shared.h2.handshake::<_, Upload>(io).await?;
        let most = Rc::new(Cell::new(connection.current_max_send_streams()));
        let mut connection = connection;
        let driven = {
            let most = Rc::clone(&most);
            poll_fn(move |cx| {
                let polled = Pin::new(&mut connection).poll(cx);
                // The server may have said so meanwhile.
                most.set(connection.current_max_send_streams());
                polled
            })
        };
        let connection = Rc::new(Shareable {
            sender,
            address,
            requests: Cell::new(0),
            is_retired: Cell::new(false),
            most,
            since: Cell::new(self.shared.ticks.now()),
            _driver: drive(address, driven),
        });
        let mut shareable = self.shared.shareable.borrow_mut();
        let list = shareable.entry(key.into()).or_default();
        list.push(Rc::clone(&connection));
        Ok(self.lease(address, false, LeasedWay::H2(self.turn(&connection))))
    }

    /// Changes how much is kept; what is too much goes as it grows old.
    pub fn adjust(&self, limits: PoolLimits) {
        self.shared.limits.set(limits);
    }

    /// Closes what has been idle for too long.
    pub fn reap(&self) {
        let shared = &self.shared;
        let idle = shared.limits.get().idle;
        let mut left = 0;
        shared.idle.borrow_mut().retain(|_, list| {
            list.retain(|one| one.sender.is_ready() && !shared.ticks.is_past(one.since, idle));
            left += list.len();
            !list.is_empty()
        });
        shared.count.set(left);
        shared.shareable.borrow_mut().retain(|_, list| {
            list.retain(|one| {
                let is_idle = one.requests.get() == 0;
                let is_old = is_idle
                    && (one.is_retired.get() || shared.ticks.is_past(one.since.get(), idle));
                !(is_old || one.sender.is_closed())
            });
            !list.is_empty()
        });
    }

    /// Closes everything that is idle.
    pub fn clear(&self) {
        self.shared.idle.borrow_mut().clear();
        self.shared.count.set(0);
        self.shared.shareable.borrow_mut().retain(|_, list| {
            list.retain(|one| one.requests.get() > 0);
            !list.is_empty()
        });
    }

    /// How many connections are idle.
    #[must_use]
    pub fn len(&self) -> usize {
        let shareable = self.shared.shareable.borrow();
        let shareable = shareable.values().flatten();
        self.shared.count.get() + shareable.filter(|one| one.requests.get() == 0).count()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shareable {
    fn has_room(&self) -> bool {
        let most = self.most.get().min(STREAMS_MOST);
        !self.is_retired.get() && self.requests.get() < most && self.sender.is_ready()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let requests = &self.connection.requests;
        requests.set(requests.get().saturating_sub(1));
        self.connection.since.set(self.ticks.now());
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Lease {
    /// Whether it speaks HTTP/2.
    #[must_use]
    pub fn is_h2(&self) -> bool {
        matches!(self.way, LeasedWay::H2(_))
    }

    /// Whether it takes a request now, as far as is known.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.way {
            LeasedWay::H1(single) => single.sender.is_ready(),
            LeasedWay::H2(turn) => turn.connection.sender.is_ready(),
        }
    }

    /// Has no other request sent over the connection, if it has many: what it leads to has not
    /// answered, and may be gone.
    pub fn retire(&self) {
        if let LeasedWay::H2(turn) = &self.way {
            turn.connection.is_retired.set(true);
        }
    }

    /// Sends the request and waits for the head of the answer.
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
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Upload>>> {
        match &mut self.way {
            LeasedWay::H1(single) => single.sender.try_send_request(request).await,
            LeasedWay::H2(turn) => {
                let mut sender = turn.connection.sender.clone();
                sender.try_send_request(request).await
            }
        }
    }

    /// Tells the server's evidence how the request went, unless that was told before.
    pub fn end(&mut self, outcome: Outcome) {
        if let (Some(right), Some(busy)) = (self.right.take(), &self.busy) {
            busy.end(right, outcome);
        }
    }

    /// Keeps the connection for another request, if it is fit for one and there is room.
    ///
    /// The engine is ready when both messages have ended well and neither side asked to close.
    pub fn give_back(mut self) {
        self.end(Outcome::Success);
        let Self { way, pool, .. } = self;
        let LeasedWay::H1(mut single) = way else {
            return;
        };
        let limits = pool.limits.get();
        if !single.sender.is_ready() || pool.count.get() >= limits.total {
            return;
        }
        single.since = pool.ticks.now();
        let mut idle = pool.idle.borrow_mut();
        let list = match idle.get_mut(&*single.key) {
            Some(list) => list,
            None => idle.entry(Rc::clone(&single.key)).or_default(),
        };
        if list.len() < limits.per_origin {
            list.push(single);
            pool.count.set(pool.count.get() + 1);
        }
    }
}

fn drive<F>(address: SocketAddr, connection: F) -> Driver
where
    F: Future<Output = hyper::Result<()>> + 'static,
{
    let task = tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%address, %error, "connection to a server ended");
        }
    });
    Driver(task.abort_handle())
}

/// Requests that one connection is given at a time, however many its server takes.
const STREAMS_MOST: usize = 128;
/// What a server may send of one answer, and of all, before it is taken: bounds what a slow client
/// makes us hold. All together have room for all of them: else a few answers that nobody takes would
/// hold up those of every other client.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 128 * STREAM_WINDOW;
/// The largest frame: fewer of them for large bodies.
const FRAME: u32 = 32 * 1024;
/// Bytes of an answer's head.
const HEAD_MOST: u32 = 64 * 1024;
