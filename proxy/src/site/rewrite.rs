//! What a route changes: the path, fields, and where a redirect leads.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;

use super::target::Asked;
use crate::error::Fault;
use crate::plan::site::{Edits, Rewrite, Site};
use crate::proto::path::{compared, segments, without_slashes};

/// What a server is asked for, when a client asks for `target`, which is in normal form; `None` if
/// that is the same.
///
/// The front is stripped on the border of a segment, so that `/api` leaves `/apis` alone, and what
/// is left begins with one slash: behind two, escaped or not, a server would see a host in it.
///
/// # Errors
///
/// The result is too long.
pub fn target(rewrite: &Rewrite, target: &PathAndQuery) -> Result<Option<PathAndQuery>, Fault> {
    let is_changed = rewrite.strip_prefix.is_some() || rewrite.add_prefix.is_some();
    if !is_changed || target.path() == "*" {
        return Ok(None);
    }
    let (slash, left) = match &rewrite.strip_prefix {
        Some(prefix) => strip(prefix, target.path()),
        None => ("", target.path()),
    };
    let added = rewrite.add_prefix.as_deref().unwrap_or("");
    let mut written = String::with_capacity(added.len() + target.as_str().len() + 1);
    written.push_str(added);
    let is_empty = slash.is_empty() && left.is_empty();
    if !is_empty && written.ends_with('/') {
        written.pop();
    }
    written.push_str(slash);
    written.push_str(left);
    if written.is_empty() {
        written.push('/');
    }
    if let Some(query) = target.query() {
        written.push('?');
        written.push_str(query);
    }
    PathAndQuery::try_from(written)
        .map(Some)
        .map_err(|_| Fault::BadRequest("the target is too long for the server".into()))
}

/// What `prefix` leaves of `path`, in two parts: nothing, or one slash and what is behind it.
fn strip<'a>(prefix: &str, path: &'a str) -> (&'static str, &'a str) {
    let prefix = compared(prefix);
    let prefix = prefix.strip_suffix('/').unwrap_or(&prefix);
    // As many segments, in whatever spelling.
    let end = segments(path).nth(segments(prefix).count());
    let (front, rest) = path
        .split_at_checked(end.unwrap_or(path.len()))
        .unwrap_or((path, ""));
    match compared(front) == prefix {
        true if rest.is_empty() => ("", ""),
        true => ("/", without_slashes(rest)),
        false => ("", path),
    }
}

/// Drops all slashes in front but one.
fn single_slash(path: &str) -> &str {
    let mut path = path;
    while let Some(rest) = path.strip_prefix('/') {
        if !rest.starts_with('/') {
            break;
        }
        path = rest;
    }
    path
}

/// Changes fields: first what is removed, then what is set, then what is added.
pub fn edit(edits: &Edits, headers: &mut HeaderMap) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for (name, value) in &edits.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &edits.add {
        headers.append(name, value.clone());
    }
}

/// Where a client that speaks no TLS is sent, if the site wants that.
///
/// # Errors
///
/// Those of [`location`].
pub fn tls_location(site: &Site, asked: &Asked) -> Result<Option<HeaderValue>, Fault> {
    let Some(tls) = site.tls.as_ref().filter(|tls| tls.redirect) else {
        return Ok(None);
    };
    let port = tls.listen.first().map_or(HTTPS, SocketAddr::port);
    let to = match port {
        HTTPS => "https://{host}{path}{query}".to_owned(),
        port => format!("https://{{host}}:{port}{{path}}{{query}}"),
    };
    location(&to, asked).map(Some)
}

