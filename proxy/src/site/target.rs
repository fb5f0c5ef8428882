//! What a client asks for: a host and a path, each in one spelling.
//!
//! The host is the URI's where it has one, else the `Host` field's (RFC 9112 §3.2.2). It is
//! compared in lower case, without its port and without a final dot. Only what may be in the name
//! of a host passes: a stricter rule than the grammar's, by which `%` or `!` would be a host. A colon
//! without a port behind it says nothing (RFC 3986 §3.2.3) and is not sent on.
//! HTTP/1.0 needs no host; then, or when it is empty, it is unknown, and what serves all hosts
//! serves it.
//!
//! The path is in its [normal form](crate::proto::path), by which it is routed and in which it is
//! sent on. The query is sent as it came, with what is not ASCII escaped. Fragments never arrive:
//! the engines drop them.
//!
//! A client asks most of its requests of the same host, so a connection [remembers](LastHost) how
//! it read the last one.

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::Ipv6Addr;
use std::rc::Rc;

use hyper::header::{HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Request, Uri, Version};

use crate::error::Fault;
use crate::proto::path::{self, PathError};
use crate::serve::headers::has_single_values;

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    authority: Option<Rc<Authority>>,
    target: PathAndQuery,
    is_tls: bool,
}

/// The host that was asked for last on a connection, and how it was read.
#[derive(Debug, Default)]
pub struct LastHost(RefCell<Option<Rc<Authority>>>);

/// A host with the port it was said with.
#[derive(Clone, Debug)]
struct Authority {
    /// As it was said, with the port; without a colon that none follows.
    said: HeaderValue,
    is_as_said: bool,
    /// The host in the spelling that is compared.
    host: Box<str>,
    port: Option<u16>,
}

impl Asked {
    /// Reads what `request` asks for. `is_tls` tells how it came.
    ///
    /// # Errors
    ///
    /// A request that can be read in two ways, or in none; the text tells the client.
    pub fn read<B>(request: &Request<B>, is_tls: bool) -> Result<Self, Fault> {
        let said = (request.version(), request.method(), request.uri());
        Self::of_said(said, request.headers(), is_tls, &LastHost::default())
    }

    /// The same for the head of one of several requests; a host that is asked for again is not read
    /// again.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn of(parts: &Parts, is_tls: bool, last: &LastHost) -> Result<Self, Fault> {
        let said = (parts.version, &parts.method, &parts.uri);
        Self::of_said(said, &parts.headers, is_tls, last)
    }

    fn of_said(
        (version, method, uri): (Version, &Method, &Uri),
        headers: &HeaderMap,
        is_tls: bool,
        last: &LastHost,
    ) -> Result<Self, Fault> {
        let authority = match version {
            Version::HTTP_2 => authority_h2(uri, headers, is_tls, last)?,
            _ => authority_h1(uri, headers, last)?,
        };
        let target = target(method, uri)?;
        Ok(Self {
            authority,
            target,
            is_tls,
        })
    }

    /// The host in lower case, without port and final dot, an IPv6 address in brackets; empty if
    /// it is unknown.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority
            .as_ref()
            .map_or("", |authority| authority.host())
    }

    /// Host and port as the client said them: what `Host` is for the server unless the route says
    /// otherwise. `None` if the host is unknown.
    #[must_use]
    pub fn authority(&self) -> Option<&HeaderValue> {
        self.authority.as_ref().map(|authority| &authority.said)
    }

    /// Whether the client said them in the very bytes of [`authority`](Self::authority).
    #[must_use]
    pub fn is_authority_as_said(&self) -> bool {
        self.authority.as_ref().is_some_and(|said| said.is_as_said)
    }

    /// The port that was said.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.authority.as_ref()?.port
    }

    /// The path in normal form; `*` for a request about the server as a whole.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// The query, without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.target.query()
    }

    /// Path and query: what is sent on unless the route says otherwise.
    #[must_use]
    pub fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// Whether the client speaks TLS with this process.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// `https` or `http`, by how the request came.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }
}

