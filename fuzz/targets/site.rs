//! Requests as a site reads them: whatever a client writes, host and path have one spelling, and
//! what is told about the client is not the client's to choose.
//!
//! The input is a target, a `Host` and fields, a line each.
#![no_main]

use std::net::SocketAddr;

use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{Request, Uri, Version};
use libfuzzer_sys::fuzz_target;
use risefall_proxy::proto::path::normal;
use risefall_proxy::site::forwarded::Peer;
use risefall_proxy::site::headers::{check_h2, check_response, join_cookies};
use risefall_proxy::site::rewrite::location;
use risefall_proxy::site::target::Asked;

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let Some(Ok(uri)) = lines.next().map(Uri::try_from) else {
        return;
    };
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    if let Some(Ok(host)) = lines.next().map(HeaderValue::from_bytes) {
        request.headers_mut().insert(HOST, host);
    }
    for line in lines {
        let mut halves = line.splitn(2, |&byte| byte == b':');
        let name = halves
            .next()
            .and_then(|name| HeaderName::from_bytes(name).ok());
        let value = halves
            .next()
            .and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    for version in [Version::HTTP_11, Version::HTTP_2] {
        *request.version_mut() = version;
        if let Ok(asked) = Asked::read(&request, version == Version::HTTP_2) {
            check(&asked, &request);
        }
    }
});

fn check(asked: &Asked, request: &Request<()>) {
    let host = asked.host();
    assert_eq!(host, host.to_ascii_lowercase());
    assert!(!host.ends_with('.') && !host.contains(['/', '@', ' ']));
    if asked.path() != "*" {
        assert_eq!(normal(asked.path()).as_deref(), Ok(asked.path()));
    }
    if let Ok(to) = location("https://{host}{path}{query}", asked) {
        assert!(to.as_bytes().starts_with(b"https://"));
    }
    let mut headers = request.headers().clone();
    let stranger = Peer::new(SocketAddr::from(([192, 0, 2, 7], 1)));
    assert_eq!(stranger.client(&[], &headers), stranger.ip());
    stranger.announce(&[], asked, &mut headers);
    assert_eq!(
        headers.get("x-forwarded-for").map(HeaderValue::as_bytes),
        Some(&b"192.0.2.7"[..])
    );
    assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
    assert!(!headers.contains_key("forwarded"));
    assert!(headers.keys().all(|name| !name.as_str().contains('_')));
    let trusted = ["0.0.0.0/0".parse().expect("a range")];
    let _ = stranger.client(&trusted, request.headers());
    stranger.announce(&trusted, asked, &mut request.headers().clone());
    join_cookies(&mut headers);
    let _ = check_h2(&headers, headers.len());
    let _ = check_response(&headers, Version::HTTP_11);
}
