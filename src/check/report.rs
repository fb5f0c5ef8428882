//! What a check found, and what an operator reads of it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::agent::{AgentError, AgentReport, Availability};
use super::grpc::Serving;
use super::http::Statuses;
use crate::outcome::{Cause, Outcome};

/// What one run of a check found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Whether the server passed, and if not, why.
    pub result: Result<(), Failure>,
    /// What the server reported of itself, or why that was not understood.
    pub agent: Option<Result<AgentReport, AgentError>>,
    /// What it says of the way there.
    pub way: Way,
    /// How long it took.
    pub took: Duration,
}

/// What a check says of the way to the server: it connects, and that is a dial like any other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// Nothing: it was no dial (UDP), or did not come so far by this host's fault.
    Unknown,
    /// The server was connected to, whatever it said then.
    Connected,
    /// It was not, by its own fault or that of the way.
    Failed(Cause),
}

/// Why a server did not pass. Its text is for operators.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// It could not be connected to.
    #[error("{text}")]
    Dial {
        /// Which error it was.
        kind: io::ErrorKind,
        /// The same in words.
        text: String,
    },
    /// It was not connected to in time.
    #[error("not connected in {0:?}")]
    DialTimedOut(Duration),
    /// It would not speak TLS as it should.
    #[error("no TLS: {0}")]
    Tls(String),
    /// It was connected to, and did not answer in time.
    #[error("no answer in {0:?}")]
    TimedOut(Duration),
    /// It broke off before its answer was whole.
    #[error("closed before its answer was whole")]
    Closed,
    /// It broke off with a reason, of the system or its own.
    #[error("broke off: {text}")]
    Broken {
        /// Which error it was.
        kind: io::ErrorKind,
        /// The same in words.
        text: String,
    },
    /// Its answer cannot be read, or is longer than what is read.
    #[error("no usable answer: {0}")]
    Malformed(String),
    /// It answered with another status.
    #[error("status {found}, expected {expected}")]
    Status {
        /// The status.
        found: u16,
        /// Those that are right.
        expected: Statuses,
    },
    /// Its body does not hold what it must.
    #[error("body without {expected} in its {read_bytes} bytes")]
    Body {
        /// What it must hold.
        expected: String,
        /// How much was read of it.
        read_bytes: usize,
    },
    /// It answered with other bytes.
    #[error("answered \"{heard}\", expected \"{expected}\"")]
    Reply {
        /// The beginning of its answer.
        heard: String,
        /// What it must be, or have.
        expected: String,
    },
    /// Its service is not serving.
    #[error("service is {}", .0.name())]
    Serving(Serving),
    /// gRPC answered with an error, or without a status.
    #[error("gRPC status {0}, expected 0")]
    Grpc(String),
    /// It says itself that it is down.
    #[error("it says that it is down{}", behind_colon(.0.as_deref()))]
    Agent(Option<String>),
    /// It was not checked, by this host's fault: nobody is blamed.
    #[error("not checked: {0}")]
    Local(String),
}

/// What is held of a server by its checks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It has not been checked yet.
    Pending,
    /// It is up.
    Up,
    /// It is down.
    Down,
}

/// A server as one subscriber's checks see it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Which server.
    pub address: SocketAddr,
    /// What is held of it. While it is not [ready](Availability::Ready), what the last check found.
    pub verdict: Verdict,
    /// Failures in a row up to now, while it is up.
    pub failures: u8,
    /// Passes in a row since it went down, while it is down.
    pub successes: u8,
    /// Checks that have ended since it was subscribed to.
    pub checks: u64,
    /// Those of them that it did not pass, by its own fault.
    pub failed: u64,
    /// What the last check found; `None` before the first has ended.
    pub last: Option<LastCheck>,
    /// The share of its usual weight that it wants, in percent.
    pub weight_percent: u8,
    /// Whether it wants new work.
    pub availability: Availability,
}

/// What the last check of a server found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LastCheck {
    /// Whether it passed, and if not, why.
    pub result: Result<(), Failure>,
    /// Why the server's report of itself was not understood.
    pub agent_error: Option<AgentError>,
    /// When it ended, on the clock of whoever checks.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
}

impl Failure {
    /// That of a dial.
    #[must_use]
    pub fn dial(error: &io::Error) -> Self {
        let kind = error.kind();
        let text = match Cause::of(error) {
            // As everybody names it, without the number.
            Some(_) => kind.to_string(),
            None => error.to_string(),
        };
        Self::Dial { kind, text }
    }

