//! Why a check was refused before it was ever made.

use std::time::Duration;

/// Why a definition was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// A text that must say something is empty.
    #[error("{field} is empty")]
    Empty {
        /// Which.
        field: &'static str,
    },
    /// A text holds what it must not: it would not be sent as it is meant.
    #[error("{field} {value:?} is not allowed: {expected}")]
    Text {
        /// Which.
        field: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// No status, or a range that is none.
    #[error("statuses {first}-{last} are no range from 100 to 599")]
    Statuses {
        /// The first of the range.
        first: u16,
        /// The last.
        last: u16,
    },
    /// A pattern that cannot be read, or is too large.
    #[error("pattern {pattern:?} is not usable: {reason}")]
    Pattern {
        /// What was given.
        pattern: String,
        /// Why not.
        reason: String,
    },
    /// A number of bytes outside its range.
    #[error("{field} is {bytes} bytes, must be from 1 to {most}")]
    SizeOutOfRange {
        /// Which.
        field: &'static str,
        /// What was asked for.
        bytes: usize,
        /// The most allowed.
        most: usize,
    },
    /// An escape that is none.
    #[error("escape at byte {at} is none of \\r \\n \\t \\0 \\\\ \\xHH")]
    Escape {
        /// Where it begins.
        at: usize,
    },
    /// Datagrams are not sent by TLS.
    #[error("datagrams are not sent by TLS")]
    DatagramOverTls,
    /// A server that is sent no datagram has nothing to answer.
    #[error("a datagram to send is needed")]
    NothingSent,
}

/// Why a timing was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PaceError {
    /// Shorter than is of use, or longer.
    #[error("{field} is {time:?}, must be from {least:?} to {most:?}")]
    TimeOutOfRange {
        /// Which.
        field: &'static str,
        /// What was asked for.
        time: Duration,
        /// The shortest allowed.
        least: Duration,
        /// The longest allowed.
        most: Duration,
    },
    /// More than half of the interval.
    #[error("jitter_percent is {percent}, must be at most {most}")]
    JitterOutOfRange {
        /// What was asked for.
        percent: u8,
        /// The most allowed.
        most: u8,
    },
}
