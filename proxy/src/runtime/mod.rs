//! From a plan to running workers, to another plan, and back: start, reload, drain, stop.
//!
//! Each worker is a thread with an event loop of its own and a listening socket of its own on
//! every address; nothing is shared between workers on a request's path but the health registry.
//! What is in force is behind one pointer, and replaced as a whole.

mod acceptor;
mod clients;
mod difference;
mod engine;
pub mod force;
pub mod memory;
mod outliers;
mod rate;
mod shared;
pub mod standing;
mod start;
mod threads;
mod upkeep;
mod worker;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use risefall::judge::Judge;
use tokio::sync::{mpsc, watch};

use crate::admin::operator::Operator;
use crate::net::inherit::{self, Heirloom, Inherited};
use crate::net::listen::{BindError, Bound};
use crate::net::resolve::Names;
use crate::net::resolve::dns::DnsNames;
use crate::plan::Plan;
use crate::telemetry::access::AccessLog;
use crate::telemetry::counters::Counters;
use difference::Difference;
pub use force::{Changes, InForce, Listener};
use shared::Shared;
pub use start::{start, start_with};
pub(crate) use upkeep::now_s;
use worker::Command;

/// A proxy that runs. Dropping it without [`Running::join`] leaves it running.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    workers: Vec<mpsc::UnboundedSender<Command>>,
    admin: AdminEnd,
    leaving: watch::Sender<bool>,
    order: watch::Sender<Order>,
    /// Tells the admin API before the workers are told.
    draining: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// Where the admin API is had; all `None` if there is to be none.
#[derive(Debug, Default)]
struct AdminEnd {
    address: Option<SocketAddr>,
    path: Option<PathBuf>,
    /// For a process that takes over.
    copy: Option<OwnedFd>,
    /// Why it cannot be had.
    error: Option<String>,
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
    /// Listeners could not be had.
    #[error("{}", join(.0))]
    Bind(Vec<BindError>),
    /// The admin API could not be had, and is needed.
    #[error("the admin API {0}")]
    Admin(String),
    /// A thread or its event loop could not be had.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] std::io::Error),
}

/// Why another plan could not be put in force. The one before it goes on, untouched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// Listeners could not be had.
    #[error("{}", join(.0))]
    Bind(Vec<BindError>),
    /// It asks for what a running process cannot change.
    #[error("{place} cannot change while the process runs; restart it, or take the change back")]
    Fixed {
        /// Where it stands.
        place: &'static str,
    },
    /// The process is about to end.
    #[error("the process is stopping")]
    Stopping,
}

