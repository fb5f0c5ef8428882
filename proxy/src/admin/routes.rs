//! What each path of the admin API answers.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue,
    WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::explain::{self, Question};
use super::operator::Wish;
use super::{Report, action, metrics, page};

/// Answers one request. `is_tcp` if whoever can open a connection on this machine can send it.
pub(super) async fn answer(
    request: &Request<Incoming>,
    report: &Report,
    is_tcp: bool,
) -> Response<Full<Bytes>> {
    let host = request.headers().get(HOST);
    let host = host.map_or(&b""[..], HeaderValue::as_bytes);
    if is_tcp && !is_local(host) {
        return text(
            StatusCode::FORBIDDEN,
            "the admin API answers to loopback names only\n",
        );
    }
    let path = request.uri().path();
    // The page itself knows nothing; it has to show the token for all that it asks for.
    if let Some(part) = page::part(path) {
        return match *request.method() {
            Method::GET | Method::HEAD => page::serve(part),
            _ => only("GET, HEAD"),
        };
    }
    match (path, request.method()) {
        ("/health", &Method::GET | &Method::HEAD) => return text(StatusCode::OK, "alive\n"),
        ("/ready", &Method::GET | &Method::HEAD) => return ready(report),
        _ => {}
    }
    if !is_known(request.headers(), report) {
        return unknown();
    }
    match (path, request.method()) {
        ("/status", &Method::GET | &Method::HEAD) => match asked_address(request.uri().query()) {
            Ok(None) => json(&report.status()),
            Ok(Some(address)) => json(&report.address(address)),
            Err(refused) => text(StatusCode::BAD_REQUEST, refused),
        },
        ("/endpoints", &Method::GET | &Method::HEAD) => json(&report.addresses()),
        ("/metrics", &Method::GET | &Method::HEAD) => measured(report),
        ("/explain", &Method::GET | &Method::HEAD) => explained(request, report).await,
        ("/status" | "/health" | "/ready" | "/endpoints" | "/metrics" | "/explain", _) => {
            only("GET, HEAD")
        }
        ("/reload", &Method::POST) => wish(Wish::Reload, request.headers(), report).await,
        ("/upgrade", &Method::POST) => wish(Wish::Upgrade, request.headers(), report).await,
        ("/reload" | "/upgrade", _) => only("POST"),
        _ => {
            if let Some(rest) = path.strip_prefix("/endpoints/") {
                endpoint(rest, request, report)
            } else if let Some(level) = path.strip_prefix("/log/") {
                set_level(level, request, report)
            } else {
                text(StatusCode::NOT_FOUND, PATHS)
            }
        }
    }
}

fn ready(report: &Report) -> Response<Full<Bytes>> {
    if report.is_ready() {
        text(StatusCode::OK, "ready\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    }
}

fn measured(report: &Report) -> Response<Full<Bytes>> {
    match metrics::text(report) {
        Ok(metrics) => response(StatusCode::OK, metrics::KIND, metrics),
        Err(error) => broken(&error),
    }
}

async fn explained(request: &Request<Incoming>, report: &Report) -> Response<Full<Bytes>> {
    let question = match Question::parse(request.uri().query()) {
        Ok(question) => question,
        Err(refused) => return text(StatusCode::BAD_REQUEST, refused),
    };
    let answer = explain::answer(report, &question);
    match tokio::time::timeout(explain::PATIENCE, answer).await {
        Ok(Ok(explanation)) => json(&explanation),
        Ok(Err(refused)) => text(StatusCode::NOT_FOUND, refused),
        Err(_) => text(
            StatusCode::GATEWAY_TIMEOUT,
            "the names could not be looked up in time\n",
        ),
    }
}

/// Whether the request shows the token, where one is asked for.
fn is_known(headers: &HeaderMap, report: &Report) -> bool {
    let Some(token) = report.token() else {
        return true;
    };
    let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let shown = shown.and_then(|value| value.split_at_checked(SCHEME.len()));
    shown.is_some_and(|(scheme, shown)| scheme.eq_ignore_ascii_case(SCHEME) && token.is(shown))
}

fn unknown() -> Response<Full<Bytes>> {
    let mut refused = text(
        StatusCode::UNAUTHORIZED,
        "a token is asked for: Authorization: Bearer TOKEN\n",
    );
    let scheme = HeaderValue::from_static("Bearer");
    refused.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    refused
}

async fn wish(wish: Wish, headers: &HeaderMap, report: &Report) -> Response<Full<Bytes>> {
    if !action::is_meant(headers) {
        return text(StatusCode::FORBIDDEN, action::NOT_MEANT);
    }
    let Some(operator) = report.operator.clone() else {
        return text(StatusCode::NOT_FOUND, "nobody can do that to this proxy\n");
    };
    match operator.ask(wish).await {
        Ok(done) => text(StatusCode::OK, done),
        // The request was right, what it leads to is in the way.
        Err(refused) => text(StatusCode::CONFLICT, refused),
    }
}

fn set_level(level: &str, request: &Request<Incoming>, report: &Report) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return only("POST");
    }
    if !action::is_meant(request.headers()) {
        return text(StatusCode::FORBIDDEN, action::NOT_MEANT);
    }
    let Some(operator) = &report.operator else {
        return text(
            StatusCode::NOT_FOUND,
            "nobody can set the level of this log\n",
        );
    };
    match operator.set_level(level) {
        Ok(()) => text(
            StatusCode::OK,
            format!("the level of the log is {level} until the next reload changes it\n"),
        ),
        Err(refused) => text(StatusCode::NOT_FOUND, refused),
    }
}

