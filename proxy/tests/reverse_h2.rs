//! HTTP/2 through a site: what becomes of its streams, heads, bodies and trailers, with servers of
//! either version.

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

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2_support::{
    DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, H2, HEADERS, RST_STREAM, block, echo, fields,
    frame, get, post, request,
};
use hyper::{Request, Response};
use risefall_proxy::plan::upstream::HttpVersion;
use sites::{both_h2, h2c, server_of, site_of};
use support::{Client, Origin, Proxy, SOON, black_hole, field, until, within};

/// A server that speaks HTTP/2 and echoes.
async fn echo_h2() -> Origin {
    Origin::start(|client| h2_support::serve(client.stream, echo)).await
}

/// Whether the proxy has nothing in flight.
async fn is_idle(proxy: &Proxy) {
    until(|| {
        let counters = proxy.running().counters().iter();
        counters.map(|one| one.in_flight.get()).sum::<u64>() == 0
    })
    .await;
}

#[tokio::test]
async fn http2_without_tls_is_spoken_where_that_was_said() {
    let origin = Origin::echo().await;
    let proxy = h2c(&origin, |_| ());
    let answer = H2::connect(proxy.address).await.get("/a?b").await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text().starts_with("GET /a?b HTTP/1.1\r\n"));
    assert_eq!(field(answer.text(), "host"), Some("shop.example"));
    assert_eq!(field(answer.text(), "via"), Some("2.0 risefall"));
    let proxy = site_of(&[origin.address], |_| ());
    let mut client = proxy.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let answer = client.head().await;
    assert!(
        answer.starts_with("HTTP/1.1 505 ") || answer.starts_with("HTTP/1.1 400 "),
        "{answer}"
    );
    client.rest().await;
}

#[tokio::test]
async fn streams_share_a_connection_of_the_server_and_no_answer_is_anothers() {
    let origin = echo_h2().await;
    let proxy = both_h2(&origin, |_| ());
    let client = H2::connect(proxy.address).await;
    let asked = (0..80).map(|nth| {
        let client = client.clone();
        tokio::spawn(async move {
            let path = format!("/{nth}");
            let told = client.get(&path).await;
            assert!(
                told.text()
                    .starts_with(&format!("GET http://shop.example{path} "))
            );
        })
    });
    for one in asked.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    assert_eq!(origin.connections(), 1);
    let origin = Origin::echo().await;
    let proxy = h2c(&origin, |_| ());
    let client = H2::connect(proxy.address).await;
    let asked = (0..80).map(|nth| {
        let client = client.clone();
        tokio::spawn(async move {
            let path = format!("/{nth}");
            let told = client.get(&path).await;
            assert!(told.text().starts_with(&format!("GET {path} ")));
        })
    });
    for one in asked.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    assert_eq!(proxy.lines(80).await.len(), 80);
}

#[tokio::test]
async fn requests_that_wait_for_a_connection_are_not_lost_with_it() {
    let origin = echo_h2().await;
    let (hole, _filling) = black_hole().await;
    let silent = hole.local_addr().unwrap().as_socket().unwrap();
    let proxy = both_h2(&origin, |draft| {
        draft.upstreams[0].servers.insert(0, server_of(silent));
    });
    let client = H2::connect(proxy.address).await;
    let asked = (0..60).map(|nth| {
        let client = client.clone();
        tokio::spawn(async move { client.get(&format!("/{nth}")).await.status() })
    });
    for one in asked.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), 200);
    }
    // One by those who chose it, one by whoever turned to it from the other.
    assert!(origin.connections() <= 2, "{}", origin.connections());
}

#[tokio::test]
async fn a_head_becomes_one_of_http1() {
    let origin = Origin::echo().await;
    let proxy = h2c(&origin, |_| ());
    let mut client = Frames::connect(proxy.address, &[]).await;
    let more = [
        ("cookie", "a=1"),
        ("x-a", "1"),
        ("cookie", "b=2"),
        ("host", "SHOP.example:80"),
        ("te", "trailers"),
    ];
    client.send(request(1, "GET", &more, true)).await;
    let told = client.find(DATA, 1).await.unwrap().payload;
    let told = String::from_utf8(told).unwrap();
    assert_eq!(field(&told, "cookie"), Some("a=1; b=2"));
    assert_eq!(field(&told, "host"), Some("shop.example"));
    assert_eq!(told.to_lowercase().matches("\nhost:").count(), 1);
    assert_eq!(field(&told, "te"), Some("trailers"));
    assert_eq!(field(&told, "transfer-encoding"), None);
}

