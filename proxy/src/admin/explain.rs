//! `/explain`: what would become of a request now, step by step: listener, rule, upstream, and each
//! address with the reason why it is dialled or not.

mod files;
mod forward;
mod site;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::Report;
use super::status::{AddressStatus, CheckStatus};
use crate::net::resolve::Resolver;
use crate::plan::Forward;
use crate::proto::Target;

/// What is asked.
#[derive(Debug)]
pub(super) struct Question {
    target: Target,
    /// As it was written.
    written: String,
    forward: Option<String>,
    client: Option<IpAddr>,
    /// What a client would send to a site, if a URL of HTTP was written.
    request: Option<Asking>,
}

/// A request for a site.
#[derive(Debug)]
struct Asking {
    is_tls: bool,
    /// By its path, with the host in its field, as clients send it.
    request: Request<()>,
}

/// What would become of a request for the target.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Explanation {
    /// The host and the port.
    pub target: String,
    /// What each forward proxy would do.
    pub forwards: Vec<ForwardExplanation>,
    /// What the sites of each listener would do that the URL leads to.
    pub sites: Vec<SiteExplanation>,
}

/// What one forward proxy would do.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ForwardExplanation {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub listeners: Vec<SocketAddr>,
    /// What it speaks.
    pub protocols: String,
    /// Who may use it; whether the client that was asked for may.
    pub clients: String,
    /// Whether that client is turned away.
    pub is_client_refused: bool,
    /// The upstream through which targets are reached, if they are not dialled from here.
    pub parent: Option<String>,
    /// Why nothing is dialled at all, if so.
    pub refused: Option<String>,
    /// What would be dialled, the best first as far as that is known beforehand.
    pub endpoints: Vec<EndpointExplanation>,
}

/// What the sites of one listener would do.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct SiteExplanation {
    /// Where it listens.
    pub listener: Option<SocketAddr>,
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// The certificate that the client is shown.
    pub certificate: Option<String>,
    /// The site whose hosts hold the request's.
    pub site: Option<String>,
    /// Which requests its route is for.
    pub route: Option<String>,
    /// Its other routes and why they are not for the request, some of them.
    pub passed: Vec<String>,
    /// What becomes of the request.
    pub action: Option<String>,
    /// The upstream that answers it, if one does.
    pub upstream: Option<String>,
    /// How one of its servers is chosen now.
    pub choice: Option<String>,
    /// Why it is refused, if so.
    pub refused: Option<String>,
    /// The upstream's servers, the best first as far as that is known beforehand.
    pub endpoints: Vec<EndpointExplanation>,
}

/// One address.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct EndpointExplanation {
    /// Which.
    pub address: SocketAddr,
    /// The server whose address it is, as the configuration says it; absent without an upstream.
    pub server: Option<String>,
    /// Whether it is tried only when no other can be had.
    pub is_backup: bool,
    /// Whether it is dialled.
    pub is_eligible: bool,
    /// Why it is, or why not.
    pub reason: String,
    /// What is held against it by dials.
    pub status: AddressStatus,
    /// What requests met there; absent where dials alone are judged, and before the first client.
    pub traffic: Option<AddressStatus>,
    /// What checks found, as a word; absent without checks.
    pub check: Option<AddressStatus>,
    /// The same in full: how many there were, and what the last one met.
    pub check_report: Option<CheckStatus>,
}

impl Question {
    /// Reads a query: `target=...`, and what narrows it: `forward=NAME`, `client=IP`, `method=NAME`,
    /// `header=NAME:VALUE` as often as wanted.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, String> {
        let (mut written, mut forward, mut client) = (None, None, None);
        let (mut method, mut headers) = (Method::GET, HeaderMap::new());
        for pair in query.unwrap_or_default().split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            match key {
                "target" => written = Some(value),
                "forward" => forward = Some(value),
                "client" => {
                    let ip = value.parse().map_err(|_| {
                        format!("found the client {value:?}, expected an IP address\n")
                    })?;
                    client = Some(ip);
                }
                "method" => {
                    method = value.parse().map_err(|_| {
                        format!("found the method {value:?}, expected one such as GET\n")
                    })?;
                }
                "header" => {
                    let (name, value) = header(&value)?;
                    headers.append(name, value);
                }
                _ => return Err(format!("found {key:?}, expected {KEYS}\n")),
            }
        }
        let written = written.ok_or("expected target=URL or target=HOST:PORT\n")?;
        let target = target_of(&written).map_err(|error| format!("{error}\n"))?;
        Ok(Self {
            target,
            request: Asking::of(&written, method, headers)?,
            written,
            forward,
            client,
        })
    }
}

impl Asking {
    /// What a client sends that is told to go to the URL; `None` if it is none of HTTP.
    fn of(written: &str, method: Method, mut headers: HeaderMap) -> Result<Option<Self>, String> {
        let scheme = written.split_once("://").map(|(scheme, _)| scheme);
        let is_tls = match scheme.map(str::to_ascii_lowercase).as_deref() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Ok(None),
        };
        let wrong = |said: String| format!("found {written:?} ({said}), expected a URL\n");
        let uri = Uri::try_from(written).map_err(|error| wrong(error.to_string()))?;
        if let (Some(authority), None) = (uri.authority(), headers.get(HOST)) {
            let host = HeaderValue::from_str(authority.as_str());
            headers.insert(HOST, host.map_err(|error| wrong(error.to_string()))?);
        }
        let path = uri.path_and_query().cloned();
        let mut request = Request::new(());
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        Ok(Some(Self { is_tls, request }))
    }
}

