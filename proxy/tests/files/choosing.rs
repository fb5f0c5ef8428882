//! What the operator has sent: other candidates, pages of errors, fields for other origins.

use hyper::StatusCode;
use hyper::header::HeaderValue;
use risefall_proxy::plan::files::{Candidate, Cors};

use super::folder::{self, Folder};
use super::{field, support};

#[tokio::test]
async fn candidates_are_looked_for_in_their_order() {
    let folder = Folder::with(&[
        ("index.html", "app"),
        ("a.html", "a"),
        ("dir/index.html", "dir"),
    ]);
    let proxy = folder.shown(|files| {
        let behind = |behind: &str| Candidate::Asked {
            before: String::new(),
            behind: behind.to_owned(),
        };
        files.try_files = vec![
            Candidate::asked(),
            behind(".html"),
            Candidate::Fixed("/index.html".to_owned()),
        ];
    });
    for (path, status, body) in [
        ("/a", 200, "a"),
        ("/a.html", 200, "a"),
        ("/users/7", 200, "app"),
        ("/dir", 308, ""),
        ("/dir/", 200, "dir"),
        ("/nothing/", 200, "app"),
    ] {
        let response = proxy.ask(folder::get(path)).await;
        assert_eq!(
            (response.status(), response.text()),
            (status, body),
            "{path}"
        );
    }
    // What is missing must not be an application.
    assert_eq!(proxy.ask(folder::get("/logo.png")).await.status(), 404);
}

#[tokio::test]
async fn an_error_has_the_operators_page_and_its_own_status() {
    let folder = Folder::with(&[("404.html", "<h1>gone</h1>"), ("a.txt", "a")]);
    let proxy = folder.shown(|files| {
        files.error_pages = vec![(StatusCode::NOT_FOUND, "/404.html".to_owned())];
    });
    let missing = proxy.ask(folder::get("/none")).await;
    assert_eq!((missing.status(), missing.text()), (404, "<h1>gone</h1>"));
    assert_eq!(missing.field("content-type"), "text/html; charset=utf-8");
    assert_eq!(field(&missing, "etag"), None);
    let fields = "If-None-Match: *\r\nRange: bytes=0-1\r\n";
    let missing = proxy.ask(folder::ask("GET", "/none", fields)).await;
    assert_eq!((missing.status(), missing.text()), (404, "<h1>gone</h1>"));
}

#[tokio::test]
async fn an_error_page_is_sent_whatever_was_asked() {
    let folder = Folder::with(&[
        ("405.html", "only read"),
        ("l.txt", &"long ".repeat(300_000)),
    ]);
    let proxy = folder.shown(|files| {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        files.error_pages = vec![(status, "/405.html".to_owned())];
    });
    let refused = proxy
        .ask(folder::ask("POST", "/", "Content-Length: 0\r\n"))
        .await;
    assert_eq!((refused.status(), refused.text()), (405, "only read"));
    let fields = "Accept-Encoding: gzip\r\n\
                  If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    let refused = proxy.ask(folder::ask("GET", "/l.txt", fields)).await;
    assert_eq!(refused.status(), 412);
}

#[tokio::test]
async fn other_origins_read_what_they_may() {
    let folder = Folder::with(&[("a.txt", "a")]);
    let fields = "Origin: https://a.example\r\n";
    for (cors, allowed) in [
        (Cors::Off, None),
        (Cors::Any, Some("*")),
        (
            Cors::Origins(vec![HeaderValue::from_static("https://a.example")]),
            Some("https://a.example"),
        ),
        (
            Cors::Origins(vec![HeaderValue::from_static("https://b.example")]),
            None,
        ),
    ] {
        let proxy = folder.shown(|files| files.cors = cors.clone());
        for path in ["/a.txt", "/none"] {
            let response = proxy.ask(folder::ask("GET", path, fields)).await;
            assert_eq!(
                field(&response, "access-control-allow-origin"),
                allowed,
                "{cors:?}"
            );
        }
        let fields = format!("{fields}Access-Control-Request-Method: GET\r\n");
        let response = proxy.ask(folder::ask("OPTIONS", "/a.txt", &fields)).await;
        assert_eq!(response.status(), 204);
        let methods = allowed.map(|_| "GET, HEAD, OPTIONS");
        assert_eq!(field(&response, "access-control-allow-methods"), methods);
    }
}

#[tokio::test]
async fn other_origins_read_why_there_is_no_file_if_they_may_read_files() {
    let folder = Folder::with(&[]);
    let here = Some("https://a.example");
    let origins = Cors::Origins(here.map(HeaderValue::from_static).into_iter().collect());
    for (cors, origin, allowed) in [
        (Cors::Off, "https://a.example", None),
        (Cors::Any, "https://a.example", Some("*")),
        (origins.clone(), "https://a.example", here),
        (origins, "https://b.example", None),
    ] {
        let proxy = folder.shown(|files| {
            files.root = folder.path("none");
            files.cors = cors.clone();
        });
        let fields = format!("Origin: {origin}\r\n");
        for method in ["GET", "HEAD"] {
            let mut client = proxy.connect().await;
            client.send(folder::ask(method, "/a.txt", &fields)).await;
            let head = client.head().await;
            assert!(head.starts_with("HTTP/1.1 500"), "{head}");
            let field = |name| support::field(&head, name);
            assert_eq!(field("access-control-allow-origin"), allowed, "{cors:?}");
            let exposed = field("access-control-expose-headers");
            assert_eq!(exposed.is_some(), allowed.is_some(), "{cors:?}");
            let varies = matches!(cors, Cors::Origins(_)).then_some("origin");
            assert_eq!(field("vary"), varies, "{cors:?}");
        }
    }
}
