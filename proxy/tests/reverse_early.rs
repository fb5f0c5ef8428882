//! Requests that are answered before their bodies have ended.

// A test may fail.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

#[path = "support/h2.rs"]
mod h2_support;
#[path = "support/sites.rs"]
mod sites;
mod support;

use std::time::Duration;

use bytes::Bytes;
use h2_support::{DATA, END_STREAM, Frames, H2, HEADERS, RST_STREAM, frame, post, request};
use hyper::StatusCode;
use hyper::header::HeaderValue;
use risefall_proxy::plan::{ActionDraft, Draft};
use sites::{get, h2c, site_of, with_body};
use support::origin::echoing_bodies;
use support::{Client, Origin, field, within};

/// The site answers by itself.
fn own(draft: &mut Draft) {
    draft.sites[0].routes[0].action = Some(ActionDraft::Respond {
        status: StatusCode::OK,
        body: "own\n".to_owned(),
        content_type: HeaderValue::from_static("text/plain"),
    });
}

fn of_eight_bytes(draft: &mut Draft) {
    draft.sites[0].routes[0].body_limit = Some(8);
}

/// One that answers without a look at the body, and leaves.
async fn hasty() -> Origin {
    Origin::start(|mut client: Client| async move {
        client.head().await;
        client
            .send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            .await;
    })
    .await
}

/// What the site does, and fields of the request.
type Case = (fn(&mut Draft), &'static [(&'static str, &'static str)]);

/// Sends a head whose body ends when it is answered, and gives all frames until another request's
/// answer.
async fn frames(client: &mut Frames, more: &[(&str, &str)]) -> Vec<(u8, u32)> {
    client.send(request(1, "POST", more, false)).await;
    let mut seen = Vec::new();
    loop {
        let next = client.next().await.unwrap();
        seen.push((next.kind, next.stream));
        let is_end = matches!(next.kind, HEADERS | DATA) && next.flags & END_STREAM != 0;
        match next.stream {
            1 if is_end => {
                client.send(frame(DATA, END_STREAM, 1, b"123456789")).await;
                client.send(request(3, "GET", &[], true)).await;
            }
            3 if is_end => return seen,
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_rest_is_read() {
    let cases: [Case; 3] = [
        (own, &[]),
        (of_eight_bytes, &[("content-length", "9")]),
        (|_| (), &[]),
    ];
    for (nth, (change, more)) in cases.into_iter().enumerate() {
        let origin = hasty().await;
        let proxy = h2c(&origin, change);
        let mut client = Frames::connect(proxy.address, &[]).await;
        let seen = frames(&mut client, more).await;
        assert!(!seen.contains(&(RST_STREAM, 1)), "{nth}: {seen:?}");
    }
}

#[tokio::test]
async fn one_that_does_not_end_is_reset_as_answered() {
    let origin = Origin::echo().await;
    let proxy = h2c(&origin, |draft| {
        own(draft);
        draft.timeouts.handshake = Duration::from_millis(100);
    });
    let mut client = Frames::connect(proxy.address, &[]).await;
    client.send(request(1, "POST", &[], false)).await;
    // Before that is over.
    assert!(client.find(HEADERS, 1).await.is_some());
    assert_eq!(proxy.lines(1).await.len(), 1);
    let reset = client.find(RST_STREAM, 1).await.unwrap();
    assert_eq!(reset.code(), 0);
}

#[tokio::test]
async fn one_without_end_is_reset_when_it_is_long() {
    let origin = Origin::echo().await;
    let proxy = h2c(&origin, own);
    let client = H2::connect(proxy.address).await;
    let (_response, mut send) = client.begin(post("/"), false).await;
    let piece = Bytes::from(vec![0; 16 * 1024]);
    let mut sent = 0;
    loop {
        send.reserve_capacity(piece.len());
        let granted = within(std::future::poll_fn(|cx| send.poll_capacity(cx))).await;
        let Some(Ok(len)) = granted else { return };
        let len = len.min(piece.len());
        send.send_data(piece.slice(..len), false).unwrap();
        sent += len;
        assert!(sent < 16 << 20, "all of it is read");
    }
}

/// What the site does, how the body is framed, and the answer.
type EarlyCase = (fn(&mut Draft), &'static str, u16);

/// By HTTP/1 a socket that is closed with bytes unread is reset, and the answer is lost with it
/// (RFC 9112 §9.6).
#[tokio::test]
async fn the_rest_of_an_upload_by_http1_does_not_cost_its_answer() {
    let cases: [EarlyCase; 4] = [
        (own, "Content-Length: 3000000", 200),
        (own, "Transfer-Encoding: chunked", 200),
        (of_eight_bytes, "Content-Length: 3000000", 413),
        (|_| (), "Content-Length: 3000000", 403),
    ];
    for (change, framing, status) in cases {
        let origin = hasty().await;
        let proxy = site_of(&[origin.address], change);
        let mut client = proxy.connect().await;
        let head = format!("POST / HTTP/1.1\r\nHost: shop.example\r\n{framing}\r\n\r\n");
        client.send(head).await;
        if framing.starts_with('T') {
            client.send("2dc6c0\r\n").await;
        }
        let answer = client.head().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert_eq!(field(&answer, "connection"), Some("close"), "{answer}");
        // Far more than sockets take; a reset would be an error here.
        for _ in 0..30 {
            client.send(vec![b'x'; 100_000]).await;
        }
        client.end().await;
        let len = field(&answer, "content-length").unwrap();
        let rest = client.rest().await;
        assert_eq!(
            rest.len(),
            len.parse::<usize>().unwrap(),
            "{framing} {status}"
        );
    }
}

#[tokio::test]
async fn what_has_begun_behind_an_upload_does_not_make_its_answer_early() {
    for change in [own, |_: &mut Draft| ()] {
        let origin = echoing_bodies().await;
        let proxy = site_of(&[origin.address], change);
        let mut client = proxy.connect().await;
        let next = get("/2");
        let (begun, rest) = next.split_at(20);
        client.send(with_body("POST", "whole") + begun).await;
        let answer = client.response().await;
        assert_eq!(answer.status(), 200);
        assert_eq!(field(&answer.head, "connection"), None);
        client.send(rest).await;
        assert_eq!(client.response().await.status(), 200);
        // What breaks a rule there is told so, behind the answer.
        client
            .send(with_body("POST", "whole") + "GET /2 HTTP/1.1\r\nX : b\r\n\r\n")
            .await;
        assert_eq!(client.response().await.status(), 200);
        assert_eq!(client.response().await.status(), 400);
    }
}
