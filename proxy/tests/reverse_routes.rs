//! Which route a request finds, and what becomes of it and of its answer there.

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

use std::net::SocketAddr;

use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use risefall_proxy::plan::site::{HostPattern, PathRule};
use risefall_proxy::plan::{ActionDraft, Draft, RouteDraft, SiteDraft};
use sites::{get, route_to, site_of};
use support::origin::{ok, saying};
use support::{Origin, Proxy, field};

fn say(path: PathRule, body: &str) -> RouteDraft {
    let action = ActionDraft::Respond {
        status: StatusCode::OK,
        body: body.to_owned(),
        content_type: HeaderValue::from_static("text/plain"),
    };
    RouteDraft::of(path, action)
}

fn prefix(path: &str) -> PathRule {
    PathRule::Prefix(path.to_owned())
}

fn exact(path: &str) -> PathRule {
    PathRule::Exact(path.to_owned())
}

fn redirect(path: &str, to: &str) -> RouteDraft {
    let action = ActionDraft::Redirect {
        to: to.to_owned(),
        status: StatusCode::MOVED_PERMANENTLY,
    };
    RouteDraft::of(prefix(path), action)
}

fn limited(mut route: RouteDraft, methods: &[Method]) -> RouteDraft {
    route.matches.methods = methods.to_vec();
    route
}

/// A site with these routes and a server that says what it was asked.
async fn routes(routes: Vec<RouteDraft>) -> (Origin, Proxy) {
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], |draft| draft.sites[0].routes = routes);
    (origin, proxy)
}

#[tokio::test]
async fn the_closest_route_is_taken() {
    let mut keyed = say(prefix("/api"), "keyed");
    keyed.matches.headers = vec![(
        "x-key".parse().unwrap(),
        Some(HeaderValue::from_static("1")),
    )];
    let mut asked = say(prefix("/api"), "asked");
    asked.matches.query = vec![("v".to_owned(), Some("2 3".to_owned()))];
    let (_origin, proxy) = routes(vec![
        say(prefix("/"), "all"),
        say(prefix("/api"), "api"),
        say(prefix("/api/v1"), "v1"),
        say(exact("/api"), "exact"),
        keyed,
        asked,
    ])
    .await;
    for (path, fields, body) in [
        ("/", "", "all"),
        ("/apis", "", "all"),
        ("/api", "", "exact"),
        ("/api/", "", "api"),
        ("/api/x", "", "api"),
        ("/api/v1", "", "v1"),
        ("/api/v1/x", "X-Key: 1\r\n", "v1"),
        ("/api/x", "X-Key: 1\r\n", "keyed"),
        ("/api/x", "X-Key: 2\r\n", "api"),
        ("/api/x?v=2+3", "", "asked"),
        ("/api/x?v=2%203&w", "", "asked"),
        ("/a/../api/./x", "", "api"),
        ("/%61pi/x", "", "api"),
        ("/api%2Fx", "", "api"),
        ("/%2fapi", "", "exact"),
        ("/api%252Fx", "", "all"),
        ("/API/x", "", "all"),
    ] {
        let asked = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(proxy.ask(asked).await.text(), body, "{path} {fields}");
    }
}

#[tokio::test]
async fn an_escaped_slash_leads_around_no_route() {
    let mut admin = route_to("/admin", "app");
    admin.matches.clients = vec!["192.0.2.0/24".parse().unwrap()];
    let mut bare = route_to("/bare", "app");
    bare.rewrite.strip_prefix = Some("/bare".to_owned());
    let (origin, proxy) = routes(vec![
        admin,
        say(prefix("/admin"), "not yours"),
        bare,
        route_to("/", "app"),
    ])
    .await;
    for path in ["/admin%2fx", "/%2fadmin", "/%2F/admin%2F", "/admin%2f%2fx"] {
        assert_eq!(proxy.ask(get(path)).await.text(), "not yours", "{path}");
    }
    for path in [
        "/public/..%2fadmin",
        "/public%2f..%2fadmin",
        "/public%2f%2e%2e/admin",
        "/%2e%2e%2fadmin",
        "/.%2fadmin",
        "/%2f./admin",
    ] {
        let refused = proxy.ask(get(path)).await;
        assert_eq!(refused.status(), 400, "{path}");
        assert!(refused.text().contains("escaped slash"), "{path}");
    }
    assert_eq!(origin.connections(), 0);
    for (path, sent) in [
        ("/projects/a%2fb", "GET /projects/a%2Fb HTTP/1.1\r\n"),
        ("/bare%2fa%2Fb", "GET /a%2Fb HTTP/1.1\r\n"),
    ] {
        let told = proxy.ask(get(path)).await;
        assert!(told.text().starts_with(sent), "{}", told.text());
    }
}

