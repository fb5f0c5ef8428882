//! Sites in front of several servers: who is asked, who keeps whom, and who waits.

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

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use risefall::{Policy, Recovery};
use risefall_proxy::plan::upstream::Sticky;
use risefall_proxy::plan::{Balance, Draft, KeyBy, Server, UpstreamDraft};
use sites::{get, group, in_flight, lasting, server_of, site_by, site_of, with_body};
use support::origin::{answering, ok};
use support::{Client, DeadPort, Origin, PATIENCE, Proxy, field, until};
use tokio::sync::Semaphore;

/// A server that holds each request until it is let go.
async fn holding() -> (Origin, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |mut client: Client| {
        let gate = Arc::clone(&held);
        async move {
            while !client.bytes.is_empty() || client.more().await > 0 {
                client.head().await;
                gate.acquire().await.unwrap().forget();
                client.send(ok("good")).await;
            }
        }
    })
    .await;
    (origin, gate)
}

fn waiting_line(length: u32, timeout: Duration) -> impl FnOnce(&mut Draft) {
    group(move |app| {
        app.max_requests = 1;
        app.queue.length = length;
        app.queue.timeout = timeout;
    })
}

/// Sends a request on a connection of its own.
async fn asking(proxy: &Proxy) -> Client {
    let mut client = proxy.connect().await;
    client.send(get("/")).await;
    client
}

#[tokio::test]
async fn who_comes_to_a_full_server_waits_for_its_turn() {
    let (origin, gate) = holding().await;
    let proxy = site_of(&[origin.address], waiting_line(2, PATIENCE));
    let mut clients = Vec::new();
    for nth in 1..=3 {
        clients.push(asking(&proxy).await);
        until(|| in_flight(&proxy) == nth).await;
    }
    let turned_away = asking(&proxy).await.response().await;
    assert_eq!(turned_away.status(), 503);
    assert_eq!(turned_away.field("retry-after"), "1");
    for mut client in clients {
        gate.add_permits(1);
        assert_eq!(client.response().await.text(), "good");
    }
    assert_eq!(origin.connections(), 1, "one at a time");
}

#[tokio::test]
async fn who_gives_up_in_line_makes_room_and_who_waits_too_long_is_told() {
    let (origin, gate) = holding().await;
    let proxy = site_of(
        &[origin.address],
        waiting_line(1, Duration::from_millis(80)),
    );
    let mut first = asking(&proxy).await;
    until(|| in_flight(&proxy) == 1).await;
    let second = asking(&proxy).await;
    until(|| in_flight(&proxy) == 2).await;
    second.reset();
    until(|| in_flight(&proxy) == 1).await;
    let late = asking(&proxy).await.response().await;
    assert_eq!(late.status(), 503);
    assert!(
        late.field("proxy-status")
            .contains("connection_limit_reached")
    );
    gate.add_permits(1);
    assert_eq!(first.response().await.text(), "good");
}

/// Answers every request, whatever its body.
fn back(dead: DeadPort) -> Origin {
    Origin::revive(dead, |mut client: Client| async move {
        while !client.bytes.is_empty() || client.more().await > 0 {
            let head = client.head().await;
            let len = field(&head, "content-length").map_or(0, |len| len.parse().unwrap());
            client.take(len).await;
            client.send(ok("back")).await;
        }
    })
}

/// Down at the first failure, and tried again almost at once.
fn restless() -> Policy {
    let policy = Policy::builder().max_fails(1).min_rises(1);
    let policy = policy.recovery(Recovery::PROBE);
    policy
        .fail_timeout(Duration::from_millis(40))
        .build()
        .unwrap()
}

#[tokio::test]
async fn who_finds_all_servers_down_is_served_when_one_returns() {
    let dead = DeadPort::new();
    let proxy = site_of(&[dead.address()], waiting_line(8, PATIENCE));
    // A server that is up may be asked by the next, so a dial that fails is told at once. With the
    // third it is down: who has found that out waits as those do who come then.
    for _ in 0..2 {
        assert_eq!(proxy.ask(get("/")).await.status(), 502);
    }
    let mut waiting = Vec::new();
    for nth in 1..=3 {
        waiting.push(asking(&proxy).await);
        until(|| in_flight(&proxy) == nth && proxy.registry.is_fall_down(&dead.address())).await;
    }
    let _back = back(dead);
    for client in &mut waiting {
        assert_eq!(client.response().await.text(), "back");
    }
}

#[tokio::test]
async fn who_is_refused_by_a_server_that_was_tried_again_is_back_in_line() {
    let dead = DeadPort::new();
    let address = dead.address();
    let proxy = site_by(restless(), &[address], waiting_line(2, PATIENCE));
    let mut first = proxy.connect().await;
    first.send(with_body("POST", "once")).await;
    until(|| in_flight(&proxy) == 1).await;
    let mut second = asking(&proxy).await;
    // Both trips after the first are those of probes, which only one who waits can have been.
    until(|| proxy.registry.status(&address).trips >= 3).await;
    assert_eq!(in_flight(&proxy), 2);
    let origin = back(dead);
    for client in [&mut first, &mut second] {
        assert_eq!(client.response().await.text(), "back");
    }
    assert!(origin.connections() <= 2);
}

#[tokio::test]
async fn who_was_refused_all_its_time_in_line_is_told_that_no_server_is_up() {
    let dead = DeadPort::new();
    let line = waiting_line(1, Duration::from_millis(200));
    let proxy = site_by(restless(), &[dead.address()], line);
    let answer = proxy.ask(get("/")).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.field("retry-after").parse::<u32>().is_ok());
    assert!(proxy.registry.status(&dead.address()).trips >= 2);
}

