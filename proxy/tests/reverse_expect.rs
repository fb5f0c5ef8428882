//! Requests that wait to be told before they send their bodies (RFC 9110 §10.1.1).

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "support/h2.rs"]
mod h2_support;
#[path = "support/sites.rs"]
mod sites;
mod support;

use h2_support::{DATA, END_STREAM, Frames, HEADERS, frame, request};
use sites::{h2c, lasting, route_to, site_by, site_of};
use support::origin::{ok, saying};
use support::{Client, DeadPort, Origin, field, within};
use tokio::sync::mpsc;

/// A server that waits for a body without having asked for it, and tells of the heads that it gets.
async fn mute() -> (Origin, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let origin = Origin::start(move |mut client: Client| {
        let tell = tell.clone();
        async move {
            while !client.bytes.is_empty() || client.more().await > 0 {
                tell.send(client.head().await).unwrap();
                client.take(4).await;
                client.send(ok("good")).await;
            }
        }
    })
    .await;
    (origin, told)
}

const ASKED: &str =
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
const GO_ON: &str = "HTTP/1.1 100 Continue\r\n\r\n";

#[tokio::test]
async fn over_http1_the_client_is_told_when_a_server_has_the_head_whether_that_asks_or_not() {
    let (origin, mut told) = mute().await;
    let proxy = site_of(&[origin.address], |_| ());
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        client.send(ASKED).await;
        assert_eq!(client.head().await, GO_ON);
        let head = within(told.recv()).await.unwrap();
        assert_eq!(field(&head, "expect"), Some("100-continue"), "{head}");
        client.send("body").await;
        assert_eq!(client.response().await.text(), "good");
    }
}

#[tokio::test]
async fn a_server_that_refuses_it_does_so_behind_that() {
    let origin = saying("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno").await;
    let proxy = site_of(&[origin.address], |_| ());
    let mut client = proxy.connect().await;
    client.send(ASKED).await;
    assert_eq!(client.head().await, GO_ON);
    assert_eq!(client.response().await.status(), 403);
}

#[tokio::test]
async fn where_no_server_gets_the_head_the_client_is_told_nothing_but_that() {
    let dead = DeadPort::new();
    let policy = lasting(|policy| policy.max_fails(1));
    let proxy = site_by(policy, &[dead.address()], |draft| {
        draft.sites[0].routes = vec![route_to("/", "app")];
        draft.sites[0].routes[0].matches.methods = vec![hyper::Method::PUT];
    });
    assert_eq!(proxy.ask(ASKED).await.status(), 502);
    assert_eq!(proxy.ask(ASKED).await.status(), 503);
    assert_eq!(proxy.ask(ASKED.replace("PUT", "POST")).await.status(), 405);
}

#[tokio::test]
async fn over_http2_the_client_sends_it_when_it_has_waited_for_long_enough() {
    let (origin, mut told) = mute().await;
    let proxy = h2c(&origin, |_| ());
    let mut client = Frames::connect(proxy.address, &[]).await;
    let expects = [("content-length", "4"), ("expect", "100-continue")];
    client.send(request(1, "PUT", &expects, false)).await;
    let head = within(told.recv()).await.unwrap();
    assert_eq!(field(&head, "expect"), Some("100-continue"), "{head}");
    client.send(frame(DATA, END_STREAM, 1, b"body")).await;
    // The first and only head is the answer's: `:status: 200` by its number (RFC 7541 Appendix A).
    let head = client.find(HEADERS, 1).await.unwrap();
    assert_eq!(head.payload[0], 0x88);
    let body = client.find(DATA, 1).await.unwrap();
    assert_eq!(body.payload, b"good");
}
