//! A parent: another proxy, through which every target is reached.
//!
//! It is asked with CONNECT (RFC 9110 §9.3.6) for a tunnel to the target. Its answer is read byte
//! for byte up to the end of its head: what follows is the target's already.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;
use risefall::judge::Judge;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::error::Fault;
use crate::net::dial::{Dialled, check};
use crate::net::guard::Guard;
use crate::proto::{Host, Target};

/// A group of proxies that lead to the same targets.
pub struct Parent {
    /// Judges the servers by the group's own policy.
    pub judge: Arc<dyn Judge>,
    /// Tried first.
    pub servers: Vec<Target>,
    /// Tried when none of them can be had.
    pub backups: Vec<Target>,
    /// What its connections are pooled by: the same for the same servers only.
    pub key: Rc<str>,
    /// How long it may take to answer.
    pub answer: Duration,
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

    /// Has the parent open a tunnel to `target`.
    pub(super) async fn lead(&self, dialled: &mut Dialled, target: &Target) -> Result<(), Fault> {
        let address = dialled.address;
        let led = tokio::time::timeout(self.answer, ask(&mut dialled.stream, target)).await;
        let broken = |reason: String| Fault::Broken {
            address,
            reason: reason.into(),
        };
        match led {
            Err(_) => Err(Fault::HeadTimedOut {
                address,
                after: self.answer,
            }),
            Ok(Err(error)) => Err(broken(format!("as a parent: {error}"))),
            Ok(Ok(status)) => match status {
                200..=299 => Ok(()),
                status => Err(Fault::Parent { address, status }),
            },
        }
    }
}

/// The status of the parent's answer.
async fn ask(stream: &mut TcpStream, target: &Target) -> io::Result<u16> {
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let head = read_head(stream).await?;
    status(&head).ok_or_else(|| io::Error::other("found no HTTP/1.1 status line"))
}

/// Reads up to the empty line and not a byte more.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
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
        // The end may have begun in what was read before.
        let from = before.saturating_sub(END.len() - 1);
        let found = memmem::find(head.get(from..).unwrap_or_default(), END);
        let is_whole = found.is_some();
        if let Some(at) = found {
            head.truncate(from + at + END.len());
        }
        let taken = head.get_mut(before..).unwrap_or_default();
        stream.read_exact(taken).await?;
        if is_whole {
            return Ok(head);
        }
        if head.len() > HEAD_MOST {
            return Err(io::Error::other("the head of its answer is too long"));
        }
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|&byte| byte == b'\r').next()?;
    let rest = line
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| line.strip_prefix(b"HTTP/1.0 "))?;
    let digits = std::str::from_utf8(rest.get(..3)?).ok()?;
    let is_ended = matches!(rest.get(3), None | Some(b' '));
    digits.parse().ok().filter(|_| is_ended)
}

const END: &[u8] = b"\r\n\r\n";
const PEEK: usize = 1024;
const HEAD_MOST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_three_digits_behind_the_version() {
        for (head, expected) in [
            ("HTTP/1.1 200 Connection established\r\n\r\n", Some(200)),
            ("HTTP/1.0 407 \r\nA: b\r\n\r\n", Some(407)),
            ("HTTP/1.1 200\r\n\r\n", Some(200)),
            ("HTTP/1.1 2000\r\n\r\n", None),
            ("HTTP/2 200\r\n\r\n", None),
            ("HTTP/1.1 2x0 \r\n\r\n", None),
            ("\r\n\r\n", None),
            ("SSH-2.0-a\r\n\r\n", None),
        ] {
            assert_eq!(status(head.as_bytes()), expected, "{head:?}");
        }
    }

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
        let head = read_head(&mut client).await.unwrap();
        assert_eq!(head, b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
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
            let _ = parent.write_all(&[b'a'; 64 * 1024]).await;
        });
        let refused = read_head(&mut client).await.unwrap_err();
        assert!(refused.to_string().contains("too long"), "{refused}");
    }
}
