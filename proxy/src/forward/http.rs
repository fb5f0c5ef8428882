//! One HTTP client connection: the engine that parses it, and the socket below.
//!
//! The engine keeps no timers here: the session's watch holds the one deadline that matters in
//! each phase. A client may close its sending half after a request and still gets its answer
//! (RFC 9112 §9.6): that is why the end of its stream alone does not abandon the request.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use crate::error::Fault;
use crate::forward::context::{Phase, Session};
use crate::forward::{Tunnel, exchange};
use crate::net::scratch;

/// The settings of the engine.
#[must_use]
pub fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // 100 fields at most is the engine's default, and the fast one.
    builder.half_close(true).max_buf_size(HEAD_MOST);
    builder
}

/// Serves requests until the connection ends, or becomes the tunnel that it gives. `first` are
/// bytes that were read before.
pub(super) async fn serve(
    stream: TcpStream,
    first: Vec<u8>,
    session: &Rc<Session>,
) -> Option<Tunnel> {
    let service = service_fn({
        let session = Rc::clone(session);
        move |request| exchange::serve(Rc::clone(&session), request)
    });
    let io = TokioIo::new(ClientIo {
        stream,
        first,
        is_at_end: false,
        session: Rc::clone(session),
    });
    let mut connection = session.context.http.serve_connection(io, service);
    let mut is_told = false;
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Some(ended));
            }
            // The engine has seen what was there, so that a request that came is not cut off.
            if is_told || !session.is_draining() {
                break;
            }
            is_told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        match session.phase.get() {
            Phase::Busy => Poll::Pending,
            _ => session.watch.poll_due(cx).map(|()| None),
        }
    })
    .await;
    let parts = connection.into_parts();
    let ClientIo {
        mut stream,
        first,
        is_at_end,
        ..
    } = parts.io.into_inner();
    match ended {
        Some(Ok(())) => {
            if let Some(dialled) = session.tunnel.take() {
                let mut early = Vec::from(parts.read_buf);
                early.extend_from_slice(&first);
                return Some(Tunnel {
                    client: stream,
                    early,
                    dialled,
                });
            }
        }
        Some(Err(error)) => {
            tracing::debug!(client = %session.client, %error, "connection ended");
            session.has_unread.set(true);
        }
        None => note_deadline(session),
    }
    if session.has_unread.get() && !is_at_end {
        linger(&mut stream, session).await;
    }
    None
}

fn note_deadline(session: &Session) {
    if session.phase.get() == Phase::Body {
        session.note_fault(&Fault::Idle {
            after: session.rules.plan.timeouts.idle,
        });
    }
}

/// Closes so that the client can read the last answer: a socket that is closed with bytes unread
/// is reset, and a reset throws away what the other side has not read yet (RFC 9112 §9.6).
///
/// # Cancel safety
///
/// Dropped early, the connection is reset.
pub(super) async fn linger(stream: &mut TcpStream, session: &Session) {
    session.watch.arm(session.rules.spans.linger);
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
    let _ = session.watch.guard(drained.as_mut()).await;
}

/// The client's socket, with what was read from it before in front.
struct ClientIo {
    stream: TcpStream,
    first: Vec<u8>,
    is_at_end: bool,
    session: Rc<Session>,
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            let len = this.first.len().min(buffer.remaining());
            buffer.put_slice(this.first.get(..len).unwrap_or_default());
            this.first.drain(..len);
            if this.first.is_empty() {
                this.first = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if let Poll::Ready(Ok(())) = read {
            this.is_at_end = buffer.filled().len() == before;
            if this.session.phase.get() == Phase::Waiting {
                this.session.phase.set(Phase::Head);
                this.session.watch.arm(this.session.rules.spans.handshake);
            }
        }
        read
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
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

/// A head of more bytes than this is refused (431, or 414 for the request line alone).
const HEAD_MOST: usize = 64 * 1024;
/// How much of what a client still sends is thrown away before it is reset after all.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
