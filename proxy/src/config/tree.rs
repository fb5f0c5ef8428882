//! The shape of the file: every table and key, its meaning and its default.
//!
//! What is written here on a field is what `risefall schema` and the reference page say of it. Keys
//! whose default depends on others have none here; the plan fills them in.

mod choice;
pub mod files;
pub mod group;
pub mod site;
pub mod upstream;
pub mod users;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{self, Bytes, Control, Memory, Patience, Said, Secret};
use crate::bounds;
pub use choice::{OneOrMany, Part, RedirectStatus, True, Wanted};
pub use site::Site;
pub use upstream::Upstream;

/// The configuration of risefall.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tree {
    /// Other files that belong to this one: paths or patterns (`*`, `?`, `[...]`, `**`), relative
    /// to this file, read in the order of their names. A key may be said in one file only; tables
    /// are joined.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// The process.
    pub process: Process,
    /// What is logged, and where.
    pub log: Log,
    /// When an address is down, and for how long.
    pub health: Health,
    /// The admin API, its page and its metrics.
    pub admin: Admin,
    /// How much and how long: every bound and deadline.
    pub limits: Limits,
    /// Forward proxies by name: HTTP, CONNECT and SOCKS5, told apart on one port.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"pattern": "^[A-Za-z0-9_-]{1,64}$"}))]
    pub forward: BTreeMap<String, Forward>,
    /// Sites by name: who answers which requests, by HTTP/1.1 and HTTP/2.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"pattern": "^[A-Za-z0-9_-]{1,64}$"}))]
    pub site: BTreeMap<String, Site>,
    /// Groups of servers by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"pattern": "^[A-Za-z0-9_-]{1,64}$"}))]
    pub upstream: BTreeMap<String, Upstream>,
}

impl Tree {
    /// Writes it as a file that says the same, with all defaults; secrets are hidden.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // All keys are texts, and tables come behind what is none: the format cannot refuse.
        let text = toml::to_string(self).unwrap_or_default();
        // Only texts hold a `$`, and there one begins a variable.
        text.replace('$', "$$")
    }
}

/// The process.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// Worker threads, each with an event loop of its own; 0 is one for each core. A reload cannot
    /// change it.
    #[schemars(range(min = 0, max = 1024))]
    pub threads: u16,
    /// How long work in flight may go on after the signal to stop, and connections of a listener
    /// that a reload has removed.
    pub drain_timeout: Said<Duration>,
    /// How long new work is still taken after the signal to stop, while `/ready` says no already:
    /// the time that a balancer in front needs to notice.
    pub stop_delay: Said<Duration>,
    /// File in which the health of addresses outlives the process: read at start, written at the
    /// end and every 30 s. Without it, a start knows nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_file: Option<Said<PathBuf>>,
    /// Whether a change of the configuration's files is loaded without being asked to.
    pub watch: bool,
}

/// What is logged, and where.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Least level that is logged, to the standard error.
    pub level: Level,
    /// How logs and access lines look.
    pub format: Format,
    /// Where access lines go: `off`, `stdout`, `stderr` or a file, which is opened anew on SIGUSR1.
    pub access: Said<scalar::Access>,
}

/// A level of the log.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// A form of the log.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Format {
    Text,
    Json,
}

/// When an address is down, and for how long.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// Failures in a row that take an address down.
    #[schemars(range(min = 1, max = 255))]
    pub max_fails: u8,
    /// Successes in a row that bring it up again.
    #[schemars(range(min = 1, max = 255))]
    pub min_rises: u8,
    /// How long a down address is not dialled. With `recovery = "probe"`, each trip that follows
    /// before the earlier ones are made up for doubles it.
    pub fail_timeout: Said<Duration>,
    /// The longest that a trip takes an address down; of use with `recovery = "probe"` alone.
    /// Default: 5m, or `fail_timeout` if that is longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fail_timeout: Option<Said<Duration>>,
    /// How long one address is dialled before that is a failure.
    pub connect_timeout: Said<Duration>,
    /// What happens at the end of the down time: `probe` lets one client at a time try the address,
    /// `open` lets all.
    pub recovery: Recovery,
}

/// What happens at the end of the down time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Recovery {
    Probe,
    Open,
}

/// The admin API, its page and its metrics.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where it listens: a loopback address, a Unix socket (`unix:` and its whole path), or `off`.
    /// A reload cannot change it.
    pub listen: Said<Control>,
    /// Token that requests have to show, as `Authorization: Bearer TOKEN`; all but the page itself,
    /// `/health` and `/ready`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// File that holds the token; its first line counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<Said<PathBuf>>,
}

