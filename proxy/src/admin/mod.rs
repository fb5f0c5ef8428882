//! The admin API: what the running proxy knows, for this machine only.
//!
//! `GET /status` answers JSON; `GET /endpoints/192.0.2.7:443` (and `/status?address=`) tells of one
//! address how it came to be what it is, and `POST /endpoints/192.0.2.7:443/drain` overrides that;
//! `GET /health` says that the process lives. The listener is on loopback, but a page in a browser on this machine
//! can reach that too: through a name of its own that it has point to 127.0.0.1 (DNS rebinding). So
//! a request whose `Host` is not a loopback name or address is refused.

mod action;
pub mod report;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::telemetry::log::Complaints;

pub use report::Report;

/// Serves the API until it is dropped.
pub async fn serve(listener: TcpListener, report: Rc<Report>) {
    let places = Rc::new(Semaphore::new(CONNECTIONS_MOST));
    let mut complaints = Complaints::default();
    loop {
        let _ = places.acquire().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let (report, places) = (Rc::clone(&report), Rc::clone(&places));
                tokio::task::spawn_local(async move {
                    let _place = places.acquire().await;
                    let _ = tokio::time::timeout(CONNECTION_TIME, connection(stream, report)).await;
                });
            }
            Err(error) => {
                if complaints.may_be_heard(Instant::now()) {
                    tracing::warn!(%error, "the admin API cannot accept connections; trying again");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, report: Rc<Report>) {
    let service = service_fn(move |request| {
        let answered = answer(&request, &report);
        async { Ok::<_, Infallible>(answered) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_MOST)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "admin connection ended");
    }
}

fn answer(request: &Request<Incoming>, report: &Report) -> Response<Full<Bytes>> {
    let host = request
        .headers()
        .get(HOST)
        .map_or(&b""[..], HeaderValue::as_bytes);
    if !is_local(host) {
        return text(
            StatusCode::FORBIDDEN,
            "the admin API answers to loopback names only\n",
        );
    }
    let path = request.uri().path();
    match (path, request.method()) {
        ("/status", &Method::GET | &Method::HEAD) => match asked_address(request.uri().query()) {
            Ok(None) => json(&report.status()),
            Ok(Some(address)) => json(&report.address(address)),
            Err(refused) => text(StatusCode::BAD_REQUEST, refused),
        },
        ("/health", &Method::GET | &Method::HEAD) => text(StatusCode::OK, "alive\n"),
        ("/status" | "/health", _) => only("GET, HEAD"),
        _ => match path.strip_prefix("/endpoints/") {
            Some(rest) => endpoint(rest, request, report),
            None => text(
                StatusCode::NOT_FOUND,
                "there are /status, /health and /endpoints/ADDR here\n",
            ),
        },
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
            match report.registry() {
                Some(registry) => text(StatusCode::OK, action.apply(registry, address)),
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
        Err(error) => {
            tracing::error!(%error, "the status could not be written");
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the status could not be written\n",
            )
        }
    }
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

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text)
}

fn response(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

const CONNECTIONS_MOST: usize = 32;
const CONNECTION_TIME: Duration = Duration::from_secs(60);
const HEAD_TIME: Duration = Duration::from_secs(5);
const HEAD_MOST: usize = 16 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
