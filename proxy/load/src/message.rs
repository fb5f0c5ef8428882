//! HTTP/1.1 messages, read without holding more than a head.

use crate::body::{Body, Malformed};

/// Collects a head (start line and fields) up to and with its empty line.
#[derive(Debug, Default)]
pub(crate) struct HeadBuffer {
    bytes: Vec<u8>,
}

impl HeadBuffer {
    /// Takes what belongs to the head; says how much that was, and whether the head is whole.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let before = self.bytes.len();
        self.bytes
            .extend(bytes.iter().take(MAX_HEAD_BYTES - before));
        // The end may straddle what came earlier.
        let from = before.saturating_sub(HEAD_END.len() - 1);
        let found = self.bytes.get(from..).and_then(|tail| {
            tail.windows(HEAD_END.len())
                .position(|window| window == HEAD_END)
        });
        if let Some(at) = found {
            let end = from + at + HEAD_END.len();
            self.bytes.truncate(end);
            return Ok((end - before, true));
        }
        if self.bytes.len() == MAX_HEAD_BYTES {
            return Err(Malformed);
        }
        Ok((bytes.len(), false))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// Whether the connection may carry another message after this one (RFC 9112 §9.3).
pub(crate) fn is_kept_alive(minor_version: Option<u8>, headers: &[httparse::Header<'_>]) -> bool {
    let asks = |option: &[u8]| {
        headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case("connection"))
            .flat_map(|header| header.value.split(|&byte| byte == b','))
            .any(|value| value.trim_ascii().eq_ignore_ascii_case(option))
    };
    match minor_version {
        Some(1) => !asks(b"close"),
        _ => asks(b"keep-alive") && !asks(b"close"),
    }
}

/// What an answer's framing depends on besides itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    Get,
    /// A 2xx has no body whatever its fields say: the tunnel begins (RFC 9110 §9.3.6).
    Connect,
}

/// A complete answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) is_kept_alive: bool,
}

impl Response {
    pub(crate) fn is_success(&self) -> bool {
        (200..400).contains(&self.status)
    }
}

/// Reads one final response, past any 1xx before it.
#[derive(Debug)]
pub(crate) struct ResponseParser {
    asked: Asked,
    head: HeadBuffer,
    found: Option<(Response, Body)>,
}

impl ResponseParser {
    pub(crate) fn new(asked: Asked) -> Self {
        Self {
            asked,
            head: HeadBuffer::default(),
            found: None,
        }
    }

    /// Takes what belongs to this response and says how much that was.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut rest = bytes;
        while !rest.is_empty() && self.complete().is_none() {
            let taken = match &mut self.found {
                Some((_, body)) => body.feed(rest)?,
                None => {
                    let (taken, is_whole) = self.head.feed(rest)?;
                    if is_whole {
                        self.found = parse_response(self.head.bytes(), self.asked)?;
                        self.head.clear();
                    }
                    taken
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(bytes.len() - rest.len())
    }

    /// The response, once all of it has been fed.
    pub(crate) fn complete(&self) -> Option<Response> {
        let (response, body) = self.found.as_ref()?;
        body.is_done().then_some(*response)
    }

    /// The connection ended here: the response, if that is how it ends, or `None` if it is cut.
    pub(crate) fn complete_at_end(&self) -> Option<Response> {
        let (response, body) = self.found.as_ref()?;
        (body.is_done() || body.ends_with_connection()).then_some(*response)
    }
}

/// `None` for an interim response, after which another head follows.
fn parse_response(head: &[u8], asked: Asked) -> Result<Option<(Response, Body)>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        _ => return Err(Malformed),
    }
    let status = parsed.code.ok_or(Malformed)?;
    let body = match status {
        // Nobody asked for an upgrade.
        101 => return Err(Malformed),
        100..=199 => return Ok(None),
        200..=299 if asked == Asked::Connect => Body::sized(0),
        204 | 304 => Body::sized(0),
        200..=599 => Body::announced(parsed.headers)?.unwrap_or_else(Body::until_close),
        _ => return Err(Malformed),
    };
    let response = Response {
        status,
        is_kept_alive: !body.ends_with_connection()
            && is_kept_alive(parsed.version, parsed.headers),
    };
    Ok(Some((response, body)))
}

