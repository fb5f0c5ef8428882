//! Parts of files on their way to a plain socket, past the engine.
//!
//! The engine hands body chunks by reference to a vectored writer. So a part of a file is given to
//! it as a slice of a region that nobody reads, as long as the part, and the writer below the engine
//! sends the file's bytes where it meets that slice. The engine counts and frames as ever, and no
//! byte of the file comes into this process.
//!
//! Only whoever writes to a socket without TLS can do that, so that is asked first.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use crate::serve::file::OpenFile;

/// What the engine of a connection was given slices for, in their order.
#[derive(Default)]
pub(crate) struct Outgoing {
    pieces: RefCell<VecDeque<Piece>>,
    /// Whether the connection's writer knows what a slice stands for.
    is_understood: Cell<bool>,
}

/// A part of a file.
#[derive(Clone)]
pub(crate) struct Piece {
    pub(crate) file: Arc<OpenFile>,
    pub(crate) offset: u64,
    /// At most [`PIECE_MOST`].
    pub(crate) len: usize,
}

impl Outgoing {
    /// From now on the writer knows.
    pub(crate) fn understand(&self) {
        self.is_understood.set(true);
    }

    pub(crate) fn is_understood(&self) -> bool {
        self.is_understood.get()
    }

    /// Takes `piece` on, and gives what stands for it.
    pub(crate) fn push(&self, piece: Piece) -> Bytes {
        let slice = STAND_IN.get(..piece.len).unwrap_or_default();
        self.pieces.borrow_mut().push_back(piece);
        Bytes::from_static(slice)
    }

    /// How many of `slices` are ahead of the first that stands for a piece; `None` if none does.
    pub(crate) fn before(&self, slices: &[IoSlice<'_>]) -> Option<usize> {
        if !self.is_understood.get() {
            return None;
        }
        slices.iter().position(|slice| is_stand_in(slice))
    }

    /// The piece that the first slice stands for.
    pub(crate) fn first(&self) -> Option<Piece> {
        self.pieces.borrow().front().cloned()
    }

    /// `len` bytes of the first piece have been sent.
    pub(crate) fn advance(&self, len: usize) {
        let mut pieces = self.pieces.borrow_mut();
        let Some(first) = pieces.front_mut() else {
            return;
        };
        first.offset = first.offset.saturating_add(len as u64);
        first.len = first.len.saturating_sub(len);
        if first.len == 0 {
            pieces.pop_front();
        }
    }
}

/// The longest part that one slice stands for.
pub(crate) const PIECE_MOST: usize = 2 * 1024 * 1024;

fn is_stand_in(slice: &[u8]) -> bool {
    let region = STAND_IN.as_ptr_range();
    !slice.is_empty() && region.contains(&slice.as_ptr())
}

/// Never written and never read, so that it takes up addresses and no memory.
static STAND_IN: LazyLock<&[u8]> = LazyLock::new(|| vec![0; PIECE_MOST].leak());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::file::Stamp;

    fn piece(len: usize) -> Piece {
        let file = tempfile::tempfile().unwrap();
        let stamp = Stamp::of(&rustix::fs::fstat(&file).unwrap());
        let file = Arc::new(OpenFile::new(file, stamp, true).unwrap());
        Piece {
            file,
            offset: 5,
            len,
        }
    }

    #[test]
    fn a_slice_is_known_where_it_was_given_and_nowhere_else() {
        let outgoing = Outgoing::default();
        let given = Bytes::from_static(&STAND_IN);
        assert_eq!(outgoing.before(&[IoSlice::new(&given)]), None);
        outgoing.understand();
        let head = b"HTTP/1.1 200 OK\r\n".to_vec();
        let given = outgoing.push(piece(100));
        let slices = [IoSlice::new(&head), IoSlice::new(&given)];
        assert_eq!(outgoing.before(&slices), Some(1));
        assert_eq!(outgoing.before(&slices[1..]), Some(0));
        assert_eq!(outgoing.before(&slices[..1]), None);
        // What is left of it is known as well.
        assert_eq!(outgoing.before(&[IoSlice::new(&given[60..])]), Some(0));
    }

    #[test]
    fn pieces_are_sent_one_after_the_other() {
        let outgoing = Outgoing::default();
        outgoing.push(piece(100));
        outgoing.push(piece(7));
        outgoing.advance(60);
        let first = outgoing.first().unwrap();
        assert_eq!((first.offset, first.len), (65, 40));
        outgoing.advance(40);
        let first = outgoing.first().unwrap();
        assert_eq!((first.offset, first.len), (5, 7));
        outgoing.advance(7);
        assert!(outgoing.first().is_none());
    }
}
