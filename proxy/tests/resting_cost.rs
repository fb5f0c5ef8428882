//! What it costs in memory to keep a connection without a request: its place, and no buffers.
//!
//! One test in this file: it counts what the whole process asks of the allocator.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::alloc::System;

#[path = "support/counting.rs"]
mod counting;
#[path = "support/sites.rs"]
mod sites;
mod support;

use counting::{Counting, so_far};
use sites::{get, site_of};
use support::origin::{answering, ok};
use support::{Client, until};

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting(System);

/// Bytes that each of the connections takes by now.
fn each(before: counting::Counts) -> u64 {
    (so_far() - before).held() / CONNECTIONS
}

#[tokio::test]
async fn who_asks_for_nothing_holds_no_buffers() {
    // Clients and servers are here.
    counting::leave_out_this_thread();
    let origin = answering(ok("good")).await;
    let proxy = site_of(&[origin.address], |_| ());
    let counters = &proxy.running().counters()[0];
    assert_eq!(proxy.ask(get("/")).await.status(), 200);
    until(|| counters.connections.get() == 0).await;
    let before = so_far();
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(proxy.connect().await);
    }
    until(|| counters.connections.get() == CONNECTIONS).await;
    assert!(each(before) < MOST, "silent: {}", each(before));
    for round in 0..2 {
        for client in &mut clients {
            client.send(get("/")).await;
            assert_eq!(client.response().await.status(), 200);
        }
        until(|| each(before) < MOST).await;
        let now = each(before);
        println!("{now} bytes each");
        assert!(now > 0, "{round}: a connection takes something, not {now}");
    }
}

const CONNECTIONS: u64 = 200;
/// The buffers of one connection take three times as much.
const MOST: u64 = 6 * 1024;
