//! How it went with an address, and whom that blames.

use std::fmt;
use std::io;
use std::time::Duration;

/// How one use of an address went.
///
/// What a failure weighs is the policy's to say ([`Policy::weight`](crate::Policy::weight)); what
/// says nothing about the peer never counts against it, whatever the policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It answered.
    Success,
    /// It failed, by its own fault or that of the way there.
    Failed(Cause),
    /// It answered that it wants no more for now (HTTP 429 or 503 with `Retry-After`): it is set
    /// aside for so long, and nothing counts against it.
    RateLimited {
        /// How long it wants to be left alone. Kept to within a sixteenth, rounded up, from 64 ms
        /// to 67 minutes.
        retry_after: Duration,
    },
    /// The caller gave up, by no fault of the peer.
    Cancelled,
    /// This host's own fault: out of files, ports or buffers, no route.
    LocalFault,
}

/// Why a failure was recorded against an address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Cause {
    /// A caller said so, without a reason (`add_fall_down`).
    Reported,
    /// The host answered that nothing listens there.
    Refused,
    /// The host, or something on the way, cut the handshake.
    Reset,
    /// No answer within the connect timeout, or the operating system's.
    TimedOut,
    /// The caller gave up on a dial that had been silent for `stall_after`.
    Stalled,
    /// The network answered that the host cannot be reached.
    Unreachable,
    /// The TLS handshake failed.
    Tls,
    /// A gateway said that it could not reach its own server (HTTP 502, 503, 504).
    BadGateway,
    /// The server said that it failed (HTTP 500 and other 5xx).
    ServerError,
    /// It answered, but too slowly to be of use.
    Slow,
    /// It asked to be left alone for a while.
    RateLimited,
    /// Too many of its answers were failures, for themselves or beside those of its group.
    Outlier,
    /// It answered what cannot be read as the protocol that is spoken with it.
    Malformed,
}

/// What a failure of some cause weighs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Weight {
    /// Nothing.
    Ignore,
    /// One more failure in a row.
    Count,
    /// Enough to take the address down at once.
    Trip,
}

impl Outcome {
    /// What a failed connect says: [`Failed`](Self::Failed) with its cause if it is the peer's,
    /// [`LocalFault`](Self::LocalFault) otherwise.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        Cause::of(error).map_or(Self::LocalFault, Self::Failed)
    }
}

impl Cause {
    /// Every cause.
    pub(crate) const ALL: [Self; 13] = [
        Self::Reported,
        Self::Refused,
        Self::Reset,
        Self::TimedOut,
        Self::Stalled,
        Self::Unreachable,
        Self::Tls,
        Self::BadGateway,
        Self::ServerError,
        Self::Slow,
        Self::RateLimited,
        Self::Outlier,
        Self::Malformed,
    ];

    /// The word that configuration, metrics and snapshots use: `timed_out`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::TimedOut => "timed_out",
            Self::Stalled => "stalled",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::BadGateway => "bad_gateway",
            Self::ServerError => "server_error",
            Self::Slow => "slow",
            Self::RateLimited => "rate_limited",
            Self::Outlier => "outlier",
            Self::Malformed => "malformed",
        }
    }

    /// The cause of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// What a failed connect says about the *peer*; `None` when it says something about this host
    /// alone: out of files, ports or buffers, no route, not permitted, interface down.
    ///
    /// Errors that are not known to be the peer's blame nobody: an address must not go down for
    /// what would have failed anywhere.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Some(Self::Reset),
            io::ErrorKind::TimedOut => Some(Self::TimedOut),
            io::ErrorKind::HostUnreachable => Some(Self::Unreachable),
            _ => None,
        }
    }

    /// From 1 to 15.
    pub(crate) fn to_bits(self) -> u64 {
        match self {
            Self::Reported => 1,
            Self::Refused => 2,
            Self::Reset => 3,
            Self::TimedOut => 4,
            Self::Stalled => 5,
            Self::Unreachable => 6,
            Self::Tls => 7,
            Self::BadGateway => 8,
            Self::ServerError => 9,
            Self::Slow => 10,
            Self::RateLimited => 11,
            Self::Outlier => 12,
            Self::Malformed => 13,
        }
    }

    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.to_bits() == bits)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "timed out",
            Self::Tls => "TLS failure",
            Self::BadGateway => "bad gateway",
            Self::ServerError => "server error",
            Self::RateLimited => "rate limited",
            Self::Malformed => "malformed answer",
            _ => self.name(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_this_host_blame_nobody() {
        // ENETUNREACH, EACCES, EPERM, EMFILE, ENFILE, ENOBUFS, EADDRNOTAVAIL, ENETDOWN on Linux.
        for code in [101, 13, 1, 24, 23, 105, 99, 100] {
            assert_eq!(
                Cause::of(&io::Error::from_raw_os_error(code)),
                None,
                "errno {code}"
            );
        }
    }

    #[test]
    fn faults_of_the_peer_are_told_apart() {
        for (code, cause) in [
            (111, Cause::Refused),
            (104, Cause::Reset),
            (110, Cause::TimedOut),
            (113, Cause::Unreachable),
        ] {
            assert_eq!(
                Cause::of(&io::Error::from_raw_os_error(code)),
                Some(cause),
                "errno {code}"
            );
        }
    }

    #[test]
    fn causes_survive_packing_and_naming() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_bits(cause.to_bits()), Some(cause));
            assert_eq!(Cause::named(cause.name()), Some(cause));
            assert!((1..16).contains(&cause.to_bits()));
        }
        assert_eq!(Cause::from_bits(0), None);
    }
}
