//! What `/status` says: the form that programs and `risefall status` read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use risefall::State;
use risefall::judge::Judge;
use serde::{Deserialize, Serialize};

/// Where a status comes from.
#[derive(Clone)]
pub struct Report {
    judge: Arc<dyn Judge>,
    listeners: Vec<SocketAddr>,
    started: Instant,
}

/// The proxy at one moment. Times are in milliseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ProxyStatus {
    /// The program's version.
    pub version: String,
    /// How long it has been running.
    pub uptime_ms: u64,
    /// Where the forward proxy listens.
    pub listeners: Vec<SocketAddr>,
    /// When an address is down, and for how long.
    pub policy: PolicyStatus,
    /// Every address with something against it, down ones first.
    pub health: Vec<AddressStatus>,
    /// First failures that found no room in the registry.
    pub overflow: u64,
}

/// The registry's thresholds and times.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PolicyStatus {
    /// Failures in a row that take an address down.
    pub max_fails: u8,
    /// Successes in a row that bring it up.
    pub min_rises: u8,
    /// How long it stays down.
    pub fail_timeout_ms: u64,
    /// How long one dial may take.
    pub connect_timeout_ms: u64,
}

/// One address.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AddressStatus {
    /// Which.
    pub address: SocketAddr,
    /// `up` or `down`.
    pub state: String,
    /// Failures in a row.
    pub failures: u8,
    /// Successes in a row since it went down.
    pub successes: u8,
    /// Why it failed last.
    pub last_cause: Option<String>,
    /// How long ago that was.
    pub last_failure_age_ms: Option<u64>,
    /// When it is tried again; absent while it is up.
    pub retry_in_ms: Option<u64>,
}

impl Report {
    /// A report on a proxy that starts now.
    #[must_use]
    pub fn new(judge: Arc<dyn Judge>, listeners: Vec<SocketAddr>) -> Self {
        Self {
            judge,
            listeners,
            started: Instant::now(),
        }
    }

    /// The present status.
    #[must_use]
    pub fn status(&self) -> ProxyStatus {
        let policy = self.judge.policy();
        let mut health: Vec<_> = self
            .judge
            .statuses()
            .iter()
            .map(AddressStatus::of)
            .collect();
        health.sort_unstable_by_key(|one| (one.retry_in_ms.is_none(), one.address));
        ProxyStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: milliseconds(self.started.elapsed()),
            listeners: self.listeners.clone(),
            policy: PolicyStatus {
                max_fails: policy.max_fails(),
                min_rises: policy.min_rises(),
                fail_timeout_ms: milliseconds(policy.fail_timeout()),
                connect_timeout_ms: milliseconds(policy.connect_timeout()),
            },
            health,
            overflow: self.judge.overflow(),
        }
    }
}

impl AddressStatus {
    fn of(status: &risefall::Status) -> Self {
        Self {
            address: status.address,
            state: if status.state == State::Down {
                "down"
            } else {
                "up"
            }
            .to_owned(),
            failures: status.failures,
            successes: status.successes,
            last_cause: status.last_failure.map(|last| last.cause.to_string()),
            last_failure_age_ms: status.last_failure.map(|last| milliseconds(last.age)),
            retry_in_ms: status.retry_in.map(milliseconds),
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
