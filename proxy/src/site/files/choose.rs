//! Which file is for a request, and in which form it is sent.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{IF_MATCH, RANGE};

use super::encode::{FOR_STREAMS, FOR_WHOLES};
use super::fetch::{Memo, Need, Raw, Stop, Thing};
use super::shelf::{Content, Item, Origin, form_name};
use super::{Folder, Wish, path, reply};
use crate::plan::files::Candidate;
use crate::proto::coding::{Accepted, Coding};
use crate::serve::headers::Seen;

/// What is for a request.
pub(super) enum Choice {
    /// This file, by its name.
    Item(Box<[u8]>, Rc<Item>),
    /// The same path with a slash behind it.
    Slash,
    /// What is in the folder of this name.
    Listing(Box<[u8]>),
    /// An answer without a file.
    Nothing(StatusCode),
}

/// The form in which a file is sent.
pub(super) enum Form {
    /// As it is.
    Plain,
    /// As it was compressed before.
    Item(Rc<Item>),
    /// Compressed while it is sent.
    Stream(Coding),
}

impl Folder {
    /// Goes through what is to be looked for.
    pub(super) fn choose(
        &self,
        wish: Wish<'_>,
        memo: &mut Memo,
        now: Instant,
    ) -> Result<Choice, Stop> {
        let mut status = StatusCode::NOT_FOUND;
        // The path that was routed, before anything is taken off it.
        if path::name(wish.asked).is_none() {
            return Ok(Choice::Nothing(status));
        }
        for candidate in &self.files.try_files {
            let Some(wanted) = candidate.wanted(wish.path) else {
                continue;
            };
            let is_asked = *candidate == Candidate::asked();
            match self.candidate(&wanted, is_asked, memo, now)? {
                Choice::Nothing(StatusCode::NOT_FOUND) => {}
                // Another may be there still.
                Choice::Nothing(other) => status = other,
                // What was taken off in front was all of the path.
                Choice::Item(..) | Choice::Listing(_) if is_asked && wish.lacks_slash() => {
                    return Ok(Choice::Slash);
                }
                found => return Ok(found),
            }
        }
        Ok(Choice::Nothing(status))
    }

    fn candidate(
        &self,
        wanted: &str,
        is_asked: bool,
        memo: &mut Memo,
        now: Instant,
    ) -> Result<Choice, Stop> {
        let nothing = Choice::Nothing(StatusCode::NOT_FOUND);
        let Some(name) = path::name(wanted).filter(|name| self.is_shown(name)) else {
            return Ok(nothing);
        };
        if wanted.ends_with('/') {
            let index = self.index(&name, memo, now)?;
            if matches!(index, Choice::Nothing(StatusCode::NOT_FOUND)) && self.files.listing {
                return Ok(match self.find(&name, memo, now)? {
                    Thing::Folder => Choice::Listing(name.into()),
                    Thing::Denied => Choice::Nothing(StatusCode::FORBIDDEN),
                    _ => nothing,
                });
            }
            return Ok(index);
        }
        Ok(match self.find(&name, memo, now)? {
            Thing::File(item) => Choice::Item(name.into(), item),
            Thing::Denied => Choice::Nothing(StatusCode::FORBIDDEN),
            Thing::Folder if is_asked => match self.index(&name, memo, now)? {
                Choice::Nothing(StatusCode::NOT_FOUND) if !self.files.listing => nothing,
                Choice::Nothing(StatusCode::FORBIDDEN) => Choice::Nothing(StatusCode::FORBIDDEN),
                _ => Choice::Slash,
            },
            Thing::Folder | Thing::Missing => nothing,
        })
    }

    /// The file that stands for the folder `name`.
    fn index(&self, name: &[u8], memo: &mut Memo, now: Instant) -> Result<Choice, Stop> {
        let mut status = StatusCode::NOT_FOUND;
        for index in &self.files.index {
            let mut name = name.to_vec();
            if !name.is_empty() {
                name.push(b'/');
            }
            name.extend_from_slice(index.as_bytes());
            match self.find(&name, memo, now)? {
                Thing::File(item) => return Ok(Choice::Item(name.into(), item)),
                Thing::Denied => status = StatusCode::FORBIDDEN,
                Thing::Folder | Thing::Missing => {}
            }
        }
        Ok(Choice::Nothing(status))
    }

    fn is_shown(&self, name: &[u8]) -> bool {
        self.files.hidden || !path::is_hidden(name)
    }

    /// The form of `item` that the client likes best.
    pub(super) fn form(
        &self,
        wish: Wish<'_>,
        name: &[u8],
        item: &Rc<Item>,
        memo: &mut Memo,
        now: Instant,
    ) -> Result<Form, Stop> {
        let Some(accepted) = self.accepted(wish) else {
            return Ok(Form::Plain);
        };
        if self.files.precompressed
            && let Some(sibling) = self.sibling(accepted, name, item, memo, now)?
        {
            return Ok(Form::Item(sibling));
        }
        self.compressed((wish, accepted), name, item, memo)
    }

