//! What `/status` says, as programs and `risefall status` read it.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use risefall::judge::Judge;
use risefall::{JournalEntry, Recovery, Transition};
use serde::{Deserialize, Serialize};

use super::service::{CertificateStatus, ListenerStatus, SiteStatus, UpstreamStatus};
use crate::runtime::standing::Seen;
use crate::units;

/// The proxy at one moment. Times are in milliseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ProxyStatus {
    /// The program's version.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// How long it has been running.
    pub uptime_ms: u64,
    /// The number of the plan in force: 1 at the start, one more for each reload.
    pub generation: u64,
    /// Whether it takes new work.
    pub ready: bool,
    /// The last reload, if there was one.
    pub last_reload: Option<ReloadStatus>,
    /// Where it listens.
    pub listeners: Vec<ListenerStatus>,
    /// HTTP servers.
    pub sites: Vec<SiteStatus>,
    /// What is shown to those who speak TLS.
    pub certificates: Vec<CertificateStatus>,
    /// Groups of servers.
    pub upstreams: Vec<UpstreamStatus>,
    /// When an address is down, and for how long.
    pub policy: PolicyStatus,
    /// Every address with something against it, down ones first.
    pub health: Vec<AddressStatus>,
    /// First failures that found no room in the registry.
    pub overflow: u64,
    /// What clients have had so far.
    pub traffic: TrafficStatus,
    /// Memory in use, where there is a bound on it.
    pub memory: Option<MemoryStatus>,
    /// The last changes of health, the latest first; 64 at most.
    pub events: Vec<Event>,
}

/// How a reload ended.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ReloadStatus {
    /// How long ago.
    pub age_ms: u64,
    /// Whether it was put in force.
    pub ok: bool,
    /// What changed, or why nothing did.
    pub summary: String,
}

/// What clients have had, over all workers.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct TrafficStatus {
    /// Client connections that are open.
    pub connections: u64,
    /// Requests and tunnels that go on.
    pub in_flight: u64,
    /// Requests and tunnels that are over.
    pub requests: u64,
    /// Those of them that were answered with 5xx, or not at all.
    pub failed: u64,
    /// Body and tunnel bytes from clients.
    pub bytes_in: u64,
    /// Body and tunnel bytes to clients.
    pub bytes_out: u64,
}

/// Memory in bytes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MemoryStatus {
    /// In use.
    pub used: u64,
    /// What may be used.
    pub limit: u64,
}

/// A change of an address's health.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Event {
    /// How long ago.
    pub age_ms: u64,
    /// Which address.
    pub address: SocketAddr,
    /// What it was.
    pub from: String,
    /// What it became.
    pub to: String,
    /// The failure that did it, if one did.
    pub cause: Option<String>,
    /// How many results in a row that was.
    pub evidence: u8,
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

/// What checks of one server found. Counts are those since it has been in the configuration.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CheckStatus {
    /// `pending` (it has not been checked yet), `up` or `down`.
    pub verdict: String,
    /// What it says of itself: `ready`, `drain` or `maint`.
    pub says: String,
    /// Why that was not understood last, if so.
    pub misunderstood: Option<String>,
    /// Checks that have ended.
    pub checks: u64,
    /// Those of them that it did not pass.
    pub failed: u64,
    /// The last of them.
    pub last: Option<LastCheck>,
}

/// The check of a server that has ended last.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LastCheck {
    /// Whether it passed.
    pub passed: bool,
    /// Why it did not.
    pub failure: Option<String>,
    /// How long ago it ended.
    pub age_ms: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// One address and how it came to be what it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AddressReport {
    /// The address now.
    pub status: AddressStatus,
    /// Its last changes, oldest first, 16 at most.
    pub journal: Vec<Change>,
    /// The upstreams that have it among their servers, each with the servers alone whose address it
    /// is.
    #[serde(default)]
    pub upstreams: Vec<UpstreamStatus>,
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

impl PolicyStatus {
    pub(super) fn of(judge: &dyn Judge) -> Self {
        let policy = judge.policy();
        Self {
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
        }
    }
}

impl Event {
    pub(super) fn of(when: Instant, change: &Transition) -> Self {
        Self {
            age_ms: milliseconds(when.elapsed()),
            address: change.address,
            from: change.from.name().to_owned(),
            to: change.to.name().to_owned(),
            cause: change.cause.map(|cause| cause.to_string()),
            evidence: change.evidence,
        }
    }
}

impl AddressStatus {
    pub(super) fn of(status: &risefall::Status) -> Self {
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

impl CheckStatus {
    pub(super) fn of(seen: &Seen) -> Self {
        let report = &seen.report;
        let last = report.last.as_ref();
        Self {
            verdict: report.verdict.name().to_owned(),
            says: report.availability.name().to_owned(),
            misunderstood: last.and_then(|last| Some(last.agent_error.as_ref()?.to_string())),
            checks: seen.checks,
            failed: seen.failed,
            last: last.map(|last| LastCheck {
                passed: last.result.is_ok(),
                failure: last.result.as_ref().err().map(ToString::to_string),
                age_ms: milliseconds(seen.age.unwrap_or_default()),
                took_us: u64::try_from(last.took.as_micros()).unwrap_or(u64::MAX),
            }),
        }
    }
}

/// `passed 2s ago, in 412µs; 20 checks, 3 failed`
impl fmt::Display for CheckStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.last {
            None => out.write_str("not checked yet")?,
            Some(last) => {
                let ago = units::show_about(Duration::from_millis(last.age_ms));
                let took = Duration::from_micros(last.took_us);
                let found = last.failure.as_deref().unwrap_or("passed");
                write!(out, "{found} {ago} ago, in {took:?}")?;
            }
        }
        write!(out, "; {} checks, {} failed", self.checks, self.failed)?;
        if self.says != READY {
            write!(out, "; it says {}", self.says)?;
        }
        match &self.misunderstood {
            Some(why) => write!(out, "; {why}"),
            None => Ok(()),
        }
    }
}

impl Change {
    pub(super) fn of(entry: &JournalEntry) -> Self {
        Self {
            age_ms: milliseconds(entry.age),
            from: entry.from.name().to_owned(),
            to: entry.to.name().to_owned(),
            cause: entry.cause.map(|cause| cause.to_string()),
            evidence: entry.evidence,
        }
    }
}

/// What a server says of itself that says nothing.
const READY: &str = "ready";

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
