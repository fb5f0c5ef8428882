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
        let from = not_looked_through(expect, heard.len());
        heard.extend_from_slice(piece.get(..len).unwrap_or_default());
        match (expect.judge(heard.get(from..).unwrap_or_default()), len) {
            (Matched::Yes, _) => return Ok(()),
            (Matched::No, _) => return Err(other(expect, &heard)),
            (Matched::Undecided, 0) if heard.is_empty() => return Err(Failure::Closed),
            (Matched::Undecided, 0) => return Err(other(expect, &heard)),
            (Matched::Undecided, _) => {}
        }
    }
}

/// Where to look for what is expected when more has come than `heard` bytes, which were looked
/// through: a server that sends byte by byte must not cost the square of what it sends.
fn not_looked_through(expect: &Expect, heard: usize) -> usize {
    match expect {
        Expect::Prefix(_) => 0,
        Expect::Contains(part) => heard.saturating_sub(part.len().saturating_sub(1)),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of an answer that comes in these pieces.
    async fn heard(expect: Expect, pieces: &[&str]) -> Result<(), Failure> {
        let exchange = Exchange::new("").expect(expect).unwrap();
        // Of one byte, or pieces would come together.
        let (ours, mut server) = tokio::io::duplex(1);
        let answers = async move {
            for piece in pieces {
                if server.write_all(piece.as_bytes()).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(over(&exchange, ours), answers).0
    }

    #[tokio::test]
    async fn what_is_expected_is_found_wherever_it_is_cut() {
        for answer in [
            "needle",
            "a needle",
            "nee needle",
            "nneedlee",
            "need needl needle",
        ] {
            let needle = Expect::contains("needle");
            assert_eq!(heard(needle, &[answer]).await, Ok(()), "{answer}");
        }
        assert!(
            heard(Expect::contains("needle"), &["need", "needl"])
                .await
                .is_err()
        );
        assert_eq!(heard(Expect::prefix("+OK"), &["+O", "K"]).await, Ok(()));
        assert!(heard(Expect::prefix("+OK"), &["+", "NO"]).await.is_err());
    }

    #[test]
    fn what_was_looked_through_is_not_again() {
        let part = Expect::contains("needle");
        assert_eq!(not_looked_through(&part, 4000), 3995);
        assert_eq!(not_looked_through(&part, 3), 0);
        assert_eq!(not_looked_through(&Expect::prefix("needle"), 4000), 0);
    }
}
