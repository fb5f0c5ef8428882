//! Bounds that an operator sets: on a client, on the rate, on the whole time, on memory.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::time::Duration;

use risefall_proxy::bounds::Memory;
use support::{Client, Origin, PATIENCE, Proxy, connect, get, policy, within};

const OPTIONS: &str = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";

async fn held(proxy: &Proxy) -> Client {
    let mut client = proxy.connect().await;
    assert_eq!(client.ask(OPTIONS).await.status(), 200);
    client
}

#[tokio::test]
async fn one_client_has_so_many_connections_over_all_workers() {
    let proxy = Proxy::with(policy(), |draft| {
        draft.limits.per_client = 2;
        draft.threads = 2;
    });
    let (first, _second) = (held(&proxy).await, held(&proxy).await);
    let refused = proxy.ask(OPTIONS).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.text().contains("one client"), "{}", refused.text());
    assert!(
        refused
            .field("proxy-status")
            .contains("connection_limit_reached")
    );
    drop(first);
    proxy.has_room().await;
}

#[tokio::test]
async fn a_slow_rate_of_accepting_loses_nobody() {
    let proxy = Proxy::with(policy(), |draft| {
        draft.limits.accept_rate = 50;
        draft.threads = 2;
    });
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(proxy.connect().await);
    }
    for client in &mut clients {
        client.send(OPTIONS).await;
    }
    for client in &mut clients {
        assert_eq!(client.response().await.status(), 200);
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_in_all_is_answered_or_cut() {
    let proxy = Proxy::with(policy(), |draft| {
        draft.timeouts.request = Some(Duration::from_millis(100));
        draft.timeouts.answer = PATIENCE * 10;
        draft.timeouts.body_idle = PATIENCE * 10;
    });
    let silent = Origin::start(|mut client: Client| async move {
        client.head().await;
        client.rest().await;
    })
    .await;
    let answer = proxy.get(silent.address, "/").await;
    assert_eq!(answer.status(), 504);
    assert!(
        answer
            .field("proxy-status")
            .contains("http_response_timeout")
    );
    // One that is never still for long, and never ends.
    let endless = Origin::start(|mut client: Client| async move {
        client.head().await;
        client.send("HTTP/1.1 200 OK\r\n\r\n").await;
        while tokio::io::AsyncWriteExt::write_all(&mut client.stream, b"x")
            .await
            .is_ok()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut client = proxy.connect().await;
    client.send(get(endless.address, "/")).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    client.rest().await;
    let lines = proxy.lines(2).await;
    assert!(lines[1].ends_with("http_response_timeout"), "{lines:?}");
    // The next request on a connection has its own time.
    let quick = Origin::echo().await;
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        let response = client.ask(get(quick.address, "/")).await;
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn a_tunnel_lives_as_long_as_it_may_however_busy_it_is() {
    let proxy = Proxy::with(policy(), |draft| {
        draft.timeouts.tunnel = Some(Duration::from_millis(100));
        draft.timeouts.idle = PATIENCE * 10;
    });
    let endless = Origin::start(|mut client: Client| async move {
        while tokio::io::AsyncWriteExt::write_all(&mut client.stream, b"x")
            .await
            .is_ok()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut client = proxy.connect().await;
    client.send(connect(endless.address)).await;
    client.head().await;
    client.rest().await;
    let lines = proxy.lines(1).await;
    assert!(lines[0].ends_with("http_response_timeout"), "{lines:?}");
}

#[tokio::test]
async fn while_memory_is_short_new_clients_are_refused_and_open_ones_are_shed() {
    let proxy = Proxy::with(policy(), |draft| draft.limits.memory = Memory::Bytes(1));
    let refused = within(async {
        loop {
            // One that is told so may be among those that are cut.
            let mut client = proxy.connect().await;
            client.send(OPTIONS).await;
            client.end().await;
            let answer = String::from_utf8(client.rest().await).unwrap();
            if answer.contains("memory is short") {
                break answer;
            }
        }
    });
    let refused = refused.await.to_ascii_lowercase();
    assert!(refused.starts_with("http/1.1 503 "), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
}
