//! Sites in front of several servers: what is sent again, to whom, and what is not.

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

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use risefall_proxy::plan::UpstreamDraft;
use sites::{get, group, lasting, site_by, site_of, with_body};
use support::origin::{answering, echoing_bodies, ok, read_whole, resetting};
use support::{Client, DeadPort, Origin, within};
use tokio::sync::Semaphore;

/// Reads a whole request, then resets the connection; and tells what it read.
async fn resetting_behind_body() -> (Origin, Arc<Mutex<Vec<Vec<u8>>>>) {
    let read = Arc::<Mutex<Vec<_>>>::default();
    let told = Arc::clone(&read);
    let origin = Origin::start(move |mut client: Client| {
        let told = Arc::clone(&told);
        async move {
            let (_, body) = read_whole(&mut client).await;
            told.lock().unwrap().push(body);
            client.reset();
        }
    })
    .await;
    (origin, read)
}

/// Answers the first request of a connection, and closes behind the second.
async fn forgetful() -> Origin {
    Origin::start(|mut client: Client| async move {
        read_whole(&mut client).await;
        client.send(ok("good")).await;
        if client.more().await > 0 {
            read_whole(&mut client).await;
        }
    })
    .await
}

#[tokio::test]
async fn who_closes_on_what_nobody_can_send_again_has_failed() {
    let origin = forgetful().await;
    let proxy = site_by(
        lasting(|policy| policy.max_fails(1)),
        &[origin.address],
        |_| (),
    );
    let mut client = proxy.connect().await;
    // What can be is sent again, and says nothing of the server.
    for _ in 0..4 {
        client.send(get("/")).await;
        assert_eq!(client.response().await.status(), 200);
    }
    client.send(with_body("POST", "once")).await;
    assert_eq!(client.response().await.status(), 502);
    client.send(get("/")).await;
    assert_eq!(client.response().await.status(), 503);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_nobody_anything() {
    let origin = Origin::start(|mut client: Client| async move {
        read_whole(&mut client).await;
        client.send(ok("good")).await;
    })
    .await;
    let proxy = site_by(
        lasting(|policy| policy.max_fails(1)),
        &[origin.address],
        |_| (),
    );
    let mut client = proxy.connect().await;
    for nth in 0..20 {
        let method = ["GET", "POST", "PUT"][nth % 3];
        client.send(with_body(method, "body")).await;
        assert_eq!(client.response().await.text(), "good", "{method}");
    }
    assert_eq!(origin.connections(), 20);
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_on_the_request_is_tried_again_if_that_does_no_harm() {
    let origin = Origin::start(|mut client: Client| async move {
        read_whole(&mut client).await;
        client.send(ok("good")).await;
        read_whole(&mut client).await;
        client.reset();
    })
    .await;
    let proxy = site_by(
        lasting(|policy| policy.max_fails(2)),
        &[origin.address],
        |_| (),
    );
    for _ in 0..6 {
        assert_eq!(proxy.ask(get("/")).await.text(), "good");
    }
    // One connection for each but the first two requests; every other found it dead.
    assert_eq!(origin.connections(), 6);
    assert_eq!(proxy.ask(with_body("POST", "body")).await.status(), 502);
    let lines = proxy.lines(7).await;
    assert!(lines[6].ends_with(" http_response_incomplete"), "{lines:?}");
}

#[tokio::test]
async fn a_server_that_dies_with_its_kept_connections_costs_no_client_anything() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dying = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut client = Client {
            stream,
            bytes: Vec::new(),
        };
        client.head().await;
        client.send(ok("last")).await;
        drop(listener);
        client.head().await;
        client.reset();
    });
    let good = answering(ok("good")).await;
    let proxy = site_of(&[address, good.address], |_| ());
    while proxy.ask(get("/")).await.text() != "last" {}
    while !dying.is_finished() {
        assert_eq!(proxy.ask(get("/")).await.text(), "good");
    }
    assert_eq!(proxy.ask(with_body("POST", "")).await.text(), "good");
}

#[tokio::test]
async fn kept_connections_that_were_dead_are_no_retries() {
    // Each connection breaks on the request behind the first answer, and the later ones at once.
    let first = Arc::new(AtomicBool::new(true));
    let dying = Origin::start(move |mut client: Client| {
        let first = Arc::clone(&first);
        async move {
            read_whole(&mut client).await;
            if first.swap(false, Ordering::Relaxed) {
                client.send(ok("last")).await;
                read_whole(&mut client).await;
            }
            client.reset();
        }
    })
    .await;
    let good = answering(ok("good")).await;
    let proxy = site_of(&[dying.address, good.address], |draft| {
        draft.upstreams[0].retries.attempts = 1;
    });
    for _ in 0..6 {
        assert_eq!(proxy.ask(get("/")).await.status(), 200);
    }
    assert!(dying.connections() >= 2, "{}", dying.connections());
}

