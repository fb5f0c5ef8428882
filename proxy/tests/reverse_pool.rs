//! Connections to servers that are kept between requests: how many, and for how long.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "support/sites.rs"]
mod sites;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use risefall_proxy::plan::{Draft, SiteDraft, UpstreamDraft};
use sites::{get, in_flight, route_to, server_of, site_of};
use support::origin::ok;
use support::{Client, Origin, Proxy, until};
use tokio::sync::Semaphore;

/// A server that answers as often as it is let, and counts the connections that are open.
struct Counted {
    origin: Origin,
    gate: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
}

impl Counted {
    async fn start() -> Self {
        let (gate, open) = (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default());
        let (held, counted) = (Arc::clone(&gate), Arc::clone(&open));
        let origin = Origin::start(move |mut client: Client| {
            let (gate, open) = (Arc::clone(&held), Arc::clone(&counted));
            async move {
                open.fetch_add(1, Ordering::SeqCst);
                while !client.bytes.is_empty() || client.more().await > 0 {
                    client.head().await;
                    gate.acquire().await.unwrap().forget();
                    client.send(ok("good")).await;
                }
                open.fetch_sub(1, Ordering::SeqCst);
            }
        })
        .await;
        Self { origin, gate, open }
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// So many requests at a time, all of which are answered.
    async fn serve(&self, proxy: &Proxy, path: &str, count: u32) {
        let mut clients = Vec::new();
        for _ in 0..count {
            let mut client = proxy.connect().await;
            client.send(get(path)).await;
            clients.push(client);
        }
        until(|| in_flight(proxy) == u64::from(count)).await;
        until(|| self.open() >= count as usize).await;
        self.gate.add_permits(count as usize);
        for client in &mut clients {
            assert_eq!(client.response().await.text(), "good");
        }
        until(|| in_flight(proxy) == 0).await;
    }
}

/// How many the worker keeps, as it tells.
fn kept(proxy: &Proxy) -> u64 {
    let counters = proxy.running().counters();
    counters.iter().map(|one| one.idle.get()).sum()
}

#[tokio::test]
async fn of_those_that_were_busy_so_many_are_kept_as_may_be() {
    let server = Counted::start().await;
    let proxy = site_of(&[server.origin.address], |draft| {
        draft.limits.idle_per_origin = 2;
    });
    let mut connections = 5;
    for _ in 0..3 {
        server.serve(&proxy, "/", 5).await;
        assert_eq!(server.origin.connections(), connections);
        // The rest is closed, and those are the ones to be had next.
        until(|| server.open() == 2 && kept(&proxy) == 2).await;
        server.serve(&proxy, "/", 2).await;
        assert_eq!(server.origin.connections(), connections);
        assert_eq!(server.open(), 2);
        connections += 3;
    }
}

#[tokio::test]
async fn none_is_kept_where_none_may_be() {
    let server = Counted::start().await;
    let proxy = site_of(&[server.origin.address], |draft| {
        draft.limits.idle_per_origin = 0;
    });
    for connections in 1..=3 {
        server.serve(&proxy, "/", 1).await;
        until(|| server.open() == 0).await;
        assert_eq!(server.origin.connections(), connections);
    }
}

#[tokio::test]
async fn all_servers_together_have_a_bound_too() {
    let (one, two) = (Counted::start().await, Counted::start().await);
    let proxy = site_of(&[one.origin.address], |draft: &mut Draft| {
        draft.limits.idle_origins = 3;
        let servers = vec![server_of(two.origin.address)];
        draft.upstreams.push(UpstreamDraft::of("two", servers));
        draft.sites[0].routes.push(route_to("/two", "two"));
    });
    one.serve(&proxy, "/", 2).await;
    two.serve(&proxy, "/two", 4).await;
    until(|| one.open() == 2 && two.open() == 1 && kept(&proxy) == 3).await;
    // One that is taken leaves room for another.
    one.serve(&proxy, "/", 2).await;
    two.serve(&proxy, "/two", 1).await;
    assert_eq!((one.open(), two.open()), (2, 1));
    assert_eq!((one.origin.connections(), two.origin.connections()), (2, 4));
}

#[tokio::test]
async fn one_that_nobody_wants_is_closed_when_its_time_is_over() {
    let server = Counted::start().await;
    let proxy = site_of(&[server.origin.address], |draft| {
        draft.timeouts.pool_idle = Duration::from_millis(100);
    });
    server.serve(&proxy, "/", 3).await;
    until(|| server.open() == 0 && kept(&proxy) == 0).await;
    server.serve(&proxy, "/", 1).await;
    assert_eq!(server.origin.connections(), 4);
}

#[tokio::test]
async fn those_to_a_server_that_no_plan_has_are_closed_soon() {
    let server = Counted::start().await;
    let address = server.origin.address;
    let plan = |upstream: &str| {
        let mut draft = Draft {
            forwards: Vec::new(),
            admin: None,
            threads: 1,
            ..Draft::default()
        };
        draft.upstreams = vec![UpstreamDraft::of(upstream, vec![server_of(address)])];
        let listen = vec![([127, 0, 0, 1], 0).into()];
        let routes = vec![route_to("/", upstream)];
        draft.sites = vec![SiteDraft::on("shop", listen, routes)];
        draft.resolve().unwrap()
    };
    let mut proxy = site_of(&[address], |_| ());
    let judge = proxy.running().in_force().judge.clone();
    server.serve(&proxy, "/", 3).await;
    // Who stays has its own, though much else is new.
    for (upstream, open) in [("app", 3), ("renamed", 1)] {
        let reloaded = proxy.running_mut().reload(plan(upstream), judge.clone());
        reloaded.await.unwrap();
        server.serve(&proxy, "/", 1).await;
        until(|| kept(&proxy) == open && server.open() as u64 == open).await;
    }
    assert_eq!(server.origin.connections(), 4);
}
