//! Two streams made one: what comes from either goes to the other.
//!
//! One future moves both directions. Bytes are read into the thread's scratch space and written at
//! once; only what the other side does not take is kept, and freed when it is taken. A tunnel that
//! waits holds no buffer at all. The end of one direction is passed on as such (half-close), the
//! other goes on.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

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

/// How long a tunnel may stand still.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// While both sides may send.
    pub idle: Span,
    /// When one side has ended.
    pub one_way: Span,
    /// When one side takes nothing more, for what it has said before.
    pub broken: Span,
}

/// How a tunnel ended.
#[derive(Debug)]
pub enum Ended {
    /// Both sides said so.
    Closed,
    /// Nothing moved until the deadline.
    Idle,
    /// One side had ended, and nothing moved until the deadline for that.
    OneWay,
    /// One side's connection broke.
    Broken(io::Error),
}

/// Moves bytes between `client` and `target` until both have ended, either breaks, or nothing has
/// moved for too long. `early` are bytes of the client that were read before.
///
/// A side that has ended may still listen, so the other is heard to its end, unless the first is
/// reset. A side that takes nothing more may have said something before: the other gets that.
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
    patience: Patience,
) -> Ended {
    let (mut client_read, mut client_write) = client.split();
    let (mut target_read, mut target_write) = target.split();
    let mut up = Way::new(early, &moved.up);
    let mut down = Way::new(Vec::new(), &moved.down);
    watch.arm(patience.idle);
    let ways = poll_fn(|cx| {
        let before = moved.up.get() + moved.down.get();
        let ways = (
            up.poll(cx, &mut client_read, &mut target_write),
            down.poll(cx, &mut target_read, &mut client_write),
        );
        if !matches!(ways, (Ok(Poll::Pending), Ok(Poll::Pending))) {
            return Poll::Ready(Some(ways));
        }
        if moved.up.get() + moved.down.get() != before {
            watch.arm(patience.idle);
        }
        watch.poll_due(cx).map(|()| None)
    })
    .await;
    let (over, rest) = match ways {
        None => return Ended::Idle,
        Some((Ok(Poll::Ready(())), Ok(Poll::Ready(())))) => return Ended::Closed,
        Some((over, Ok(Poll::Pending))) => {
            let span = patience.behind(&over);
            let rest = down.run_dry(
                &mut target_read,
                &mut client_write,
                &client_read,
                watch,
                span,
            );
            (over, rest.await)
        }
        Some((Ok(Poll::Pending), over)) => {
            let span = patience.behind(&over);
            let rest = up.run_dry(
                &mut client_read,
                &mut target_write,
                &target_read,
                watch,
                span,
            );
            (over, rest.await)
        }
        Some((Err(broken), _) | (_, Err(broken))) => return Ended::Broken(broken.into_error()),
    };
    match (over, rest) {
        (Err(broken), _) => Ended::Broken(broken.into_error()),
        (Ok(_), None) => Ended::OneWay,
        (Ok(_), Some(Err(error))) => Ended::Broken(error),
        (Ok(_), Some(Ok(()))) => Ended::Closed,
    }
}

/// Bytes of either side that were read before.
#[derive(Debug, Default)]
pub struct Early {
    /// Of the client.
    pub up: Vec<u8>,
    /// Of the target.
    pub down: Vec<u8>,
}

/// The same for streams of which one or both are more than a socket.
///
/// TLS may hold bytes back that it has not been able to write, so each turn flushes. A reset of a
/// side that is not read any more is only found when something is written to it, or at the deadline.
///
/// # Cancel safety
///
/// That of [`relay`].
pub async fn relay_any<C, T>(
    client: &mut C,
    target: &mut T,
    early: Early,
    moved: &Moved,
    watch: &Watch,
    patience: Patience,
) -> Ended
where
    C: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Way::new(early.up, &moved.up);
    let mut down = Way::new(early.down, &moved.down);
    let mut idle = patience.idle;
    watch.arm(idle);
    poll_fn(|cx| {
        let before = moved.up.get() + moved.down.get();
        let ways = (up.poll(cx, client, target), down.poll(cx, target, client));
        // Whatever the ways have written; both streams are asked, and an error comes again.
        let _ = Pin::new(&mut *target).poll_flush(cx);
        let _ = Pin::new(&mut *client).poll_flush(cx);
        let is_over = match ways {
            (Ok(Poll::Ready(())), Ok(Poll::Ready(()))) => return Poll::Ready(Ended::Closed),
            (Err(broken), _) | (_, Err(broken)) => {
                return Poll::Ready(Ended::Broken(broken.into_error()));
            }
            (Ok(up), Ok(down)) => up.is_ready() || down.is_ready(),
        };
        if is_over && idle != patience.one_way {
            idle = patience.one_way;
            watch.arm(idle);
        }
        if moved.up.get() + moved.down.get() != before {
            watch.arm(idle);
        }
        let ended = if is_over { Ended::OneWay } else { Ended::Idle };
        watch.poll_due(cx).map(|()| ended)
    })
    .await
}

