//! What is streamed through a site: trailers, gRPC, events.

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

use std::time::Duration;

use bytes::Bytes;
use h2_support::{H2, echo, fields, get, post, whole};
use hyper::Response;
use risefall_proxy::plan::UpstreamDraft;
use risefall_proxy::plan::upstream::HttpVersion;
use sites::{both_h2, h2c, site_of};
use support::origin::ok;
use support::{Client, Origin, field, within};

#[tokio::test]
async fn trailers_go_through_both_ways() {
    let origin = Origin::start(|client| h2_support::serve(client.stream, echo)).await;
    let proxy = both_h2(&origin, |_| ());
    let client = H2::connect(proxy.address).await;
    let (response, mut send) = client.begin(post("/"), false).await;
    send.send_data("body".into(), false).unwrap();
    send.send_trailers(fields(&[("x-sum", "1"), ("content-length", "4")]))
        .unwrap();
    let answer = whole(response).await.unwrap();
    assert!(answer.text().ends_with("body"));
    let trailers = answer.trailers.unwrap();
    assert_eq!(trailers["x-sum"], "1");
    assert_eq!(trailers.len(), 1, "{trailers:?}");
}

#[tokio::test]
async fn trailers_of_chunks_become_those_of_http2() {
    let origin = Origin::start(|mut client: Client| async move {
        let head = client.head().await;
        assert_eq!(field(&head, "trailer"), Some("x-sum"), "{head}");
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        let mut body = String::new();
        while !body.ends_with("\r\n\r\n") {
            body += &client.line().await;
        }
        assert_eq!(body, "4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n");
        client
            .send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n\
                 3\r\nabc\r\n0\r\nX-End: 2\r\nContent-Length: 9\r\nConnection: x\r\n\r\n",
            )
            .await;
    })
    .await;
    let proxy = h2c(&origin, |_| ());
    let client = H2::connect(proxy.address).await;
    let mut asked = post("/");
    asked.headers_mut().extend(fields(&[("trailer", "x-sum")]));
    let (response, mut send) = client.begin(asked, false).await;
    send.send_data("body".into(), false).unwrap();
    // What is empty must not look like the last chunk.
    send.send_data(Bytes::new(), false).unwrap();
    send.send_trailers(fields(&[("x-sum", "1"), ("content-length", "7")]))
        .unwrap();
    let answer = whole(response).await.unwrap();
    assert_eq!(answer.text(), "abc");
    let trailers = answer.trailers.unwrap();
    assert_eq!(trailers["x-end"], "2");
    assert_eq!(trailers.len(), 1, "{trailers:?}");
}

#[tokio::test]
async fn announced_trailers_of_http2_become_those_of_chunks() {
    let origin = Origin::start(|client: Client| {
        h2_support::serve(client.stream, |_, mut respond| async move {
            let mut response = Response::new(());
            *response.headers_mut() = fields(&[("trailer", "x-end")]);
            let mut send = respond.send_response(response, false).unwrap();
            send.send_data("abc".into(), false).unwrap();
            send.send_trailers(fields(&[("x-end", "2")])).unwrap();
        })
    })
    .await;
    let proxy = both_h2(&origin, |_| ());
    let mut client = proxy.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: shop.example\r\nTE: trailers\r\nConnection: te\r\n\r\n")
        .await;
    let head = client.head().await;
    assert_eq!(field(&head, "trailer"), Some("x-end"), "{head}");
    let mut body = String::new();
    while !body.ends_with("\r\n\r\n") {
        body += &client.line().await;
    }
    assert_eq!(body, "3\r\nabc\r\n0\r\nx-end: 2\r\n\r\n");
}

