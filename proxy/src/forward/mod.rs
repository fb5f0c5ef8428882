//! The forward proxy: HTTP, CONNECT and SOCKS5 on one port, told apart by their first bytes.

mod answer;
pub mod body;
pub mod context;
mod exchange;
mod headers;
pub mod http;
mod session;
mod socks;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::error::Fault;
use crate::forward::context::{ONE_WAY, Place, Rules};
use crate::forward::session::{Session, What};
use crate::net::relay::{self, Ended, Patience};
use crate::net::scratch;
use crate::proto::sniff::{Sniffed, sniff};
use crate::upstream::dial::Dialled;

/// Serves one client connection to its end. A client with `barred` is only told why.
///
/// # Cancel safety
///
/// Dropping it cuts the connection; the access log tells so.
pub async fn serve(
    stream: TcpStream,
    client: SocketAddr,
    place: Place,
    rules: Rc<Rules>,
    barred: Option<Fault>,
) {
    let session = Rc::new(Session::new(place, rules, client));
    // In a box of its own, so that a tunnel does not carry the room that its handshake took.
    if let Some(tunnel) = Box::pin(greet(stream, &session, barred)).await {
        tunnel.run(&session).await;
    }
}

/// Two connections that are to become one.
struct Tunnel {
    client: TcpStream,
    /// Bytes of the client that belong to the target already.
    early: Vec<u8>,
    dialled: Dialled,
}

impl Tunnel {
    async fn run(self, session: &Session) {
        let Self {
            mut client,
            early,
            dialled,
        } = self;
        let mut target = dialled.stream;
        session.flow.moved.up.set(0);
        session.flow.moved.down.set(0);
        let timeouts = &session.rules.plan.timeouts;
        let spans = session.rules.spans;
        let watch = &session.flow.watch;
        watch.bound(spans.tunnel);
        let patience = Patience {
            idle: spans.idle,
            one_way: spans.one_way,
            broken: spans.linger,
        };
        let ended = relay::relay(
            &mut client,
            &mut target,
            early,
            &session.flow.moved,
            watch,
            patience,
        );
        let ended = ended.await;
        let is_broken = matches!(ended, Ended::Broken(_));
        match ended {
            Ended::Closed => {}
            Ended::Idle | Ended::OneWay if watch.is_over() => {
                session.note_fault(&Fault::Overlong {
                    what: "tunnel",
                    after: timeouts.tunnel.unwrap_or_default(),
                });
            }
            Ended::Idle => {
                session.note_fault(&Fault::Idle {
                    after: timeouts.idle,
                });
            }
            Ended::OneWay => {
                session.note_fault(&Fault::Idle {
                    after: timeouts.idle.min(ONE_WAY),
                });
            }
            Ended::Broken(error) => {
                tracing::debug!(client = %session.client, %error, "tunnel broke");
                session.note_fault(&Fault::Cut("one side of the tunnel broke"));
            }
        }
        session.finish();
        drop(target);
        if is_broken {
            // The client may still read what the target said last.
            http::linger(&mut client, session).await;
        }
    }
}

/// Reads the first bytes, finds the protocol, and serves it until the end or until a tunnel.
async fn greet(
    mut stream: TcpStream,
    session: &Rc<Session>,
    barred: Option<Fault>,
) -> Option<Tunnel> {
    let mut first = Vec::new();
    let client = session.client;
    let spoken = session.rules.forward.protocols;
    loop {
        match sniff(&first) {
            Sniffed::NeedMore => {}
            Sniffed::Socks5 if !spoken.socks5 => {
                tracing::debug!(%client, "SOCKS5 is not spoken on this listener");
                return None;
            }
            Sniffed::Http if !spoken.http => {
                tracing::debug!(%client, "HTTP is not spoken on this listener");
                return None;
            }
            Sniffed::Socks5 => return socks::serve(stream, first, session, barred).await,
            Sniffed::Http => {
                if let Some(fault) = barred {
                    session.begin(|| What::Unread);
                    session.note_fault(&fault);
                    session.note_status(fault.status());
                    turn_away(&mut stream, &answer::raw(&fault), session).await;
                    session.finish();
                    return None;
                }
                session.flow.watch.arm(session.rules.spans.header);
                return http::serve(stream, first, session).await;
            }
            Sniffed::Socks4 => {
                tracing::debug!(%client, "SOCKS4 is not served, SOCKS5 is");
                turn_away(&mut stream, &SOCKS4_REJECTED, session).await;
                return None;
            }
            other => {
                tracing::debug!(%client, "{}", unserved(other));
                return None;
            }
        }
        if !read_more(&mut stream, &mut first, FIRST_READ, session).await {
            return None;
        }
    }
}

/// Reads on, within the session's deadline; a little less of it when draining. False at the end.
async fn read_more(
    stream: &mut TcpStream,
    into: &mut Vec<u8>,
    limit: usize,
    session: &Session,
) -> bool {
    let mut read = pin!(scratch::read_into(stream, into, limit));
    let mut is_told = false;
    poll_fn(|cx| {
        if let Poll::Ready(read) = read.as_mut().poll(cx) {
            return Poll::Ready(read.is_ok_and(|len| len > 0));
        }
        if session.is_draining() && !is_told {
            is_told = true;
            session.flow.watch.arm(session.rules.spans.grace);
        }
        session.flow.watch.poll_due(cx).map(|()| false)
    })
    .await
}

/// Answers and closes.
async fn turn_away(stream: &mut TcpStream, answer: &[u8], session: &Session) {
    let written = session.flow.watch.guard(stream.write_all(answer)).await;
    if written.is_some_and(|written| written.is_ok()) {
        http::linger(stream, session).await;
    }
}

fn unserved(sniffed: Sniffed) -> &'static str {
    match sniffed {
        Sniffed::Tls => "a TLS handshake; this port speaks plain HTTP and SOCKS5",
        Sniffed::ProxyV2 => "a PROXY header, which this listener does not take",
        _ => "neither HTTP nor SOCKS5",
    }
}

/// The most that is read before the protocol is known.
const FIRST_READ: usize = 16 * 1024;
/// "Request rejected or failed", in a reply without an address.
const SOCKS4_REJECTED: [u8; 8] = [0, 0x5b, 0, 0, 0, 0, 0, 0];
