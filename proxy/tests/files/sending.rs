//! What is sent of a file, and what else there is at a path.

use risefall_proxy::plan::site::PathRule;

use super::folder::{self, Folder};
use super::h2_support::{self, H2};
use super::support;

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