/// Where a redirect to `to` leads: its `Location`.
///
/// `{host}`, `{path}`, `{query}` and `{scheme}` stand for the request's own: the host without its
/// port, the path in normal form. `{query}` comes with the `?` or `&` that it needs, and one that
/// waits for it in vain is taken back, so that `{path}{query}` and `{path}?{query}` are the same.
///
/// A client cannot choose the host by its path: a location that is a path begins with one slash.
///
/// # Errors
///
/// The host is asked for and unknown, or `to` holds what no field may.
pub fn location(to: &str, asked: &Asked) -> Result<HeaderValue, Fault> {
    let mut written = String::with_capacity(to.len() + asked.target().as_str().len());
    let mut rest = to;
    while let Some(open) = rest.find('{') {
        let (before, behind) = rest.split_at_checked(open).unwrap_or((rest, ""));
        written.push_str(before);
        rest = expand(behind, asked, &mut written)?;
    }
    written.push_str(rest);
    let is_local = !to.starts_with("//") && written.starts_with('/');
    let location = if is_local {
        single_slash(&written).to_owned()
    } else {
        written
    };
    HeaderValue::from_maybe_shared(Bytes::from(location))
        .map_err(|_| Fault::BadRequest("the redirect cannot be written".into()))
}

/// Writes what the name at the start of `text` stands for, or a brace that is only that, and
/// returns what lies behind.
fn expand<'a>(text: &'a str, asked: &Asked, out: &mut String) -> Result<&'a str, Fault> {
    if let Some(rest) = text.strip_prefix("{host}") {
        if asked.host().is_empty() {
            // What follows would be read as the host.
            return Err(Fault::BadRequest("expected a Host to redirect to".into()));
        }
        out.push_str(asked.host());
        return Ok(rest);
    }
    if let Some(rest) = text.strip_prefix("{path}") {
        let path = asked.path();
        out.push_str(if path == "*" { "/" } else { path });
        return Ok(rest);
    }
    if let Some(rest) = text.strip_prefix("{query}") {
        push_query(asked.query().unwrap_or(""), out);
        return Ok(rest);
    }
    if let Some(rest) = text.strip_prefix("{scheme}") {
        out.push_str(asked.scheme());
        return Ok(rest);
    }
    out.push('{');
    Ok(text.strip_prefix('{').unwrap_or(text))
}

fn push_query(query: &str, out: &mut String) {
    let is_open = out.ends_with(['?', '&']);
    if query.is_empty() {
        if is_open {
            out.pop();
        }
        return;
    }
    if !is_open {
        out.push(if out.contains('?') { '&' } else { '?' });
    }
    out.push_str(query);
}

/// The port that need not be said.
const HTTPS: u16 = 443;

#[cfg(test)]
mod tests {
    use hyper::header::{HOST, HeaderName};
    use hyper::{Method, Request};

    use super::*;

    fn rewritten(strip: Option<&str>, add: Option<&str>, from: &str) -> String {
        let rewrite = Rewrite {
            strip_prefix: strip.map(str::to_owned),
            add_prefix: add.map(str::to_owned),
            host: None,
        };
        let from = from.parse().unwrap();
        let to = target(&rewrite, &from).unwrap();
        to.unwrap_or(from).to_string()
    }

    #[test]
    fn a_prefix_is_stripped_on_the_border_of_a_segment() {
        for (strip, from, to) in [
            ("/api", "/api/x?y=/api", "/x?y=/api"),
            ("/api", "/api", "/"),
            ("/api", "/api?q", "/?q"),
            ("/api", "/api/", "/"),
            ("/api/", "/api/x", "/x"),
            ("/api/", "/api", "/"),
            ("/api", "/apis", "/apis"),
            ("/api", "/x/api", "/x/api"),
            ("/api", "/api//evil.example", "/evil.example"),
            ("/api", "/api///", "/"),
            ("/api", "//api/x", "/x"),
            ("/a/b", "/a//%62///x", "/x"),
            ("/a/b", "//a/c/b", "//a/c/b"),
            ("/", "/x", "/x"),
            ("/", "//evil.example", "/evil.example"),
            ("/api", "/api%2Fx%2Fy", "/x%2Fy"),
            ("/api", "/api%2F", "/"),
            ("/api", "/%2Fapi/%2F%2Fevil.example", "/evil.example"),
            ("/api%2F", "/api/x", "/x"),
            ("/api", "/api%252Fx", "/api%252Fx"),
            ("/", "/%2Fx", "/x"),
            ("/api", "*", "*"),
        ] {
            assert_eq!(rewritten(Some(strip), None, from), to, "{strip} {from}");
        }
    }

