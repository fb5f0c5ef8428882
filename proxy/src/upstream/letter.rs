//! A request as it is written for one server, and for the next one.
//!
//! The engine takes a request apart and does not give it back, so what may be sent again is copied
//! before: fields as a list, which is cheaper than as the map that they come from. What may not, is
//! moved.

use std::rc::Rc;

use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::http::uri::{Authority, Parts, PathAndQuery, Scheme};
use hyper::{HeaderMap, Method, Request, Uri, Version};

use crate::net::ticks::Span;
use crate::plan::Upstream;
use crate::upstream::send::Parcel;
use crate::upstream::upload::{Flow, Tape, Upload};

/// One request, and how often it may be written.
pub(super) struct Letter {
    method: Method,
    path: PathAndQuery,
    fields: Fields,
    body: Option<Rc<Tape>>,
    is_upgrade: bool,
    /// Whether sending it twice does no harm.
    is_repeatable: bool,
    /// Whether the last server that had it has told that it has not begun it.
    is_unread: bool,
    scheme: Scheme,
}

enum Fields {
    /// Not written yet.
    Map(HeaderMap),
    /// Written, and kept for another time.
    List(Vec<(HeaderName, HeaderValue)>),
    /// Written.
    Gone,
}

impl Letter {
    pub(super) fn new(parcel: Parcel, upstream: &Upstream) -> Self {
        let is_repeatable = parcel.method.is_idempotent() || upstream.retries.non_idempotent;
        Self {
            is_repeatable: is_repeatable && !parcel.is_upgrade,
            is_unread: false,
            method: parcel.method,
            path: parcel.path,
            fields: Fields::Map(parcel.headers),
            body: parcel.body,
            is_upgrade: parcel.is_upgrade,
            scheme: match upstream.tls {
                Some(_) => Scheme::HTTPS,
                None => Scheme::HTTP,
            },
        }
    }

    pub(super) fn is_upgrade(&self) -> bool {
        self.is_upgrade
    }

    /// Whether it may be sent again although a server may have had it.
    pub(super) fn may_be_repeated(&self) -> bool {
        let is_harmless = self.is_repeatable || self.is_unread;
        let has_fields = !matches!(self.fields, Fields::Gone);
        is_harmless && has_fields && self.body.as_ref().is_none_or(|tape| tape.is_whole())
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

    /// The request for one try; `None` if it is gone.
    pub(super) fn write(
        &mut self,
        is_h2: bool,
        flow: &Rc<Flow>,
        idle: Span,
    ) -> Option<Request<Upload>> {
        self.is_unread = false;
        // By HTTP/2 a server can send back what it has not begun.
        let headers = self.headers(self.is_repeatable || is_h2)?;
        let body = match &self.body {
            Some(tape) => Upload::of_tape(tape, flow, idle),
            None => Upload::empty(flow, idle),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = headers;
        if is_h2 {
            self.address_h2(&mut request);
        } else {
            *request.uri_mut() = Uri::from(self.path.clone());
        }
        Some(request)
    }

    fn headers(&mut self, keeps: bool) -> Option<HeaderMap> {
        match std::mem::replace(&mut self.fields, Fields::Gone) {
            Fields::Map(map) => {
                if keeps {
                    // Pushed, since the map's iterator would have room asked for at each field.
                    let mut list = Vec::with_capacity(map.len());
                    for (name, value) in &map {
                        list.push((name.clone(), value.clone()));
                    }
                    self.fields = Fields::List(list);
                }
                Some(map)
            }
            Fields::List(list) => {
                let mut map = HeaderMap::with_capacity(list.len());
                for (name, value) in &list {
                    map.append(name.clone(), value.clone());
                }
                self.fields = Fields::List(list);
                Some(map)
            }
            Fields::Gone => None,
        }
    }

    /// Nothing of the request was sent; it may be written again whatever it is.
    pub(super) fn take_back(&mut self, request: Request<Upload>) {
        if let Fields::Gone = self.fields {
            let (parts, _) = request.into_parts();
            let mut headers = parts.headers;
            if parts.version == Version::HTTP_2
                && let Some(authority) = parts.uri.authority()
                && let Ok(host) = HeaderValue::from_str(authority.as_str())
            {
                headers.insert(HOST, host);
            }
            self.fields = Fields::Map(headers);
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
        let mut parts = Parts::default();
        parts.path_and_query = Some(self.path.clone());
        if let Some(host) = host {
            parts.scheme = Some(self.scheme.clone());
            parts.authority = Some(host);
        }
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}
