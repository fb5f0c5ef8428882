//! Sites in front of servers that fail: what clients get, and what is held against whom.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "support/admin.rs"]
mod admin;
#[path = "support/sites.rs"]
mod sites;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use admin::{json, metric, with_admin};
use risefall::{Cause, Policy, State};
use risefall_proxy::plan::Draft;
use sites::{get, lasting, route_to, server_of, site_by, site_of, with_body};
use support::origin::{answering, ok, resetting, resetting_behind, saying, silent};
use support::{Client, DeadPort, Origin, SOON, black_hole, until};
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn a_server_that_refuses_costs_no_client_anything_and_is_left_alone_after_three() {
    let (dead, good) = (DeadPort::new(), answering(ok("good")).await);
    let servers = [dead.address(), good.address];
    let proxy = site_by(lasting(|policy| policy), &servers, |_| ());
    for _ in 0..12 {
        assert_eq!(proxy.ask(get("/")).await.text(), "good");
    }
    let status = proxy.registry.status(&dead.address());
    assert!(status.state.is_down(), "{status:?}");
    assert_eq!(status.failures, 3);
    assert_eq!(status.last_failure.unwrap().cause, Cause::Refused);
    assert_eq!(proxy.registry.status(&good.address).failures, 0);
}

#[tokio::test]
async fn a_black_hole_costs_no_client_an_error_and_no_more_than_a_moment() {
    let ((hole, _filling), good) = (black_hole().await, answering(ok("good")).await);
    let hole = hole.local_addr().unwrap().as_socket().unwrap();
    let proxy = site_by(Policy::default(), &[hole, good.address], |_| ());
    for _ in 0..4 {
        let asked = Instant::now();
        assert_eq!(proxy.ask(get("/")).await.text(), "good");
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn a_server_that_fell_silent_is_known_and_its_share_goes_where_a_connection_is_open() {
    let ((hole, _filling), good) = (black_hole().await, answering(ok("good")).await);
    let hole = hole.local_addr().unwrap().as_socket().unwrap();
    let policy = lasting(|policy| {
        let wait = policy.attempt_delay(Duration::from_millis(40));
        wait.stall_after(Duration::from_millis(20))
    });
    let proxy = site_by(policy, &[hole, good.address], |_| ());
    for _ in 0..12 {
        assert_eq!(proxy.ask(get("/")).await.text(), "good");
    }
    let status = proxy.registry.status(&hole);
    assert_eq!(status.state, State::Suspect, "{status:?}");
    assert_eq!(status.last_failure.unwrap().cause, Cause::Stalled);
    assert!(good.connections() <= 2, "{}", good.connections());
}

#[tokio::test]
async fn two_hundred_at_once_meet_a_black_hole_and_none_fails() {
    let ((hole, _filling), good) = (black_hole().await, answering(ok("good")).await);
    let hole = hole.local_addr().unwrap().as_socket().unwrap();
    let proxy = Arc::new(site_by(Policy::default(), &[hole, good.address], |_| ()));
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let proxy = Arc::clone(&proxy);
        asked.spawn(async move {
            let mut client = proxy.connect().await;
            let began = Instant::now();
            client.send(get("/")).await;
            assert_eq!(client.response().await.text(), "good");
            began.elapsed()
        });
    }
    let mut times = asked.join_all().await;
    times.sort_unstable();
    let late = times
        .iter()
        .filter(|time| **time > Duration::from_millis(250));
    println!(
        "waited > 250 ms: {}, longest {:?}",
        late.count(),
        times[199]
    );
    assert!(times[199] < SOON, "{:?}", times[199]);
    assert_eq!(proxy.ask(get("/")).await.text(), "good");
}

#[tokio::test]
async fn servers_that_close_or_reset_before_an_answer_are_left_for_another() {
    let closing = Origin::start(|_: Client| async {}).await;
    let (mute, reset) = (saying("").await, resetting().await);
    for bad in [closing, mute, reset] {
        let good = answering(ok("good")).await;
        let proxy = site_by(
            lasting(|policy| policy),
            &[bad.address, good.address],
            |_| (),
        );
        for _ in 0..10 {
            assert_eq!(proxy.ask(get("/")).await.text(), "good");
        }
        assert_eq!(bad.connections(), 3, "three failures take it down");
        assert_eq!(
            proxy.registry.status(&bad.address).failures,
            0,
            "dials went well"
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_never_taken_for_a_whole_one() {
    for (said, version) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
            "1.1",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
            "1.1",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
            "1.0",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nonly this", "1.1"),
        ("HTTP/1.1 200 OK\r\n\r\nonly this", "1.0"),
    ] {
        let (bad, told) = resetting_behind(said).await;
        let proxy = site_of(&[bad.address], |_| ());
        let mut client = proxy.connect().await;
        let asked = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
        client.send(asked).await;
        let head = client.head().await;
        let has_chunks = head.contains("chunked");
        let body = if has_chunks {
            "9\r\nonly this\r\n"
        } else {
            "only this"
        };
        assert_eq!(client.take(body.len()).await, body.as_bytes());
        told.notify_one();
        let mut rest = Vec::new();
        let ended = tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut rest).await;
        assert!(rest.is_empty(), "{rest:?}");
        // Where the end of the connection is the end of the body, only a reset tells.
        let is_framed = has_chunks || support::field(&head, "content-length").is_some();
        assert!(is_framed || ended.is_err(), "{said} {version}");
        let lines = proxy.lines(1).await;
        assert!(lines[0].ends_with(" http_response_incomplete"), "{lines:?}");
    }
}

#[tokio::test]
async fn three_answers_that_broke_off_take_a_server_down() {
    let bad = saying("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this").await;
    let proxy = site_by(lasting(|policy| policy), &[bad.address], |_| ());
    for _ in 0..3 {
        let mut client = proxy.connect().await;
        client.send(get("/")).await;
        client.head().await;
        assert_eq!(client.rest().await, b"only this");
    }
    let answer = proxy.ask(get("/")).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.field("retry-after").parse::<u64>().unwrap() > 0);
    assert_eq!(bad.connections(), 3);
}

fn quick(draft: &mut Draft) {
    draft.timeouts.answer = Duration::from_millis(100);
}

#[tokio::test]
async fn a_silent_server_is_given_up_on_and_another_asked_if_that_does_no_harm() {
    let (mute, good) = (silent().await, answering(ok("good")).await);
    let proxy = site_by(
        lasting(|policy| policy),
        &[mute.address, good.address],
        quick,
    );
    for _ in 0..2 {
        assert_eq!(proxy.ask(get("/")).await.text(), "good");
    }
    let mut late = 0;
    for _ in 0..6 {
        let status = proxy.ask(with_body("POST", "")).await.status();
        assert!(matches!(status, 200 | 504), "{status}");
        late += usize::from(status == 504);
    }
    assert!(late > 0, "none was sent again");
    assert_eq!(mute.connections(), 3, "three failures take it down");
    let lines = proxy.lines(8).await;
    let told = |line: &&String| line.contains(" 504 ") && line.ends_with("http_response_timeout");
    assert_eq!(lines.iter().filter(told).count(), late, "{lines:?}");
}

#[tokio::test]
async fn answers_of_a_gateway_in_trouble_pass_and_are_held_against_it() {
    for status in ["502 Bad Gateway", "503 Unavailable", "504 Gateway Timeout"] {
        let said = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
        let bad = answering(said).await;
        let proxy = site_by(lasting(|policy| policy), &[bad.address], |_| ());
        for _ in 0..3 {
            let answer = proxy.ask(get("/")).await;
            assert!(status.starts_with(&answer.status().to_string()));
            assert_eq!(answer.text(), "no");
        }
        let answer = proxy.ask(get("/")).await;
        assert_eq!(answer.status(), 503);
        assert!(answer.field("retry-after").parse::<u64>().unwrap() > 0);
        assert!(
            answer
                .field("proxy-status")
                .contains("destination_unavailable")
        );
        assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    }
}

#[tokio::test]
async fn an_answer_with_two_readings_is_no_answer() {
    for said in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 02\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
        "hello there, this is HTTP/0.9\r\n",
        "\0\0\0\0",
    ] {
        let bad = saying(said).await;
        let proxy = site_by(
            lasting(|policy| policy.max_fails(1)),
            &[bad.address],
            |_| (),
        );
        let answer = proxy.ask(with_body("POST", "")).await;
        assert_eq!(answer.status(), 502, "{said:?}");
        let told = answer.field("proxy-status");
        let named = match said.starts_with("HTTP/1.1 101 ") {
            true => "http_upgrade_failed",
            false => "http_protocol_error",
        };
        assert!(told.contains(named), "{said:?}: {told}");
        assert_eq!(
            proxy.ask(get("/")).await.status(),
            503,
            "it is to blame: {said:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told_from_what_broke_off() {
    for (said, kind, cause) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
            "malformed",
            "malformed answer",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",
            "malformed",
            "malformed answer",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab",
            "reset",
            "reset",
        ),
    ] {
        let bad = saying(said).await;
        let proxy = site_by(
            lasting(|policy| policy.max_fails(1)),
            &[bad.address],
            with_admin,
        );
        let mut client = proxy.connect().await;
        let request = with_body("POST", "").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        client.send(request).await;
        client.rest().await;
        proxy.lines(1).await;
        let status = json(&proxy, "/status").await;
        let found = &status["upstreams"][0]["endpoints"][0]["addresses"][0]["traffic"];
        assert_eq!(found["last_cause"], cause, "{said:?}: {status}");
        let series =
            format!("risefall_upstream_failures_total{{upstream=\"app\",kind=\"{kind}\"}}");
        assert!(
            (metric(&proxy, &series).await - 1.0).abs() < 0.1,
            "{said:?}"
        );
    }
}

