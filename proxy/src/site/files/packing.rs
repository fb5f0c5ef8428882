//! A file that is compressed while it is sent: for what is too long to be kept in that form.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::encode::Encoder;
use crate::proto::coding::Coding;
use crate::serve::file::OpenFile;
use crate::serve::outgoing::Outgoing;
use crate::serve::parts::{Feed, Fetch};

/// The rest of a file, and what compresses it.
pub(super) struct Packing {
    file: Arc<OpenFile>,
    offset: u64,
    fetch: Fetch,
    /// `None` at the end.
    encoder: Option<Encoder>,
    has_worked: bool,
    /// One of those that there may be.
    _place: Rc<()>,
}

/// How many files are compressed while they are sent: each costs memory as long as that takes,
/// which is as long as its client likes.
#[derive(Default)]
pub(super) struct Packings(Rc<()>);

impl Packings {
    /// Whether there may be another one.
    pub(super) fn has_room(&self) -> bool {
        Rc::strong_count(&self.0) <= PACKINGS_MOST
    }
}

impl Packing {
    pub(super) fn new(
        file: Arc<OpenFile>,
        coding: Coding,
        packings: &Packings,
    ) -> io::Result<Self> {
        Ok(Self {
            file,
            offset: 0,
            fetch: Fetch::default(),
            encoder: Some(Encoder::new(coding)?),
            has_worked: false,
            _place: Rc::clone(&packings.0),
        })
    }

    /// Compresses one piece, or ends; empty if nothing comes of it yet.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let Some(encoder) = &mut self.encoder else {
            return Poll::Ready(Ok(Vec::new()));
        };
        let mut out = Vec::new();
        let left = self.file.stamp().len.saturating_sub(self.offset);
        if left == 0 {
            let encoder = self.encoder.take();
            let ended = encoder.map_or(Ok(()), |encoder| encoder.finish(&mut out));
            return Poll::Ready(ended.map(|()| out));
        }
        let len = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let bytes = ready!(self.fetch.poll_read(cx, &self.file, self.offset, len))?;
        self.offset = self.offset.saturating_add(bytes.len() as u64);
        Poll::Ready(encoder.write(&bytes, &mut out).map(|()| out))
    }
}

impl Feed for Packing {
    fn poll_next(&mut self, cx: &mut Context<'_>, _: &Outgoing) -> Poll<Option<io::Result<Bytes>>> {
        while self.encoder.is_some() {
            if self.has_worked {
                // It is work: others have to have their turn.
                self.has_worked = false;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let out = ready!(self.poll_step(cx));
            self.has_worked = true;
            match out {
                Ok(out) if out.is_empty() => {}
                out => return Poll::Ready(Some(out.map(Bytes::from))),
            }
        }
        Poll::Ready(None)
    }

    fn left(&self) -> Option<u64> {
        self.encoder.is_none().then_some(0)
    }
}

/// What is compressed in one turn: a fraction of a millisecond's work.
const PIECE: usize = 32 * 1024;
/// At a MiB each, at most.
const PACKINGS_MOST: usize = 64;
