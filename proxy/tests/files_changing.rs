//! Files that change while they are sent: what was promised is sent, or the connection is cut.

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

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};

use folder::Folder;
use h2_support::{H2, drain, get};
use risefall_proxy::telemetry::counters::FAULTS;
use support::{Client, Proxy, field, within};
use tokio::io::AsyncReadExt as _;

/// Far more than sockets take.
const LEN: usize = 48 * 1024 * 1024;

/// A long file, and a client that has its head and waits with the rest.
async fn begun() -> (Folder, Proxy, Client) {
    let folder = Folder::with(&[]);
    fs::write(folder.path("long"), "a".repeat(LEN)).unwrap();
    let proxy = folder.shown(|_| {});
    let mut client = proxy.connect().await;
    client.send(folder::get("/long")).await;
    let head = client.head().await;
    assert_eq!(field(&head, "content-length"), Some(&*LEN.to_string()));
    (folder, proxy, client)
}

/// What comes of the body, until all of it is there or the connection ends.
async fn rest(client: &mut Client) -> Vec<u8> {
    let mut body = std::mem::take(&mut client.bytes);
    let mut buffer = vec![0; 1024 * 1024];
    while body.len() < LEN {
        let read = within(client.stream.read(&mut buffer)).await.unwrap_or(0);
        if read == 0 {
            break;
        }
        body.extend_from_slice(&buffer[..read]);
    }
    body
}

#[tokio::test]
async fn a_file_that_is_replaced_or_removed_is_sent_as_it_was() {
    for change in [
        |folder: &Folder| folder.replace("long", "new"),
        |folder: &Folder| folder.remove("long"),
    ] {
        let (folder, _proxy, mut client) = begun().await;
        change(&folder);
        let body = rest(&mut client).await;
        assert!(body.len() == LEN && body.iter().all(|&byte| byte == b'a'));
    }
}

#[tokio::test]
async fn a_file_that_grows_is_sent_as_far_as_was_promised() {
    let (folder, _proxy, mut client) = begun().await;
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(folder.path("long"))
        .unwrap();
    file.write_all(b"more").unwrap();
    let body = rest(&mut client).await;
    assert!(body.len() == LEN && body.iter().all(|&byte| byte == b'a'));
    // The connection is as good as before.
    client.send(folder::ask("HEAD", "/long", "")).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_file_that_shrinks_is_cut() {
    let (folder, proxy, mut client) = begun().await;
    let file = fs::OpenOptions::new()
        .write(true)
        .open(folder.path("long"))
        .unwrap();
    file.set_len(LEN as u64 - 1).unwrap();
    assert!(rest(&mut client).await.len() < LEN);
    is_told_and_counted(&proxy).await;
}

/// Whether the log has the reason of one cut, which is not that of a client that leaves, and no other.
async fn is_told_and_counted(proxy: &Proxy) {
    let lines = proxy.lines(1).await;
    assert!(lines[0].ends_with(" file_changed"), "{lines:?}");
    let counters = proxy.running().counters();
    let counted = FAULTS.iter().enumerate().filter_map(|(nth, fault)| {
        let count: u64 = counters.iter().map(|one| one.faults[nth].get()).sum();
        (count > 0).then_some((*fault, count))
    });
    assert_eq!(counted.collect::<Vec<_>>(), [("file_changed", 1)]);
}

#[tokio::test]
async fn a_file_that_is_written_anew_in_place_is_cut() {
    for len in [LEN, LEN + 1] {
        let (folder, proxy, mut client) = begun().await;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .open(folder.path("long"))
            .unwrap();
        if len > LEN {
            file.set_len(0).unwrap();
        }
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all("b".repeat(len).as_bytes()).unwrap();
        assert!(rest(&mut client).await.len() < LEN);
        drop(client);
        is_told_and_counted(&proxy).await;
        // It is a new file for whoever asks now.
        folder::until_answer_head(&proxy, "/long", |head| {
            field(head, "content-length") == Some(&*len.to_string())
        })
        .await;
    }
}

#[tokio::test]
async fn by_http2_it_is_the_same() {
    for (is_cut, change) in [
        (
            false,
            (|folder: &Folder| folder.replace("long", "new")) as fn(&Folder),
        ),
        (true, |folder: &Folder| {
            let file = fs::OpenOptions::new().write(true).open(folder.path("long"));
            file.unwrap().write_all(b"b").unwrap();
        }),
    ] {
        let folder = Folder::with(&[]);
        fs::write(folder.path("long"), "a".repeat(LEN / 8)).unwrap();
        let proxy = folder.shown_with(|draft, _| draft.sites[0].h2c = true);
        let client = H2::connect(proxy.address).await;
        let response = client.begin(get("/long"), true).await.0;
        let mut body = within(response).await.unwrap().into_body();
        // More than the client has said that it takes is not read yet.
        change(&folder);
        match drain(&mut body).await {
            Ok((bytes, _)) => assert!(!is_cut && bytes == "a".repeat(LEN / 8).as_bytes()),
            Err(error) => {
                assert!(is_cut && error.is_reset(), "{error}");
                is_told_and_counted(&proxy).await;
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_was_saved_in_place_is_compressed_as_it_is_now() {
    let folder = Folder::with(&[("a.txt", &"old ".repeat(20_000))]);
    let proxy = folder.shown(|_| {});
    // From now on it is known, and not compressed yet.
    assert_eq!(proxy.ask(folder::get("/a.txt")).await.status(), 200);
    let text = "new ".repeat(10_000);
    fs::write(folder.path("a.txt"), &text).unwrap();
    let asked = folder::ask("GET", "/a.txt", "Accept-Encoding: gzip\r\n");
    let response = proxy.ask(asked).await;
    assert_eq!(response.status(), 200, "{}", response.head);
    assert_eq!(response.field("content-encoding"), "gzip");
    assert!(folder::gunzip(&response.body) == text.as_bytes());
}
