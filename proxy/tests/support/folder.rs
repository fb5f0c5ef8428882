//! A folder with files, and a site that shows it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use risefall_proxy::plan::files::Files;
use risefall_proxy::plan::site::PathRule;
use risefall_proxy::plan::{ActionDraft, Draft, RouteDraft, SiteDraft};
use tempfile::TempDir;

use crate::support::{Proxy, Response, policy, within};

/// A root within a folder that nobody may see.
pub struct Folder(TempDir);

impl Folder {
    pub fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(TempDir::new().unwrap());
        fs::create_dir(folder.root()).unwrap();
        for (name, text) in files {
            let path = folder.root().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    pub fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    /// What the root is in.
    pub fn base(&self) -> &Path {
        self.0.path()
    }

    /// A file beside the root.
    pub fn outside(&self, name: &str, text: &str) {
        let path = self.base().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn link(&self, name: &str, to: &str) {
        std::os::unix::fs::symlink(to, self.root().join(name)).unwrap();
    }

    pub fn pipe(&self, name: &str) {
        let mode = rustix::fs::Mode::RUSR;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, self.root().join(name), kind, mode, 0).unwrap();
    }

    /// Puts another file in the place of one.
    pub fn replace(&self, name: &str, text: &str) {
        let beside = self.0.path().join("new");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.root().join(name)).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.root().join(name)).unwrap();
    }

    /// Makes a file older.
    pub fn age(&self, name: &str, seconds: u64) {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(self.path(name))
            .unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        let time: SystemTime = modified - Duration::from_secs(seconds);
        file.set_modified(time).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// A route that shows it.
    pub fn route(&self, path: &str) -> RouteDraft {
        let action = ActionDraft::Files(Files::of(self.root()));
        RouteDraft::of(PathRule::Prefix(path.to_owned()), action)
    }

    /// A site that shows it.
    pub fn shown(&self, change: impl FnOnce(&mut Files)) -> Proxy {
        self.shown_with(|_, files| change(files))
    }

    /// The same, and more.
    pub fn shown_with(&self, change: impl FnOnce(&mut Draft, &mut Files)) -> Proxy {
        Proxy::with(policy(), |draft| {
            draft.forwards.clear();
            let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
            draft.sites.push(SiteDraft::on("shop", listen, Vec::new()));
            let mut files = Files::of(self.root());
            change(draft, &mut files);
            let path = PathRule::Prefix("/".to_owned());
            let route = RouteDraft::of(path, ActionDraft::Files(files));
            draft.sites[0].routes.insert(0, route);
        })
    }
}

pub fn get(path: &str) -> String {
    ask("GET", path, "")
}

pub fn ask(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n")
}

pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(bytes);
    decoder.read_to_end(&mut plain).unwrap();
    plain
}

/// Asks until the answer is as it should be.
pub async fn until_answer(proxy: &Proxy, path: &str, is_done: impl Fn(&Response) -> bool) {
    within(async {
        while !is_done(&proxy.ask(get(path)).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// The same for a HEAD.
pub async fn until_answer_head(proxy: &Proxy, path: &str, is_done: impl Fn(&str) -> bool) {
    within(async {
        loop {
            let mut client = proxy.connect().await;
            client.send(ask("HEAD", path, "")).await;
            if is_done(&client.head().await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
