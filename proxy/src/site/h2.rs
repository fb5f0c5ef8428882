//! One HTTP/2 client connection: the engine that frames it, and a session for each of its streams.
//!
//! Each stream is an exchange of its own, with its own deadlines and access line; the connection's
//! own session keeps the deadline of a connection without a stream. How much a client may have the
//! engine hold or do is bounded by the engine's settings (RFC 9113 §10.5): streams at a time,
//! bytes of a head and of its continuations, resets that were not worth their streams.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Visit, exchange};
use crate::error::Fault;
use crate::serve::session::{Phase, Session};
use crate::upstream::upload::Unread;

/// Serves the connection to its end.
///
/// # Cancel safety
///
/// Dropping it cuts the connection and leaves the tasks of its streams to end by that.
pub(super) async fn serve<S>(stream: S, visit: &Rc<Visit>, session: &Rc<Session>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let streams = Streams::new(session);
    let service = service_fn({
        let (visit, streams) = (Rc::clone(visit), streams.clone());
        move |request: Request<Incoming>| {
            let stream = streams.open();
            // Moved several times until it runs: as a box, not with all its room.
            Box::pin(exchange::serve(Rc::clone(&visit), stream, request))
        }
    });
    let limits = session.terms.plan.limits();
    let connection = http2::Builder::new(streams.clone())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut is_told = false;
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(ended));
            }
            let is_due = streams.poll_idle(cx).is_ready();
            if is_told && is_due {
                return Poll::Ready(None);
            }
            if is_told || !(is_due || session.is_draining()) {
                return Poll::Pending;
            }
            is_told = true;
            // What has begun goes on; what is idle has this long to say good-bye.
            session.flow.watch.arm(session.terms.spans.linger);
            connection.as_mut().graceful_shutdown();
        }
    })
    .await;
    if let Some(Err(error)) = ended {
        tracing::debug!(client = %session.client, %error, "connection ended");
    }
}

/// The streams of one connection, and what runs them.
#[derive(Clone)]
struct Streams {
    connection: Rc<Session>,
    /// How many are open.
    open: Rc<Cell<usize>>,
    /// The one whose task is started next.
    next: Rc<RefCell<Option<Rc<Session>>>>,
}

/// One stream, as long as its task lives.
struct Open(Streams);

impl Streams {
    fn new(connection: &Rc<Session>) -> Self {
        connection.flow.watch.arm(connection.terms.spans.header);
        Self {
            connection: Rc::clone(connection),
            open: Rc::default(),
            next: Rc::default(),
        }
    }

    /// A session for a stream. The engine asks for its answer and then has its task run.
    fn open(&self) -> Rc<Session> {
        let session = Rc::new(Session::of_stream(&self.connection));
        self.next.replace(Some(Rc::clone(&session)));
        session
    }

    fn begin(&self) -> Open {
        self.open.set(self.open.get() + 1);
        self.connection.flow.watch.disarm();
        Open(self.clone())
    }

    /// Ready when the connection has been without a stream for too long.
    fn poll_idle(&self, cx: &Context<'_>) -> Poll<()> {
        let watch = &self.connection.flow.watch;
        if self.open.get() == 0 {
            watch.poll_due(cx)
        } else {
            watch.register(cx);
            Poll::Pending
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Streams {
            open, connection, ..
        } = &self.0;
        open.set(open.get().saturating_sub(1));
        if open.get() == 0 {
            let spans = connection.terms.spans;
            connection.flow.watch.arm(spans.keep_alive);
        }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        let Some(session) = self.next.take() else {
            tokio::task::spawn_local(async move {
                future.await;
            });
            return;
        };
        let open = self.begin();
        // Moved several times until it runs, and at its end: as a box.
        let future = Box::pin(future);
        tokio::task::spawn_local(async move {
            guard(future, &session).await;
            if let Some(unread) = session.unread.take() {
                skip(unread, &session).await;
            }
            drop(open);
        });
    }
}

/// Drives a stream, and resets it when its client takes nothing for too long.
async fn guard(mut future: Pin<Box<impl Future>>, session: &Session) {
    poll_fn(|cx| {
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // Before that the exchange keeps its own deadline.
        if !matches!(session.phase.get(), Phase::Body | Phase::Flush) {
            return Poll::Pending;
        }
        session.flow.watch.poll_due(cx).map(|()| {
            let fault = session.overlong().unwrap_or(Fault::Idle {
                after: session.terms.plan.timeouts.body_idle,
            });
            session.note_fault(&fault);
        })
    })
    .await;
}

/// Reads what is left of a body that was answered before its end: a stream is reset where it is
/// dropped (RFC 9113 §8.1), and there are clients that throw an answer away when the reset comes with
/// it.
async fn skip(mut unread: Unread, session: &Session) {
    let watch = &session.flow.watch;
    watch.arm(session.terms.spans.linger);
    let mut left = UNREAD_BYTES;
    let skipped = poll_fn(|cx| {
        while left > 0 {
            match ready!(unread.poll_skip(cx)) {
                Some(len) => left = left.saturating_sub(len),
                None => break,
            }
        }
        Poll::Ready(())
    });
    // A client that takes its time is reset.
    let _ = watch.guard(pin!(skipped)).await;
}

/// Requests at a time on one connection.
const STREAMS: u32 = 128;
/// What a client may send of one body, and of all, before it is taken.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;
/// What may wait to be sent, for each stream.
const SEND_BUFFER: usize = 128 * 1024;
/// How much of a body nobody takes is read after its answer.
const UNREAD_BYTES: usize = 4 * 1024 * 1024;