/// Answers in chunks, or by HTTP/2, with one trailer that is announced and one that is not.
async fn with_trailers(is_h2: bool) -> Origin {
    Origin::start(move |mut client: Client| async move {
        if is_h2 {
            h2_support::serve(client.stream, |_, mut respond| async move {
                let mut response = Response::new(());
                *response.headers_mut() = fields(&[("trailer", "x-end")]);
                let mut send = respond.send_response(response, false).unwrap();
                send.send_data("abc".into(), false).unwrap();
                send.send_trailers(fields(&[("x-end", "2"), ("x-more", "3")]))
                    .unwrap();
            })
            .await;
        } else {
            while !client.bytes.is_empty() || client.more().await > 0 {
                client.head().await;
                client
                    .send(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n\
                         3\r\nabc\r\n0\r\nX-End: 2\r\nX-More: 3\r\n\r\n",
                    )
                    .await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn clients_of_http1_get_trailers_that_were_announced_if_they_asked_and_others_get_all() {
    for is_h2 in [false, true] {
        let origin = with_trailers(is_h2).await;
        let proxy = h2c(&origin, |draft| {
            if is_h2 {
                draft.upstreams[0].http = HttpVersion::H2;
            }
        });
        for (asks, end) in [
            ("TE: trailers\r\nConnection: te\r\n", "x-end: 2\r\n"),
            ("", ""),
        ] {
            let mut client = proxy.connect().await;
            let asked = format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{asks}\r\n");
            client.send(asked).await;
            let head = client.head().await;
            assert!(field(&head, "trailer").is_some(), "{head}");
            let wanted = format!("3\r\nabc\r\n0\r\n{end}\r\n");
            let body = client.take(wanted.len()).await;
            assert_eq!(String::from_utf8(body).unwrap().to_lowercase(), wanted);
        }
        let answer = H2::connect(proxy.address).await.get("/").await;
        let trailers = answer.trailers.unwrap();
        assert_eq!(trailers["x-end"], "2");
        assert_eq!(trailers["x-more"], "3");
        assert_eq!(trailers.len(), 2, "{trailers:?}");
    }
}

#[tokio::test]
async fn servers_of_http1_get_trailers_that_were_announced() {
    let origin = Origin::start(|mut client: Client| async move {
        while !client.bytes.is_empty() || client.more().await > 0 {
            client.head().await;
            let body = client.line().await + &client.line().await;
            assert_eq!(body, "4\r\nbody\r\n");
            let mut end = client.line().await;
            while !end.ends_with("\r\n\r\n") {
                end += &client.line().await;
            }
            client.send(ok(&end)).await;
        }
    })
    .await;
    let proxy = h2c(&origin, |_| ());
    for (announced, end) in [
        (&[("trailer", "x-sum")][..], "0\r\nx-sum: 1\r\n\r\n"),
        (&[], "0\r\n\r\n"),
    ] {
        let client = H2::connect(proxy.address).await;
        let mut asked = post("/");
        asked.headers_mut().extend(fields(announced));
        let (response, mut send) = client.begin(asked, false).await;
        send.send_data("body".into(), false).unwrap();
        send.send_trailers(fields(&[("x-sum", "1"), ("x-more", "2")]))
            .unwrap();
        assert_eq!(whole(response).await.unwrap().text(), end);
    }
}

/// Messages, each with its length in front, as gRPC writes them.
fn message(text: &str) -> Bytes {
    let len = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[0], &len[..], text.as_bytes()].concat().into()
}

fn call(path: &str) -> hyper::Request<()> {
    let mut call = post(path);
    let said = [("content-type", "application/grpc"), ("te", "trailers")];
    call.headers_mut().extend(fields(&said));
    call
}

#[tokio::test]
async fn grpc_streams_both_ways_message_by_message() {
    let origin = Origin::start(|client: Client| {
        h2_support::serve(client.stream, |request, mut respond| async move {
            assert_eq!(request.headers()["te"], "trailers");
            let mut response = Response::new(());
            *response.headers_mut() = fields(&[("content-type", "application/grpc")]);
            let mut send = respond.send_response(response, false).unwrap();
            let mut body = request.into_body();
            while let Some(chunk) = h2_support::next(&mut body).await {
                send.send_data(chunk.unwrap(), false).unwrap();
            }
            let end = fields(&[("grpc-status", "0"), ("grpc-message", "done")]);
            send.send_trailers(end).unwrap();
        })
    })
    .await;
    let proxy = both_h2(&origin, |_| ());
    let client = H2::connect(proxy.address).await;
    let (response, mut send) = client.begin(call("/shop.Cart/Chat"), false).await;
    // The head of the answer does not wait for the first message.
    let mut body = within(response).await.unwrap().into_body();
    for nth in 0..5 {
        let said = message(&format!("message {nth}"));
        send.send_data(said.clone(), false).unwrap();
        assert_eq!(h2_support::next(&mut body).await.unwrap().unwrap(), said);
    }
    send.send_data(Bytes::new(), true).unwrap();
    assert!(
        h2_support::next(&mut body)
            .await
            .is_none_or(|last| last.unwrap().is_empty())
    );
    let trailers = within(body.trailers()).await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["grpc-message"], "done");
    let lines = proxy.lines(1).await;
    assert!(
        lines[0].starts_with("http POST http://shop.example/shop.Cart/Chat 200 70 70 "),
        "{lines:?}"
    );
}

#[tokio::test]
async fn our_own_errors_speak_grpc_to_who_does() {
    let silent = Origin::start(|client: Client| {
        h2_support::serve(client.stream, |request, respond| async move {
            let _held = (request, respond);
            std::future::pending::<()>().await;
        })
    })
    .await;
    let dead = support::DeadPort::new();
    let proxy = both_h2(&silent, |draft| {
        draft.timeouts.answer = Duration::from_millis(60);
        draft.sites[0].routes[0] = sites::route_to("/silent", "app");
        draft.sites[0].routes.push(sites::route_to("/dead", "dead"));
        let mut posted = sites::route_to("/get", "app");
        posted.matches.methods = vec![hyper::Method::GET];
        draft.sites[0].routes.push(posted);
        let servers = vec![sites::server_of(dead.address())];
        draft.upstreams.push(UpstreamDraft::of("dead", servers));
    });
    let client = H2::connect(proxy.address).await;
    for (path, status) in [
        ("/none", "12"),
        ("/silent", "4"),
        ("/dead", "14"),
        ("/get", "2"),
    ] {
        let (response, mut send) = client.begin(call(path), false).await;
        send.send_data(message("hello"), true).unwrap();
        let answer = whole(response).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.field("grpc-status"), Some(status), "{path}");
        assert_eq!(answer.field("content-type"), Some("application/grpc"));
        assert!(answer.body.is_empty() && answer.trailers.is_none());
    }
}

#[tokio::test]
async fn each_event_arrives_before_the_next_is_sent() {
    let (go, gone) = tokio::sync::watch::channel(0);
    let origin = Origin::start(move |mut client: Client| {
        let mut gone = gone.clone();
        async move {
            client.head().await;
            client
                .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                .await;
            for nth in 1..=3 {
                gone.wait_for(|allowed| *allowed >= nth).await.unwrap();
                client.send(format!("data: {nth}\n\n")).await;
            }
        }
    })
    .await;
    let proxy = h2c(&origin, |_| ());
    let response = H2::connect(proxy.address)
        .await
        .begin(get("/"), true)
        .await
        .0;
    let mut by_h2 = within(response).await.unwrap().into_body();
    let mut by_h1 = proxy.connect().await;
    by_h1.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    by_h1.head().await;
    for nth in 1..=3 {
        go.send(nth).unwrap();
        let event = format!("data: {nth}\n\n");
        let got = h2_support::next(&mut by_h2).await.unwrap().unwrap();
        assert_eq!(got, event.as_bytes());
        assert_eq!(by_h1.line().await.trim(), format!("{:x}", event.len()));
        assert_eq!(
            by_h1.take(event.len() + 2).await,
            format!("{event}\r\n").as_bytes()
        );
    }
    let end = h2_support::next(&mut by_h2).await;
    assert!(end.is_none_or(|end| end.unwrap().is_empty()));
}

#[tokio::test]
async fn what_a_server_has_not_begun_goes_to_another_connection() {
    // Each connection answers one request, and sends the others back unread.
    let origin = Origin::start(|client: Client| async move {
        let mut connection = h2::server::handshake(client.stream).await.unwrap();
        let (request, respond) = connection.accept().await.unwrap().unwrap();
        connection.graceful_shutdown();
        tokio::spawn(echo(request, respond));
        while connection.accept().await.is_some() {}
    })
    .await;
    let proxy = both_h2(&origin, |_| ());
    let client = H2::connect(proxy.address).await;
    for nth in 0..5 {
        let (response, mut send) = client.begin(post(&format!("/{nth}")), false).await;
        send.send_data("body".into(), true).unwrap();
        let answer = whole(response).await.unwrap();
        assert_eq!(answer.status(), 200, "{nth}");
        assert!(answer.text().ends_with("\r\n\r\nbody"));
    }
    let refusing = Origin::start(|client: Client| {
        h2_support::serve(client.stream, |request, mut respond| async move {
            drop(request);
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        })
    })
    .await;
    let servers = [refusing.address, origin.address];
    let proxy = site_of(&servers, |draft| {
        draft.sites[0].h2c = true;
        draft.upstreams[0].http = HttpVersion::H2;
    });
    let client = H2::connect(proxy.address).await;
    for nth in 0..6 {
        let (response, mut send) = client.begin(post(&format!("/{nth}")), false).await;
        send.send_data("body".into(), true).unwrap();
        let answer = whole(response).await.unwrap();
        assert_eq!(answer.status(), 200, "{nth}");
        assert!(answer.text().ends_with("\r\n\r\nbody"));
    }
}
