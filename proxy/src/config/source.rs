//! The files that were read, and places in them.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A place: which file, and which of its bytes.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct At {
    pub(super) file: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Every file of one configuration, in the order in which they were read.
#[derive(Debug, Default)]
pub(super) struct Sources {
    files: Vec<Source>,
    /// Folders whose new files may belong to the configuration.
    included: BTreeSet<PathBuf>,
}

#[derive(Debug)]
pub(super) struct Source {
    /// As it was named.
    pub(super) path: PathBuf,
    /// What tells it from other files, whatever it is called.
    pub(super) canonical: PathBuf,
    pub(super) text: String,
}

impl Sources {
    pub(super) fn add(&mut self, source: Source) -> usize {
        self.files.push(source);
        self.files.len() - 1
    }

    pub(super) fn get(&self, file: usize) -> Option<&Source> {
        self.files.get(file)
    }

    pub(super) fn knows(&self, canonical: &Path) -> bool {
        self.files.iter().any(|file| file.canonical == canonical)
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = (&Path, &str)> {
        let files = self.files.iter();
        files.map(|file| (file.path.as_path(), file.text.as_str()))
    }

    pub(super) fn may_include(&mut self, folder: PathBuf) {
        self.included.insert(folder);
    }

    pub(super) fn folders(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let own = self.files.iter().map(|file| folder_of(&file.path));
        // Where a link leads to, its file may be exchanged too.
        let linked = self.files.iter().map(|file| folder_of(&file.canonical));
        own.chain(linked)
            .chain(self.included.iter().cloned())
            .collect::<BTreeSet<_>>()
            .into_iter()
    }

    /// The folder to which the paths in `file` are relative, from the root on: what is written out
    /// means the same wherever it is read.
    pub(super) fn folder(&self, file: usize) -> PathBuf {
        let folder = self.get(file).map(|file| folder_of(&file.path));
        let folder = folder.unwrap_or_default();
        std::path::absolute(&folder).unwrap_or(folder)
    }
}

impl Source {
    /// The bytes of `at`, cut to what there is.
    pub(super) fn range(&self, at: At) -> Range<usize> {
        let end = at.end.min(self.text.len());
        at.start.min(end)..end
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
