//! One HTTP/1 client connection: the engine that parses it, and what is told where it cannot.
//!
//! The engine keeps no timers here: the session's watch holds the one deadline that matters in
//! each phase. A client may close its sending half after a request and still gets its answer
//! (RFC 9112 §9.6): that is why the end of its stream alone does not abandon the request.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;

use crate::bounds::Limits;
use crate::error::Fault;
use crate::net::scratch;
use crate::net::ticks::Span;
use crate::proto::screen::Violation;
use crate::serve::answer;
use crate::serve::body::Reply;
use crate::serve::io::{ClientIo, Farewell};
use crate::serve::session::{Phase, Session, What};

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

/// A connection that has left HTTP.
pub(crate) struct Left<S> {
    pub(crate) stream: S,
    /// Bytes of the client that were read before.
    pub(crate) early: Vec<u8>,
}

/// Serves requests by `service` until the connection ends, or leaves HTTP because the service has
/// said so (`Session::has_left`). `first` are bytes that were read before, `tcp` is the socket below
/// `stream`.
///
/// # Cancel safety
///
/// Dropping it cuts the connection.
pub(crate) async fn serve<S, F, A>(
    stream: S,
    tcp: &WriteHalf<'_>,
    first: Vec<u8>,
    session: &Rc<Session>,
    service: F,
) -> Option<Left<S>>
where
    S: AsyncRead + AsyncWrite + Farewell + Unpin,
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Result<Response<Reply>, Infallible>>,
{
    let mut io = ClientIo::new(stream, first, Rc::clone(session));
    let ended = loop {
        // The engine takes its room when it is made, so it is made when there is something for it.
        if io.is_empty()
            && let Some(ended) = wait(&mut io, session).await
        {
            break ended;
        }
        let ended;
        (ended, io) = Box::pin(serve_requests(io, tcp, session, &service)).await;
        match ended {
            Ended::Resting(left) => session.flow.watch.arm(left),
            ended => break ended,
        }
    };
    let mut stream = io.stream;
    let mut is_too_large = false;
    if session.ends_with_it.get() && matches!(ended, Ended::Failed(_) | Ended::Due) {
        return reset(tcp);
    }
    // Its answer came before all of its body.
    let is_early = matches!(ended, Ended::Done) && session.screen.borrow().is_in_body();
    match ended {
        Ended::Done | Ended::Resting(_) => {
            if session.has_left.get() {
                let early = [io.passed, io.held].concat();
                return Some(Left { stream, early });
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
    if let Some(violation) = io.violation {
        session.has_unread.set(true);
        refuse(&mut stream, violation, session).await;
    } else if io.is_unparsed {
        refuse_unparsed(&mut stream, is_too_large, session).await;
    }
    if (session.has_unread.get() || is_early) && !io.is_at_end {
        // What is over is told now, not when the client has gone.
        session.note_cut();
        session.finish();
        linger(&mut stream, session).await;
    }
    None
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
    /// Not at all: there has been no request for a while, and there need not be one for as long.
    Resting(Span),
}

/// Waits for the first bytes of a request, or for the end, by which it is over then. All that a
/// connection holds meanwhile is its place.
async fn wait<S>(io: &mut ClientIo<S>, session: &Session) -> Option<Ended>
where
    S: AsyncRead + AsyncWrite + Farewell + Unpin,
{
    let mut bytes = Vec::new();
    let mut is_told = false;
    let ended = {
        let mut read = pin!(scratch::read_into(io, &mut bytes, FIRST_READ));
        poll_fn(|cx| {
            if let Poll::Ready(read) = read.as_mut().poll(cx) {
                return Poll::Ready(match read {
                    Ok(0) => Some(Ended::Done),
                    Ok(_) => None,
                    Err(error) => {
                        tracing::debug!(client = %session.client, %error, "connection ended");
                        Some(Ended::Done)
                    }
                });
            }
            if !is_told && session.is_draining() {
                if session.phase.get() == Phase::Waiting {
                    return Poll::Ready(Some(Ended::Done));
                }
                // What its client has sent before it could know is on its way.
                is_told = true;
                session.flow.watch.arm(session.terms.spans.grace);
            }
            session.flow.watch.poll_due(cx).map(|()| Some(Ended::Due))
        })
        .await
    };
    io.passed = bytes;
    if is_told {
        session.flow.watch.arm(session.terms.spans.header);
    }
    if S::IS_SAID && ended.is_some() && io.violation.is_none() {
        session.flow.watch.arm(session.terms.spans.linger);
        // Whoever does not take that has gone.
        let _ = session.flow.watch.guard(io.stream.shutdown()).await;
    }
    ended
}

/// Serves requests for as long as one follows the other.
async fn serve_requests<S, F, A>(
    io: ClientIo<S>,
    tcp: &WriteHalf<'_>,
    session: &Session,
    service: &F,
) -> (Ended, ClientIo<S>)
where
    S: AsyncRead + AsyncWrite + Farewell + Unpin,
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Result<Response<Reply>, Infallible>>,
{
    let mut connection = session
        .terms
        .http1
        .serve_connection(TokioIo::new(io), service_fn(service));
    // The engine does not read while it owes an answer, and so would not learn that nobody waits
    // for it. The end of the client's stream is not looked for: one that has sent all it had may
    // wait (RFC 9112 §9.6).
    let mut reset = pin!(tcp.ready(Interest::ERROR));
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
        let due = match phase {
            Phase::Busy => Poll::Pending,
            _ => session.flow.watch.poll_due(cx),
        };
        due.map(|()| match (phase, session.terms.spans.rest) {
            (Phase::Waiting, Some((_, left))) => Ended::Resting(left),
            _ => Ended::Due,
        })
    })
    .await;
    let parts = connection.into_parts();
    let mut io = parts.io.into_inner();
    if !matches!(ended, Ended::Resting(_)) {
        io.passed.splice(..0, parts.read_buf);
        return (ended, io);
    }
    // Empty lines behind a request are nothing (RFC 9112 §2.2). All else is of a body that nobody
    // has read to its end: no engine but this one knows where in it that is.
    let is_nothing = |byte: &u8| matches!(byte, b'\r' | b'\n');
    match io.is_empty() && parts.read_buf.iter().all(is_nothing) {
        true => (ended, io),
        false => (Ended::Due, io),
    }
}

/// Cuts a connection whose orderly end would make a response whole that is not.
fn reset<S>(tcp: &WriteHalf<'_>) -> Option<Left<S>> {
    let stream: &TcpStream = tcp.as_ref();
    // If that cannot be had, the client is left with what every such client is left with.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    None
}

/// Tells which rule the client broke, if there is a place for the answer: behind the responses to
/// all requests before, and only if the request that broke it has none.
async fn refuse<S: AsyncWrite + Unpin>(stream: &mut S, violation: Violation, session: &Session) {
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
        session.begin(What::Unread);
    }
    session.note_fault(&fault);
    if session.answered.get() + u64::from(is_in_body) == heads {
        reject(stream, &fault, session).await;
    }
    session.finish();
}

