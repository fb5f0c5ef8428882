//! Files that were asked for lately: open, or with their bytes, and with the fields of their
//! responses.
//!
//! What is kept is looked at on the disk again when it is used and was not for [`FRESH`]: nothing
//! that is gone, or was replaced, is sent longer than that. A worker has a shelf for each folder that
//! it shows, so none waits for another.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderValue, LAST_MODIFIED, VARY};
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::bounds::HELD_FILE_BYTES;
use crate::proto::coding::Coding;
use crate::serve::file::{OpenFile, Stamp};

/// A file, ready to be sent.
pub(super) struct Item {
    pub(super) stamp: Stamp,
    pub(super) content: Content,
    /// The fields that every response with it has.
    pub(super) fields: HeaderMap,
    /// Those of a response that says that the client has it already.
    pub(super) bare: HeaderMap,
    pub(super) etag: HeaderValue,
    pub(super) last_modified: HeaderValue,
    /// When it was last written to, in seconds since 1970.
    pub(super) modified: u64,
    /// Whether compressing it is worth the while.
    pub(super) is_compressible: bool,
    /// When the disk was last asked whether it still is what it was.
    checked: Cell<Instant>,
    /// Codings in which there is no sibling of it, as of that time.
    without: Cell<u8>,
    /// Codings that do not make it shorter.
    futile: Cell<u8>,
}

/// Where its bytes are.
#[derive(Clone)]
pub(super) enum Content {
    /// Here.
    Bytes(Bytes),
    /// In the file.
    File(Arc<OpenFile>),
}

/// What is kept.
pub(super) struct Shelf(RefCell<Cache<Box<[u8]>, Rc<Item>, Weigh>>);

#[derive(Clone)]
struct Weigh;

impl Item {
    pub(super) fn new(
        stamp: Stamp,
        content: Content,
        fields: HeaderMap,
        (etag, last_modified): (HeaderValue, HeaderValue),
        now: Instant,
    ) -> Self {
        Self {
            stamp,
            content,
            bare: bare(&fields),
            fields,
            etag,
            last_modified,
            modified: u64::try_from(stamp.modified.0).unwrap_or(0),
            is_compressible: false,
            checked: Cell::new(now),
            without: Cell::new(0),
            futile: Cell::new(0),
        }
    }

    /// Its bytes.
    pub(super) fn len(&self) -> u64 {
        match &self.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(file) => file.stamp().len,
        }
    }

    /// Whether it is one of several forms, or may be.
    pub(super) fn has_forms(&self) -> bool {
        self.is_compressible || self.fields.contains_key(CONTENT_ENCODING)
    }

    /// In which coding its bytes are, if in one.
    pub(super) fn coding(&self) -> Option<Coding> {
        let said = self.fields.get(CONTENT_ENCODING)?;
        let mut all = [Coding::Br, Coding::Zstd, Coding::Gzip].into_iter();
        all.find(|coding| said == coding.token())
    }

    /// Whether these are its bytes.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        matches!(&self.content, Content::Bytes(known) if *known == bytes)
    }

    /// Whether it may be sent without a look at the disk.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.checked.get()) < FRESH
    }

    /// When the disk was last asked.
    pub(super) fn checked(&self) -> Instant {
        self.checked.get()
    }

    /// The disk was asked then, and it was what it is.
    pub(super) fn refresh(&self, as_of: Instant) {
        if as_of > self.checked.get() {
            self.checked.set(as_of);
            self.without.set(0);
        }
    }

    /// Whether it is known to have no sibling in this coding.
    pub(super) fn is_without(&self, coding: Coding) -> bool {
        self.without.get() & bit(coding) != 0
    }

    pub(super) fn note_without(&self, coding: Coding) {
        self.without.set(self.without.get() | bit(coding));
    }

    /// Whether this coding is known to make it no shorter.
    pub(super) fn is_futile(&self, coding: Coding) -> bool {
        self.futile.get() & bit(coding) != 0
    }

    pub(super) fn note_futile(&self, coding: Coding) {
        self.futile.set(self.futile.get() | bit(coding));
    }

    /// What it takes up: bytes that are here, or an open file.
    fn weight(&self) -> u64 {
        match &self.content {
            Content::Bytes(bytes) => bytes.len() as u64 + ITEM,
            Content::File(_) => HELD_FILE_BYTES,
        }
    }
}

