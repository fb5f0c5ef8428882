//! Files of a folder: what is shown, what is not, in which form, and under which conditions.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "support/folder.rs"]
mod folder;
#[path = "support/h2.rs"]
mod h2_support;
mod support;

use folder::Folder;
use h2_support::H2;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use risefall_proxy::plan::files::{Candidate, Cors, Links};
use risefall_proxy::plan::site::PathRule;
use risefall_proxy::plan::users::Users;
use support::Response;

fn field<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    support::field(&response.head, name)
}

#[tokio::test]
async fn a_file_is_sent_with_what_is_known_of_it() {
    let folder = Folder::with(&[("a/b.html", "<p>hello"), ("index.html", "home")]);
    let proxy = folder.shown(|_| {});
    let file = proxy.ask(folder::get("/a/b.html")).await;
    assert_eq!((file.status(), file.text()), (200, "<p>hello"));
    assert_eq!(file.field("content-type"), "text/html; charset=utf-8");
    assert_eq!(file.field("content-length"), "8");
    assert_eq!(file.field("accept-ranges"), "bytes");
    assert_eq!(file.field("x-content-type-options"), "nosniff");
    assert_eq!(file.field("vary"), "accept-encoding");
    assert!(file.field("etag").starts_with('"'));
    assert!(file.field("last-modified").ends_with(" GMT"));
    assert_eq!(proxy.ask(folder::get("/")).await.text(), "home");
    assert_eq!(proxy.ask(folder::get("/index.html")).await.text(), "home");
}

#[tokio::test]
async fn a_head_says_the_same_without_the_file() {
    let folder = Folder::with(&[("a.txt", "hello"), ("big.txt", &"x".repeat(100_000))]);
    let proxy = folder.shown(|_| {});
    let mut client = proxy.connect().await;
    for (path, len) in [("/a.txt", "5"), ("/big.txt", "100000")] {
        client.send(folder::ask("HEAD", path, "")).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(support::field(&head, "content-length"), Some(len));
    }
    client.send(folder::get("/a.txt")).await;
    assert_eq!(client.response().await.text(), "hello");
}

#[tokio::test]
async fn what_is_long_comes_whole_by_every_way() {
    let text: String = (0..400_000).map(|n| format!("{n:07}\n")).collect();
    let folder = Folder::with(&[("long.txt", &text), ("half.txt", &text[..100_000])]);
    let proxy = folder.shown(|_| {});
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        for (path, len) in [("/long.txt", text.len()), ("/half.txt", 100_000)] {
            client.send(folder::get(path)).await;
            let response = client.response().await;
            assert!(response.text() == &text[..len], "{path}");
        }
    }
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let folder = Folder::with(&[("a.txt", "a")]);
    let proxy = folder.shown(|_| {});
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let refused = proxy
            .ask(folder::ask(method, "/a.txt", "Content-Length: 0\r\n"))
            .await;
        assert_eq!(refused.status(), 405, "{method}");
        assert_eq!(refused.field("allow"), "GET, HEAD, OPTIONS");
    }
    let options = proxy.ask(folder::ask("OPTIONS", "/a.txt", "")).await;
    assert_eq!(
        (options.status(), options.field("allow")),
        (204, "GET, HEAD, OPTIONS")
    );
}

