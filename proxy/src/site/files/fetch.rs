//! What is asked of the disk, and what it says.
//!
//! All of it can be asked on the worker's thread, for what is in memory, or on another one, which
//! may wait. An answer is made by a function that does not wait itself: where it meets what is not
//! there yet it says what it [needs](Need) and is called again when that has been [got](Got).

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rustix::fs::fstat;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::encode;
use super::listing::{self, Order};
use super::open::{How, Look, Root, path_of};
use super::shelf::Item;
use crate::plan::files::{Files, Links};
use crate::proto::coding::Coding;
use crate::serve::file::{Changed, OpenFile, Stamp, Whereabouts, is_file};

/// Why there is no answer yet.
pub(super) enum Stop {
    /// This has to be got first.
    Need(Need),
    /// The system has failed.
    Failed(io::Error),
}

/// What has to be waited for.
pub(super) enum Need {
    /// The root itself.
    Root(PathBuf, Links),
    /// What is at a name, unless it is what it was.
    Thing(Arc<Root>, Box<[u8]>, Option<Stamp>),
    /// A file's bytes, compressed; one of the jobs of that kind that there may be.
    Packed(Box<[u8]>, Raw, Coding, Arc<()>),
    /// What is in a folder, as it is shown.
    Listing(Arc<Root>, Box<[u8]>, Arc<Files>, View),
}

/// How a folder is shown.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// The path that was asked for.
    pub(super) path: Box<str>,
    pub(super) order: Order,
    pub(super) is_json: bool,
}

/// What was waited for.
pub(super) enum Got {
    Root(io::Result<Root>),
    Thing(Box<[u8]>, Fetched, Instant),
    /// `None` if it did not become shorter.
    Packed(Box<[u8]>, Coding, Option<Bytes>),
    /// The file was written to before it could be compressed.
    Changed(Box<[u8]>),
    Listing(View, Result<String, Look>, Instant),
}

/// What is at a name.
pub(super) enum Fetched {
    /// A file that is what it was.
    Same,
    /// A file.
    File(Stamp, Raw),
    /// A folder.
    Folder,
    /// Nothing.
    Missing,
    /// Something that we may not read.
    Denied,
}

/// What of a file is kept.
#[derive(Clone)]
pub(super) enum Raw {
    /// All of its bytes.
    Bytes(Bytes),
    /// The file, open.
    File(Arc<OpenFile>),
}

/// What was found for a request so far.
#[derive(Default)]
pub(super) struct Memo {
    /// Things by their names, whether a shelf has them or not.
    pub(super) things: Vec<(Box<[u8]>, Thing)>,
    /// What is asked for again: it may be off the shelf by the time that it is known to be the same.
    pub(super) kept: Option<Rc<Item>>,
    /// How many times a file was written to before it could be compressed.
    pub(super) changes: u8,
}

/// What is at a name, as a request needs it.
#[derive(Clone)]
pub(super) enum Thing {
    File(Rc<Item>),
    Folder,
    Missing,
    Denied,
}