/// How much and how long.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Client connections in all; one more is told so (503, SOCKS 01). Split over the threads, each
    /// of which may hold its part, rounded up. Default: 10000, or fewer if the limit on open files
    /// is low.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub connections: Option<u32>,
    /// Client connections of one address, or of one /64 network of IPv6; one more is told so.
    /// 0: as many as there may be in all.
    #[schemars(range(min = 0, max = 16_777_216))]
    pub connections_per_client: u32,
    /// Connections that a listener accepts in a second; more wait in the kernel's queue. 0: as many
    /// as come.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub accept_rate: u32,
    /// Bytes of a request's head; more are refused (431). Its first line may have 16 KiB at most
    /// (414).
    pub header_size: Said<Bytes>,
    /// Fields of a request's head; more are refused (431).
    #[schemars(range(min = 1, max = 10_000))]
    pub header_count: u16,
    /// How long a SOCKS or TLS handshake may take, and the first bytes of any connection.
    pub handshake_timeout: Said<Duration>,
    /// How long the head of a request may take from its first byte.
    pub header_timeout: Said<Duration>,
    /// How long a client connection may stay without a request.
    pub keep_alive_timeout: Said<Duration>,
    /// How long an origin may take to begin its answer.
    pub answer_timeout: Said<Duration>,
    /// How long a body may stand still.
    pub body_idle_timeout: Said<Duration>,
    /// How long a tunnel may stand still.
    pub idle_timeout: Said<Duration>,
    /// How long one request may take in all, or `off`.
    pub request_timeout: Said<Patience>,
    /// How long one tunnel may live, or `off`.
    pub tunnel_timeout: Said<Patience>,
    /// How long a name lookup may take.
    pub resolve_timeout: Said<Duration>,
    /// Names being looked up at a time, per thread.
    #[schemars(range(min = 1, max = 1024))]
    pub lookups: u16,
    /// Checks of servers under way at a time, in the whole process; those that are due wait their
    /// turn. Each has a connection open for as long as it takes.
    #[schemars(range(min = 1, max = 4096))]
    pub checks: u16,
    /// Idle connections kept to one origin, per thread.
    #[schemars(range(min = 0, max = 65_535))]
    pub idle_per_origin: u16,
    /// Idle connections kept to all origins, per thread.
    #[schemars(range(min = 0, max = 65_535))]
    pub idle_origins: u16,
    /// How long an unused connection to an origin is kept.
    pub pool_idle_timeout: Said<Duration>,
    /// Bytes of small files that a thread keeps in memory for each route with `root`. 0B: none.
    pub file_cache: Said<Bytes>,
    /// Memory that the process may use: `auto` is what its control group allows. From 85 % on new
    /// connections are refused, from 90 % on idle ones are closed, from 95 % on connections are
    /// cut.
    pub memory: Said<Memory>,
}

/// A forward proxy.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// Where it listens; one address or several. Port 0 lets the system choose.
    pub listen: OneOrMany<Said<SocketAddr>>,
    /// What it speaks; `http` includes CONNECT.
    #[serde(default = "all_protocols")]
    pub protocols: Vec<Protocol>,
    /// Client ranges that may use it; needed when it listens on more than loopback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<Said<IpNet>>,
    /// Whether clients may reach loopback, private and link-local addresses. Default: true when it
    /// listens on loopback only, else false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_private: Option<bool>,
    /// Name of an upstream whose servers are HTTP proxies: every target is reached through one of
    /// them. Default: targets are dialled from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// What a forward proxy speaks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Protocol {
    Http,
    Socks5,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            threads: 0,
            drain_timeout: Said(bounds::Timeouts::default().drain),
            stop_delay: Said(Duration::ZERO),
            state_file: None,
            watch: false,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: Level::Info,
            format: Format::Text,
            access: Said(scalar::Access::Stdout),
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            max_fails: 3,
            min_rises: 2,
            fail_timeout: Said(Duration::from_secs(60)),
            max_fail_timeout: None,
            connect_timeout: Said(Duration::from_secs(5)),
            recovery: Recovery::Probe,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: Said(Control::Tcp(SocketAddr::from(([127, 0, 0, 1], 9901)))),
            token: None,
            token_file: None,
        }
    }
}

impl Default for Forward {
    fn default() -> Self {
        Self {
            listen: OneOrMany::Many(Vec::new()),
            protocols: all_protocols(),
            clients: Vec::new(),
            allow_private: None,
            parent: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let (limits, timeouts) = (bounds::Limits::default(), bounds::Timeouts::default());
        let small = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        let wide = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            connections: None,
            connections_per_client: wide(limits.per_client),
            accept_rate: limits.accept_rate,
            header_size: Said(Bytes(limits.header_size as u64)),
            header_count: small(limits.header_count),
            handshake_timeout: Said(timeouts.handshake),
            header_timeout: Said(timeouts.header),
            keep_alive_timeout: Said(timeouts.keep_alive),
            answer_timeout: Said(timeouts.answer),
            body_idle_timeout: Said(timeouts.body_idle),
            idle_timeout: Said(timeouts.idle),
            request_timeout: Said(Patience(timeouts.request)),
            tunnel_timeout: Said(Patience(timeouts.tunnel)),
            resolve_timeout: Said(timeouts.resolve),
            lookups: small(limits.lookups),
            checks: small(limits.checks),
            idle_per_origin: small(limits.idle_per_origin),
            idle_origins: small(limits.idle_origins),
            pool_idle_timeout: Said(timeouts.pool_idle),
            file_cache: Said(Bytes(limits.file_cache as u64)),
            memory: Said(Memory::Auto),
        }
    }
}

fn all_protocols() -> Vec<Protocol> {
    vec![Protocol::Http, Protocol::Socks5]
}

/// Tables and keys of the design whose engine is not built, and so refused. Tables are without the
/// names that they were given.
pub(super) const UNBUILT: &[(&str, &[&str])] = &[
    ("", &["stream", "tunnel"]),
    ("forward", &["users", "users_file"]),
    ("upstream", &["tunnel"]),
];
