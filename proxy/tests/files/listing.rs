//! Folders that are listed.

use super::field;
use super::folder::{self, Folder};
use super::support::{self, Response};

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
