//! Servers that are judged together: how many may be left out, who is worse than the others, who
//! comes back.

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

use std::net::SocketAddr;
use std::time::Duration;

use admin::{eventually, json, metric, with_admin};
use risefall::{GroupPolicy, GroupPolicyBuilder, Mode, Policy, Recovery};
use risefall_proxy::plan::upstream::usual_group;
use risefall_proxy::plan::{Balance, Draft};
use serde_json::Value;
use sites::{get, lasting, site_by, site_of};
use support::origin::{answering, ok, saying, silent};
use support::{Client, DeadPort, Origin, Proxy, Response};

const BROKEN: &str = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";

/// One failure takes a server down, for longer than any test lasts.
fn strict(draft: &mut Draft, group: GroupPolicy) {
    with_admin(draft);
    draft.upstreams[0].service = Some(lasting(|policy| policy.max_fails(1)));
    draft.upstreams[0].group = group;
}

fn by(change: impl FnOnce(GroupPolicyBuilder) -> GroupPolicyBuilder) -> GroupPolicy {
    change(usual_group().into_builder()).build().unwrap()
}

fn addresses(all: &[Origin]) -> Vec<SocketAddr> {
    all.iter().map(|one| one.address).collect()
}

/// RFC 9209: what a proxy says itself has a cause.
fn is_ours(answer: &Response) -> bool {
    support::field(&answer.head, "proxy-status").is_some()
}

async fn statuses(proxy: &Proxy, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        statuses.push(proxy.ask(get("/")).await.status());
    }
    statuses
}

async fn counts(proxy: &Proxy) -> Value {
    json(proxy, "/status").await["upstreams"][0]["group"].clone()
}

fn server(status: &Value, nth: usize) -> &Value {
    &status["upstreams"][0]["endpoints"][nth]["addresses"][0]
}

#[tokio::test]
async fn trouble_that_all_have_leaves_half_of_them_in_use() {
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(answering(BROKEN).await);
    }
    let addresses = addresses(&all);
    let proxy = site_of(&addresses, |draft| strict(draft, usual_group()));
    assert_eq!(statuses(&proxy, 20).await, [503; 20]);
    let group = counts(&proxy).await;
    assert_eq!(
        (&group["ejected"], &group["most_ejected"]),
        (&2.into(), &2.into())
    );
    assert!(group["spared"].as_u64().unwrap() > 0, "{group}");
    assert_eq!(
        metric(&proxy, "risefall_upstream_ejected{upstream=\"app\"}").await,
        2.0
    );
    assert_eq!(
        metric(
            &proxy,
            "risefall_upstream_ejections_total{upstream=\"app\"}"
        )
        .await,
        2.0
    );
    // The answers were the servers' own: nobody was told that all are down.
    assert!(!is_ours(&proxy.ask(get("/")).await));
    let status = json(&proxy, "/status").await;
    let used = (0..4).filter(|&nth| server(&status, nth)["eligible"] == true);
    assert_eq!(used.count(), 2);
}

#[tokio::test]
async fn the_only_server_is_ejected_only_when_it_may_be() {
    let broken = answering(BROKEN).await;
    let group = by(|group| group.spare_single(true));
    let proxy = site_of(&[broken.address], |draft| strict(draft, group));
    let answers = [proxy.ask(get("/")).await, proxy.ask(get("/")).await];
    assert!(answers.iter().all(|one| !is_ours(one)));
    let proxy = site_of(&[broken.address], |draft| strict(draft, usual_group()));
    proxy.ask(get("/")).await;
    let denied = proxy.ask(get("/")).await;
    assert_eq!(denied.status(), 503);
    assert!(is_ours(&denied));
}

#[tokio::test]
async fn nobody_is_ejected_while_the_group_only_observes() {
    let (broken, good) = (answering(BROKEN).await, answering(ok("good")).await);
    let group = by(|group| group.mode(Mode::Observe));
    let proxy = site_of(&[broken.address, good.address], |draft| {
        strict(draft, group);
    });
    let all = statuses(&proxy, 10).await;
    assert_eq!(all.iter().filter(|&&status| status == 503).count(), 5);
    let status = json(&proxy, "/status").await;
    let one = server(&status, 0);
    assert_eq!(
        (&one["eligible"], &one["traffic"]["state"]),
        (&true.into(), &"down".into())
    );
    let reason = one["reason"].as_str().unwrap();
    assert!(reason.ends_with("the group only observes"), "{reason}");
}

