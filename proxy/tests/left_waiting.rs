//! Peers that leave, stop reading, or take their time: nothing is held for them, nothing cut short.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::time::Duration;

use support::origin::{hearing, ok};
use support::{Origin, Proxy, ask, get, policy, within};
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn an_origin_that_answers_and_stops_reading_keeps_no_place() {
    let origin = Origin::start(|mut client| async move {
        client.head().await;
        client.send(ok("ok")).await;
        // Stays open without being read.
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = Proxy::with(policy(), |draft| draft.limits.connections = 1);
    let mut client = proxy.connect().await;
    let post = ask("POST", origin.address, "/", "Content-Length: 100000000\r\n");
    assert_eq!(client.ask(post).await.status(), 200);
    let body = vec![0; 1 << 20];
    let stuck = async { while client.stream.write_all(&body).await.is_ok() {} };
    let _ = tokio::time::timeout(Duration::from_millis(300), stuck).await;
    client.reset();
    proxy.has_room().await;
}

#[tokio::test]
async fn a_client_that_is_reset_is_not_waited_for_while_its_origin_is_silent() {
    let (origin, mut heard) = hearing().await;
    let proxy = Proxy::with(policy(), |draft| draft.limits.connections = 1);
    let request = get(origin.address, "/");
    // Alone, with a request behind it that nobody reads, and behind the end of its stream.
    for (behind, is_ended) in [("", false), (&*request, false), ("", true)] {
        let mut client = proxy.connect().await;
        client.send(&request).await;
        within(heard.recv()).await.unwrap();
        client.send(behind).await;
        if is_ended {
            client.end().await;
        }
        client.reset();
        proxy.has_room().await;
    }
}

#[tokio::test]
async fn a_drain_does_not_wait_for_an_answer_that_nobody_waits_for() {
    let (origin, mut heard) = hearing().await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    client.send(get(origin.address, "/")).await;
    within(heard.recv()).await.unwrap();
    client.reset();
    let stopped = proxy.shutdown(Duration::from_secs(8)).await;
    assert_eq!(stopped.cut, 0);
}

#[tokio::test]
async fn a_response_that_is_taken_slowly_is_not_cut_at_its_end() {
    let origin = Origin::start(|mut client| async move {
        let head = client.head().await;
        let path = head.split(' ').nth(1).unwrap();
        let len: usize = path[1..].parse().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
        client.send(head).await;
        client.send(vec![7; len]).await;
        client.rest().await;
    })
    .await;
    let proxy = Proxy::with(policy(), |draft| {
        draft.timeouts.keep_alive = Duration::from_millis(50);
    });
    // Several lengths, of which one leaves its last bytes with the engine when the socket is full.
    let mut taking = tokio::task::JoinSet::new();
    for len in (0..32).map(|n| 6_000_000 + n * 40_000) {
        let mut client = proxy.connect().await;
        socket2::SockRef::from(&client.stream)
            .set_recv_buffer_size(64 * 1024)
            .unwrap();
        let request = get(origin.address, &format!("/{len}"));
        taking.spawn(async move {
            client.send(request).await;
            client.head().await;
            let mut left = len;
            while left > 0 {
                // Longer than the keep-alive.
                tokio::time::sleep(Duration::from_millis(100)).await;
                let step = left.min(600_000);
                client.take(step).await;
                left -= step;
            }
        });
    }
    while let Some(taken) = taking.join_next().await {
        taken.unwrap();
    }
}

#[tokio::test]
async fn a_post_is_not_sent_to_a_server_that_has_closed() {
    let (closed, mut is_closed) = tokio::sync::mpsc::unbounded_channel();
    let origin = Origin::start(move |mut client| {
        let closed = closed.clone();
        async move {
            client.head().await;
            client.send(ok("ok")).await;
            drop(client);
            closed.send(()).unwrap();
        }
    })
    .await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    let post = ask("POST", origin.address, "/", "Content-Length: 0\r\n");
    for _ in 0..200 {
        assert_eq!(client.ask(&post).await.status(), 200);
        within(is_closed.recv()).await.unwrap();
    }
}
