//! Routes that are for users alone: who is let in, and who learns the password.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "support/folder.rs"]
mod folder;
#[path = "support/sites.rs"]
mod sites;
mod support;

use folder::Folder;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderValue};
use risefall_proxy::plan::files::Cors;
use risefall_proxy::plan::site::PathRule;
use risefall_proxy::plan::users::Users;
use risefall_proxy::plan::{ActionDraft, RouteDraft};
use sites::{get, route_to, site_of};
use support::{Origin, Proxy};

/// `alice:hunter2`
const ALICE: &str = "Authorization: Basic YWxpY2U6aHVudGVyMg==\r\n";

fn closed(mut route: RouteDraft) -> RouteDraft {
    route.users = Users::new([("alice", "hunter2")]);
    route
}

/// A site whose `/` is open, and whose `/in` and `/here` are for alice.
fn site(origin: &Origin, change: impl FnOnce(&mut RouteDraft)) -> Proxy {
    let here = ActionDraft::Respond {
        status: StatusCode::OK,
        body: "here".to_owned(),
        content_type: HeaderValue::from_static("text/plain"),
    };
    let here = RouteDraft::of(PathRule::Prefix("/here".to_owned()), here);
    let mut inside = closed(route_to("/in", "app"));
    change(&mut inside);
    site_of(&[origin.address], |draft| {
        draft.sites[0].routes = vec![route_to("/", "app"), inside, closed(here)];
    })
}

fn with(path: &str, fields: &str) -> String {
    get(path).replace("\r\n\r\n", &format!("\r\n{fields}\r\n"))
}

#[tokio::test]
async fn who_is_not_known_is_asked_and_reaches_nobody() {
    let origin = Origin::echo().await;
    let proxy = site(&origin, |_| {});
    for path in ["/in", "/in/side", "/here"] {
        for fields in [
            "",
            "Authorization: Basic YWxpY2U6aHVudGVyMQ==\r\n",
            "Authorization: Bearer hunter2\r\n",
        ] {
            let response = proxy.ask(with(path, fields)).await;
            assert_eq!(response.status(), 401, "{path} {fields}");
            let asked = response.field("www-authenticate");
            assert_eq!(asked, "Basic realm=\"shop\", charset=\"UTF-8\"");
            assert!(!response.text().contains("here"));
        }
    }
    assert_eq!(origin.connections(), 0);
    assert_eq!(proxy.ask(get("/")).await.status(), 200);
}

#[tokio::test]
async fn who_is_known_is_let_in_and_servers_do_not_learn_the_password() {
    let origin = Origin::echo().await;
    let proxy = site(&origin, |_| {});
    assert_eq!(proxy.ask(with("/here", ALICE)).await.text(), "here");
    let response = proxy.ask(with("/in", ALICE)).await;
    assert_eq!(response.status(), 200);
    let told = response.text().to_ascii_lowercase();
    assert!(
        told.contains("get /in") && !told.contains("authorization"),
        "{told}"
    );
    // Where nobody is asked, it is the server's.
    let told = proxy
        .ask(with("/", ALICE))
        .await
        .text()
        .to_ascii_lowercase();
    assert!(told.contains("authorization: basic"), "{told}");
    // The log has who it was, and of others nothing that they said.
    let lines = proxy.whole_lines(3).await;
    for (line, is_alice) in lines.iter().zip([true, true, false]) {
        assert_eq!(line.contains(" user=alice"), is_alice, "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[tokio::test]
async fn a_server_may_have_credentials_of_the_routes_own() {
    let origin = Origin::echo().await;
    let proxy = site(&origin, |route| {
        let own = HeaderValue::from_static("Bearer own");
        route.request_headers.set = vec![(AUTHORIZATION, own)];
    });
    let told = proxy
        .ask(with("/in", ALICE))
        .await
        .text()
        .to_ascii_lowercase();
    assert!(told.contains("authorization: bearer own"), "{told}");
}

#[tokio::test]
async fn a_preflight_is_answered_before_anybody_is_asked() {
    let folder = Folder::with(&[("a.txt", "a")]);
    let shown = |cors: Cors| {
        folder.shown_with(|draft, _| {
            let mut route = closed(folder.route("/in"));
            route.rewrite.strip_prefix = Some("/in".to_owned());
            if let Some(ActionDraft::Files(files)) = &mut route.action {
                files.cors = cors;
            }
            draft.sites[0].routes.push(route);
        })
    };
    let (here, there) = (
        "Origin: https://a.example\r\n",
        "Origin: https://b.example\r\n",
    );
    let asks =
        "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n";
    let origins = Cors::Origins(vec![HeaderValue::from_static("https://a.example")]);
    for (cors, method, fields, status, origin) in [
        (&origins, "OPTIONS", [here, asks], 204, "https://a.example"),
        (&origins, "OPTIONS", [there, asks], 401, ""),
        (&origins, "OPTIONS", [here, ""], 401, "https://a.example"),
        (&origins, "OPTIONS", ["", asks], 401, ""),
        (&origins, "GET", [here, asks], 401, "https://a.example"),
        (&origins, "GET", [here, ""], 401, "https://a.example"),
        (&origins, "GET", [there, ""], 401, ""),
        (&origins, "GET", [here, ALICE], 200, "https://a.example"),
        (&Cors::Any, "OPTIONS", [there, asks], 204, "*"),
        (&Cors::Any, "OPTIONS", ["", asks], 401, "*"),
        (&Cors::Any, "GET", [there, ""], 401, "*"),
        (&Cors::Off, "OPTIONS", [here, asks], 401, ""),
    ] {
        let proxy = shown(cors.clone());
        let asked = folder::ask(method, "/in/a.txt", &fields.concat());
        let response = proxy.ask(asked).await;
        assert_eq!(response.status(), status, "{cors:?} {method} {fields:?}");
        let field = |name| support::field(&response.head, name);
        let allowed = field("access-control-allow-origin").unwrap_or_default();
        assert_eq!(allowed, origin, "{cors:?} {method} {fields:?}");
        let told = field("access-control-allow-headers");
        assert_eq!(told, (status == 204).then_some("authorization"));
        assert_eq!(field("www-authenticate").is_some(), status == 401);
        if status == 401 && matches!(cors, Cors::Origins(_)) {
            assert_eq!(field("vary"), Some("origin"), "{method} {fields:?}");
        }
    }
}
