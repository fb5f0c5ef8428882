//! A request as it is written for one server, and for the next one.
//!
//! The engine takes a request apart and does not give it back, so what may be sent again is copied
//! before: fields as plain bytes, which is cheaper than as the map that they come from. What may not,
//! is moved.

use std::rc::Rc;

use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::http::uri::{self, Authority, PathAndQuery, Scheme};
use hyper::{HeaderMap, Request, Uri, Version};

use crate::net::ticks::Span;
use crate::plan::Upstream;
use crate::upstream::send::Parcel;
use crate::upstream::upload::{Flow, Tape, Upload};

/// One request, and how often it may be written.
pub(super) struct Letter<'p> {
    /// What a server is chosen by.
    pub(super) key: u64,
    /// The method, and until they are written the fields.
    parts: &'p mut Parts,
    dress: &'p dyn Fn(&mut HeaderMap),
    path: &'p PathAndQuery,
    fields: Fields,
    body: Option<Rc<Tape>>,
    is_upgrade: bool,
    /// Whether sending it twice does no harm.
    is_repeatable: bool,
    /// Whether the last server that had it has told that it has not begun it.
    is_unread: bool,
    is_tls: bool,
}

enum Fields {
    /// Not written yet: they are in the parts, as the client has sent them.
    Map,
    /// The same, as they are sent to a server.
    Dressed,
    /// Written, and kept for another time; with whether they are those for a server.
    Kept(Kept, bool),
    /// Written.
    Gone,
}

impl<'p> Letter<'p> {
    pub(super) fn new(parcel: Parcel<'p>, upstream: &Upstream) -> Self {
        let Parcel {
            parts,
            dress,
            path,
            body,
            key,
            is_upgrade,
            ..
        } = parcel;
        let is_repeatable = parts.method.is_idempotent() || upstream.retries.non_idempotent;
        Self {
            key,
            parts,
            dress,
            path,
            fields: Fields::Map,
            body,
            is_upgrade,
            is_repeatable: is_repeatable && !is_upgrade,
            is_unread: false,
            is_tls: upstream.tls.is_some(),
        }
    }

    pub(super) fn is_upgrade(&self) -> bool {
        self.is_upgrade
    }

    /// Whether the work of its connection may be left to whoever waits for the answer: see
    /// [`attend`](crate::upstream::pool::Held::attend).
    pub(super) fn is_attended(&self) -> bool {
        self.body.is_none() && !self.is_upgrade
    }

    /// Whether nothing of a body is to be sent behind the head.
    pub(super) fn is_whole_at_once(&self) -> bool {
        self.body.as_ref().is_none_or(|tape| tape.is_empty())
    }

