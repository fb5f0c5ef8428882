//! What a proxy changes in a message's head, and nothing else.
//!
//! Hop-by-hop fields belong to one connection (RFC 9110 §7.6.1) and stay behind in both
//! directions. What frames the body is written anew by the engine, so no sender's framing is
//! passed on in two readings.

use hyper::ext::ReasonPhrase;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use hyper::http::response;
use hyper::{HeaderMap, Uri, Version};

/// Makes a client's request head fit for the origin that `uri` names.
pub(crate) fn to_origin(headers: &mut HeaderMap, version: Version, uri: &Uri) {
    to_server(headers, version, Seen::of(headers));
    set_host(headers, uri);
}

/// Makes a client's request head, which was looked at before, fit for the next hop, but for its
/// `Host`.
pub(crate) fn to_server(headers: &mut HeaderMap, version: Version, seen: Seen) {
    let takes_trailers = seen.has(Seen::TE) && headers.get_all(TE).iter().any(has_trailers);
    let is_chunked = strip_seen(headers, version, seen);
    if is_chunked {
        // Said anew, because the engine sends no body with a GET unless it is told to.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if takes_trailers {
        // TE is for this hop and has to be named as such (RFC 9110 §10.1.4).
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    add_via(headers, version);
}

/// Makes an origin's response head fit for the client.
pub(crate) fn to_client(headers: &mut HeaderMap, version: Version) {
    strip(headers, version);
    add_via(headers, version);
}

/// The URI's authority wins over what the client said (RFC 9112 §3.2.2).
fn set_host(headers: &mut HeaderMap, uri: &Uri) {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let mut hosts = headers.get_all(HOST).iter();
    if hosts.next().is_some_and(|host| host == authority) && hosts.next().is_none() {
        return;
    }
    if let Ok(host) = HeaderValue::from_str(authority) {
        headers.insert(HOST, host);
    }
}

/// A pseudonym, never the host's name (RFC 9110 §7.6.3).
fn add_via(headers: &mut HeaderMap, version: Version) {
    headers.append(
        VIA,
        match version {
            Version::HTTP_10 => HeaderValue::from_static("1.0 risefall"),
            Version::HTTP_2 => HeaderValue::from_static("2.0 risefall"),
            _ => HeaderValue::from_static("1.1 risefall"),
        },
    );
}

/// Removes what belongs to the connection from a head that came by `version`; tells whether the
/// body came in chunks. Trailers stay announced where there may be some, since the engine writes
/// no others behind chunks.
pub(crate) fn strip(headers: &mut HeaderMap, version: Version) -> bool {
    strip_seen(headers, version, Seen::of(headers))
}

/// The same for a head that was looked at before.
pub(crate) fn strip_seen(headers: &mut HeaderMap, version: Version, seen: Seen) -> bool {
    if seen.has(Seen::CONNECTION) {
        strip_named(headers);
    }
    if seen.has(Seen::HOP_BY_HOP) {
        for name in HOP_BY_HOP {
            headers.remove(name);
        }
    }
    let is_chunked = seen.has(Seen::CODING);
    if is_chunked {
        headers.remove(TRANSFER_ENCODING);
        // Two framings are one too many (RFC 9112 §6.3).
        headers.remove(CONTENT_LENGTH);
    } else if seen.has(Seen::TRAILER) && (version != Version::HTTP_2 || seen.has(Seen::LENGTH)) {
        headers.remove(TRAILER);
    }
    is_chunked
}

/// Which fields a head has, of those that somebody asks for: found in one pass, where asking the
/// map for each would hash a name for each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Seen(u16);

impl Seen {
    pub(crate) const CONNECTION: Self = Self(1);
    /// One of those that belong to the connection by themselves.
    pub(crate) const HOP_BY_HOP: Self = Self(1 << 1);
    pub(crate) const CODING: Self = Self(1 << 2);
    /// Any of what HTTP/2 has no use for, and `TE`.
    pub(crate) const OF_CONNECTION: Self = Self(0b111);
    pub(crate) const LENGTH: Self = Self(1 << 3);
    pub(crate) const TRAILER: Self = Self(1 << 4);
    pub(crate) const UPGRADE: Self = Self(1 << 5);
    pub(crate) const TE: Self = Self(1 << 6);
    pub(crate) const CONTENT_TYPE: Self = Self(1 << 7);
    pub(crate) const COOKIE: Self = Self(1 << 8);
    pub(crate) const HOST: Self = Self(1 << 9);
    /// A name with an underscore.
    pub(crate) const UNDERSCORE: Self = Self(1 << 10);
    /// A name that begins as those do that claim to know the client: worth a closer look.
    pub(crate) const CLAIM: Self = Self(1 << 11);

    /// A condition, a range, or what begins like one.
    pub(crate) const CONDITION: Self = Self(1 << 12);
    /// In which codings an answer may come.
    pub(crate) const CODINGS: Self = Self(1 << 13);

    /// Looks at the names of all fields.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        headers.keys().fold(Self(0), |seen, name| {
            let name = name.as_str();
            let has_underscore = name.bytes().any(|byte| byte == b'_');
            let underscore = u16::from(has_underscore) * Self::UNDERSCORE.0;
            Self(seen.0 | Self::known_name(name) | underscore)
        })
    }

    /// The same, but for underscores: nobody minds them in an answer.
    pub(crate) fn known(headers: &HeaderMap) -> Self {
        headers.keys().fold(Self(0), |seen, name| {
            Self(seen.0 | Self::known_name(name.as_str()))
        })
    }

    fn known_name(name: &str) -> u16 {
        // By the first letter, so that most names are compared with a few others at the most.
        match name.as_bytes().first() {
            Some(b'a') if name == "accept-encoding" => Self::CODINGS.0,
            Some(b'c') => match name {
                "connection" => Self::CONNECTION.0,
                "content-length" => Self::LENGTH.0,
                "content-type" => Self::CONTENT_TYPE.0,
                "cookie" => Self::COOKIE.0,
                _ => Self::CLAIM.0,
            },
            Some(b'f' | b'x') => Self::CLAIM.0,
            Some(b'h') => match name {
                "host" => Self::HOST.0,
                "http2-settings" => Self::HOP_BY_HOP.0,
                _ => 0,
            },
            Some(b'i' | b'r') => Self::CONDITION.0,
            Some(b'k') if name == "keep-alive" => Self::HOP_BY_HOP.0,
            Some(b'p') => match name {
                "proxy-connection" | "proxy-authenticate" | "proxy-authorization" => {
                    Self::HOP_BY_HOP.0
                }
                _ => 0,
            },
            Some(b't') => match name {
                "te" => Self::HOP_BY_HOP.0 | Self::TE.0,
                "transfer-encoding" => Self::CODING.0,
                "trailer" => Self::TRAILER.0,
                _ => Self::CLAIM.0,
            },
            Some(b'u') if name == "upgrade" => Self::HOP_BY_HOP.0 | Self::UPGRADE.0,
            _ => 0,
        }
    }

    pub(crate) fn has(self, fields: Self) -> bool {
        self.0 & fields.0 != 0
    }
}

