//! Bytes there and bytes back.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use crate::check::exchange::{Exchange, Expect, Matched};
use crate::check::report::Failure;

/// Over a connection.
pub(super) async fn over<S>(exchange: &Exchange, mut stream: S) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |error| Failure::broken(&error);
    stream.write_all(exchange.sent()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let Some(expect) = exchange.expected() else {
        return Ok(());
    };
    let mut heard = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let room = exchange
            .limit()
            .saturating_sub(heard.len())
            .min(piece.len());
        let space = piece.get_mut(..room).unwrap_or_default();
        let len = match room {
            0 => return Err(other(expect, &heard)),
            _ => stream.read(space).await.map_err(broken)?,
        };
        heard.extend_from_slice(piece.get(..len).unwrap_or_default());
        match (expect.judge(&heard), len) {
            (Matched::Yes, _) => return Ok(()),
            (Matched::No, _) => return Err(other(expect, &heard)),
            (Matched::Undecided, 0) if heard.is_empty() => return Err(Failure::Closed),
            (Matched::Undecided, 0) => return Err(other(expect, &heard)),
            (Matched::Undecided, _) => {}
        }
    }
}

/// One datagram there, and one back. Only what comes from the server itself is taken for an answer.
pub(super) async fn datagram(exchange: &Exchange, address: SocketAddr) -> Result<(), Failure> {
    let local: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let ours = |error: std::io::Error| Failure::Local(error.to_string());
    let socket = UdpSocket::bind(local).await.map_err(ours)?;
    // What the host answers to the datagram (nothing listens there) comes as an error.
    let refused = |error| Failure::dial(&error);
    socket.connect(address).await.map_err(refused)?;
    socket.send(exchange.sent()).await.map_err(refused)?;
    let Some(expect) = exchange.expected() else {
        return Ok(());
    };
    let mut heard = vec![0; exchange.limit()];
    let len = socket.recv(&mut heard).await.map_err(refused)?;
    heard.truncate(len);
    match expect.judge(&heard) {
        Matched::Yes => Ok(()),
        Matched::No | Matched::Undecided => Err(other(expect, &heard)),
    }
}

fn other(expect: &Expect, heard: &[u8]) -> Failure {
    let shown = |bytes: &[u8]| {
        let shown = bytes.get(..SHOWN_BYTES).unwrap_or(bytes);
        shown.escape_ascii().to_string()
    };
    Failure::Reply {
        heard: shown(heard),
        expected: shown(expect.bytes()),
    }
}

/// Of an answer that is not the right one.
const SHOWN_BYTES: usize = 64;
