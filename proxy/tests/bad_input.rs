//! Whatever comes, the answer is the protocol's own error or a clean close, and the proxy lives on.

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

use support::origin::{hearing, ok, read_whole, silent, staying};
use support::{Origin, Proxy, ask, get, policy, until};

async fn is_alive(proxy: &Proxy) {
    let origin = Origin::echo().await;
    assert_eq!(proxy.get(origin.address, "/").await.status(), 200);
}

/// The status of the answer to `bytes`, and that the connection is closed behind it.
async fn refused(proxy: &Proxy, bytes: impl AsRef<[u8]>) -> u16 {
    let mut client = proxy.connect().await;
    let (mut read, mut write) = client.stream.split();
    let send = async {
        // The proxy may stop reading in the middle of it.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut write, bytes.as_ref()).await;
    };
    let mut answer = Vec::new();
    let receive = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut answer);
    let ((), received) = support::within(async { tokio::join!(send, receive) }).await;
    received.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let status = answer
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("no answer"));
    status.parse().unwrap()
}

#[tokio::test]
async fn garbage_is_closed_without_an_answer() {
    let proxy = Proxy::start();
    for garbage in [
        &b"\0\0\0\0"[..],
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\xff\xfe",
        b"\x80\x2e\x01",
        b" GET /",
    ] {
        let mut client = proxy.connect().await;
        client.send(garbage).await;
        assert_eq!(client.rest().await, b"", "{garbage:?}");
    }
    is_alive(&proxy).await;
}

#[tokio::test]
async fn socks4_is_told_that_it_is_rejected() {
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    client.send([4, 1, 0, 80, 127, 0, 0, 1, 0]).await;
    assert_eq!(client.take(2).await, [0, 0x5b]);
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused_by_name() {
    let proxy = Proxy::start();
    let long = format!(
        "GET http://a/{} HTTP/1.1\r\nHost: a\r\n\r\n",
        "a".repeat(1 << 20)
    );
    assert_eq!(refused(&proxy, long).await, 414);
    let fields = (0..10_000)
        .map(|n| format!("x-{n}: 1\r\n"))
        .collect::<String>();
    let many = format!("GET http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    assert_eq!(refused(&proxy, many).await, 431);
    let wide = format!(
        "GET http://a/ HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n",
        "a".repeat(1 << 20)
    );
    assert_eq!(refused(&proxy, wide).await, 431);
    is_alive(&proxy).await;
}

#[tokio::test]
async fn messages_with_two_readings_are_refused() {
    let proxy = Proxy::start();
    let origin = Origin::echo().await;
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: 1\r\n folded\r\n",
        "X: 1\nY: 2\r\n",
    ] {
        let request = ask("POST", origin.address, "/", fields) + "0\r\n\r\n";
        let status = refused(&proxy, request).await;
        assert!(matches!(status, 400 | 501), "{status} for {fields:?}");
    }
    assert_eq!(origin.connections(), 0);
    is_alive(&proxy).await;
}

#[tokio::test]
async fn requests_that_no_proxy_can_serve_are_bad_requests_with_a_hint() {
    let proxy = Proxy::start();
    for (request, hint) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "curl -x"),
        ("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT"),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "http://"),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "user name"),
        (
            "GET http://127.0.0.1:0/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "port",
        ),
        (
            "GET http://0x7f000001/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "number",
        ),
    ] {
        let response = proxy.ask(request).await;
        assert_eq!(response.status(), 400, "{request}");
        assert!(response.text().contains(hint), "{}", response.text());
    }
    let options = proxy.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(options.status(), 200);
}

#[tokio::test]
async fn a_refused_request_is_not_answered_before_the_ones_in_front_of_it() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    let first = client.ask(get(origin.address, "/")).await;
    assert_eq!(first.status(), 200);
    let two_hosts = "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    assert_eq!(client.ask(two_hosts).await.status(), 400);
    assert_eq!(client.rest().await, b"");
}

/// Answers with the head and the body that it was sent.
async fn told_back() -> Origin {
    Origin::start(|mut client| async move {
        while !client.bytes.is_empty() || client.more().await > 0 {
            let (head, body) = read_whole(&mut client).await;
            let told = head + std::str::from_utf8(&body).unwrap();
            client.send(ok(&told)).await;
        }
    })
    .await
}

