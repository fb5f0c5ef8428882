//! By which way a server is reached: a trait, so that TLS and its settings are the caller's.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::definition::Tls;

/// How checks reach servers.
///
/// The two halves are apart because they say different things: a connection that fails is evidence
/// against the address, a handshake that fails only against the service.
pub trait Connect: Send + Sync + 'static {
    /// A connection without TLS.
    type Plain: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    /// A connection by TLS.
    type Secure: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Connects to `address`.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the check's time is over.
    fn dial(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Plain>> + Send;

    /// Speaks TLS over a connection, with the name and profile of `tls`, offering `protocols`
    /// (ALPN).
    ///
    /// # Errors
    ///
    /// The handshake failed, the certificate is not right, or the server chose none of the
    /// protocols where that is [`Protocols::Http2`]. [`io::ErrorKind::Unsupported`] if this
    /// connector knows no TLS, or not the profile: then nobody is blamed.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the check's time is over.
    fn secure(
        &self,
        plain: Self::Plain,
        tls: &Tls,
        protocols: Protocols,
    ) -> impl Future<Output = io::Result<Self::Secure>> + Send;
}

/// What is offered to be spoken over TLS (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Protocols {
    /// Nothing is.
    None,
    /// `http/1.1`.
    Http1,
    /// `h2`, and it must be chosen.
    Http2,
}

/// Plain TCP. Checks by TLS are not made with it: their servers stay as they were, and the report
/// says why.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direct;

impl Protocols {
    /// Their names on the wire.
    #[must_use]
    pub fn names(self) -> &'static [&'static [u8]] {
        match self {
            Self::None => &[],
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
        }
    }
}

impl Connect for Direct {
    type Plain = TcpStream;
    type Secure = TcpStream;

    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        dial(address).await
    }

    async fn secure(&self, _: TcpStream, _: &Tls, _: Protocols) -> io::Result<TcpStream> {
        let text = "checks by TLS need a connector that speaks it";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }
}

/// A TCP connection, for connectors that have no way of their own.
///
/// # Errors
///
/// What the operating system says.
///
/// # Cancel safety
///
/// Nothing stays behind.
pub async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    // TCP may connect a closed port of this host to itself.
    let local = stream.local_addr()?;
    match (local.ip(), local.port()) == (address.ip(), address.port()) {
        true => Err(io::ErrorKind::ConnectionRefused.into()),
        false => Ok(stream),
    }
}
