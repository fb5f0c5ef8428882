//! Groups of servers, and how they are asked.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use risefall::{GroupPolicy, Policy};

use super::{Balance, Check, KeyBy, Server};
use crate::net::tls::ClientTls;

/// A group of servers.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub(crate) name: String,
    /// Never empty.
    pub(crate) servers: Vec<Server>,
    /// How one is chosen.
    pub(crate) balance: Balance,
    /// What of a request it is chosen by, if the balance asks for that.
    pub(crate) by: KeyBy,
    /// When one of them is down; `None` for the policy of the process.
    pub(crate) policy: Option<Arc<Policy>>,
    /// What counts as evidence against a server beside its dials.
    pub(crate) service: Service,
    /// How its servers are spoken to by TLS; `None` for plain.
    pub(crate) tls: Option<Arc<ClientTls>>,
    /// What is spoken.
    pub(crate) http: HttpVersion,
    /// When a request is sent again.
    pub(crate) retries: Retries,
    /// A cookie by which a client keeps its server.
    pub(crate) sticky: Option<Sticky>,
    /// What becomes of requests while no server is up or all are full.
    pub(crate) queue: Queue,
    /// Requests that one server is given at a time, by each worker; 0 for as many as come.
    pub(crate) max_requests: u32,
    /// How servers are asked before clients do.
    pub(crate) check: Option<Check>,
}

/// What is spoken with servers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HttpVersion {
    /// By TLS what the server chooses, else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    H1,
    /// HTTP/2; without TLS by prior knowledge.
    H2,
}

/// Evidence of a group's own: what its servers answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Thresholds and times; those of the dials unless said otherwise.
    pub(crate) policy: Arc<Policy>,
    /// What needs the whole group; its own thresholds are not asked.
    pub(crate) group: GroupPolicy,
    /// Statuses that count as failures. Default: 502, 503 and 504.
    pub(crate) statuses: Vec<StatusCode>,
}

/// When a request is sent again, to another server if there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Retries {
    /// How many times at the most. Default 2. A dial that fails costs none.
    pub attempts: u8,
    /// How many there may be beside the first tries, in percent. Default 20.
    pub budget_percent: u8,
    /// Whether methods that are not idempotent are sent again as well.
    pub non_idempotent: bool,
    /// Statuses that are tried again. Default: none.
    pub statuses: Vec<StatusCode>,
    /// Bytes of a request's body that are kept for another try. Default 64 KiB.
    pub body_bytes: usize,
}

/// A cookie that names a server, by a number made of its address: whoever can guess that can tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sticky {
    /// The cookie's name.
    pub cookie: String,
    /// How long a client keeps it; `None` for its session.
    pub max_age: Option<Duration>,
    /// Whether it is marked for TLS alone; `None` for clients that came by TLS.
    pub secure: Option<bool>,
}

/// Requests that wait for a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Queue {
    /// How many may wait, in each worker; 0 for none. Default 0.
    pub length: u32,
    /// How long one may wait. Default 5 s.
    pub timeout: Duration,
}

impl Upstream {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its servers, in the order of the file; never empty.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }
}

impl Service {
    /// By `policy`, and no other status than the usual ones counts.
    #[must_use]
    pub fn by(policy: Policy) -> Self {
        Self {
            policy: Arc::new(policy),
            group: usual_group(),
            statuses: Vec::new(),
        }
    }
}

/// What a group may do to its servers unless told otherwise: what the library does, but that it never
/// fails open, as what checks take out is not to be used; and that an only server is ejected, as
/// clients are to be told at once rather than to wait for it.
#[must_use]
pub fn usual_group() -> GroupPolicy {
    let builder = GroupPolicy::builder().fail_open_below(0);
    let builder = builder.spare_single(false);
    let policy = builder.slow_calls(Duration::from_secs(1), 0).build();
    policy.unwrap_or_default()
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 2,
            budget_percent: 20,
            non_idempotent: false,
            statuses: Vec::new(),
            body_bytes: 64 * 1024,
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            length: 0,
            timeout: Duration::from_secs(5),
        }
    }
}
