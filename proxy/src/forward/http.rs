//! One HTTP client connection: the engine that parses it, and the socket below.
//!
//! The engine keeps no timers here: the session's watch holds the one deadline that matters in
//! each phase. A client may close its sending half after a request and still gets its answer
//! (RFC 9112 §9.6): that is why the end of its stream alone does not abandon the request.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::bounds::Limits;
use crate::error::Fault;
use crate::forward::session::{Phase, Session, What};
use crate::forward::{Tunnel, answer, exchange};
use crate::net::scratch;
use crate::proto::screen::Violation;

/// The settings of the engine. The screen has refused heads that are too long before the engine
/// meets them, with an answer that says why.
#[must_use]
pub fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.half_close(true);
    builder.max_buf_size(limits.header_size.max(HEAD_LEAST));
    if limits.header_count > ENGINE_FIELDS {
        // Up to its default the engine keeps the fields of a head on the stack.
        builder.max_headers(limits.header_count);
    }
    builder
}

/// Serves requests until the connection ends, or becomes the tunnel that it gives. `first` are
/// bytes that were read before.
pub(super) async fn serve(
    mut stream: TcpStream,
    first: Vec<u8>,
    session: &Rc<Session>,
) -> Option<Tunnel> {
    let served = serve_requests(&mut stream, first, session).await;
    let mut is_too_large = false;
    match served.ended {
        Ended::Done => {
            if let Some(dialled) = session.tunnel.take() {
                return Some(Tunnel {
                    client: stream,
                    early: served.unread,
                    dialled,
                });
            }
        }
        Ended::Failed(error) => {
            tracing::debug!(client = %session.client, %error, "connection ended");
            is_too_large = error.is_parse_too_large();
            session.has_unread.set(true);
        }
        Ended::Due => note_deadline(session),
        Ended::Gone => return None,
    }
    if let Some(violation) = served.violation {
        session.has_unread.set(true);
        refuse(&mut stream, violation, session).await;
    } else if served.is_unparsed {
        refuse_unparsed(&mut stream, is_too_large, session).await;
    }
    if session.has_unread.get() && !served.is_at_end {
        linger(&mut stream, session).await;
    }
    None
}

/// What is left of a connection when the engine is done with it.
struct Served {
    ended: Ended,
    /// Bytes that the engine has not used.
    unread: Vec<u8>,
    violation: Option<Violation>,
    is_unparsed: bool,
    is_at_end: bool,
}

enum Ended {
    /// By the engine: a tunnel begins, or one side was to close.
    Done,
    /// By the engine, for a reason.
    Failed(hyper::Error),
    /// By its deadline.
    Due,
    /// By the client, with a reset while it was owed an answer.
    Gone,
}

async fn serve_requests(stream: &mut TcpStream, first: Vec<u8>, session: &Rc<Session>) -> Served {
    let service = service_fn({
        let session = Rc::clone(session);
        move |request| exchange::serve(Rc::clone(&session), request)
    });
    let (read, write) = stream.split();
    let io = TokioIo::new(ClientIo::new(read, &write, first, Rc::clone(session)));
    let mut connection = session.rules.http.serve_connection(io, service);
    // The engine does not read while it owes an answer, and so would not learn that nobody waits
    // for it. The end of the client's stream is not looked for: one that has sent all it had may
    // wait (RFC 9112 §9.6).
    let mut reset = pin!(write.ready(Interest::ERROR));
    let mut is_told = false;
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(match ended {
                    Ok(()) => Ended::Done,
                    Err(error) => Ended::Failed(error),
                });
            }
            // The engine has seen what was there, so that a request that came is not cut off.
            if is_told || !session.is_draining() {
                break;
            }
            is_told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let phase = session.phase.get();
        if matches!(phase, Phase::Busy | Phase::Body | Phase::Flush)
            && reset.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ended::Gone);
        }
        match phase {
            Phase::Busy => Poll::Pending,
            _ => session.flow.watch.poll_due(cx).map(|()| Ended::Due),
        }
    })
    .await;
    let parts = connection.into_parts();
    let io = parts.io.into_inner();
    Served {
        ended,
        unread: [&parts.read_buf[..], &io.passed, &io.held].concat(),
        violation: io.violation,
        is_unparsed: io.is_unparsed,
        is_at_end: io.is_at_end,
    }
}

/// Tells which rule the client broke, if there is a place for the answer: behind the responses to
/// all requests before, and only if the request that broke it has none.
async fn refuse(stream: &mut TcpStream, violation: Violation, session: &Session) {
    let fault = Fault::from(violation);
    let (heads, is_in_body) = {
        let screen = session.screen.borrow();
        (screen.heads(), screen.broke_in_body())
    };
    if is_in_body && session.responses.get() >= heads {
        // That request has its response, or a part of one.
        session.note_fault(&fault);
        session.finish();
        return;
    }
    if !is_in_body || !session.has_begun() {
        session.note_cut();
        session.finish();
        session.begin(|| What::Unread);
    }
    session.note_fault(&fault);
    if session.answered.get() + u64::from(is_in_body) == heads {
        reject(stream, &fault, session).await;
    }
    session.finish();
}

/// Answers a head that the screen let pass and the engine could not read: its target, mostly.
async fn refuse_unparsed(stream: &mut TcpStream, is_too_large: bool, session: &Session) {
    let fault = if is_too_large {
        Fault::from(Violation::FieldsTooLong)
    } else {
        Fault::BadRequest("the request's target is not a URI or an authority".into())
    };
    session.begin(|| What::Unread);
    session.note_fault(&fault);
    reject(stream, &fault, session).await;
    session.finish();
}

