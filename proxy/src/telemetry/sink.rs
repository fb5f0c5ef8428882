//! A log's file, which can be exchanged for another while lines are written to it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the next file is left for the writer.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot(Arc<Next>);

#[derive(Debug, Default)]
struct Next {
    is_there: AtomicBool,
    file: Mutex<Option<File>>,
}

/// Writes to a file until another is left in the slot.
pub(super) struct Switching {
    file: File,
    slot: Slot,
}

/// The end of a file, made if there is none.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Slot {
    /// Leaves the next file; what is written from now on goes there.
    pub(super) fn leave(&self, file: File) {
        let mut next = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        *next = Some(file);
        self.0.is_there.store(true, Ordering::Release);
    }

    fn take(&self) -> Option<File> {
        if !self.0.is_there.swap(false, Ordering::Acquire) {
            return None;
        }
        let mut next = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        next.take()
    }
}

impl Switching {
    pub(super) fn new(file: File, slot: Slot) -> Self {
        Self { file, slot }
    }
}

impl Write for Switching {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = self.slot.take() {
            self.file = file;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_the_file_that_was_left_last() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        let slot = Slot::default();
        let mut writer = Switching::new(open(&one).unwrap(), slot.clone());
        writer.write_all(b"first\n").unwrap();
        std::fs::rename(&one, folder.path().join("old")).unwrap();
        slot.leave(open(&two).unwrap());
        slot.leave(open(&one).unwrap());
        writer.write_all(b"second\n").unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&folder.path().join("old")), "first\n");
        assert_eq!(read(&one), "second\n");
        assert_eq!(read(&two), "");
    }
}
