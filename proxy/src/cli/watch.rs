//! Watching the configuration's files.
//!
//! Folders are watched, not files: an editor writes a new file and renames it, a container's
//! configuration is a link that is exchanged. A change may come in pieces, so it is looked at when
//! nothing has happened for a while; and it is one only if the files say something else.

use std::path::PathBuf;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::source::Source;

/// Watches, or waits for ever.
pub(super) struct Watch {
    watching: Option<Watching>,
    fingerprint: u64,
}

struct Watching {
    _watcher: RecommendedWatcher,
    folders: Vec<PathBuf>,
    changes: mpsc::Receiver<()>,
    /// Whether something has happened that nobody has looked at.
    is_pending: bool,
}

impl Watch {
    /// Watches the files of `source`, if it `is_wanted`. What was read of them has `fingerprint`.
    pub(super) fn new(source: &Source, is_wanted: bool, fingerprint: u64) -> Self {
        let mut watch = Self {
            watching: None,
            fingerprint,
        };
        watch.follow(source, is_wanted, fingerprint);
        watch
    }

    /// Watches what `source` consists of now.
    pub(super) fn follow(&mut self, source: &Source, is_wanted: bool, fingerprint: u64) {
        self.fingerprint = fingerprint;
        let look = source.look().filter(|_| is_wanted);
        let Some(look) = look else {
            self.watching = None;
            return;
        };
        let now = self.watching.as_ref();
        if now.is_some_and(|now| now.folders == look.folders) {
            return;
        }
        match watching(look.folders) {
            Ok(watching) => self.watching = Some(watching),
            Err(error) => {
                tracing::error!(%error, "the configuration's files cannot be watched");
            }
        }
    }

    /// Ready when something has happened in the folders, and nothing since for a while.
    ///
    /// # Cancel safety
    ///
    /// What has happened is not forgotten; the while begins anew.
    pub(super) async fn settled(&mut self) {
        let Some(watching) = &mut self.watching else {
            return std::future::pending().await;
        };
        if !watching.is_pending && watching.changes.recv().await.is_none() {
            return std::future::pending().await;
        }
        watching.is_pending = true;
        while let Ok(Some(())) = tokio::time::timeout(SETTLE, watching.changes.recv()).await {}
        watching.is_pending = false;
    }

    /// Whether the files say something else than when this was asked last.
    pub(super) fn has_changed(&mut self, source: &Source) -> bool {
        // A file that is not there in the middle of an exchange says nothing.
        let Some(now) = source.look() else {
            return false;
        };
        std::mem::replace(&mut self.fingerprint, now.fingerprint) != now.fingerprint
    }
}

fn watching(folders: Vec<PathBuf>) -> notify::Result<Watching> {
    let (happened, changes) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading them is no change; and one that waits already stands for all.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = happened.try_send(());
        }
    })?;
    for folder in &folders {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(Watching {
        _watcher: watcher,
        folders,
        changes,
        // It may have happened between reading the files and watching them.
        is_pending: true,
    })
}

const SETTLE: Duration = Duration::from_millis(200);