#[tokio::test]
async fn what_no_route_takes_is_not_found_and_another_method_is_told() {
    let (origin, proxy) = routes(vec![
        limited(route_to("/api", "app"), &[Method::GET, Method::HEAD]),
        limited(say(prefix("/api"), "put"), &[Method::PUT]),
        say(exact("/only"), "here"),
    ])
    .await;
    assert_eq!(proxy.ask(get("/other")).await.status(), 404);
    assert_eq!(proxy.ask(get("/only/here")).await.status(), 404);
    assert_eq!(proxy.ask(get("/only")).await.text(), "here");
    let refused = proxy.ask("DELETE /api HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(refused.status(), 405);
    let mut allowed: Vec<_> = refused.field("allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "PUT"]);
    // A body that nobody reads does not become the next request.
    let mut client = proxy.connect().await;
    let hidden = get("/api");
    let len = hidden.len();
    let head = format!("POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{hidden}");
    client.send(head).await;
    assert_eq!(client.response().await.status(), 405);
    client.end().await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(origin.connections(), 0);
    let lines = proxy.whole_lines(5).await;
    assert!(
        lines.iter().all(|line| line.contains(" site=shop ")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_redirect_names_what_was_asked_for_and_never_another_host() {
    let (_origin, proxy) = routes(vec![
        redirect("/old", "https://{host}/new{path}{query}"),
        redirect("/", "{path}"),
    ])
    .await;
    let asked = proxy
        .ask("GET /old/a?b=c HTTP/1.1\r\nHost: Shop.Example:80\r\n\r\n")
        .await;
    assert_eq!(asked.status(), 301);
    assert_eq!(
        asked.field("location"),
        "https://shop.example/new/old/a?b=c"
    );
    let asked = proxy
        .ask("GET //evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert!(!asked.field("location").starts_with("//"), "{}", asked.head);
    for evil in ["%0d%0aSet-Cookie:%20a=b", "%5Cevil.example", "a%20b"] {
        let asked = proxy
            .ask(format!("GET /{evil} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        assert_eq!(field(&asked.head, "set-cookie"), None, "{}", asked.head);
    }
}

#[tokio::test]
async fn a_fixed_answer_is_given_by_nobody_else_and_without_a_body_to_head() {
    let mut teapot = say(prefix("/tea"), "short and stout\n");
    teapot.action = Some(ActionDraft::Respond {
        status: StatusCode::IM_A_TEAPOT,
        body: "short and stout\n".to_owned(),
        content_type: HeaderValue::from_static("text/x-song"),
    });
    teapot.response_headers.set = vec![("x-pot".parse().unwrap(), HeaderValue::from_static("1"))];
    let (origin, proxy) = routes(vec![teapot]).await;
    let answer = proxy.ask(get("/tea")).await;
    assert_eq!((answer.status(), answer.text()), (418, "short and stout\n"));
    assert_eq!(answer.field("content-type"), "text/x-song");
    assert_eq!(answer.field("x-pot"), "1");
    let mut client = proxy.connect().await;
    client
        .send("HEAD /tea HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(field(&client.head().await, "content-length"), Some("16"));
    assert_eq!(client.rest().await, b"");
    assert_eq!(origin.connections(), 0);
}

fn fields(all: &[(&'static str, &'static str)]) -> Vec<(hyper::header::HeaderName, HeaderValue)> {
    let of = |(name, value): &(&'static str, &'static str)| {
        (name.parse().unwrap(), HeaderValue::from_static(value))
    };
    all.iter().map(of).collect()
}

#[tokio::test]
async fn fields_are_removed_set_and_added_both_ways() {
    let mut route = route_to("/", "app");
    for edits in [&mut route.request_headers, &mut route.response_headers] {
        edits.remove = vec!["x-gone".parse().unwrap()];
        edits.set = fields(&[("x-set", "ours")]);
        edits.add = fields(&[("x-more", "ours")]);
    }
    let (_origin, proxy) = routes(vec![route.clone()]).await;
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nX-Gone: 1\r\nX-Set: theirs\r\nX-More: theirs\r\n\r\n";
    let answer = proxy.ask(asked).await;
    let told = answer.text().to_ascii_lowercase();
    assert_eq!(field(&told, "x-gone"), None);
    assert_eq!(field(&told, "x-set"), Some("ours"));
    assert!(
        told.contains("x-more: theirs\r\n") && told.contains("x-more: ours\r\n"),
        "{told}"
    );
    let said = "HTTP/1.1 200 OK\r\nX-Gone: 1\r\nX-Set: theirs\r\nX-More: theirs\r\n\
                Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n";
    let origin = saying(said).await;
    let proxy = site_of(&[origin.address], |draft| {
        draft.sites[0].routes = vec![route];
    });
    let head = proxy.ask(get("/")).await.head.to_ascii_lowercase();
    assert_eq!(field(&head, "x-gone"), None);
    assert_eq!(field(&head, "x-set"), Some("ours"));
    assert!(
        head.contains("x-more: theirs\r\n") && head.contains("x-more: ours\r\n"),
        "{head}"
    );
    for hop in ["x-hop", "keep-alive", "connection"] {
        assert_eq!(field(&head, hop), None, "{head}");
    }
}

#[tokio::test]
async fn a_server_may_be_asked_for_another_path_and_host() {
    let mut route = route_to("/api", "app");
    route.rewrite.strip_prefix = Some("/api".to_owned());
    route.rewrite.add_prefix = Some("/v2".to_owned());
    route.rewrite.host = Some(HeaderValue::from_static("inner.example"));
    let mut bare = route_to("/bare", "app");
    bare.rewrite.strip_prefix = Some("/bare".to_owned());
    let (_origin, proxy) = routes(vec![route, bare]).await;
    for (path, line) in [
        ("/api/x?y=/api", "GET /v2/x?y=/api HTTP/1.1\r\n"),
        ("/api", "GET /v2 HTTP/1.1\r\n"),
        ("/bare", "GET / HTTP/1.1\r\n"),
        ("/bare//evil.example/x", "GET /evil.example/x HTTP/1.1\r\n"),
    ] {
        let told = proxy.ask(get(path)).await;
        assert!(told.text().starts_with(line), "{}", told.text());
        let host = if path.starts_with("/api") {
            "inner.example"
        } else {
            "shop.example"
        };
        assert_eq!(field(told.text(), "host"), Some(host));
    }
}

#[tokio::test]
async fn a_body_may_be_as_long_as_the_route_says() {
    let origin = Origin::start(|mut client| async move {
        while !client.bytes.is_empty() || client.more().await > 0 {
            let head = client.head().await;
            let body = match field(&head, "content-length") {
                Some(len) => client.take(len.parse().unwrap()).await,
                None => client.chunks().await,
            };
            client.send(ok(std::str::from_utf8(&body).unwrap())).await;
        }
    })
    .await;
    let policy = sites::lasting(|policy| policy.max_fails(1));
    let proxy = sites::site_by(policy, &[origin.address], |draft| {
        draft.sites[0].routes[0].body_limit = Some(5);
    });
    let chunked = |chunks: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    };
    let parts = "3\r\nabc\r\n2\r\nde\r\n";
    assert_eq!(
        proxy.ask(sites::with_body("POST", "abcde")).await.text(),
        "abcde"
    );
    assert_eq!(proxy.ask(chunked(parts)).await.text(), "abcde");
    for too_much in [
        sites::with_body("POST", "abcdef"),
        chunked(&format!("{parts}1\r\nf\r\n")),
        chunked("6\r\nabcdef\r\n"),
    ] {
        let mut client = proxy.connect().await;
        client.send(too_much).await;
        let answer = client.response().await;
        assert_eq!(answer.status(), 413);
        client.end().await;
        assert_eq!(client.rest().await, b"");
    }
    // None of that is the server's fault.
    assert_eq!(
        proxy.ask(sites::with_body("POST", "abcde")).await.text(),
        "abcde"
    );
}

/// An address of this machine that no other test of any process listens on.
fn own_address() -> SocketAddr {
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    SocketAddr::from(([127, 99, high, low], 8080))
}

#[tokio::test]
async fn sites_on_one_address_are_told_apart_by_their_hosts() {
    let origin = Origin::echo().await;
    let at = own_address();
    let site = |name: &str, hosts: Vec<HostPattern>| {
        let mut site = SiteDraft::on(name, vec![at], vec![say(prefix("/"), name)]);
        site.hosts = hosts;
        site
    };
    let named = |host: &str| HostPattern::Exact(host.to_owned());
    let proxy = site_of(&[origin.address], |draft: &mut Draft| {
        draft.sites = vec![
            site("exact", vec![named("a.example"), named("b.example")]),
            site("below", vec![HostPattern::Wildcard("example".to_owned())]),
            site("local", vec![named("[::1]")]),
        ];
    });
    for (host, body) in [
        ("a.example", Some("exact")),
        ("A.Example.", Some("exact")),
        ("b.example:8080", Some("exact")),
        ("c.example", Some("below")),
        ("a.b.example", None),
        ("example", None),
        ("[::1]:80", Some("local")),
        ("[0:0::1]", Some("local")),
        ("other.org", None),
        ("", None),
    ] {
        let answer = proxy
            .ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        match body {
            Some(body) => assert_eq!(answer.text(), body, "{host}"),
            None => assert_eq!(answer.status(), 404, "{host}"),
        }
    }
    // The target's own host wins, and is what the line names.
    let asked = "GET http://c.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n";
    assert_eq!(proxy.ask(asked).await.text(), "below");
    let lines = proxy.whole_lines(11).await;
    assert!(lines[0].contains(" site=exact "), "{lines:?}");
    assert!(lines[3].contains(" site=below "), "{lines:?}");
}
