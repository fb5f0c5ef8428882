//! SOCKS5 (RFC 1928): a greeting, a request, a reply, and then a tunnel.
//!
//! A request that cannot be served gets its reply before the connection is closed, so that the
//! client knows why. A client that is barred learns it in the same way.

use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;

use crate::error::Fault;
use crate::forward::{Tunnel, Visit};
use crate::proto::socks5::{self, Method, NO_ADDRESS, Reply, Request};
use crate::proto::{Parsed, Target};
use crate::serve::first::read_more;
use crate::serve::http1;
use crate::serve::session::{Session, What};
use crate::upstream::dial::Dialled;

/// Serves the handshake; gives the tunnel if there is one. `bytes` were read before.
///
/// # Cancel safety
///
/// Dropping it closes the connection without a reply.
pub(super) async fn serve(
    mut stream: TcpStream,
    mut bytes: Vec<u8>,
    visit: &Visit,
    barred: Option<Fault>,
) -> Option<Tunnel> {
    let session = &visit.session;
    let target = negotiate(&mut stream, &mut bytes, session).await?;
    session.begin(What::Socks5(target.clone()));
    session.flow.watch.disarm();
    match connect(&mut stream, &target, visit, barred).await {
        Ok(dialled) => Some(Tunnel {
            client: stream,
            early: bytes,
            dialled,
        }),
        Err(fault) => {
            session.note_fault(&fault);
            refuse(&mut stream, fault.reply(), session).await;
            session.finish();
            None
        }
    }
}

/// Reads greeting and request, and leaves in `bytes` what follows them. `None` if the connection
/// is over: the client has been told why, as far as there is an answer for it.
async fn negotiate(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    session: &Session,
) -> Option<Target> {
    let greeting = loop {
        match socks5::parse_greeting(bytes) {
            Ok(Parsed::Whole { value, consumed }) => {
                break (value.choose(&[Method::NoAuth]), consumed);
            }
            Ok(Parsed::NeedMore) => {}
            Err(error) => {
                tracing::debug!(client = %session.client, %error, "bad SOCKS5 greeting");
                if let Some(answer) = error.answer() {
                    close_with(stream, &answer, session).await;
                }
                return None;
            }
        }
        if !read_more(stream, bytes, socks5::GREETING_LIMIT, session).await {
            return None;
        }
    };
    let (method, consumed) = greeting;
    bytes.drain(..consumed);
    if method.is_none() {
        close_with(stream, &socks5::encode_method(None), session).await;
        return None;
    }
    write(stream, &socks5::encode_method(method), session).await?;
    read_request(stream, bytes, session).await
}

async fn read_request(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    session: &Session,
) -> Option<Target> {
    loop {
        let reply = match socks5::parse_request(bytes) {
            Ok(Parsed::Whole {
                value: Request::Connect(target),
                consumed,
            }) => {
                bytes.drain(..consumed);
                return Some(target);
            }
            Ok(Parsed::Whole { .. }) => Reply::CommandNotSupported,
            Ok(Parsed::NeedMore) => {
                if !read_more(stream, bytes, socks5::REQUEST_LIMIT, session).await {
                    return None;
                }
                continue;
            }
            Err(error) => {
                tracing::debug!(client = %session.client, %error, "bad SOCKS5 request");
                error.answer()
            }
        };
        refuse(stream, reply, session).await;
        return None;
    }
}

/// Dials, and tells the client with the address its traffic will come from.
async fn connect(
    stream: &mut TcpStream,
    target: &Target,
    visit: &Visit,
    barred: Option<Fault>,
) -> Result<Dialled, Fault> {
    let session = &visit.session;
    if let Some(fault) = barred {
        return Err(fault);
    }
    let errand = session.errand(target);
    let dial = session.context.dialler.dial(errand, &visit.rules.way);
    let dialled = tokio::select! {
        biased;
        dialled = dial => dialled?,
        () = has_left(stream) => return Err(Fault::Cut("the client left before the reply")),
    };
    session.note_dialled(dialled.address, dialled.effort);
    let bound = dialled.stream.local_addr().unwrap_or(NO_ADDRESS);
    session.flow.watch.arm(session.terms.spans.handshake);
    write(stream, &Reply::Succeeded.encode(bound), session)
        .await
        .ok_or(Fault::Cut("the client left before the reply"))?;
    Ok(dialled)
}

/// Ready when the client has closed before its reply. One that has sent something of its tunnel
/// already may have ended its half on purpose, and is waited with.
async fn has_left(stream: &TcpStream) {
    if let Ok(1..) = stream.peek(&mut [0]).await {
        // Unless it is reset.
        let _ = stream.ready(Interest::ERROR).await;
    }
}

async fn refuse(stream: &mut TcpStream, reply: Reply, session: &Session) {
    session.note_status(reply.code().into());
    session.flow.watch.arm(session.terms.spans.handshake);
    close_with(stream, &reply.encode(NO_ADDRESS), session).await;
}

async fn close_with(stream: &mut TcpStream, answer: &[u8], session: &Session) {
    if write(stream, answer, session).await.is_some() {
        http1::linger(stream, session).await;
    }
}

/// `None` if the client is gone or does not take it in time.
async fn write(stream: &mut TcpStream, bytes: &[u8], session: &Session) -> Option<()> {
    session
        .flow
        .watch
        .guard(stream.write_all(bytes))
        .await?
        .ok()
}
