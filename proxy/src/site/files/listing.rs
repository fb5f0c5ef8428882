//! What is in a folder.
//!
//! A listing shows what could be asked for, and nothing else: names that begin with a dot, links
//! that are not followed or lead nowhere, devices, pipes and sockets are not in it. It is made for
//! one answer and bounded: a folder of millions costs what one of [`ENTRIES_MAX`] does.
//!
//! [`html`] is for people, [`json()`] for programs; [`is_json_wanted`] tells who asks.

mod accept;
mod json;
mod page;

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::SystemTime;

use cap_std::fs::{Dir, Metadata};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};
use rustix::fs::{Mode, OFlags};

use crate::plan::files::{Files, Links};
use crate::proto::path;

pub use accept::is_json_wanted;
pub use json::json;
pub use page::{CONTENT_SECURITY_POLICY, html};

/// What is in a folder, in the order in which it was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entries {
    /// Files and folders.
    pub list: Vec<Entry>,
    /// Whether there is more than was read.
    pub is_cut: bool,
}

/// A file or a folder; of a link, what it leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its name, of whatever bytes.
    pub name: OsString,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Bytes; what the file system says of a folder means nothing to anyone.
    pub len: u64,
    /// When its content changed, if the file system tells.
    pub modified: Option<SystemTime>,
}

/// In which order entries are shown. Folders come before files in every one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    /// What is compared; names decide between equals.
    pub by: By,
    /// Whether the last comes first.
    pub is_descending: bool,
}

/// What entries are compared by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// The name, upper case like lower case.
    Name,
    /// The number of bytes; folders have none, and are in the order of their names.
    Size,
    /// The time of the last change.
    Modified,
}

/// Reads `folder`, which is at `path` below `root` (nothing for the root itself). It waits for the
/// disk.
///
/// A link is judged from the root, since it may lead to elsewhere below it.
///
/// # Errors
///
/// The folder cannot be read. What cannot be read of a single entry is no error: the entry is left
/// out, as is what went away meanwhile.
pub fn read(root: &Dir, path: &Path, folder: &Dir, files: &Files) -> io::Result<Entries> {
    let mut entries = Entries {
        list: Vec::new(),
        is_cut: false,
    };
    for (number, found) in folder.entries()?.enumerate() {
        if number == ENTRIES_MAX {
            entries.is_cut = true;
            break;
        }
        let found = found?;
        let name = found.file_name();
        if !is_shown(&name, path, files) {
            continue;
        }
        let metadata = match found.metadata() {
            Ok(of_link) if of_link.is_symlink() => match files.links {
                Links::Off => continue,
                Links::Inside => root.metadata(path.join(&name)),
                Links::All => follow(folder, &name),
            },
            metadata => metadata,
        };
        let Ok(metadata) = metadata else {
            continue;
        };
        if metadata.is_file() || metadata.is_dir() {
            let modified = metadata.modified().ok();
            entries.list.push(Entry {
                name,
                is_folder: metadata.is_dir(),
                len: metadata.len(),
                modified: modified.map(cap_std::time::SystemTime::into_std),
            });
        }
    }
    Ok(entries)
}

impl Order {
    /// What `sort` (`name`, `size`, `modified`) and `order` (`asc`, `desc`) in a query say; by name
    /// and upwards if they do not.
    #[must_use]
    pub fn of(query: Option<&str>) -> Self {
        let value = |key: &str| {
            let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        Self {
            by: match value("sort") {
                Some("size") => By::Size,
                Some("modified") => By::Modified,
                _ => By::Name,
            },
            is_descending: value("order") == Some("desc"),
        }
    }

    fn sorted(self, entries: &Entries) -> Vec<&Entry> {
        let keyed = entries.list.iter().map(|entry| {
            let folded = entry.name.to_string_lossy().to_lowercase();
            (entry, folded)
        });
        let mut keyed: Vec<_> = keyed.collect();
        keyed.sort_unstable_by(|(one, one_folded), (other, other_folded)| {
            let by_name = || one_folded.cmp(other_folded).then(one.name.cmp(&other.name));
            let folders_first = other.is_folder.cmp(&one.is_folder);
            folders_first.then_with(|| match self.by {
                By::Name => self.directed(by_name()),
                By::Size if one.is_folder => by_name(),
                By::Size => self.directed(one.len.cmp(&other.len)).then_with(by_name),
                By::Modified => {
                    let by_time = one.modified.cmp(&other.modified);
                    self.directed(by_time).then_with(by_name)
                }
            })
        });
        keyed.into_iter().map(|(entry, _)| entry).collect()
    }

    fn directed(self, ordering: Ordering) -> Ordering {
        match self.is_descending {
            true => ordering.reverse(),
            false => ordering,
        }
    }
}

impl Entry {
    /// Where it is, seen from the listing. What begins with `./` has no scheme, whatever the name.
    fn href(&self) -> String {
        let slash = if self.is_folder { "/" } else { "" };
        format!("./{}{slash}", escaped(&self.name))
    }
}

/// What a link leads to, wherever that is. Nothing is opened but the place itself, so that a pipe
/// does not block and a device is not woken.
fn follow(folder: &Dir, name: &OsStr) -> io::Result<Metadata> {
    let place = rustix::fs::openat(folder, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    Metadata::from_file(&File::from(place))
}

/// Whether what has this `name` in the folder at `path` would be answered.
fn is_shown(name: &OsStr, path: &Path, files: &Files) -> bool {
    let bytes = name.as_bytes();
    let is_well_known = bytes == b".well-known" && path.as_os_str().is_empty();
    if bytes.starts_with(b".") && !files.hidden && !is_well_known {
        return false;
    }
    // A backslash would be an encoded separator.
    !bytes.contains(&b'\\') && path::normal(&format!("/{}", escaped(name))).is_ok()
}

fn escaped(name: &OsStr) -> PercentEncode<'_> {
    percent_encode(name.as_bytes(), RESERVED)
}

/// The most entries that are read of a folder: a page of about 3 MB, and as much memory while it is
/// made. It counts what is hidden too, so that it bounds the time as well.
pub const ENTRIES_MAX: usize = 10_000;

/// All that a normal path has to escape, and all that it may (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests;
