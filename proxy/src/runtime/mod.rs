//! From a plan to running workers, and back: start, drain, stop.
//!
//! Each worker is a thread with an event loop of its own and a listening socket of its own on
//! every address; nothing is shared between workers on a request's path but the health registry.

mod worker;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use risefall::judge::Judge;
use tokio::sync::{mpsc, watch};

use crate::admin;
use crate::net::listen::{self, BindError};
use crate::net::resolve::{Names, SystemNames};
use crate::plan::Plan;
use crate::telemetry::access::AccessLog;

/// A proxy that runs. Dropping it without [`Running::join`] leaves it running.
#[derive(Debug)]
pub struct Running {
    forward: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    admin_error: Option<BindError>,
    order: watch::Sender<Order>,
    cut: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

/// Ends a proxy that somebody else waits for.
#[derive(Clone, Debug)]
pub struct Cutter {
    order: watch::Sender<Order>,
}

impl Cutter {
    /// Ends everything now.
    pub fn cut(&self) {
        self.order.send_replace(Order::Cut);
    }
}

/// Why a plan could not be started. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener could not be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A thread or its event loop could not be had.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] std::io::Error),
}

/// How a proxy ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stopped {
    /// Connections that were still open at the end of the drain time, and were cut.
    pub cut: usize,
}

/// What the workers are to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Order {
    Serve,
    /// Take no new work; what is in flight has this long.
    Drain(Duration),
    Cut,
}

/// Held by a worker while it lives; when all are dropped, the admin API ends. Nothing is sent.
type Alive = mpsc::Sender<Infallible>;

/// What every worker is given.
struct Shared {
    /// Read by each worker through a cache of its own, so that a connection's start writes no line
    /// that another core reads.
    plan: Arc<ArcSwap<Plan>>,
    services: Services,
    /// Every address that this process listens on.
    own: Vec<SocketAddr>,
    cut: Arc<AtomicUsize>,
}

/// What a proxy is given beside its plan, and what outlives every plan.
#[derive(Clone)]
pub struct Services {
    /// Asked before each dial, told how it went.
    pub judge: Arc<dyn Judge>,
    /// Asked for the addresses of names.
    pub names: Arc<dyn Names>,
    /// Told of each request; `None` tells nobody.
    pub access: Option<AccessLog>,
}

impl Services {
    /// The system's names, and no access log.
    #[must_use]
    pub fn new(judge: Arc<dyn Judge>) -> Self {
        Self {
            judge,
            names: Arc::new(SystemNames),
            access: None,
        }
    }
}

/// Starts `plan`: listens, and serves until [`Running::drain`] or [`Running::cut`].
///
/// If the admin address cannot be had, the proxy goes on without it; see
/// [`Running::admin_error`].
///
/// # Errors
///
/// A listener or a thread cannot be had.
pub fn start(plan: Plan, services: Services) -> Result<Running, StartError> {
    let workers = plan.threads;
    let bound = plan
        .listen
        .iter()
        .map(|&address| listen::bind(address, workers))
        .collect::<Result<Vec<_>, _>>()?;
    let (admin_socket, admin_error) = match plan.admin.map(|address| listen::bind(address, 1)) {
        Some(Ok(bound)) => (Some(bound), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let forward: Vec<_> = bound.iter().map(|bound| bound.address).collect();
    let admin = admin_socket.as_ref().map(|bound| bound.address);
    let (order, orders) = watch::channel(Order::Serve);
    let cut = Arc::new(AtomicUsize::new(0));
    let shared = Arc::new(Shared {
        plan: Arc::new(ArcSwap::from_pointee(plan)),
        services,
        own: forward.iter().copied().chain(admin).collect(),
        cut: Arc::clone(&cut),
    });
    let (alive, all_ended) = mpsc::channel(1);
    let mut threads = Vec::new();
    for (index, sockets) in one_of_each(bound, workers).into_iter().enumerate() {
        threads.push(worker::spawn(
            index,
            sockets,
            Arc::clone(&shared),
            orders.clone(),
            alive.clone(),
        )?);
    }
    drop(alive);
    if let Some(bound) = admin_socket {
        let judge = Arc::clone(&shared.services.judge);
        let report = admin::Report::new(judge, forward.clone());
        threads.push(worker::spawn_admin(bound.sockets, report, all_ended)?);
    }
    Ok(Running {
        forward,
        admin,
        admin_error,
        order,
        cut,
        threads,
    })
}

/// Sockets by address become sockets by worker.
fn one_of_each(bound: Vec<listen::Bound>, workers: usize) -> Vec<Vec<std::net::TcpListener>> {
    let mut each: Vec<_> = (0..workers).map(|_| Vec::new()).collect();
    for bound in bound {
        for (sockets, socket) in each.iter_mut().zip(bound.sockets) {
            sockets.push(socket);
        }
    }
    each
}

impl Running {
    /// Where the forward proxy listens, with the ports that the system chose.
    #[must_use]
    pub fn forward_addresses(&self) -> &[SocketAddr] {
        &self.forward
    }

    /// Where the admin API listens, if it does.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Why there is no admin API although the plan has one.
    #[must_use]
    pub fn admin_error(&self) -> Option<&BindError> {
        self.admin_error.as_ref()
    }

    /// Stops accepting. Idle connections end at once, work in flight has `time` to end by itself.
    pub fn drain(&self, time: Duration) {
        self.order.send_if_modified(|order| {
            let is_new = *order == Order::Serve;
            if is_new {
                *order = Order::Drain(time);
            }
            is_new
        });
    }

    /// Ends everything now.
    pub fn cut(&self) {
        self.order.send_replace(Order::Cut);
    }

    /// A handle that can still cut while [`Running::stopped`] is waited for.
    #[must_use]
    pub fn cutter(&self) -> Cutter {
        Cutter {
            order: self.order.clone(),
        }
    }

    /// Waits, blocking, until all workers have ended.
    pub fn join(self) -> Stopped {
        for thread in self.threads {
            // A worker that panicked has said so; the others are still waited for.
            let _ = thread.join();
        }
        Stopped {
            cut: self.cut.load(Ordering::Relaxed),
        }
    }

    /// Drains with `time` and waits for the end, without blocking the thread.
    pub async fn shutdown(self, time: Duration) -> Stopped {
        self.drain(time);
        self.stopped().await
    }

    /// Waits for the end without blocking the thread.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the workers as they are, with nobody to order them.
    pub async fn stopped(self) -> Stopped {
        let cut = Arc::clone(&self.cut);
        let joined = tokio::task::spawn_blocking(move || self.join()).await;
        joined.unwrap_or_else(|_| Stopped {
            cut: cut.load(Ordering::Relaxed),
        })
    }
}