/// Writes an answer that the engine has no part in.
async fn reject(stream: &mut TcpStream, fault: &Fault, session: &Session) {
    session.note_status(fault.status());
    session.flow.watch.arm(session.rules.spans.linger);
    // A client that does not take its answer goes without.
    let _ = session
        .flow
        .watch
        .guard(stream.write_all(&answer::raw(fault)))
        .await;
}

fn note_deadline(session: &Session) {
    if matches!(session.phase.get(), Phase::Body | Phase::Flush) {
        let fault = session.overlong().unwrap_or(Fault::Idle {
            after: session.rules.plan.timeouts.body_idle,
        });
        session.note_fault(&fault);
    }
}

/// Closes so that the client can read the last answer: a socket that is closed with bytes unread
/// is reset, and a reset throws away what the other side has not read yet (RFC 9112 §9.6).
///
/// # Cancel safety
///
/// Dropped early, the connection is reset.
pub(super) async fn linger(stream: &mut TcpStream, session: &Session) {
    session.flow.watch.arm(session.rules.spans.linger);
    let drained = async {
        let _ = stream.shutdown().await;
        let mut left = LINGER_BYTES;
        let mut nowhere = Vec::new();
        while left > 0 {
            nowhere.clear();
            match scratch::read_into(stream, &mut nowhere, scratch::SCRATCH_LEN).await {
                Ok(len) if len > 0 => left = left.saturating_sub(len),
                _ => break,
            }
        }
    };
    let mut drained = pin!(drained);
    let _ = session.flow.watch.guard(drained.as_mut()).await;
}

/// The client's socket, behind the screen.
struct ClientIo<'a> {
    read: ReadHalf<'a>,
    /// Shared with whoever waits for a reset.
    write: &'a WriteHalf<'a>,
    /// Read and screened, for the engine to read.
    passed: Vec<u8>,
    /// Read but held back by the screen: first bytes, or what followed a CONNECT.
    held: Vec<u8>,
    /// What the screen found; nothing is read any more.
    violation: Option<Violation>,
    /// Whether the engine refused a head by itself; what it said to that was not written.
    is_unparsed: bool,
    is_at_end: bool,
    session: Rc<Session>,
}

impl<'a> ClientIo<'a> {
    fn new(
        read: ReadHalf<'a>,
        write: &'a WriteHalf<'a>,
        first: Vec<u8>,
        session: Rc<Session>,
    ) -> Self {
        Self {
            read,
            write,
            passed: Vec::new(),
            held: first,
            violation: None,
            is_unparsed: false,
            is_at_end: false,
            session,
        }
    }

    /// Shows the screen again what it held back.
    fn screen_held(&mut self) -> io::Result<()> {
        let mut held = std::mem::take(&mut self.held);
        let passed = self.screen(&held)?;
        self.held = held.split_off(passed);
        self.passed = held;
        Ok(())
    }

    /// How many of `bytes` the engine may see. To the engine a broken rule is an error of the
    /// socket, which it has no answer of its own for.
    fn screen(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let inspected = self.session.screen.borrow_mut().inspect(bytes);
        inspected.map_err(|violation| {
            self.violation = Some(violation);
            io::Error::other(violation)
        })
    }

    /// Whether what is to be written is the engine's own answer, to a head that it could not read.
    /// It says less than ours, so ours is written in its place. All before it has been flushed.
    fn is_engines_own(&mut self) -> bool {
        let is_own = matches!(self.session.phase.get(), Phase::Waiting | Phase::Head);
        self.is_unparsed |= is_own;
        is_own
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        send: impl Fn(&WriteHalf<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match send(self.write) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => {
                    self.session.note_written();
                    return Poll::Ready(sent);
                }
            }
            let stream: &TcpStream = self.write.as_ref();
            ready!(stream.poll_write_ready(cx))?;
        }
    }

    fn note_read(&mut self, len: usize) {
        self.is_at_end = len == 0;
        let session = &self.session;
        if session.phase.get() == Phase::Waiting {
            session.phase.set(Phase::Head);
            session.flow.watch.arm(session.rules.spans.header);
        }
    }
}

impl AsyncRead for ClientIo<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.passed.is_empty() && !this.held.is_empty() {
            this.screen_held()?;
        }
        if !this.passed.is_empty() {
            let len = this.passed.len().min(buffer.remaining());
            buffer.put_slice(this.passed.get(..len).unwrap_or_default());
            this.passed.drain(..len);
            if this.passed.is_empty() {
                this.passed = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        if !this.held.is_empty() {
            // The answer to the CONNECT decides; the engine reads on behind it.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.read).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        let passed = this.screen(read)?;
        this.note_read(read.len());
        if passed < read.len() {
            this.held = read.get(passed..).unwrap_or_default().to_vec();
            buffer.set_filled(before + passed);
            if passed == 0 {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_engines_own() {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.poll_send(cx, |write| write.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_engines_own() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        self.poll_send(cx, |write| write.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The engine asks when it has written all it had; a socket has nothing to flush itself.
        self.session.note_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.violation.is_some() || self.is_unparsed {
            // There is an answer to be written still.
            return Poll::Ready(Ok(()));
        }
        let stream: &TcpStream = (*self.write).as_ref();
        Poll::Ready(SockRef::from(stream).shutdown(Shutdown::Write))
    }
}

/// What the engine needs for itself.
const HEAD_LEAST: usize = 8 * 1024;
const ENGINE_FIELDS: usize = 100;
/// How much of what a client still sends is thrown away before it is reset after all.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
