//! HTTP requests in absolute form: sent to the right origin, in the right form, and streamed.

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

use risefall::Policy;
use support::origin::{ok, read_whole, saying, silent, staying};
use support::{
    Client, DeadPort, Origin, Proxy, ask, black_hole, field, get, policy, socks5, socks5_address,
    within,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const BIG: usize = 5_000_000;

const CUT_SHORT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this";

#[tokio::test]
async fn a_get_reaches_its_origin_in_origin_form() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let address = origin.address;
    let response = proxy
        .ask(format!(
            "GET http://{address}/path?q=1 HTTP/1.1\r\nHost: elsewhere.example\r\n\
             Proxy-Connection: keep-alive\r\nConnection: x-mine\r\nX-Mine: 1\r\n\
             Proxy-Authorization: Basic eDp5\r\nX-Kept: 2\r\n\r\n"
        ))
        .await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.field("via"), "1.1 risefall");
    let seen = response.text();
    assert!(seen.starts_with("GET /path?q=1 HTTP/1.1\r\n"), "{seen}");
    assert_eq!(field(seen, "host"), Some(&*address.to_string()));
    assert_eq!(field(seen, "via"), Some("1.1 risefall"));
    assert_eq!(field(seen, "x-kept"), Some("2"));
    for gone in [
        "proxy-connection",
        "connection",
        "x-mine",
        "proxy-authorization",
    ] {
        assert_eq!(field(seen, gone), None, "{gone} in {seen}");
    }
}

#[tokio::test]
async fn requests_of_one_connection_go_each_to_its_own_host() {
    let first = Origin::echo().await;
    let second = Origin::echo().await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    for origin in [&first, &second, &first, &second] {
        let response = client.ask(get(origin.address, "/")).await;
        assert_eq!(
            field(response.text(), "host"),
            Some(&*origin.address.to_string())
        );
    }
    assert_eq!((first.connections(), second.connections()), (1, 1));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    let request = |n| get(origin.address, &format!("/{n}"));
    client.send((0..5).map(request).collect::<String>()).await;
    for n in 0..5 {
        let response = client.response().await;
        assert!(response.text().starts_with(&format!("GET /{n} ")));
    }
}

#[tokio::test]
async fn connections_to_an_origin_are_used_by_all_clients_of_a_worker() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    for _ in 0..4 {
        assert_eq!(proxy.get(origin.address, "/").await.status(), 200);
    }
    assert_eq!(origin.connections(), 1);
}

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
async fn a_client_that_has_sent_all_it_had_still_gets_its_answer() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    client.send(get(origin.address, "/")).await;
    client.end().await;
    assert_eq!(client.response().await.status(), 200);
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

#[tokio::test]
async fn max_forwards_ends_at_zero_and_counts_down_before() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let left = |method, left| {
        let fields = format!("Max-Forwards: {left}\r\n");
        ask(method, origin.address, "/", &fields)
    };
    let ours = proxy.ask(left("OPTIONS", 0)).await;
    assert_eq!(ours.status(), 200);
    assert!(ours.field("allow").contains("CONNECT"));
    assert_eq!(origin.connections(), 0);
    let theirs = proxy.ask(left("OPTIONS", 3)).await;
    assert_eq!(field(theirs.text(), "max-forwards"), Some("2"));
    assert_eq!(proxy.ask(left("TRACE", 0)).await.status(), 405);
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

#[tokio::test]
async fn a_name_is_looked_up_and_one_that_is_not_found_is_said_to_be() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let localhost = format!("localhost:{}", origin.address.port());
    let response = proxy.ask(get(&localhost, "/")).await;
    assert_eq!(field(response.text(), "host"), Some(&*localhost));
    let missing = get("no-such-host.invalid", "/");
    let response = within(proxy.ask(missing)).await;
    assert!(matches!(response.status(), 502 | 504), "{}", response.head);
    assert!(response.field("proxy-status").contains("error=dns_"));
}

#[tokio::test]
async fn two_workers_serve_one_port() {
    let origin = Origin::echo().await;
    let proxy = Proxy::with(policy(), |draft| draft.threads = 2);
    let asked = (0..32).map(|_| proxy.get(origin.address, "/"));
    for asked in asked {
        assert_eq!(asked.await.status(), 200);
    }
    let mut stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    stream
        .write_all(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'H');
}
