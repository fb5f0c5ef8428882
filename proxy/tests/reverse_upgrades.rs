//! Requests to sites that ask to leave HTTP, and what comes of it.

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

use std::time::Duration;

use risefall_proxy::plan::Draft;
use sites::{get, in_flight, site_of};
use support::origin::saying;
use support::{Client, Origin, field, until};

#[tokio::test]
async fn a_websocket_is_a_tunnel_behind_the_101_and_not_before() {
    let origin = Origin::start(|mut client: Client| async move {
        let head = client.head().await;
        assert_eq!(field(&head, "upgrade"), Some("websocket"), "{head}");
        assert_eq!(field(&head, "connection"), Some("upgrade"), "{head}");
        client
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: x\r\n\r\nearly",
            )
            .await;
        let said = client.take(9).await;
        assert_eq!(said, b"alongmore");
        client.send("bye").await;
    })
    .await;
    let proxy = site_of(&[origin.address], |_| ());
    let mut client = proxy.connect().await;
    client
        .send(
            "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\nalong",
        )
        .await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert_eq!(client.take(5).await, b"early");
    client.send("more").await;
    assert_eq!(client.rest().await, b"bye");
    client.end().await;
    let lines = proxy.lines(1).await;
    assert!(
        lines[0].starts_with("http GET a/chat 101 9 8 "),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_site_is_no_way_to_somewhere_else() {
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], |_| ());
    let mut client = proxy.connect().await;
    let address = origin.address;
    client
        .send(format!(
            "CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"
        ))
        .await;
    let answer = client.response().await;
    assert!(matches!(answer.status(), 400 | 405), "{}", answer.head);
    assert_eq!(origin.connections(), 0);
    assert_eq!(answer.field("connection"), "close");
    assert_eq!(client.rest().await, b"");
    // What came along was meant for a tunnel, and is no request.
    for target in ["a:80", "/path", "http://a/path", "*"] {
        let mut client = proxy.connect().await;
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: a:80\r\n\r\n");
        client.send(head + &get("/hidden")).await;
        assert!(matches!(client.response().await.status(), 400 | 405));
        assert_eq!(client.rest().await, b"");
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn other_protocols_are_left_alone_unless_the_server_takes_them() {
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], |_| ());
    for upgrade in ["h2c", "HTTP/2.0", "TLS/1.0", "websocket, h2c", "websocket"] {
        let asked = format!(
            "GET /one HTTP/1.1\r\nHost: a\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABk\r\n\
             Connection: Upgrade, HTTP2-Settings\r\n\r\n"
        );
        let mut client = proxy.connect().await;
        // The next request is there before the answer that keeps it one.
        client.send(asked + &get("/two")).await;
        let told = client.response().await;
        let is_asked = upgrade == "websocket";
        assert_eq!(
            field(told.text(), "upgrade").is_some(),
            is_asked,
            "{}",
            told.text()
        );
        assert_eq!(field(told.text(), "http2-settings"), None);
        let told = client.response().await;
        assert!(
            told.text().starts_with("GET /two "),
            "{upgrade}: {}",
            told.text()
        );
    }
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_no_answer() {
    let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\
                     HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let origin = saying(switching).await;
    let proxy = site_of(&[origin.address], |_| ());
    let mut client = proxy.connect().await;
    client.send(get("/")).await;
    assert_eq!(client.response().await.status(), 502);
    client.send(get("/")).await;
    assert_eq!(client.response().await.status(), 502);
}

#[tokio::test]
async fn a_switch_to_nothing_is_no_answer() {
    let origin = saying("HTTP/1.1 101 Switching Protocols\r\n\r\nbytes").await;
    let proxy = site_of(&[origin.address], |_| ());
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let mut client = proxy.connect().await;
    client.send(asked).await;
    let answer = client.response().await;
    assert_eq!(answer.status(), 502);
    assert!(!answer.text().contains("bytes"));
    until(|| in_flight(&proxy) == 0).await;
}

#[tokio::test]
async fn a_tunnel_that_stands_still_is_cut_by_its_own_deadline() {
    let origin = Origin::start(|mut client: Client| async move {
        client.head().await;
        let said = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\n\r\n";
        client.send(said).await;
        client.rest().await;
    })
    .await;
    let proxy = site_of(&[origin.address], |draft: &mut Draft| {
        draft.sites[0].routes[0].timeouts.idle = Some(Duration::from_millis(100));
    });
    let mut client = proxy.connect().await;
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    client.send(asked).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(client.rest().await, b"");
    let lines = proxy.lines(1).await;
    assert!(
        lines[0].contains(" 101 ") && lines[0].ends_with("connection_read_timeout"),
        "{lines:?}"
    );
}
