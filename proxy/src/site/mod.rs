//! HTTP servers: routes, reverse proxy.
//!
//! What a request means is decided here without a socket, step by step:
//!
//! - [`headers`]: an HTTP/2 request is examined again before it may become an HTTP/1.1 one, and a
//!   server's response before it may go to the client.
//! - [`target`]: which host and which path are asked for, in one spelling. By that spelling the
//!   request is routed, and that spelling is sent on.
//! - [`route`]: the site and the route that are for it.
//! - [`forwarded`]: for whom it is, and what the server is told about that.
//! - [`rewrite`]: what the route changes, and where a redirect leads.

mod answer;
mod exchange;
pub mod files;
pub mod forwarded;
mod guard;
mod h2;
pub mod headers;
mod key;
mod prefixed;
pub mod rewrite;
pub mod route;
pub mod rules;
mod sticky;
pub mod target;
mod upgrade;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio_rustls::TlsAcceptor;

use crate::error::Fault;
use crate::net::relay;
use crate::net::tls::ServerTls;
use crate::serve::context::Place;
use crate::serve::first::{read_more, turn_away};
use crate::serve::http1;
use crate::serve::io::{Duplex, Farewell};
use crate::serve::session::{Session, What};
use crate::serve::{answer as plain_answer, tunnel};
use forwarded::Peer;
use rules::Rules;
use target::{Asked, LastHost};
use upgrade::Switched;

/// A connection, and what is known of who is at its other end.
struct Visit {
    rules: Rc<Rules>,
    peer: Peer,
    /// The name that was asked for by TLS (SNI), if TLS is spoken.
    sni: Option<Box<str>>,
    last_host: LastHost,
    /// Numbers requests.
    random: RefCell<fastrand::Rng>,
    /// A server's stream on its way from the request to the tunnel.
    switched: Cell<Option<Switched>>,
}

impl Visit {
    /// Whether the certificate that the client was shown is for the host that it asks for
    /// (RFC 9110 §15.5.20). A client that named nobody has not been shown one by name.
    fn check_name(&self, asked: &Asked) -> Result<(), Fault> {
        let (Some(tls), Some(sni)) = (&self.rules.tls, self.sni.as_deref()) else {
            return Ok(());
        };
        if sni.eq_ignore_ascii_case(asked.host()) || tls.covers(Some(sni), asked.host()) {
            return Ok(());
        }
        Err(Fault::Misdirected)
    }
}

/// Serves one client connection to its end. A client with `barred` is only told why.
///
/// # Cancel safety
///
/// Dropping it cuts the connection; the access log tells so.
pub async fn serve(
    mut stream: TcpStream,
    client: SocketAddr,
    place: Place,
    rules: Rc<Rules>,
    barred: Option<Fault>,
) {
    let session = Rc::new(Session::new(place, Rc::clone(&rules.terms), client));
    let (read, write) = stream.split();
    let duplex = Duplex::new(read, &write);
    let visit = Visit {
        rules,
        peer: Peer::new(client),
        sni: None,
        last_host: LastHost::default(),
        random: RefCell::new(fastrand::Rng::new()),
        switched: Cell::new(None),
    };
    // In boxes of their own: a task has the room for the one that it needs.
    match visit.rules.tls.clone() {
        None => Box::pin(plain(duplex, &write, Rc::new(visit), &session, barred)).await,
        // A handshake costs more than whoever is turned away is worth.
        Some(_) if barred.is_some() => {}
        Some(tls) => Box::pin(secure(duplex, &write, &tls, visit, &session)).await,
    }
}

/// Serves a client that speaks TLS: HTTP/1 or HTTP/2, as agreed upon (ALPN).
async fn secure(
    stream: Duplex<'_>,
    tcp: &WriteHalf<'_>,
    tls: &ServerTls,
    mut visit: Visit,
    session: &Rc<Session>,
) {
    let client = session.client;
    let accepting = TlsAcceptor::from(Arc::clone(tls.config())).accept(stream);
    let stream = match session.flow.watch.guard(accepting).await {
        None => {
            tracing::debug!(%client, "the TLS handshake took too long");
            return;
        }
        Some(Err(error)) => {
            tracing::debug!(%client, %error, "no TLS");
            return;
        }
        Some(Ok(stream)) => stream,
    };
    let (_, connection) = stream.get_ref();
    visit.sni = connection.server_name().map(Into::into);
    let is_h2 = connection.alpn_protocol() == Some(b"h2");
    let visit = Rc::new(visit);
    if is_h2 {
        Box::pin(h2::serve(stream, &visit, session)).await;
    } else {
        session.flow.watch.arm(session.terms.spans.header);
        serve_h1(stream, tcp, Vec::new(), &visit, session).await;
    }
}

/// Serves a client that speaks no TLS: HTTP/1, or HTTP/2 by prior knowledge (RFC 9113 §3.3).
async fn plain(
    mut stream: Duplex<'_>,
    tcp: &WriteHalf<'_>,
    visit: Rc<Visit>,
    session: &Rc<Session>,
    barred: Option<Fault>,
) {
    let mut first = Vec::new();
    if let Some(fault) = barred {
        if read_more(&mut stream, &mut first, FIRST_READ, session).await {
            session.begin(What::Unread);
            session.note_fault(&fault);
            session.note_status(fault.status());
            turn_away(&mut stream, &plain_answer::raw(&fault), session).await;
            session.finish();
        }
        return;
    }
    if visit.rules.h2c {
        while PREFACE.starts_with(&first) && first.len() < PREFACE.len() {
            if !read_more(&mut stream, &mut first, FIRST_READ, session).await {
                return;
            }
        }
        if first.starts_with(PREFACE) {
            let stream = prefixed::Prefixed::new(stream, first);
            return Box::pin(h2::serve(stream, &visit, session)).await;
        }
    }
    session.flow.watch.arm(session.terms.spans.header);
    session.outgoing.understand();
    serve_h1(stream, tcp, first, &visit, session).await;
}

/// Serves requests, and the tunnel that one of them may end in.
async fn serve_h1<S>(
    stream: S,
    tcp: &WriteHalf<'_>,
    first: Vec<u8>,
    visit: &Rc<Visit>,
    session: &Rc<Session>,
) where
    S: AsyncRead + AsyncWrite + Farewell + Unpin,
{
    // The engine keeps the room for one request as long as the connection: a box is given back.
    let service = |request| {
        let (visit, session) = (Rc::clone(visit), Rc::clone(session));
        Box::pin(exchange::serve(visit, session, request))
    };
    // In a box of its own, so that a tunnel does not carry the room that requests took.
    let left = Box::pin(http1::serve(stream, tcp, first, session, service)).await;
    let (Some(mut left), Some(mut switched)) = (left, visit.switched.take()) else {
        return;
    };
    let patience = tunnel::begin(session, switched.idle);
    let Some((mut server, early)) = switched.stream(session).await else {
        session.note_cut();
        session.finish();
        return;
    };
    let sides = relay::Early {
        up: left.early,
        down: early,
    };
    let (moved, watch) = (&session.flow.moved, &session.flow.watch);
    let ended = relay::relay_any(&mut left.stream, &mut server, sides, moved, watch, patience);
    let ended = ended.await;
    if tunnel::finish(session, ended, switched.idle_time) {
        http1::linger(&mut left.stream, session).await;
    }
}

/// The most that is read before the protocol is known.
const FIRST_READ: usize = 16 * 1024;
/// What an HTTP/2 client begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
