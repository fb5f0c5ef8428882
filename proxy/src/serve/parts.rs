//! A body that is made of parts: of bytes that are at hand, and of files.
//!
//! A part of a file goes to a plain socket past this process ([`crate::serve::outgoing`]); else it is
//! read piece by piece, each as soon as the one before has been taken.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::serve::file::{OpenFile, Whereabouts};
use crate::serve::outgoing::{Outgoing, PIECE_MOST, Piece};

/// What a body's bytes come from, piece by piece.
pub(crate) trait Feed {
    /// The next piece, never empty; `None` at the end. `outgoing` takes parts of files in the place
    /// of their bytes, if it says so.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &Outgoing,
    ) -> Poll<Option<io::Result<Bytes>>>;

    /// The bytes that are left, if that is known.
    fn left(&self) -> Option<u64>;
}

/// Parts, one after the other.
pub(crate) struct Parts {
    parts: VecDeque<Part>,
    /// The bytes of them all.
    left: u64,
    fetch: Fetch,
    in_a_row: u8,
}

/// A part of a body; not empty.
pub(crate) enum Part {
    Bytes(Bytes),
    File {
        file: Arc<OpenFile>,
        offset: u64,
        len: u64,
    },
}

/// Reads from a file; on another thread where it has to wait.
#[derive(Default)]
pub(crate) struct Fetch(Option<JoinHandle<io::Result<Vec<u8>>>>);

impl Parts {
    pub(crate) fn new(parts: VecDeque<Part>) -> Self {
        let left = parts.iter().map(Part::len).sum();
        Self {
            parts,
            left,
            fetch: Fetch::default(),
            in_a_row: 0,
        }
    }

    /// All of `file`, as long as it is said to be.
    pub(crate) fn whole(file: Arc<OpenFile>) -> Self {
        let len = file.stamp().len;
        let part = Part::File {
            file,
            offset: 0,
            len,
        };
        Self::new(VecDeque::from([part]))
    }

    /// Takes `len` bytes off the part in front.
    fn take(&mut self, len: usize) {
        self.left = self.left.saturating_sub(len as u64);
        if let Some(Part::File {
            offset, len: rest, ..
        }) = self.parts.front_mut()
        {
            *offset = offset.saturating_add(len as u64);
            *rest = rest.saturating_sub(len as u64);
            if *rest > 0 {
                return;
            }
        }
        self.parts.pop_front();
    }
}

impl Feed for Parts {
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &Outgoing,
    ) -> Poll<Option<io::Result<Bytes>>> {
        let (file, offset, len) = match self.parts.front() {
            None => return Poll::Ready(None),
            Some(Part::Bytes(bytes)) => {
                let bytes = bytes.clone();
                self.take(bytes.len());
                return Poll::Ready(Some(Ok(bytes)));
            }
            Some(Part::File { file, offset, len }) => (file, *offset, *len),
        };
        if self.in_a_row >= PIECES_IN_A_ROW {
            // Others have to have their turn.
            self.in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let is_past_us = outgoing.is_understood();
        let most = if is_past_us { PIECE_MOST } else { READ_MOST };
        let len = usize::try_from(len).unwrap_or(most).min(most);
        let taken = if is_past_us {
            let at_hand = ready!(self.fetch.poll_at_hand(cx, file, offset, len));
            at_hand.map(|()| {
                let file = Arc::clone(file);
                outgoing.push(Piece { file, offset, len })
            })
        } else {
            let read = ready!(self.fetch.poll_read(cx, file, offset, len));
            read.map(Bytes::from)
        };
        self.in_a_row += 1;
        if taken.is_ok() {
            self.take(len);
        }
        Poll::Ready(Some(taken))
    }

    fn left(&self) -> Option<u64> {
        Some(self.left)
    }
}

impl Fetch {
    /// Ready with `len` bytes of `file`, which is found as it was promised.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        file: &Arc<OpenFile>,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<Vec<u8>>> {
        let bytes = match self.0 {
            None if file.whereabouts(offset, len as u64) == Whereabouts::Memory => {
                file.read(offset, len)
            }
            _ => ready!(self.poll_job(cx, file, offset, len)),
        };
        // Looked at behind the read: what was read is what was promised then.
        Poll::Ready(bytes.and_then(|bytes| file.check().map(|()| bytes)))
    }

    /// Ready when `len` bytes of `file` are in memory.
    fn poll_at_hand(
        &mut self,
        cx: &mut Context<'_>,
        file: &Arc<OpenFile>,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<()>> {
        if self.0.is_none() && file.whereabouts(offset, len as u64) == Whereabouts::Memory {
            return Poll::Ready(Ok(()));
        }
        self.poll_job(cx, file, offset, len)
            .map(|bytes| bytes.map(drop))
    }

    fn poll_job(
        &mut self,
        cx: &mut Context<'_>,
        file: &Arc<OpenFile>,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<Vec<u8>>> {
        let job = self.0.get_or_insert_with(|| {
            let file = Arc::clone(file);
            spawn_blocking(move || file.read(offset, len))
        });
        let ended = ready!(Pin::new(job).poll(cx));
        self.0 = None;
        Poll::Ready(ended.unwrap_or_else(|error| Err(io::Error::other(error))))
    }
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }
}

/// What is read at a time where bytes have to come through this process.
pub(crate) const READ_MOST: usize = 64 * 1024;
/// Pieces of files that are handed on in one turn.
const PIECES_IN_A_ROW: u8 = 2;