#[tokio::test]
async fn a_folder_is_asked_for_with_a_slash() {
    let folder = Folder::with(&[("a b/index.html", "in"), ("empty/x", ""), ("f.txt", "f")]);
    let proxy = folder.shown(|_| {});
    let moved = proxy.ask(folder::get("/a%20b?x=1")).await;
    assert_eq!(
        (moved.status(), moved.field("location")),
        (308, "/a%20b/?x=1")
    );
    assert_eq!(proxy.ask(folder::get("/a%20b/")).await.text(), "in");
    for path in ["/empty", "/empty/", "/f.txt/", "/none", "/none/"] {
        assert_eq!(proxy.ask(folder::get(path)).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn conditions_are_kept() {
    let folder = Folder::with(&[("a.txt", "hello")]);
    let proxy = folder.shown(|_| {});
    let first = proxy.ask(folder::get("/a.txt")).await;
    let (tag, date) = (first.field("etag"), first.field("last-modified"));
    for (fields, status) in [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: \"x\", W/{tag}\r\n"), 304),
        ("If-None-Match: *\r\n".to_owned(), 304),
        ("If-None-Match: \"x\"\r\n".to_owned(), 200),
        (format!("If-Modified-Since: {date}\r\n"), 304),
        (
            format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}\r\n"),
            200,
        ),
        (format!("If-Match: {tag}\r\n"), 200),
        ("If-Match: \"x\"\r\n".to_owned(), 412),
        (format!("If-Unmodified-Since: {date}\r\n"), 200),
        (
            "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n".to_owned(),
            412,
        ),
    ] {
        let response = proxy.ask(folder::ask("GET", "/a.txt", &fields)).await;
        assert_eq!(response.status(), status, "{fields}");
        if status == 304 {
            assert_eq!(response.field("etag"), tag);
            assert_eq!(field(&response, "content-length"), None);
            assert_eq!(field(&response, "content-type"), None);
        }
    }
}

#[tokio::test]
async fn ranges_are_parts_of_what_is_there() {
    let long: String = (0..30_000).map(|n| format!("{n:05}\n")).collect();
    let folder = Folder::with(&[("a.txt", "0123456789"), ("long.txt", &long)]);
    let proxy = folder.shown(|_| {});
    let ranged = async |path: &str, range: &str| {
        let fields = format!("Range: {range}\r\n");
        proxy.ask(folder::ask("GET", path, &fields)).await
    };
    for (range, part, told) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=5-99", "56789", "bytes 5-9/10"),
    ] {
        let response = ranged("/a.txt", range).await;
        assert_eq!((response.status(), response.text()), (206, part), "{range}");
        assert_eq!(response.field("content-range"), told);
    }
    let part = ranged("/long.txt", "bytes=100000-169999").await;
    assert!(part.text() == &long[100_000..170_000]);
    let none = ranged("/a.txt", "bytes=10-").await;
    assert_eq!(
        (none.status(), none.field("content-range")),
        (416, "bytes */10")
    );
    assert_eq!(ranged("/a.txt", "lines=1-2").await.text(), "0123456789");

    let several = ranged("/long.txt", "bytes=0-4, 60000-60004,-6").await;
    assert_eq!(several.status(), 206);
    let kind = several.field("content-type");
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let boundary = boundary.trim_matches('"');
    let parts: Vec<_> = several.text().split(&format!("--{boundary}")).collect();
    assert_eq!(parts.len(), 5);
    assert!(parts[1].contains("Content-Range: bytes 0-4/180000\r\n\r\n00000\r\n"));
    assert!(parts[2].contains("Content-Range: bytes 60000-60004/180000\r\n\r\n10000\r\n"));
    assert!(parts[3].ends_with("\r\n\r\n29999\n\r\n"));
    assert_eq!(parts[4].trim(), "--");
    assert_eq!(field(&several, "content-range"), None);
}

