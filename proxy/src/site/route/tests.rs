//! Which route a request finds.

use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode};

use super::*;
use crate::plan::site::{Action, Edits, Rewrite, RouteTimeouts};
use crate::plan::users::Users;

fn site(name: &str, hosts: &[&str], routes: Vec<Route>) -> Arc<Site> {
    let pattern = |host: &&str| match host.strip_prefix("*.") {
        Some(rest) => HostPattern::Wildcard(rest.to_owned()),
        None => HostPattern::Exact((*host).to_owned()),
    };
    Arc::new(Site {
        name: name.to_owned(),
        listen: Vec::new(),
        tls: None,
        hosts: hosts.iter().map(pattern).collect(),
        h2c: false,
        trusted: Vec::new(),
        routes: routes.into_iter().map(Arc::new).collect(),
    })
}

/// A route that tells its name in its body. A path behind `=` is exact.
fn route(path: &str, name: &str) -> Route {
    let path = match path.strip_prefix('=') {
        Some(path) => PathRule::Exact(path.to_owned()),
        None => PathRule::Prefix(path.to_owned()),
    };
    Route {
        matches: Match {
            path,
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
            clients: Vec::new(),
        },
        action: Action::Respond {
            status: StatusCode::OK,
            body: name.to_owned(),
            content_type: HeaderValue::from_static("text/plain"),
        },
        users: Users::default(),
        rewrite: Rewrite::default(),
        request_headers: Edits::default(),
        response_headers: Edits::default(),
        body_limit: None,
        timeouts: RouteTimeouts::default(),
    }
}

fn with(mut route: Route, change: impl FnOnce(&mut Match)) -> Route {
    change(&mut route.matches);
    route
}

fn for_method(path: &str, name: &str, method: Method) -> Route {
    with(route(path, name), |matches| matches.methods.push(method))
}

fn routes(routes: Vec<Route>) -> Routes {
    Routes::new(&site("s", &[], routes), &|_, route: &Arc<Route>| {
        Arc::clone(route)
    })
}

fn request(method: &Method, uri: &str) -> Request<()> {
    let request = Request::builder().method(method).uri(uri).header(HOST, "a");
    request.body(()).unwrap()
}

fn ask(routes: &Routes, request: &Request<()>) -> String {
    let asked = Asked::read(request, false).unwrap();
    let question = Question {
        method: request.method(),
        asked: &asked,
        headers: request.headers(),
        client: "::ffff:10.0.0.1".parse().unwrap(),
    };
    match routes.find(&question) {
        Found::Route(route) => name_of(route),
        Found::NoRoute => "none".to_owned(),
        Found::Method(allowed) => format!("{allowed:?}"),
    }
}

fn name_of(route: &Route) -> String {
    match &route.action {
        Action::Respond { body, .. } => body.clone(),
        _ => String::new(),
    }
}

fn get(routes: &Routes, uri: &str) -> String {
    ask(routes, &request(&Method::GET, uri))
}

#[test]
fn a_host_finds_its_site_then_its_wildcard_then_the_rest() {
    let sites = ["exact", "wild", "rest", "late"];
    let hosts: [&[&str]; 4] = [
        &["example.com", "a.example.com", "[::1]"],
        &["*.Example.com", "*.b.example.com"],
        &[],
        &["example.com", "late.com"],
    ];
    let sites: Vec<_> = sites
        .iter()
        .zip(hosts)
        .map(|(name, hosts)| site(name, hosts, vec![route("/", name)]))
        .collect();
    let table = Table::new(&sites, |_, route| Arc::clone(route));
    for (host, name) in [
        ("example.com", "exact"),
        ("a.example.com", "exact"),
        ("[::1]", "exact"),
        ("x.example.com", "wild"),
        ("b.example.com", "wild"),
        ("x.b.example.com", "wild"),
        ("x.y.example.com", "rest"),
        ("late.com", "late"),
        ("com", "rest"),
        ("", "rest"),
        ("127.0.0.1", "rest"),
    ] {
        assert_eq!(table.site(host).unwrap().site().name, name, "{host}");
    }
    let without_rest = Table::new(&sites[..2], |_, route| Arc::clone(route));
    assert!(without_rest.site("other.com").is_none());
    assert!(without_rest.site("").is_none());
    assert!(
        Table::new(&[], |_, route| Arc::clone(route))
            .site("example.com")
            .is_none()
    );
}

#[test]
fn the_exact_path_then_the_longest_prefix() {
    let routes = routes(vec![
        route("/", "root"),
        route("/api", "api"),
        route("/api/v1/", "v1"),
        route("=/api/v1/", "v1 itself"),
        route("=/api/health", "health"),
        route("/apis", "apis"),
        route("/api-docs/x", "docs"),
    ]);
    for (path, name) in [
        ("/", "root"),
        ("/x", "root"),
        ("//api", "api"),
        ("/api", "api"),
        ("/api?x", "api"),
        ("/api/", "api"),
        ("/api//", "api"),
        ("/api/x", "api"),
        ("/api%2Fx", "api"),
        ("/%2fapi", "api"),
        ("/api/v1%2f", "v1 itself"),
        ("/api%2fv1%2fx", "v1"),
        ("/api%252Fx", "root"),
        ("/api/v1", "api"),
        ("/api/v1/", "v1 itself"),
        ("/api/v1/x", "v1"),
        ("/api/v1x", "api"),
        ("/api/health", "health"),
        ("/api/health/", "api"),
        ("/api/x/../health", "health"),
        ("/apis", "apis"),
        ("/apis/x", "apis"),
        ("/apiz", "root"),
        ("/api-docs", "root"),
        ("/api-docs/x/y", "docs"),
        ("/%61pi", "api"),
        ("/API", "root"),
    ] {
        assert_eq!(get(&routes, path), name, "{path}");
    }
}

