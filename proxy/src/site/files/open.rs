//! What lies beneath a root, and nothing else.
//!
//! A path is resolved by the kernel beneath the opened folder (openat2 with `RESOLVE_BENEATH`):
//! whatever is in it, and whatever somebody moves about in the meantime, it cannot lead out. Where
//! the kernel cannot do that, the path is walked segment by segment by a library that is as strict
//! (cap-std).
//!
//! A name is looked at before it is opened: opening a device or a pipe does something to it.
//!
//! What the kernel has in its caches is had at once (`RESOLVE_CACHED`); else the caller is told
//! that it would have to wait, and asks again on a thread that may.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Instant;

use cap_std::fs::{Dir, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};
use rustix::io::Errno;

use crate::plan::files::Links;
use crate::serve::file::{Stamp, is_file, is_folder};

/// An opened root, and which links are followed below it.
#[derive(Debug)]
pub struct Root {
    dir: Dir,
    links: Links,
    /// By which it is known again.
    identity: (u64, u64),
    opened: Instant,
}

/// What is found by a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Look {
    /// A file.
    File(Stamp),
    /// A folder.
    Folder,
    /// Nothing; or a pipe, a device, a socket, or what lies outside.
    Missing,
    /// The system does not let us.
    Denied,
}

/// Whether a disk may be waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// No: what is not in memory is [`io::ErrorKind::WouldBlock`].
    AtOnce,
    /// Yes.
    Waiting,
}

impl Root {
    /// Opens `path`, a folder.
    ///
    /// # Errors
    ///
    /// Those of the system; [`io::ErrorKind::WouldBlock`] for what is not in memory, unless `how`
    /// lets it wait.
    pub fn open(path: &Path, links: Links, how: How) -> io::Result<Self> {
        let opened = Instant::now();
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let dir = match how {
            How::AtOnce => at_once(openat2(
                CWD,
                path,
                flags,
                Mode::empty(),
                ResolveFlags::CACHED,
            ))?,
            How::Waiting => openat(CWD, path, flags, Mode::empty())?,
        };
        let stat = fstat(&dir)?;
        Ok(Self {
            dir: Dir::from_std_file(File::from(dir)),
            links,
            identity: (stat.st_dev, stat.st_ino),
            opened,
        })
    }