#[tokio::test]
async fn a_range_of_what_has_changed_is_the_whole() {
    let folder = Folder::with(&[("a.txt", "0123456789")]);
    let proxy = folder.shown(|_| {});
    let tag = proxy.ask(folder::get("/a.txt")).await;
    let tag = tag.field("etag");
    for (tag, status) in [(tag, 206), ("\"old\"", 200)] {
        let fields = format!("Range: bytes=0-1\r\nIf-Range: {tag}\r\n");
        let response = proxy.ask(folder::ask("GET", "/a.txt", &fields)).await;
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn what_is_compressed_already_is_sent_to_who_takes_it() {
    let folder = Folder::with(&[
        ("a.js", "plain"),
        ("a.js.br", "brotli"),
        ("a.js.gz", "gzip"),
    ]);
    let proxy = folder.shown(|_| {});
    for (accepted, body, coding) in [
        ("gzip, br", "brotli", Some("br")),
        ("gzip;q=1, br;q=0.5", "gzip", Some("gzip")),
        ("zstd", "plain", None),
        ("br;q=0", "plain", None),
        ("*", "brotli", Some("br")),
    ] {
        let fields = format!("Accept-Encoding: {accepted}\r\n");
        let response = proxy.ask(folder::ask("GET", "/a.js", &fields)).await;
        assert_eq!(response.text(), body, "{accepted}");
        assert_eq!(field(&response, "content-encoding"), coding);
        assert_eq!(
            response.field("content-type"),
            "text/javascript; charset=utf-8"
        );
        assert_eq!(response.field("vary"), "accept-encoding");
    }
    let tag = |fields: &'static str| {
        let asked = folder::ask("GET", "/a.js", fields);
        async { proxy.ask(asked).await.field("etag").to_owned() }
    };
    let plain = tag("").await;
    let coded = tag("Accept-Encoding: br\r\n").await;
    assert!(plain != coded && coded.ends_with("-br\""), "{coded}");
    let ranged = "Accept-Encoding: br\r\nRange: bytes=0-2\r\n";
    let ranged = proxy.ask(folder::ask("GET", "/a.js", ranged)).await;
    assert_eq!((ranged.status(), ranged.text()), (206, "bro"));
}

#[tokio::test]
async fn a_sibling_that_is_older_is_of_another_file() {
    let folder = Folder::with(&[("a.js.gz", "old"), ("a.js", "new")]);
    folder.age("a.js.gz", 60);
    let proxy = folder.shown(|_| {});
    let fields = "Accept-Encoding: gzip\r\n";
    let response = proxy.ask(folder::ask("GET", "/a.js", fields)).await;
    assert_eq!(response.text(), "new");
}

#[tokio::test]
async fn what_is_worth_it_is_compressed() {
    let short = "a short text, said often. ".repeat(200);
    let long = "a long text, said very often. ".repeat(100_000);
    let files = [
        ("s.txt", &*short),
        ("l.txt", &*long),
        ("s.png", &*short),
        ("t.txt", "tiny"),
    ];
    let folder = Folder::with(&files);
    let proxy = folder.shown(|_| {});
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        let fields = "Accept-Encoding: gzip\r\n";
        client.send(folder::ask("GET", "/s.txt", fields)).await;
        let response = client.response().await;
        assert_eq!(response.field("content-encoding"), "gzip");
        assert!(response.field("etag").starts_with("W/\""));
        assert_eq!(field(&response, "accept-ranges"), None);
        assert!(folder::gunzip(&response.body) == short.as_bytes());
        client.send(folder::ask("GET", "/l.txt", fields)).await;
        let head = client.head().await;
        assert_eq!(support::field(&head, "transfer-encoding"), Some("chunked"));
        assert!(folder::gunzip(&client.chunks().await) == long.as_bytes());
    }
    let tag = proxy
        .ask(folder::get("/s.txt"))
        .await
        .field("etag")
        .to_owned();
    for (fields, path, status) in [
        ("", "/s.png", 200),
        ("", "/t.txt", 200),
        // A range is for a GET (RFC 9110 §14.2).
        ("Range: bytes=0-3\r\n", "/s.txt", 200),
        (&*format!("If-Match: {tag}\r\n"), "/s.txt", 200),
        (&*format!("If-None-Match: {tag}\r\n"), "/s.txt", 304),
        (&*format!("If-None-Match: {tag}\r\n"), "/l.txt", 200),
    ] {
        let fields = format!("Accept-Encoding: gzip\r\n{fields}");
        client.send(folder::ask("HEAD", path, &fields)).await;
        let head = client.head().await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{path} {fields} {head}"
        );
    }
}

#[tokio::test]
async fn nothing_is_compressed_where_that_is_off() {
    let text = "text ".repeat(1000);
    let folder = Folder::with(&[("a.txt", &*text), ("a.txt.gz", "gz")]);
    let proxy = folder.shown(|files| (files.compress, files.precompressed) = (false, false));
    let fields = "Accept-Encoding: gzip\r\n";
    let response = proxy.ask(folder::ask("GET", "/a.txt", fields)).await;
    assert_eq!(field(&response, "content-encoding"), None);
    assert_eq!(field(&response, "vary"), None);
}

