//! CONNECT and SOCKS5: whatever the client sends reaches its target, and the other way round.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::{
    Client, DeadPort, Origin, Proxy, connect, get, policy, socks5, socks5_address, socks5_name,
};

async fn open(proxy: &Proxy, target: SocketAddr) -> Client {
    let mut client = proxy.connect().await;
    client.send(connect(target)).await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(support::field(&head, "content-length"), None, "{head}");
    assert_eq!(support::field(&head, "transfer-encoding"), None, "{head}");
    client
}

#[tokio::test]
async fn bytes_pass_both_ways_until_both_sides_have_ended() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start();
    let mut client = open(&proxy, origin.address).await;
    for _ in 0..3 {
        client.send("ping").await;
        assert_eq!(client.take(4).await, b"ping");
    }
    client.end().await;
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn bytes_sent_behind_the_connect_belong_to_the_tunnel() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    let early = b"early \x00\xff\r\n\r\n bytes";
    client
        .send([connect(origin.address).as_bytes(), early].concat())
        .await;
    client.head().await;
    assert_eq!(client.take(early.len()).await, early);
}

#[tokio::test]
async fn a_side_that_has_ended_still_hears_the_other() {
    let origin = Origin::start(|mut client| async move {
        let all = client.rest().await;
        client.send(format!("got {}", all.len())).await;
    })
    .await;
    let proxy = Proxy::start();
    let mut client = open(&proxy, origin.address).await;
    client.send([1; 100_000]).await;
    client.end().await;
    assert_eq!(client.rest().await, b"got 100000");
}

#[tokio::test]
async fn much_passes_in_both_directions_at_once() {
    const MUCH: usize = 8_000_000;
    let origin = Origin::mirror().await;
    let proxy = Proxy::start();
    let client = open(&proxy, origin.address).await;
    let (mut read, mut write) = client.stream.into_split();
    let sent: Vec<u8> = (0..MUCH).map(|n| (n % 253) as u8).collect();
    let expected = sent.clone();
    let writer = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    support::within(tokio::io::AsyncReadExt::read_to_end(
        &mut read,
        &mut received,
    ))
    .await
    .unwrap();
    writer.await.unwrap();
    assert!(received == expected);
}

#[tokio::test]
async fn a_tunnel_that_stands_still_is_closed() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::with(policy(), |draft| {
        draft.timeouts.idle = Duration::from_millis(100);
    });
    let mut client = open(&proxy, origin.address).await;
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_connect_that_fails_says_why_and_ends_the_connection() {
    let proxy = Proxy::start();
    let dead = DeadPort::new();
    let mut client = proxy.connect().await;
    client.send(connect(dead.address())).await;
    let response = client.response().await;
    assert_eq!(response.status(), 502);
    assert_eq!(response.field("connection"), "close");
    assert!(
        response
            .field("proxy-status")
            .starts_with("risefall; error=connection_refused;")
    );
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn bytes_that_follow_a_connect_later_are_not_taken_for_a_request_either() {
    let origin = Origin::echo().await;
    let (hole, _filling) = support::black_hole().await;
    let address = hole.local_addr().unwrap().as_socket().unwrap();
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    client.send(connect(address)).await;
    // The proxy has read the head by itself when it dials.
    tokio::time::sleep(Duration::from_millis(30)).await;
    let hidden = get(origin.address, "/");
    client.send(hidden).await;
    assert_eq!(client.response().await.status(), 504);
    assert_eq!(client.rest().await, b"");
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn bytes_meant_for_a_tunnel_that_never_was_are_not_taken_for_a_request() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let dead = DeadPort::new();
    let mut client = proxy.connect().await;
    let hidden = get(origin.address, "/");
    client.send(connect(dead.address()) + &hidden).await;
    assert_eq!(client.response().await.status(), 502);
    client.rest().await;
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_connect_to_nonsense_is_a_bad_request() {
    let proxy = Proxy::start();
    for target in [
        "127.0.0.1:0",
        "127.0.0.1",
        "127.0.0.1:65536",
        "user@127.0.0.1:80",
        "[::1]",
        ":80",
    ] {
        let response = proxy.ask(connect(target)).await;
        assert_eq!(response.status(), 400, "{target}");
    }
}

#[tokio::test]
async fn socks5_reaches_v4_v6_and_names_and_tells_its_own_address() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start();
    let port = origin.address.port();
    for address in [
        socks5_address(origin.address),
        socks5_name("localhost", port),
    ] {
        let mut client = proxy.connect().await;
        let (reply, bound) = socks5(&mut client, &address).await;
        assert_eq!(reply, 0);
        assert_eq!(bound[..4], [127, 0, 0, 1]);
        assert_ne!(bound[4..], [0, 0]);
        client.send("ping").await;
        assert_eq!(client.take(4).await, b"ping");
    }
    if let Ok(listener) = std::net::TcpListener::bind("[::1]:0") {
        let mut client = proxy.connect().await;
        let address = socks5_address(listener.local_addr().unwrap());
        let (reply, bound) = socks5(&mut client, &address).await;
        assert_eq!((reply, bound.len()), (0, 18));
    }
}

#[tokio::test]
async fn socks5_bytes_sent_behind_the_request_belong_to_the_tunnel() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    let request = [
        &[5, 1, 0, 5, 1, 0][..],
        &socks5_address(origin.address),
        b"early",
    ]
    .concat();
    client.send(request).await;
    assert_eq!(client.take(2).await, [5, 0]);
    assert_eq!(client.take(10).await[..2], [5, 0]);
    assert_eq!(client.take(5).await, b"early");
}

