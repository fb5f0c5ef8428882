//! A request that asks to leave HTTP (RFC 9110 §7.8), WebSocket above all, and what comes of it.
//!
//! The client's connection becomes a tunnel only when a server has answered 101 to this very
//! request. HTTP/2 without TLS is not switched to in that way (RFC 9113 dropped it), nor any other
//! version of HTTP, nor TLS: what follows would be requests that no route has seen.

use std::time::Duration;

use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, TE, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::net::stream::Stream;
use crate::net::ticks::Span;
use crate::serve::session::Session;
use crate::upstream::pool::{Lease, Paced};

/// A server's connection that has left HTTP.
pub(super) struct Switched {
    on_upgrade: OnUpgrade,
    /// Keeps the server busy as long as the tunnel lives.
    _lease: Lease,
    /// How long it may stand still, if that is its own.
    pub(super) idle: Option<Span>,
    /// The same, as it was said.
    pub(super) idle_time: Option<Duration>,
}

/// What is asked for by a request of HTTP/1.1 without a body, if it may be had.
pub(super) fn asked(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut upgrades = headers.get_all(UPGRADE).iter();
    let (upgrade, None) = (upgrades.next()?, upgrades.next()) else {
        return None;
    };
    let is_named = headers.get_all(CONNECTION).iter().any(names_upgrade);
    (is_named && is_protocol(upgrade.as_bytes())).then(|| upgrade.clone())
}

fn names_upgrade(value: &HeaderValue) -> bool {
    let mut names = value.as_bytes().split(|&byte| byte == b',');
    names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// One protocol, and neither HTTP nor TLS.
fn is_protocol(value: &[u8]) -> bool {
    let name = value.split(|&byte| byte == b'/').next().unwrap_or(value);
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    let is_refused = [&b"h2c"[..], b"h2", b"http", b"tls"]
        .iter()
        .any(|refused| name.eq_ignore_ascii_case(refused));
    !name.is_empty() && name.iter().all(is_token) && !value.contains(&b',') && !is_refused
}

/// Says again what the hop-by-hop rules have taken off.
pub(super) fn write(headers: &mut HeaderMap, upgrade: HeaderValue) {
    // There is no body, and so no trailers to be asked for.
    headers.remove(TE);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, upgrade);
}

impl Switched {
    /// The stream behind `response`, once the engine lets go of it.
    pub(super) fn new(
        response: &mut Response<Incoming>,
        lease: Lease,
        idle: Option<(Span, Duration)>,
    ) -> Self {
        Self {
            on_upgrade: hyper::upgrade::on(response),
            _lease: lease,
            idle: idle.map(|(span, _)| span),
            idle_time: idle.map(|(_, time)| time),
        }
    }

    /// The server's stream, and what it has sent along with the answer. The server is busy with it
    /// as long as `self` lives.
    pub(super) async fn stream(&mut self, session: &Session) -> Option<(Stream, Vec<u8>)> {
        let upgraded = session.flow.watch.guard(&mut self.on_upgrade).await?.ok()?;
        let parts = upgraded.downcast::<TokioIo<Paced>>().ok()?;
        Some((parts.io.into_inner().into_inner(), parts.read_buf.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_protocol_that_connection_names_and_that_is_not_http() {
        for (connection, upgrade, is_asked) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "WebSocket", true),
            ("upgrade", "spdy/3", true),
            ("keep-alive", "websocket", false),
            ("upgrade", "h2c", false),
            ("upgrade", "HTTP/2.0", false),
            ("upgrade", "TLS/1.2", false),
            ("upgrade", "websocket, h2c", false),
            ("upgrade", "", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_static(connection));
            headers.insert(UPGRADE, HeaderValue::from_static(upgrade));
            assert_eq!(
                asked(&headers).is_some(),
                is_asked,
                "{connection} {upgrade}"
            );
        }
        assert!(asked(&HeaderMap::new()).is_none());
    }
}