    /// Whether it has been written, and cannot be again.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.fields, Fields::Gone)
    }

    /// Whether it may be sent again although a server may have had it.
    pub(super) fn may_be_repeated(&self) -> bool {
        let is_harmless = self.is_repeatable || self.is_unread;
        is_harmless && !self.is_gone() && self.is_body_here()
    }

    /// Notes that the server which had it last has not begun it.
    pub(super) fn note_unread(&mut self) {
        self.is_unread = true;
    }

    /// The same, by nobody's permission: a server that closes an idle connection while the request
    /// is on its way has not done anything.
    pub(super) fn may_be_lost(&self) -> bool {
        self.may_be_repeated()
    }

    /// Whether it may be lost once it has been written.
    pub(super) fn may_be_lost_when_written(&self) -> bool {
        self.is_repeatable && self.is_body_here()
    }

    fn is_body_here(&self) -> bool {
        self.body.as_ref().is_none_or(|tape| tape.is_whole())
    }

    /// The request for one try, which must not be [gone](Self::is_gone): of that there are no fields.
    pub(super) fn write(&mut self, is_h2: bool, flow: &Rc<Flow>, idle: Span) -> Request<Upload> {
        self.is_unread = false;
        let body = match &self.body {
            Some(tape) => Upload::of_tape(tape, flow, idle),
            None => Upload::empty(flow, idle),
        };
        let mut request = Request::new(body);
        // By HTTP/2 a server can send back what it has not begun.
        *request.headers_mut() = self.headers(self.is_repeatable || is_h2);
        *request.method_mut() = self.parts.method.clone();
        if is_h2 {
            self.address_h2(&mut request);
        } else {
            *request.uri_mut() = Uri::from(self.path.clone());
        }
        request
    }

    fn headers(&mut self, keeps: bool) -> HeaderMap {
        let (mut map, is_dressed) = match &self.fields {
            Fields::Kept(kept, is_dressed) => (kept.map(), *is_dressed),
            Fields::Gone => return HeaderMap::new(),
            Fields::Map | Fields::Dressed => {
                let map = std::mem::take(&mut self.parts.headers);
                let is_dressed = matches!(self.fields, Fields::Dressed);
                self.fields = match keeps {
                    true => Fields::Kept(Kept::of(&map), is_dressed),
                    false => Fields::Gone,
                };
                (map, is_dressed)
            }
        };
        if !is_dressed {
            (self.dress)(&mut map);
        }
        map
    }

    /// Nothing of the request was sent; it may be written again whatever it is.
    pub(super) fn take_back(&mut self, request: Request<Upload>) {
        if self.is_gone() {
            let (parts, _) = request.into_parts();
            let mut headers = parts.headers;
            if parts.version == Version::HTTP_2
                && let Some(authority) = parts.uri.authority()
                && let Ok(host) = HeaderValue::from_str(authority.as_str())
            {
                headers.insert(HOST, host);
            }
            self.parts.headers = headers;
            self.fields = Fields::Dressed;
        }
    }

    /// In HTTP/2 the host is the authority (RFC 9113 §8.3.1), and nothing frames or belongs to the
    /// connection.
    fn address_h2(&self, request: &mut Request<Upload>) {
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        headers.remove(CONNECTION);
        if headers.remove(TRANSFER_ENCODING).is_some() {
            headers.remove(CONTENT_LENGTH);
        }
        let host = headers.remove(HOST);
        let host = host.and_then(|host| Authority::from_maybe_shared(host).ok());
        let mut parts = uri::Parts::default();
        parts.path_and_query = Some(self.path.clone());
        if let Some(host) = host {
            parts.scheme = Some(match self.is_tls {
                true => Scheme::HTTPS,
                false => Scheme::HTTP,
            });
            parts.authority = Some(host);
        }
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}

/// The fields of a head, each as two lengths and what these are of.
struct Kept(Vec<u8>);

impl Kept {
    fn of(map: &HeaderMap) -> Self {
        let mut kept = Vec::with_capacity(FIELD_ROOM * map.len());
        for (name, value) in map {
            let (name, text) = (name.as_str().as_bytes(), value.as_bytes());
            let is_sensitive = usize::from(value.is_sensitive());
            kept.extend_from_slice(&(name.len() << 1 | is_sensitive).to_ne_bytes());
            kept.extend_from_slice(&text.len().to_ne_bytes());
            kept.extend_from_slice(name);
            kept.extend_from_slice(text);
        }
        Self(kept)
    }

    fn map(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        let mut rest = self.0.as_slice();
        while let Some((name, value, behind)) = read_field(rest) {
            map.append(name, value);
            rest = behind;
        }
        map
    }
}

fn read_field(kept: &[u8]) -> Option<(HeaderName, HeaderValue, &[u8])> {
    let (name_len, kept) = kept.split_first_chunk()?;
    let (len, kept) = kept.split_first_chunk()?;
    let name_len = usize::from_ne_bytes(*name_len);
    let (name, kept) = kept.split_at_checked(name_len >> 1)?;
    let (value, kept) = kept.split_at_checked(usize::from_ne_bytes(*len))?;
    let mut value = HeaderValue::from_bytes(value).ok()?;
    value.set_sensitive(name_len & 1 == 1);
    Some((HeaderName::from_bytes(name).ok()?, value, kept))
}

/// Bytes that a field takes, most of the time.
const FIELD_ROOM: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_kept_are_the_same_ones() {
        let mut secret = HeaderValue::from_static("secret");
        secret.set_sensitive(true);
        let mut map = HeaderMap::new();
        map.append("x-own", HeaderValue::from_static("1"));
        map.append(HOST, HeaderValue::from_static("ex.org"));
        map.append("x-own", HeaderValue::from_static(""));
        map.append("authorization", secret);
        let kept = Kept::of(&map).map();
        assert_eq!(kept, map);
        assert!(kept["authorization"].is_sensitive() && !kept[HOST].is_sensitive());
        assert_eq!(Kept::of(&HeaderMap::new()).map().len(), 0);
    }
}
