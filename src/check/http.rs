//! What is asked by HTTP, and what must be answered. gRPC's health protocol is a request of HTTP/2.

mod expected;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, HeaderValue, Method};

pub use self::expected::{BodyMatch, Pattern, Statuses};
use super::error::DefinitionError;

/// A request by HTTP, and what must be answered.
///
/// Unless told otherwise: `GET`, by HTTP/1.1, any status from 200 to 399, whatever the body.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Http {
    version: Version,
    method: Method,
    path: String,
    host: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    statuses: Statuses,
    body: Option<BodyMatch>,
    body_bytes: usize,
    agent_header: Option<HeaderName>,
}

/// By which version of HTTP.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Version {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2; without TLS by prior knowledge (RFC 9113 §3.3).
    Http2,
}

/// What gRPC's health protocol is asked (`grpc.health.v1.Health/Check`).
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Grpc {
    service: String,
    authority: Option<String>,
}

impl Http {
    /// A request for `path`, which begins with `/` and may have a query.
    ///
    /// # Errors
    ///
    /// It is no path of a request.
    pub fn new(path: &str) -> Result<Self, DefinitionError> {
        let is_path = path.starts_with('/') && path.parse::<PathAndQuery>().is_ok();
        if !is_path {
            let expected = "a path that begins with /, without spaces";
            return Err(refused("path", path, expected));
        }
        Ok(Self {
            version: Version::default(),
            method: Method::GET,
            path: path.to_owned(),
            host: None,
            headers: Vec::new(),
            statuses: Statuses::usual(),
            body: None,
            body_bytes: BODY_BYTES,
            agent_header: None,
        })
    }

    /// By which version of HTTP it is asked.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// The method: a token, as it is sent.
    ///
    /// # Errors
    ///
    /// It is no token, or one that has no answer of its own (`CONNECT`).
    pub fn method(mut self, method: &str) -> Result<Self, DefinitionError> {
        let parsed = Method::from_bytes(method.as_bytes()).ok();
        let usable = parsed.filter(|method| *method != Method::CONNECT);
        self.method = usable.ok_or_else(|| refused("method", method, "a method such as HEAD"))?;
        Ok(self)
    }

    /// What is sent as `Host` or `:authority`. Default: the name of TLS, or else the address.
    ///
    /// # Errors
    ///
    /// It is no host, with or without a port.
    pub fn host(mut self, host: &str) -> Result<Self, DefinitionError> {
        self.host = Some(authority("host", host)?);
        Ok(self)
    }

    /// One more field. Of the same name several may be given; `User-Agent` replaces the usual one.
    ///
    /// # Errors
    ///
    /// The name is none or is said elsewhere (`Host`), belongs to the connection or to a body, or
    /// the value holds what a field cannot.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, DefinitionError> {
        let usable = header_name(name)?;
        if OURS.contains(&usable.as_str()) {
            return Err(refused(
                "header",
                name,
                "a field that the check itself does not send",
            ));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| refused("header value", value, "visible characters and spaces"))?;
        self.headers.push((usable, value));
        Ok(self)
    }

    /// Which statuses are right. Default 200 to 399.
    #[must_use]
    pub fn statuses(mut self, statuses: Statuses) -> Self {
        self.statuses = statuses;
        self
    }

    /// What the body must hold, within its first `body_bytes`. Default: the body is not read.
    #[must_use]
    pub fn body(mut self, body: BodyMatch) -> Self {
        self.body = Some(body);
        self
    }

    /// How much is read of a body, in bytes. Default 65 536, at most 1 MiB: each check under way
    /// may hold so much.
    ///
    /// # Errors
    ///
    /// It is outside its range.
    pub fn body_bytes(mut self, bytes: usize) -> Result<Self, DefinitionError> {
        if !(1..=BODY_BYTES_MOST).contains(&bytes) {
            return Err(DefinitionError::SizeOutOfRange {
                field: "body_bytes",
                bytes,
                most: BODY_BYTES_MOST,
            });
        }
        self.body_bytes = bytes;
        Ok(self)
    }

    /// The field by which the server reports weight and state, see
    /// [`AgentReport`](super::AgentReport). Default: none is read.
    ///
    /// # Errors
    ///
    /// It is no name of a field.
    pub fn agent_header(mut self, name: &str) -> Result<Self, DefinitionError> {
        self.agent_header = Some(header_name(name)?);
        Ok(self)
    }

    pub(super) fn asked_version(&self) -> Version {
        self.version
    }

    pub(super) fn asked_method(&self) -> &Method {
        &self.method
    }

    pub(super) fn asked_path(&self) -> &str {
        &self.path
    }

    pub(super) fn asked_host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    pub(super) fn sent_headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    pub(super) fn right_statuses(&self) -> &Statuses {
        &self.statuses
    }

    pub(super) fn right_body(&self) -> Option<&BodyMatch> {
        self.body.as_ref()
    }

    pub(super) fn body_limit(&self) -> usize {
        self.body_bytes
    }

    pub(super) fn agent_field(&self) -> Option<&HeaderName> {
        self.agent_header.as_ref()
    }
}