#[tokio::test]
async fn a_head_without_an_end_is_bounded() {
    let field = format!("X-Long: {}\r\n", "x".repeat(1000));
    let bad = saying(format!("HTTP/1.1 200 OK\r\n{}\r\n", field.repeat(1100))).await;
    let many = saying(format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        "a: b\r\n".repeat(10_000)
    ))
    .await;
    for bad in [bad, many] {
        let proxy = site_of(&[bad.address], |_| ());
        let answer = proxy.ask(get("/")).await;
        assert_eq!(answer.status(), 502);
        let told = answer.field("proxy-status");
        assert!(told.contains("http_response_header_section_size"), "{told}");
    }
}

#[tokio::test]
async fn chunks_that_cannot_be_read_cut_the_answer() {
    for chunks in [
        "zz\r\nab\r\n",
        "-1\r\nab\r\n",
        "2 \tx\r\nab\r\n0\r\n\r\n",
        "2\r\nabcd\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nab\r\n",
        "\r\n0\r\n\r\n",
    ] {
        let said = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let bad = saying(said).await;
        let proxy = site_of(&[bad.address], |_| ());
        let mut client = proxy.connect().await;
        client.send(get("/")).await;
        let rest = client.rest().await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{chunks:?}: {rest:?}");
        let lines = proxy.lines(1).await;
        assert!(
            lines[0].ends_with(" http_protocol_error"),
            "{chunks:?} {lines:?}"
        );
    }
}

