//! Static files: from the path of a request to what is answered.
//!
//! - [`path`]: from the path of a request to a name, which has one reading only.
//! - [`open`]: what is at that name beneath the root, and nothing else.
//! - `fetch`: what is asked of the disk, on this thread or on one that may wait.
//! - `shelf`: what was asked for lately, ready to be sent.
//! - `choose`: which file is for a request, and in which form it is sent.
//! - `reply`: the response with it: conditions, ranges, fields.
//! - `cors`: whether pages of other origins may read it.
//! - [`foresee`]: what would be answered, for who asks beforehand.
//! - [`kind`], [`cache_rule`], [`encode`], [`listing`]: what a file is, how long it may be kept by
//!   others, how it is compressed, and how a folder looks.

pub mod cache_rule;
mod choose;
mod cors;
pub mod encode;
mod fetch;
pub mod foresee;
pub mod kind;
pub mod listing;
pub mod open;
mod packing;
pub mod path;
mod reply;
mod shelf;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use hyper::header::{ALLOW, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};
use tokio::sync::Semaphore;

use super::answer::{self, Questioner};
use super::target::Asked;
use crate::error::{Fault, is_exhausted};
use crate::plan::files::Files;
use crate::serve::body::Reply;
use crate::serve::headers::Seen;
use crate::serve::session::Session;
use choose::Choice;
use fetch::{Fetched, Got, Memo, Need, Raw, Stop, Thing};
use open::{How, Root};
use packing::Packings;
use shelf::{Content, Item, Shelf};

pub use shelf::FRESH;

/// A folder that a route shows, as one worker has it.
pub struct Folder {
    files: Arc<Files>,
    root: RefCell<Option<Arc<Root>>>,
    shelf: Shelf,
    packings: Packings,
    /// How many pages were made of folders.
    pages: Cell<u64>,
    /// What other threads may do at a time.
    jobs: Arc<Semaphore>,
    /// As many of them as compress.
    packers: Arc<()>,
}

/// What a request asks for.
pub(super) struct Ask<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    /// Which fields are there.
    pub(super) seen: Seen,
    pub(super) asked: &'a Asked,
    /// The path that is looked for below the root.
    pub(super) path: &'a str,
    pub(super) questioner: &'a Questioner,
    pub(super) session: &'a Rc<Session>,
}

/// A page for answers with a status, and its name.
type Page<'a> = (Cow<'a, [u8]>, Rc<Item>);

/// What of a request tells which file is for it, and in which form.
#[derive(Clone, Copy)]
struct Wish<'a> {
    /// The path that was routed.
    asked: &'a str,
    /// The path that is looked for below the root.
    path: &'a str,
    headers: &'a HeaderMap,
    /// Which fields are there.
    seen: Seen,
}

/// An answer that is waited for: what has been found, and what is missing.
pub(super) struct Wait {
    memo: Memo,
    need: Need,
}

/// An answer, or what it waits for.
pub(super) enum Step {
    Done(Response<Reply>),
    Wait(Box<Wait>),
}

