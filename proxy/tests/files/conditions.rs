//! Conditions and ranges: what of a file a request wants, and whether it wants it.

use super::field;
use super::folder::{self, Folder};

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