#[tokio::test]
async fn servers_that_are_only_observed_are_full_and_not_down() {
    let silent = silent().await;
    let policy = Policy::builder()
        .max_fails(1)
        .fail_timeout(Duration::from_secs(60));
    let group = by(|group| group.mode(Mode::Observe));
    let proxy = site_of(&[silent.address], |draft| {
        strict(draft, group);
        draft.upstreams[0].service = Some(policy.build().unwrap());
        draft.upstreams[0].max_requests = 1;
        draft.timeouts.answer = Duration::from_millis(100);
    });
    assert_eq!(proxy.ask(get("/")).await.status(), 504);
    let mut held = proxy.connect().await;
    held.send(get("/")).await;
    eventually("one request is there", async || {
        json(&proxy, "/status").await["upstreams"][0]["in_flight"] == 1
    })
    .await;
    let full = proxy.ask(get("/")).await;
    assert_eq!(full.status(), 503);
    let cause = full.field("proxy-status");
    assert!(cause.contains("connection_limit_reached"), "{cause}");
}

#[tokio::test]
async fn an_operator_who_resets_an_address_resets_what_it_answered() {
    let broken = answering(BROKEN).await;
    let proxy = site_of(&[broken.address], |draft| strict(draft, usual_group()));
    proxy.ask(get("/")).await;
    assert_eq!(counts(&proxy).await["ejected"], 1);
    let mut client = Client::connect(proxy.running().admin_address().unwrap()).await;
    let path = format!("/endpoints/{}/reset", broken.address);
    let reset = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Risefall-Action: 1\r\n\r\n");
    client.send(reset).await;
    assert_eq!(client.response().await.status(), 200);
    assert_eq!(counts(&proxy).await["ejected"], 0);
}

#[tokio::test]
async fn answers_are_passed_over_while_too_few_are_up() {
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(answering(BROKEN).await);
    }
    let group = by(|group| group.max_ejected_percent(100).fail_open_below(50));
    let addresses = addresses(&all);
    let proxy = site_of(&addresses, |draft| strict(draft, group));
    statuses(&proxy, 9).await;
    let status = json(&proxy, "/status").await;
    assert_eq!(status["upstreams"][0]["group"]["failing_open"], true);
    for nth in 0..3 {
        let one = server(&status, nth);
        assert_eq!(one["eligible"], true, "{one}");
    }
    for _ in 0..3 {
        assert!(!is_ours(&proxy.ask(get("/")).await));
    }
}

/// Fails in every second request: never twice in a row.
async fn limping() -> Origin {
    Origin::start(|mut client: Client| async move {
        let mut turn = 0;
        while !client.bytes.is_empty() || client.more().await > 0 {
            client.head().await;
            turn += 1;
            let answer = if turn % 2 == 0 {
                BROKEN.to_owned()
            } else {
                ok("good")
            };
            client.send(answer).await;
        }
    })
    .await
}

#[tokio::test]
async fn one_that_never_fails_twice_in_a_row_is_found_by_its_rate() {
    let (limping, good) = (limping().await, answering(ok("good")).await);
    let group = by(|group| {
        group
            .failure_percent(40)
            .min_volume(8)
            .window(Duration::from_secs(1))
    });
    let proxy = site_of(&[limping.address, good.address], |draft| {
        with_admin(draft);
        draft.upstreams[0].service = Some(lasting(|policy| policy.max_fails(3)));
        draft.upstreams[0].group = group;
    });
    eventually("ejected by its rate", async || {
        statuses(&proxy, 8).await;
        counts(&proxy).await["ejected"] == 1
    })
    .await;
    let status = json(&proxy, "/status").await;
    let one = server(&status, 0);
    assert_eq!(one["traffic"]["last_cause"], "outlier");
    let reason = one["reason"].as_str().unwrap();
    assert!(reason.contains(": an outlier by failures: "), "{reason}");
    assert!(!reason.contains("in a row"), "{reason}");
    assert_eq!(statuses(&proxy, 8).await, [200; 8]);
}

/// Answers `late`, and is.
async fn slow(pause: Duration) -> Origin {
    Origin::start(move |mut client: Client| async move {
        while !client.bytes.is_empty() || client.more().await > 0 {
            client.head().await;
            tokio::time::sleep(pause).await;
            client.send(ok("late")).await;
        }
    })
    .await
}

