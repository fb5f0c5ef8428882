//! Who is sent which form of a file.

use super::folder::{self, Folder};
use super::{field, support};

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