/// One address: `ADDR` is looked at, `ADDR/ACTION` is done.
fn endpoint(rest: &str, request: &Request<Incoming>, report: &Report) -> Response<Full<Bytes>> {
    match (action::parse(rest), request.method()) {
        (Err(refused), _) => text(StatusCode::NOT_FOUND, refused),
        (Ok((address, None)), &Method::GET | &Method::HEAD) => json(&report.address(address)),
        (Ok((_, None)), _) => only("GET, HEAD"),
        (Ok((address, Some(action))), &Method::POST) => {
            if !action::is_meant(request.headers()) {
                return text(StatusCode::FORBIDDEN, action::NOT_MEANT);
            }
            match report.on_registry(|registry| action.apply(registry, address)) {
                Some(done) => {
                    if action == action::Action::Reset {
                        report.standings.reset(address);
                    }
                    text(StatusCode::OK, done)
                }
                None => text(StatusCode::NOT_FOUND, "there is no registry to act upon\n"),
            }
        }
        (Ok((_, Some(_))), _) => only("POST"),
    }
}

fn only(methods: &'static str) -> Response<Full<Bytes>> {
    let mut refused = text(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("only {methods} is answered here\n"),
    );
    refused
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
    refused
}

/// The address that a query asks for: `address=192.0.2.7:443`, `address=[2001:db8::7]:443`.
fn asked_address(query: Option<&str>) -> Result<Option<SocketAddr>, String> {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Ok(None);
    };
    let value = query.strip_prefix("address=").ok_or_else(|| {
        format!("found the query {query:?}, expected address=IP:PORT, or no query\n")
    })?;
    let value = percent_decode_str(value).decode_utf8_lossy();
    let address = value.parse().map_err(|_| {
        format!("found the address {value:?}, expected one such as 192.0.2.7:443\n")
    })?;
    Ok(Some(address))
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(json) => response(StatusCode::OK, "application/json", json),
        Err(error) => broken(&error),
    }
}

fn broken(error: &dyn std::error::Error) -> Response<Full<Bytes>> {
    tracing::error!(%error, "the status could not be written");
    text(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the status could not be written\n",
    )
}

/// Whether a `Host` field names this machine's loopback, with or without a port.
fn is_local(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, port)) => (ip, port.strip_prefix(':')),
        None => host
            .split_once(':')
            .map_or((host, None), |(name, port)| (name, Some(port))),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return false;
    }
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text)
}

pub(super) fn response(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // It is old the moment it is written.
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const SCHEME: &[u8] = b"Bearer ";
const PATHS: &str = "there are /, /status, /endpoints, /endpoints/ADDR, /explain, /metrics, /health and /ready \
                     here, and to be posted to: /reload, /upgrade, /log/LEVEL, /endpoints/ADDR/ACTION\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_asked_for_as_it_is_written_or_encoded() {
        for (query, address) in [
            ("address=192.0.2.7:443", "192.0.2.7:443"),
            ("address=[2001:db8::7]:443", "[2001:db8::7]:443"),
            ("address=%5B2001%3Adb8%3A%3A7%5D%3A443", "[2001:db8::7]:443"),
        ] {
            let asked = asked_address(Some(query)).unwrap().unwrap();
            assert_eq!(asked.to_string(), address, "{query}");
        }
        assert_eq!(asked_address(None), Ok(None));
        assert_eq!(asked_address(Some("")), Ok(None));
        for query in [
            "address=",
            "address=example.com:80",
            "adress=1.2.3.4:5",
            "address=%ff",
        ] {
            assert!(asked_address(Some(query)).is_err(), "{query}");
        }
    }

    #[test]
    fn only_loopback_names_are_local() {
        for host in [
            "localhost",
            "LOCALHOST:9901",
            "127.0.0.1",
            "127.0.0.1:9901",
            "127.9.9.9",
            "[::1]",
            "[::1]:9901",
            "[::ffff:127.0.0.1]:9901",
        ] {
            assert!(is_local(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9901",
            "localhost.evil.example",
            "127.0.0.1.evil",
            "10.0.0.1:9901",
            "localhost:x",
            "[::1",
            "[::2]:9901",
            "127.0.0.1:9901:1",
            "\u{ff}",
        ] {
            assert!(!is_local(host.as_bytes()), "{host}");
        }
    }
}