#[tokio::test]
async fn socks5_handshakes_may_come_byte_by_byte() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    client.stream.set_nodelay(true).unwrap();
    let request = [&[5, 1, 0, 5, 1, 0][..], &socks5_address(origin.address)].concat();
    for byte in request {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.take(2).await, [5, 0]);
    assert_eq!(client.take(10).await[..2], [5, 0]);
}

#[tokio::test]
async fn socks5_failures_have_the_replies_of_the_rfc() {
    let proxy = Proxy::start();
    let dead = DeadPort::new();
    let mut client = proxy.connect().await;
    assert_eq!(
        socks5(&mut client, &socks5_address(dead.address())).await.0,
        5
    );
    let mut client = proxy.connect().await;
    assert_eq!(
        socks5(&mut client, &socks5_address(proxy.address)).await.0,
        2
    );
    // BIND, and an address type that nobody knows.
    for (request, reply) in [
        (&[5, 2, 0, 1, 127, 0, 0, 1, 0, 80][..], 7),
        (&[5, 1, 0, 9], 8),
    ] {
        let mut client = proxy.connect().await;
        client.send([5, 1, 0]).await;
        assert_eq!(client.take(2).await, [5, 0]);
        client.send(request).await;
        assert_eq!(client.take(2).await, [5, reply]);
    }
    // Only a password is offered; no method at all.
    for greeting in [&[5, 1, 2][..], &[5, 0]] {
        let mut client = proxy.connect().await;
        client.send(greeting).await;
        assert_eq!(client.rest().await, [5, 0xff]);
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_the_dial_blames_nobody() {
    let (hole, _filling) = support::black_hole().await;
    let address = hole.local_addr().unwrap().as_socket().unwrap();
    let patient = risefall::Policy::builder().max_fails(1).build().unwrap();
    let proxy = Proxy::with(patient, |draft| draft.limits.connections = 1);
    let mut client = proxy.connect().await;
    client.send([5, 1, 0]).await;
    client.take(2).await;
    client
        .send([&[5, 1, 0], &socks5_address(address)[..]].concat())
        .await;
    drop(client);
    proxy.has_room().await;
    assert!(proxy.registry.statuses().is_empty());
}

#[tokio::test]
async fn a_client_that_is_reset_during_the_dial_is_not_waited_for() {
    let (hole, _filling) = support::black_hole().await;
    let address = hole.local_addr().unwrap().as_socket().unwrap();
    let patient = risefall::Policy::builder()
        .connect_timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    let proxy = Proxy::with(patient, |draft| draft.limits.connections = 1);
    let socks = [&[5, 1, 0, 5, 1, 0][..], &socks5_address(address), b"early"].concat();
    for request in [connect(address).into_bytes(), socks] {
        let mut client = proxy.connect().await;
        client.send(request).await;
        // Another is turned away, so this one has been taken in.
        while proxy.ask(connect("127.0.0.1:0")).await.status() != 503 {}
        client.reset();
        proxy.has_room().await;
    }
}

#[tokio::test]
async fn a_tunnel_is_over_when_the_side_that_ended_is_reset() {
    let origin = Origin::start(|mut client| async move {
        client.rest().await;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = Proxy::with(policy(), |draft| draft.limits.connections = 1);
    let mut client = open(&proxy, origin.address).await;
    client.end().await;
    client.reset();
    proxy.has_room().await;
}

#[tokio::test]
async fn what_a_target_said_before_it_broke_still_arrives() {
    const MUCH: usize = 20_000;
    // Answers in the middle of what it is sent, and closes with the rest unread: a reset.
    let origin = Origin::start(|mut client| async move {
        client.take(1).await;
        client.send(vec![7; MUCH]).await;
    })
    .await;
    let proxy = Proxy::start();
    for _ in 0..20 {
        let mut client = open(&proxy, origin.address).await;
        let (mut read, mut write) = client.stream.split();
        let mut taken = Vec::new();
        let sending = async {
            use tokio::io::AsyncWriteExt as _;
            while write.write_all(&[1; 10_000]).await.is_ok() {}
        };
        let receiving = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut taken);
        let _ = support::within(async { tokio::join!(sending, receiving) }).await;
        assert_eq!(taken.len(), MUCH);
    }
}
