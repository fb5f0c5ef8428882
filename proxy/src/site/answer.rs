//! Answers of a site itself: short, and without a word about what stands behind it.
//!
//! Who asks is a stranger, so servers' addresses and states stay in the log; the request's number,
//! which is in the answer as well, leads there. A gRPC client is told in its own way (gRPC over
//! HTTP/2, "Responses"): 200 with a `grpc-status`.

use std::rc::Rc;

use hyper::header::{
    ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::{Method, Response, StatusCode};

use super::forwarded::RequestId;
use super::guard;
use crate::error::Fault;
use crate::serve::body::Reply;
use crate::serve::session::Session;

/// Tells the client that it does not get what it asked for.
pub(super) fn fault(fault: &Fault, asked: &Questioner, session: &Rc<Session>) -> Response<Reply> {
    let status = StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match asked.is_grpc {
        true => grpc(status, session),
        false => status_page(status, fault.hint().as_deref(), asked, session),
    };
    let headers = response.headers_mut();
    let token = format!("risefall; error={}", fault.token());
    if let Ok(value) = HeaderValue::from_str(&token) {
        headers.insert(PROXY_STATUS, value);
    }
    if let Some(seconds) = fault.retry_after() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// What of a request an answer depends on.
#[derive(Clone, Debug, Default)]
pub(super) struct Questioner {
    is_grpc: bool,
    /// The request's number, once it has one.
    pub(super) id: Option<RequestId>,
}

impl Questioner {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let behind = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
        Self {
            // Not that of gRPC-Web, whose clients read a status and trailers of another form.
            is_grpc: matches!(behind, Some([] | [b'+' | b';' | b' ', ..])),
            id: None,
        }
    }
}

/// A status with its name as the text.
fn status_page(
    status: StatusCode,
    hint: Option<&str>,
    asked: &Questioner,
    session: &Rc<Session>,
) -> Response<Reply> {
    let mut text = status.to_string();
    if let Some(hint) = hint {
        text = format!("{text}\n{hint}");
    }
    if let Some(id) = &asked.id {
        text = format!("{text}\nrequest {}", id.as_str());
    }
    let mut response = Response::new(Reply::text(format!("{text}\n"), session));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    response
}

/// Answers with a status and its name alone.
pub(super) fn status(
    status: StatusCode,
    asked: &Questioner,
    session: &Rc<Session>,
) -> Response<Reply> {
    match asked.is_grpc {
        true => grpc(status, session),
        false => status_page(status, None, asked, session),
    }
}

/// Answers what nobody sends on (RFC 9110 §7.6.2): OPTIONS with the methods that are `allowed`, none if
/// all are; a trace is refused.
pub(super) fn unsent(
    method: &Method,
    allowed: &[Method],
    asked: &Questioner,
    session: &Rc<Session>,
) -> Response<Reply> {
    let mut response = match *method {
        Method::OPTIONS => Response::new(Reply::text("", session)),
        _ => status(StatusCode::METHOD_NOT_ALLOWED, asked, session),
    };
    match allowed {
        [] => drop(
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(METHODS)),
        ),
        _ => allow(allowed, &mut response),
    }
    response
}

/// No route is for that method (RFC 9110 §15.5.6).
pub(super) fn method(
    allowed: &[Method],
    asked: &Questioner,
    session: &Rc<Session>,
) -> Response<Reply> {
    let mut response = status(StatusCode::METHOD_NOT_ALLOWED, asked, session);
    allow(allowed, &mut response);
    response
}

fn allow(methods: &[Method], response: &mut Response<Reply>) {
    let methods: Vec<_> = methods.iter().map(Method::as_str).collect();
    if let Ok(allowed) = HeaderValue::from_str(&methods.join(", ")) {
        response.headers_mut().insert(ALLOW, allowed);
    }
}

/// Asks the client who it is (RFC 9110 §15.5.2).
pub(super) fn who(realm: &str, asked: &Questioner, session: &Rc<Session>) -> Response<Reply> {
    let status = StatusCode::UNAUTHORIZED;
    let mut response = match asked.is_grpc {
        true => grpc(status, session),
        false => status_page(status, None, asked, session),
    };
    let headers = response.headers_mut();
    headers.insert(WWW_AUTHENTICATE, guard::challenge(realm));
    response
}

/// Sends the client elsewhere.
pub(super) fn redirect(
    to: HeaderValue,
    status: StatusCode,
    session: &Rc<Session>,
) -> Response<Reply> {
    let mut response = Response::new(Reply::text("", session));
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, to);
    response
}

/// What the operator has written.
pub(super) fn fixed(
    status: StatusCode,
    body: &str,
    content_type: &HeaderValue,
    session: &Rc<Session>,
) -> Response<Reply> {
    let mut response = Response::new(Reply::text(body.to_owned(), session));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, content_type.clone());
    }
    response
}

fn grpc(status: StatusCode, session: &Rc<Session>) -> Response<Reply> {
    let mut response = Response::new(Reply::text("", session));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, grpc_status(status).into());
    if let Some(Ok(reason)) = status.canonical_reason().map(HeaderValue::from_str) {
        headers.insert(GRPC_MESSAGE, reason);
    }
    response
}

/// The code that gRPC's own table has for an HTTP status; a deadline of ours is theirs.
fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        413 => RESOURCE_EXHAUSTED,
        504 => DEADLINE_EXCEEDED,
        429 | 502 | 503 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// What a server may take.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const TEXT: &str = "text/plain; charset=utf-8";
const UNKNOWN: u16 = 2;
const DEADLINE_EXCEEDED: u16 = 4;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_client_is_one_by_its_content_type() {
        let of = |kind: &'static str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            Questioner::of(&headers).is_grpc
        };
        assert!(of("application/grpc") && of("application/grpc+proto"));
        assert!(of("application/grpc; charset=utf-8"));
        assert!(!of("application/grpc-web") && !of("application/grpc-web+proto"));
        assert!(!of("text/plain") && !Questioner::of(&HeaderMap::new()).is_grpc);
    }

    #[test]
    fn statuses_become_grpc_codes() {
        for (status, code) in [
            (404, 12),
            (502, 14),
            (503, 14),
            (504, 4),
            (413, 8),
            (421, 2),
        ] {
            assert_eq!(grpc_status(StatusCode::from_u16(status).unwrap()), code);
        }
    }
}
