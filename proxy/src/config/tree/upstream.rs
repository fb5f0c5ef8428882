//! `[upstream.NAME]`: groups of servers, and how they are asked.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use hyper::header::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choice::{Part, True};
use super::group::{Group, Outliers};
use crate::config::scalar::{
    Authority, BodyPattern, Bytes, CertName, CookieName, Fields, HashBy, Octets, RequestPath, Said,
    Server, Service, Statuses,
};

/// A group of servers.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The servers. A name is looked up again and again, and each of its addresses is a server.
    #[schemars(length(min = 1))]
    pub servers: Vec<Member>,
    /// How one is chosen: `round-robin` (each in turn), `least-conn` (the fewest connections),
    /// `random`, `p2c` (of two at random the idler and quicker one) or `hash` (the same for the
    /// same `hash_by`). All by weight, each worker for itself; what one that is down would have got
    /// is shared by all others, one that does not answer is left for the next.
    #[serde(default)]
    pub balance: Balance,
    /// What `hash` is taken of: the `client`'s address, the `target`'s host, the `path`, a field
    /// (`header:NAME`) or a cookie (`cookie:NAME`); where that is missing, the client's address. Of
    /// use with `balance = "hash"` alone. Default: `client`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_by: Option<Said<HashBy>>,
    /// Failures in a row that take a server down. Default: that of `[health]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub max_fails: Option<u8>,
    /// Successes in a row that bring it up again. Default: that of `[health]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub min_rises: Option<u8>,
    /// How long a down server is not dialled. Default: that of `[health]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_timeout: Option<Said<Duration>>,
    /// What happens when every server is down: false answers at once (503, SOCKS 04), true tries
    /// the one that is due next, all the same.
    #[serde(default)]
    pub fail_open: bool,
    /// Statuses of a server's answers that count as failures, as a dial that fails does.
    #[serde(default = "failures")]
    #[schemars(inner(range(min = 400, max = 599)))]
    pub statuses: Vec<u16>,
    /// Whether the servers are spoken to by TLS, and how. Their certificates are always verified.
    /// Default: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// What the servers are spoken to in: `h1` (HTTP/1.1), `h2` (HTTP/2, without TLS too) or `auto`
    /// (by TLS what the server prefers, else HTTP/1.1).
    #[serde(default)]
    pub http: Http,
    /// When a request is sent again, to another server if there is one.
    #[serde(default)]
    pub retries: Retries,
    /// A cookie by which a client keeps its server as long as that is up. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// Requests that wait while no server is up or all have `max_requests`.
    #[serde(default)]
    pub queue: Queue,
    /// Requests that one server is given at a time, by each worker. 0: as many as come.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_requests: u32,
    /// How servers are asked whether they work, before clients find out. Default: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// How many servers may be left out at once, and what becomes of those who come back.
    #[serde(default)]
    pub group: Group,
    /// Which servers do so much worse than they should, or than the others, that they are left out.
    #[serde(default)]
    pub outliers: Outliers,
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Balance {
    #[default]
    RoundRobin,
    LeastConn,
    Random,
    P2c,
    Hash,
}

/// A server of a group.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Member {
    /// Where it is.
    Plain(Said<Server>),
    /// Where it is, and more.
    Table(MemberTable),
}

/// A server of a group, with what is to be said of it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MemberTable {
    /// Where it is; this or `srv` is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Said<Server>>,
    /// Name of SRV records, which tell hosts, ports, and how they share; this or `address` is
    /// needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srv: Option<Said<Service>>,
    /// Its share, beside those of the others.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 256))]
    pub weight: u16,
    /// Whether it is tried only when no other is up.
    #[serde(default)]
    pub backup: bool,
}

/// Whether servers are spoken to by TLS, and how.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Tls {
    /// As usual.
    Usual(True),
    /// In a manner of its own.
    Table(TlsTable),
}