#[tokio::test]
async fn what_is_hidden_or_outside_is_not_there() {
    let folder = Folder::with(&[
        (".env", "secret"),
        (".git/config", "secret"),
        (".well-known/acme-challenge/t", "token"),
        ("in.txt", "inside"),
        ("sub/f", "f"),
    ]);
    folder.outside("canary.txt", "canary");
    folder.link("out", "../canary.txt");
    folder.link("sub/in", "../in.txt");
    folder.link("absolute", folder.root().join("in.txt").to_str().unwrap());
    folder.link("loop", "loop");
    folder.pipe("pipe");
    let proxy = folder.shown(|_| {});
    for (path, status) in [
        ("/.env", 404),
        ("/.git/config", 404),
        ("/sub/../.env", 404),
        ("/%2eenv", 404),
        ("/.well-known/acme-challenge/t", 200),
        ("/out", 404),
        ("/absolute", 404),
        ("/loop", 404),
        ("/pipe", 404),
        ("/sub/in", 200),
        ("/sub//f", 404),
        ("//in.txt", 404),
        ("/sub%2Ff", 404),
        ("/in.txt%00", 400),
        ("/../canary.txt", 400),
        ("/sub/..%2f..%2fcanary.txt", 400),
        ("/in.txt/x", 404),
    ] {
        let response = proxy.ask(folder::get(path)).await;
        assert_eq!(response.status(), status, "{path}");
        assert!(!response.text().contains("canary") && !response.text().contains("secret"));
    }
}

#[tokio::test]
async fn which_links_are_followed_is_the_operators_choice() {
    let folder = Folder::with(&[("in.txt", "inside")]);
    folder.outside("canary.txt", "outside");
    folder.link("out", "../canary.txt");
    folder.link("in", "in.txt");
    for (links, out, inside) in [
        (Links::Inside, 404, 200),
        (Links::All, 200, 200),
        (Links::Off, 404, 404),
    ] {
        let proxy = folder.shown(|files| files.links = links);
        assert_eq!(
            proxy.ask(folder::get("/out")).await.status(),
            out,
            "{links:?}"
        );
        assert_eq!(
            proxy.ask(folder::get("/in")).await.status(),
            inside,
            "{links:?}"
        );
        assert_eq!(proxy.ask(folder::get("/in.txt")).await.status(), 200);
    }
}

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

#[tokio::test]
async fn a_listing_says_what_is_there() {
    let folder = Folder::with(&[
        ("b.txt", "bb"),
        ("a <i>.txt", "a"),
        (".hidden", ""),
        ("d/x", ""),
    ]);
    let proxy = folder.shown(|files| files.listing = true);
    let page = proxy.ask(folder::get("/")).await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.field("content-type"), "text/html; charset=utf-8");
    assert!(page.text().contains("b.txt") && !page.text().contains(".hidden<"));
    assert!(!page.text().contains("a <i>"));
    let json = proxy
        .ask(folder::ask("GET", "/", "Accept: application/json\r\n"))
        .await;
    assert_eq!(json.field("content-type"), "application/json");
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert!(json.to_string().contains("a <i>.txt"));
    assert_eq!(proxy.ask(folder::get("/d")).await.status(), 308);
    assert_eq!(proxy.ask(folder::get("/d/")).await.status(), 200);
    assert_eq!(proxy.ask(folder::get("/b.txt/")).await.status(), 404);
}

