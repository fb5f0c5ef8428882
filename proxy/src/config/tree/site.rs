//! `[site.NAME]`: who answers which requests, and how.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use hyper::header::HeaderValue;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OneOrMany;
use super::choice::{RedirectStatus, Wanted};
use super::files::Files;
use super::users::Password;
use crate::config::scalar::{
    Authority, Bytes, Fields, Location, OwnField, RoutePath, Said, SiteHost,
};

/// A site.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Site {
    /// Where it listens: one address or several, for plain HTTP, or for TLS if `tls` has no
    /// `listen` of its own. Port 0 lets the system choose. Several sites may share an address, if
    /// their `hosts` tell them apart and all of them speak it plain, or all by TLS.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub listen: OneOrMany<Said<SocketAddr>>,
    /// TLS: certificates, and where. Default: none is spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<SiteTls>,
    /// Hosts that it is for: names, addresses, or `*.` and a name for every name one label below.
    /// The exact host wins. None: every host that no other site of the address has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Said<SiteHost>>,
    /// Whether HTTP/2 is taken without TLS too, from clients that know beforehand.
    pub h2c: bool,
    /// Ranges of proxies in front whose `X-Forwarded-*` and `Forwarded` are believed; from others
    /// they are replaced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<Said<IpNet>>,
    /// What becomes of its requests. The exact path comes before prefixes, the longer prefix before
    /// the shorter, then what asks for more before what asks for less. A request that no route is
    /// for is answered with 404.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<Route>,
}

/// How a site speaks TLS.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SiteTls {
    /// File of the certificate and those that lead to its root, PEM. Read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<Said<PathBuf>>,
    /// File of its key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Said<PathBuf>>,
    /// More certificates, each with its key. The one whose names fit is shown; where none fits, or
    /// none is asked for by name, the first of all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
    /// Where TLS is spoken; one address or several. Default: all of the site's `listen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<OneOrMany<Said<SocketAddr>>>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Whether plain HTTP is answered with a redirect (308) to where TLS is spoken. Default: true
    /// where there are both, the site's `listen` and one here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<bool>,
}

/// A certificate with its key.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// File of the certificate and those that lead to its root, PEM.
    pub cert: Said<PathBuf>,
    /// File of its key, PEM.
    pub key: Said<PathBuf>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(inline)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TlsVersion {
    #[default]
    #[serde(rename = "1.2")]
    V12,
    #[serde(rename = "1.3")]
    V13,
}

/// What becomes of some requests: one of `upstream`, `root`, `redirect` and `respond`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// Path that requests have, or that theirs is below: `/api` is for `/api` and `/api/x`, not for
    /// `/apis`; `/api/` is for what is below alone. Default: `/`, which is for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Said<RoutePath>>,
    /// Path that requests have, and none below; in place of `path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<Said<RoutePath>>,
    /// Methods that requests have. None: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<Said<Method>>,
    /// Fields that requests have, each with its value, or true for any: `{ x-version = "2" }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "field-name"}))]
    #[schemars(extend("x-expected" = "a table of fields, each with a value or true"))]
    pub headers: BTreeMap<String, Wanted<Said<HeaderValue>>>,
    /// Parameters of the query that requests have, each with its value, or true for any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "parameter"}))]
    #[schemars(extend("x-expected" = "a table of parameters, each with a value or true"))]
    pub query: BTreeMap<String, Wanted<String>>,
    /// Ranges that the client is in. None: any client.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<Said<IpNet>>,
    /// Name of the upstream whose servers answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Folder whose files answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Said<PathBuf>>,
    /// How they are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// Sends the client elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// Answers from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub respond: Option<Respond>,
    /// Who may ask: names with their passwords, each a text, best from the environment
    /// (`"${NAME}"`), or `{ file = PATH }`, whose first line it is. Others are answered with 401
    /// (HTTP Basic, RFC 7617). Default: everybody may.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("propertyNames" = {"format": "user-name"}))]
    #[schemars(extend("x-expected" = "a table of names, each with a password"))]
    pub users: Option<BTreeMap<String, Password>>,
    /// What is taken from the front of the path before a server is asked or a file looked for;
    /// whole segments with which `path` or `exact` begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strip_prefix: Option<Said<RoutePath>>,
    /// What is put before the path then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_prefix: Option<Said<RoutePath>>,
    /// `Host` that the server is told. Default: what the client said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Said<Authority>>,
    /// Changes of the request's fields before a server has it.
    #[serde(skip_serializing_if = "Edits::is_empty")]
    pub request_headers: Edits,
    /// Changes of the response's fields before the client has it.
    #[serde(skip_serializing_if = "Edits::is_empty")]
    pub response_headers: Edits,
    /// Bytes of a request's body; more are refused (413). Default: as many as come, for none is
    /// kept here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_limit: Option<Said<Bytes>>,
    /// How long a server may take to begin its answer. Default: that of `[limits]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_timeout: Option<Said<Duration>>,
    /// How long a request may take in all. Default: that of `[limits]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Said<Duration>>,
    /// How long an upgraded connection (WebSocket) may stand still. Default: that of `[limits]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Said<Duration>>,
}

/// Where a client is sent.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// A path, or a URI of http or https. `{scheme}`, `{host}` (without a port), `{path}` and
    /// `{query}` (with the `?` or `&` that it needs) stand for the request's own.
    pub to: Said<Location>,
    /// How: 301 or 308 for good, 302 or 307 for now, 303 to be asked for by GET.
    #[serde(default)]
    pub status: RedirectStatus,
}

/// An answer from here.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Respond {
    /// The status.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// The body.
    pub body: String,
    /// What the body is.
    pub content_type: Said<HeaderValue>,
}

/// Changes of fields: first what is removed, then what is set, then what is added.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Edits {
    /// Fields that go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<Said<OwnField>>,
    /// Fields in place of what was there: `{ x-frame-options = "DENY" }`.
    #[serde(skip_serializing_if = "Fields::is_empty")]
    pub set: Fields,
    /// Fields beside what was there.
    #[serde(skip_serializing_if = "Fields::is_empty")]
    pub add: Fields,
}

impl Edits {
    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

impl Default for Respond {
    fn default() -> Self {
        Self {
            status: 200,
            body: String::new(),
            content_type: Said(HeaderValue::from_static("text/plain; charset=utf-8")),
        }
    }
}
