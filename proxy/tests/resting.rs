//! Connections that go without a request for a while, and come back, or do not.

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
#[path = "support/tls.rs"]
mod tls;

use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use risefall_proxy::plan::Draft;
use risefall_proxy::plan::upstream::HttpVersion;
use rustls::version::TLS13;
use sites::{get, site_of, with_body};
use support::origin::{answering, echoing_bodies, ok};
use support::{Client, Origin, Proxy, SOON, until, within};
use tls::{Folder, shake, speak_tls};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::sleep;

/// Deadlines are kept to an eighth of the shortest.
fn watchful(draft: &mut Draft) {
    draft.timeouts.tunnel = Some(SHORT);
}

/// One that has had an answer, and has rested since.
async fn rested<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>) {
    client.send(get("/")).await;
    assert_eq!(client.response().await.status(), 200);
    sleep(REST).await;
}

/// How many clients the proxy has.
fn open(proxy: &Proxy) -> u64 {
    let counters = proxy.running().counters();
    counters.iter().map(|one| one.connections.get()).sum()
}

#[tokio::test]
async fn what_comes_behind_a_rest_is_served_however_it_comes() {
    let origin = echoing_bodies().await;
    let proxy = site_of(&[origin.address], watchful);
    let mut client = proxy.connect().await;
    // Also where nothing came at first.
    sleep(REST).await;
    rested(&mut client).await;
    // Two at once.
    client.send(get("/") + &with_body("PUT", "two")).await;
    assert_eq!(client.response().await.status(), 200);
    assert_eq!(client.response().await.text(), "two");
    sleep(REST).await;
    // In pieces, the first of which is no word.
    let asked = with_body("PUT", "three");
    for piece in [&asked[..1], &asked[1..20], &asked[20..]] {
        client.send(piece).await;
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.response().await.text(), "three");
    sleep(REST).await;
    // More than is read before there is an engine.
    let large = "4".repeat(100_000);
    client.send(with_body("PUT", &large)).await;
    assert_eq!(client.response().await.text(), large);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn what_breaks_a_rule_behind_a_rest_is_told_so() {
    let origin = answering(ok("good")).await;
    let proxy = site_of(&[origin.address], watchful);
    for (asked, status) in [
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("\0", 400),
        ("GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ] {
        let mut client = proxy.connect().await;
        rested(&mut client).await;
        client.send(asked).await;
        assert_eq!(client.response().await.status(), status, "{asked:?}");
        assert!(client.rest().await.is_empty());
    }
    // A client that says nothing, and then something wrong.
    let mut client = proxy.connect().await;
    client.send("\0").await;
    assert_eq!(client.response().await.status(), 400);
}

#[tokio::test]
async fn a_tunnel_may_begin_behind_a_rest() {
    let origin = Origin::start(|mut client: Client| async move {
        client.take(5).await;
        client.send("world").await;
        client.rest().await;
    })
    .await;
    let proxy = Proxy::with(support::policy(), |draft| {
        draft.timeouts.pool_idle = SHORT;
    });
    let mut client = proxy.connect().await;
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 200);
    sleep(REST).await;
    let address = origin.address;
    let asked = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\nhello");
    client.send(asked).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(client.take(5).await, b"world");
}

#[tokio::test]
async fn who_rests_is_let_go_when_the_proxy_drains_or_the_time_is_over() {
    let origin = answering(ok("good")).await;
    let folder = Folder::new();
    let identity = folder.identity("shop.example", &["shop.example"]);
    let proxy = site_of(&[origin.address], |draft| {
        speak_tls(draft, vec![identity]);
        draft.timeouts.keep_alive = REST;
    });
    let config = folder.client(&[&TLS13], &[b"http/1.1"]);
    let mut client = shake(proxy.address, &config, "shop.example").await;
    client.send(get("/")).await;
    assert_eq!(client.response().await.status(), 200);
    // Its end is said, as TLS wants it.
    let ended = within(client.stream.read(&mut [0; 9])).await;
    assert_eq!(ended.unwrap(), 0);

    let proxy = site_of(&[origin.address], watchful);
    let mut client = proxy.connect().await;
    rested(&mut client).await;
    let stopped = proxy.shutdown(SOON).await;
    assert_eq!(stopped.cut, 0);
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn an_empty_line_behind_a_request_keeps_nobody() {
    let origin = answering(ok("good")).await;
    let asked = get("/") + "\r\n";
    let proxy = site_of(&[origin.address], |draft| draft.timeouts.keep_alive = REST);
    let mut client = proxy.connect().await;
    client.send(&asked).await;
    assert_eq!(client.response().await.status(), 200);
    assert!(client.rest().await.is_empty());

    let proxy = site_of(&[origin.address], watchful);
    let mut client = proxy.connect().await;
    client.send(&asked).await;
    assert_eq!(client.response().await.status(), 200);
    sleep(REST).await;
    client.send(&asked).await;
    assert_eq!(client.response().await.status(), 200);
    sleep(REST).await;
    assert_eq!(proxy.shutdown(SOON).await.cut, 0);
}

/// Answers each request at once and takes nothing of its body.
async fn unready() -> Origin {
    Origin::start(|client: Client| async move {
        let mut builder = h2::server::Builder::new();
        let serving = builder
            .initial_window_size(0)
            .handshake::<_, Bytes>(client.stream);
        let mut connection = serving.await.unwrap();
        let mut bodies = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            // It would be reset if it were dropped.
            bodies.push(request);
            respond.send_response(Response::new(()), true).unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn the_rest_of_a_body_is_no_request() {
    let origin = unready().await;
    let proxy = site_of(&[origin.address], |draft| {
        watchful(draft);
        draft.upstreams[0].http = HttpVersion::H2;
    });
    // From now on the proxy knows that there is no room for a body.
    assert_eq!(proxy.ask(get("/")).await.status(), 200);
    let mut client = proxy.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    let asked = head.to_owned() + &"1\r\na\r\n".repeat(20) + "0\r\n\r\n";
    client.send(asked).await;
    assert_eq!(client.response().await.status(), 200);
    sleep(REST).await;
    // Too late for anything, if the connection has ended.
    let _ = client.stream.write_all(get("/next").as_bytes()).await;
    assert_eq!(String::from_utf8(client.rest().await).unwrap(), "");
    assert_eq!(proxy.lines(2).await.len(), 2);
}

#[tokio::test]
async fn who_has_asked_for_nothing_yet_is_still_served_when_the_proxy_drains() {
    let origin = answering(ok("good")).await;
    let proxy = site_of(&[origin.address], watchful);
    let mut client = proxy.connect().await;
    until(|| open(&proxy) == 1).await;
    proxy.running().drain(SOON);
    client.send(get("/")).await;
    let answer = client.response().await;
    assert_eq!(
        (answer.status(), answer.field("connection")),
        (200, "close")
    );
    assert_eq!(proxy.shutdown(SOON).await.cut, 0);
}

const SHORT: Duration = Duration::from_millis(400);
/// Longer than a connection without a request keeps its buffers.
const REST: Duration = Duration::from_millis(600);
