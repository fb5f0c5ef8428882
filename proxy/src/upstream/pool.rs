//! Open connections to servers, kept between requests.
//!
//! One pool for each worker, so nothing is locked or shared between cores. Connections lie on
//! shelves, one for whomever they were dialled for: an authority as a client spelled it, or a server
//! of a group. To find a shelf costs a hash and no allocation; a server of a group keeps its own at
//! hand. The connection used last is used next, so that the others grow old and go.
//!
//! A [`Lease`] is a connection while a request has it. One that speaks HTTP/1 has one request at a
//! time: it comes back by [`Lease::give_back`], which keeps it only if the engine says that it is
//! ready for another; a lease that is dropped closes it. One that speaks HTTP/2 has many at a time
//! and stays in the pool meanwhile.
//!
//! The task that drives a connection ends with the last that holds it: it has no deadline of its
//! own, and one that writes to a server which has stopped reading would stay for ever. A request
//! may do its work instead: see `pool/wire.rs`.

mod lease;
mod pace;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use crate::net::stream::Stream;
use crate::net::ticks::{Span, Ticks};
use crate::upstream::upload::Upload;
use lease::{Single, Turn, Way};
use pace::Wait;
use wire::Wire;

pub use lease::{Held, Lease};
pub(crate) use pace::Paced;

/// One worker's open connections.
#[derive(Clone)]
pub struct Pool {
    shared: Rc<Shared>,
}

/// The open connections to one origin.
#[derive(Default)]
pub struct Shelf {
    /// Those that speak HTTP/1 and wait for a request.
    #[expect(
        clippy::vec_box,
        reason = "a lease has the box, so that little is moved about"
    )]
    idle: RefCell<Vec<Box<Held>>>,
    /// Those that speak HTTP/2.
    shareable: RefCell<Vec<Rc<Shareable>>>,
    /// Whether it is for somebody who has it at hand.
    is_owned: Cell<bool>,
    /// The tick since which nobody has.
    left: Cell<Option<u64>>,
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

/// The task that drives a connection. Ends when this is dropped, and the socket with it.
struct Driver(AbortHandle);

