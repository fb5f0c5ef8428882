//! The end: what is in flight may finish, what is idle goes, what is late is cut and counted.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::time::Duration;

use support::origin::ok;
use support::{Client, Origin, PATIENCE, Proxy, connect, get, within};
use tokio::net::TcpStream;

async fn tunnel(proxy: &Proxy, origin: &Origin) -> Client {
    let mut client = proxy.connect().await;
    client.send(connect(origin.address)).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    client
}

#[tokio::test]
async fn an_idle_proxy_stops_at_once() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let mut kept = proxy.connect().await;
    kept.ask(get(origin.address, "/")).await;
    let address = proxy.address;
    assert_eq!(proxy.shutdown(PATIENCE).await.cut, 0);
    assert_eq!(kept.rest().await, b"", "the idle connection was closed");
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_its_connection_closed_behind_it() {
    let (release, released) = tokio::sync::watch::channel(false);
    let origin = Origin::start(move |mut client| {
        let mut released = released.clone();
        async move {
            client.head().await;
            released.wait_for(|released| *released).await.unwrap();
            client.send(ok("ok")).await;
            client.rest().await;
        }
    })
    .await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    client.send(get(origin.address, "/")).await;
    support::until(|| origin.connections() == 1).await;
    proxy.running().drain(PATIENCE);
    // It has begun when nobody listens any more.
    while TcpStream::connect(proxy.address).await.is_ok() {}
    release.send(true).unwrap();
    let response = client.response().await;
    assert_eq!(response.text(), "ok");
    assert_eq!(response.field("connection"), "close");
    assert_eq!(client.rest().await, b"");
    assert_eq!(proxy.shutdown(PATIENCE).await.cut, 0);
}

#[tokio::test]
async fn tunnels_go_on_while_draining() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start();
    let mut client = tunnel(&proxy, &origin).await;
    proxy.running().drain(PATIENCE * 10);
    // It has begun when nobody listens any more.
    while TcpStream::connect(proxy.address).await.is_ok() {}
    client.send("ping").await;
    assert_eq!(client.take(4).await, b"ping");
}

#[tokio::test]
async fn tunnels_are_cut_at_the_deadline_and_counted() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start();
    let mut tunnels = vec![tunnel(&proxy, &origin).await, tunnel(&proxy, &origin).await];
    proxy.running().drain(Duration::from_millis(20));
    assert_eq!(proxy.shutdown(PATIENCE).await.cut, 2);
    for tunnel in &mut tunnels {
        tunnel.rest().await;
    }
}

#[tokio::test]
async fn a_tunnel_that_ends_ends_the_drain() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start();
    let mut client = tunnel(&proxy, &origin).await;
    proxy.running().drain(PATIENCE * 10);
    client.end().await;
    client.rest().await;
    assert_eq!(proxy.shutdown(PATIENCE).await.cut, 0);
}

#[tokio::test]
async fn a_second_order_cuts_at_once() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start();
    let mut client = tunnel(&proxy, &origin).await;
    proxy.running().drain(PATIENCE * 10);
    proxy.running().cut();
    assert_eq!(proxy.shutdown(PATIENCE).await.cut, 1);
    client.rest().await;
}

#[tokio::test]
async fn connections_that_were_accepted_by_the_kernel_are_served() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = proxy.connect().await;
        client.send(get(origin.address, "/")).await;
        clients.push(client);
    }
    let stopped = tokio::spawn(proxy.shutdown(PATIENCE));
    for client in &mut clients {
        assert_eq!(client.response().await.status(), 200);
    }
    assert_eq!(within(stopped).await.unwrap().cut, 0);
}