impl Patience {
    /// How long the other direction may stand still behind one that is `over`.
    fn behind(&self, over: &Polled) -> Option<Span> {
        match over {
            Ok(_) => Some(self.one_way),
            Err(Broken::Sink(_)) => Some(self.broken),
            // Whoever cannot be read has gone, and takes nothing either.
            Err(Broken::Source(_)) => None,
        }
    }
}

impl Broken {
    fn into_error(self) -> io::Error {
        match self {
            Self::Source(error) | Self::Sink(error) => error,
        }
    }
}

/// What breaks a direction.
enum Broken {
    /// The side that is read.
    Source(io::Error),
    /// The side that is written to.
    Sink(io::Error),
}

type Polled = Result<Poll<()>, Broken>;

/// One direction.
struct Way<'a> {
    /// Read but not written yet, from `written` on.
    kept: Vec<u8>,
    written: usize,
    state: State,
    moved: &'a Cell<u64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Open,
    /// The source has ended; the sink has to be told when all is written.
    Ending,
    Ended,
}

impl<'a> Way<'a> {
    fn new(kept: Vec<u8>, moved: &'a Cell<u64>) -> Self {
        Self {
            kept,
            written: 0,
            state: State::Open,
            moved,
        }
    }

    /// Moves what can be moved, within one turn's bound; ready when the direction has ended.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, source: &mut R, sink: &mut W) -> Polled
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..READS_PER_TURN {
            let step = match self.state {
                State::Ended => return Ok(Poll::Ready(())),
                _ if !self.kept.is_empty() => self.poll_write_kept(cx, sink),
                State::Open => self.poll_move(cx, source, sink),
                State::Ending => self.poll_end(cx, sink),
            };
            if step?.is_pending() {
                return Ok(Poll::Pending);
            }
        }
        cx.waker().wake_by_ref();
        Ok(Poll::Pending)
    }

    /// Moves to the end, when the other direction is over and `answers`, the sink's own, is not
    /// read any more; a reset there ends it. `None` if nothing moved for `span`, or there is none.
    async fn run_dry(
        &mut self,
        source: &mut ReadHalf<'_>,
        sink: &mut WriteHalf<'_>,
        answers: &ReadHalf<'_>,
        watch: &Watch,
        span: Option<Span>,
    ) -> Option<io::Result<()>> {
        let span = span?;
        watch.arm(span);
        let mut reset = pin!(answers.ready(Interest::ERROR));
        poll_fn(|cx| {
            let before = self.moved.get();
            match self.poll(cx, source, sink) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(())) => return Poll::Ready(Some(Ok(()))),
                Err(broken) => return Poll::Ready(Some(Err(broken.into_error()))),
            }
            if reset.as_mut().poll(cx).is_ready() {
                let error = io::ErrorKind::ConnectionReset.into();
                return Poll::Ready(Some(Err(error)));
            }
            if self.moved.get() != before {
                watch.arm(span);
            }
            watch.poll_due(cx).map(|()| None)
        })
        .await
    }

    fn poll_write_kept<W>(&mut self, cx: &mut Context<'_>, sink: &mut W) -> Polled
    where
        W: AsyncWrite + Unpin,
    {
        let rest = self.kept.get(self.written..).unwrap_or_default();
        match (Pin::new(sink).poll_write(cx, rest)).map_err(Broken::Sink)? {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(taken) => {
                self.written += taken;
                self.add(taken);
            }
        }
        if self.written >= self.kept.len() {
            // Freed, not cleared: an idle tunnel holds no buffer.
            self.kept = Vec::new();
            self.written = 0;
        }
        Ok(Poll::Ready(()))
    }

    fn poll_move<R, W>(&mut self, cx: &mut Context<'_>, source: &mut R, sink: &mut W) -> Polled
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let read = scratch::poll_read(source, cx, SCRATCH_LEN, |cx, bytes| {
            if bytes.is_empty() {
                self.state = State::Ending;
                return Ok(());
            }
            let taken = match (Pin::new(sink).poll_write(cx, bytes)).map_err(Broken::Sink)? {
                Poll::Ready(taken) => taken,
                Poll::Pending => 0,
            };
            self.add(taken);
            self.kept
                .extend_from_slice(bytes.get(taken..).unwrap_or_default());
            Ok(())
        });
        match read {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(done)) => done.map(Poll::Ready),
            Poll::Ready(Err(error)) => Err(Broken::Source(error)),
        }
    }

    fn poll_end<W>(&mut self, cx: &mut Context<'_>, sink: &mut W) -> Polled
    where
        W: AsyncWrite + Unpin,
    {
        let shutdown = Pin::new(sink).poll_shutdown(cx);
        match shutdown {
            Poll::Pending => return Ok(Poll::Pending),
            // A sink that is gone already has nothing left to be told.
            Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::NotConnected => {
                return Err(Broken::Sink(error));
            }
            Poll::Ready(_) => self.state = State::Ended,
        }
        Ok(Poll::Ready(()))
    }

    fn add(&self, bytes: usize) {
        self.moved.set(self.moved.get() + bytes as u64);
    }
}

/// Bounds one turn of work to 1 MiB, so that a fast tunnel does not starve the others.
const READS_PER_TURN: usize = 16;
