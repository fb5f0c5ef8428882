//! A file that is being sent: open, and watched for changes.
//!
//! A response says how long it is before its first byte leaves, so what is read later has to be what
//! was there then. A file that is replaced (by a rename) or removed stays as it was for whoever has
//! it open. One that is written in place does not: it is looked at before each part is sent, and a
//! part of a file that is not the same any more is not sent. One that has only grown is sent as far
//! as it was promised, if its beginning and its last part are what they were: a log that is
//! written to could never be had otherwise.
//!
//! What is in the page cache is read at once. What is not would stop the whole thread while the
//! disk turns, so that is read on another thread first, if the system can tell ([`Whereabouts`]).

use std::fs::File;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Stat, fstat, fstatfs};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

/// An open file, and what it was when it was opened.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    stamp: Stamp,
    /// The beginning and the end, by which a file that has grown is known again. Empty if that is
    /// not known.
    edges: Box<[u8]>,
}

/// What was promised of a file cannot be kept: it was written to in place.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the file was changed while it was sent")]
pub struct Changed;

/// By what a file is told from others, and from itself at another time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    /// Its bytes.
    pub len: u64,
    /// When it was last written to: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
    /// When the system changed anything of it, likewise: that cannot be set back.
    changed: (i64, i64),
    inode: u64,
    device: u64,
}

/// Where bytes of a file are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whereabouts {
    /// In memory, as far as can be told.
    Memory,
    /// On the disk; or nobody knows.
    Disk,
}

impl OpenFile {
    /// `file`, if it still is what `stamp` says; its edges are read if they are in memory, or at any
    /// rate if that `may_wait`.
    ///
    /// # Errors
    ///
    /// Those of the reads; [`io::ErrorKind::WouldBlock`] if they would have to wait.
    pub fn new(file: File, stamp: Stamp, may_wait: bool) -> io::Result<Self> {
        let mut open = Self {
            file,
            stamp,
            edges: Box::default(),
        };
        if stamp.len <= SHORT {
            return Ok(open);
        }
        for offset in open.edge_offsets() {
            if !may_wait && open.whereabouts(offset, EDGE) == Whereabouts::Disk {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        open.edges = open.read_edges()?;
        Ok(open)
    }

    /// What it was when it was opened.
    #[must_use]
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Fails if what is promised of the file can be kept no longer.
    ///
    /// # Errors
    ///
    /// [`Changed`], and those of the system.
    pub fn check(&self) -> io::Result<()> {
        for _ in 0..LOOKS {
            let now = Stamp::of(&fstat(&self.file)?);
            let is_same = now.modified == self.stamp.modified && now.len == self.stamp.len;
            if is_same || now.len > self.stamp.len && self.has_only_grown()? {
                return Ok(());
            }
            if now.len != self.stamp.len {
                break;
            }
            // Of a file that grows the system changes the time first, and the length when the bytes
            // are there.
            std::thread::yield_now();
        }
        Err(Changed.into())
    }

    /// Whether `len` bytes at `offset` can be had without waiting for a disk: by the first of them,
    /// the last, and some between.
    #[must_use]
    pub fn whereabouts(&self, offset: u64, len: u64) -> Whereabouts {
        let end = offset.saturating_add(len).min(self.stamp.len);
        let mut at = offset;
        while at < end {
            if self.byte_at(at) == Whereabouts::Disk {
                return Whereabouts::Disk;
            }
            // What lies together is read together.
            at = match at.saturating_add(PAGES) {
                next if next < end || at == end - 1 => next,
                _ => end - 1,
            };
        }
        Whereabouts::Memory
    }

    fn byte_at(&self, offset: u64) -> Whereabouts {
        let mut byte = [0];
        let mut slices = [io::IoSliceMut::new(&mut byte)];
        match preadv2(&self.file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
            Ok(1..) => Whereabouts::Memory,
            // It cannot be told. A disk of this machine is as quick as for everybody else.
            Err(Errno::OPNOTSUPP) if !self.is_remote() => Whereabouts::Memory,
            _ => Whereabouts::Disk,
        }
    }

    /// Whether it may be on another machine, or in the hands of another process.
    fn is_remote(&self) -> bool {
        let kind = fstatfs(&self.file).ok();
        let kind = kind.and_then(|stat| u32::try_from(stat.f_type).ok());
        kind.is_none_or(|kind| REMOTE.contains(&kind))
    }

    /// Reads `len` bytes at `offset`; waits for a disk if it has to.
    ///
    /// # Errors
    ///
    /// Those of the read, and [`Changed`] if the file has become shorter.
    pub fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = offset.saturating_add(bytes.len() as u64);
            match pread(&self.file, spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(Changed.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    fn has_only_grown(&self) -> io::Result<bool> {
        Ok(!self.edges.is_empty() && self.edges == self.read_edges()?)
    }

    fn edge_offsets(&self) -> [u64; 2] {
        [0, self.stamp.len.saturating_sub(EDGE)]
    }

    fn read_edges(&self) -> io::Result<Box<[u8]>> {
        let len = usize::try_from(self.stamp.len.min(EDGE)).unwrap_or(0);
        let mut edges = Vec::with_capacity(2 * len);
        for offset in self.edge_offsets() {
            edges.extend(self.read(offset, len)?);
        }
        Ok(edges.into())
    }
}

impl Stamp {
    /// Of what the system says.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let changed = i64::try_from(stat.st_ctime_nsec).unwrap_or(0);
        Self::new(
            u64::try_from(stat.st_size).unwrap_or(0),
            (stat.st_mtime, nanos),
            (stat.st_ctime, changed),
            (stat.st_dev, stat.st_ino),
        )
    }

    /// Of a length, two times (seconds since 1970 and nanoseconds), and a device with an inode of
    /// it.
    #[must_use]
    pub fn new(
        len: u64,
        (seconds, nanos): (i64, i64),
        changed: (i64, i64),
        (device, inode): (u64, u64),
    ) -> Self {
        Self {
            len,
            modified: (seconds, u32::try_from(nanos).unwrap_or(0)),
            changed,
            inode,
            device,
        }
    }

    /// When it was last written to; 1970 for what is before that.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        let (seconds, nanos) = self.modified;
        UNIX_EPOCH + Duration::new(u64::try_from(seconds).unwrap_or(0), nanos)
    }
}

/// Whether the system calls it a file.
#[must_use]
pub fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Whether the system calls it a folder.
#[must_use]
pub fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

impl Changed {
    /// Whether that is what `error` says.
    #[must_use]
    pub fn is_in(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(inner) if inner.is::<Self>())
    }
}

impl From<Changed> for io::Error {
    fn from(changed: Changed) -> Self {
        Self::other(changed)
    }
}

/// How often a file whose time alone has changed is looked at: some 100 µs, since a write takes less.
const LOOKS: usize = 100;
/// What is remembered of each end of a file.
const EDGE: u64 = 4096;
/// Up to here nothing is remembered: it is sent at once, or not at all.
const SHORT: u64 = 64 * 1024;
/// What a disk reads together, at least.
const PAGES: u64 = 128 * 1024;
/// NFS, FUSE, SMB and its older form, 9P, Ceph (statfs(2)).
const REMOTE: [u32; 6] = [
    0x6969,
    0x6573_5546,
    0xFE53_4D42,
    0xFF53_4D42,
    0x0102_1997,
    0x00C3_6400,
];
