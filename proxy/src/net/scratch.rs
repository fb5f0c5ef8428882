//! One read buffer for all connections of a thread.
//!
//! A connection that waits holds no buffer: when bytes come, they are read into the thread's
//! scratch space and moved on at once. Only what could not be moved on is copied out.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// The most that one read can bring.
pub const SCRATCH_LEN: usize = 64 * 1024;

/// Reads from `stream` and hands what came to `use_bytes`; an empty slice is the end of the stream.
///
/// `use_bytes` must not read itself: the scratch space is taken while it runs.
pub fn poll_read<S, T>(
    stream: &mut S,
    cx: &mut Context<'_>,
    limit: usize,
    use_bytes: impl FnOnce(&mut Context<'_>, &[u8]) -> T,
) -> Poll<io::Result<T>>
where
    S: AsyncRead + Unpin,
{
    SCRATCH.with_borrow_mut(|scratch| {
        let space = scratch.get_mut(..limit).unwrap_or(&mut []);
        let mut buffer = ReadBuf::new(space);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(use_bytes(cx, buffer.filled())))
    })
}

/// Waits for bytes and appends them to `into`; gives how many came, 0 at the end of the stream.
///
/// At most `limit` bytes are read, and never more than the scratch space holds.
///
/// # Cancel safety
///
/// Nothing is lost: bytes are in `into` when they have left the socket.
///
/// # Errors
///
/// Those of the read.
pub async fn read_into<S>(stream: &mut S, into: &mut Vec<u8>, limit: usize) -> io::Result<usize>
where
    S: AsyncRead + Unpin,
{
    let limit = limit.min(SCRATCH_LEN);
    poll_fn(|cx| {
        poll_read(stream, cx, limit, |_, bytes| {
            into.extend_from_slice(bytes);
            bytes.len()
        })
    })
    .await
}

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_LEN].into_boxed_slice());
}