/// How servers are spoken to by TLS.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsTable {
    /// File of the roots that their certificates must lead to, PEM. Default: those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roots: Option<Said<PathBuf>>,
    /// Name that their certificates must hold, and that is asked for. Default: the name or address
    /// of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Said<CertName>>,
    /// File of a certificate to show to them, PEM; with `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<Said<PathBuf>>,
    /// File of its key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Said<PathBuf>>,
}

/// What servers are spoken to in.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Http {
    #[default]
    Auto,
    H1,
    H2,
}

/// When a request is sent again.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retries {
    /// How many times at the most. A dial that fails costs none: nothing was sent.
    #[schemars(range(min = 0, max = 10))]
    pub attempts: u8,
    /// How many there may be beside the first tries, so that servers in trouble do not get more to
    /// do than usual: a part such as `"20%"`, or a number of percent; of use with `attempts` alone.
    /// Default: 20%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Part>,
    /// Whether requests are sent again too whose method is not idempotent (POST, PATCH).
    pub non_idempotent: bool,
    /// Statuses of answers that are tried again; of use with `attempts` alone. None: an answer is an
    /// answer.
    #[schemars(inner(range(min = 400, max = 599)))]
    pub statuses: Vec<u16>,
    /// Bytes of a request's body that are kept for another try, at most 16MiB; a request with more
    /// is sent once. Of use with `attempts`, or by HTTP/2, where a server may send a request back that
    /// it has not begun. Default: 64KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_size: Option<Said<Bytes>>,
}

/// A cookie that names a server, by a number made of its address: whoever can guess that can tell.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sticky {
    /// The cookie's name.
    pub cookie: Said<CookieName>,
    /// How long a client keeps it. Default: for its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Said<Duration>>,
    /// Whether it is marked for TLS alone. Default: for clients that came by TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
}

/// Requests that wait for a server. Without a `check`, nobody looks whether one is back before its
/// `fail_timeout` is over: by default that is longer than they wait.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// How many may wait, in each worker; one more is answered at once (503). 0: none waits.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub length: u32,
    /// How long one may wait in all before it is answered (503); of use with `length` alone.
    /// Default: 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Said<Duration>>,
}

/// How a server is asked whether it works. The first check is made at once, and is the first
/// verdict.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// With what: `tcp` (a connection, and bytes if any are said), `http` (a request), `grpc` (the
    /// health protocol, `grpc.health.v1`) or `udp` (a datagram); all but `udp` by TLS if requests
    /// are.
    #[serde(rename = "type")]
    pub kind: CheckKind,
    /// Path and query of the request. Default: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Said<RequestPath>>,
    /// Its method. Default: GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Said<Method>>,
    /// Its `Host`, and `:authority` of gRPC. Default: the server's name and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Said<Authority>>,
    /// More of its fields.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub headers: Fields,
    /// In what it is sent. Default: what `http` of the upstream says, and `h1` where that is
    /// `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<CheckHttp>,
    /// Statuses that are right: one, a range such as `"200-299"`, or several of either. Default:
    /// `200-399`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expected>,
    /// What the body must hold, within its first 64KiB. Default: it is not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Said<Octets>>,
    /// The same by a regular expression over bytes, in place of `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_pattern: Option<Said<BodyPattern>>,
    /// Field of the answer by which the server speaks for itself: `50%` (of its requests), `drain` or
    /// `maint` (no new ones until it says `ready`), `down` (at once), `up`. Default: none is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_header: Option<Said<HeaderName>>,
    /// Service that gRPC asks for. Default: the server as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Bytes to send by TCP or UDP, before an answer is expected. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<Said<Octets>>,
    /// What the answer begins with, by TCP or UDP. Default: a connection is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive: Option<Said<Octets>>,
    /// How long from the beginning of one to that of the next, 10ms to 12h; by `jitter` (usually a
    /// tenth) more or less each time, so that checks do not go in step.
    #[serde(default = "interval")]
    pub interval: Said<Duration>,
    /// The same while a verdict is changing, 10ms to `interval`. Default: 1s, or `interval` if that
    /// is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast_interval: Option<Said<Duration>>,
    /// The same while the server is down, 10ms to 12h. Default: `interval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_interval: Option<Said<Duration>>,
    /// By how much a time between two may be shorter or longer, at most 50%: a part such as
    /// `"10%"`, or a number of percent.
    #[serde(default = "jitter")]
    pub jitter: Part,
    /// How long one may take before that is a failure, 1ms to 10m.
    #[serde(default = "timeout")]
    pub timeout: Said<Duration>,
    /// Failures in a row that take a server down.
    #[serde(default = "fall")]
    #[schemars(range(min = 1, max = 255))]
    pub fall: u8,
    /// Successes in a row that bring it up again.
    #[serde(default = "rise")]
    #[schemars(range(min = 1, max = 255))]
    pub rise: u8,
    /// What a server is before its first check has ended: `up`, or `down` for servers that may not
    /// be ready when they join.
    #[serde(default)]
    pub start: Start,
}

