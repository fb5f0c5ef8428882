//! What a request costs before it is sent: what it asks for, the route that is for it, what the
//! server is told about the client, what the route changes.
//!
//! `cargo bench -p risefall-proxy --bench route`. Routes are found by the first and by the last
//! path of the table, by one that only the catch-all holds, and by one whose routes differ in their
//! conditions alone.
#![allow(missing_docs)] // criterion's macros
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // a bench fails by panicking

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request};
use risefall_proxy::plan::site::{HostPattern, PathRule, Rewrite, Route};
use risefall_proxy::plan::{ActionDraft, Draft, RouteDraft, SiteDraft};
use risefall_proxy::site::forwarded::{Peer, request_id};
use risefall_proxy::site::rewrite;
use risefall_proxy::site::route::{Found, Question, Table};
use risefall_proxy::site::target::Asked;

const USUAL: &str = "/wiki/Special:Search?search=proxy&ns0=1";
/// What has to be spelled anew.
const ODD: &str = "/wiki/./a/../Special%3aSearch/%7Euser?search=proxy";

fn request(path: &str) -> Request<()> {
    let fields = [
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0)"),
        ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "http://www.example.com/wiki/Main_Page"),
        ("cookie", "session=0123456789abcdef0123456789abcdef"),
        ("upgrade-insecure-requests", "1"),
        ("priority", "u=0, i"),
    ];
    let request = Request::get(path).header(HOST, "www.example.com");
    let all = fields.into_iter();
    let request = all.fold(request, |request, (name, value)| {
        request.header(name, value)
    });
    request.body(()).unwrap()
}

fn asked(path: &str) -> Asked {
    Asked::read(&request(path), true).unwrap()
}

/// A site with so many routes by paths, and five more for one path; the last one takes all else.
fn table(paths: usize) -> Table {
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let mut routes: Vec<_> = (0..paths).map(|nth| route(&path(nth))).collect();
    for nth in 0..5 {
        let mut by_field = route("/by/field");
        let value = HeaderValue::from(nth);
        let name = HeaderName::from_static("x-variant");
        by_field.matches.headers.push((name, Some(value)));
        routes.push(by_field);
    }
    routes.push(route("/"));
    let mut site = SiteDraft::on("shop", listen, routes);
    site.hosts = vec![
        HostPattern::Exact("www.example.com".to_owned()),
        HostPattern::Wildcard("example.org".to_owned()),
    ];
    let draft = Draft {
        forwards: Vec::new(),
        sites: vec![site],
        admin: None,
        ..Draft::default()
    };
    let plan = draft.resolve().expect("a valid plan");
    let sites: Vec<_> = plan.sites().cloned().map(Arc::new).collect();
    Table::new(&sites, |_, route| Arc::clone(route))
}

/// Some lie below each other.
fn path(nth: usize) -> String {
    let below = if nth.is_multiple_of(2) {
        ""
    } else {
        "/service"
    };
    format!("/team{:03}{below}", nth / 2)
}

fn route(path: &str) -> RouteDraft {
    let action = ActionDraft::Respond {
        status: hyper::StatusCode::OK,
        body: Default::default(),
        content_type: HeaderValue::from_static("text/plain"),
    };
    RouteDraft::of(PathRule::Prefix(path.to_owned()), action)
}

fn found<'a>(table: &'a Table, asked: &Asked, headers: &HeaderMap) -> &'a Arc<Route> {
    let question = Question {
        method: &Method::GET,
        asked,
        headers,
        client: IpAddr::from([192, 0, 2, 1]),
    };
    let routes = table.site(asked.host()).expect("its site");
    match routes.find(&question) {
        Found::Route(route) => route,
        other => panic!("{other:?}"),
    }
}

fn reads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for (name, path) in [("usual", USUAL), ("odd", ODD)] {
        let request = request(path);
        group.bench_function(name, |bencher| {
            bencher.iter(|| Asked::read(black_box(&request), true).unwrap());
        });
    }
    group.finish();
}

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find");
    for count in [7, 500] {
        // Six are there anyhow.
        let paths = count - 6;
        let table = table(paths);
        let last = format!("{}/app/index.html", path(paths - 1));
        for (name, path) in [
            ("first", "/team000/app/index.html"),
            ("last", &last),
            ("catch-all", "/elsewhere/app/index.html"),
            ("by field", "/by/field/x"),
        ] {
            let (asked, mut headers) = (asked(path), request("/").into_parts().0.headers);
            headers.insert("x-variant", HeaderValue::from(4));
            group.bench_function(format!("{name}/{count}"), |bencher| {
                bencher.iter(|| found(black_box(&table), black_box(&asked), &headers));
            });
        }
    }
    group.finish();
}

fn changes(criterion: &mut Criterion) {
    let asked = asked(USUAL);
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
    let mut group = criterion.benchmark_group("announce");
    for (name, ip) in [
        ("a stranger", [192, 0, 2, 1]),
        ("a trusted peer", [10, 0, 0, 1]),
    ] {
        let peer = Peer::new(SocketAddr::from((ip, 5000)));
        let mut headers = request(USUAL).into_parts().0.headers;
        headers.insert("x-forwarded-for", HeaderValue::from_static("192.0.2.7"));
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        let mut random = fastrand::Rng::with_seed(1);
        group.bench_function(name, |bencher| {
            let change = |mut headers: HeaderMap| {
                let client = peer.client(&trusted, &headers);
                peer.announce(&trusted, &asked, &mut headers);
                let id = request_id(&mut headers, peer.is_in(&trusted), &mut random);
                (client, id, headers)
            };
            bencher.iter_batched(|| headers.clone(), change, BatchSize::SmallInput);
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("rewrite");
    let (strip, add) = (Some("/wiki".to_owned()), Some("/v1".to_owned()));
    for (name, strip_prefix, add_prefix) in [
        ("nothing", None, None),
        ("the front of the path", strip, add),
    ] {
        let rule = Rewrite {
            strip_prefix,
            add_prefix,
            host: None,
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| rewrite::target(black_box(&rule), asked.target()).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, reads, lookups, changes);
criterion_main!(benches);
