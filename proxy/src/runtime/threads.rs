//! Threads with an event loop each: the workers, and the admin API.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use super::shared::Shared;
use super::worker::{self, Command};
use super::{AdminEnd, Alive, Order};
use crate::admin::{self, Report};
use crate::net::inherit;
use crate::net::listen::{self, Bound};
use crate::plan::Control;

/// Starts a worker's thread.
pub(super) fn spawn(
    index: usize,
    shared: Arc<Shared>,
    orders: watch::Receiver<Order>,
    commands: mpsc::UnboundedReceiver<Command>,
    alive: Alive,
) -> io::Result<JoinHandle<()>> {
    spawn_loop(format!("risefall-{index}"), LOOKUPS_MOST, move || {
        Box::pin(async move {
            worker::work(index, shared, orders, commands).await;
            drop(alive);
        })
    })
}

/// The workers' threads.
pub(super) struct Crew {
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) senders: Vec<mpsc::UnboundedSender<Command>>,
    /// Ends when the last worker has.
    pub(super) all_ended: mpsc::Receiver<Infallible>,
}

impl Crew {
    /// Starts one for each of the counters that are shared.
    pub(super) fn start(shared: &Arc<Shared>, orders: &watch::Receiver<Order>) -> io::Result<Self> {
        let (alive, all_ended) = mpsc::channel(1);
        let (mut threads, mut senders) = (Vec::new(), Vec::new());
        for index in 0..shared.counters.len() {
            let (sender, commands) = mpsc::unbounded_channel();
            senders.push(sender);
            let (shared, orders, alive) = (Arc::clone(shared), orders.clone(), alive.clone());
            threads.push(spawn(index, shared, orders, commands, alive)?);
        }
        Ok(Self {
            threads,
            senders,
            all_ended,
        })
    }
}

/// Where the admin API listens.
pub(super) enum Door {
    Tcp(Bound),
    Unix(UnixListener, PathBuf),
}

impl Door {
    /// Listens there, or on the socket that was `inherited` if that listens there.
    pub(super) fn open(at: &Control, inherited: Option<OwnedFd>) -> Result<Self, String> {
        match (at, inherited) {
            (Control::Tcp(said), Some(socket)) => {
                let socket = std::net::TcpListener::from(socket);
                let address = socket.local_addr();
                if let Ok(address) = address
                    && (address == *said || said.port() == 0 && address.ip() == said.ip())
                {
                    let sockets = vec![socket];
                    return Ok(Self::Tcp(Bound { address, sockets }));
                }
            }
            (Control::Unix(path), Some(socket)) => {
                let socket = UnixListener::from(socket);
                let at = socket.local_addr();
                if at.is_ok_and(|at| at.as_pathname() == Some(path)) {
                    return Ok(Self::Unix(socket, path.clone()));
                }
            }
            (_, None) => {}
        }
        match at {
            Control::Tcp(address) => listen::bind(*address, 1)
                .map(Self::Tcp)
                .map_err(|error| error.to_string()),
            Control::Unix(path) => listen::bind_unix(path)
                .map(|socket| Self::Unix(socket, path.clone()))
                .map_err(|error| error.to_string()),
        }
    }

    pub(super) fn end(&self) -> AdminEnd {
        let (address, copy) = match self {
            Self::Tcp(bound) => (
                Some(bound.address),
                bound.sockets.first().map(inherit::copy),
            ),
            Self::Unix(socket, _) => (None, Some(inherit::copy(socket))),
        };
        AdminEnd {
            address,
            path: self.path(),
            copy: copy.and_then(Result::ok),
            error: None,
        }
    }

    fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(_, path) => Some(path.clone()),
        }
    }

    fn listener(self) -> io::Result<admin::Listener> {
        match self {
            Self::Tcp(bound) => {
                let socket = bound.sockets.into_iter().next();
                let socket = socket.ok_or_else(|| io::Error::other("no socket"))?;
                TcpListener::from_std(socket).map(admin::Listener::Tcp)
            }
            Self::Unix(socket, _) => {
                tokio::net::UnixListener::from_std(socket).map(admin::Listener::Unix)
            }
        }
    }
}

/// Starts the admin API's thread. It ends with the last worker, so that it still answers while
/// they drain.
pub(super) fn spawn_admin(
    door: Door,
    report: Report,
    mut all_ended: mpsc::Receiver<Infallible>,
    mut leaving: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    spawn_loop("risefall-admin".to_owned(), 1, move || {
        Box::pin(async move {
            let path = door.path();
            let places = admin::Places::new();
            let served = async {
                admin::serve(door.listener()?, Rc::new(report), places.clone()).await;
                Ok::<_, io::Error>(())
            };
            tokio::select! {
                Err(error) = served => tracing::error!(%error, "the admin API could not start"),
                _ = all_ended.recv() => {}
                // Another process answers there now.
                Ok(_) = leaving.wait_for(|is_leaving| *is_leaving) => {
                    return places.free().await;
                }
            }
            places.free().await;
            if let Some(path) = path {
                // The next start would put it out of the way; until then it leads nowhere.
                let _ = std::fs::remove_file(path);
            }
        })
    })
}

type Work = Pin<Box<dyn Future<Output = ()>>>;

fn spawn_loop(
    name: String,
    blocking_threads: usize,
    work: impl FnOnce() -> Work + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(blocking_threads)
        .build()?;
    std::thread::Builder::new().name(name).spawn(move || {
        LocalSet::new().block_on(&runtime, work());
        // Lookups that are still under way end by themselves.
        runtime.shutdown_background();
    })
}

/// The bound itself is kept where names are looked up, and may change.
const LOOKUPS_MOST: usize = 1024;