/// Finds what is at `name`.
pub(super) fn fetch(
    root: &Root,
    name: &[u8],
    kept: Option<Stamp>,
    how: How,
) -> io::Result<Fetched> {
    match root.look(name, how)? {
        Look::File(stamp) if kept == Some(stamp) => return Ok(Fetched::Same),
        Look::File(_) => {}
        Look::Folder => return Ok(Fetched::Folder),
        Look::Missing => return Ok(Fetched::Missing),
        Look::Denied => return Ok(Fetched::Denied),
    }
    let file = match root.open_file(name, how) {
        Ok(file) => file,
        Err(error) => return means(error),
    };
    let stat = fstat(&file)?;
    if !is_file(&stat) {
        // It has become something else since.
        return Ok(Fetched::Missing);
    }
    let stamp = Stamp::of(&stat);
    let open = OpenFile::new(file, stamp, how == How::Waiting)?;
    if stamp.len <= SMALL {
        let is_at_hand = stamp.len == 0
            || how == How::Waiting
            || open.whereabouts(0, stamp.len) == Whereabouts::Memory;
        if !is_at_hand {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = usize::try_from(stamp.len).unwrap_or(0);
        // What is written to this very moment is sent from the file, which is watched.
        if let Ok(bytes) = open.read(0, len)
            && open.check().is_ok()
        {
            return Ok(Fetched::File(stamp, Raw::Bytes(bytes.into())));
        }
    }
    Ok(Fetched::File(stamp, Raw::File(Arc::new(open))))
}

/// What a failed opening says, behind a look that did not fail.
fn means(error: io::Error) -> io::Result<Fetched> {
    match super::open::means(&error) {
        Some(Look::Denied) => Ok(Fetched::Denied),
        Some(_) => Ok(Fetched::Missing),
        None => Err(error),
    }
}

impl Need {
    /// Gets it on a thread that may wait, as one of `jobs`: whoever has gone leaves no more behind
    /// than that.
    ///
    /// # Cancel safety
    ///
    /// What is under way ends by itself, and nobody has it.
    pub(super) async fn get(self, jobs: &Arc<Semaphore>) -> io::Result<Got> {
        let permit = Arc::clone(jobs).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let got = spawn_blocking(move || {
            let _permit = permit;
            self.get_now()
        })
        .await;
        got.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    pub(super) fn get_now(self) -> io::Result<Got> {
        // What is found is as old as the question.
        let now = Instant::now();
        Ok(match self {
            Self::Root(path, links) => Got::Root(Root::open(&path, links, How::Waiting)),
            Self::Thing(root, name, kept) => {
                let fetched = fetch(&root, &name, kept, How::Waiting)?;
                Got::Thing(name, fetched, now.min(root.opened()))
            }
            Self::Packed(name, raw, coding, _place) => {
                let bytes = match raw.read() {
                    Ok(bytes) => bytes,
                    Err(error) if Changed::is_in(&error) => return Ok(Got::Changed(name)),
                    Err(error) => return Err(error),
                };
                let packed = encode::whole(coding, &bytes)?;
                let packed = (packed.len() < bytes.len()).then(|| Bytes::from(packed));
                Got::Packed(name, coding, packed)
            }
            Self::Listing(root, name, files, view) => {
                let shown = view.show(&root, &name, &files)?;
                Got::Listing(view, shown, now.min(root.opened()))
            }
        })
    }
}

impl View {
    fn show(&self, root: &Root, name: &[u8], files: &Files) -> io::Result<Result<String, Look>> {
        let entries = root
            .open_folder(name)
            .and_then(|folder| listing::read(root.dir(), path_of(name), &folder, files));
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return super::open::means(&error).map(Err).ok_or(error),
        };
        let write = if self.is_json {
            listing::json
        } else {
            listing::html
        };
        Ok(Ok(write(&self.path, &entries, self.order)))
    }

    /// The name under which the shelf has it; no file has such a name.
    pub(super) fn key(&self) -> Vec<u8> {
        let how = format!("\0/{:?}{}", self.order, self.is_json);
        [how.as_bytes(), self.path.as_bytes()].concat()
    }
}

impl Raw {
    fn read(&self) -> io::Result<Bytes> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(file) => {
                let len = usize::try_from(file.stamp().len).unwrap_or(usize::MAX);
                let bytes = file.read(0, len)?;
                file.check()?;
                Ok(bytes.into())
            }
        }
    }
}

impl Memo {
    pub(super) fn find(&self, name: &[u8]) -> Option<Thing> {
        let found = self.things.iter().find(|(known, _)| **known == *name);
        found.map(|(_, thing)| thing.clone())
    }

    pub(super) fn put(&mut self, name: Box<[u8]>, thing: Thing) {
        self.take(&name);
        self.things.push((name, thing));
    }

    pub(super) fn take(&mut self, name: &[u8]) -> Option<Thing> {
        let mut known = self.things.iter();
        let place = known.position(|(known, _)| **known == *name)?;
        Some(self.things.swap_remove(place).1)
    }
}

/// Up to here a file is kept with all its bytes: one write sends it with its head.
pub(super) const SMALL: u64 = 16 * 1024;