struct Shared {
    /// Emptied ones stay until the next `reap`, with their room: the next lease comes soon.
    shelves: RefCell<HashMap<Rc<str>, Rc<Shelf>>>,
    /// How many connections are idle on all of them, of those that speak HTTP/1.
    count: Cell<usize>,
    limits: Cell<PoolLimits>,
    /// How long a connection is kept for somebody who has left: the next plan's may be on their way.
    orphaned: Span,
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
            shelves: RefCell::default(),
            count: Cell::new(0),
            limits: Cell::new(limits),
            orphaned: ticks.span(ORPHANED),
            ticks,
            h1: http1::Builder::new(),
            h2,
        };
        Self {
            shared: Rc::new(shared),
        }
    }

    /// The shelf of `key`, for whoever asks for it often. What is idle on it is closed soon after nobody
    /// has it any more.
    #[must_use]
    pub fn shelf(&self, key: &str) -> Rc<Shelf> {
        let shelf = self.shelf_of(key);
        shelf.is_owned.set(true);
        shelf
    }

    fn shelf_of(&self, key: &str) -> Rc<Shelf> {
        let mut shelves = self.shared.shelves.borrow_mut();
        match shelves.get(key) {
            Some(shelf) => Rc::clone(shelf),
            None => Rc::clone(shelves.entry(key.into()).or_default()),
        }
    }

    /// An open connection of `key` that takes a request now, if there is one.
    #[must_use]
    pub fn take(&self, key: &str) -> Option<Lease> {
        let shelf = self.shared.shelves.borrow().get(key).cloned()?;
        self.take_from(&shelf)
    }

    /// The same, from a shelf of this pool.
    #[must_use]
    pub fn take_from(&self, shelf: &Rc<Shelf>) -> Option<Lease> {
        self.take_single_from(shelf)
            .or_else(|| self.take_turn(shelf))
    }

    /// The same, of those that speak HTTP/1 and so can leave it.
    #[must_use]
    pub fn take_single_from(&self, shelf: &Rc<Shelf>) -> Option<Lease> {
        let mut idle = shelf.idle.borrow_mut();
        while let Some(one) = idle.pop() {
            self.shared.count.set(self.shared.count.get() - 1);
            if one.is_ready() {
                return Some(self.lease(one, shelf));
            }
        }
        None
    }

    fn take_turn(&self, shelf: &Rc<Shelf>) -> Option<Lease> {
        let mut shareable = shelf.shareable.borrow_mut();
        shareable.retain(|one| !one.sender.is_closed());
        let free = shareable.iter().find(|one| one.has_room())?;
        let held = Held::new(free.address, true, Way::H2(self.turn(free)));
        Some(self.lease(held, shelf))
    }

    fn turn(&self, connection: &Rc<Shareable>) -> Turn {
        connection.requests.set(connection.requests.get() + 1);
        Turn {
            connection: Rc::clone(connection),
            ticks: self.shared.ticks.clone(),
        }
    }

    fn lease(&self, held: Box<Held>, shelf: &Rc<Shelf>) -> Lease {
        Lease {
            held,
            shelf: Rc::clone(shelf),
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
        let wait = Wait::new();
        let io = TokioIo::new(Paced::new(stream, &wait));
        let (sender, connection) = self.shared.h1.handshake::<_, Upload>(io).await?;
        let wire = Rc::new(Wire::new(address, connection.with_upgrades()));
        let driven = {
            let wire = Rc::clone(&wire);
            poll_fn(move |cx| wire.poll_by_task(cx))
        };
        let single = Single {
            sender,
            wire,
            wait,
            since: self.shared.ticks.now(),
            _driver: Driver::of(driven),
        };
        let held = Held::new(address, false, Way::H1(single));
        Ok(self.lease(held, &self.shelf_of(key)))
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
            _driver: Driver::of(async move {
                if let Err(error) = driven.await {
                    tracing::debug!(%address, %error, "connection to a server ended");
                }
            }),
        });
        let shelf = self.shelf_of(key);
        shelf.shareable.borrow_mut().push(Rc::clone(&connection));
        let held = Held::new(address, false, Way::H2(self.turn(&connection)));
        Ok(self.lease(held, &shelf))
    }

    /// Changes how much is kept; what is too much goes as it grows old.
    pub fn adjust(&self, limits: PoolLimits) {
        self.shared.limits.set(limits);
    }

    /// Closes what has been idle for too long, or is for nobody: of servers that no plan has any more.
    pub fn reap(&self) {
        let shared = &self.shared;
        let idle = shared.limits.get().idle;
        let mut left = 0;
        shared.shelves.borrow_mut().retain(|_, shelf| {
            if shelf.is_left(shared) {
                return false;
            }
            let mut singles = shelf.idle.borrow_mut();
            singles.retain(|one| one.is_ready() && !shared.ticks.is_past(one.since(), idle));
            left += singles.len();
            let mut shareable = shelf.shareable.borrow_mut();
            shareable.retain(|one| {
                let is_idle = one.requests.get() == 0;
                let is_old = is_idle
                    && (one.is_retired.get() || shared.ticks.is_past(one.since.get(), idle));
                !(is_old || one.sender.is_closed())
            });
            let is_empty = singles.is_empty() && shareable.is_empty();
            // One that somebody has at hand would be another by the next request.
            !is_empty || Rc::strong_count(shelf) > 1
        });
        shared.count.set(left);
    }

    /// Closes everything that is idle.
    pub fn clear(&self) {
        self.shared.count.set(0);
        for shelf in self.shared.shelves.borrow().values() {
            shelf.idle.borrow_mut().clear();
            let mut shareable = shelf.shareable.borrow_mut();
            shareable.retain(|one| one.requests.get() > 0);
        }
    }

    /// How many connections are idle.
    #[must_use]
    pub fn len(&self) -> usize {
        let shelves = self.shared.shelves.borrow();
        let shareable = shelves.values().map(|shelf| {
            let shareable = shelf.shareable.borrow();
            let idle = shareable.iter().filter(|one| one.requests.get() == 0);
            idle.count()
        });
        self.shared.count.get() + shareable.sum::<usize>()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shelf {
    /// Whether it was for somebody who has been gone for a while.
    fn is_left(self: &Rc<Self>, shared: &Shared) -> bool {
        if !self.is_owned.get() || Rc::strong_count(self) > 1 {
            self.left.set(None);
            return false;
        }
        let since = self.left.get().unwrap_or(shared.ticks.now());
        self.left.set(Some(since));
        shared.ticks.is_past(since, shared.orphaned)
    }
}

impl Shareable {
    fn has_room(&self) -> bool {
        let most = self.most.get().min(STREAMS_MOST);
        !self.is_retired.get() && self.requests.get() < most && self.sender.is_ready()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Driver {
    fn of(driven: impl Future<Output = ()> + 'static) -> Self {
        Self(tokio::task::spawn_local(driven).abort_handle())
    }
}

const ORPHANED: Duration = Duration::from_secs(1);
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