#[tokio::test]
async fn a_listing_is_compressed_as_any_text() {
    let names: Vec<_> = (0..100).map(|nth| format!("file-{nth:03}.txt")).collect();
    let folder = Folder::with(&names.iter().map(|name| (&**name, "")).collect::<Vec<_>>());
    let proxy = folder.shown(|files| files.listing = true);
    let listed = async |fields: &str| proxy.ask(folder::ask("GET", "/", fields)).await;
    for kind in ["text/html", "application/json"] {
        let fields = format!("Accept: {kind}\r\n");
        let plain = listed(&fields).await;
        let fields = format!("{fields}Accept-Encoding: gzip\r\n");
        for _ in 0..2 {
            let packed = listed(&fields).await;
            assert_eq!(packed.field("content-encoding"), "gzip");
            assert!(packed.body.len() < plain.body.len() / 2);
            assert!(folder::gunzip(&packed.body) == plain.body, "{kind}");
            assert!(packed.field("content-type").starts_with(kind));
            assert_eq!(field(&packed, "etag"), None);
            for response in [&plain, &packed] {
                assert_eq!(response.field("vary"), "accept, accept-encoding");
            }
        }
        assert_eq!(field(&plain, "content-encoding"), None);
    }
    // One that is as long says something else.
    std::fs::rename(folder.path("file-007.txt"), folder.path("file-xyz.txt")).unwrap();
    support::within(async {
        let is_new = |page: Response| {
            let page = folder::gunzip(&page.body);
            String::from_utf8(page).unwrap().contains("file-xyz.txt")
        };
        while !is_new(listed("Accept-Encoding: gzip\r\n").await) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let proxy = folder.shown(|files| (files.listing, files.compress) = (true, false));
    let plain = folder::ask("GET", "/", "Accept-Encoding: gzip\r\n");
    let plain = proxy.ask(plain).await;
    assert_eq!(field(&plain, "content-encoding"), None);
    assert_eq!(plain.field("vary"), "accept");
}

#[tokio::test]
async fn several_roots_have_their_prefixes() {
    let docs = Folder::with(&[
        ("a.txt", "docs"),
        ("index.html", "home"),
        ("private/x", "private"),
    ]);
    let main = Folder::with(&[("a.txt", "main"), ("docs/a.txt", "wrong")]);
    let proxy = main.shown_with(|draft, _| {
        let mut route = docs.route("/docs");
        route.rewrite.strip_prefix = Some("/docs".to_owned());
        let mut barred = docs.route("/docs/private");
        barred.matches.path = PathRule::Prefix("/docs/private".to_owned());
        barred.matches.methods = vec![hyper::Method::OPTIONS];
        draft.sites[0].routes.extend([route, barred]);
    });
    assert_eq!(proxy.ask(folder::get("/a.txt")).await.text(), "main");
    assert_eq!(proxy.ask(folder::get("/docs/a.txt")).await.text(), "docs");
    let folder = proxy.ask(folder::get("/docs?x")).await;
    assert_eq!(
        (folder.status(), folder.field("location")),
        (308, "/docs/?x")
    );
    assert_eq!(proxy.ask(folder::get("/docs/")).await.text(), "home");
    // Behind a slash more another route would be found than the file that is opened has.
    let around = proxy.ask(folder::get("/docs//private/x")).await;
    assert_eq!(around.status(), 404);
}

#[tokio::test]
async fn what_is_on_the_disk_is_what_is_sent() {
    let folder = Folder::with(&[("a.txt", "one"), ("big.bin", &"1".repeat(50_000))]);
    let proxy = folder.shown(|_| {});
    assert_eq!(proxy.ask(folder::get("/a.txt")).await.text(), "one");
    assert_eq!(
        proxy.ask(folder::get("/big.bin")).await.text(),
        "1".repeat(50_000)
    );
    folder.replace("a.txt", "two");
    folder.replace("big.bin", &"2".repeat(60_000));
    folder::until_answer(&proxy, "/a.txt", |response| response.text() == "two").await;
    folder::until_answer(&proxy, "/big.bin", |response| {
        response.text() == "2".repeat(60_000)
    })
    .await;
    folder.remove("a.txt");
    folder::until_answer(&proxy, "/a.txt", |response| response.status() == 404).await;
}

#[tokio::test]
async fn a_root_without_a_folder_is_our_fault() {
    let folder = Folder::with(&[("a.txt", "a")]);
    let proxy = folder.shown(|files| files.root.push("none"));
    assert_eq!(proxy.ask(folder::get("/a.txt")).await.status(), 500);
}

#[tokio::test]
async fn a_guarded_folder_is_guarded_in_every_spelling() {
    let folder = Folder::with(&[("team@x/a.txt", "secret"), ("{t}/a.txt", "secret")]);
    let proxy = folder.shown_with(|draft, _| {
        for path in ["/team@x", "/%7Bt%7D"] {
            let mut barred = folder.route(path);
            barred.users = Users::new([("ann", "pass")]);
            draft.sites[0].routes.push(barred);
        }
    });
    for path in [
        "/team@x/a.txt",
        "/team%40x/a.txt",
        "/{t}/a.txt",
        "/%7bt%7D/a.txt",
    ] {
        assert_eq!(proxy.ask(folder::get(path)).await.status(), 401, "{path}");
        let fields = "Authorization: Basic YW5uOnBhc3M=\r\n";
        let known = proxy.ask(folder::ask("GET", path, fields)).await;
        assert_eq!(known.text(), "secret", "{path}");
    }
    for path in ["//team@x/a.txt", "/team@x//a.txt", "//%7bt}//a.txt"] {
        assert_eq!(proxy.ask(folder::get(path)).await.status(), 401, "{path}");
    }
}

#[tokio::test]
async fn what_is_asked_for_at_once_comes_in_order() {
    let long = "long ".repeat(30_000);
    let folder = Folder::with(&[("long", &long), ("short", "short"), ("empty", "")]);
    let proxy = folder.shown(|_| {});
    let mut client = proxy.connect().await;
    let paths = [
        "/long", "/short", "/none", "/empty", "/long", "/long", "/short",
    ];
    let asked: Vec<_> = paths.iter().map(|path| folder::get(path)).collect();
    client.send(asked.concat()).await;
    for path in paths {
        let response = client.response().await;
        let (status, text) = match path {
            "/long" => (200, &*long),
            "/short" => (200, "short"),
            "/empty" => (200, ""),
            _ => (404, response.text()),
        };
        assert!(
            response.status() == status && response.text() == text,
            "{path}"
        );
    }
}

#[tokio::test]
async fn http2_has_the_same_files() {
    let long: String = (0..100_000).map(|n| format!("{n:06}\n")).collect();
    let folder = Folder::with(&[("long", &long), ("short", "short")]);
    let proxy = folder.shown_with(|draft, _| draft.sites[0].h2c = true);
    let client = H2::connect(proxy.address).await;
    for _ in 0..2 {
        let answer = client.get("/long").await;
        assert!(answer.status() == 200 && answer.text() == long);
        assert_eq!(answer.field("content-length"), Some("700000"));
        assert_eq!(client.get("/short").await.text(), "short");
        assert_eq!(client.get("/none").await.status(), 404);
        // What has no body must have none, or the stream ends in an error.
        for (path, status) in [("/long", 200), ("/none", 404), ("/.hidden", 404)] {
            let mut head = h2_support::get(path);
            *head.method_mut() = hyper::Method::HEAD;
            let answer = client.ask(head).await.unwrap();
            assert_eq!((answer.status(), answer.text()), (status, ""), "{path}");
            assert!(answer.field("content-length").is_some());
        }
    }
}

#[tokio::test]
async fn an_empty_file_has_no_parts() {
    let folder = Folder::with(&[("empty", "")]);
    let proxy = folder.shown(|_| {});
    for range in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
        let fields = format!("Range: {range}\r\n");
        let response = proxy.ask(folder::ask("GET", "/empty", &fields)).await;
        assert_eq!((response.status(), response.text()), (200, ""), "{range}");
    }
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
async fn a_date_is_no_name_for_one_of_several_forms() {
    let folder = Folder::with(&[("a.txt", "0123456789"), ("a.png", "0123456789")]);
    let proxy = folder.shown(|_| {});
    for (path, fields, status) in [
        ("/a.txt", "", 206),
        ("/a.txt", "Accept-Encoding: identity\r\n", 206),
        ("/a.txt", "Accept-Encoding: gzip\r\n", 200),
        ("/a.png", "Accept-Encoding: gzip\r\n", 206),
    ] {
        let first = proxy.ask(folder::get(path)).await;
        let date = first.field("last-modified");
        let fields = format!("{fields}Range: bytes=2-3\r\nIf-Range: {date}\r\n");
        let response = proxy.ask(folder::ask("GET", path, &fields)).await;
        assert_eq!(response.status(), status, "{path} {fields}");
    }
}
