//! One unit of work, from the connection to the last byte of the answer.

use std::{net::SocketAddr, num::NonZeroU32, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::{
    args::Mode,
    message::{Asked, Response, ResponseParser},
    outcome::Outcome,
    socks,
    targets::{Inner, Target},
};

/// How to reach targets through the proxy.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) proxy: SocketAddr,
    pub(crate) mode: Mode,
    /// For one whole unit, its connection included.
    pub(crate) timeout: Duration,
    /// `None`: no limit.
    pub(crate) units_per_connection: Option<NonZeroU32>,
    /// What one connection may hold of unread answers.
    pub(crate) buffer_bytes: usize,
}

/// A connection to the proxy that carries another unit.
#[derive(Debug)]
pub(crate) struct Link {
    stream: BufReader<TcpStream>,
    units: u32,
    /// Where the tunnel leads; a connection in http mode leads anywhere.
    pub(crate) tunnel_to: Option<Rc<Target>>,
}

impl Link {
    /// The proxy may have closed a connection that idled between units: that is no failure.
    fn is_still_open(&self) -> bool {
        let mut probe = [0];
        self.stream.buffer().is_empty() && is_open_and_silent(self.stream.get_ref(), &mut probe)
    }
}

impl Client {
    /// Does one unit, on `link` if one is given, and hands back the connection if it can carry
    /// another.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; the unit's answer is lost.
    pub(crate) async fn unit(
        &self,
        link: Option<Link>,
        target: &Rc<Target>,
    ) -> (Outcome, Option<Link>) {
        let attempt = async {
            match self.mode {
                Mode::Http => self.forwarded(link, target).await,
                Mode::Connect | Mode::Socks5 => self.tunnelled(link, target).await,
            }
        };
        match timeout(self.timeout, attempt).await {
            Ok(Ok((outcome, link))) => (outcome, link),
            Ok(Err(outcome)) => (outcome, None),
            Err(_) => (Outcome::Timeout, None),
        }
    }

    /// Connects to the proxy and has it open a tunnel to `target`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub(crate) async fn open_tunnel(
        &self,
        target: &Target,
    ) -> Result<BufReader<TcpStream>, Outcome> {
        let mut stream = self.connect().await?;
        match self.mode {
            Mode::Socks5 => socks::handshake(&mut stream, &target.socks_request).await?,
            Mode::Http | Mode::Connect => {
                let answer = ask(&mut stream, &target.connect, Asked::Connect).await?;
                if !(200..300).contains(&answer.status) {
                    return Err(Outcome::Status(answer.status));
                }
            }
        }
        Ok(stream)
    }

    async fn forwarded(
        &self,
        link: Option<Link>,
        target: &Target,
    ) -> Result<(Outcome, Option<Link>), Outcome> {
        let mut link = match link.filter(Link::is_still_open) {
            Some(link) => link,
            None => Link {
                stream: self.connect().await?,
                units: 0,
                tunnel_to: None,
            },
        };
        let answer = ask(&mut link.stream, &target.absolute_get, Asked::Get).await?;
        let outcome = if answer.is_success() {
            Outcome::Ok
        } else {
            Outcome::Status(answer.status)
        };
        Ok((outcome, self.keep(link, answer.is_kept_alive)))
    }

    async fn tunnelled(
        &self,
        link: Option<Link>,
        target: &Rc<Target>,
    ) -> Result<(Outcome, Option<Link>), Outcome> {
        let mut link = match link.filter(Link::is_still_open) {
            Some(link) => link,
            None => Link {
                stream: self.open_tunnel(target).await?,
                units: 0,
                tunnel_to: Some(Rc::clone(target)),
            },
        };
        let (outcome, is_kept_alive) = exchange(&mut link.stream, &target.inner).await?;
        Ok((outcome, self.keep(link, is_kept_alive)))
    }

    async fn connect(&self) -> Result<BufReader<TcpStream>, Outcome> {
        let stream = TcpStream::connect(self.proxy)
            .await
            .map_err(|error| Outcome::of_connect(&error))?;
        stream
            .set_nodelay(true)
            .map_err(|error| Outcome::of_traffic(&error))?;
        Ok(BufReader::with_capacity(self.buffer_bytes, stream))
    }

    fn keep(&self, mut link: Link, is_kept_alive: bool) -> Option<Link> {
        link.units = link.units.saturating_add(1);
        let is_spent = self
            .units_per_connection
            .is_some_and(|limit| link.units >= limit.get());
        (is_kept_alive && !is_spent).then_some(link)
    }
}