/// Removes every field that `Connection` names, and `Connection`.
fn strip_named(headers: &mut HeaderMap) {
    if !has_single_values(headers) {
        let said = headers.get_all(CONNECTION).iter();
        let named: Vec<_> = said.flat_map(names_in).collect();
        for name in named {
            headers.remove(name);
        }
    }
    match headers.remove(CONNECTION) {
        // What most servers say names no field.
        Some(value) if value == "keep-alive" || value == "close" => {}
        Some(value) => {
            for name in names_in(&value) {
                headers.remove(name);
            }
        }
        None => {}
    }
}

fn names_in(connection: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    let names = connection.as_bytes().split(|&byte| byte == b',');
    names
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        // Framing is not the sender's to hide.
        .filter(|name| *name != TRANSFER_ENCODING && *name != CONTENT_LENGTH)
}

/// Whether `Connection` names a field.
pub(crate) fn names(headers: &HeaderMap, seen: Seen, field: &HeaderName) -> bool {
    let mut said = headers.get_all(CONNECTION).iter();
    seen.has(Seen::CONNECTION) && said.any(|value| names_in(value).any(|name| name == *field))
}

/// Whether no field comes twice: then to get its value is to get all.
pub(crate) fn has_single_values(headers: &HeaderMap) -> bool {
    headers.len() == headers.keys_len()
}

