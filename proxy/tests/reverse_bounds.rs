//! What one request may cost, and what a client may not do to servers.

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

use std::time::{Duration, Instant};

use risefall::Policy;
use sites::{get, lasting, site_by, site_of};
use support::origin::ok;
use support::{Client, DeadPort, Origin, SOON, within};

#[tokio::test]
async fn more_dead_servers_than_one_request_tries_are_not_tried_for_ever() {
    let dead: Vec<_> = (0..40).map(|_| DeadPort::new()).collect();
    let servers: Vec<_> = dead.iter().map(DeadPort::address).collect();
    let policy = Policy::builder()
        .fail_open(true)
        .max_fails(1)
        .build()
        .unwrap();
    let proxy = site_by(policy, &servers, |_| ());
    for _ in 0..6 {
        let began = Instant::now();
        let answer = proxy.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!([502, 503].contains(&answer.status()), "{answer:?}");
        assert!(began.elapsed() < SOON);
    }
}

#[tokio::test]
async fn a_client_that_names_no_host_is_served_and_blames_no_server() {
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], |_| ());
    for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n"] {
        let answer = proxy.ask(request).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let host = format!("host: {}\r\n", origin.address);
        assert!(
            answer.text().to_ascii_lowercase().contains(&host),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_switch_to_another_protocol_than_asked_for_is_none() {
    let origin = Origin::start(|mut client: Client| async move {
        client.head().await;
        client
            .send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
            .await;
        client.rest().await;
    })
    .await;
    let proxy = site_of(&[origin.address], |_| ());
    let answer = proxy
        .ask("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
        .await;
    assert_eq!(answer.status(), 502);
}

#[tokio::test]
async fn a_try_that_no_server_is_left_for_is_not_counted() {
    let origin = Origin::start(|mut client: Client| async move {
        client.head().await;
    })
    .await;
    let proxy = site_of(&[origin.address], |_| ());
    let answer = proxy.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.status(), 502);
    let force = proxy.running().in_force();
    let retries = force
        .tallies
        .upstream_sum("app", |counts| Some(&counts.retries));
    assert_eq!(retries, 0);
}

#[tokio::test]
async fn those_in_line_for_a_server_that_refuses_do_not_dial_it_for_ever() {
    let dead = DeadPort::new();
    let policy = Policy::builder()
        .fail_open(true)
        .max_fails(1)
        .build()
        .unwrap();
    let proxy = site_by(policy, &[dead.address()], |draft| {
        let app = &mut draft.upstreams[0];
        app.max_requests = 1;
        app.queue.length = 8;
        app.queue.timeout = Duration::from_secs(60);
    });
    let ask = || proxy.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let asked = async { tokio::join!(ask(), ask(), ask(), ask()) };
    let answers: [_; 4] = within(asked).await.into();
    for answer in answers {
        assert!([502, 503].contains(&answer.status()), "{answer:?}");
    }
}

#[tokio::test]
async fn an_upload_that_stands_still_behind_the_head_of_its_answer_blames_no_server() {
    let origin = Origin::start(|mut client: Client| async move {
        let answer = match client.head().await.starts_with("POST") {
            true => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n".to_owned(),
            false => ok("good"),
        };
        client.send(answer).await;
        client.rest().await;
    })
    .await;
    let policy = lasting(|policy| policy.max_fails(1));
    let proxy = site_by(policy, &[origin.address], |draft| {
        draft.timeouts.body_idle = Duration::from_millis(100);
    });
    let mut client = proxy.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        .await;
    client.rest().await;
    assert_eq!(proxy.ask(get("/")).await.text(), "good");
}
