//! Why an operation of the registry was refused or failed.

use std::time::Duration;

/// Why a policy was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A threshold of zero would flip state without evidence.
    #[error("{field} must be at least 1")]
    ZeroThreshold {
        /// The policy's field.
        field: &'static str,
    },
    /// Shorter than the registry can tell apart, or longer than any use of it.
    #[error("{field} is {time:?}, must be from {least:?} to {most:?}")]
    TimeOutOfRange {
        /// The policy's field.
        field: &'static str,
        /// What was asked for.
        time: Duration,
        /// The shortest allowed.
        least: Duration,
        /// The longest allowed.
        most: Duration,
    },
    /// No probe at all, or more than a record can count.
    #[error("permits is {permits}, must be from 1 to {most}")]
    PermitsOutOfRange {
        /// What was asked for.
        permits: u8,
        /// The most allowed.
        most: u8,
    },
    /// A number that means nothing there.
    #[error("{field} is {number}, must be from {least} to {most}")]
    NumberOutOfRange {
        /// The policy's field.
        field: &'static str,
        /// What was asked for.
        number: u64,
        /// The least allowed.
        least: u64,
        /// The most allowed.
        most: u64,
    },
}

/// The process-wide registry already has a policy: configure it before its first use.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the process-wide registry is in use; configure it before the first call to HealthCheck")]
pub struct AlreadyInUse;

#[cfg(feature = "tokio")]
pub use dial::{ConnectError, DialFailure, DialFault};

#[cfg(feature = "tokio")]
mod dial {
    use std::fmt;
    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    use crate::outcome::Cause;
    use crate::snapshot::Status;

    /// Why `connect` gave no stream.
    ///
    /// Turns into an [`io::Error`] of the kind its last dial had or would have had, with this as
    /// its source.
    #[derive(Debug, thiserror::Error)]
    #[non_exhaustive]
    pub enum ConnectError {
        /// The name could not be resolved. Nothing was dialled.
        #[error("name not resolved: {0}")]
        Resolve(#[source] io::Error),
        /// The name has no addresses. Nothing was dialled.
        #[error("the target has no addresses")]
        NoAddress,
        /// Every address is down. Nothing was dialled; each entry says why and until when.
        #[error("health check falldown: {}", Listed(.addresses))]
        FallDown {
            /// One entry per address, in the order given.
            addresses: Vec<Status>,
        },
        /// At least one address was dialled, and none answered.
        #[error("no address could be reached: {}", Listed(.attempts))]
        Unreachable {
            /// One entry per address, in the order tried.
            attempts: Vec<DialFailure>,
        },
    }

    /// One address that gave no stream.
    #[derive(Debug)]
    #[non_exhaustive]
    pub struct DialFailure {
        /// The address.
        pub address: SocketAddr,
        /// What kept it from answering.
        pub fault: DialFault,
    }

    /// What kept one address from answering.
    #[derive(Debug)]
    #[non_exhaustive]
    pub enum DialFault {
        /// The registry says it is down; it was not dialled.
        Down(Status),
        /// The operating system gave an error: the peer's (refused, reset, unreachable) or this
        /// host's own (no route, out of files, out of ports). Or the caller's dialler did.
        Io(io::Error),
        /// No answer within this time.
        TimedOut(Duration),
    }

    impl fmt::Display for DialFailure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match &self.fault {
                DialFault::Down(status) => status.fmt(f),
                DialFault::Io(error) => write!(f, "{} {error}", self.address),
                DialFault::TimedOut(after) => {
                    write!(f, "{} gave no answer within {after:?}", self.address)
                }
            }
        }
    }

    impl From<ConnectError> for io::Error {
        fn from(error: ConnectError) -> Self {
            io::Error::new(error.kind(), error)
        }
    }

    impl ConnectError {
        /// The kind a plain `TcpStream::connect` would have reported for the last address.
        fn kind(&self) -> io::ErrorKind {
            match self {
                Self::Resolve(error) => error.kind(),
                Self::NoAddress => io::ErrorKind::InvalidInput,
                Self::FallDown { addresses } => addresses.last().map_or(OTHER, kind_when_down),
                Self::Unreachable { attempts } => {
                    attempts
                        .last()
                        .map_or(OTHER, |attempt| match &attempt.fault {
                            DialFault::Down(status) => kind_when_down(status),
                            DialFault::Io(error) => error.kind(),
                            DialFault::TimedOut(_) => io::ErrorKind::TimedOut,
                        })
                }
            }
        }
    }

    fn kind_when_down(status: &Status) -> io::ErrorKind {
        status.last_failure.map_or(OTHER, |last| last.cause.kind())
    }

    /// Items with `; ` between them.
    struct Listed<'a, T>(&'a [T]);

    impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for (position, item) in self.0.iter().enumerate() {
                if position > 0 {
                    f.write_str("; ")?;
                }
                item.fmt(f)?;
            }
            Ok(())
        }
    }

    impl Cause {
        fn kind(self) -> io::ErrorKind {
            match self {
                Self::Refused => io::ErrorKind::ConnectionRefused,
                Self::Reset => io::ErrorKind::ConnectionReset,
                Self::TimedOut | Self::Stalled => io::ErrorKind::TimedOut,
                Self::Unreachable => io::ErrorKind::HostUnreachable,
                _ => OTHER,
            }
        }
    }

    const OTHER: io::ErrorKind = io::ErrorKind::Other;
}
