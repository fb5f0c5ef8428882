//! How a dial went, and whom that blames.

use std::fmt;
use std::io;

/// Why a failure was recorded against an address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
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
}

impl Cause {
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

    pub(crate) fn to_bits(self) -> u64 {
        match self {
            Self::Reported => 1,
            Self::Refused => 2,
            Self::Reset => 3,
            Self::TimedOut => 4,
            Self::Stalled => 5,
            Self::Unreachable => 6,
        }
    }

    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        match bits {
            1 => Some(Self::Reported),
            2 => Some(Self::Refused),
            3 => Some(Self::Reset),
            4 => Some(Self::TimedOut),
            5 => Some(Self::Stalled),
            6 => Some(Self::Unreachable),
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reported => "reported",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::TimedOut => "timed out",
            Self::Stalled => "stalled",
            Self::Unreachable => "unreachable",
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
    fn causes_survive_packing() {
        for bits in 0..16 {
            if let Some(cause) = Cause::from_bits(bits) {
                assert_eq!(cause.to_bits(), bits);
            }
        }
    }
}
