//! What a check decides for its server, when, and for how long.

use std::sync::Arc;
use std::time::Duration;

use risefall::check::{Http, Kind, Timing};
use risefall_proxy::plan::{Admin, Draft, SiteDraft, UpstreamDraft};

use super::admin::{eventually, with_admin};
use super::service::{HELLO, Service, ask, by, checked, http, often, said, told, until_used};
use super::sites::{route_to, server_of, site_of};
use super::support::{self, DeadPort, Origin};

#[tokio::test]
async fn a_check_takes_a_server_down_with_its_reason_and_brings_it_back() {
    let (one, other) = (Service::start(&[200]).await, Service::start(&[200]).await);
    let proxy = checked(&[one.address(), other.address()], by(Kind::Http(http())));
    ask(&proxy, 4).await;
    assert!(one.requests() > 0 && other.requests() > 0);
    one.turns(500);
    until_used(&proxy, "app", one.address(), false).await;
    let had = one.requests();
    ask(&proxy, 6).await;
    assert_eq!(one.requests(), had, "nobody is sent there");
    let server = told(&proxy, "app", one.address()).await;
    assert_eq!(server["check"]["state"], "down");
    let report = &server["check_report"];
    assert_eq!(
        (&report["verdict"], &report["says"]),
        (&"down".into(), &"ready".into())
    );
    assert_eq!(report["last"]["failure"], "status 500, expected 200-399");
    let why = server["reason"].as_str().unwrap();
    assert!(
        why.starts_with("checks: down until they succeed: "),
        "{why}"
    );
    assert!(why.contains("status 500, expected 200-399, "), "{why}");
    let explained = said(&proxy, "/explain?target=http://shop.example/").await;
    assert!(
        explained.contains("status 500, expected 200-399"),
        "{explained}"
    );
    let metrics = said(&proxy, "/metrics").await;
    let labels = format!("{{upstream=\"app\",server=\"{}\"", one.address());
    let value = |name: &str, more: &str| {
        let series = format!("{name}{labels}{more}}} ");
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(&series));
        value
            .unwrap_or_else(|| panic!("no {series} in {metrics}"))
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(value("risefall_server_up_by", ",by=\"check\""), 0);
    let made = value("risefall_server_checks_total", "");
    let failed = value("risefall_server_checks_failed_total", "");
    assert!(failed >= 2 && failed < made, "{failed} of {made}");
    assert!(metrics.contains("risefall_checks 2\n"), "{metrics}");
    one.turns(204);
    until_used(&proxy, "app", one.address(), true).await;
    ask(&proxy, 4).await;
    assert!(one.requests() > had);
}

#[tokio::test]
async fn the_first_check_is_the_first_verdict() {
    let (ill, well) = (Service::start(&[503]).await, Service::start(&[200]).await);
    let mut check = by(Kind::Http(http()));
    check.thresholds.fall = 200;
    // Nothing else is checked in the time of a test.
    check.timing = Timing::builder()
        .interval(Duration::from_secs(3600))
        .build()
        .unwrap();
    let proxy = checked(&[ill.address(), well.address()], check);
    until_used(&proxy, "app", ill.address(), false).await;
    until_used(&proxy, "app", well.address(), true).await;
    assert_eq!(ill.checks(), 1);
    // One check is one failure, however many it would take from now on.
    let server = told(&proxy, "app", ill.address()).await;
    let why = server["reason"].as_str().unwrap();
    let one = "checks: down until they succeed: 1 failure, the last: status 503";
    assert!(why.starts_with(one), "{why}");
}

#[tokio::test]
async fn a_server_that_is_down_is_asked_at_a_pace_of_its_own_and_sooner_as_it_rises() {
    let service = Service::start(&[500]).await;
    let hour = Duration::from_secs(3600);
    let soon = Duration::from_millis(20);
    let mut check = by(Kind::Http(http()));
    let timing = often().interval(hour).fast_interval(soon);
    check.timing = timing.down_interval(soon).build().unwrap();
    let proxy = checked(&[service.address()], check);
    until_used(&proxy, "app", service.address(), false).await;
    eventually("asked again", async || service.checks() > 3).await;
    service.turns(200);
    until_used(&proxy, "app", service.address(), true).await;
}

