//! Servers are asked whether they work, and what comes of it for clients.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "support/admin.rs"]
mod admin;
#[path = "support/h2.rs"]
mod h2s;
#[path = "support/sites.rs"]
mod sites;
mod support;
#[path = "support/tls.rs"]
mod tls;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use admin::{admin, eventually, json, with_admin};
use hyper::Response as Head;
use risefall::check::{Exchange, Expect, Grpc, Http, Kind, Thresholds, Timing, TimingBuilder};
use risefall_proxy::plan::{Admin, Check, Draft, SiteDraft, UpstreamDraft};
use serde_json::Value;
use sites::{route_to, server_of, site_of};
use support::{Client, DeadPort, Origin, PATIENCE, Proxy, field};
use tokio::net::UdpSocket;

const HELLO: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

/// A server whose health is what it is told to be.
struct Service {
    origin: Origin,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    /// The statuses of its answers to checks, one after another, over and over.
    statuses: Mutex<Vec<u16>>,
    /// What it says of itself.
    says: Mutex<String>,
    checks: AtomicUsize,
    requests: AtomicUsize,
    /// What it was asked last by a check.
    asked: Mutex<String>,
}

impl Service {
    async fn start(statuses: &[u16]) -> Self {
        let told = Arc::<Told>::default();
        *told.statuses.lock().unwrap() = statuses.to_vec();
        let shared = Arc::clone(&told);
        let origin = Origin::start(move |client| answer(client, Arc::clone(&shared))).await;
        Self { origin, told }
    }

    fn address(&self) -> SocketAddr {
        self.origin.address
    }

    fn turns(&self, status: u16) {
        *self.told.statuses.lock().unwrap() = vec![status];
    }

    fn says(&self, words: &str) {
        words.clone_into(&mut self.told.says.lock().unwrap());
    }

    fn checks(&self) -> usize {
        self.told.checks.load(Ordering::SeqCst)
    }

    fn requests(&self) -> usize {
        self.told.requests.load(Ordering::SeqCst)
    }
}

impl Told {
    fn answer(&self, head: &str) -> String {
        if !head.starts_with("GET /health") {
            self.requests.fetch_add(1, Ordering::SeqCst);
            return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned();
        }
        head.clone_into(&mut self.asked.lock().unwrap());
        let turn = self.checks.fetch_add(1, Ordering::SeqCst);
        let status = {
            let statuses = self.statuses.lock().unwrap();
            statuses[turn % statuses.len()]
        };
        let says = self.says.lock().unwrap();
        format!("HTTP/1.1 {status} X\r\nX-Agent: {says}\r\nContent-Length: 0\r\n\r\n")
    }
}

async fn answer(mut client: Client, told: Arc<Told>) {
    while !client.bytes.is_empty() || client.more().await > 0 {
        let head = client.head().await;
        client.send(told.answer(&head)).await;
        if field(&head, "connection") == Some("close") {
            return;
        }
    }
}

fn often() -> TimingBuilder {
    Timing::builder()
        .interval(Duration::from_millis(20))
        .timeout(PATIENCE)
}

fn by(kind: Kind) -> Check {
    Check {
        timing: often().build().unwrap(),
        thresholds: Thresholds {
            fall: 2,
            ..Thresholds::default()
        },
        ..Check::of(kind)
    }
}

fn http() -> Http {
    Http::new("/health")
        .unwrap()
        .agent_header("X-Agent")
        .unwrap()
}

/// One site, and one group of these servers that are checked so.
fn checked(servers: &[SocketAddr], check: Check) -> Proxy {
    site_of(servers, |draft| {
        with_admin(draft);
        draft.upstreams[0].check = Some(check);
    })
}

async fn said(proxy: &Proxy, path: &str) -> String {
    let answer = admin(proxy, path).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.text().to_owned()
}

/// What the status tells of the server of that group.
async fn told(proxy: &Proxy, upstream: &str, address: SocketAddr) -> Value {
    let status = json(proxy, "/status").await;
    let groups = status["upstreams"].as_array().unwrap();
    let group = groups.iter().find(|one| one["name"] == upstream).unwrap();
    let servers = group["endpoints"].as_array().unwrap().iter();
    let mut addresses = servers.flat_map(|one| one["addresses"].as_array().unwrap());
    let found = addresses.find(|one| one["address"] == address.to_string());
    found.unwrap().clone()
}