impl Folder {
    /// Shows `files`; keeps up to `bytes` of them. A task sweeps what is kept until the folder is
    /// dropped; it needs a local set.
    #[must_use]
    pub fn show(files: &Arc<Files>, bytes: usize) -> Rc<Self> {
        let folder = Rc::new(Self::new(files, bytes));
        let swept = Rc::downgrade(&folder);
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(shelf::HELD).await;
                let Some(folder) = swept.upgrade() else {
                    return;
                };
                folder.shelf.sweep(Instant::now());
            }
        });
        folder
    }

    fn new(files: &Arc<Files>, bytes: usize) -> Self {
        Self {
            files: Arc::clone(files),
            root: RefCell::default(),
            shelf: Shelf::new(bytes),
            packings: Packings::default(),
            pages: Cell::new(0),
            jobs: Arc::new(Semaphore::new(JOBS_MOST)),
            packers: Arc::default(),
        }
    }

    /// Answers, if that can be done without waiting.
    pub(super) fn answer(&self, ask: &Ask<'_>) -> Result<Step, Fault> {
        self.step(ask, Memo::default())
    }

    /// Waits for what an answer needs, and answers.
    ///
    /// # Cancel safety
    ///
    /// What is under way ends by itself; nothing is lost.
    pub(super) async fn wait(
        &self,
        ask: &Ask<'_>,
        mut wait: Box<Wait>,
    ) -> Result<Response<Reply>, Fault> {
        for _ in 0..NEEDS_MOST {
            let got = wait.need.get(&self.jobs).await.map_err(Fault::of_file)?;
            self.take(got, &mut wait.memo)?;
            match self.step(ask, wait.memo)? {
                Step::Done(response) => return Ok(response),
                Step::Wait(next) => wait = next,
            }
        }
        Err(endless())
    }

    fn step(&self, ask: &Ask<'_>, mut memo: Memo) -> Result<Step, Fault> {
        let now = Instant::now();
        match self.respond(ask, &mut memo, now) {
            Ok(response) => Ok(Step::Done(response)),
            Err(Stop::Need(need)) => Ok(Step::Wait(Box::new(Wait { memo, need }))),
            Err(Stop::Failed(error)) => Err(Fault::of_file(error)),
        }
    }

    fn respond(
        &self,
        ask: &Ask<'_>,
        memo: &mut Memo,
        now: Instant,
    ) -> Result<Response<Reply>, Stop> {
        let mut response = match *ask.method {
            Method::GET | Method::HEAD => match self.choose(ask.wish(), memo, now)? {
                Choice::Item(name, item) => self.present(ask, &name, &item, memo, now)?,
                Choice::Slash => slash(ask),
                Choice::Listing(name) => self.list(ask, &name, memo, now)?,
                Choice::Nothing(status) => self.refuse(status, ask, memo, now)?,
            },
            Method::OPTIONS => options(ask),
            _ => {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                let mut response = self.refuse(status, ask, memo, now)?;
                let headers = response.headers_mut();
                headers.insert(ALLOW, HeaderValue::from_static(METHODS));
                response
            }
        };
        self.allow_origin(ask.method, ask.headers, &mut response);
        Ok(response)
    }

    /// What is at `name`: as it was found for this request, as it is kept, or as the disk has it.
    fn find(&self, name: &[u8], memo: &mut Memo, now: Instant) -> Result<Thing, Stop> {
        if let Some(thing) = memo.find(name) {
            return Ok(thing);
        }
        let kept = self.shelf.find(name);
        if let Some(item) = &kept
            && item.is_fresh(now)
        {
            return Ok(Thing::File(Rc::clone(item)));
        }
        let root = self.root(now)?;
        let stamp = kept.as_ref().map(|item| item.stamp);
        match fetch::fetch(&root, name, stamp, How::AtOnce) {
            Ok(fetched) => Ok(self.settle(name, fetched, kept, now.min(root.opened()))),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                memo.kept = kept;
                Err(Stop::Need(Need::Thing(root, name.into(), stamp)))
            }
            Err(error) => Err(Stop::Failed(error)),
        }
    }

    /// The root, opened again when it has not been for a while: what its path leads to may have
    /// changed.
    fn root(&self, now: Instant) -> Result<Arc<Root>, Stop> {
        if let Some(root) = &*self.root.borrow()
            && now.saturating_duration_since(root.opened()) < FRESH
        {
            return Ok(Arc::clone(root));
        }
        let (path, links) = (&self.files.root, self.files.links);
        match Root::open(path, links, How::AtOnce) {
            Ok(root) => Ok(self.enter(root)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                Err(Stop::Need(Need::Root(path.clone(), links)))
            }
            Err(error) => Err(Stop::Failed(self.no_root(error))),
        }
    }

    fn enter(&self, root: Root) -> Arc<Root> {
        let mut held = self.root.borrow_mut();
        if let Some(old) = &*held
            && !old.is_same(&root)
        {
            self.shelf.clear();
        }
        let root = Arc::new(root);
        *held = Some(Arc::clone(&root));
        root
    }

    fn no_root(&self, error: std::io::Error) -> std::io::Error {
        if is_exhausted(&error) {
            // That says nothing of the root.
            return error;
        }
        let root = self.files.root.display();
        std::io::Error::new(error.kind(), format!("root {root}: {error}"))
    }

    /// Puts what was got where the next step finds it.
    fn take(&self, got: Got, memo: &mut Memo) -> Result<(), Fault> {
        match got {
            Got::Root(root) => {
                let root = root.map_err(|error| Fault::of_file(self.no_root(error)))?;
                self.enter(root);
            }
            Got::Thing(name, fetched, as_of) => {
                let thing = self.settle(&name, fetched, memo.kept.take(), as_of);
                memo.put(name, thing);
            }
            Got::Packed(name, coding, packed) => self.keep_packed(&name, coding, packed, memo),
            Got::Changed(name) => self.drop_changed(&name, memo),
            Got::Listing(view, shown, as_of) => self.keep_listing(&view, shown, memo, as_of),
        }
        Ok(())
    }

    /// Makes of what the disk has had at the time `as_of` what a request needs, and keeps it. `kept`
    /// is what the disk was compared with.
    fn settle(
        &self,
        name: &[u8],
        fetched: Fetched,
        kept: Option<Rc<Item>>,
        as_of: Instant,
    ) -> Thing {
        let item = match (fetched, kept) {
            (Fetched::Same, Some(item)) => {
                item.refresh(as_of);
                item
            }
            (Fetched::File(stamp, raw), _) => {
                let content = match raw {
                    Raw::Bytes(bytes) => Content::Bytes(bytes),
                    Raw::File(file) => Content::File(file),
                };
                Rc::new(reply::item(&self.files, name, stamp, content, as_of))
            }
            (other, _) => {
                self.shelf.remove(name);
                return match other {
                    Fetched::Folder => Thing::Folder,
                    Fetched::Denied => Thing::Denied,
                    _ => Thing::Missing,
                };
            }
        };
        // Somebody else may have looked later, and have settled before.
        self.shelf.put_newest(name, &item);
        Thing::File(item)
    }

    /// An answer without a file, or with the page that the operator has for it.
    fn refuse(
        &self,
        status: StatusCode,
        ask: &Ask<'_>,
        memo: &mut Memo,
        now: Instant,
    ) -> Result<Response<Reply>, Stop> {
        Ok(match self.error_page(status, memo, now)? {
            Some((_, page)) => reply::page(status, &page, ask),
            None => answer::status(status, ask.questioner, ask.session),
        })
    }

    /// The page that the operator has for a status, and its name, if it is there.
    fn error_page(
        &self,
        status: StatusCode,
        memo: &mut Memo,
        now: Instant,
    ) -> Result<Option<Page<'_>>, Stop> {
        let mut pages = self.files.error_pages.iter();
        let page = pages.find(|(of, _)| *of == status);
        let Some(name) = page.and_then(|(_, page)| path::name(page)) else {
            return Ok(None);
        };
        Ok(match self.find(&name, memo, now)? {
            Thing::File(item) => Some((name, item)),
            _ => None,
        })
    }
}

