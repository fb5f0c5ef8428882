//! Sites: who answers which requests, on which addresses, and how.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use ipnet::IpNet;

use super::Upstream;
use super::files::Files;
use super::users::Users;
use crate::net::tls::{Identity, Versions};

/// An HTTP server for some hosts. Several may share an address, told apart by their hosts.
#[derive(Clone, Debug)]
pub struct Site {
    pub(crate) name: String,
    /// Where plain HTTP is spoken.
    pub(crate) listen: Vec<SocketAddr>,
    /// Where TLS is spoken, if anywhere.
    pub(crate) tls: Option<SiteTls>,
    /// Which hosts it is for; empty for every host that no other site of the address has.
    pub(crate) hosts: Vec<HostPattern>,
    /// Whether HTTP/2 is taken without TLS, by prior knowledge.
    pub(crate) h2c: bool,
    /// Who may say in a field for whom it asks.
    pub(crate) trusted: Vec<IpNet>,
    /// In the order of the file; never empty.
    pub(crate) routes: Vec<Arc<Route>>,
}

/// How a site speaks TLS.
#[derive(Clone, Debug)]
pub struct SiteTls {
    /// Where; never empty.
    pub(crate) listen: Vec<SocketAddr>,
    /// Its certificates with their keys; never empty. The first answers where no name fits.
    pub(crate) identities: Vec<Arc<Identity>>,
    /// What is spoken.
    pub(crate) versions: Versions,
    /// Whether plain HTTP is sent there with a redirect.
    pub(crate) redirect: bool,
}

/// Which hosts are meant.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum HostPattern {
    /// This one, in lower case, without a port.
    Exact(String),
    /// Every name one label below: `*.example.com`, kept as `example.com`.
    Wildcard(String),
}

/// What becomes of some requests.
#[derive(Clone, Debug)]
pub struct Route {
    /// Which requests.
    pub(crate) matches: Match,
    /// What becomes of them.
    pub(crate) action: Action,
    /// Who may ask; everybody, if there is nobody.
    pub(crate) users: Users,
    /// What of the path stays.
    pub(crate) rewrite: Rewrite,
    /// What changes in the request's fields.
    pub(crate) request_headers: Edits,
    /// What changes in the response's fields.
    pub(crate) response_headers: Edits,
    /// Bytes of a request's body; more are refused (413).
    pub(crate) body_limit: Option<u64>,
    /// Deadlines of its own.
    pub(crate) timeouts: RouteTimeouts,
}

/// Which requests a route is for: all that is said must hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Match {
    /// By path.
    pub path: PathRule,
    /// By method; empty for all.
    pub methods: Vec<Method>,
    /// By fields: each must be there, with the value if there is one.
    pub headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// By parameters of the query: each must be there, with the value if there is one.
    pub query: Vec<(String, Option<String>)>,
    /// By the client's address; empty for all.
    pub clients: Vec<IpNet>,
}

/// Which paths; in the normal form of [`crate::proto::path`], as those of requests are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PathRule {
    /// This one and all below it: `/api` holds `/api` and `/api/x`, not `/apis`. Begins with `/`.
    /// One that ends in `/` holds what is below it alone.
    Prefix(String),
    /// This one alone.
    Exact(String),
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// A server of this group answers it.
    Upstream(Arc<Upstream>),
    /// A file answers it.
    Files(Arc<Files>),
    /// The client is sent elsewhere.
    Redirect {
        /// Where: a URI or a path, in which `{host}`, `{path}`, `{query}` and `{scheme}` stand for
        /// the request's own.
        to: String,
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
    },
    /// It is answered here.
    Respond {
        /// The status.
        status: StatusCode,
        /// The body.
        body: String,
        /// What the body is.
        content_type: HeaderValue,
    },
}

/// What a server is asked for instead of what the client asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rewrite {
    /// Taken from the front of the path; both in normal form and with a slash in front.
    pub strip_prefix: Option<String>,
    /// Put before the path then.
    pub add_prefix: Option<String>,
    /// What the server is told as `Host`; `None` for what the client said.
    pub host: Option<HeaderValue>,
}

/// Changes of fields: first what is removed, then what is set, then what is added.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Edits {
    /// Removed.
    pub remove: Vec<HeaderName>,
    /// In place of what was there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Beside what was there.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// Deadlines of a route; `None` for those of the process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RouteTimeouts {
    /// From the last byte of a request to the head of the answer.
    pub answer: Option<Duration>,
    /// How long a request may take in all.
    pub request: Option<Duration>,
    /// How long an upgraded connection may stand still.
    pub idle: Option<Duration>,
}

impl Site {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it speaks plain HTTP.
    #[must_use]
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// How it speaks TLS, if it does.
    #[must_use]
    pub fn tls(&self) -> Option<&SiteTls> {
        self.tls.as_ref()
    }

    /// Which hosts it is for; empty for every host that no other site of the address has.
    #[must_use]
    pub fn hosts(&self) -> &[HostPattern] {
        &self.hosts
    }

    /// What becomes of its requests, in the order of the file; never empty.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().map(AsRef::as_ref)
    }
}

impl SiteTls {
    /// Where TLS is spoken; never empty.
    #[must_use]
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// The certificates; never empty.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.identities.iter().map(AsRef::as_ref)
    }

    /// Whether plain HTTP is sent there with a redirect.
    #[must_use]
    pub fn redirects(&self) -> bool {
        self.redirect
    }
}

impl Route {
    /// Who may ask; everybody, if there is nobody.
    #[must_use]
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// Which requests it is for.
    #[must_use]
    pub fn matches(&self) -> &Match {
        &self.matches
    }

    /// What becomes of them.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.action
    }
}

impl Match {
    /// Every request whose path is one of these.
    #[must_use]
    pub fn of(path: PathRule) -> Self {
        Self {
            path,
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
            clients: Vec::new(),
        }
    }

    /// Which paths.
    #[must_use]
    pub fn path(&self) -> &PathRule {
        &self.path
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => out.write_str(host),
            Self::Wildcard(domain) => write!(out, "*.{domain}"),
        }
    }
}

impl fmt::Display for Match {
    /// For a person: the path, and in a few words what else must hold.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            PathRule::Prefix(path) => out.write_str(path)?,
            PathRule::Exact(path) => write!(out, "={path}")?,
        }
        for method in &self.methods {
            write!(out, " {method}")?;
        }
        for (name, _) in &self.headers {
            write!(out, " {name}:")?;
        }
        for (name, _) in &self.query {
            write!(out, " ?{name}")?;
        }
        for range in &self.clients {
            write!(out, " {range}")?;
        }
        Ok(())
    }
}
