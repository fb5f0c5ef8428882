//! Framing that could be read in two ways, and what is beside it.
//!
//! HTTP/1 requests have passed the [screen](crate::proto::screen). Here is what is left to do: the
//! responses of servers, and requests that came by HTTP/2, where nothing is framed by fields until
//! a request is written as HTTP/1.1.

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{HeaderMap, Version};

use crate::error::Fault;
use crate::proto::screen::Violation;
use crate::serve::headers::{Seen, has_single_values};

/// Refuses a server's response that some client could cut elsewhere than the engine does (RFC 9112
/// §6): one that came by HTTP/2 may go on by HTTP/1. The text says what is wrong.
///
/// # Errors
///
/// A transfer coding beside a length, other than `chunked` alone, or in HTTP/1.0; a length that
/// comes twice, is a list, or is not written in plain digits.
pub fn check_response(headers: &HeaderMap, version: Version) -> Result<(), &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if version == Version::HTTP_10 {
            return Err("Transfer-Encoding in a response of HTTP/1.0");
        }
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("a Transfer-Encoding other than chunked");
        }
        if headers.contains_key(CONTENT_LENGTH) {
            return Err("Transfer-Encoding beside Content-Length");
        }
    }
    check_length(headers)
}

/// Examines the fields of a request that came by HTTP/2 (RFC 9113 §8.2), before they may be
/// written as HTTP/1.1. Host and path are [`Asked::read`](super::target::Asked::read)'s to check.
///
/// The types hold two of the rules: a name is a token in lower case, and no value has a CR, an LF
/// or a NUL.
///
/// # Errors
///
/// The request is malformed: it has a field of the connection, a length that is not one plain
/// number, or white space around a value; or it has more than `count` fields.
pub fn check_h2(headers: &HeaderMap, count: usize) -> Result<(), Fault> {
    check_h2_seen(headers, Seen::known(headers), count)
}

/// The same where it is known which fields there are.
pub(super) fn check_h2_seen(headers: &HeaderMap, seen: Seen, count: usize) -> Result<(), Fault> {
    if headers.len() > count {
        return Err(Fault::from(Violation::TooManyFields));
    }
    if seen.has(Seen::OF_CONNECTION) && OF_CONNECTION.iter().any(|name| headers.contains_key(name))
    {
        return Err(malformed("found a field of the connection in HTTP/2"));
    }
    if seen.has(Seen::TE) && headers.get_all(TE).iter().any(|te| te != "trailers") {
        return Err(malformed(
            "found TE in HTTP/2 with something else than trailers",
        ));
    }
    if headers.values().any(is_padded) {
        return Err(malformed("found white space around the value of a field"));
    }
    match seen.has(Seen::LENGTH) {
        true => check_length(headers).map_err(malformed),
        false => Ok(()),
    }
}

/// Joins several `Cookie` fields into the one that HTTP/1.1 allows (RFC 9113 §8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else {
        return;
    };
    let mut joined = [first.as_bytes(), second.as_bytes()].join(&b"; "[..]);
    for cookie in cookies {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    // What was allowed in parts is allowed as a whole.
    if let Ok(joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        headers.insert(COOKIE, joined);
    }
}

/// The same for a response that has no transfer coding.
pub(super) fn check_length(headers: &HeaderMap) -> Result<(), &'static str> {
    let Some(length) = headers.get(CONTENT_LENGTH) else {
        return Ok(());
    };
    if !has_single_values(headers) && headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err("more than one Content-Length");
    }
    if is_plain_length(length.as_bytes()) {
        Ok(())
    } else {
        Err("a Content-Length that is not one number in plain digits")
    }
}

/// Digits without a zero in front, and a number that all parsers can hold.
fn is_plain_length(text: &[u8]) -> bool {
    if !matches!(text, [b'0'] | [b'1'..=b'9', ..]) || !text.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let is_long = text.len() >= I64_DIGITS;
    let length = std::str::from_utf8(text).ok().filter(|_| is_long);
    !is_long || length.is_some_and(|text| text.parse::<i64>().is_ok())
}

fn is_padded(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
}

fn malformed(text: &'static str) -> Fault {
    Fault::BadRequest(text.into())
}

/// Of the largest number that signed ones can hold.
const I64_DIGITS: usize = 19;
/// RFC 9113 §8.2.2.
const OF_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_response_with_one_reading_passes() {
        for fields in [
            &[][..],
            &[("content-length", "0")],
            &[("content-length", "9223372036854775807")],
            &[("transfer-encoding", "Chunked")],
        ] {
            assert_eq!(check_response(&headers(fields), Version::HTTP_11), Ok(()));
        }
        let headers = headers(&[("content-length", "10")]);
        assert_eq!(check_response(&headers, Version::HTTP_10), Ok(()));
    }

    #[test]
    fn a_response_with_two_readings_is_refused() {
        for fields in [
            &[("transfer-encoding", "chunked"), ("content-length", "5")][..],
            &[
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "chunked, chunked")],
            &[("transfer-encoding", "xchunked")],
            &[("transfer-encoding", "identity")],
            &[("transfer-encoding", "")],
        ] {
            assert!(
                check_response(&headers(fields), Version::HTTP_11).is_err(),
                "{fields:?}"
            );
        }
        let chunked = headers(&[("transfer-encoding", "chunked")]);
        assert!(check_response(&chunked, Version::HTTP_10).is_err());
    }

    #[test]
    fn a_length_is_one_number_in_plain_digits() {
        for length in [
            "",
            "+5",
            "-5",
            "05",
            "00",
            "5, 5",
            "5 ",
            " 5",
            "0x5",
            "5.0",
            "9223372036854775808",
            "\u{661}",
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(
                CONTENT_LENGTH,
                HeaderValue::from_bytes(length.as_bytes()).unwrap(),
            );
            assert!(
                check_response(&headers, Version::HTTP_11).is_err(),
                "{length:?}"
            );
            assert!(check_h2(&headers, 100).is_err(), "{length:?}");
        }
        let twice = headers(&[("content-length", "5"), ("content-length", "5")]);
        assert!(check_response(&twice, Version::HTTP_11).is_err());
        assert!(check_h2(&twice, 100).is_err());
    }

    #[test]
    fn a_request_of_http2_has_no_field_of_the_connection() {
        for fields in [
            &[("te", "trailers"), ("content-length", "5"), ("x", "a b")][..],
            &[],
        ] {
            assert!(check_h2(&headers(fields), 100).is_ok(), "{fields:?}");
        }
        for (name, value) in [
            ("connection", "close"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("te", "gzip"),
            ("te", "trailers, gzip"),
            ("x", " a"),
            ("x", "a\t"),
        ] {
            assert!(
                check_h2(&headers(&[(name, value)]), 100).is_err(),
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn cookies_become_one_field() {
        let mut several = headers(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3")]);
        several.append(COOKIE, HeaderValue::from_static("d=4"));
        join_cookies(&mut several);
        let cookies: Vec<_> = several.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3; d=4"]);
        let mut single = headers(&[("cookie", "a=1")]);
        join_cookies(&mut single);
        assert_eq!(single[COOKIE], "a=1");
    }
}