/// Sends what belongs inside a tunnel and reads the answer in full.
///
/// # Cancel safety
///
/// None: bytes may be half sent or half read, and the stream must be dropped too.
pub(crate) async fn exchange<S>(stream: &mut S, inner: &Inner) -> Result<(Outcome, bool), Outcome>
where
    S: AsyncBufRead + AsyncWrite + Unpin,
{
    match inner {
        Inner::Get(request) => {
            let answer = ask(stream, request, Asked::Get).await?;
            let outcome = if answer.is_success() {
                Outcome::Ok
            } else {
                Outcome::TargetStatus(answer.status)
            };
            Ok((outcome, answer.is_kept_alive))
        }
        Inner::Ping(payload) => {
            send(stream, payload).await?;
            read_echo(stream, payload).await?;
            Ok((Outcome::Ok, true))
        }
    }
}

/// The peer has neither closed nor sent anything unasked. `probe` is scratch space.
pub(crate) fn is_open_and_silent(stream: &TcpStream, probe: &mut [u8; 1]) -> bool {
    matches!(stream.try_read(probe), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

async fn ask<S>(stream: &mut S, request: &[u8], asked: Asked) -> Result<Response, Outcome>
where
    S: AsyncBufRead + AsyncWrite + Unpin,
{
    send(stream, request).await?;
    let mut parser = ResponseParser::new(asked);
    loop {
        let bytes = stream
            .fill_buf()
            .await
            .map_err(|error| Outcome::of_traffic(&error))?;
        if bytes.is_empty() {
            return parser.complete_at_end().ok_or(Outcome::Closed);
        }
        let taken = parser.feed(bytes).map_err(|_| Outcome::Malformed)?;
        stream.consume(taken);
        if let Some(response) = parser.complete() {
            return Ok(response);
        }
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), Outcome> {
    stream
        .write_all(bytes)
        .await
        .map_err(|error| Outcome::of_traffic(&error))
}

async fn read_echo<S: AsyncBufRead + Unpin>(stream: &mut S, sent: &[u8]) -> Result<(), Outcome> {
    let mut echo = vec![0; sent.len()];
    stream
        .read_exact(&mut echo)
        .await
        .map_err(|error| Outcome::of_traffic(&error))?;
    if echo == sent {
        Ok(())
    } else {
        Err(Outcome::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How an exchange ended, and whether the tunnel may carry another.
    type Ended = Result<(Outcome, bool), Outcome>;

    /// What a unit makes of `answer`, given by the far end of a pipe that then closes.
    async fn exchange_with(inner: Inner, answer: &[u8]) -> Ended {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        exchange(&mut BufReader::new(near), &inner).await
    }

    #[tokio::test]
    async fn an_exchange_tells_its_endings_apart() {
        let get = || Inner::Get(b"GET / HTTP/1.1\r\n\r\n".to_vec());
        let ping = || Inner::Ping(vec![0; 4]);
        let table: [(Inner, &[u8], Ended); 8] = [
            (
                get(),
                b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                Ok((Outcome::Ok, true)),
            ),
            (
                get(),
                b"HTTP/1.1 200 OK\r\n\r\nto the end",
                Ok((Outcome::Ok, false)),
            ),
            (
                get(),
                b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
                Ok((Outcome::TargetStatus(404), true)),
            ),
            (
                get(),
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
                Err(Outcome::Closed),
            ),
            (get(), b"SSH-2.0-something\r\n\r\n", Err(Outcome::Malformed)),
            (get(), b"", Err(Outcome::Closed)),
            (ping(), &[0, 0, 0, 0], Ok((Outcome::Ok, true))),
            (ping(), &[0, 0, 0, 1], Err(Outcome::Malformed)),
        ];
        for (inner, answer, expected) in table {
            let shown = String::from_utf8_lossy(answer).into_owned();
            assert_eq!(exchange_with(inner, answer).await, expected, "{shown:?}");
        }
    }
}