    /// When it was opened: its path may lead elsewhere since.
    #[must_use]
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Whether it is the same folder as `other`.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// The folder itself.
    #[must_use]
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// What is at `name`, which is relative and without dot segments.
    ///
    /// # Errors
    ///
    /// Those of the system that do not mean that there is nothing, and
    /// [`io::ErrorKind::WouldBlock`].
    pub fn look(&self, name: &[u8], how: How) -> io::Result<Look> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let looked = match self.resolve(name, flags, how) {
            Err(Errno::NOSYS) => self.look_by_steps(name),
            resolved => resolved
                .map_err(io::Error::from)
                .and_then(|opened| Ok(Look::of(&fstat(&opened)?))),
        };
        looked.or_else(|error| means(&error).ok_or(error))
    }

    /// Opens the file at `name`, which was looked at before.
    ///
    /// # Errors
    ///
    /// Those of the system, and [`io::ErrorKind::WouldBlock`].
    pub fn open_file(&self, name: &[u8], how: How) -> io::Result<File> {
        // What has become a pipe since then is not waited for.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match self.resolve(name, flags, how) {
            Ok(opened) => Ok(File::from(opened)),
            Err(Errno::NOSYS) => self.open_by_steps(name),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the folder at `name`.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn open_folder(&self, name: &[u8]) -> io::Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match self.resolve(name, flags, How::Waiting) {
            Ok(opened) => Ok(Dir::from_std_file(File::from(opened))),
            Err(Errno::NOSYS) => match self.links {
                Links::Inside => self.dir.open_dir(path_of(name)),
                Links::All => {
                    let opened = openat(self.dir.as_fd(), path_of(name), flags, Mode::empty())?;
                    Ok(Dir::from_std_file(File::from(opened)))
                }
                Links::Off => Ok(Dir::from_std_file(File::from(self.walk(name, flags)?))),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Opens what is at `name`; [`Errno::NOSYS`] if that has to be done by steps.
    fn resolve(&self, name: &[u8], flags: OFlags, how: How) -> Result<OwnedFd, Errno> {
        let path = path_of(name);
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let resolve = match self.links {
            Links::Inside => beneath,
            Links::Off => beneath | ResolveFlags::NO_SYMLINKS,
            Links::All => ResolveFlags::NO_MAGICLINKS,
        };
        let open = |resolve| openat2(self.dir.as_fd(), path, flags, Mode::empty(), resolve);
        if how == How::AtOnce {
            return at_once(open(resolve | ResolveFlags::CACHED));
        }
        // A rename anywhere may make the kernel unsure of itself.
        for _ in 0..ATTEMPTS {
            match open(resolve) {
                Err(Errno::AGAIN) => {}
                // A sandbox around this process forbids the call.
                Err(Errno::PERM) => break,
                opened => return opened,
            }
        }
        Err(Errno::NOSYS)
    }

    fn look_by_steps(&self, name: &[u8]) -> io::Result<Look> {
        let path = path_of(name);
        let opened = match self.links {
            Links::Inside => {
                let found = self.dir.metadata(path)?;
                let modified = (found.mtime(), found.mtime_nsec());
                let changed = (found.ctime(), found.ctime_nsec());
                let place = (found.dev(), found.ino());
                let stamp = Stamp::new(found.len(), modified, changed, place);
                return Ok(Look::by(found.is_file(), found.is_dir(), stamp));
            }
            Links::All => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                openat(self.dir.as_fd(), path, flags, Mode::empty())?
            }
            Links::Off => self.walk(name, OFlags::PATH)?,
        };
        Ok(Look::of(&fstat(&opened)?))
    }

    fn open_by_steps(&self, name: &[u8]) -> io::Result<File> {
        let path = path_of(name);
        let wanted = OFlags::NONBLOCK | OFlags::NOCTTY;
        match self.links {
            Links::Inside => {
                let mut options = OpenOptions::new();
                let flags = i32::try_from(wanted.bits()).unwrap_or(0);
                options.read(true).custom_flags(flags);
                Ok(self.dir.open_with(path, &options)?.into_std())
            }
            Links::All => {
                let flags = wanted | OFlags::RDONLY | OFlags::CLOEXEC;
                let opened = openat(self.dir.as_fd(), path, flags, Mode::empty())?;
                Ok(File::from(opened))
            }
            Links::Off => Ok(File::from(self.walk(name, wanted | OFlags::RDONLY)?)),
        }
    }

    /// Goes down segment by segment, and follows no link.
    fn walk(&self, name: &[u8], last: OFlags) -> Result<OwnedFd, Errno> {
        let mut at = rustix::io::fcntl_dupfd_cloexec(&self.dir, 0)?;
        let mut segments = name.split(|&byte| byte == b'/').peekable();
        while let Some(segment) = segments.next() {
            let segment = if segment.is_empty() { b"." } else { segment };
            let flags = match segments.peek() {
                Some(_) => OFlags::PATH | OFlags::DIRECTORY,
                None => last,
            };
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            at = openat(&at, segment, flags, Mode::empty())?;
        }
        Ok(at)
    }
}

impl Look {
    fn of(stat: &Stat) -> Self {
        Self::by(is_file(stat), is_folder(stat), Stamp::of(stat))
    }

    fn by(is_file: bool, is_folder: bool, stamp: Stamp) -> Self {
        if is_file {
            Self::File(stamp)
        } else if is_folder {
            Self::Folder
        } else {
            Self::Missing
        }
    }
}

/// What an error says of a name, if it says that there is nothing to be had.
pub(super) fn means(error: &io::Error) -> Option<Look> {
    let Some(errno) = Errno::from_io_error(error) else {
        // The library's word for a way out.
        return (error.kind() == io::ErrorKind::PermissionDenied).then_some(Look::Missing);
    };
    match errno {
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::LOOP
        | Errno::XDEV
        | Errno::NAMETOOLONG
        | Errno::INVAL
        | Errno::ILSEQ
        | Errno::NXIO
        | Errno::NODEV => Some(Look::Missing),
        Errno::ACCESS | Errno::PERM => Some(Look::Denied),
        _ => None,
    }
}

/// What the kernel could not answer from its caches, or was not asked, has to be waited for.
fn at_once(opened: Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    match opened {
        Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => Err(Errno::AGAIN),
        opened => opened,
    }
}

/// The root itself has no name.
pub(super) fn path_of(name: &[u8]) -> &Path {
    let name = if name.is_empty() { b"." } else { name };
    Path::new(OsStr::from_bytes(name))
}

const ATTEMPTS: u32 = 4;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn laid_out() -> TempDir {
        let base = TempDir::new().unwrap();
        let root = base.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/c"), "inside").unwrap();
        fs::write(base.path().join("c"), "outside").unwrap();
        for (name, to) in [
            ("in", "a/b/c"),
            ("folder", "a"),
            ("a/back", "../a/b"),
            ("out", "../c"),
            ("up", ".."),
            ("a/up", "../.."),
            ("absolute", "/etc/passwd"),
            ("loop", "loop"),
            ("nowhere", "none"),
        ] {
            symlink(to, root.join(name)).unwrap();
        }
        base
    }

    fn text(mut file: File) -> String {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    }

    /// What is at a name: a file's text, `/` for a folder, nothing else.
    fn shown(look: io::Result<Look>, open: impl FnOnce() -> io::Result<File>) -> String {
        match look.or_else(|error| means(&error).ok_or(error)).unwrap() {
            Look::File(_) => text(open().unwrap()),
            Look::Folder => "/".to_owned(),
            Look::Missing | Look::Denied => String::new(),
        }
    }

    #[test]
    fn by_the_kernel_or_by_steps_the_same_is_found() {
        let base = laid_out();
        let names = [
            ("", "/", "/"),
            ("a", "/", "/"),
            ("a/b/c", "inside", "inside"),
            ("a/b/c/d", "", ""),
            ("none", "", ""),
            ("in", "inside", ""),
            ("folder", "/", ""),
            ("folder/b/c", "inside", ""),
            ("a/back/c", "inside", ""),
            ("out", "", ""),
            ("up", "", ""),
            ("up/c", "", ""),
            ("a/up/c", "", ""),
            ("absolute", "", ""),
            ("loop", "", ""),
            ("nowhere", "", ""),
        ];
        for links in [Links::Inside, Links::Off, Links::All] {
            let root = Root::open(&base.path().join("root"), links, How::Waiting).unwrap();
            for (name, inside, without) in names {
                let name = name.as_bytes();
                let by_steps = shown(root.look_by_steps(name), || root.open_by_steps(name));
                let waited = shown(root.look(name, How::Waiting), || {
                    root.open_file(name, How::Waiting)
                });
                let told = name.escape_ascii();
                assert_eq!(by_steps, waited, "{links:?} {told}");
                match root.look(name, How::AtOnce) {
                    // The kernel may have to think, of a link above all.
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{told}"),
                    Ok(look) => assert_eq!(look, root.look(name, How::Waiting).unwrap()),
                }
                match links {
                    Links::Inside => assert_eq!(waited, inside, "{told}"),
                    Links::Off => assert_eq!(waited, without, "{told}"),
                    Links::All => assert!(waited.len() >= inside.len(), "{told}"),
                }
            }
        }
    }

    #[test]
    fn a_root_is_known_by_the_folder_that_it_is() {
        let base = laid_out();
        let open = |name: &str| {
            let path = base.path().join(name);
            Root::open(&path, Links::Inside, How::Waiting)
        };
        let root = open("root").unwrap();
        assert!(root.is_same(&open("root").unwrap()));
        assert!(!root.is_same(&open("root/a").unwrap()));
        assert!(open("c").is_err() && open("none").is_err());
    }
}
