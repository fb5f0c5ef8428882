//! Starts the proxy in process, origins with a script, and clients that speak raw bytes.
//!
//! Its modules are what nearly every test of that needs; the other files of this folder are for
//! some, which name them by their path.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test file uses its part"
)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail"
)]
#![allow(clippy::indexing_slicing, reason = "a test may fail")]

mod client;
pub mod origin;
mod socks;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use risefall::{Policy, Registry};
use risefall_proxy::net::resolve::{Names, SystemNames};
use risefall_proxy::plan::{Draft, ForwardDraft};
use risefall_proxy::runtime::{self, Running, Services, Stopped};
use risefall_proxy::telemetry::access::{AccessLog, Flush, Format};

pub use client::{Client, Response, ask, connect, field, get};
pub use origin::{DeadPort, Origin, black_hole, echo_heads};
pub use socks::{socks5, socks5_address, socks5_name};

/// Longer than anything here takes; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Far below every deadline that a test did not set itself.
pub const SOON: Duration = Duration::from_secs(2);

/// A proxy on a port of its own.
pub struct Proxy {
    pub address: SocketAddr,
    pub registry: Registry,
    running: Option<Running>,
    log: Log,
    _flush: Flush,
}

/// The access lines, as they were written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Proxy {
    pub fn start() -> Self {
        Self::with(policy(), |_| ())
    }

    /// One worker, no admin API, and what `change` makes of that.
    pub fn with(policy: Policy, change: impl FnOnce(&mut Draft)) -> Self {
        Self::by(Registry::new(policy), Arc::new(SystemNames), change)
    }

    /// The same by a registry and a resolver.
    pub fn by(registry: Registry, names: Arc<dyn Names>, change: impl FnOnce(&mut Draft)) -> Self {
        let mut draft = Draft {
            forwards: vec![ForwardDraft::on(vec![SocketAddr::from((
                [127, 0, 0, 1],
                0,
            ))])],
            admin: None,
            threads: 1,
            ..Draft::default()
        };
        change(&mut draft);
        let plan = draft.resolve().unwrap();
        let log = Log::default();
        let (access, flush) = AccessLog::start(log.clone(), Format::Text);
        let services = Services {
            judge: Arc::new(registry.clone()),
            names,
            access: Some(access),
            operator: None,
            is_admin_needed: false,
        };
        let running = runtime::start(plan, services).unwrap();
        Self {
            address: running.forward_addresses()[0],
            registry,
            running: Some(running),
            log,
            _flush: flush,
        }
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub fn running_mut(&mut self) -> &mut Running {
        self.running.as_mut().unwrap()
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Sends one request on a connection of its own and reads the whole response.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Response {
        self.connect().await.ask(request).await
    }

    pub async fn get(&self, origin: SocketAddr, path: &str) -> Response {
        self.ask(get(origin, path)).await
    }

    /// Waits for `count` access lines and gives what each says behind the client's address, the
    /// time it took left out.
    pub async fn lines(&self, count: usize) -> Vec<String> {
        let told = |line: &String| {
            let words = line.split(' ').skip(2).filter(|word| !word.ends_with("ms"));
            words.take(9).collect::<Vec<_>>().join(" ")
        };
        self.whole_lines(count).await.iter().map(told).collect()
    }

    /// Waits for `count` access lines and gives all that they say.
    pub async fn whole_lines(&self, count: usize) -> Vec<String> {
        let text = || String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
        until(|| text().lines().count() >= count).await;
        text().lines().map(ToOwned::to_owned).collect()
    }

    /// Waits until a place for a connection is free, which is soon and not at some deadline.
    pub async fn has_room(&self) {
        let asked = async {
            let options = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
            while self.ask(options).await.status() != 200 {}
        };
        tokio::time::timeout(SOON, asked)
            .await
            .expect("no place came free");
    }

    pub async fn shutdown(mut self, time: Duration) -> Stopped {
        within(self.running.take().unwrap().shutdown(time)).await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.cut();
        }
    }
}

/// Down after three failures, for a time that a test can wait for.
pub fn policy() -> Policy {
    Policy::builder()
        .fail_timeout(Duration::from_millis(300))
        .connect_timeout(Duration::from_millis(100))
        .build()
        .unwrap()
}

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("took too long")
}

/// Waits until `is_done`.
pub async fn until(is_done: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < PATIENCE, "waited too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