impl Ask<'_> {
    fn wish(&self) -> Wish<'_> {
        Wish {
            asked: self.asked.path(),
            path: self.path,
            headers: self.headers,
            seen: self.seen,
        }
    }
}

fn endless() -> Fault {
    let why = "a file needs more steps to be found than there can be";
    Fault::Internal(std::io::Error::other(why))
}

/// Sends the client to the same path with a slash behind it: what is in a folder is found relative
/// to that.
fn slash(ask: &Ask<'_>) -> Response<Reply> {
    let query = ask.asked.query().map(|query| format!("?{query}"));
    let to = format!("{}/{}", ask.asked.path(), query.unwrap_or_default());
    match HeaderValue::try_from(to) {
        Ok(to) => answer::redirect(to, StatusCode::PERMANENT_REDIRECT, ask.session),
        Err(_) => answer::status(StatusCode::NOT_FOUND, ask.questioner, ask.session),
    }
}

/// What may be done with a file; to a page of another origin as well, if there is such a rule.
fn options(ask: &Ask<'_>) -> Response<Reply> {
    let mut response = Response::new(Reply::text("", ask.session));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(METHODS));
    response
}

const METHODS: &str = "GET, HEAD, OPTIONS";
/// For each folder and worker: a disk that hangs must not have all threads.
const JOBS_MOST: usize = 32;
/// More than a request can need: a root, and some names with their forms.
const NEEDS_MOST: usize = 256;
