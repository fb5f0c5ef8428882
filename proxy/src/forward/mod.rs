//! The forward proxy: HTTP, CONNECT and SOCKS5 on one port, told apart by their first bytes.

mod exchange;
pub mod rules;
mod socks;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::TcpStream;

use crate::error::Fault;
use crate::forward::rules::Rules;
use crate::net::relay;
use crate::proto::sniff::{Sniffed, sniff};
use crate::serve::context::Place;
use crate::serve::first::{read_more, turn_away};
use crate::serve::io::Duplex;
use crate::serve::session::{Session, What};
use crate::serve::{answer, http1, tunnel};
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
    let session = Rc::new(Session::new(place, Rc::clone(&rules.terms), client));
    let visit = Rc::new(Visit {
        session,
        rules,
        tunnel: Cell::new(None),
    });
    // In a box of its own, so that a tunnel does not carry the room that its handshake took.
    if let Some(tunnel) = Box::pin(greet(stream, &visit, barred)).await {
        tunnel.run(&visit.session).await;
    }
}

/// A connection, and what it may do.
struct Visit {
    session: Rc<Session>,
    rules: Rc<Rules>,
    /// A dialled stream on its way from the request to the tunnel.
    tunnel: Cell<Option<Dialled>>,
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
        let patience = tunnel::begin(session, None);
        let (moved, watch) = (&session.flow.moved, &session.flow.watch);
        let ended = relay::relay(&mut client, &mut target, early, moved, watch, patience).await;
        let may_read = tunnel::finish(session, ended, None);
        drop(target);
        if may_read {
            http1::linger(&mut client, session).await;
        }
    }
}

/// Reads the first bytes, finds the protocol, and serves it until the end or until a tunnel.
async fn greet(mut stream: TcpStream, visit: &Rc<Visit>, barred: Option<Fault>) -> Option<Tunnel> {
    let mut first = Vec::new();
    let session = &visit.session;
    let client = session.client;
    let spoken = visit.rules.forward.protocols;
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
            Sniffed::Socks5 => return socks::serve(stream, first, visit, barred).await,
            Sniffed::Http => {
                if let Some(fault) = barred {
                    session.begin(What::Unread);
                    session.note_fault(&fault);
                    session.note_status(fault.status());
                    turn_away(&mut stream, &answer::raw(&fault), session).await;
                    session.finish();
                    return None;
                }
                session.flow.watch.arm(session.terms.spans.header);
                return serve_http(stream, first, visit).await;
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

/// Serves requests; gives the tunnel that the last of them asked for.
async fn serve_http(mut stream: TcpStream, first: Vec<u8>, visit: &Rc<Visit>) -> Option<Tunnel> {
    let (read, write) = stream.split();
    let client = Duplex::new(read, &write);
    // The engine keeps the room for one request as long as the connection: a box is given back.
    let service = |request| Box::pin(exchange::serve(Rc::clone(visit), request));
    let left = http1::serve(client, &write, first, &visit.session, service).await?;
    let early = left.early;
    Some(Tunnel {
        early,
        dialled: visit.tunnel.take()?,
        client: stream,
    })
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
