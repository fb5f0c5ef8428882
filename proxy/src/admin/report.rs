//! What `/status` says: the form that programs and `risefall status` read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use risefall::judge::Judge;
use risefall::{JournalEntry, Recovery, Registry};
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
    /// How long the first trip takes it down.
    pub fail_timeout_ms: u64,
    /// The longest that one does.
    pub max_fail_timeout_ms: u64,
    /// How long one dial may take.
    pub connect_timeout_ms: u64,
    /// What happens at the end of the down time: `probe` or `open`.
    pub recovery: String,
}

/// One address.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AddressStatus {
    /// Which.
    pub address: SocketAddr,
    /// `up`, `suspect`, `down`, `probe_due`, `probing`, `set_aside`, `forced_up`, `forced_down` or
    /// `drained`.
    pub state: String,
    /// Whether it is not dialled now.
    pub is_down: bool,
    /// Failures in a row.
    pub failures: u8,
    /// Successes in a row since it went down.
    pub successes: u8,
    /// How often it went down and has not made up for yet; from the second on, each doubles the
    /// down time.
    pub trips: u8,
    /// Why it failed last.
    pub last_cause: Option<String>,
    /// How long ago that was.
    pub last_failure_age_ms: Option<u64>,
    /// When it is tried again; absent while it may be, and where only an operator can tell.
    pub retry_in_ms: Option<u64>,
    /// How long a connect to it usually takes, where that is known.
    pub usual_connect_ms: Option<u64>,
}

/// One address and how it came to be what it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AddressReport {
    /// The address now.
    pub status: AddressStatus,
    /// Its last changes, oldest first, 16 at most.
    pub journal: Vec<Change>,
}

/// A change of one address.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Change {
    /// How long ago.
    pub age_ms: u64,
    /// What it was.
    pub from: String,
    /// What it became.
    pub to: String,
    /// The failure that did it, if one did.
    pub cause: Option<String>,
    /// How many results in a row that was.
    pub evidence: u8,
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
        health.sort_unstable_by_key(|one| (!one.is_down, one.address));
        ProxyStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: milliseconds(self.started.elapsed()),
            listeners: self.listeners.clone(),
            policy: PolicyStatus {
                max_fails: policy.max_fails(),
                min_rises: policy.min_rises(),
                fail_timeout_ms: milliseconds(policy.fail_timeout()),
                max_fail_timeout_ms: milliseconds(policy.max_fail_timeout()),
                connect_timeout_ms: milliseconds(policy.connect_timeout()),
                recovery: match policy.recovery() {
                    Recovery::Open => "open",
                    _ => "probe",
                }
                .to_owned(),
            },
            health,
            overflow: self.judge.overflow(),
        }
    }

    /// Where overrides are put.
    pub(super) fn registry(&self) -> Option<&Registry> {
        self.judge.registry()
    }

    /// One address, whether anything is held against it or not.
    #[must_use]
    pub fn address(&self, address: SocketAddr) -> AddressReport {
        AddressReport {
            status: AddressStatus::of(&self.judge.status(&address)),
            journal: self
                .judge
                .journal(&address)
                .iter()
                .map(Change::of)
                .collect(),
        }
    }
}

impl AddressStatus {
    fn of(status: &risefall::Status) -> Self {
        Self {
            address: status.address,
            state: status.state.name().to_owned(),
            is_down: status.state.is_down(),
            failures: status.failures,
            successes: status.successes,
            trips: status.trips,
            last_cause: status.last_failure.map(|last| last.cause.to_string()),
            last_failure_age_ms: status.last_failure.map(|last| milliseconds(last.age)),
            retry_in_ms: status.retry_in.map(milliseconds),
            usual_connect_ms: status.usual.map(milliseconds),
        }
    }
}

impl Change {
    fn of(entry: &JournalEntry) -> Self {
        Self {
            age_ms: milliseconds(entry.age),
            from: entry.from.name().to_owned(),
            to: entry.to.name().to_owned(),
            cause: entry.cause.map(|cause| cause.to_string()),
            evidence: entry.evidence,
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