    #[test]
    fn a_prefix_is_added_with_one_slash_between() {
        for (strip, add, from, to) in [
            (None, "/v1", "/x?q", "/v1/x?q"),
            (None, "/v1/", "/x", "/v1/x"),
            (None, "/", "/x", "/x"),
            (None, "/v1", "/", "/v1/"),
            (Some("/api"), "/v1", "/api", "/v1"),
            (Some("/api"), "/v1", "/api/", "/v1/"),
            (Some("/api"), "/v1", "/api/x", "/v1/x"),
            (Some("/api"), "/v1/", "/api%2Fx", "/v1/x"),
            (Some("/api"), "/v1", "/other", "/v1/other"),
        ] {
            assert_eq!(rewritten(strip, Some(add), from), to, "{add} {from}");
        }
        assert_eq!(rewritten(None, None, "//x"), "//x");
    }

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let name = HeaderName::from_static;
        let value = HeaderValue::from_static;
        let edits = Edits {
            remove: vec![name("a"), name("b")],
            set: vec![(name("b"), value("set")), (name("c"), value("set"))],
            add: vec![(name("c"), value("added")), (name("d"), value("added"))],
        };
        let mut headers = HeaderMap::new();
        for field in ["a", "b", "c", "c", "d"] {
            headers.append(field, value("old"));
        }
        edit(&edits, &mut headers);
        let all = |name| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        assert!(all("a").is_empty());
        assert_eq!(all("b"), ["set"]);
        assert_eq!(all("c"), ["set", "added"]);
        assert_eq!(all("d"), ["old", "added"]);
    }

    fn asked(method: Method, host: &str, uri: &str) -> Asked {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(HOST, host);
        Asked::read(&request.body(()).unwrap(), false).unwrap()
    }

    fn led(to: &str, host: &str, uri: &str) -> Option<String> {
        let location = location(to, &asked(Method::GET, host, uri)).ok()?;
        Some(location.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_redirect_is_written_from_the_request() {
        for (to, uri, location) in [
            (
                "https://{host}{path}{query}",
                "/a?b=c",
                "https://ex.org/a?b=c",
            ),
            (
                "https://{host}{path}?{query}",
                "/a?b=c",
                "https://ex.org/a?b=c",
            ),
            ("https://{host}{path}?{query}", "/a", "https://ex.org/a"),
            ("https://{host}{path}?{query}", "/a?", "https://ex.org/a"),
            ("/new?x=1{query}", "/a?b", "/new?x=1&b"),
            ("/new?x=1&{query}", "/a?b", "/new?x=1&b"),
            ("/new?x=1&{query}#top", "/a", "/new?x=1#top"),
            ("{scheme}://new.org:8080/", "/a", "http://new.org:8080/"),
            ("/{x}{{path}}", "/a", "/{x}{/a}"),
            ("/{", "/a", "/{"),
            ("/{path", "/a", "/{path"),
            (
                "https://x{path}",
                "/a/%2e%2e/%0d%0aset-cookie:x",
                "https://x/%0D%0Aset-cookie:x",
            ),
        ] {
            let found = led(to, "Ex.org:80", uri);
            assert_eq!(found.as_deref(), Some(location), "{to} {uri}");
        }
    }

    #[test]
    fn no_path_leads_to_another_host() {
        for to in [
            "{path}",
            "/{path}",
            "//{host}{path}",
            "https://{host}{path}",
        ] {
            for uri in [
                "//evil.example/x",
                "///evil.example/x",
                "/a/..//evil.example/x",
            ] {
                let location = led(to, "ex.org", uri).unwrap();
                let is_local = location == "/evil.example/x";
                let is_ours = location.contains("//ex.org/");
                assert!(is_local || is_ours, "{to} {uri} {location}");
            }
        }
        assert_eq!(led("https://{host}{path}", "", "//evil.example/x"), None);
        let options = asked(Method::OPTIONS, "ex.org", "*");
        assert_eq!(
            location("https://{host}{path}", &options).unwrap(),
            "https://ex.org/"
        );
    }

    #[test]
    fn a_redirect_that_no_field_may_hold_is_refused() {
        assert_eq!(led("/a\r\nset-cookie: x", "ex.org", "/"), None);
    }
}
