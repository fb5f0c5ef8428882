//! How a file looks from outside, to tell whether it is worth reading again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What changes about a file when its contents do.
#[derive(Eq, PartialEq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size_bytes: u64,
    /// Seconds and nanoseconds of Unix time, as the next.
    written: (i64, i64),
    /// When its owner, mode or contents last changed; no program sets it back.
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file that the path leads to now, links followed; none if it leads nowhere.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            size_bytes: file.size(),
            written: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}
