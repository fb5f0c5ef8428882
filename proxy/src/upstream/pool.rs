//! Open connections to origins, kept between requests.
//!
//! One pool for each worker, so nothing is locked or shared between cores. A connection is keyed by
//! the authority it was dialled for, as the client spelled it: two spellings of one origin share
//! nothing but are both right, and looking one up costs a hash and no allocation. The connection
//! used last is used next, so that the others grow old and go.
//!
//! A [`Lease`] is one connection while a request has it. It comes back by [`Lease::give_back`],
//! which keeps it only if the engine says that it is ready for another request; a lease that is
//! dropped closes its connection, and ends the task that drives it: that task has no deadline of
//! its own, and one that writes to a server which has stopped reading would stay for ever.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use hyper::body::Body;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::net::ticks::{Span, Ticks};
use crate::upstream::group::Busy;

/// One worker's idle connections.
pub struct Pool<B> {
    shared: Rc<Shared<B>>,
}

/// One connection, for one request at a time.
pub struct Lease<B> {
    /// Sends the request.
    pub sender: SendRequest<B>,
    /// Where it leads.
    pub address: SocketAddr,
    /// Whether it has served a request before: if so, its server may close it at any moment.
    pub is_reused: bool,
    /// The server of a group that this request keeps busy.
    pub busy: Option<Busy>,
    key: Rc<str>,
    driver: Driver,
    pool: Rc<Shared<B>>,
}

/// The task that drives a connection. Ends when this is dropped, and the socket with it.
struct Driver(AbortHandle);

struct Shared<B> {
    /// Emptied lists stay until the next `reap`, with their room: the next lease comes soon.
    idle: RefCell<HashMap<Rc<str>, Vec<Idle<B>>>>,
    /// The sum of the lists' lengths.
    count: Cell<usize>,
    limits: Cell<PoolLimits>,
    ticks: Ticks,
    builder: Builder,
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

struct Idle<B> {
    sender: SendRequest<B>,
    address: SocketAddr,
    /// The tick at which it came.
    since: u64,
    key: Rc<str>,
    driver: Driver,
}

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// An empty pool.
    #[must_use]
    pub fn new(limits: PoolLimits, ticks: Ticks) -> Self {
        let shared = Shared {
            idle: RefCell::default(),
            count: Cell::new(0),
            limits: Cell::new(limits),
            ticks,
            builder: Builder::new(),
        };
        Self {
            shared: Rc::new(shared),
        }
    }

    /// An open connection to `authority`, if one is idle.
    #[must_use]
    pub fn take(&self, authority: &str) -> Option<Lease<B>> {
        let mut idle = self.shared.idle.borrow_mut();
        let list = idle.get_mut(authority)?;
        let mut found = None;
        while let Some(one) = list.pop() {
            self.shared.count.set(self.shared.count.get() - 1);
            if one.sender.is_ready() {
                found = Some(one);
                break;
            }
        }
        let Idle {
            sender,
            address,
            key,
            driver,
            ..
        } = found?;
        Some(Lease {
            sender,
            address,
            is_reused: true,
            busy: None,
            key,
            driver,
            pool: Rc::clone(&self.shared),
        })
    }

    /// Makes a fresh connection ready for requests and has a task drive it.
    ///
    /// # Errors
    ///
    /// Those of the engine.
    pub async fn adopt(
        &self,
        authority: &str,
        stream: TcpStream,
        address: SocketAddr,
    ) -> hyper::Result<Lease<B>> {
        let (sender, connection) = self
            .shared
            .builder
            .handshake::<_, B>(TokioIo::new(stream))
            .await?;
        let driver = tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "connection to an origin ended");
            }
        });
        Ok(Lease {
            sender,
            address,
            is_reused: false,
            busy: None,
            key: authority.into(),
            driver: Driver(driver.abort_handle()),
            pool: Rc::clone(&self.shared),
        })
    }

    /// Changes how much is kept; what is too much goes as it grows old.
    pub fn adjust(&self, limits: PoolLimits) {
        self.shared.limits.set(limits);
    }

    /// Closes what has been idle for too long.
    pub fn reap(&self) {
        let shared = &self.shared;
        let mut left = 0;
        shared.idle.borrow_mut().retain(|_, list| {
            list.retain(|one| {
                one.sender.is_ready() && !shared.ticks.is_past(one.since, shared.limits.get().idle)
            });
            left += list.len();
            !list.is_empty()
        });
        shared.count.set(left);
    }

    /// Closes everything that is idle.
    pub fn clear(&self) {
        self.shared.idle.borrow_mut().clear();
        self.shared.count.set(0);
    }

    /// How many connections are idle.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.count.get()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<B> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self {
            shared: Rc::clone(&self.shared),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<B> Lease<B> {
    /// Keeps the connection for another request, if it is fit for one and there is room.
    ///
    /// The engine is ready when both messages have ended well and neither side asked to close.
    pub fn give_back(self) {
        let Self {
            sender,
            address,
            key,
            driver,
            pool,
            ..
        } = self;
        let limits = pool.limits.get();
        if !sender.is_ready() || pool.count.get() >= limits.total {
            return;
        }
        let since = pool.ticks.now();
        let mut idle = pool.idle.borrow_mut();
        let list = idle.entry(Rc::clone(&key)).or_default();
        if list.len() < limits.per_origin {
            list.push(Idle {
                sender,
                address,
                since,
                key,
                driver,
            });
            pool.count.set(pool.count.get() + 1);
        }
    }
}