#[tokio::test]
async fn what_a_server_may_have_had_does_not_wait_for_another() {
    let origin = Origin::start(|mut client: Client| async move {
        client.head().await;
        client.take(4).await;
        client.reset();
    })
    .await;
    let policy = lasting(|policy| policy.max_fails(1));
    let proxy = site_by(policy, &[origin.address], waiting_line(2, PATIENCE));
    // It is down by that, and for as long as the test lasts.
    let answer = proxy.ask(with_body("POST", "once")).await;
    assert_eq!(answer.status(), 502);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn who_is_refused_waits_for_a_server_that_is_full() {
    let (origin, gate) = holding().await;
    let dead = DeadPort::new();
    let policy = lasting(|policy| policy.max_fails(1));
    let proxy = site_by(policy, &[origin.address], |draft| {
        waiting_line(4, PATIENCE)(draft);
        let spare = Server {
            is_backup: true,
            ..server_of(dead.address())
        };
        draft.upstreams[0].servers.push(spare);
    });
    let mut clients = Vec::new();
    for nth in 1..=3 {
        clients.push(asking(&proxy).await);
        until(|| in_flight(&proxy) == nth).await;
    }
    gate.add_permits(3);
    for mut client in clients {
        assert_eq!(client.response().await.text(), "good");
    }
}

#[tokio::test]
async fn a_group_that_fails_open_asks_one_that_is_down() {
    let bad = answering("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno").await;
    for fails_open in [false, true] {
        let policy = lasting(|policy| policy.fail_open(fails_open));
        let proxy = site_by(policy, &[bad.address], |_| ());
        for _ in 0..3 {
            assert_eq!(proxy.ask(get("/")).await.text(), "no");
        }
        assert_eq!(proxy.ask(get("/")).await.text() == "no", fails_open);
    }
    // With a queue too: where one is asked all the same, nobody waits for it.
    for length in [0, 8] {
        let dead = DeadPort::new();
        let policy = lasting(|policy| policy.fail_open(true));
        let proxy = site_by(policy, &[dead.address()], waiting_line(length, PATIENCE));
        for _ in 0..5 {
            assert_eq!(proxy.ask(get("/")).await.status(), 502);
        }
    }
}

#[tokio::test]
async fn a_backup_is_asked_when_no_other_is_up() {
    let (dead, spare) = (DeadPort::new(), answering(ok("spare")).await);
    let good = answering(ok("good")).await;
    let with_spare = |app: &mut UpstreamDraft| {
        let mut spare = server_of(spare.address);
        spare.is_backup = true;
        app.servers.push(spare);
    };
    let proxy = site_of(&[good.address], group(with_spare));
    for _ in 0..4 {
        assert_eq!(proxy.ask(get("/")).await.text(), "good");
    }
    let proxy = site_by(
        lasting(|policy| policy),
        &[dead.address()],
        group(with_spare),
    );
    for _ in 0..4 {
        assert_eq!(proxy.ask(get("/")).await.text(), "spare");
    }
}

fn sticky(app: &mut UpstreamDraft) {
    app.sticky = Some(Sticky {
        cookie: "srv".to_owned(),
        max_age: None,
        secure: None,
    });
}

#[tokio::test]
async fn a_client_keeps_its_server_and_is_given_another_when_that_is_down() {
    let stopping = "HTTP/1.1 503 Stopping\r\nContent-Length: 3\r\n\r\none";
    let one = answering(stopping).await;
    let two = answering(ok("two")).await;
    let proxy = site_by(
        lasting(|policy| policy),
        &[one.address, two.address],
        group(sticky),
    );
    let first = loop {
        let answer = proxy.ask(get("/")).await;
        if answer.text() == "one" {
            break answer;
        }
    };
    let cookie = first
        .field("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let again = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b; {cookie}\r\n\r\n");
    for _ in 0..2 {
        let answer = proxy.ask(&again).await;
        assert_eq!(answer.text(), "one");
        assert_eq!(field(&answer.head, "set-cookie"), None);
    }
    for _ in 0..2 {
        let moved = proxy.ask(&again).await;
        assert_eq!(moved.text(), "two", "three failures took it down");
        assert!(!moved.field("set-cookie").starts_with(&cookie));
    }
}

#[tokio::test]
async fn a_key_of_the_request_keeps_its_server() {
    let mut names = Vec::new();
    for name in ["one", "two", "three"] {
        names.push(answering(ok(name)).await);
    }
    let servers: Vec<_> = names.iter().map(|one| one.address).collect();
    let by_path = |key| format!("GET /{key} HTTP/1.1\r\nHost: a\r\n\r\n");
    let by_header = |key| format!("GET / HTTP/1.1\r\nHost: a\r\nX-Key: {key}\r\n\r\n");
    let by_cookie = |key| format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: k={key}\r\n\r\n");
    let kinds: [(KeyBy, &dyn Fn(usize) -> String); 3] = [
        (KeyBy::Path, &by_path),
        (KeyBy::Header("x-key".parse().unwrap()), &by_header),
        (KeyBy::Cookie("k".to_owned()), &by_cookie),
    ];
    for (by, asked) in kinds {
        let proxy = site_of(
            &servers,
            group(|app| {
                app.balance = Balance::Hash;
                app.by = by;
            }),
        );
        let mut seen = HashSet::new();
        for key in 0..24 {
            let first = proxy.ask(asked(key)).await.text().to_owned();
            assert_eq!(proxy.ask(asked(key)).await.text(), first);
            seen.insert(first);
        }
        assert_eq!(seen.len(), 3, "keys are spread");
    }
}