fn has_trailers(te: &HeaderValue) -> bool {
    te.as_bytes()
        .split(|&byte| byte == b',')
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Leaves of what the engine notes beside a server's head only the words behind its status, which HTTP/1
/// has (RFC 9112 §4). Where nobody has said any there are none.
pub(crate) fn keep_reason(parts: &mut response::Parts) {
    let said = parts.extensions.remove::<ReasonPhrase>();
    parts.extensions.clear();
    let is_known = parts.status.canonical_reason().is_some();
    if let Some(reason) = said.or((!is_known).then_some(NO_REASON)) {
        parts.extensions.insert(reason);
    }
}

const NO_REASON: ReasonPhrase = ReasonPhrase::from_static(b"");
const HOP_BY_HOP: [HeaderName; 7] = [
    // RFC 7540 §3.2.1: of an upgrade that nobody here makes.
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
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

    fn to_origin(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = headers(fields);
        let uri = Uri::from_static("http://example.com:8080/path");
        super::to_origin(&mut headers, Version::HTTP_11, &uri);
        headers
    }

    #[test]
    fn fields_of_the_connection_stay_behind() {
        let sent = to_origin(&[
            ("host", "example.com:8080"),
            ("connection", "close, X-Secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("x-kept", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic Zm9vOmJhcg=="),
            ("te", "gzip"),
            ("upgrade", "websocket"),
            ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
            ("trailer", "x-sum"),
        ]);
        let mut names: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["host", "via", "x-kept"]);
    }

    #[test]
    fn what_is_seen_is_what_is_there() {
        let seen = Seen::of(&headers(&[("te", "trailers"), ("content-length", "5")]));
        for fields in [Seen::TE, Seen::HOP_BY_HOP, Seen::LENGTH] {
            assert!(seen.has(fields), "{fields:?}");
        }
        for fields in [Seen::CONNECTION, Seen::CODING, Seen::UPGRADE, Seen::COOKIE] {
            assert!(!seen.has(fields), "{fields:?}");
        }
    }

    #[test]
    fn a_field_is_named_in_any_of_several_values() {
        let headers = headers(&[("connection", "close, X-Secret"), ("connection", "x-other")]);
        let named = |name| names(&headers, Seen::of(&headers), &HeaderName::from_static(name));
        assert!(named("x-secret") && named("x-other") && !named("x-third"));
        let none = HeaderMap::new();
        assert!(!names(&none, Seen::of(&none), &HOST));
    }

    #[test]
    fn the_uri_wins_over_the_host_field() {
        for fields in [
            &[("host", "evil.example")][..],
            &[("host", "example.com:8080"), ("host", "evil.example")],
            &[],
        ] {
            let sent = to_origin(fields);
            let hosts: Vec<_> = sent.get_all(HOST).iter().collect();
            assert_eq!(hosts, ["example.com:8080"]);
        }
    }

    #[test]
    fn trailers_are_asked_for_in_a_field_that_names_itself() {
        let sent = to_origin(&[("te", "gzip, trailers"), ("connection", "te")]);
        assert_eq!(sent["te"], "trailers");
        assert_eq!(sent["connection"], "te");
    }

    #[test]
    fn a_chunked_body_is_framed_once() {
        let sent = to_origin(&[
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("trailer", "x-sum"),
        ]);
        assert_eq!(sent["transfer-encoding"], "chunked");
        assert_eq!(sent["trailer"], "x-sum");
        assert!(!sent.contains_key(CONTENT_LENGTH));
    }

    #[test]
    fn framing_cannot_be_hidden_by_naming_it() {
        let sent = to_origin(&[("connection", "content-length"), ("content-length", "5")]);
        assert_eq!(sent["content-length"], "5");
    }

    #[test]
    fn earlier_proxies_stay_named() {
        let mut received = headers(&[("via", "1.0 squid")]);
        to_client(&mut received, Version::HTTP_10);
        let via: Vec<_> = received.get_all(VIA).iter().collect();
        assert_eq!(via, ["1.0 squid", "1.0 risefall"]);
    }
}
