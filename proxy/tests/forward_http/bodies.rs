//! Bodies, trailers, and answers that have none: whole, streamed, and held nowhere.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::support::origin::{read_whole, saying};
use super::support::{Client, DeadPort, Origin, Proxy, ask, field, get};

const BIG: usize = 5_000_000;

/// Takes a request with a body and gives the body back in the same framing.
async fn give_back(mut client: Client) {
    let (head, body) = read_whole(&mut client).await;
    if let Some(len) = field(&head, "content-length") {
        client
            .send(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n"))
            .await;
        client.send(body).await;
    } else {
        client
            .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        send_chunks(&mut client, body.chunks(70_000)).await;
    }
}

async fn send_chunks(client: &mut Client, chunks: impl Iterator<Item = &[u8]>) {
    for chunk in chunks {
        client.send(format!("{:x}\r\n", chunk.len())).await;
        client.send(chunk).await;
        client.send("\r\n").await;
    }
    client.send("0\r\n\r\n").await;
}

#[tokio::test]
async fn a_body_of_known_length_streams_both_ways() {
    let origin = Origin::start(give_back).await;
    let proxy = Proxy::start();
    let body: Vec<u8> = (0..BIG).map(|n| (n % 251) as u8).collect();
    let mut client = proxy.connect().await;
    let fields = format!("Content-Length: {BIG}\r\n");
    client.send(ask("POST", origin.address, "/", &fields)).await;
    let response = client.ask(&body).await;
    assert_eq!(response.status(), 200);
    assert!(response.body == body);
}

#[tokio::test]
async fn a_chunked_body_streams_both_ways() {
    let origin = Origin::start(give_back).await;
    let proxy = Proxy::start();
    let body: Vec<u8> = (0..BIG).map(|n| (n % 241) as u8).collect();
    let mut client = proxy.connect().await;
    let fields = "Transfer-Encoding: chunked\r\n";
    client.send(ask("POST", origin.address, "/", fields)).await;
    send_chunks(&mut client, body.chunks(100_000)).await;
    let response = client.response().await;
    assert_eq!(response.field("transfer-encoding"), "chunked");
    assert!(response.body == body);
}

#[tokio::test]
async fn a_slow_reader_slows_its_origin_and_fills_no_buffer() {
    const ENDLESS: usize = 64_000_000;
    let (sent, mut progress) = tokio::sync::watch::channel(0);
    let sent = std::sync::Arc::new(sent);
    let origin = Origin::start(move |mut client: Client| {
        let sent = std::sync::Arc::clone(&sent);
        async move {
            client.head().await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {ENDLESS}\r\n\r\n");
            client.send(head).await;
            for _ in 0..ENDLESS / 100_000 {
                if client.stream.write_all(&[7; 100_000]).await.is_err() {
                    return;
                }
                sent.send_modify(|sent| *sent += 100_000);
            }
        }
    })
    .await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    client.send(get(origin.address, "/")).await;
    client.head().await;
    // The origin stands still when all buffers between it and the client are full.
    while tokio::time::timeout(Duration::from_millis(300), progress.changed())
        .await
        .is_ok()
    {}
    assert!(
        *progress.borrow() < ENDLESS / 2,
        "{} were taken",
        *progress.borrow()
    );
}

#[tokio::test]
async fn head_and_statuses_without_a_body_leave_the_connection_usable() {
    let origin = Origin::start(|mut client| async move {
        loop {
            let head = client.head().await;
            let answer = match head.split(' ').nth(1) {
                Some("/204") => "204 No Content\r\n",
                Some("/304") => "304 Not Modified\r\nETag: \"1\"\r\n",
                _ => "200 OK\r\nContent-Length: 1000\r\n",
            };
            client.send(format!("HTTP/1.1 {answer}\r\n")).await;
        }
    })
    .await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    for (method, path, status) in [
        ("HEAD", "/", "200"),
        ("GET", "/204", "204"),
        ("GET", "/304", "304"),
        ("HEAD", "/", "200"),
    ] {
        client.send(ask(method, origin.address, path, "")).await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        if method == "HEAD" {
            assert_eq!(field(&head, "content-length"), Some("1000"));
        }
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_its_answer_without_chunks() {
    let origin = Origin::start(give_back).await;
    let proxy = Proxy::start();
    let address = origin.address;
    let mut client = proxy.connect().await;
    let request = format!("POST http://{address}/ HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello");
    let response = client.ask(request).await;
    assert!(
        response.head.starts_with("HTTP/1.0 200 ") || response.head.starts_with("HTTP/1.1 200 ")
    );
    assert_eq!(response.text(), "hello");
    assert_eq!(client.rest().await, b"", "it is closed behind the answer");
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_passed_on_whole() {
    let origin = saying("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
    let proxy = Proxy::start();
    assert_eq!(proxy.get(origin.address, "/").await.text(), "until the end");
}

#[tokio::test]
async fn a_body_is_asked_for_only_when_somebody_wants_it() {
    let origin = Origin::start(give_back).await;
    let proxy = Proxy::start();
    let expect = |address: SocketAddr| {
        let fields = "Expect: 100-continue\r\nContent-Length: 5\r\n";
        ask("POST", address, "/", fields)
    };
    let mut client = proxy.connect().await;
    client.send(expect(origin.address)).await;
    assert!(client.head().await.starts_with("HTTP/1.1 100 "));
    assert_eq!(client.ask("hello").await.text(), "hello");

    let dead = DeadPort::new();
    let refused = proxy.ask(expect(dead.address())).await;
    assert_eq!(refused.status(), 502);
}

#[tokio::test]
async fn trailers_pass_to_a_client_that_takes_them() {
    let origin = Origin::start(|mut client| async move {
        for _ in 0..2 {
            let head = client.head().await;
            assert_eq!(field(&head, "te"), Some("trailers"));
            client
                .send(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                     2\r\nok\r\n0\r\nx-sum: 42\r\n\r\n",
                )
                .await;
        }
        client.rest().await;
    })
    .await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    let fields = "TE: trailers\r\nConnection: te\r\n";
    for _ in 0..2 {
        client.send(ask("GET", origin.address, "/", fields)).await;
        let head = client.head().await;
        assert_eq!(field(&head, "trailer"), Some("x-sum"));
        assert_eq!(client.take(7).await, b"2\r\nok\r\n");
        assert_eq!(client.take(16).await, b"0\r\nx-sum: 42\r\n\r\n");
    }
    // Nothing was cut: the connection is as good as before.
    assert_eq!(origin.connections(), 1);
}
