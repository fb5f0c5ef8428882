//! Targets that try to leave a root or to see what is hidden in it: none shows the canary.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "support/folder.rs"]
mod folder;
mod support;

use std::os::unix::net::UnixListener;

use folder::Folder;
use support::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const CANARY: &str = "canary-sings-7c1e";
const CORPUS: &str = include_str!("corpus/traversal.txt");
/// What has to be seen, so that no canary means something.
const SHOWN: [&str; 4] = ["/", "/page.html", "/sub/deep/leaf.txt", "/files/page.html"];

/// The folder that the corpus describes.
fn laid_out() -> Folder {
    let sung = format!(".{CANARY}");
    let hidden = [
        &*sung,
        ".env",
        ".htpasswd",
        ".canary.html",
        ".git/config",
        ".hidden/canary.txt",
        ".well-known/.env",
        "sub/.secret",
        "sub/.well-known/canary.txt",
    ];
    let shown = [
        "index.html",
        "page.html",
        "leak.js",
        "sub/deep/leaf.txt",
        ".well-known/seen.txt",
    ];
    let hidden = hidden.iter().map(|name| (*name, CANARY));
    let files: Vec<_> = hidden.chain(shown.map(|name| (name, "shown\n"))).collect();
    let folder = Folder::with(&files);
    let base = folder.base().to_owned();
    for name in [
        CANARY,
        "canary.txt",
        "canary.txt.br",
        "secret/canary.txt",
        "root-private/canary.txt",
    ] {
        folder.outside(name, CANARY);
    }
    std::fs::create_dir(folder.path("led")).unwrap();
    for (name, to) in [
        ("inside", "sub"),
        ("out", "../canary.txt"),
        ("out-absolute", base.join("canary.txt").to_str().unwrap()),
        ("out-twice", "out"),
        ("up", ".."),
        ("top", "/"),
        ("sub/up", "../../secret"),
        ("through", "sub/up/canary.txt"),
        ("leak.js.br", "../canary.txt"),
        ("led/index.html", "../../canary.txt"),
        ("self", "/proc/self"),
        ("loop", "loop"),
    ] {
        folder.link(name, to);
    }
    folder.pipe("pipe");
    drop(UnixListener::bind(folder.path("socket")).unwrap());
    folder
}

#[tokio::test]
async fn no_target_shows_what_is_outside_or_hidden() {
    let folder = laid_out();
    for is_listed in [false, true] {
        let proxy = folder.shown_with(|draft, files| {
            let mut route = folder.route("/files");
            route.rewrite.strip_prefix = Some("/files".to_owned());
            draft.sites[0].routes.push(route);
            files.listing = is_listed;
        });
        let ask = async |target: &str| {
            let mut client = proxy.connect().await;
            let asked = format!(
                "GET {target} HTTP/1.1\r\nHost: files.test\r\nAccept-Encoding: br, gzip\r\n\
                 Connection: close\r\n\r\n"
            );
            let _ = within(client.stream.write_all(asked.as_bytes())).await;
            let mut came = Vec::new();
            // It may have had enough before all was sent.
            let _ = within(client.stream.read_to_end(&mut came)).await;
            String::from_utf8_lossy(&came).into_owned()
        };
        let base = folder.base().to_str().unwrap();
        let lines = CORPUS.lines();
        let targets = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut count = 0;
        for target in targets {
            let target = target.replace("{base}", base);
            let came = ask(&target).await;
            assert!(!came.contains(CANARY), "{target}: {came}");
            let status = came.get(9..12).unwrap_or("400");
            assert!(("200".."500").contains(&status), "{target}: {came}");
            let location = support::field(&came, "location").unwrap_or("/x");
            let (first, second) = (location.get(..1), location.get(1..2));
            assert!(
                first == Some("/") && !matches!(second, Some("/" | "\\")),
                "{target}: {came}"
            );
            if status.starts_with('2') && !is_listed {
                assert!(came.ends_with("\r\n\r\nshown\n"), "{target}: {came}");
            }
            count += 1;
        }
        assert!(count > 500, "{count}");
        for target in SHOWN {
            assert!(ask(target).await.ends_with("shown\n"), "{target}");
        }
    }
}