/// Answers a head that the screen let pass and the engine could not read: its target, mostly.
async fn refuse_unparsed<S: AsyncWrite + Unpin>(
    stream: &mut S,
    is_too_large: bool,
    session: &Session,
) {
    let fault = if is_too_large {
        Fault::from(Violation::FieldsTooLong)
    } else {
        Fault::BadRequest("the request's target is not a URI or an authority".into())
    };
    session.begin(What::Unread);
    session.note_fault(&fault);
    reject(stream, &fault, session).await;
    session.finish();
}

/// Writes an answer that the engine has no part in.
async fn reject<S: AsyncWrite + Unpin>(stream: &mut S, fault: &Fault, session: &Session) {
    session.note_status(fault.status());
    session.flow.watch.arm(session.terms.spans.linger);
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
            after: session.terms.plan.timeouts.body_idle,
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
pub(crate) async fn linger<S>(stream: &mut S, session: &Session)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    session.flow.watch.arm(session.terms.spans.linger);
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

/// The most that is read before there is an engine.
const FIRST_READ: usize = 8 * 1024;
/// What the engine needs for itself.
const HEAD_LEAST: usize = 8 * 1024;
const ENGINE_FIELDS: usize = 100;
/// How much of what a client still sends is thrown away before it is reset after all.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
