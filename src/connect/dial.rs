//! How one address is dialled: by TCP, unless the caller brings a way of its own.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::outcome::Outcome;

/// How a [`Connector`](crate::Connector) opens a stream to one address: TCP with options, TLS,
/// a Unix socket, a proxy, anything. Which address is dialled and when, how long a dial may be
/// silent, and what is recorded of it stay with the connector.
///
/// A dial is judged from its beginning to its end. One that ends with the TLS handshake makes a
/// host that accepts and then says nothing as suspect as one that does not accept; its usual connect
/// time is that of the whole, so diallers that take very different times to the same addresses are
/// better given a registry each.
///
/// Implemented for functions of an address, and for `Arc`s of diallers.
///
/// # Names
///
/// A dialler is told an address and no name. One that speaks TLS is made for one name:
/// `connector.clone().dialler(tls.to("example.org")).connect("example.org", 443)`.
///
/// # What is no socket address
///
/// A registry is keyed by socket addresses alone: they fit the words that its readers load, whereas
/// a path would have to be compared where nobody may wait. A Unix socket, or whatever else has no
/// address, is given one to stand in for it, and the dialler has the table. `100::/64` (RFC 6666)
/// leads nowhere, should it ever be dialled by mistake. The stand-ins are what `status`, events and
/// snapshots tell; if health is to survive a restart, one thing must keep its stand-in.
///
/// # Examples
///
/// Unix sockets:
///
/// ```
/// # #[cfg(unix)] mod only {
/// use std::collections::HashMap;
/// use std::net::SocketAddr;
/// use std::path::PathBuf;
/// use std::sync::Arc;
/// use std::{future, io};
///
/// use risefall::{Dial, Policy, Registry};
/// use tokio::net::UnixStream;
///
/// #[derive(Clone)]
/// struct Paths(Arc<HashMap<SocketAddr, PathBuf>>);
///
/// impl Dial for Paths {
///     type Stream = UnixStream;
///
///     async fn dial(&self, address: SocketAddr) -> io::Result<UnixStream> {
///         let path = self.0.get(&address).ok_or(io::ErrorKind::InvalidInput)?;
///         UnixStream::connect(path).await
///     }
/// }
///
/// # async fn dial() -> Result<(), risefall::ConnectError> {
/// let stand_ins: [SocketAddr; 2] = ["[100::1]:0", "[100::2]:0"].map(|one| one.parse().unwrap());
/// let paths = ["/run/one.sock", "/run/two.sock"].map(PathBuf::from);
/// let paths = Paths(Arc::new(stand_ins.into_iter().zip(paths).collect()));
///
/// let registry = Registry::new(Policy::default());
/// let connector = registry.connector().dialler(paths);
/// let (stream, stand_in) = connector.connect_to(&stand_ins).await?;
/// # Ok(()) }
/// # }
/// ```
pub trait Dial: Send + Sync {
    /// What a dial yields.
    type Stream: Send + 'static;

    /// Opens a stream to the address.
    ///
    /// # Errors
    ///
    /// Whatever [`outcome`](Self::outcome) can tell the meaning of.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when another address has answered first, at the connect timeout, and
    /// when the caller gives up. Whatever it has opened has to be closed by that.
    fn dial(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// What a failed dial says of the address. Default: [`Outcome::of`], which knows the errors of
    /// the operating system and holds others against nobody; a dialler that speaks a protocol has
    /// to say which of its errors are the peer's.
    fn outcome(&self, error: &io::Error) -> Outcome {
        Outcome::of(error)
    }

    /// Told how each dial has ended, once, whichever address the call went to in the end: for
    /// metrics. Dials that nobody waits for any more, but that go on to find out about an address, are
    /// told of when they end. Default: nothing.
    ///
    /// It is called where the dial is polled or dropped, and must not wait.
    fn note_end(&self, address: SocketAddr, end: DialEnd<'_>) {
        let _ = (address, end);
    }
}

/// How one dial ended. Told to [`Dial::note_end`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum DialEnd<'a> {
    /// There is a stream.
    Answered,
    /// The dialler gave this error.
    Failed(&'a io::Error),
    /// There was no answer in time: not until the connect timeout, not until the call's own end, or
    /// not for as long as is held against the address when it is given up (`stall_after`).
    Silent,
    /// It was given up sooner: another address answered first, or the caller went away.
    Abandoned,
}

/// TCP of the operating system: what a [`Connector`](crate::Connector) dials by, unless told
/// otherwise. A dialler of your own may begin with it.
///
/// A stream that is connected to itself is refused: TCP's simultaneous open lets a dial to a closed
/// port of this host succeed when the system picks that very port as the source, an answer from
/// nobody.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TcpDialler {
    nodelay: bool,
}

impl TcpDialler {
    /// As `TcpStream::connect` dials.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`). Default no, as the operating system
    /// has it; requests and answers want yes.
    #[must_use]
    pub fn nodelay(self, nodelay: bool) -> Self {
        Self { nodelay }
    }
}

impl Dial for TcpDialler {
    type Stream = TcpStream;

    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = not_ourselves(TcpStream::connect(address).await?)?;
        if self.nodelay {
            stream.set_nodelay(true)?;
        }
        Ok(stream)
    }
}

impl<F, D, S> Dial for F
where
    F: Fn(SocketAddr) -> D + Send + Sync,
    D: Future<Output = io::Result<S>> + Send,
    S: Send + 'static,
{
    type Stream = S;

    fn dial(&self, address: SocketAddr) -> impl Future<Output = io::Result<S>> + Send {
        self(address)
    }
}

impl<D: Dial> Dial for Arc<D> {
    type Stream = D::Stream;

    fn dial(&self, address: SocketAddr) -> impl Future<Output = io::Result<D::Stream>> + Send {
        (**self).dial(address)
    }

    fn outcome(&self, error: &io::Error) -> Outcome {
        (**self).outcome(error)
    }

    fn note_end(&self, address: SocketAddr, end: DialEnd<'_>) {
        (**self).note_end(address, end);
    }
}

/// Refuses a stream that is connected to itself. A peer that has gone again before it could be
/// looked at has reset the connection.
fn not_ourselves(stream: TcpStream) -> io::Result<TcpStream> {
    let peer = stream.peer_addr().map_err(|error| match error.kind() {
        io::ErrorKind::NotConnected => io::ErrorKind::ConnectionReset.into(),
        _ => error,
    })?;
    if peer.ip().is_loopback() && stream.local_addr()? == peer {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}