    /// The codings that the client takes, if it takes any and there may be some.
    pub(super) fn accepted(&self, wish: Wish<'_>) -> Option<Accepted> {
        let has_forms = self.files.precompressed || self.files.compress;
        let is_said = has_forms && wish.seen.has(Seen::CODINGS);
        let accepted = is_said.then(|| Accepted::of(wish.headers));
        accepted.filter(Accepted::is_any)
    }

    /// The form of `item` that the client likes best, of those that are made here.
    pub(super) fn compressed(
        &self,
        (wish, accepted): (Wish<'_>, Accepted),
        name: &[u8],
        item: &Rc<Item>,
        memo: &mut Memo,
    ) -> Result<Form, Stop> {
        // A part of what is compressed anew each time is a part of nothing.
        let is_exact = wish.headers.contains_key(RANGE) || wish.headers.contains_key(IF_MATCH);
        let is_worth_it = item.is_compressible && item.len() >= PACK_LEAST;
        if !self.files.compress || is_exact || !is_worth_it {
            return Ok(Form::Plain);
        }
        if item.len() > PACK_MOST && matches!(item.content, Content::File(_)) {
            let coding = (accepted.best(FOR_STREAMS)).filter(|_| self.packings.has_room());
            return Ok(coding.map_or(Form::Plain, Form::Stream));
        }
        let worthwhile = FOR_WHOLES.into_iter();
        let worthwhile = worthwhile.filter(|&coding| !item.is_futile(coding));
        match accepted.best(worthwhile) {
            Some(coding) => self.packed(name, item, coding, memo),
            None => Ok(Form::Plain),
        }
    }

    /// What lies beside it, compressed before.
    fn sibling(
        &self,
        accepted: Accepted,
        name: &[u8],
        item: &Rc<Item>,
        memo: &mut Memo,
        now: Instant,
    ) -> Result<Option<Rc<Item>>, Stop> {
        let mut without = [false; SIBLING_ORDER.len()];
        loop {
            let there = SIBLING_ORDER.iter().zip(without);
            let there =
                there.filter(|(coding, is_without)| !is_without && !item.is_without(**coding));
            let Some(coding) = accepted.best(there.map(|(coding, _)| *coding)) else {
                return Ok(None);
            };
            if let Some(sibling) = self.sibling_in(coding, name, item, memo, now)? {
                return Ok(Some(sibling));
            }
            item.note_without(coding);
            for (of, is_without) in SIBLING_ORDER.iter().zip(&mut without) {
                *is_without |= *of == coding;
            }
        }
    }

    fn sibling_in(
        &self,
        coding: Coding,
        name: &[u8],
        item: &Rc<Item>,
        memo: &mut Memo,
        now: Instant,
    ) -> Result<Option<Rc<Item>>, Stop> {
        let key = form_name(name, coding, Origin::Sibling);
        let kept = self.shelf.find(&key);
        if let Some(kept) = &kept
            && kept.is_fresh(now)
            && kept.stamp.modified >= item.stamp.modified
        {
            return Ok(Some(Rc::clone(kept)));
        }
        let mut beside = name.to_vec();
        beside.push(b'.');
        beside.extend_from_slice(coding.suffix().as_bytes());
        let Thing::File(found) = self.find(&beside, memo, now)? else {
            return Ok(None);
        };
        // One that is older was made of another file.
        if found.stamp.modified < item.stamp.modified {
            return Ok(None);
        }
        let sibling = match kept.filter(|kept| kept.stamp == found.stamp) {
            Some(kept) => kept,
            None => Rc::new(reply::sibling(item, &found, coding)),
        };
        sibling.refresh(found.checked());
        self.shelf.put(&key, Rc::clone(&sibling));
        Ok(Some(sibling))
    }

    /// What was compressed here before, or is now.
    fn packed(
        &self,
        name: &[u8],
        item: &Rc<Item>,
        coding: Coding,
        memo: &mut Memo,
    ) -> Result<Form, Stop> {
        let key = form_name(name, coding, Origin::Packed);
        if let Some(Thing::File(packed)) = memo.find(&key) {
            return Ok(Form::Item(packed));
        }
        if let Some(packed) = self.shelf.find(&key)
            && packed.stamp == item.stamp
        {
            return Ok(Form::Item(packed));
        }
        let raw = match &item.content {
            Content::Bytes(bytes) => Raw::Bytes(bytes.clone()),
            Content::File(file) => Raw::File(Arc::clone(file)),
        };
        // It is work that outlives whoever asks for it: who comes while there is enough of it has the
        // file as it is. So has who comes while it is written to over and over.
        if Arc::strong_count(&self.packers) > PACKERS_MOST || memo.changes >= CHANGES_MOST {
            return Ok(Form::Plain);
        }
        // What is found by then is what was compressed, even if the disk has another.
        memo.put(name.into(), Thing::File(Rc::clone(item)));
        let place = Arc::clone(&self.packers);
        Err(Stop::Need(Need::Packed(name.into(), raw, coding, place)))
    }

    pub(super) fn keep_packed(
        &self,
        name: &[u8],
        coding: Coding,
        packed: Option<Bytes>,
        memo: &mut Memo,
    ) {
        let Some(Thing::File(item)) = memo.find(name) else {
            return;
        };
        let Some(packed) = packed else {
            item.note_futile(coding);
            return;
        };
        let key = form_name(name, coding, Origin::Packed);
        let packed = Rc::new(reply::packed(&item, packed, coding));
        self.shelf.put(&key, Rc::clone(&packed));
        memo.put(key.into(), Thing::File(packed));
    }

    /// Forgets a file that was written to before it could be compressed: it is looked for anew.
    pub(super) fn drop_changed(&self, name: &[u8], memo: &mut Memo) {
        memo.changes = memo.changes.saturating_add(1);
        if let Some(Thing::File(item)) = memo.take(name) {
            self.shelf.remove_this(name, &item);
        }
    }
}

impl Wish<'_> {
    /// Whether a folder is looked for, and was asked for without a slash.
    fn lacks_slash(self) -> bool {
        self.path.ends_with('/') && !self.asked.ends_with('/')
    }
}

