//! Clients of sites that are slow, broken or hostile, and those that only look so.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "support/sites.rs"]
mod sites;
mod support;

use std::time::Duration;

use sites::{get, in_flight, lasting, site_by, site_of, with_body};
use support::origin::{answering, ok, silent};
use support::{Client, Origin, field, until};

/// A server that tells when a connection to it has ended.
async fn ending() -> (Origin, std::sync::Arc<tokio::sync::Semaphore>) {
    let ended = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let told = std::sync::Arc::clone(&ended);
    let origin = Origin::start(move |mut client: Client| {
        let ended = std::sync::Arc::clone(&told);
        async move {
            client.rest().await;
            ended.add_permits(1);
        }
    })
    .await;
    (origin, ended)
}

#[tokio::test]
async fn a_head_that_crawls_is_not_waited_for() {
    let origin = answering(ok("good")).await;
    let proxy = site_of(&[origin.address], |draft| {
        draft.timeouts.header = Duration::from_millis(100);
    });
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHo").await;
    let rest = client.rest().await;
    assert!(
        rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 "),
        "{rest:?}"
    );
    // The same behind a request that was served.
    let mut client = proxy.connect().await;
    client.send(get("/") + "GET / HT").await;
    assert_eq!(client.response().await.status(), 200);
    client.rest().await;
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn who_goes_away_while_waiting_leaves_nothing_behind() {
    let (origin, ended) = ending().await;
    let proxy = site_by(
        lasting(|policy| policy.max_fails(1)),
        &[origin.address],
        |_| (),
    );
    for asked in [get("/"), with_body("POST", "body")] {
        let mut client = proxy.connect().await;
        client.send(asked).await;
        let before = origin.connections();
        until(|| origin.connections() > before || in_flight(&proxy) == 1).await;
        until(|| in_flight(&proxy) == 1).await;
        client.reset();
        support::within(ended.acquire()).await.unwrap().forget();
        until(|| in_flight(&proxy) == 0).await;
    }
    // Nobody is to blame: it is asked again.
    let mut client = proxy.connect().await;
    client.send(get("/")).await;
    until(|| origin.connections() == 3).await;
    let lines = proxy.lines(2).await;
    assert!(lines[0].contains(" connection_terminated"), "{lines:?}");
    // But who has had it is told.
    let address = origin.address.to_string();
    assert!(
        lines.iter().all(|line| line.contains(&address)),
        "{lines:?}"
    );
}

#[tokio::test]
async fn who_breaks_off_an_upload_is_to_blame_and_not_the_server() {
    let (origin, ended) = ending().await;
    let proxy = site_by(
        lasting(|policy| policy.max_fails(1)),
        &[origin.address],
        |_| (),
    );
    for method in ["POST", "PUT"] {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npart");
        let mut client = proxy.connect().await;
        client.send(&head).await;
        client.end().await;
        assert_eq!(client.response().await.status(), 400);
        let reached = origin.connections();
        let mut client = proxy.connect().await;
        client.send(&head).await;
        until(|| origin.connections() > reached).await;
        client.reset();
        let mut client = proxy.connect().await;
        let chunked = "HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";
        client.send(format!("{method} / {chunked}")).await;
        until(|| origin.connections() > reached + 1).await;
        client.send("zz\r\n").await;
        assert_eq!(client.response().await.status(), 400);
    }
    support::within(ended.acquire_many(6))
        .await
        .unwrap()
        .forget();
    assert_eq!(
        origin.connections(),
        6,
        "none was tried twice, and none was a failure"
    );
    let lines = proxy.lines(6).await;
    assert!(lines[0].ends_with(" http_request_error"), "{lines:?}");
}

#[tokio::test]
async fn an_upload_that_stands_still_is_given_up_and_the_server_not_blamed() {
    let (origin, ended) = ending().await;
    let policy = lasting(|policy| policy.max_fails(1));
    let proxy = site_by(policy, &[origin.address], |draft| {
        draft.timeouts.body_idle = Duration::from_millis(100);
    });
    for nth in 1..=2 {
        let mut client = proxy.connect().await;
        let head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npart";
        client.send(head).await;
        let answer = client.response().await;
        assert_eq!(answer.status(), 408, "{}", answer.head);
        support::within(ended.acquire()).await.unwrap().forget();
        assert_eq!(origin.connections(), nth);
    }
}

#[tokio::test]
async fn a_server_that_never_reads_is_given_up_and_blamed() {
    let origin = Origin::start(|client: Client| async move {
        client.stream.readable().await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let policy = lasting(|policy| policy.max_fails(1));
    let proxy = site_by(policy, &[origin.address], |draft| {
        draft.timeouts.body_idle = Duration::from_millis(150);
    });
    let client = proxy.connect().await;
    let (read, mut write) = client.stream.into_split();
    let sending = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n";
        write.write_all(head.as_bytes()).await.unwrap();
        let part = vec![b'x'; 1 << 20];
        while write.write_all(&part).await.is_ok() {}
    });
    let mut first = [0; 12];
    let mut read = read;
    support::within(tokio::io::AsyncReadExt::read_exact(&mut read, &mut first))
        .await
        .unwrap();
    assert_eq!(&first, b"HTTP/1.1 504");
    sending.abort();
    assert_eq!(proxy.ask(get("/")).await.status(), 503);
}

#[tokio::test]
async fn requests_in_one_piece_are_answered_in_their_order() {
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], |_| ());
    let mut client = proxy.connect().await;
    let asked: String = (0..10).map(|nth| get(&format!("/{nth}"))).collect();
    client.send(asked).await;
    for nth in 0..10 {
        let told = client.response().await;
        assert!(
            told.text().starts_with(&format!("GET /{nth} ")),
            "{}",
            told.text()
        );
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn who_has_sent_all_still_gets_the_answer() {
    let origin = answering(ok("good")).await;
    let proxy = site_of(&[origin.address], |_| ());
    let mut client = proxy.connect().await;
    client.send(get("/")).await;
    client.end().await;
    assert_eq!(client.response().await.text(), "good");
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn what_two_parsers_could_read_differently_reaches_no_server() {
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], |_| ());
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4\r\nContent-Length: 4",
        "Content-Length: 4, 4",
        "Content-Length: +4",
        "Content-Length: 0x4",
        "Content-Length: 4 4",
        "Content-Length: -1",
        "Content-Length:",
        "Content-Length : 4",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding:\r\n chunked",
        "X: y\r\n\tTransfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "X: \0",
        "Host: b",
        "no colon",
    ] {
        let asked = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n{hidden}");
        let mut client = proxy.connect().await;
        client.send(asked).await;
        let answer = client.response().await;
        assert!(
            matches!(answer.status(), 400 | 501),
            "{fields:?}: {}",
            answer.head
        );
        assert_eq!(client.rest().await, b"", "{fields:?}");
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_request_for_nobody_in_particular_is_served_or_refused_by_its_version() {
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], |_| ());
    for (asked, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET ftp://b/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ] {
        assert_eq!(proxy.ask(asked).await.status(), status, "{asked:?}");
    }
    let told = proxy
        .ask("GET http://B:80/x HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let told = told.text();
    assert!(told.starts_with("GET /x HTTP/1.1\r\n"), "{told}");
    assert_eq!(field(told, "host"), Some("B:80"));
    let told = proxy.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(told.text().starts_with("OPTIONS * HTTP/1.1\r\n"));
}