#[tokio::test]
async fn what_a_server_says_too_much_is_given_to_nobody() {
    for said in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngoodHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood and more than was said",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        let bad = answering(said).await;
        let proxy = site_of(&[bad.address], |_| ());
        let mut client = proxy.connect().await;
        for _ in 0..20 {
            client.send(get("/")).await;
            let head = client.head().await;
            if head.starts_with("HTTP/1.1 200") {
                let body = match support::field(&head, "content-length") {
                    Some(_) => client.take(4).await,
                    None => client.chunks().await,
                };
                assert_eq!(body, b"good");
            }
            assert!(client.bytes.is_empty(), "{:?}", client.bytes);
        }
        assert_eq!(bad.connections(), 20, "none is used again: {said:?}");
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_whatever_its_server_sends() {
    let bad = answering(ok("evil")).await;
    let proxy = site_of(&[bad.address], |_| ());
    let mut client = proxy.connect().await;
    for _ in 0..3 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let head = client.head().await;
        assert_eq!(support::field(&head, "content-length"), Some("4"));
    }
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(client.response().await.text(), "evil");
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn an_answer_before_the_question_is_thrown_away_with_its_connection() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let bad = Origin::start(move |mut client: Client| {
        let asked = Arc::clone(&counted);
        async move {
            client.head().await;
            client.send(ok("good")).await;
            if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                client.send(ok("evil")).await;
            }
            client.rest().await;
        }
    })
    .await;
    let proxy = site_of(&[bad.address], |_| ());
    assert_eq!(proxy.ask(get("/")).await.text(), "good");
    until(|| asked.load(Ordering::SeqCst) == 1).await;
    assert_eq!(proxy.ask(get("/")).await.text(), "good");
    assert_eq!(bad.connections(), 2);
}

#[tokio::test]
async fn what_is_said_before_the_answer_is_dropped() {
    let bad = answering(format!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 102 Processing\r\n\r\n{}",
        ok("good")
    ))
    .await;
    let proxy = site_of(&[bad.address], |_| ());
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        client.send(get("/")).await;
        let answer = client.response().await;
        assert_eq!((answer.status(), answer.text()), (200, "good"));
    }
    assert_eq!(bad.connections(), 1);
}

#[tokio::test]
async fn interim_answers_without_an_end_are_no_answer_and_leave_others_their_turn() {
    let endless = Origin::start(|mut client: Client| async move {
        client.head().await;
        let hint = format!(
            "HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n",
            "a".repeat(4000)
        );
        let hints = hint.repeat(16);
        while client.stream.write_all(hints.as_bytes()).await.is_ok() {}
    })
    .await;
    let good = answering(ok("good")).await;
    let proxy = site_of(&[endless.address], |draft| {
        let mut other = draft.upstreams[0].clone();
        "other".clone_into(&mut other.name);
        other.servers = vec![server_of(good.address)];
        draft.upstreams.push(other);
        let route = route_to("/good", "other");
        draft.sites[0].routes.insert(0, route);
    });
    let mut client = proxy.connect().await;
    client.send(get("/")).await;
    until(|| endless.connections() == 1).await;
    assert_eq!(proxy.ask(get("/good")).await.text(), "good");
    assert_eq!(client.response().await.status(), 502);
    assert_eq!(endless.connections(), 1);
}