#[tokio::test]
async fn what_two_parsers_could_read_differently_is_not_forwarded() {
    let origin = Origin::echo().await;
    let proxy = h2c(&origin, |_| ());
    let refused: &[(&str, &[(&str, &str)])] = &[
        ("GET", &[("host", "other.example")]),
        ("GET", &[("connection", "close")]),
        ("GET", &[("transfer-encoding", "chunked")]),
        ("GET", &[("upgrade", "websocket")]),
        ("GET", &[("te", "gzip")]),
        ("GET", &[("X-Upper", "1")]),
        ("GET", &[("x", "a\r\nb: c")]),
        ("GET", &[("x y", "1")]),
        ("GET", &[("x", " padded")]),
        ("GET", &[(":path", "/again")]),
        ("POST", &[("content-length", "5")]),
        ("POST", &[("content-length", "0"), ("content-length", "1")]),
        ("POST", &[("content-length", "+0")]),
        ("GET", &[("host", "a"), ("host", "a")]),
    ];
    for (method, more) in refused {
        // Some of these the engine takes for an attack upon the connection as a whole.
        let mut client = Frames::connect(proxy.address, &[]).await;
        client.send(request(1, method, more, true)).await;
        assert_refused(&mut client, 1, &format!("{more:?}")).await;
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_body_of_another_length_than_said_is_never_whole() {
    // Answers what is whole, and would take a next head for the rest of a body.
    let origin = Origin::start(|mut client: Client| async move {
        loop {
            let head = client.head().await;
            let len = field(&head, "content-length").map_or(0, |len| len.parse().unwrap());
            let body = client.take(len).await;
            let body = String::from_utf8(body).unwrap();
            let told = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{body}");
            client.send(told).await;
        }
    })
    .await;
    let proxy = h2c(&origin, |_| ());
    let mut client = Frames::connect(proxy.address, &[]).await;
    let trailers = block(&[("x", "1")]);
    for (stream, said, rest) in [
        (1, "2", frame(DATA, END_STREAM, 1, b"abc")),
        (5, "4", frame(DATA, END_STREAM, 5, b"abc")),
        (
            9,
            "4",
            frame(HEADERS, END_HEADERS | END_STREAM, 9, &trailers),
        ),
    ] {
        let more = [("content-length", said)];
        client.send(request(stream, "POST", &more, false)).await;
        client.send(rest).await;
        assert_refused(&mut client, stream, said).await;
        client
            .send(request(
                stream + 2,
                "POST",
                &[("content-length", "3")],
                false,
            ))
            .await;
        client
            .send(frame(DATA, END_STREAM, stream + 2, b"xyz"))
            .await;
        let told = client.find(DATA, stream + 2).await.unwrap();
        assert_eq!(told.payload, b"xyz");
    }
}

/// Reset, or told 400; the server may have had the head, and never the end of the body.
async fn assert_refused(client: &mut Frames, stream: u32, what: &str) {
    loop {
        let frame = client
            .next()
            .await
            .unwrap_or_else(|| panic!("ended by {what}"));
        if frame.kind == GOAWAY {
            return;
        }
        if frame.stream != stream {
            continue;
        }
        match frame.kind {
            RST_STREAM => return,
            // 400 is in the static table (RFC 7541, appendix A).
            HEADERS => return assert_eq!(frame.payload[0], 0x80 | 12, "{what}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_answer_with_two_lengths_is_not_passed_on() {
    let origin = Origin::start(|client: Client| {
        h2_support::serve(client.stream, |_, mut respond| async move {
            let mut response = Response::new(());
            let lengths = [("content-length", "3"), ("content-length", "3")];
            *response.headers_mut() = fields(&lengths);
            let mut send = respond.send_response(response, false).unwrap();
            send.send_data("abc".into(), true).unwrap();
        })
    })
    .await;
    let proxy = both_h2(&origin, |_| ());
    let answer = proxy.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.status(), 502);
}

#[tokio::test]
async fn white_space_around_values_of_an_answer_is_taken_off() {
    let origin = Origin::start(|client: Client| {
        h2_support::serve(client.stream, |_, mut respond| async move {
            let mut response = Response::new(());
            let padded = [("x-a", " a b\t"), ("x-b", "  "), ("x-c", "c")];
            *response.headers_mut() = fields(&padded);
            let mut send = respond.send_response(response, false).unwrap();
            send.send_data("abc".into(), false).unwrap();
            send.send_trailers(fields(&[("x-sum", "1 ")])).unwrap();
        })
    })
    .await;
    let proxy = both_h2(&origin, |_| ());
    let answer = H2::connect(proxy.address).await.get("/").await;
    assert_eq!(answer.field("x-a"), Some("a b"));
    assert_eq!(answer.field("x-b"), Some(""));
    assert_eq!(answer.field("x-c"), Some("c"));
    assert_eq!(answer.trailers.unwrap()["x-sum"], "1");
}

#[tokio::test]
async fn an_answer_without_content_has_no_length() {
    let origin = Origin::start(|mut client: Client| async move {
        loop {
            client.head().await;
            let told = "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n";
            client.send(told).await;
        }
    })
    .await;
    let proxy = h2c(&origin, |_| ());
    for method in ["GET", "HEAD"] {
        let client = H2::connect(proxy.address).await;
        let uri = "http://shop.example/";
        let asked = Request::builder().method(method).uri(uri).body(());
        let answer = client.ask(asked.unwrap()).await.unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.field("content-length"), None, "{method}");
        let asked = format!("{method} / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
        let head = proxy.ask(asked).await.head;
        assert_eq!(field(&head, "content-length"), None, "{method}");
    }
}

#[tokio::test]
async fn a_body_is_not_taken_faster_than_the_server_takes_it() {
    for is_h2 in [false, true] {
        let origin = Origin::start(move |mut client: Client| async move {
            if is_h2 {
                // Nothing is read, so no window is opened again.
                h2_support::serve(client.stream, |request, respond| async move {
                    let _held = (request, respond);
                    std::future::pending::<()>().await;
                })
                .await;
            } else {
                client.head().await;
                std::future::pending::<()>().await;
            }
        })
        .await;
        let proxy = h2c(&origin, |draft| {
            if is_h2 {
                draft.upstreams[0].http = HttpVersion::H2;
            }
        });
        let client = H2::connect(proxy.address).await;
        let (_response, mut send) = client.begin(post("/"), false).await;
        let mut sent = 0;
        let chunk = Bytes::from(vec![b'x'; 16 * 1024]);
        loop {
            send.reserve_capacity(chunk.len());
            let granted = std::future::poll_fn(|cx| send.poll_capacity(cx));
            let waited = tokio::time::timeout(Duration::from_millis(200), granted).await;
            let Ok(granted) = waited else { break };
            let len = granted.unwrap().unwrap().min(chunk.len());
            sent += len;
            send.send_data(chunk.slice(..len), false).unwrap();
            // Sockets take some megabytes by themselves.
            assert!(sent < 16 << 20, "nobody takes it, and more is asked for");
        }
        assert!(sent >= 60_000, "{sent}");
    }
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_reset_and_the_others_go_on() {
    let origin = Origin::start(|mut client: Client| async move {
        loop {
            let head = client.head().await;
            let len = if head.starts_with("GET /large") {
                4 << 20
            } else {
                1
            };
            let told = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
            client.send(told).await;
            use tokio::io::AsyncWriteExt as _;
            if client.stream.write_all(&vec![b'x'; len]).await.is_err() {
                return;
            }
        }
    })
    .await;
    let proxy = h2c(&origin, |draft| {
        draft.timeouts.body_idle = Duration::from_millis(150);
    });
    let client = H2::connect(proxy.address).await;
    let (response, _) = client.begin(get("/large"), true).await;
    let mut unread = within(response).await.unwrap().into_body();
    // Its windows are full; a small answer does not need much of the connection's.
    unread.flow_control().release_capacity(0).unwrap();
    let start = Instant::now();
    let reset = async {
        loop {
            match unread.data().await {
                // Taken, but no more is allowed for.
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("came whole"),
            }
        }
    };
    let error = tokio::time::timeout(SOON, reset).await.unwrap();
    assert!(error.is_reset(), "{error}");
    assert!(start.elapsed() >= Duration::from_millis(140));
    let lines = proxy.lines(1).await;
    assert!(lines[0].contains("shop.example/large 200"), "{lines:?}");
    drop(unread);
    assert_eq!(client.get("/small").await.body, b"x");
}

#[tokio::test]
async fn a_reset_frees_the_servers_connection() {
    let origin = Origin::start(|mut client: Client| async move {
        client.head().await;
        client.rest().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let proxy = h2c(&origin, |draft| draft.upstreams[0].max_requests = 1);
    let client = H2::connect(proxy.address).await;
    for nth in 1..=3 {
        let (response, mut send) = client.begin(get("/"), true).await;
        until(|| origin.connections() == nth).await;
        send.send_reset(h2::Reason::CANCEL);
        assert!(within(response).await.is_err());
        is_idle(&proxy).await;
    }
    assert_eq!(proxy.lines(3).await.len(), 3);
    // Nobody is blamed for it.
    let (_response, _send) = client.begin(get("/"), true).await;
    until(|| origin.connections() == 4).await;
}

#[tokio::test]
async fn draining_lets_streams_end_and_takes_no_more() {
    let (go, gone) = tokio::sync::watch::channel(false);
    let gone = Arc::new(gone);
    let origin = Origin::start(move |mut client: Client| {
        let mut gone = (*gone).clone();
        async move {
            client.head().await;
            client
                .send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
                .await;
            gone.wait_for(|is_gone| *is_gone).await.unwrap();
            client.send("def").await;
        }
    })
    .await;
    let proxy = h2c(&origin, |_| ());
    let mut client = Frames::connect(proxy.address, &[]).await;
    client
        .send([request(1, "GET", &[], true), request(3, "GET", &[], true)].concat())
        .await;
    let mut data = 0;
    while data < 2 {
        data += usize::from(client.next().await.unwrap().kind == DATA);
    }
    proxy.running().drain(Duration::from_secs(5));
    let goaway = client.find(GOAWAY, 0).await.unwrap();
    assert_eq!(goaway.payload[4..8], [0; 4]);
    go.send(true).unwrap();
    let mut ends = 0;
    while ends < 2 {
        let frame = client.next().await.expect("cut");
        if frame.kind == h2_support::PING && frame.flags == 0 {
            let pong = frame.payload;
            client
                .send(h2_support::frame(h2_support::PING, 1, 0, &pong))
                .await;
        } else if frame.kind == DATA && frame.flags & END_STREAM > 0 {
            ends += 1;
        }
    }
    assert_eq!(client.goaway().await.unwrap_or(0), 0);
    assert_eq!(proxy.lines(2).await.len(), 2);
    let stopped = proxy.shutdown(SOON).await;
    assert_eq!(
        format!("{stopped:?}").matches("cut: 0").count(),
        1,
        "{stopped:?}"
    );
}

#[tokio::test]
async fn a_head_of_too_many_fields_is_told_so() {
    let origin = Origin::echo().await;
    let proxy = h2c(&origin, |draft| draft.limits.header_count = 20);
    let names: Vec<_> = (0..30).map(|nth| format!("x-{nth}")).collect();
    let more: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let client = H2::connect(proxy.address).await;
    let mut asked = get("/");
    for (name, value) in &more {
        let name = hyper::header::HeaderName::try_from(*name).unwrap();
        asked.headers_mut().append(name, value.parse().unwrap());
    }
    assert_eq!(client.ask(asked).await.unwrap().status(), 431);
    assert_eq!(client.get("/").await.status(), 200);
    assert_eq!(proxy.lines(2).await.len(), 2);
}

#[tokio::test]
async fn an_upload_that_stands_still_does_not_cost_the_others_their_connection() {
    let origin = echo_h2().await;
    let proxy = both_h2(&origin, |draft| {
        draft.timeouts.body_idle = Duration::from_millis(100);
    });
    let client = H2::connect(proxy.address).await;
    client.get("/first").await;
    let stalled = Request::post("http://shop.example/").body(()).unwrap();
    let (response, _send) = client.begin(stalled, false).await;
    let ended = within(response).await;
    assert!(ended.map_or(true, |answer| answer.status() != 502));
    client.get("/second").await;
    assert_eq!(origin.connections(), 1);
}