/// A field as it is written in a message.
fn header(written: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = written.split_once(':').and_then(|(name, value)| {
        let name = name.trim().parse::<HeaderName>().ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    });
    parsed.ok_or_else(|| format!("found the header {written:?}, expected NAME: VALUE\n"))
}

/// The host and the port of a URL, or of what CONNECT and SOCKS say.
fn target_of(written: &str) -> Result<Target, String> {
    let (authority, port) = match written.split_once("://") {
        None => (written, None),
        Some((scheme, rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let authority = rest.get(..end).unwrap_or_default();
            let port = match scheme.to_ascii_lowercase().as_str() {
                "http" | "ws" => Some(80),
                "https" | "wss" => Some(443),
                _ => None,
            };
            (authority, port)
        }
    };
    let target = match port {
        Some(port) => Target::parse_or_port(authority, port),
        None => Target::parse(authority),
    };
    target.map_err(|error| {
        format!("found {written:?} ({error}), expected a URL or HOST:PORT, such as example.com:443")
    })
}

/// Answers the question; names are looked up, nothing is dialled.
pub(super) async fn answer(report: &Report, question: &Question) -> Result<Explanation, String> {
    let force = report.force.load_full();
    let timeouts = &force.plan.timeouts;
    let resolver = Resolver::new(Arc::clone(&report.names), 1, timeouts.resolve);
    let mut forwards = Vec::new();
    for forward in force.plan.forwards() {
        let is_meant = |name: &String| *name == forward.name;
        if question.forward.as_ref().is_none_or(is_meant) {
            forwards.push(forward::explain(report, &force, forward, question, &resolver).await);
        }
    }
    let mut sites = Vec::new();
    if let (Some(asking), None) = (&question.request, &question.forward) {
        for (listener, front) in site::doors(&force, asking, question.target.port()) {
            let inside = site::Inside {
                report,
                force: &force,
                resolver: &resolver,
                listener,
                front,
            };
            sites.push(inside.explain(asking, question).await);
        }
    }
    if forwards.is_empty() && sites.is_empty() {
        return Err(nobody(force.plan.forwards(), question));
    }
    Ok(Explanation {
        target: question.target.to_string(),
        forwards,
        sites,
    })
}

/// What to ask for instead, when nobody is there to answer.
fn nobody<'a>(forwards: impl Iterator<Item = &'a Forward>, question: &Question) -> String {
    let names: Vec<_> = forwards.map(Forward::name).collect();
    match (&question.forward, &question.request) {
        (Some(_), _) if !names.is_empty() => format!(
            "there is no such forward proxy; expected one of {}\n",
            names.join(", ")
        ),
        (Some(_), _) => "there is no forward proxy\n".to_owned(),
        (None, Some(asking)) => format!(
            "there is no forward proxy, and no site listens for {}\n",
            if asking.is_tls { "https" } else { "http" }
        ),
        (None, None) => "there is no forward proxy; for sites a URL is expected\n".to_owned(),
    }
}

const KEYS: &str = "target=, forward=, client=, method= or header=";

/// How long an answer may take: as long as its lookups.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_url_or_what_connect_says() {
        for (written, target) in [
            ("http://example.com/a?b", "example.com:80"),
            ("https://example.com", "example.com:443"),
            ("wss://example.com:8443/x", "example.com:8443"),
            ("socks5://example.com:22", "example.com:22"),
            ("example.com:22", "example.com:22"),
            ("[::1]:22", "[::1]:22"),
        ] {
            assert_eq!(target_of(written).unwrap().to_string(), target, "{written}");
        }
        for written in ["", "example.com", "http://", "socks5://a", "http://a:x/"] {
            assert!(target_of(written).is_err(), "{written}");
        }
    }

    #[test]
    fn a_question_is_a_target_and_what_narrows_it() {
        let query = "target=http%3A%2F%2Fa%2F&forward=office&client=192.0.2.1";
        let question = Question::parse(Some(query)).unwrap();
        assert_eq!(question.target.to_string(), "a:80");
        assert_eq!(question.forward.as_deref(), Some("office"));
        for query in [
            None,
            Some(""),
            Some("target=a"),
            Some("target=a:1&client=b"),
            Some("target=a:1&method=G%20T"),
            Some("target=a:1&header=x"),
            Some("target=http://a/%20"),
            Some("x=1"),
        ] {
            assert!(Question::parse(query).is_err(), "{query:?}");
        }
    }

    #[test]
    fn a_site_is_asked_as_by_a_client_and_only_for_urls_of_http() {
        let asking = |query: &str| Question::parse(Some(query)).unwrap().request;
        let asked = asking("target=wss://a.example/b%3Fc&method=POST&header=X-A:%20b&header=x-a:c");
        let Asking { is_tls, request } = asked.unwrap();
        assert!(is_tls);
        assert_eq!(
            (request.method(), request.uri().path()),
            (&Method::POST, "/b")
        );
        assert_eq!(request.uri().query(), Some("c"));
        assert_eq!(request.headers()[HOST], "a.example");
        assert_eq!(request.headers().get_all("x-a").iter().count(), 2);
        assert!(asking("target=a.example:80").is_none());
        assert!(asking("target=socks5://a.example:80").is_none());
    }
}