#[tokio::test]
async fn one_that_cannot_be_connected_to_is_down_for_dials_until_checks_reach_it() {
    let dead = DeadPort::new();
    let address = dead.address();
    let proxy = checked(&[address], by(Kind::Connect));
    eventually("down by dials", async || {
        told(&proxy, "app", address).await["dial"]["state"] == "down"
    })
    .await;
    let server = told(&proxy, "app", address).await;
    let failure = &server["check_report"]["last"]["failure"];
    assert_eq!(failure, "connection refused");
    // No client asks, and so none pays for the trial.
    let _origin = Origin::revive(dead, support::echo_heads);
    until_used(&proxy, "app", address, true).await;
}

#[tokio::test]
async fn two_upstreams_share_a_check_and_keep_thresholds_of_their_own() {
    let service = Service::start(&[200, 500]).await;
    let proxy = site_of(&[service.address()], |draft| {
        with_admin(draft);
        let mut check = by(Kind::Http(http()));
        draft.upstreams[0].check = Some(check.clone());
        (check.thresholds.fall, check.thresholds.rise) = (1, 2);
        draft.upstreams.push(UpstreamDraft {
            check: Some(check),
            ..UpstreamDraft::of("strict", vec![server_of(service.address())])
        });
        draft.sites[0]
            .routes
            .insert(0, route_to("/strict", "strict"));
    });
    // It fails every other time: twice in a row it neither fails nor passes.
    let mut made = [0; 2];
    eventually("checked ten times", async || {
        let lenient = told(&proxy, "app", service.address()).await;
        lenient["check_report"]["checks"].as_u64() >= Some(10)
    })
    .await;
    for (nth, (name, is_used)) in [("app", true), ("strict", false)].into_iter().enumerate() {
        let server = told(&proxy, name, service.address()).await;
        assert_eq!(server["eligible"], is_used, "{server}");
        made[nth] = server["check_report"]["checks"].as_u64().unwrap();
    }
    let had = service.checks() as u64;
    // The second comes a moment after the first, and each is looked at on its own.
    assert!(
        made.iter().all(|&made| made <= had && made + 5 >= had),
        "{made:?} of {had}"
    );
    assert_eq!(proxy.ask(HELLO).await.status(), 200);
    let strict = HELLO.replace("GET / ", "GET /strict ");
    assert_eq!(proxy.ask(strict).await.status(), 503);
}

#[tokio::test]
async fn two_hundred_reloads_keep_checks_going_and_verdicts_alive() {
    let (well, ill) = (Service::start(&[200]).await, Service::start(&[500]).await);
    let servers = [well.address(), ill.address()];
    let mut proxy = checked(&servers, by(Kind::Http(http())));
    until_used(&proxy, "app", ill.address(), false).await;
    let had = ill.requests();
    let plan = |turn: usize| {
        let mut check = by(Kind::Http(Http::new(&format!("/health?{turn}")).unwrap()));
        // Other thresholds and times as well, and other rules for what is answered.
        check.thresholds.rise = if turn.is_multiple_of(2) { 2 } else { 7 };
        let mut upstream = UpstreamDraft {
            check: Some(check),
            ..UpstreamDraft::of("app", servers.map(server_of).to_vec())
        };
        if turn.is_multiple_of(3) {
            upstream.statuses.clear();
        }
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let site = SiteDraft::on("shop", listen, vec![route_to("/", "app")]);
        let draft = Draft {
            forwards: Vec::new(),
            sites: vec![site],
            upstreams: vec![upstream],
            admin: Some(Admin::on("127.0.0.1:0".parse().unwrap())),
            threads: 1,
            ..Draft::default()
        };
        draft.resolve().unwrap()
    };
    let judge = Arc::new(proxy.registry.clone());
    let mut made = 0;
    for turn in 0..200 {
        let done = proxy.running_mut().reload(plan(turn), judge.clone()).await;
        done.unwrap();
        let asked = format!("GET /health?{turn} ");
        for service in [&well, &ill] {
            eventually("asked as the new plan says", async || {
                service.was_asked(&asked)
            })
            .await;
        }
        ask(&proxy, 1).await;
        let server = told(&proxy, "app", ill.address()).await;
        assert_eq!(server["eligible"], false, "after {turn} reloads: {server}");
        let checks = server["check_report"]["checks"].as_u64().unwrap();
        assert!(checks >= made, "{checks} after {made}");
        made = checks;
    }
    assert_eq!(
        ill.requests(),
        had,
        "no client was sent to what checks hold down"
    );
    // The checks of plans that have gone have gone with them.
    let metrics = said(&proxy, "/metrics").await;
    assert!(metrics.contains("risefall_checks 2\n"), "{metrics}");
    ill.turns(200);
    until_used(&proxy, "app", ill.address(), true).await;
}
