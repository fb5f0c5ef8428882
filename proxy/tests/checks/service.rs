//! Servers that are as well as they are told to be, a proxy that checks them, and what it tells.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use risefall::check::{Http, Kind, Thresholds, Timing, TimingBuilder};
use risefall_proxy::plan::Check;
use serde_json::Value;

use super::admin::{admin, eventually, json, with_admin};
use super::sites::site_of;
use super::support::{Client, Origin, PATIENCE, Proxy, field};

pub(crate) const HELLO: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

/// A server whose health is what it is told to be.
pub(crate) struct Service {
    origin: Origin,
    told: Arc<Told>,
}

#[derive(Default)]
pub(crate) struct Told {
    /// The statuses of its answers to checks, one after another, over and over.
    statuses: Mutex<Vec<u16>>,
    /// What it says of itself.
    says: Mutex<String>,
    checks: AtomicUsize,
    requests: AtomicUsize,
    /// What it was asked last by a check.
    asked: Mutex<String>,
}

impl Service {
    pub(crate) async fn start(statuses: &[u16]) -> Self {
        let told = Told::with(statuses);
        let shared = Arc::clone(&told);
        let origin = Origin::start(move |client| answer(client, Arc::clone(&shared))).await;
        Self { origin, told }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.origin.address
    }

    pub(crate) fn turns(&self, status: u16) {
        *self.told.statuses.lock().unwrap() = vec![status];
    }

    pub(crate) fn says(&self, words: &str) {
        words.clone_into(&mut self.told.says.lock().unwrap());
    }

    pub(crate) fn checks(&self) -> usize {
        self.told.checks.load(Ordering::SeqCst)
    }

    /// Whether its last check began so.
    pub(crate) fn was_asked(&self, start: &str) -> bool {
        self.told.asked.lock().unwrap().starts_with(start)
    }

    pub(crate) fn requests(&self) -> usize {
        self.told.requests.load(Ordering::SeqCst)
    }
}

impl Told {
    pub(crate) fn with(statuses: &[u16]) -> Arc<Self> {
        Arc::new(Self {
            statuses: Mutex::new(statuses.to_vec()),
            ..Self::default()
        })
    }

    pub(crate) fn answer(&self, head: &str) -> String {
        if !head.starts_with("GET /health") {
            self.requests.fetch_add(1, Ordering::SeqCst);
            return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned();
        }
        head.clone_into(&mut self.asked.lock().unwrap());
        let turn = self.checks.fetch_add(1, Ordering::SeqCst);
        let status = {
            let statuses = self.statuses.lock().unwrap();
            statuses[turn % statuses.len()]
        };
        let says = self.says.lock().unwrap();
        format!("HTTP/1.1 {status} X\r\nX-Agent: {says}\r\nContent-Length: 0\r\n\r\n")
    }
}

async fn answer(mut client: Client, told: Arc<Told>) {
    while !client.bytes.is_empty() || client.more().await > 0 {
        let head = client.head().await;
        client.send(told.answer(&head)).await;
        if field(&head, "connection") == Some("close") {
            return;
        }
    }
}

pub(crate) fn often() -> TimingBuilder {
    Timing::builder()
        .interval(Duration::from_millis(20))
        .timeout(PATIENCE)
}

pub(crate) fn by(kind: Kind) -> Check {
    Check {
        timing: often().build().unwrap(),
        thresholds: Thresholds {
            fall: 2,
            ..Thresholds::default()
        },
        ..Check::of(kind)
    }
}

pub(crate) fn http() -> Http {
    Http::new("/health")
        .unwrap()
        .agent_header("X-Agent")
        .unwrap()
}

/// One site, and one group of these servers that are checked so.
pub(crate) fn checked(servers: &[SocketAddr], check: Check) -> Proxy {
    site_of(servers, |draft| {
        with_admin(draft);
        draft.upstreams[0].check = Some(check);
    })
}

pub(crate) async fn said(proxy: &Proxy, path: &str) -> String {
    let answer = admin(proxy, path).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.text().to_owned()
}

/// What the status tells of the server of that group.
pub(crate) async fn told(proxy: &Proxy, upstream: &str, address: SocketAddr) -> Value {
    let status = json(proxy, "/status").await;
    let groups = status["upstreams"].as_array().unwrap();
    let group = groups.iter().find(|one| one["name"] == upstream).unwrap();
    let servers = group["endpoints"].as_array().unwrap().iter();
    let mut addresses = servers.flat_map(|one| one["addresses"].as_array().unwrap());
    let found = addresses.find(|one| one["address"] == address.to_string());
    found.unwrap().clone()
}

/// Waits until the group uses the server, or does not.
pub(crate) async fn until_used(proxy: &Proxy, upstream: &str, address: SocketAddr, is_used: bool) {
    let what = format!("used {is_used}: {address} of {upstream}");
    eventually(&what, async || {
        told(proxy, upstream, address).await["eligible"] == is_used
    })
    .await;
}

/// Sends so many requests, all of which are answered.
pub(crate) async fn ask(proxy: &Proxy, requests: usize) {
    for _ in 0..requests {
        assert_eq!(proxy.ask(HELLO).await.status(), 200);
    }
}