/// Waits until the group uses the server, or does not.
async fn until_used(proxy: &Proxy, upstream: &str, address: SocketAddr, is_used: bool) {
    let what = format!("used {is_used}: {address} of {upstream}");
    eventually(&what, async || {
        told(proxy, upstream, address).await["eligible"] == is_used
    })
    .await;
}

/// Sends so many requests, all of which are answered.
async fn ask(proxy: &Proxy, requests: usize) {
    for _ in 0..requests {
        assert_eq!(proxy.ask(HELLO).await.status(), 200);
    }
}

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
async fn grpc_is_asked_for_its_service_over_http2() {
    let serving = Arc::new(AtomicU16::new(1));
    let shared = Arc::clone(&serving);
    let origin = Origin::start(move |client: Client| {
        let serving = Arc::clone(&shared);
        async move {
            let answer = move |request: hyper::Request<h2::RecvStream>, respond| {
                let serving = Arc::clone(&serving);
                health(request, respond, serving)
            };
            h2s::serve(client.stream, answer).await;
        }
    })
    .await;
    let kind = Kind::Grpc(Grpc::new("shop.Cart").unwrap());
    let proxy = checked(&[origin.address], by(kind));
    let passed = async || {
        let server = told(&proxy, "app", origin.address).await;
        server["check_report"]["last"]["passed"] == true
    };
    eventually("passed", passed).await;
    serving.store(2, Ordering::SeqCst);
    until_used(&proxy, "app", origin.address, false).await;
    let server = told(&proxy, "app", origin.address).await;
    let failure = &server["check_report"]["last"]["failure"];
    assert_eq!(failure, "service is NOT_SERVING");
    serving.store(1, Ordering::SeqCst);
    until_used(&proxy, "app", origin.address, true).await;
}

/// Answers as `grpc.health.v1` does, if it is asked as that is.
async fn health(
    request: hyper::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<bytes::Bytes>,
    serving: Arc<AtomicU16>,
) {
    let path = request.uri().path().to_owned();
    let (asked, _) = h2s::drain(&mut request.into_body()).await.unwrap();
    let is_asked = path == "/grpc.health.v1.Health/Check" && asked.ends_with(b"\x0a\x09shop.Cart");
    let status = if is_asked { "0" } else { "5" };
    let mut stream = respond.send_response(Head::new(()), false).unwrap();
    let number = serving.load(Ordering::SeqCst).to_le_bytes()[0];
    let message = vec![0, 0, 0, 0, 2, 8, number];
    stream.send_data(message.into(), false).unwrap();
    let trailers = h2s::fields(&[("grpc-status", status)]);
    stream.send_trailers(trailers).unwrap();
}