impl Shelf {
    /// One that holds `bytes`, in all.
    pub(super) fn new(bytes: usize) -> Self {
        let bytes = bytes as u64;
        let items = usize::try_from(bytes / (4 * ITEM)).unwrap_or(0).max(16);
        Self(RefCell::new(Cache::with_weighter(items, bytes, Weigh)))
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<Rc<Item>> {
        self.0.borrow_mut().get(name).cloned()
    }

    pub(super) fn put(&self, name: &[u8], item: Rc<Item>) {
        self.0.borrow_mut().insert(name.into(), item);
    }

    /// The same, unless what is there is of a later time.
    pub(super) fn put_newest(&self, name: &[u8], item: &Rc<Item>) {
        let there = self.0.borrow().peek(name).cloned();
        let is_there = there.as_ref().is_some_and(|there| Rc::ptr_eq(there, item));
        if !is_there && there.is_none_or(|there| there.checked() <= item.checked()) {
            self.put(name, Rc::clone(item));
        }
    }

    pub(super) fn remove(&self, name: &[u8]) {
        self.0.borrow_mut().remove(name);
    }

    /// Removes `item`, unless another is there by now.
    pub(super) fn remove_this(&self, name: &[u8], item: &Rc<Item>) {
        let there = self.0.borrow().peek(name).cloned();
        if there.is_some_and(|there| Rc::ptr_eq(&there, item)) {
            self.remove(name);
        }
    }

    /// Closes files that nobody has asked for lately: one that was removed takes up its place on the
    /// disk as long as it is open.
    pub(super) fn sweep(&self, now: Instant) {
        let is_kept = |item: &Item| match &item.content {
            Content::Bytes(_) => true,
            Content::File(_) => now.saturating_duration_since(item.checked.get()) < HELD,
        };
        self.0.borrow_mut().retain(|_, item| is_kept(item));
    }

    pub(super) fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

impl Weighter<Box<[u8]>, Rc<Item>> for Weigh {
    fn weight(&self, name: &Box<[u8]>, item: &Rc<Item>) -> u64 {
        item.weight() + name.len() as u64
    }
}

/// Of `fields` what a client's copy is known by, and nothing about the body that is not sent
/// (RFC 9110 §15.4.5).
pub(super) fn bare(fields: &HeaderMap) -> HeaderMap {
    let mut bare = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        if [ETAG, LAST_MODIFIED, CACHE_CONTROL, VARY].contains(name) {
            bare.append(name.clone(), value.clone());
        }
    }
    bare
}

/// The name under which the shelf has another form of a file; no file has such a name.
pub(super) fn form_name(name: &[u8], coding: Coding, origin: Origin) -> Vec<u8> {
    let mark = match origin {
        Origin::Sibling => b'.',
        Origin::Packed => b'>',
    };
    let mut key = Vec::with_capacity(name.len() + 5);
    key.extend_from_slice(name);
    key.extend_from_slice(&[0, mark]);
    key.extend_from_slice(coding.suffix().as_bytes());
    key
}

/// Where another form of a file comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// A file beside it.
    Sibling,
    /// Compressed here.
    Packed,
}

fn bit(coding: Coding) -> u8 {
    match coding {
        Coding::Br => 1,
        Coding::Zstd => 2,
        Coding::Gzip => 4,
    }
}

/// For so long the disk is not asked again.
pub const FRESH: Duration = Duration::from_secs(1);
/// For so long a file that nobody asks for is held open.
pub(super) const HELD: Duration = Duration::from_secs(10);
/// What an item costs beside its bytes.
const ITEM: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn item(content: Content, now: Instant) -> Rc<Item> {
        let stamp = Stamp::new(5, (1, 0), (1, 0), (1, 2));
        let value = HeaderValue::from_static("x");
        let tags = (value.clone(), value);
        Rc::new(Item::new(stamp, content, HeaderMap::new(), tags, now))
    }

    fn bytes(len: usize) -> Content {
        Content::Bytes(vec![0; len].into())
    }

    fn file() -> Content {
        let file = tempfile::tempfile().unwrap();
        let stamp = Stamp::of(&rustix::fs::fstat(&file).unwrap());
        Content::File(Arc::new(OpenFile::new(file, stamp, true).unwrap()))
    }

    #[test]
    fn what_is_kept_is_fresh_for_its_moment() {
        let now = Instant::now();
        let item = item(bytes(5), now);
        item.note_without(Coding::Br);
        assert!(item.is_fresh(now + FRESH / 2) && !item.is_fresh(now + FRESH));
        assert!(item.is_without(Coding::Br) && !item.is_without(Coding::Gzip));
        item.refresh(now + FRESH);
        // A sibling may have come in the meantime.
        assert!(item.is_fresh(now + FRESH) && !item.is_without(Coding::Br));
    }

    #[test]
    fn a_shelf_holds_what_it_may_and_no_more() {
        let now = Instant::now();
        let shelf = Shelf::new(1024 * 1024);
        for number in 0..2000_u32 {
            shelf.put(&number.to_le_bytes(), item(bytes(10_000), now));
        }
        let held = (0..2000_u32).filter(|number| shelf.find(&number.to_le_bytes()).is_some());
        assert!((1..=100).contains(&held.count()));
        for number in 0..2000_u32 {
            shelf.put(&number.to_le_bytes(), item(file(), now));
        }
        let held = (0..2000_u32).filter(|number| shelf.find(&number.to_le_bytes()).is_some());
        assert!(held.count() <= 8);
        let none = Shelf::new(0);
        none.put(b"a", item(bytes(5), now));
        assert!(none.find(b"a").is_none());
    }

    #[test]
    fn files_that_nobody_asks_for_are_closed() {
        let now = Instant::now();
        let shelf = Shelf::new(1024 * 1024);
        shelf.put(b"file", item(file(), now));
        shelf.put(b"bytes", item(bytes(5), now));
        shelf.sweep(now + HELD / 2);
        assert!(shelf.find(b"file").is_some());
        shelf.sweep(now + HELD);
        assert!(shelf.find(b"file").is_none() && shelf.find(b"bytes").is_some());
    }

    #[test]
    fn forms_of_a_file_have_names_that_no_file_has() {
        let sibling = form_name(b"a", Coding::Br, Origin::Sibling);
        assert_ne!(sibling, form_name(b"a", Coding::Br, Origin::Packed));
        assert_ne!(sibling, form_name(b"a", Coding::Gzip, Origin::Sibling));
        assert!(sibling.contains(&0));
    }
}