fn join(errors: &[BindError]) -> String {
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    errors.join("\n")
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

/// What a proxy is given beside its plan, and what outlives every plan.
#[derive(Clone)]
pub struct Services {
    /// Asked before each dial, told how it went.
    pub judge: Arc<dyn Judge>,
    /// Asked for the addresses of names.
    pub names: Arc<dyn Names>,
    /// Told of each request; `None` tells nobody.
    pub access: Option<AccessLog>,
    /// Asked by the admin API to reload; `None` where nobody can.
    pub operator: Option<Arc<Operator>>,
    /// Whether the proxy must not start without its admin API.
    pub is_admin_needed: bool,
}

impl Services {
    /// The names of the system and of the DNS, and no access log.
    #[must_use]
    pub fn new(judge: Arc<dyn Judge>) -> Self {
        Self {
            judge,
            names: Arc::new(DnsNames::default()),
            access: None,
            operator: None,
            is_admin_needed: false,
        }
    }
}

impl Running {
    /// Puts `plan` in force, with `judge` to be asked from now on: listens where it says, stops
    /// listening where it does not. Connections that are open keep the plan they began with, those
    /// of a listener that is gone have `drain` to end. Counters, health and pools go on.
    ///
    /// # Errors
    ///
    /// It cannot be put in force as a whole. Then nothing has changed.
    ///
    /// # Cancel safety
    ///
    /// The new plan is in force; it is not known whether removed listeners are closed yet.
    pub async fn reload(
        &mut self,
        plan: Plan,
        judge: Arc<dyn Judge>,
    ) -> Result<Changes, ReloadError> {
        let now = self.in_force();
        if *self.order.borrow() != Order::Serve {
            return Err(ReloadError::Stopping);
        }
        if plan.threads != now.plan.threads {
            return Err(ReloadError::Fixed {
                place: "process.threads",
            });
        }
        if plan.admin().map(|admin| &admin.at) != now.plan.admin().map(|admin| &admin.at) {
            return Err(ReloadError::Fixed {
                place: "admin.listen",
            });
        }
        let Difference {
            listeners,
            bound,
            removed,
        } = Difference::of(
            &plan,
            &now.listeners,
            self.admin.address,
            &mut Inherited::default(),
        )
        .map_err(ReloadError::Bind)?;
        let changes = Changes {
            added: bound.iter().map(|(_, bound)| bound.address).collect(),
            kept: listeners.len() - bound.len(),
            removed: removed.iter().map(|one| one.address).collect(),
            generation: now.generation + 1,
        };
        let drain = plan.timeouts.drain;
        let next = now.next(plan, judge, listeners, self.admin.address);
        self.shared.force.store(Arc::new(next));
        self.shared.renewed.notify_one();
        self.give_out(bound);
        let ids: Vec<_> = removed.iter().map(|one| one.id).collect();
        self.close(&ids, drain).await;
        Ok(changes)
    }

    /// Gives every worker its socket of each listener.
    fn give_out(&self, bound: Vec<(u64, Bound)>) {
        for (id, bound) in bound {
            // There may be more sockets than workers, and none may be left out.
            for (worker, socket) in self.workers.iter().cycle().zip(bound.sockets) {
                // A worker that has panicked takes nothing, and has said so.
                let _ = worker.send(Command::Listen { id, socket });
            }
        }
    }

    /// Has every worker stop listening, and waits until the sockets are closed: the next plan may
    /// ask for the address again.
    async fn close(&self, ids: &[u64], drain: Duration) {
        if ids.is_empty() {
            return;
        }
        let (closed, mut all_closed) = mpsc::channel::<Infallible>(1);
        for worker in &self.workers {
            let _ = worker.send(Command::Close {
                ids: ids.to_vec(),
                drain,
                closed: closed.clone(),
            });
        }
        drop(closed);
        let _ = all_closed.recv().await;
    }

    /// Copies of all listening sockets, for a process that takes over. They are open as long as
    /// anybody has a copy.
    pub async fn lend(&self) -> Inherited {
        let (lent, mut all) = mpsc::unbounded_channel();
        for worker in &self.workers {
            let _ = worker.send(Command::Lend(lent.clone()));
        }
        drop(lent);
        let force = self.in_force();
        let mut listeners = Vec::new();
        while let Some((id, socket)) = all.recv().await {
            let listener = force.listeners.iter().find(|one| one.id == id);
            listeners.extend(listener.map(|listener| Heirloom {
                owner: Some(listener.owner()),
                said: listener.said,
                socket: socket.into(),
            }));
        }
        let admin = self.admin.copy.as_ref();
        Inherited {
            listeners,
            admin: admin.and_then(|socket| inherit::copy(socket).ok()),
        }
    }

    /// Leaves the admin API to the process that has taken over. What is asked from now on is asked
    /// of that one.
    pub fn leave_admin(&mut self) {
        self.admin.copy = None;
        self.leaving.send_replace(true);
    }

    /// What is in force now.
    #[must_use]
    pub fn in_force(&self) -> Arc<InForce> {
        self.shared.force.load_full()
    }

    /// Each worker's counts.
    #[must_use]
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.shared.counters
    }

    /// Where the forward proxies listen, with the ports that the system chose.
    #[must_use]
    pub fn forward_addresses(&self) -> Vec<SocketAddr> {
        let force = self.shared.force.load();
        force.listeners.iter().map(|one| one.address).collect()
    }

    /// Where the admin API listens, if it does.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.address
    }

    /// The path of the socket on which the admin API listens, if it does.
    #[must_use]
    pub fn admin_path(&self) -> Option<&Path> {
        self.admin.path.as_deref()
    }

    /// Why there is no admin API although the plan has one.
    #[must_use]
    pub fn admin_error(&self) -> Option<&str> {
        self.admin.error.as_deref()
    }

    /// Says that it is not ready any more, and goes on.
    pub fn unready(&self) {
        self.draining.send_replace(true);
    }

    /// Stops accepting. Idle connections end at once, work in flight has `time` to end by itself.
    pub fn drain(&self, time: Duration) {
        self.unready();
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
        // The admin API may wait for these.
        drop(self.workers);
        for thread in self.threads {
            // A worker that panicked has said so; the others are still waited for.
            let _ = thread.join();
        }
        Stopped {
            cut: self.shared.cut.load(Ordering::Relaxed),
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
        let shared = Arc::clone(&self.shared);
        let joined = tokio::task::spawn_blocking(move || self.join()).await;
        joined.unwrap_or_else(|_| Stopped {
            cut: shared.cut.load(Ordering::Relaxed),
        })
    }
}
