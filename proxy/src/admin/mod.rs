//! The admin API: what the running proxy knows and can be told, for this machine only.
//!
//! `GET /status`, `/endpoints`, `/explain`, `/metrics` and the page at `/` show; `POST /reload`, `/log/LEVEL`
//! and `/endpoints/ADDR/ACTION` change; `GET /health` and `/ready` are for whoever supervises. The
//! listener is on loopback or a Unix socket, but a page in a browser on this machine can reach
//! loopback too: through a name of its own that it has point to 127.0.0.1 (DNS rebinding). So a
//! request whose `Host` is not a loopback name or address is refused there.

mod action;
pub mod explain;
mod metrics;
pub mod operator;
mod page;
mod reason;
pub mod report;
mod routes;
pub mod service;
pub mod status;

use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use crate::telemetry::log::Complaints;

pub use report::Report;

/// What the API is served on.
pub enum Listener {
    /// A port of this machine, which pages in a browser can reach too.
    Tcp(TcpListener),
    /// A socket in the file system, which has an owner and a mode.
    Unix(UnixListener),
}

/// The connections that are served at a time.
#[derive(Clone, Debug)]
pub struct Places(Rc<Semaphore>);

impl Places {
    /// All of them free.
    #[must_use]
    pub fn new() -> Self {
        Self(Rc::new(Semaphore::new(CONNECTIONS_MOST as usize)))
    }

    /// Waits until all are free again, but not for ever: until what was asked is answered.
    pub async fn free(&self) {
        let all = self.0.acquire_many(CONNECTIONS_MOST);
        let _ = tokio::time::timeout(LAST_ANSWERS, all).await;
    }
}

impl Default for Places {
    fn default() -> Self {
        Self::new()
    }
}

/// Serves the API until it is dropped; connections that are open go on.
pub async fn serve(listener: Listener, report: Rc<Report>, places: Places) {
    let places = places.0;
    let mut complaints = Complaints::default();
    loop {
        let _ = places.acquire().await;
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                let served = connection(stream, Rc::clone(&report), true);
                tokio::task::spawn_local(in_time(served, Rc::clone(&places)));
            }),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                let served = connection(stream, Rc::clone(&report), false);
                tokio::task::spawn_local(in_time(served, Rc::clone(&places)));
            }),
        };
        if let Err(error) = accepted {
            complain(&error, &mut complaints);
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

fn complain(error: &io::Error, complaints: &mut Complaints) {
    if complaints.may_be_heard(Instant::now()) {
        tracing::warn!(%error, "the admin API cannot accept connections; trying again");
    }
}

async fn in_time(served: impl Future<Output = ()>, places: Rc<Semaphore>) {
    let _place = places.acquire().await;
    let _ = tokio::time::timeout(CONNECTION_TIME, served).await;
}

async fn connection<S>(stream: S, report: Rc<Report>, is_tcp: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let report = Rc::clone(&report);
        async move { Ok::<_, Infallible>(routes::answer(&request, &report, is_tcp).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_MOST)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "admin connection ended");
    }
}

const CONNECTIONS_MOST: u32 = 32;
const LAST_ANSWERS: Duration = Duration::from_millis(250);
const CONNECTION_TIME: Duration = Duration::from_secs(60);
const HEAD_TIME: Duration = Duration::from_secs(5);
const HEAD_MOST: usize = 16 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