/// With what a server is asked.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CheckKind {
    Tcp,
    Http,
    Grpc,
    Udp,
}

/// Statuses that are right.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Expected {
    /// One range.
    Range(Said<Statuses>),
    /// One status.
    One(#[schemars(range(min = 100, max = 599))] u16),
    /// Several of either.
    Many(Vec<ExpectedOne>),
}

/// One status that is right, or a range of them.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub enum ExpectedOne {
    /// A range.
    Range(Said<Statuses>),
    /// One status.
    One(#[schemars(range(min = 100, max = 599))] u16),
}

impl Expected {
    /// All of them, each from the first to the last.
    #[must_use]
    pub fn ranges(&self) -> Vec<Statuses> {
        match self {
            Self::Range(range) => vec![range.0],
            Self::One(status) => vec![Statuses(*status, *status)],
            Self::Many(many) => many.iter().map(ExpectedOne::range).collect(),
        }
    }
}

impl ExpectedOne {
    fn range(&self) -> Statuses {
        match self {
            Self::Range(range) => range.0,
            Self::One(status) => Statuses(*status, *status),
        }
    }
}

/// In what a request that checks is sent.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CheckHttp {
    H1,
    H2,
}

/// What a server is before its first check has ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Start {
    #[default]
    Up,
    Down,
}

impl Upstream {
    /// A group of `servers`, all else by default.
    #[must_use]
    pub fn of(servers: Vec<Member>) -> Self {
        Self {
            servers,
            balance: Balance::default(),
            hash_by: None,
            max_fails: None,
            min_rises: None,
            fail_timeout: None,
            fail_open: false,
            statuses: failures(),
            tls: None,
            http: Http::default(),
            retries: Retries::default(),
            sticky: None,
            queue: Queue::default(),
            max_requests: 0,
            check: None,
            group: Group::default(),
            outliers: Outliers::default(),
        }
    }
}

impl Check {
    /// A request for `path`, all else by default.
    #[must_use]
    pub fn of(path: RequestPath) -> Self {
        Self {
            kind: CheckKind::Http,
            path: Some(Said(path)),
            method: None,
            host: None,
            headers: Fields::default(),
            http: None,
            expect: None,
            body: None,
            body_pattern: None,
            agent_header: None,
            service: None,
            send: None,
            receive: None,
            interval: interval(),
            fast_interval: None,
            down_interval: None,
            jitter: jitter(),
            timeout: timeout(),
            fall: fall(),
            rise: rise(),
            start: Start::default(),
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 2,
            budget: None,
            non_idempotent: false,
            statuses: Vec::new(),
            body_size: None,
        }
    }
}

fn one() -> u16 {
    1
}

fn failures() -> Vec<u16> {
    vec![502, 503, 504]
}

fn interval() -> Said<Duration> {
    Said(Duration::from_secs(5))
}

fn timeout() -> Said<Duration> {
    Said(Duration::from_secs(2))
}

fn jitter() -> Part {
    Part::of(10)
}

fn fall() -> u8 {
    3
}

fn rise() -> u8 {
    2
}