#[tokio::test]
async fn a_body_is_sent_again_as_a_whole() {
    let chunked = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    for asked in [with_body("PUT", "abcdefg"), chunked.to_owned()] {
        let (bad, read) = resetting_behind_body().await;
        let good = echoing_bodies().await;
        let proxy = site_of(&[bad.address, good.address], |_| ());
        for _ in 0..2 {
            assert_eq!(proxy.ask(&asked).await.text(), "abcdefg");
        }
        let read = read.lock().unwrap().clone();
        assert!(
            !read.is_empty() && read.iter().all(|body| body == b"abcdefg"),
            "{read:?}"
        );
        let lines = proxy.whole_lines(2).await;
        let again = lines.iter().filter(|line| line.contains(" tries=2 "));
        assert_eq!(again.count(), read.len(), "{lines:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_still_coming_is_sent_again_from_its_beginning() {
    let read_half = Arc::new(Semaphore::new(0));
    let told = Arc::clone(&read_half);
    let bad = Origin::start(move |mut client: Client| {
        let read_half = Arc::clone(&told);
        async move {
            client.head().await;
            client.take(3).await;
            read_half.add_permits(1);
            client.reset();
        }
    })
    .await;
    let good = echoing_bodies().await;
    let backup = |app: &mut UpstreamDraft| app.servers[1].is_backup = true;
    let proxy = site_of(&[bad.address, good.address], group(backup));
    let mut client = proxy.connect().await;
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        .await;
    within(read_half.acquire()).await.unwrap().forget();
    client.send("def").await;
    assert_eq!(client.response().await.text(), "abcdef");
}

#[tokio::test]
async fn a_websocket_is_dialled_elsewhere_and_sent_once() {
    let dead = DeadPort::new();
    let good =
        answering("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").await;
    let bad = resetting().await;
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let backup = |app: &mut UpstreamDraft| app.servers[1].is_backup = true;
    let proxy = site_of(&[dead.address(), good.address], group(backup));
    let mut client = proxy.connect().await;
    client.send(asked).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    let proxy = site_of(&[bad.address, good.address], group(backup));
    assert_eq!(proxy.ask(asked).await.status(), 502);
}

#[tokio::test]
async fn what_is_too_long_to_be_kept_is_sent_once() {
    let (bad, read) = resetting_behind_body().await;
    let good = echoing_bodies().await;
    let proxy = site_of(
        &[bad.address, good.address],
        group(|app| app.retries.body_bytes = 10),
    );
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push(proxy.ask(with_body("PUT", "0123456789a")).await.status());
    }
    answers.sort_unstable();
    assert_eq!(answers, [200, 502]);
    assert_eq!(read.lock().unwrap().len(), 1);
    for _ in 0..2 {
        assert_eq!(
            proxy.ask(with_body("PUT", "0123456789")).await.text(),
            "0123456789"
        );
    }
    assert!(read.lock().unwrap().len() > 1);
}

#[tokio::test]
async fn a_post_is_sent_twice_only_by_the_operators_leave() {
    let (bad, read) = resetting_behind_body().await;
    let good = echoing_bodies().await;
    let servers = [bad.address, good.address];
    let proxy = site_of(&servers, |_| ());
    let asked = [
        proxy.ask(with_body("POST", "x")).await,
        proxy.ask(with_body("POST", "x")).await,
    ];
    let failed = asked.iter().filter(|answer| answer.status() == 502);
    assert_eq!(failed.count(), 1);
    assert_eq!(read.lock().unwrap().len(), 1);
    let proxy = site_of(&servers, group(|app| app.retries.non_idempotent = true));
    for _ in 0..2 {
        assert_eq!(proxy.ask(with_body("POST", "x")).await.text(), "x");
    }
    assert!(read.lock().unwrap().len() > 1);
}

#[tokio::test]
async fn tries_are_counted_and_paid_for() {
    let bad = [
        resetting().await,
        resetting().await,
        resetting().await,
        resetting().await,
    ];
    let servers = bad.each_ref().map(|one| one.address);
    let tried = || bad.iter().map(Origin::connections).sum::<usize>();
    let proxy = site_of(&servers, |_| ());
    assert_eq!(proxy.ask(get("/")).await.status(), 502);
    assert_eq!(tried(), 3);
    let lines = proxy.whole_lines(1).await;
    assert!(lines[0].contains(" tries=3"), "{lines:?}");
    assert!(lines[0].contains(" site=shop "), "{lines:?}");
    let proxy = site_of(&servers, group(|app| app.retries.budget_percent = 0));
    assert_eq!(proxy.ask(get("/")).await.status(), 502);
    assert_eq!(tried(), 4, "nothing pays for a second try");
}

#[tokio::test]
async fn an_answer_whose_status_is_listed_is_asked_for_elsewhere() {
    let full = answering("HTTP/1.1 503 Full\r\nContent-Length: 4\r\n\r\nfull").await;
    let good = answering(ok("good")).await;
    let listed = || group(|app| app.retries.statuses = vec![StatusCode::SERVICE_UNAVAILABLE]);
    let proxy = site_of(&[full.address, good.address], listed());
    for _ in 0..4 {
        assert_eq!(proxy.ask(get("/")).await.text(), "good");
    }
    assert!(
        (2..=3).contains(&full.connections()),
        "its answers are held against it"
    );
    // Where nobody else is left, that is the answer.
    let proxy = site_of(&[full.address], listed());
    let answer = proxy.ask(get("/")).await;
    assert_eq!((answer.status(), answer.text()), (503, "full"));
}

#[tokio::test]
async fn an_answer_that_came_before_the_end_of_the_request_is_not_kept_for_later() {
    let early = Origin::start(|mut client: Client| async move {
        client.head().await;
        client
            .send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9999\r\n\r\npart")
            .await;
        client.rest().await;
    })
    .await;
    let dead = DeadPort::new();
    let proxy = site_of(
        &[early.address, dead.address()],
        group(|app| {
            app.servers[1].is_backup = true;
            app.retries.statuses = vec![StatusCode::SERVICE_UNAVAILABLE];
        }),
    );
    let mut client = proxy.connect().await;
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    let answer = client.response().await;
    assert_eq!(answer.status(), 502, "{answer:?}");
    assert_eq!(early.connections(), 1);
}