#[test]
fn a_site_need_not_serve_all_paths() {
    let routes = routes(vec![route("/b", "b")]);
    for path in ["/", "/a", "/c", "/bb"] {
        assert_eq!(get(&routes, path), "none", "{path}");
    }
}

#[test]
fn more_conditions_come_first_then_the_order_of_the_file() {
    let header = |value: Option<&'static str>| {
        let value = value.map(HeaderValue::from_static);
        (HeaderName::from_static("x-beta"), value)
    };
    let routes = routes(vec![
        route("/a", "first"),
        route("/a", "second"),
        with(route("/a", "header"), |matches| {
            matches.headers.push(header(None));
        }),
        with(route("/a", "header and method"), |matches| {
            matches.headers.push(header(Some("1")));
            matches.methods.push(Method::GET);
        }),
        with(route("/", "all"), |matches| {
            matches.headers.push(header(None));
            matches.headers.push(header(Some("1")));
            matches.methods.push(Method::GET);
        }),
    ]);
    let ask = |values: &[&'static str]| {
        let mut request = request(&Method::GET, "/a");
        for value in values {
            request
                .headers_mut()
                .append("x-beta", HeaderValue::from_static(value));
        }
        ask(&routes, &request)
    };
    assert_eq!(ask(&[]), "first");
    assert_eq!(ask(&["2"]), "header");
    assert_eq!(
        ask(&["2", "1"]),
        "header and method",
        "a longer prefix outweighs conditions"
    );
}

#[test]
fn only_a_method_that_alone_stands_in_the_way_is_told() {
    let routes = routes(vec![
        for_method("/a", "post", Method::POST),
        for_method("/a", "put", Method::PUT),
        with(for_method("/a", "beta", Method::GET), |matches| {
            matches
                .headers
                .push((HeaderName::from_static("x-beta"), None));
        }),
        for_method("/", "delete", Method::DELETE),
    ]);
    let ask = |method, path| ask(&routes, &request(&method, path));
    assert_eq!(ask(Method::POST, "/a"), "post");
    assert_eq!(ask(Method::PUT, "/a"), "put");
    assert_eq!(
        ask(Method::DELETE, "/a"),
        "delete",
        "the next candidate takes it"
    );
    assert_eq!(ask(Method::GET, "/a"), "[POST, PUT, DELETE]");
    assert_eq!(ask(Method::GET, "/b"), "[DELETE]");
}

#[test]
fn parameters_and_clients_are_conditions() {
    let parameter = |value: Option<&str>| ("a b".to_owned(), value.map(str::to_owned));
    let routes = routes(vec![
        with(route("/", "value"), |matches| {
            matches.query.push(parameter(Some("\u{e4}+")));
            matches.query.push(parameter(None));
        }),
        with(route("/", "name"), |matches| {
            matches.query.push(parameter(None));
        }),
        with(route("/in", "inside"), |matches| {
            matches.clients.push("10.0.0.0/8".parse().unwrap());
        }),
        with(route("/out", "outside"), |matches| {
            matches.clients.push("192.168.0.0/16".parse().unwrap());
        }),
    ]);
    for (uri, name) in [
        ("/", "none"),
        ("/?a", "none"),
        ("/?a%20b", "name"),
        ("/?x&a+b=", "name"),
        ("/?a+b=1&a+b=%c3%A4%2b", "value"),
        ("/?a+b=%c3%A4+", "name"),
        ("/?a+b=%", "name"),
        ("/in", "inside"),
        ("/out", "none"),
    ] {
        assert_eq!(get(&routes, uri), name, "{uri}");
    }
}

#[test]
fn what_is_about_the_server_goes_where_all_paths_go() {
    let all = routes(vec![
        route("=/", "itself"),
        route("/", "all"),
        route("/a", "a"),
    ]);
    let request = request(&Method::OPTIONS, "*");
    assert_eq!(ask(&all, &request), "all");
    let some = routes(vec![route("/a", "a")]);
    assert_eq!(ask(&some, &request), "none");
}

/// The rule as it is written, without the search.
fn longest<'a>(rules: &'a [String], path: &str) -> &'a str {
    let exact = rules
        .iter()
        .find(|rule| rule.strip_prefix('=').map(compared).as_deref() == Some(path));
    let prefixes = rules
        .iter()
        .filter(|rule| !rule.starts_with('=') && holds(&compared(rule), path));
    let longest = prefixes.rev().max_by_key(|rule| compared(rule).len());
    exact.or(longest).map_or("none", String::as_str)
}

#[test]
fn the_search_finds_what_the_rule_says() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut path = |most: usize| -> String {
        let parts = ["/", "/", "%2F", "a", "b", "-", "0"];
        let len = random.usize(..most);
        let tail: String = (0..len).filter_map(|_| random.choice(parts)).collect();
        format!("/{tail}")
    };
    for turn in 0..400 {
        let rules: Vec<_> = (0..turn % 40)
            .map(|nth| format!("{}{}", if nth % 3 == 0 { "=" } else { "" }, path(5)))
            .collect();
        let table = routes(rules.iter().map(|rule| route(rule, rule)).collect());
        for _ in 0..50 {
            let path = path(8);
            assert_eq!(
                get(&table, &path),
                longest(&rules, &compared(&path)),
                "{path} {rules:?}"
            );
        }
    }
}