#[tokio::test]
async fn heads_are_bounded() {
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], |_| ());
    for (asked, status) in [
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(100_000)),
            414,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "a: b\r\n".repeat(10_000)
            ),
            431,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                "x".repeat(100_000)
            ),
            431,
        ),
    ] {
        let answer = proxy.ask(asked).await;
        assert_eq!(answer.status(), status);
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_server_may_answer_before_it_has_the_body() {
    let origin = Origin::start(|mut client: Client| async move {
        client.head().await;
        client
            .send("HTTP/1.1 401 Who\r\nContent-Length: 3\r\n\r\nwho")
            .await;
        client.rest().await;
    })
    .await;
    let proxy = site_by(
        lasting(|policy| policy.max_fails(1)),
        &[origin.address],
        |_| (),
    );
    for nth in 1..=2 {
        let mut client = proxy.connect().await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npart";
        client.send(head).await;
        let answer = client.response().await;
        assert_eq!((answer.status(), answer.text()), (401, "who"));
        assert_eq!(origin.connections(), nth);
    }
    until(|| in_flight(&proxy) == 0).await;
}

#[tokio::test]
async fn who_asks_before_sending_a_body_is_told_to_go_on() {
    let origin = Origin::start(|mut client: Client| async move {
        while !client.bytes.is_empty() || client.more().await > 0 {
            let head = client.head().await;
            let len = field(&head, "content-length").unwrap().parse().unwrap();
            client.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            let body = client.take(len).await;
            client.send(ok(std::str::from_utf8(&body).unwrap())).await;
        }
    })
    .await;
    let proxy = site_of(&[origin.address], |draft| {
        draft.sites[0].routes[0].body_limit = Some(10);
    });
    let asked = |len| {
        format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        client.send(asked(4)).await;
        assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("body").await;
        assert_eq!(client.response().await.text(), "body");
    }
    // Who would send too much is told so instead.
    client.send(asked(11)).await;
    assert_eq!(client.response().await.status(), 413);
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_request_may_not_take_longer_than_it_may_in_all() {
    let mute = silent().await;
    let proxy = site_of(&[mute.address], |draft| {
        draft.sites[0].routes[0].timeouts.request = Some(Duration::from_millis(100));
    });
    let answer = proxy.ask(get("/")).await;
    assert_eq!(answer.status(), 504);
    assert!(
        answer
            .field("proxy-status")
            .contains("http_response_timeout")
    );
}