#[tokio::test]
async fn what_came_whole_in_front_of_a_broken_request_is_answered_first() {
    let origin = told_back().await;
    let proxy = Proxy::start();
    let get = get(origin.address, "/x");
    let post = ask("POST", origin.address, "/x", "Content-Length: 4\r\n") + "body";
    let mut lines = 0;
    for sound in [vec![&get], vec![&get, &post, &get], vec![&post]] {
        for broken in [
            ask("GET", origin.address, "/y", "X : b\r\n"),
            chunked(origin.address) + "nonsense\r\n",
            "nonsense\r\n".to_owned(),
            "\r\n\r\n\r\n".to_owned(),
        ] {
            let mut client = proxy.connect().await;
            let whole: String = sound.iter().copied().cloned().collect();
            client.send(whole + &broken).await;
            for _ in &sound {
                let answer = client.response().await;
                assert_eq!(answer.status(), 200, "{broken}");
                assert!(answer.text().contains("/x"), "{broken}");
            }
            assert_eq!(client.response().await.status(), 400, "{broken}");
            assert_eq!(client.rest().await, b"", "{broken}");
            lines += sound.len() + 1;
        }
    }
    let lines = proxy.lines(lines).await;
    assert!(lines.iter().all(|line| !line.contains("/y")), "{lines:?}");
}

#[tokio::test]
async fn a_body_that_ends_beside_a_broken_request_is_whole() {
    let origin = told_back().await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    client.send(chunked(origin.address) + "2\r\nab\r\n").await;
    until(|| origin.connections() == 1).await;
    client.send("2\r\ncd\r\n0\r\n\r\nnonsense\r\n").await;
    let answer = client.response().await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text().ends_with("abcd"), "{}", answer.text());
    assert_eq!(client.response().await.status(), 400);
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn the_start_of_http_2_is_closed_cleanly() {
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    client
        .send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    let answer = client.rest().await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 505 "));
    is_alive(&proxy).await;
}

#[tokio::test]
async fn a_client_that_is_too_slow_is_closed_at_its_deadline() {
    let proxy = Proxy::with(policy(), |draft| {
        draft.timeouts.handshake = Duration::from_millis(100);
        draft.timeouts.header = Duration::from_millis(100);
        draft.timeouts.keep_alive = Duration::from_millis(100);
    });
    for start in [
        &b""[..],
        b"\x05",
        b"\x05\x02\x00",
        b"\x05\x01\x00\x05\x01\x00\x03\xff",
        b"G",
        b"GET http://a/ HTTP/1.1\r\nHost",
        b"\r\n",
    ] {
        let mut client = proxy.connect().await;
        client.send(start).await;
        let answer = client.rest().await;
        assert!(
            answer.is_empty() || answer == [5, 0],
            "{answer:?} to {start:?}"
        );
    }
    let origin = Origin::echo().await;
    let mut client = proxy.connect().await;
    client.ask(get(origin.address, "/")).await;
    assert_eq!(client.rest().await, b"", "an idle connection is closed");
}

/// The head of a request whose body comes in chunks.
fn chunked(address: SocketAddr) -> String {
    ask("POST", address, "/", "Transfer-Encoding: chunked\r\n")
}

#[tokio::test]
async fn a_bad_chunk_behind_a_response_is_not_answered_a_second_time() {
    let proxy = Proxy::start();
    // Both answer before the body, and one has not finished.
    for answer in [&*ok("ok"), "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"] {
        let origin = staying(answer).await;
        let mut client = proxy.connect().await;
        client.send(chunked(origin.address) + "2\r\nab\r\n").await;
        client.head().await;
        assert_eq!(client.take(2).await, b"ok");
        // The proxy may have closed already.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, b"nonsense\r\n").await;
        assert_eq!(client.rest().await, b"");
    }
    for line in proxy.lines(2).await {
        assert!(!line.contains("http_response"), "{line}");
    }
}

#[tokio::test]
async fn a_bad_chunk_of_a_request_without_an_answer_is_a_bad_request() {
    let (origin, mut heard) = hearing().await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    client.send(chunked(origin.address) + "2\r\nab\r\n").await;
    support::within(heard.recv()).await.unwrap();
    let response = client.ask("nonsense\r\n").await;
    assert_eq!(response.status(), 400);
    assert!(
        response.text().contains("chunk size"),
        "{}",
        response.text()
    );
    assert_eq!(client.rest().await, b"");
    let lines = proxy.lines(1).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("http POST http://"), "{lines:?}");
    assert!(lines[0].ends_with(" http_request_error"), "{lines:?}");
}

