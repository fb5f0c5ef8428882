//! A parent: another proxy, through which every target is reached.
//!
//! It is asked with CONNECT (RFC 9110 §9.3.6) for a tunnel to the target. Its answer is read byte
//! for byte up to the end of its head: what follows is the target's already.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use hyper::header::HeaderName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::error::{Breach, Fault};
use crate::net::guard::Guard;
use crate::proto::connect::AnswerError;
use crate::proto::{Host, Parsed, Target, connect};
use crate::upstream::dial::{Dialled, check};
use crate::upstream::group::{Group, key_of_client, key_of_target};

/// A group of proxies that lead to the same targets.
pub struct Parent {
    /// The proxies.
    pub group: Rc<Group>,
    /// What of a request a server is chosen by, where the balance asks for it.
    pub by: KeyBy,
    /// How long one may take to answer.
    pub answer: Duration,
}

/// What of a request a server is chosen by.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum KeyBy {
    /// The client's address.
    #[default]
    Client,
    /// The target's host.
    Target,
    /// The path.
    Path,
    /// A field's value; the client's address where it is missing.
    Header(HeaderName),
    /// A cookie's value; the client's address where it is missing.
    Cookie(String),
}

impl Parent {
    /// Whether `target` may be asked for. The parent resolves names, so a rule on addresses can hold
    /// only what is written as one.
    ///
    /// # Errors
    ///
    /// It may not; the fault tells why.
    pub fn check(&self, guard: &Guard, target: &Target) -> Result<(), Fault> {
        match target.host() {
            Host::Ip(ip) => check(guard, SocketAddr::new(*ip, target.port())),
            Host::Name(_) => Ok(()),
        }
    }

    /// What a server is chosen by.
    pub(super) fn key(&self, client: IpAddr, target: &Target) -> u64 {
        match self.by {
            KeyBy::Target => key_of_target(target),
            // Of a tunnel nothing more is known.
            _ => key_of_client(client),
        }
    }

    /// Has the parent open a tunnel to `target`.
    pub(super) async fn lead(&self, dialled: &mut Dialled, target: &Target) -> Result<(), Fault> {
        let address = dialled.address;
        let led = tokio::time::timeout(self.answer, ask(&mut dialled.stream, target)).await;
        match led {
            Err(_) => Err(Fault::HeadTimedOut {
                address,
                after: self.answer,
            }),
            Ok(Err(error)) => Err(Fault::Broken {
                address,
                how: breach(&error),
                reason: format!("as a parent: {error}").into(),
            }),
            Ok(Ok(status)) => match status {
                200..=299 => Ok(()),
                status => Err(Fault::Parent { address, status }),
            },
        }
    }
}

fn breach(error: &io::Error) -> Breach {
    let said = error.get_ref();
    match said.and_then(|said| said.downcast_ref()) {
        Some(AnswerError::TooLong) => Breach::Head,
        Some(_) => Breach::Protocol,
        None => Breach::Incomplete,
    }
}

/// The status of the parent's answer.
async fn ask(stream: &mut TcpStream, target: &Target) -> io::Result<u16> {
    stream.write_all(&connect::encode_request(target)).await?;
    read_answer(stream).await
}

/// Reads the head of the answer and not a byte more.
async fn read_answer(stream: &mut TcpStream) -> io::Result<u16> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        head.resize(before + PEEK, 0);
        let seen = stream
            .peek(head.get_mut(before..).unwrap_or_default())
            .await?;
        if seen == 0 {
            return Err(io::Error::other("it closed the connection in its answer"));
        }
        head.truncate(before + seen);
        let parsed = connect::parse_answer(&head).map_err(io::Error::other)?;
        if let Parsed::Whole { consumed, .. } = parsed {
            head.truncate(consumed);
        }
        stream
            .read_exact(head.get_mut(before..).unwrap_or_default())
            .await?;
        if let Parsed::Whole { value, .. } = parsed {
            return Ok(value);
        }
    }
}

const PEEK: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_follows_the_head_is_left_for_the_target() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut parent, _) = listener.accept().await.unwrap();
        let said = tokio::spawn(async move {
            for part in ["HTTP/1.1 200 OK\r\nA: b\r", "\n\r", "\nSSH-2.0-x\r\n"] {
                parent.write_all(part.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(read_answer(&mut client).await.unwrap(), 200);
        said.await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"SSH-2.0-x\r\n");
    }

    #[tokio::test]
    async fn an_endless_head_is_refused() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut parent, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let _ = parent.write_all(b"HTTP/1.1 200 OK\r\n").await;
            let _ = parent.write_all(&[b'a'; 64 * 1024]).await;
        });
        let refused = read_answer(&mut client).await.unwrap_err();
        assert!(refused.to_string().contains("longer than"), "{refused}");
    }
}
