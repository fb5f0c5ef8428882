//! The client's half of a SOCKS5 handshake (RFC 1928), without authentication.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::outcome::Outcome;

/// Agrees on no authentication, sends `request` and waits until the proxy has the target.
///
/// # Errors
///
/// [`Outcome::Reply`] when the proxy says no; otherwise how the handshake broke.
///
/// # Cancel safety
///
/// None: the handshake stops half-way, and the stream must be dropped too.
pub(crate) async fn handshake<S>(stream: &mut S, request: &[u8]) -> Result<(), Outcome>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    send(stream, &GREETING).await?;
    match receive(stream).await? {
        [VERSION, NO_AUTHENTICATION] => {}
        [VERSION, NO_METHOD] => return Err(Outcome::AuthRequired),
        _ => return Err(Outcome::Malformed),
    }
    send(stream, request).await?;
    read_reply(stream).await
}

/// Reads a reply to its last byte: what follows belongs to the tunnel.
async fn read_reply<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(), Outcome> {
    let [version, reply] = receive(stream).await?;
    if version != VERSION {
        return Err(Outcome::Malformed);
    }
    // A proxy that says no has no address to tell, and some close without one.
    if reply != SUCCEEDED {
        return Err(Outcome::Reply(reply));
    }
    let [_reserved, address_type] = receive(stream).await?;
    match address_type {
        IPV4 => receive::<{ 4 + PORT_BYTES }, _>(stream).await.map(drop),
        IPV6 => receive::<{ 16 + PORT_BYTES }, _>(stream).await.map(drop),
        NAME => {
            let [length] = receive(stream).await?;
            let mut rest = vec![0; usize::from(length) + PORT_BYTES];
            stream
                .read_exact(&mut rest)
                .await
                .map_err(|error| Outcome::of_traffic(&error))?;
            Ok(())
        }
        _ => Err(Outcome::Malformed),
    }
}

async fn receive<const N: usize, S: AsyncRead + Unpin>(stream: &mut S) -> Result<[u8; N], Outcome> {
    let mut bytes = [0; N];
    stream
        .read_exact(&mut bytes)
        .await
        .map_err(|error| Outcome::of_traffic(&error))?;
    Ok(bytes)
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), Outcome> {
    stream
        .write_all(bytes)
        .await
        .map_err(|error| Outcome::of_traffic(&error))
}

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NO_METHOD: u8 = 0xFF;
const GREETING: [u8; 3] = [VERSION, 1, NO_AUTHENTICATION];
const SUCCEEDED: u8 = 0;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
const PORT_BYTES: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn replies_are_read_exactly_at_every_split() {
        let table: [(&[u8], Result<(), Outcome>, usize); 7] = [
            (b"\x05\x00\x00\x01\x7f\0\0\x01\x00\x50NEXT", Ok(()), 10),
            (
                b"\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50NEXT",
                Ok(()),
                22,
            ),
            (b"\x05\x00\x00\x03\x04host\x00\x50NEXT", Ok(()), 11),
            (b"\x05\x05\x00\x01\0\0\0\0\0\0", Err(Outcome::Reply(5)), 2),
            (b"\x05\x00\x00\x02\0\0\0\0\0\0", Err(Outcome::Malformed), 4),
            (b"\x04\x00\x00\x01\0\0\0\0\0\0", Err(Outcome::Malformed), 2),
            (b"\x05\x00\x00\x01\x7f", Err(Outcome::Closed), 5),
        ];
        for (bytes, expected, length) in table {
            for at in 0..=bytes.len() {
                let (first, second) = bytes.split_at(at);
                let mut stream = AsyncReadExt::chain(first, second);
                assert_eq!(
                    read_reply(&mut stream).await,
                    expected,
                    "{bytes:?} split at {at}"
                );
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.unwrap();
                assert_eq!(rest, &bytes[length..], "{bytes:?} split at {at}");
            }
        }
    }

    #[tokio::test]
    async fn a_proxy_that_wants_a_password_is_named_as_such() {
        let (mut near, mut far) = tokio::io::duplex(64);
        far.write_all(&[5, 0xFF]).await.unwrap();
        assert_eq!(handshake(&mut near, b"").await, Err(Outcome::AuthRequired));
    }
}
