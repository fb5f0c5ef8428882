//! Origins that die, stand still, break off or are not there.

use std::time::Duration;

use risefall::Policy;

use super::support::origin::{ok, saying, silent, staying};
use super::support::{Origin, Proxy, ask, black_hole, get, policy, socks5, socks5_address};

const CUT_SHORT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this";

#[tokio::test]
async fn a_pooled_connection_that_died_is_replaced_unseen() {
    // Answers one request and closes without having said so.
    let origin = saying(ok("ok")).await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    for _ in 0..20 {
        let response = client.ask(get(origin.address, "/")).await;
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn a_request_is_sent_again_only_if_that_harms_nothing() {
    // Answers the first request of a connection, swallows the second and closes.
    let origin = Origin::start(|mut client| async move {
        client.head().await;
        client.send(ok("ok")).await;
        client.head().await;
    })
    .await;
    let proxy = Proxy::start();
    let address = origin.address;
    assert_eq!(proxy.get(address, "/").await.status(), 200);
    assert_eq!(proxy.get(address, "/").await.status(), 200);
    assert_eq!(origin.connections(), 2);
    let post = ask("POST", address, "/", "Content-Length: 0\r\n");
    let response = proxy.ask(post).await;
    assert_eq!(response.status(), 502);
    let status = response.field("proxy-status");
    assert!(status.contains("http_response_incomplete"), "{status}");
}

#[tokio::test]
async fn an_origin_that_does_not_answer_is_given_up_on() {
    let origin = silent().await;
    let proxy = Proxy::with(policy(), |draft| {
        draft.timeouts.answer = Duration::from_millis(100);
    });
    let response = proxy.get(origin.address, "/").await;
    assert_eq!(response.status(), 504);
    let status = response.field("proxy-status");
    assert!(status.contains("http_response_timeout"), "{status}");
}

#[tokio::test]
async fn an_answer_that_is_cut_short_ends_the_clients_connection_too() {
    let origin = saying(CUT_SHORT).await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    client.send(get(origin.address, "/")).await;
    client.head().await;
    assert_eq!(client.rest().await, b"only this");
}

#[tokio::test]
async fn a_body_that_stands_still_is_cut() {
    let origin = staying(CUT_SHORT).await;
    let proxy = Proxy::with(policy(), |draft| {
        draft.timeouts.body_idle = Duration::from_millis(100);
    });
    let mut client = proxy.connect().await;
    client.send(get(origin.address, "/")).await;
    client.head().await;
    assert_eq!(client.rest().await, b"only this");
}

#[tokio::test]
async fn a_black_hole_costs_the_connect_timeout_until_it_is_known() {
    let (hole, _filling) = black_hole().await;
    let address = hole.local_addr().unwrap().as_socket().unwrap();
    let policy = Policy::builder().connect_timeout(Duration::from_millis(100));
    let proxy = Proxy::with(policy.build().unwrap(), |_| ());
    for _ in 0..3 {
        let response = proxy.get(address, "/").await;
        assert_eq!(response.status(), 504);
        let status = response.field("proxy-status");
        assert!(status.contains("connection_timeout"), "{status}");
    }
    let mut client = proxy.connect().await;
    let (reply, _) = socks5(&mut client, &socks5_address(address)).await;
    assert_eq!(reply, 4);
    assert_eq!(proxy.get(address, "/").await.status(), 503);
}