impl LastHost {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`; `None` if nothing was said.
    fn read(&self, said: &[u8]) -> Result<Option<Rc<Authority>>, Fault> {
        if said.is_empty() {
            return Ok(None);
        }
        let mut last = self.0.borrow_mut();
        match &*last {
            Some(last) if last.said == *said => {}
            _ => *last = Some(Rc::new(Authority::read(said)?)),
        }
        Ok(last.clone())
    }
}

impl Authority {
    fn read(said: &[u8]) -> Result<Self, Fault> {
        let said = std::str::from_utf8(said).map_err(|_| bad_host())?;
        let text = said.strip_suffix(':').unwrap_or(said);
        let (host, port) = split_port(text)?;
        let spelled = match host.strip_prefix('[') {
            Some(rest) => spell_v6(host, rest)?,
            None => spell_name(host)?,
        };
        let host = spelled.unwrap_or_else(|| host.into());
        let port = port.map(read_port).transpose()?;
        Ok(Self {
            // A copy: a part of the head it came in would keep all of that.
            said: HeaderValue::from_str(text).map_err(|_| bad_host())?,
            is_as_said: text.len() == said.len(),
            host,
            port,
        })
    }

    fn host(&self) -> &str {
        &self.host
    }

    /// Whether both name the same host and port.
    fn is_same(&self, other: &Self, is_tls: bool) -> bool {
        let usual = if is_tls { 443 } else { 80 };
        self.said == other.said
            || self.host() == other.host()
                && self.port.unwrap_or(usual) == other.port.unwrap_or(usual)
    }
}

/// The URI wins over the field; the screen in front has refused a second field.
fn authority_h1(
    uri: &Uri,
    headers: &HeaderMap,
    last: &LastHost,
) -> Result<Option<Rc<Authority>>, Fault> {
    check_scheme(uri)?;
    let host = single_host(headers)?.map(HeaderValue::as_bytes);
    said_in(uri)
        .or(host)
        .map_or(Ok(None), |said| last.read(said))
}

/// A field that names another host than `:authority` makes a request malformed (RFC 9113 §8.3.1).
fn authority_h2(
    uri: &Uri,
    headers: &HeaderMap,
    is_tls: bool,
    last: &LastHost,
) -> Result<Option<Rc<Authority>>, Fault> {
    check_scheme(uri)?;
    let host = single_host(headers)?.map(HeaderValue::as_bytes);
    let Some(said) = said_in(uri) else {
        return host.map_or(Ok(None), |host| last.read(host));
    };
    let authority = last.read(said)?;
    if let Some(host) = host.filter(|&host| host != said) {
        let is_same = match &authority {
            Some(authority) if !host.is_empty() => {
                authority.is_same(&Authority::read(host)?, is_tls)
            }
            _ => false,
        };
        if !is_same {
            return Err(bad("found a Host that differs from :authority"));
        }
    }
    Ok(authority)
}

/// An HTTP/1 target with another scheme is for another kind of proxy.
fn check_scheme(uri: &Uri) -> Result<(), Fault> {
    match uri.scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(bad("expected a target with the scheme http or https")),
    }
}

fn single_host(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Fault> {
    if !has_single_values(headers) && headers.get_all(HOST).iter().count() > 1 {
        return Err(bad("found more than one Host"));
    }
    Ok(headers.get(HOST))
}

fn said_in(uri: &Uri) -> Option<&[u8]> {
    Some(uri.authority()?.as_str().as_bytes())
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), Fault> {
    let name_ends = if text.starts_with('[') {
        text.find(']').ok_or_else(bad_host)? + 1
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (host, rest) = text.split_at_checked(name_ends).ok_or_else(bad_host)?;
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((host, None)),
        None => Err(bad_host()),
        port => Ok((host, port)),
    }
}

/// Plain digits: `u16::from_str` alone would take a sign and any number of zeros.
fn read_port(text: &str) -> Result<u16, Fault> {
    let is_plain = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|&port| is_plain && port != 0);
    port.ok_or_else(|| bad("expected a port from 1 to 65535 in the host"))
}

/// The spelling of an address that is compared, unless it is the one given.
fn spell_v6(host: &str, rest: &str) -> Result<Option<Box<str>>, Fault> {
    let text = rest.strip_suffix(']').ok_or_else(bad_host)?;
    let ip: Ipv6Addr = text.parse().map_err(|_| bad_host())?;
    let spelled = format!("[{ip}]");
    Ok((spelled != host).then(|| spelled.into()))
}

/// The spelling of a name that is compared, unless it is the one given.
fn spell_name(host: &str) -> Result<Option<Box<str>>, Fault> {
    let name = host.strip_suffix('.').unwrap_or(host);
    let mut has_upper = false;
    let mut before = b'.';
    for byte in name.bytes() {
        let is_label = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !is_label && (byte != b'.' || before == b'.') {
            return Err(bad_host());
        }
        has_upper |= byte.is_ascii_uppercase();
        before = byte;
    }
    if before == b'.' || name.len() > NAME_LIMIT {
        return Err(bad_host());
    }
    let is_spelled = !has_upper && name.len() == host.len();
    Ok((!is_spelled).then(|| name.to_ascii_lowercase().into()))
}

fn target(method: &Method, uri: &Uri) -> Result<PathAndQuery, Fault> {
    let Some(said) = uri.path_and_query() else {
        return Err(of_path(PathError::NotAbsolute));
    };
    if said.path() == "*" {
        return match *method {
            Method::OPTIONS => Ok(said.clone()),
            _ => Err(bad("the target \"*\" is for OPTIONS alone")),
        };
    }
    let path = path::normal(said.path()).map_err(of_path)?;
    let query = said.query();
    let is_said = matches!(path, Cow::Borrowed(_));
    if is_said && query.is_none_or(str::is_ascii) && said.as_str().starts_with('/') {
        return Ok(said.clone());
    }
    let mut written = path.into_owned();
    if let Some(query) = query {
        written.push('?');
        push_query(query, &mut written);
    }
    PathAndQuery::try_from(written).map_err(|_| bad("found a target that is too long"))
}

fn push_query(query: &str, out: &mut String) {
    for byte in query.bytes() {
        if byte.is_ascii() {
            out.push(char::from(byte));
        } else {
            path::push_escaped(byte, out);
        }
    }
}

fn of_path(error: PathError) -> Fault {
    Fault::BadRequest(error.to_string().into())
}

fn bad_host() -> Fault {
    bad("expected a host name or an address, with or without a port")
}

fn bad(text: &'static str) -> Fault {
    Fault::BadRequest(text.into())
}

/// RFC 1035 §2.3.4.
const NAME_LIMIT: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, uri: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap()
    }

    fn read(version: Version, uri: &str, hosts: &[&str]) -> Option<(String, Option<u16>)> {
        let asked = Asked::read(&request(version, uri, hosts), true).ok()?;
        Some((asked.host().to_owned(), asked.port()))
    }

    fn target_of(uri: &str) -> Option<String> {
        let asked = Asked::read(&request(Version::HTTP_11, uri, &["a"]), false).ok()?;
        Some(asked.target().to_string())
    }

    #[test]
    fn a_host_has_one_spelling() {
        for (said, host, port) in [
            ("example.com", "example.com", None),
            ("Example.COM:8080", "example.com", Some(8080)),
            ("example.com.", "example.com", None),
            ("example.com.:00080", "example.com", Some(80)),
            ("a_b-1", "a_b-1", None),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]", "[::1]", None),
            ("[2001:DB8:0::1]:443", "[2001:db8::1]", Some(443)),
            ("Example.com.:", "example.com", None),
            ("[::1]:", "[::1]", None),
            ("", "", None),
        ] {
            let expected = Some((host.to_owned(), port));
            assert_eq!(read(Version::HTTP_11, "/", &[said]), expected, "{said}");
        }
        assert_eq!(
            read(Version::HTTP_10, "/", &[]),
            Some((String::new(), None))
        );
        let asked = Asked::read(&request(Version::HTTP_11, "/", &["Ex.org:1"]), false).unwrap();
        assert_eq!(asked.authority().unwrap(), "Ex.org:1");
        assert!(asked.is_authority_as_said());
        assert_eq!(asked.scheme(), "http");
        let asked = Asked::read(&request(Version::HTTP_11, "/", &["Ex.org:"]), false).unwrap();
        assert_eq!(asked.authority().unwrap(), "Ex.org");
        assert!(!asked.is_authority_as_said());
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a".repeat(254);
        for said in [
            ".",
            "..",
            ".a",
            "a..b",
            "a..",
            ":80",
            ":",
            "a::",
            "a:0",
            "a:+1",
            "a:65536",
            "a:1:2",
            "a:x",
            "a b",
            "a,b",
            "a/b",
            "a%61",
            "a!b",
            "u@a",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]::",
            "[a]",
            "[127.0.0.1]",
            "[fe80::1%25eth0]",
            "]",
            "\u{e4}",
            &long,
        ] {
            let found = read(Version::HTTP_11, "/", &[said]);
            assert_eq!(found, None, "{said}");
        }
    }

    #[test]
    fn the_uri_wins_in_http1_and_must_agree_in_http2() {
        let host = |version, uri, hosts: &[&str]| read(version, uri, hosts).map(|read| read.0);
        for (uri, hosts, h1, h2) in [
            ("https://a/", &["b"][..], Some("a"), None),
            ("https://a/", &["a"], Some("a"), Some("a")),
            ("https://a/", &["A."], Some("a"), Some("a")),
            ("https://a/", &["a:443"], Some("a"), Some("a")),
            ("https://a/", &["a:80"], Some("a"), None),
            ("https://a/", &["a:"], Some("a"), Some("a")),
            ("https://a/", &[""], Some("a"), None),
            ("https://a/", &[], Some("a"), Some("a")),
            ("/", &["b"], Some("b"), Some("b")),
            ("https://a/", &["a", "a"], None, None),
            ("https://u@a/", &["a"], None, None),
            ("ftp://a/", &["a"], None, None),
        ] {
            assert_eq!(
                host(Version::HTTP_11, uri, hosts).as_deref(),
                h1,
                "{uri} {hosts:?}"
            );
            assert_eq!(
                host(Version::HTTP_2, uri, hosts).as_deref(),
                h2,
                "{uri} {hosts:?}"
            );
        }
    }

    #[test]
    fn the_path_is_normal_and_the_query_as_it_came() {
        for (uri, target) in [
            ("/", Some("/")),
            ("http://a", Some("/")),
            ("http://a?x", Some("/?x")),
            ("/a?b=%zz&c=../%2e", Some("/a?b=%zz&c=../%2e")),
            ("/a/%2E./b?x=/../", Some("/b?x=/../")),
            ("/a?\u{e4}", Some("/a?%C3%A4")),
            ("/a?", Some("/a?")),
            ("/a#b", Some("/a")),
            ("//evil.example/x", Some("//evil.example/x")),
            ("/%", None),
            ("/..", None),
            ("*", None),
            ("a:80", None),
        ] {
            assert_eq!(target_of(uri).as_deref(), target, "{uri}");
        }
        let long = format!("/{}", "\u{e4}".repeat(20_000));
        assert_eq!(target_of(&long), None);
    }

    #[test]
    fn a_star_is_for_options() {
        let mut request = request(Version::HTTP_11, "*", &["a"]);
        assert!(Asked::read(&request, false).is_err());
        *request.method_mut() = Method::OPTIONS;
        assert_eq!(Asked::read(&request, false).unwrap().path(), "*");
    }
}
