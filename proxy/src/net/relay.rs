//! Two streams made one: what comes from either goes to the other.
//!
//! One future moves both directions. Bytes are read into the thread's scratch space and written at
//! once; only what the other side does not take is kept, and freed when it is taken. A tunnel that
//! waits holds no buffer at all. The end of one direction is passed on as such (half-close), the
//! other goes on.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use crate::net::scratch::{self, SCRATCH_LEN};
use crate::net::ticks::{Span, Watch};

/// How many bytes a tunnel has moved; readable while it runs.
#[derive(Debug, Default)]
pub struct Moved {
    /// From the client to the target.
    pub up: Cell<u64>,
    /// From the target to the client.
    pub down: Cell<u64>,
}

/// How a tunnel ended.
#[derive(Debug)]
pub enum Ended {
    /// Both sides said so.
    Closed,
    /// Nothing moved until the deadline.
    Idle,
    /// One side's connection broke.
    Broken(io::Error),
}

/// Moves bytes between `client` and `target` until both have ended, either breaks, or nothing has
/// moved for `idle`. `early` are bytes of the client that were read before.
///
/// # Cancel safety
///
/// Dropping it loses what was read and not yet written; `moved` tells how much got through.
pub async fn relay(
    client: &mut TcpStream,
    target: &mut TcpStream,
    early: Vec<u8>,
    moved: &Moved,
    watch: &Watch,
    idle: Span,
) -> Ended {
    let mut up = Way {
        kept: early,
        ..Way::default()
    };
    let mut down = Way::default();
    watch.arm(idle);
    poll_fn(|cx| {
        let before = moved.up.get() + moved.down.get();
        let polled = (|| {
            let up = up.poll(cx, client, target, &moved.up)?;
            let down = down.poll(cx, target, client, &moved.down)?;
            Ok((up, down))
        })();
        match polled {
            Err(error) => return Poll::Ready(Ended::Broken(error)),
            Ok((Poll::Ready(()), Poll::Ready(()))) => return Poll::Ready(Ended::Closed),
            Ok(_) => {}
        }
        if moved.up.get() + moved.down.get() != before {
            watch.arm(idle);
        }
        watch.poll_due(cx).map(|()| Ended::Idle)
    })
    .await
}

/// One direction.
#[derive(Default)]
struct Way {
    /// Read but not written yet, from `written` on.
    kept: Vec<u8>,
    written: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Open,
    /// The source has ended; the sink has to be told when all is written.
    Ending,
    Ended,
}

impl Way {
    /// Moves what can be moved, within one turn's bound; ready when the direction has ended.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut TcpStream,
        sink: &mut TcpStream,
        moved: &Cell<u64>,
    ) -> io::Result<Poll<()>> {
        for _ in 0..READS_PER_TURN {
            let step = match self.state {
                State::Ended => return Ok(Poll::Ready(())),
                _ if !self.kept.is_empty() => self.poll_write_kept(cx, sink, moved),
                State::Open => self.poll_move(cx, source, sink, moved),
                State::Ending => self.poll_end(cx, sink),
            };
            if step?.is_pending() {
                return Ok(Poll::Pending);
            }
        }
        cx.waker().wake_by_ref();
        Ok(Poll::Pending)
    }

    fn poll_write_kept(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut TcpStream,
        moved: &Cell<u64>,
    ) -> io::Result<Poll<()>> {
        let rest = self.kept.get(self.written..).unwrap_or_default();
        match Pin::new(sink).poll_write(cx, rest)? {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(taken) => {
                self.written += taken;
                add(moved, taken);
            }
        }
        if self.written >= self.kept.len() {
            // Freed, not cleared: an idle tunnel holds no buffer.
            self.kept = Vec::new();
            self.written = 0;
        }
        Ok(Poll::Ready(()))
    }

    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut TcpStream,
        sink: &mut TcpStream,
        moved: &Cell<u64>,
    ) -> io::Result<Poll<()>> {
        let read = scratch::poll_read(source, cx, SCRATCH_LEN, |cx, bytes| {
            if bytes.is_empty() {
                self.state = State::Ending;
                return Ok(());
            }
            let taken = match Pin::new(sink).poll_write(cx, bytes)? {
                Poll::Ready(taken) => taken,
                Poll::Pending => 0,
            };
            add(moved, taken);
            self.kept
                .extend_from_slice(bytes.get(taken..).unwrap_or_default());
            Ok(())
        });
        match read {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(done) => done?.map(Poll::Ready),
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, sink: &mut TcpStream) -> io::Result<Poll<()>> {
        let shutdown = Pin::new(sink).poll_shutdown(cx);
        match shutdown {
            Poll::Pending => return Ok(Poll::Pending),
            // A sink that is gone already has nothing left to be told.
            Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::NotConnected => {
                return Err(error);
            }
            Poll::Ready(_) => self.state = State::Ended,
        }
        Ok(Poll::Ready(()))
    }
}

fn add(moved: &Cell<u64>, bytes: usize) {
    moved.set(moved.get() + bytes as u64);
}

/// Bounds one turn of work to 1 MiB, so that a fast tunnel does not starve the others.
const READS_PER_TURN: usize = 16;