    /// That of a connection which broke.
    pub(super) fn broken(error: &io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, InvalidInput,
            UnexpectedEof,
        };
        let (kind, text) = (error.kind(), error.to_string());
        match kind {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Self::Closed,
            // A client's certificate, say, is refused when the handshake is over for the client.
            _ if is_by_tls(error) => Self::Tls(text),
            InvalidData | InvalidInput => Self::Malformed(text),
            _ => Self::Broken { kind, text },
        }
    }

    /// What it says of the service.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        Outcome::Failed(match self {
            Self::Dial { kind, .. } => return Outcome::of(&(*kind).into()),
            Self::Local(_) => return Outcome::LocalFault,
            Self::DialTimedOut(_) | Self::TimedOut(_) => Cause::TimedOut,
            Self::Tls(_) => Cause::Tls,
            Self::Closed => Cause::Reset,
            Self::Broken { kind, .. } => Cause::of(&(*kind).into()).unwrap_or(Cause::Reset),
            Self::Malformed(_) => Cause::Malformed,
            Self::Status {
                found: 502..=504, ..
            } => Cause::BadGateway,
            _ => Cause::ServerError,
        })
    }
}

#[cfg(feature = "checks-rustls")]
fn is_by_tls(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<tokio_rustls::rustls::Error>)
}

#[cfg(not(feature = "checks-rustls"))]
fn is_by_tls(_: &io::Error) -> bool {
    false
}

impl Finding {
    /// Whether the server itself says that it is down.
    pub(super) fn is_said_down(&self) -> bool {
        matches!(&self.agent, Some(Ok(report)) if report.is_down == Some(true))
    }
}

impl LastCheck {
    /// Whether the server failed, and not this host.
    pub(super) fn is_failed(&self) -> bool {
        let failure = self.result.as_ref().err();
        failure.is_some_and(|failure| failure.outcome() != Outcome::LocalFault)
    }
}

impl Report {
    /// That of a server of which nothing is known.
    pub(super) fn pending(address: SocketAddr) -> Self {
        Self {
            address,
            verdict: Verdict::Pending,
            failures: 0,
            successes: 0,
            checks: 0,
            failed: 0,
            last: None,
            weight_percent: 100,
            availability: Availability::Ready,
        }
    }
}

impl Verdict {
    /// The word that configuration, metrics and pages use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `10.0.0.1:80 is down: status 503, expected 200-399 (in 2ms)`
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.address, self.verdict)?;
        match &self.last {
            None => f.write_str(": not checked yet")?,
            Some(LastCheck { result, took, .. }) => match result {
                Ok(()) => write!(f, ": passed (in {took:?})")?,
                Err(failure) => write!(f, ": {failure} (in {took:?})")?,
            },
        }
        match (self.failures, self.successes) {
            (0, 0) => {}
            (0, passes) => write!(f, ", {passes} passed in a row")?,
            (failures, _) => write!(f, ", {failures} failed in a row")?,
        }
        if self.availability != Availability::Ready {
            write!(f, ", says {}", self.availability.name())?;
        }
        if self.weight_percent < 100 {
            write!(f, ", at {}% of its weight", self.weight_percent)?;
        }
        Ok(())
    }
}

fn behind_colon(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_what_an_operator_understands_and_blame_whom_they_should() {
        let second = Duration::from_secs(1);
        let statuses = || Statuses::new([(200, 399)]).unwrap();
        let failed = Outcome::Failed;
        for (failure, text, outcome) in [
            (
                Failure::dial(&io::Error::from_raw_os_error(111)),
                "connection refused",
                failed(Cause::Refused),
            ),
            (
                Failure::dial(&io::Error::from_raw_os_error(24)),
                "Too many open files (os error 24)",
                Outcome::LocalFault,
            ),
            (
                Failure::DialTimedOut(second),
                "not connected in 1s",
                failed(Cause::TimedOut),
            ),
            (
                Failure::TimedOut(second),
                "no answer in 1s",
                failed(Cause::TimedOut),
            ),
            (
                Failure::Status {
                    found: 503,
                    expected: statuses(),
                },
                "status 503, expected 200-399",
                failed(Cause::BadGateway),
            ),
            (
                Failure::Agent(Some("disk full".to_owned())),
                "it says that it is down: disk full",
                failed(Cause::ServerError),
            ),
            (
                Failure::Serving(Serving::NotServing),
                "service is NOT_SERVING",
                failed(Cause::ServerError),
            ),
            (
                Failure::Local("no room".to_owned()),
                "not checked: no room",
                Outcome::LocalFault,
            ),
        ] {
            assert_eq!(
                (failure.to_string().as_str(), failure.outcome()),
                (text, outcome)
            );
        }
    }

    #[test]
    fn a_report_is_one_line() {
        let mut report = Report::pending("10.0.0.1:80".parse().unwrap());
        assert_eq!(
            report.to_string(),
            "10.0.0.1:80 is pending: not checked yet"
        );
        report.verdict = Verdict::Down;
        report.successes = 1;
        report.weight_percent = 50;
        report.availability = Availability::Drain;
        report.last = Some(LastCheck {
            result: Ok(()),
            agent_error: None,
            at: Duration::ZERO,
            took: Duration::from_millis(2),
        });
        assert_eq!(
            report.to_string(),
            "10.0.0.1:80 is down: passed (in 2ms), 1 passed in a row, says drain, \
             at 50% of its weight"
        );
    }
}