impl Grpc {
    /// Asks for `service`; the empty name is the server as a whole.
    ///
    /// # Errors
    ///
    /// The name is longer than 1024 bytes.
    pub fn new(service: impl Into<String>) -> Result<Self, DefinitionError> {
        let service = service.into();
        if service.len() > SERVICE_BYTES_MOST {
            return Err(DefinitionError::SizeOutOfRange {
                field: "service",
                bytes: service.len(),
                most: SERVICE_BYTES_MOST,
            });
        }
        let authority = None;
        Ok(Self { service, authority })
    }

    /// What is sent as `:authority`. Default: the name of TLS, or else the address.
    ///
    /// # Errors
    ///
    /// It is no host, with or without a port.
    pub fn authority(mut self, host: &str) -> Result<Self, DefinitionError> {
        self.authority = Some(authority("authority", host)?);
        Ok(self)
    }

    pub(super) fn asked_service(&self) -> &str {
        &self.service
    }

    pub(super) fn asked_authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }
}

fn authority(field: &'static str, host: &str) -> Result<String, DefinitionError> {
    let expected = "a host, with or without a port";
    match host.parse::<Authority>() {
        Ok(parsed) if !host.contains('@') && !parsed.host().is_empty() => Ok(host.to_owned()),
        _ => Err(refused(field, host, expected)),
    }
}

fn header_name(name: &str) -> Result<HeaderName, DefinitionError> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| refused("header", name, "a name of letters, digits and -"))
}

fn refused(field: &'static str, value: &str, expected: &'static str) -> DefinitionError {
    DefinitionError::Text {
        field,
        value: value.to_owned(),
        expected,
    }
}

/// Fields of the connection and of the message, which HTTP/2 forbids, and those that are told apart
/// from others.
const OURS: [&str; 8] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];
/// More than a page that says how a server is.
const BODY_BYTES: usize = 64 * 1024;
const BODY_BYTES_MOST: usize = 1024 * 1024;
/// Longer than any name of a service.
const SERVICE_BYTES_MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let http = || Http::new("/").unwrap();
        for path in ["", "health", "/a b", "/a\r\nX: y", "http://a/"] {
            assert!(Http::new(path).is_err(), "{path:?}");
        }
        for method in ["", "GE T", "CONNECT", "GET\r\n"] {
            assert!(http().method(method).is_err(), "{method:?}");
        }
        for host in ["", "a b", "a@b", "a/b", "a\r\nb", ":80"] {
            assert!(http().host(host).is_err(), "{host:?}");
            assert!(Grpc::default().authority(host).is_err(), "{host:?}");
        }
        for (name, value) in [
            ("Host", "a"),
            ("Transfer-Encoding", "chunked"),
            ("A B", "c"),
            ("A", "b\r\nC: d"),
        ] {
            assert!(http().header(name, value).is_err(), "{name:?}: {value:?}");
        }
        assert!(http().body_bytes(0).is_err() && http().body_bytes(1 << 21).is_err());
        assert!(Grpc::new("x".repeat(1025)).is_err());
        for host in ["a.test", "a.test:80", "[::1]:80", "10.0.0.1"] {
            assert!(http().host(host).is_ok(), "{host:?}");
        }
    }
}