/// The smallest first.
const SIBLING_ORDER: [Coding; 3] = [Coding::Br, Coding::Zstd, Coding::Gzip];
/// Less than this fits a packet either way.
const PACK_LEAST: u64 = 1024;
/// Up to here a file is compressed whole, and kept in that form; what is in memory always is.
const PACK_MOST: u64 = 1024 * 1024;
/// How many are compressed whole at a time, for each folder and worker.
const PACKERS_MOST: usize = 4;
/// How many times a file is written to before a request has it as it is: an editor saves once.
const CHANGES_MOST: u8 = 2;

#[cfg(test)]
mod tests {
    use std::fs;

    use hyper::HeaderMap;
    use hyper::header::{ACCEPT_ENCODING, HeaderValue};
    use tempfile::TempDir;

    use super::*;
    use crate::plan::files::Files;

    /// The form of `/a.txt` that is sent to who takes gzip, and its stamp; as it is `written` again
    /// each time that it is about to be compressed.
    fn form(folder: &Folder, mut written: impl FnMut()) -> (Form, Rc<Item>) {
        let coding = HeaderValue::from_static("gzip");
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, coding)]);
        let wish = Wish {
            asked: "/a.txt",
            path: "/a.txt",
            headers: &headers,
            seen: Seen::of(&headers),
        };
        let mut memo = Memo::default();
        loop {
            let now = Instant::now();
            let chosen = folder.choose(wish, &mut memo, now).and_then(|choice| {
                let Choice::Item(name, item) = choice else {
                    panic!("it is there");
                };
                let form = folder.form(wish, &name, &item, &mut memo, now)?;
                Ok((form, item))
            });
            match chosen {
                Ok(found) => return found,
                Err(Stop::Need(need)) => {
                    if matches!(need, Need::Packed(..)) {
                        written();
                    }
                    folder.take(need.get_now().unwrap(), &mut memo).unwrap();
                }
                Err(Stop::Failed(error)) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_file_saved_before_it_is_compressed_is_looked_for_anew_and_at_last_sent_as_it_is() {
        let root = TempDir::new().unwrap();
        let path = root.path().join("a.txt");
        let lens = [40_000, 50_000, 60_000, 70_000];
        for (saves, is_compressed) in [(0, true), (1, true), (2, false), (3, false)] {
            fs::write(&path, "a".repeat(lens[0])).unwrap();
            let folder = Folder::new(&Arc::new(Files::of(root.path().to_owned())), 1 << 20);
            let mut done = 0;
            let (form, item) = form(&folder, || {
                if done < saves {
                    done += 1;
                    fs::write(&path, "b".repeat(lens[done])).unwrap();
                }
            });
            assert_eq!(matches!(form, Form::Item(_)), is_compressed, "{saves}");
            assert_eq!(matches!(form, Form::Plain), !is_compressed, "{saves}");
            let len = lens[saves.min(usize::from(CHANGES_MOST))];
            assert_eq!(item.stamp.len, len as u64, "{saves}");
            if let Form::Item(form) = form {
                assert_eq!(form.stamp, item.stamp, "{saves}");
            }
        }
    }
}
