//! What a server may send before its answer, and how much of it at a time.
//!
//! The engine reads interim answers (RFC 9110 §15.2) and drops them, for as long as there is
//! something to read: a server that sends nothing else would have the worker to itself. So while an
//! answer is waited for, others have their turn after each piece, and what comes without an end is
//! no answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::stream::Stream;

/// A connection of which the reads are counted while an answer is waited for.
pub(crate) struct Paced {
    stream: Stream,
    wait: Wait,
    /// Whether it is the others' turn.
    is_due: bool,
}

/// Whether an answer is waited for.
///
/// Shared by a connection and its lease, on one thread: the engine wants its streams to be able to
/// change threads.
#[derive(Clone)]
pub(super) struct Wait {
    /// Bytes that may come still; [`NONE`] if no answer is waited for. Ordering: relaxed, since all
    /// that reads or writes it runs on the worker's thread.
    left: Arc<AtomicUsize>,
}

impl Wait {
    pub(super) fn new() -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(NONE)),
        }
    }

    pub(super) fn begin(&self) {
        self.left.store(MOST, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.left.store(NONE, Ordering::Relaxed);
    }

    /// Counts what was read; whether that fills a piece.
    fn count(&self, len: usize) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        if left == NONE {
            return false;
        }
        let after = left.saturating_sub(len);
        self.left.store(after, Ordering::Relaxed);
        (MOST - left) / PIECE != (MOST - after) / PIECE
    }

    fn left(&self) -> Option<usize> {
        let left = self.left.load(Ordering::Relaxed);
        (left != NONE).then_some(left)
    }
}

impl Paced {
    pub(super) fn new(stream: Stream, wait: &Wait) -> Self {
        Self {
            stream,
            wait: wait.clone(),
            is_due: false,
        }
    }

    pub(crate) fn into_inner(self) -> Stream {
        self.stream
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.is_due)
            && let Some(left) = self.wait.left()
        {
            if left == 0 {
                return Poll::Ready(Err(io::Error::other(ENDLESS)));
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.is_due = self.wait.count(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

const ENDLESS: &str = "16MiB of interim answers, and no answer";
const NONE: usize = usize::MAX;
/// How much may come before an answer. More than the engine ever reads of one, head and first parts
/// of the body, before whoever waits for it is told.
const MOST: usize = 16 * 1024 * 1024;
/// How much is read before others have their turn.
const PIECE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_full_when_so_much_has_come_and_not_before() {
        let wait = Wait::new();
        assert!(!wait.count(PIECE), "nobody waits");
        wait.begin();
        assert!(!wait.count(1) && !wait.count(PIECE - 2));
        assert!(wait.count(1));
        assert!(!wait.count(PIECE - 1) && wait.count(2 * PIECE));
        // A new answer is a new beginning.
        wait.begin();
        assert!(!wait.count(PIECE - 1));
        assert!(wait.count(MOST) && wait.left() == Some(0));
        wait.end();
        assert_eq!(wait.left(), None);
    }
}