#[tokio::test]
async fn a_body_that_stands_still_or_breaks_off_is_the_clients_fault() {
    let origin = silent().await;
    let proxy = Proxy::with(policy(), |draft| {
        draft.timeouts.answer = Duration::from_millis(50);
        draft.timeouts.body_idle = Duration::from_millis(200);
    });
    let start = std::time::Instant::now();
    let mut client = proxy.connect().await;
    let response = client.ask(chunked(origin.address) + "2\r\na").await;
    assert!(start.elapsed() >= Duration::from_millis(200), "it had time");
    let status = response.field("proxy-status");
    assert!(status.contains("connection_read_timeout"), "{status}");

    let mut client = proxy.connect().await;
    client.send(chunked(origin.address) + "2\r\na").await;
    client.end().await;
    assert_eq!(client.response().await.status(), 400);

    let mut client = proxy.connect().await;
    client.send(chunked(origin.address) + "2\r\na").await;
    client.reset();
    for line in proxy.lines(3).await {
        assert!(!line.contains("http_response"), "{line}");
    }
}

#[tokio::test]
async fn a_target_that_is_no_uri_is_refused_in_our_words_with_a_line() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let targets = [
        "CONNECT [::1:80",
        "CONNECT a:b:c",
        "GET http://a^b/",
        "GET http://",
        "GET http://[::1/",
    ];
    for target in targets {
        let mut client = proxy.connect().await;
        let first = client.ask(get(origin.address, "/")).await;
        assert_eq!(first.status(), 200);
        let refused = format!("{target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.ask(refused).await;
        assert_eq!(response.status(), 400, "{target}");
        let status = response.field("proxy-status");
        assert!(status.contains("error=http_request_error"), "{status}");
        assert_eq!(client.rest().await, b"", "{target}");
    }
    let lines = proxy.lines(2 * targets.len()).await;
    let refused = lines.iter().filter(|line| line.contains(" 400 "));
    assert_eq!(refused.count(), targets.len(), "{lines:?}");
}

#[tokio::test]
async fn a_client_that_is_turned_away_leaves_a_line() {
    let proxy = Proxy::with(policy(), |draft| draft.limits.connections = 1);
    let options = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut first = proxy.connect().await;
    first.ask(options).await;
    assert_eq!(proxy.ask(options).await.status(), 503);
    let lines = proxy.lines(2).await;
    assert_eq!(lines[1], "http - - 503 0 0 - - connection_limit_reached");
}

#[tokio::test]
async fn a_head_that_begins_behind_a_request_has_the_time_of_a_head() {
    let origin = Origin::echo().await;
    let proxy = Proxy::with(policy(), |draft| {
        draft.timeouts.handshake = Duration::from_millis(100);
        draft.timeouts.header = Duration::from_millis(100);
    });
    let mut client = proxy.connect().await;
    let and_more = get(origin.address, "/") + "GET http://";
    assert_eq!(client.ask(and_more).await.status(), 200);
    let closed = tokio::time::timeout(support::SOON, client.rest()).await;
    assert_eq!(closed.unwrap(), b"");
}

#[tokio::test]
async fn a_head_may_be_as_large_as_the_operator_says() {
    let origin = Origin::echo().await;
    let proxy = Proxy::with(policy(), |draft| {
        draft.limits.header_size = 2048;
        draft.limits.header_count = 5;
    });
    let head = |fields: &str| ask("GET", origin.address, "/", fields);
    let long = |len: usize| format!("X: {}\r\n", "x".repeat(len));
    for (fields, status) in [
        (long(1500), 200),
        (long(2048), 431),
        ("X: y\r\n".repeat(4), 200),
        ("X: y\r\n".repeat(5), 431),
    ] {
        let response = proxy.ask(head(&fields)).await;
        assert_eq!(response.status(), status, "{} bytes", fields.len());
    }
    let proxy = Proxy::with(policy(), |draft| {
        draft.limits.header_size = 256 * 1024;
        draft.limits.header_count = 300;
    });
    let many = long(150 * 1024) + &"X: y\r\n".repeat(250);
    assert_eq!(proxy.ask(head(&many)).await.status(), 200);
}