#[tokio::test]
async fn bytes_are_sent_and_expected_by_tcp_and_udp() {
    let reply = Arc::new(Mutex::new("+PONG\r\n"));
    let shared = Arc::clone(&reply);
    let origin = Origin::start(move |mut client: Client| {
        let reply = Arc::clone(&shared);
        async move {
            if client.line().await == "PING\r\n" {
                let reply = *reply.lock().unwrap();
                client.send(reply).await;
            }
        }
    })
    .await;
    // The same port, and another service on it.
    let socket = UdpSocket::bind(origin.address).await.unwrap();
    let shared = Arc::clone(&reply);
    tokio::spawn(async move {
        let mut heard = [0; 64];
        while let Ok((len, from)) = socket.recv_from(&mut heard).await {
            assert_eq!(&heard[..len], b"PING\r\n");
            let reply = *shared.lock().unwrap();
            socket.send_to(reply.as_bytes(), from).await.unwrap();
        }
    });
    let asks = Exchange::new("PING\r\n")
        .expect(Expect::prefix("+PONG"))
        .unwrap();
    let kinds = [Kind::Exchange(asks.clone()), Kind::Datagram(asks)];
    let proxies = kinds.map(|kind| checked(&[origin.address], by(kind)));
    for word in ["-ERR\r\n", "+PONG\r\n"] {
        *reply.lock().unwrap() = word;
        for proxy in &proxies {
            until_used(proxy, "app", origin.address, word.starts_with('+')).await;
        }
    }
    let server = told(&proxies[0], "app", origin.address).await;
    assert_eq!(server["check_report"]["last"]["passed"], true);
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
async fn a_server_that_says_drain_gets_no_requests_until_it_says_ready() {
    let (one, other) = (Service::start(&[200]).await, Service::start(&[200]).await);
    let proxy = checked(&[one.address(), other.address()], by(Kind::Http(http())));
    one.says("drain # a new version comes");
    until_used(&proxy, "app", one.address(), false).await;
    let had = one.requests();
    ask(&proxy, 6).await;
    assert_eq!(one.requests(), had);
    let server = told(&proxy, "app", one.address()).await;
    assert_eq!(server["check"]["state"], "drained");
    assert_eq!(server["check_report"]["says"], "drain");
    assert_eq!(server["check_report"]["verdict"], "up");
    assert_eq!(
        server["reason"],
        "checks: it says drain, so it gets no new requests"
    );
    one.says("ready");
    until_used(&proxy, "app", one.address(), true).await;
    ask(&proxy, 4).await;
    assert!(one.requests() > had);
}

#[tokio::test]
async fn a_server_that_says_that_it_is_down_is_told_by_that() {
    let (one, other) = (Service::start(&[200]).await, Service::start(&[200]).await);
    let proxy = checked(&[one.address(), other.address()], by(Kind::Http(http())));
    until_used(&proxy, "app", one.address(), true).await;
    one.says("down # disk full");
    until_used(&proxy, "app", one.address(), false).await;
    let server = told(&proxy, "app", one.address()).await;
    let why = server["reason"].as_str().unwrap();
    assert!(
        why.starts_with("checks: it says that it is down: disk full, "),
        "{why}"
    );
    one.says("up");
    until_used(&proxy, "app", one.address(), true).await;
}

#[tokio::test]
async fn a_server_that_wants_less_gets_less_and_is_not_down() {
    let (one, other) = (Service::start(&[200]).await, Service::start(&[200]).await);
    let proxy = checked(&[one.address(), other.address()], by(Kind::Http(http())));
    ask(&proxy, 1).await;
    let wants = async |percent: u8| {
        one.says(if percent == 0 { "0%" } else { "100%" });
        eventually("it gets what it wants", async || {
            told(&proxy, "app", one.address()).await["share_percent"] == percent
        })
        .await;
    };
    wants(0).await;
    let had = one.requests();
    ask(&proxy, 6).await;
    assert_eq!(one.requests(), had);
    let server = told(&proxy, "app", one.address()).await;
    assert_eq!(server["eligible"], true);
    assert_eq!(server["reason"], "gets 0 % of its share: it asks for 0 %");
    wants(100).await;
    ask(&proxy, 4).await;
    assert!(one.requests() > had);
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
                service.told.asked.lock().unwrap().starts_with(&asked)
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

#[tokio::test]
async fn servers_by_tls_are_checked_by_the_roots_of_their_group() {
    let (ours, theirs) = (tls::Folder::new(), tls::Folder::new());
    ours.issue("app", &["app.example"]);
    let acceptor = ours.server("app", &[b"http/1.1"]);
    let told_of = Arc::<Told>::default();
    *told_of.statuses.lock().unwrap() = vec![200];
    let shared = Arc::clone(&told_of);
    let origin = Origin::start(move |client| {
        let (acceptor, told) = (acceptor.clone(), Arc::clone(&shared));
        async move {
            if let Some(mut client) = tls::accept(&acceptor, client).await {
                let head = client.head().await;
                client.send(told.answer(&head)).await;
            }
        }
    })
    .await;
    let by_roots = |folder: &tls::Folder| {
        let asks = folder.asking(|spec| spec.name = Some("app.example".to_owned()));
        site_of(&[origin.address], |draft| {
            with_admin(draft);
            draft.upstreams[0].tls = Some(asks);
            draft.upstreams[0].check = Some(by(Kind::Http(http())));
        })
    };
    let (trusting, distrusting) = (by_roots(&ours), by_roots(&theirs));
    until_used(&distrusting, "app", origin.address, false).await;
    let server = told(&distrusting, "app", origin.address).await;
    let failure = server["check_report"]["last"]["failure"].as_str().unwrap();
    assert!(failure.starts_with("no TLS: "), "{failure}");
    assert_eq!(server["dial"]["state"], "up", "it was connected to");
    eventually("passed", async || {
        let server = told(&trusting, "app", origin.address).await;
        server["check_report"]["last"]["passed"] == true
    })
    .await;
    assert!(told(&trusting, "app", origin.address).await["eligible"] == true);
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
