//! Sites in front of servers: what is sent on, what comes back, and from whom.

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

use sites::{get, site_of};
use support::origin::answering;
use support::{Origin, Proxy, field};

#[tokio::test]
async fn a_server_is_told_who_asks_and_for_what_host() {
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], |_| ());
    let asked = "GET /a/../b?c=d HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 192.0.2.9\r\n\
                 Connection: x-secret\r\nX-Secret: 1\r\nX_Under: 1\r\nX-Kept: 2\r\n\r\n";
    let answer = proxy.ask(asked).await;
    assert_eq!(answer.status(), 200);
    let told = answer.text();
    assert!(told.starts_with("GET /b?c=d HTTP/1.1\r\n"), "{told}");
    assert_eq!(field(told, "host"), Some("shop.example"));
    assert_eq!(field(told, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(field(told, "x-forwarded-proto"), Some("http"));
    assert_eq!(field(told, "x-kept"), Some("2"));
    assert_eq!(field(told, "x-secret"), None);
    assert_eq!(field(told, "x_under"), None);
    assert_eq!(field(told, "x-request-id").unwrap().len(), 32);
    let lines = proxy.lines(1).await;
    assert!(
        lines[0].starts_with("http GET shop.example/a/../b?c=d 200 "),
        "{lines:?}"
    );
}

#[tokio::test]
async fn max_forwards_ends_at_zero_and_counts_down_before() {
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], |_| ());
    let asked = |method, left| {
        format!("{method} / HTTP/1.1\r\nHost: shop.example\r\nMax-Forwards: {left}\r\n\r\n")
    };
    let ours = proxy.ask(asked("OPTIONS", "0")).await;
    assert_eq!(ours.status(), 200);
    assert!(ours.field("allow").ends_with(", OPTIONS"));
    let trace = proxy.ask(asked("TRACE", "0")).await;
    assert_eq!(trace.status(), 405);
    assert!(trace.field("allow").ends_with(", OPTIONS"));
    assert_eq!(proxy.ask(asked("OPTIONS", "many")).await.status(), 400);
    assert_eq!(origin.connections(), 0);
    let theirs = proxy.ask(asked("OPTIONS", "3")).await;
    assert_eq!(field(theirs.text(), "max-forwards"), Some("2"));
    // What `Connection` names is for this hop alone.
    let named = asked("OPTIONS", "3").replace("Max", "Connection: max-forwards\r\nMax");
    let theirs = proxy.ask(named).await;
    assert_eq!(field(theirs.text(), "max-forwards"), None);
    // For other methods it means nothing (RFC 9110 §7.6.2).
    let theirs = proxy.ask(asked("GET", "0")).await;
    assert_eq!(field(theirs.text(), "max-forwards"), Some("0"));
}

#[tokio::test]
async fn a_colon_without_a_port_is_no_part_of_the_host() {
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], |_| ());
    for asked in [
        "GET / HTTP/1.1\r\nHost: shop.example:\r\n\r\n",
        "GET http://shop.example:/ HTTP/1.1\r\nHost: shop.example:\r\n\r\n",
    ] {
        let answer = proxy.ask(asked).await;
        assert_eq!(answer.status(), 200, "{asked}");
        let told = answer.text();
        assert_eq!(field(told, "host"), Some("shop.example"), "{asked}");
        let claim = field(told, "x-forwarded-host");
        assert_eq!(claim, Some("shop.example"), "{asked}");
    }
}

#[tokio::test]
async fn connections_to_clients_and_servers_are_kept() {
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], |_| ());
    let mut client = proxy.connect().await;
    for _ in 0..5 {
        client.send(get("/")).await;
        assert_eq!(client.response().await.status(), 200);
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn the_words_behind_a_status_are_the_servers() {
    for line in ["299 Fine By Me", "999 ", "404 Not Found"] {
        let answer = format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
        let origin = answering(answer).await;
        let site = site_of(&[origin.address], |_| ());
        let forward = Proxy::start();
        let head = site.ask(get("/")).await.head;
        assert!(head.starts_with(&format!("HTTP/1.1 {line}\r\n")), "{head}");
        let head = forward.get(origin.address, "/").await.head;
        assert!(head.starts_with(&format!("HTTP/1.1 {line}\r\n")), "{head}");
    }
}