#[tokio::test]
async fn one_that_is_slow_in_half_of_its_answers_is_found_by_that() {
    let slow = slow(Duration::from_millis(20)).await;
    let good = answering(ok("good")).await;
    let group = by(|group| {
        let group = group.slow_calls(Duration::from_millis(10), 50);
        group.min_volume(4).window(Duration::from_secs(1))
    });
    let proxy = site_of(&[slow.address, good.address], |draft| strict(draft, group));
    eventually("ejected for being slow", async || {
        statuses(&proxy, 8).await;
        counts(&proxy).await["ejected"] == 1
    })
    .await;
    assert_eq!(proxy.ask(get("/")).await.text(), "good");
    let status = json(&proxy, "/status").await;
    let reason = server(&status, 0)["reason"].as_str().unwrap();
    assert!(reason.contains(": an outlier by slow: "), "{reason}");
}

/// How many of `times` requests were answered so.
async fn answered(proxy: &Proxy, times: usize, text: &str) -> usize {
    let mut answered = 0;
    for _ in 0..times {
        answered += usize::from(proxy.ask(get("/")).await.text() == text);
    }
    answered
}

#[tokio::test]
async fn what_one_would_have_got_that_refuses_goes_to_all_others_alike() {
    let (one, other) = (answering(ok("one")).await, answering(ok("other")).await);
    let dead = DeadPort::new();
    for place in 0..3 {
        let mut servers = vec![one.address, other.address];
        servers.insert(place, dead.address());
        for balance in [Balance::RoundRobin, Balance::LeastConn] {
            let policy = lasting(|policy| policy.max_fails(1));
            let proxy = site_by(policy, &servers, |draft| {
                draft.upstreams[0].balance = balance;
            });
            let ones = answered(&proxy, 60, "one").await;
            // One for what was under way when it was found out.
            assert!(ones.abs_diff(30) <= 1, "{balance:?}, {place}: {ones}");
        }
    }
}

#[tokio::test]
async fn of_two_servers_the_slow_one_gets_next_to_nothing() {
    let (slow, good) = (
        slow(Duration::from_millis(300)).await,
        answering(ok("good")).await,
    );
    let proxy = site_of(&[slow.address, good.address], |draft| {
        draft.upstreams[0].balance = Balance::P2c;
    });
    let late = answered(&proxy, 100, "late").await;
    assert!(late < 10, "{late}");
}

#[tokio::test]
async fn who_comes_back_gets_little_at_first() {
    let (one, other) = (answering(ok("one")).await, answering(ok("other")).await);
    let group = by(|group| group.slow_start(Duration::from_secs(3600), 1));
    let proxy = site_of(&[one.address, other.address], |draft| strict(draft, group));
    statuses(&proxy, 2).await;
    proxy.registry.force_down(one.address);
    proxy.registry.force_up(one.address);
    proxy.registry.release(one.address);
    let ones = answered(&proxy, 100, "one").await;
    // One in a hundred is what it gets, of one in two that it would.
    assert!(ones < 10, "{ones}");
    let status = json(&proxy, "/status").await;
    assert_eq!(server(&status, 0)["share_percent"], 1);
    assert_eq!(server(&status, 1)["share_percent"], 100);
    let reason = server(&status, 0)["reason"].as_str().unwrap();
    assert!(reason.contains("came back of late"), "{reason}");
}

#[tokio::test]
async fn a_server_that_was_ejected_is_tried_by_one_request_at_a_time() {
    let broken = saying("HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let good = answering(ok("good")).await;
    let policy = Policy::builder()
        .max_fails(1)
        .fail_timeout(Duration::from_millis(50))
        .recovery(Recovery::PROBE);
    let policy = policy.build().unwrap();
    let proxy = site_of(&[broken.address, good.address], |draft| {
        with_admin(draft);
        draft.upstreams[0].service = Some(policy);
    });
    statuses(&proxy, 4).await;
    let before = broken.connections();
    eventually("tried again", async || {
        statuses(&proxy, 2).await;
        broken.connections() > before
    })
    .await;
    let status = json(&proxy, "/status").await;
    assert!(server(&status, 0)["traffic"]["trips"].as_u64().unwrap() >= 2);
}
