//! The client's side of an HTTP/1 connection, as the engine reads and writes it.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio_rustls::server::TlsStream;

use crate::error::Fault;
use crate::proto::screen::Violation;
use crate::serve::file::Changed;
use crate::serve::outgoing::Piece;
use crate::serve::parts::READ_MOST;
use crate::serve::session::{Phase, Session};

/// A socket whose writing half is shared with whoever waits for a reset.
pub(crate) struct Duplex<'a> {
    read: ReadHalf<'a>,
    write: &'a WriteHalf<'a>,
}

impl<'a> Duplex<'a> {
    pub(crate) fn new(read: ReadHalf<'a>, write: &'a WriteHalf<'a>) -> Self {
        Self { read, write }
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        send: impl Fn(&WriteHalf<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match send(self.write) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
            let stream: &TcpStream = self.write.as_ref();
            ready!(stream.poll_write_ready(cx))?;
        }
    }
}

impl AsyncRead for Duplex<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Duplex<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |write| write.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |write| write.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has nothing to flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream: &TcpStream = self.write.as_ref();
        Poll::Ready(SockRef::from(stream).shutdown(Shutdown::Write))
    }
}

/// A stream to a client: what its end needs, and whether files can be sent past this process.
pub(crate) trait Farewell {
    /// Whether the client has to be told that nothing more comes (TLS, RFC 8446 §6.1). Else
    /// closing the socket tells it.
    const IS_SAID: bool;

    /// Sends a part of a file, or the beginning of it; gives how many bytes, never 0.
    fn poll_send_file(&self, _: &mut Context<'_>, _: &Piece) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

impl Farewell for Duplex<'_> {
    const IS_SAID: bool = false;

    fn poll_send_file(&self, cx: &mut Context<'_>, piece: &Piece) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |write| {
            let stream: &TcpStream = write.as_ref();
            stream.try_io(Interest::WRITABLE, || {
                piece.file.check()?;
                let mut offset = piece.offset;
                match sendfile(stream, piece.file.file(), Some(&mut offset), piece.len) {
                    Ok(0) => Err(Changed.into()),
                    Ok(sent) => Ok(sent),
                    // A kind of file system that cannot do it.
                    Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                        let bytes = piece.file.read(piece.offset, piece.len.min(READ_MOST))?;
                        Ok(send(stream, &bytes, SendFlags::NOSIGNAL)?)
                    }
                    Err(error) => Err(error.into()),
                }
            })
        })
    }
}

impl<S> Farewell for TlsStream<S> {
    const IS_SAID: bool = true;
}

/// The client's socket, behind the screen.
pub(crate) struct ClientIo<S> {
    pub(crate) stream: S,
    /// Read and screened, for the engine to read.
    pub(crate) passed: Vec<u8>,
    /// Read but held back by the screen: first bytes, what followed a CONNECT, or a request that
    /// breaks a rule behind one that does not.
    pub(crate) held: Vec<u8>,
    /// What the screen found; nothing is read any more.
    pub(crate) violation: Option<Violation>,
    /// Whether the engine refused a head by itself; what it said to that was not written.
    pub(crate) is_unparsed: bool,
    pub(crate) is_at_end: bool,
    session: Rc<Session>,
}

impl<S> ClientIo<S> {
    pub(crate) fn new(stream: S, first: Vec<u8>, session: Rc<Session>) -> Self {
        Self {
            stream,
            passed: Vec::new(),
            held: first,
            violation: None,
            is_unparsed: false,
            is_at_end: false,
            session,
        }
    }

    /// Whether there is nothing of the client's that the engine has not had.
    pub(crate) fn is_empty(&self) -> bool {
        self.passed.is_empty() && self.held.is_empty()
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
    /// socket, which it has no answer of its own for. It reads on when it has written the responses to
    /// all requests before.
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

    /// Writes slices of which the one behind the first `ahead` stands for a part of a file.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
        ahead: usize,
    ) -> Poll<io::Result<usize>>
    where
        S: AsyncWrite + Farewell + Unpin,
    {
        if ahead > 0 {
            // Not held back for what follows: pages of a file behind a packet that is not full cost
            // the kernel more than the packet does.
            let slices = slices.get(..ahead).unwrap_or_default();
            return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        }
        let outgoing = &self.session.outgoing;
        let Some(mut piece) = outgoing.first() else {
            return Poll::Ready(Err(io::ErrorKind::NotFound.into()));
        };
        // No more than the engine has in mind.
        piece.len = piece.len.min(slices.first().map_or(0, |slice| slice.len()));
        let sent = ready!(self.stream.poll_send_file(cx, &piece));
        match &sent {
            Ok(len) => outgoing.advance(*len),
            Err(error) if Changed::is_in(error) => self.session.note_fault(&Fault::Changed),
            Err(_) => {}
        }
        Poll::Ready(sent)
    }

    fn note_read(&mut self, len: usize) {
        self.is_at_end = len == 0;
        let session = &self.session;
        if session.phase.get() == Phase::Waiting {
            session.phase.set(Phase::Head);
            session.flow.watch.arm(session.terms.spans.header);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientIo<S> {
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
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
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

impl<S: AsyncWrite + Farewell + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_engines_own() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.session.note_written();
        Poll::Ready(sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_engines_own() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let sent = match self.session.outgoing.before(slices) {
            None => ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices)),
            Some(ahead) => ready!(self.poll_send(cx, slices, ahead)),
        };
        self.session.note_written();
        Poll::Ready(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The engine asks when it has written all it had.
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.session.note_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.violation.is_some() || self.is_unparsed {
            // There is an answer to be written still.
            return Poll::Ready(Ok(()));
        }
        if !S::IS_SAID {
            // The engine is done with the connection. It is closed next, or shut down by whoever
            // waits for what is still on its way.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
