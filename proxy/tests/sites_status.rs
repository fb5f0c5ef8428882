//! What an operator is told of sites and of the servers behind them.

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
use std::sync::Arc;

use admin::{admin, eventually, json, metric, with_admin};
use hyper::{Method, StatusCode};
use risefall::{Cause, Policy};
use risefall_proxy::net::tls::Identity;
use risefall_proxy::plan::files::{Candidate, Files};
use risefall_proxy::plan::site::{HostPattern, Match, PathRule, Rewrite};
use risefall_proxy::plan::upstream::{Queue, Retries};
use risefall_proxy::plan::users::Users;
use risefall_proxy::plan::{
    ActionDraft, Admin, Check, Draft, RouteDraft, SiteDraft, SiteTlsDraft, UpstreamDraft,
};
use serde_json::Value;
use sites::{route_to, server_of, site_by, site_of};
use support::{Client, DeadPort, Origin, Proxy, policy};

const HELLO: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

async fn broken_origin() -> Origin {
    Origin::start(|mut client: Client| async move {
        client.head().await;
        client
            .send("HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await;
    })
    .await
}

#[tokio::test]
async fn what_is_drained_or_forced_down_is_passed_over() {
    let (one, two) = (Origin::echo().await, Origin::echo().await);
    let proxy = site_of(&[one.address, two.address], |_| ());
    let registry = &proxy.registry;
    let orders: [&dyn Fn(); 2] = [&|| registry.drain(one.address), &|| {
        registry.force_down(one.address);
    }];
    for order in orders {
        order();
        for _ in 0..6 {
            assert_eq!(proxy.ask(HELLO).await.status(), 200);
        }
        assert_eq!(one.connections(), 0);
        registry.release(one.address);
    }
    for _ in 0..6 {
        assert_eq!(proxy.ask(HELLO).await.status(), 200);
    }
    assert!(one.connections() > 0, "it is back once it is released");
}

/// A proxy that was asked for twelve things, and its servers: one that answers, one that is down
/// for what it answered, and one that refuses.
struct Served {
    proxy: Proxy,
    bad: SocketAddr,
    _dead: DeadPort,
}

async fn served() -> Served {
    let (good, bad) = (Origin::echo().await, broken_origin().await);
    let dead = DeadPort::new();
    let service = Policy::builder().max_fails(1).build().unwrap();
    let proxy = site_of(&[good.address, bad.address, dead.address()], |draft| {
        with_admin(draft);
        draft.sites[0].hosts = vec![
            HostPattern::Exact("shop.example".to_owned()),
            HostPattern::Wildcard("shop.example".to_owned()),
        ];
        draft.upstreams[0].service = Some(service);
        draft.upstreams[0].check = Some(Check::of(risefall::check::Kind::Connect));
        draft.upstreams[0].retries = Retries {
            statuses: vec![StatusCode::SERVICE_UNAVAILABLE],
            ..Retries::default()
        };
    });
    for _ in 0..12 {
        assert_eq!(proxy.ask(HELLO).await.status(), 200);
    }
    let missed = "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n";
    assert_eq!(proxy.ask(missed).await.status(), 404);
    proxy.lines(13).await;
    Served {
        proxy,
        bad: bad.address,
        _dead: dead,
    }
}

#[tokio::test]
async fn the_status_tells_listeners_sites_and_the_words_of_each_server() {
    let Served { proxy, .. } = &served().await;
    let status = json(proxy, "/status").await;
    let listener = &status["listeners"][0];
    assert_eq!(listener["kind"], "site");
    assert_eq!(listener["name"], "shop");
    assert_eq!(listener["tls"], false);
    assert_eq!(listener["hosts"][1], "*.shop.example");
    assert_eq!(status["sites"][0]["requests"], 12);
    assert_eq!(status["sites"][0]["failed"], 0);
    let app = &status["upstreams"][0];
    assert_eq!(app["requests"], 12);
    assert_eq!(app["in_flight"], 0);
    assert_eq!(app["retries"], 1);
    assert_eq!(app["failures"]["status"], 1);
    let of = |nth: usize| &app["endpoints"][nth]["addresses"][0];
    assert_eq!(of(0)["eligible"], true);
    assert_eq!(of(0)["check"]["state"], "up");
    assert_eq!(of(1)["eligible"], false);
    assert_eq!(of(1)["dial"]["state"], "up");
    assert_eq!(of(1)["traffic"]["state"], "down");
    let why = of(1)["reason"].as_str().unwrap();
    assert!(why.starts_with("traffic: down for another "), "{why}");
    assert!(why.contains("1 failure, the last: bad gateway, "), "{why}");
}

#[tokio::test]
async fn metrics_count_sites_and_upstreams_and_tell_the_words_of_each_server() {
    let Served { proxy, bad, .. } = &served().await;
    for (series, wanted) in [
        (
            "risefall_site_requests_total{site=\"shop\",code=\"2xx\"}",
            12.0,
        ),
        ("risefall_upstream_requests_total{upstream=\"app\"}", 12.0),
        ("risefall_upstream_retries_total{upstream=\"app\"}", 1.0),
        ("risefall_upstream_queue{upstream=\"app\"}", 0.0),
    ] {
        let value = metric(proxy, series).await;
        assert!((value - wanted).abs() < 0.1, "{series} is {value}");
    }
    let by =
        |word| format!("risefall_server_up_by{{upstream=\"app\",server=\"{bad}\",by=\"{word}\"}}");
    assert!(metric(proxy, &by("dial")).await > 0.5);
    assert!(metric(proxy, &by("traffic")).await < 0.5);
    let up = format!("risefall_server_up{{upstream=\"app\",server=\"{bad}\"}}");
    assert!(metric(proxy, &up).await < 0.5);
}

#[tokio::test]
async fn an_address_is_told_with_its_upstreams_and_no_other_server() {
    let Served { proxy, bad, .. } = &served().await;
    let one = json(proxy, &format!("/status?address={bad}")).await;
    assert_eq!(one["status"]["state"], "up");
    assert_eq!(one["upstreams"].as_array().unwrap().len(), 1);
    assert_eq!(one["upstreams"][0]["name"], "app");
    assert_eq!(one["upstreams"][0]["group"]["ejected"], 1);
    let servers = one["upstreams"][0]["endpoints"].as_array().unwrap();
    assert_eq!(servers.len(), 1);
    assert_eq!(servers[0]["weight"], 1);
    assert_eq!(servers[0]["addresses"][0]["traffic"]["state"], "down");
    assert_eq!(servers[0]["addresses"][0]["share_percent"], 100);
    assert!(servers[0]["addresses"][0]["check_report"].is_object());
    let nobody = json(proxy, "/status?address=192.0.2.7:443").await;
    assert_eq!(nobody["upstreams"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn counts_stay_through_a_reload_while_the_name_does() {
    let origin = Origin::echo().await;
    let address = origin.address;
    let mut proxy = site_of(&[address], with_admin);
    for _ in 0..3 {
        assert_eq!(proxy.ask(HELLO).await.status(), 200);
    }
    proxy.lines(3).await;
    let plan = |upstream: &str| {
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let servers = vec![server_of(address)];
        let draft = Draft {
            forwards: Vec::new(),
            sites: vec![SiteDraft::on("shop", listen, vec![route_to("/", upstream)])],
            upstreams: vec![UpstreamDraft::of(upstream, servers)],
            admin: Some(Admin::on("127.0.0.1:0".parse().unwrap())),
            threads: 1,
            ..Draft::default()
        };
        draft.resolve().unwrap()
    };
    let judge = Arc::new(proxy.registry.clone());
    for (upstream, wanted) in [("app", 4), ("other", 1), ("app", 1)] {
        let done = proxy
            .running_mut()
            .reload(plan(upstream), judge.clone())
            .await;
        done.unwrap();
        assert_eq!(proxy.ask(HELLO).await.status(), 200);
        eventually("counted so", async || {
            json(&proxy, "/status").await["upstreams"][0]["requests"] == wanted
        })
        .await;
    }
    proxy.lines(6).await;
    assert_eq!(json(&proxy, "/status").await["sites"][0]["requests"], 6);
}

#[tokio::test]
async fn who_waits_in_line_is_counted_and_whoever_finds_it_full() {
    let origin = Origin::start(|mut client: Client| async move {
        client.head().await;
        client.head().await;
    })
    .await;
    let proxy = site_of(&[origin.address], |draft| {
        with_admin(draft);
        draft.upstreams[0].max_requests = 1;
        draft.upstreams[0].queue = Queue {
            length: 1,
            ..Queue::default()
        };
    });
    let (mut busy, mut waits) = (proxy.connect().await, proxy.connect().await);
    busy.send(HELLO).await;
    let is = async |what: &str, wanted: u64| {
        json(&proxy, "/status").await["upstreams"][0][what] == wanted
    };
    eventually("counted so", async || is("in_flight", 1).await).await;
    waits.send(HELLO).await;
    eventually("counted so", async || is("waiting", 1).await).await;
    assert_eq!(proxy.ask(HELLO).await.status(), 503);
    assert!(is("queue_full", 1).await);
    busy.reset();
    eventually("counted so", async || {
        is("waiting", 0).await && is("in_flight", 1).await
    })
    .await;
    assert!(is("queued", 1).await);
    waits.reset();
    eventually("counted so", async || is("in_flight", 0).await).await;
}

#[tokio::test]
async fn an_explanation_walks_to_the_servers_and_tells_why_not() {
    let dead = [DeadPort::new(), DeadPort::new()];
    let [one, two] = [dead[0].address(), dead[1].address()];
    let proxy = site_by(policy(), &[one, two], |draft| {
        with_admin(draft);
        let site = &mut draft.sites[0];
        site.hosts = vec![HostPattern::Exact("shop.example".to_owned())];
        let mut matches = Match::of(PathRule::Prefix("/api".to_owned()));
        matches.methods = vec![Method::POST];
        matches.headers = vec![("x-canary".parse().unwrap(), None)];
        let mut api = route_to("/api", "app");
        api.matches = matches;
        api.rewrite = Rewrite {
            strip_prefix: Some("/api".to_owned()),
            ..Rewrite::default()
        };
        let moved = ActionDraft::Redirect {
            to: "https://{host}/new".to_owned(),
            status: StatusCode::FOUND,
        };
        let moved = RouteDraft::of(PathRule::Exact("/old".to_owned()), moved);
        site.routes = vec![api, moved];
    });
    // Whatever it asks, its listener is served then.
    assert_eq!(proxy.ask(HELLO).await.status(), 404);
    proxy.registry.drain(one);
    for _ in 0..3 {
        proxy.registry.record_failure(two, Cause::Refused);
    }
    let explain = async |url: &str, more: &str| {
        let path = format!("/explain?target={url}{more}");
        json(&proxy, &path).await["sites"][0].clone()
    };
    let api = "http://shop.example/api/v1";
    let told = explain(api, "&method=POST&header=X-Canary:1").await;
    assert_eq!(told["site"], "shop");
    assert_eq!(told["route"], "/api POST x-canary:");
    assert_eq!(told["action"], "upstream app is asked for /v1");
    assert_eq!(told["choice"], "all are down (503)");
    assert_eq!(told["passed"][0], "=/old: another path");
    let reason = |nth: usize| told["endpoints"][nth]["reason"].as_str().unwrap();
    assert_eq!(reason(0), "an operator lets no new connections to it");
    assert!(reason(1).starts_with("down for another "), "{}", reason(1));
    // Nobody was sent there yet.
    assert!(told["endpoints"][1]["traffic"].is_null());
    let told = explain(api, "&header=X-Canary:1").await;
    assert_eq!(told["refused"], "only POST is taken there (405)");
    assert_eq!(told["passed"][0], "/api POST x-canary:: it is not for GET");
    let told = explain(api, "&method=POST").await;
    assert_eq!(told["refused"], "no route of the site is for it (404)");
    let told = explain("http://shop.example/old", "").await;
    assert_eq!(
        told["action"],
        "redirected to https://shop.example/new (302)"
    );
    let told = explain("http://other.example/", "").await;
    assert_eq!(told["refused"], "no site here is for other.example (404)");
    let nobody = admin(&proxy, "/explain?target=https://shop.example/").await;
    assert_eq!(nobody.status(), 404);
    assert!(
        nobody.text().contains("no site listens for https"),
        "{}",
        nobody.text()
    );
}

#[tokio::test]
async fn it_is_explained_which_files_would_be_looked_for_and_for_whom() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("dir")).unwrap();
    for name in ["app.html", "b.png", "c.js", "c.js.br"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    let root = folder.path().display();
    let dead = DeadPort::new();
    let proxy = site_of(&[dead.address()], |draft| {
        with_admin(draft);
        let mut files = Files::of(folder.path().to_owned());
        files.listing = true;
        files
            .try_files
            .push(Candidate::Fixed("/app.html".to_owned()));
        let path = PathRule::Prefix("/files".to_owned());
        let mut route = RouteDraft::of(path, ActionDraft::Files(files));
        route.rewrite.strip_prefix = Some("/files".to_owned());
        route.users = Users::new([("alice", "hunter2")]);
        draft.sites[0].routes = vec![route];
    });
    let explain = async |path: &str| {
        let path = format!("/explain?target=http://shop.example/files{path}");
        json(&proxy, &path).await["sites"][0].clone()
    };
    let for_users = "for its users (others are asked who they are, 401): ";
    let one = |name: &str| format!("{name} of {root} is looked for (else 404)");
    let first = |names: &str| format!("the first that is there of {names} of {root} (else 404)");
    for (path, looked_for, now) in [
        ("/a", first("/a, /app.html"), "now /app.html is sent (200)"),
        ("/a.png", one("/a.png"), "now there is none (404)"),
        ("/b.png", one("/b.png"), "now /b.png is sent (200)"),
        (
            "/c.js",
            one("/c.js"),
            "now /c.js is sent (200); who takes br is sent /c.js.br",
        ),
        (
            "/c.js&header=Accept-Encoding:br",
            one("/c.js"),
            "now /c.js is sent as /c.js.br has it (200)",
        ),
        (
            "/dir",
            first("/dir, /app.html"),
            "now it is a folder: redirected to /files/dir/ (308)",
        ),
        (
            "/dir/",
            first("/dir/index.html, /dir/, /app.html"),
            "now the folder /dir/ is listed (200)",
        ),
    ] {
        let action = explain(path).await["action"].clone();
        assert_eq!(action, format!("{for_users}{looked_for}; {now}"));
    }
    let action = explain("/b.png&method=OPTIONS").await["action"].clone();
    assert!(!action.as_str().unwrap().contains("now"), "{action}");
    for (path, status) in [
        ("//a", "(404)"),
        ("/.git/a.b", "(404)"),
        ("/a&method=PUT", "(405)"),
    ] {
        let refused = explain(path).await["refused"].clone();
        assert!(refused.as_str().unwrap().ends_with(status), "{refused}");
    }
}

#[tokio::test]
async fn a_certificate_is_told_with_its_names_its_end_and_its_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let [cert, key] = ["shop.pem", "shop.key"].map(|name| folder.path().join(name));
    let names = ["shop.example".to_owned(), "*.shop.example".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let identity = Identity::load(&cert, &key).unwrap();
    let shown = Arc::clone(&identity);
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], move |draft| {
        with_admin(draft);
        draft.sites[0].tls = Some(SiteTlsDraft {
            identities: vec![shown],
            ..SiteTlsDraft::default()
        });
    });
    let status = json(&proxy, "/status").await;
    assert_eq!(status["listeners"][0]["tls"], true);
    let told = &status["certificates"][0];
    assert_eq!(told["site"], "shop");
    assert_eq!(told["file"], cert.to_str().unwrap());
    assert_eq!(told["names"].as_array().unwrap().len(), 2);
    assert!(told["days_left"].as_i64().unwrap() > 1000);
    assert_eq!(told["trouble"], Value::Null);
    let series = format!(
        "risefall_certificate_not_after_seconds{{site=\"shop\",certificate=\"{}\"}}",
        cert.display()
    );
    let ends = metric(&proxy, &series).await;
    assert!((ends - told["not_after"].as_f64().unwrap()).abs() < 1.0);
    let path = "/explain?target=https://a.shop.example/";
    let told = json(&proxy, path).await["sites"][0].clone();
    let shows = told["certificate"].as_str().unwrap();
    assert!(shows.contains("shop.pem, for "), "{shows}");
    assert_eq!(told["choice"], "each in turn, of 1 that may be asked");
    let other = format!("{path}&header=Host:other.example");
    let told = json(&proxy, &other).await["sites"][0].clone();
    let refused = "the certificate for a.shop.example is not for other.example (421)";
    assert_eq!(told["refused"], refused);
    std::fs::write(&cert, "nonsense").unwrap();
    assert!(identity.refresh().is_err());
    let status = json(&proxy, "/status").await;
    let trouble = status["certificates"][0]["trouble"].as_str().unwrap();
    assert!(trouble.contains("shop.pem"), "{trouble}");
}
