//! Answers of the proxy itself: short, plain, and with the cause in a field that programs can read.

use std::fmt::Write as _;
use std::rc::Rc;

use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use crate::error::Fault;
use crate::serve::body::Reply;
use crate::serve::session::Session;

/// Tells the client why it does not get what it asked for.
pub(crate) fn fault(fault: &Fault, session: &Rc<Session>) -> Response<Reply> {
    let details = fault.to_string();
    let mut response = Response::new(Reply::text(format!("{details}\n"), session));
    *response.status_mut() =
        StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    if let Ok(value) = HeaderValue::from_str(&proxy_status(fault.token(), &details)) {
        headers.insert(PROXY_STATUS, value);
    }
    if let Some(seconds) = fault.retry_after() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if fault.status() == 405 {
        headers.insert(ALLOW, HeaderValue::from_static(METHODS));
    }
    response
}

/// Tells a client of ours which methods it may use.
pub(crate) fn options(allowed: &'static str, session: &Rc<Session>) -> Response<Reply> {
    let mut response = Response::new(Reply::text("", session));
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The same as [`fault`] for a client that is turned away before its request is read.
pub(crate) fn raw(fault: &Fault) -> Vec<u8> {
    let details = fault.to_string();
    let status = fault.status();
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    let mut head = format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: {TEXT}\r\ncontent-length: {}\r\n\
         proxy-status: {}\r\nconnection: close\r\n",
        reason.unwrap_or_default(),
        details.len() + 1,
        proxy_status(fault.token(), &details),
    );
    if let Some(seconds) = fault.retry_after() {
        // Writing to a string does not fail.
        let _ = write!(head, "retry-after: {seconds}\r\n");
    }
    let _ = write!(head, "\r\n{details}\n");
    head.into_bytes()
}

/// The field's value (RFC 9209 §2): our name, the error type, and a string (RFC 9651 §3.3.3), which
/// holds printable ASCII only, with `"` and `\` escaped.
fn proxy_status(token: &str, details: &str) -> String {
    let mut value = format!("risefall; error={token}; details=\"");
    for char in details.chars().take(DETAILS_MOST) {
        match char {
            '"' | '\\' => value.extend(['\\', char]),
            ' '..='~' => value.push(char),
            _ => value.push('?'),
        }
    }
    value.push('"');
    value
}

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const TEXT: &str = "text/plain; charset=utf-8";
/// What a forward proxy takes.
pub(crate) const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, CONNECT";
const DETAILS_MOST: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_a_structured_string_whatever_they_say() {
        assert_eq!(
            proxy_status("dns_error", "a \"b\" \\ c\r\nd\u{e9}"),
            "risefall; error=dns_error; details=\"a \\\"b\\\" \\\\ c??d?\""
        );
    }
}