pub(crate) const MAX_FIELDS: usize = 64;
const MAX_HEAD_BYTES: usize = 32 * 1024;
const HEAD_END: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    /// A response and the bytes it took, when they come in two parts.
    fn split_feed(
        asked: Asked,
        bytes: &[u8],
        at: usize,
    ) -> Result<(Option<Response>, usize), Malformed> {
        let mut parser = ResponseParser::new(asked);
        let (first, second) = bytes.split_at(at);
        let mut taken = parser.feed(first)?;
        if taken == first.len() {
            taken += parser.feed(second)?;
        }
        Ok((parser.complete(), taken))
    }

    fn response(status: u16, is_kept_alive: bool) -> Response {
        Response {
            status,
            is_kept_alive,
        }
    }

    #[test]
    fn responses_are_read_to_their_end_at_every_split() {
        let table: [(Asked, &[u8], Response, usize); 9] = [
            (Asked::Get, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcNEXT", response(200, true), 41),
            (Asked::Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nNEXT", response(200, true), 60),
            (Asked::Get, b"HTTP/1.1 502 Bad Gateway\r\nConnection: x, close\r\nContent-Length: 0\r\n\r\nNEXT", response(502, false), 69),
            (Asked::Get, b"HTTP/1.1 204 No Content\r\n\r\nNEXT", response(204, true), 27),
            (Asked::Get, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\nNEXT", response(304, true), 48),
            (Asked::Get, b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naNEXT", response(200, true), 70),
            (Asked::Get, b"HTTP/1.0 503 Down\r\nContent-Length: 2\r\n\r\nnoNEXT", response(503, false), 42),
            (Asked::Connect, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nNEXT", response(200, true), 38),
            (Asked::Connect, b"HTTP/1.1 504 Slow\r\nContent-Length: 2\r\n\r\nnoNEXT", response(504, true), 42),
        ];
        for (asked, bytes, expected, length) in table {
            for at in 0..=bytes.len() {
                assert_eq!(
                    split_feed(asked, bytes, at),
                    Ok((Some(expected), length)),
                    "{:?} split at {at}",
                    String::from_utf8_lossy(bytes)
                );
            }
        }
    }

    #[test]
    fn broken_responses_are_refused_at_every_split() {
        let table: [&[u8]; 6] = [
            b"hello there\r\n\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            b"HTTP/1.1 101 Switching\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nbad field\r\n\r\n",
            b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
        ];
        for bytes in table {
            for at in 0..=bytes.len() {
                assert_eq!(
                    split_feed(Asked::Get, bytes, at),
                    Err(Malformed),
                    "{bytes:?}"
                );
            }
        }
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let mut parser = ResponseParser::new(Asked::Get);
        assert_eq!(parser.feed(b"HTTP/1.1 200 OK\r\n\r\nabc"), Ok(22));
        assert_eq!(parser.complete(), None);
        assert_eq!(parser.complete_at_end(), Some(response(200, false)));
    }

    #[test]
    fn a_body_cut_short_is_no_response() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        for length in 0..whole.len() {
            let mut parser = ResponseParser::new(Asked::Get);
            parser.feed(&whole[..length]).unwrap();
            assert_eq!(parser.complete_at_end(), None, "cut at {length}");
        }
    }

    #[test]
    fn an_endless_head_is_refused() {
        let mut parser = ResponseParser::new(Asked::Get);
        let part = [b'x'; 1000];
        let refused = (0..100).find_map(|_| parser.feed(&part).err());
        assert_eq!(refused, Some(Malformed));
    }
}
