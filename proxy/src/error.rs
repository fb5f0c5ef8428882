//! What can go wrong with a client's wish, by cause.
//!
//! A [`Fault`] answers four questions by method, so that no caller reads its text: whose fault it
//! is, when another try could end better, what the client sees (an HTTP status with a
//! `Proxy-Status` error type of RFC 9209 §2.3, or a SOCKS reply), and how loud the log is.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use risefall::{ConnectError, DialFault};
use rustix::io::Errno;

use crate::proto::TargetError;
use crate::proto::screen::Violation;
use crate::proto::socks5::Reply;

/// Why a request or a tunnel did not get what it asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The request cannot be served as it is written; the text tells the client what to write.
    #[error("{0}")]
    BadRequest(Cow<'static, str>),
    /// The request breaks a rule on which its framing hangs.
    #[error("bad request: {0}")]
    Screened(#[from] Violation),
    /// The target's authority is wrong.
    #[error("bad target: {0}")]
    BadTarget(#[from] TargetError),
    /// The method is not one this proxy answers for itself.
    #[error("{0}")]
    Method(&'static str),
    /// The client's address is in none of the ranges that may use the listener.
    #[error("{client} is in none of the ranges that may use this proxy")]
    Stranger {
        /// The client.
        client: IpAddr,
    },
    /// The target is one of this proxy's own listeners.
    #[error("{address} is a listener of this proxy itself")]
    Loop {
        /// The address that was about to be dialled.
        address: SocketAddr,
    },
    /// The target is in a range that this listener's clients may not reach.
    #[error("{address} is not a public address, and this listener does not allow private ones")]
    Prohibited {
        /// The address that was about to be dialled.
        address: SocketAddr,
    },
    /// The name could not be resolved.
    #[error("name {name} not resolved: {error}")]
    Name {
        /// The name.
        name: Box<str>,
        /// What the resolver said.
        error: io::Error,
    },
    /// The resolver did not answer in time.
    #[error("name {name} not resolved within {after:?}")]
    NameTimedOut {
        /// The name.
        name: Box<str>,
        /// How long it was waited for.
        after: Duration,
    },
    /// No connection: the health registry or the dials say why.
    #[error("{error}")]
    Connect {
        /// The most telling of the reasons.
        how: NoStream,
        /// All of them.
        error: ConnectError,
    },
    /// The origin did not begin its answer in time.
    #[error("{address} did not begin its answer within {after:?}")]
    HeadTimedOut {
        /// The origin.
        address: SocketAddr,
        /// How long it was waited for.
        after: Duration,
    },
    /// The origin closed, or broke the protocol, before its answer was whole.
    #[error("{address} gave no usable answer: {reason}")]
    Broken {
        /// The origin.
        address: SocketAddr,
        /// Which kind of wrong it was.
        how: Breach,
        /// What was wrong.
        reason: Box<str>,
    },
    /// A bound of this proxy is reached.
    #[error("too many {what}; the limit is {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// There is hardly any memory left.
    #[error("memory is short")]
    Memory,
    /// There is no descriptor or no memory left to open a file with.
    #[error("a file cannot be opened: {0}; {remedy}", remedy = remedy(.0))]
    Exhausted(#[source] io::Error),
    /// The parent proxy would not open a tunnel.
    #[error("the parent {address} answered {status}")]
    Parent {
        /// The parent.
        address: SocketAddr,
        /// What it answered.
        status: u16,
    },
    /// TLS with the server failed.
    #[error("{address}: no TLS: {reason}")]
    Tls {
        /// The server.
        address: SocketAddr,
        /// What was wrong.
        reason: Box<str>,
        /// Whether its certificate was.
        is_certificate: bool,
    },
    /// Every server of a group is down.
    #[error("no server of upstream {upstream} is up")]
    NoServer {
        /// The group.
        upstream: Box<str>,
        /// When the first of them may be tried again, if time alone brings it back.
        retry_in: Option<Duration>,
    },
    /// Every server of a group that is up has all the requests it may.
    #[error("every server of upstream {upstream} is busy")]
    Full {
        /// The group.
        upstream: Box<str>,
    },
    /// Nobody here serves that host.
    #[error("no site is for this host")]
    UnknownHost,
    /// The site has no route for that path.
    #[error("no route is for this request")]
    NoRoute,
    /// The certificate that was shown is not for that host.
    #[error("the host is not one of the certificate's that the connection was made with")]
    Misdirected,
    /// The request's body is longer than it may be.
    #[error("the request's body is too large")]
    TooLarge,
    /// It took longer than it may in all.
    #[error("the {what} took longer than {after:?}")]
    Overlong {
        /// What did.
        what: &'static str,
        /// How long it may take.
        after: Duration,
    },
    /// Nothing moved for too long.
    #[error("nothing moved for {after:?}")]
    Idle {
        /// How long.
        after: Duration,
    },
    /// The connection was cut: by a peer in the middle of it, or by the end of draining.
    #[error("cut: {0}")]
    Cut(&'static str),
    /// A file was changed while it was sent: the rest of what was promised is not there any more.
    #[error("a response was cut: its file was changed while it was sent")]
    Changed,
    /// This process or its host failed.
    #[error("the proxy itself failed: {0}")]
    Internal(#[from] io::Error),
}

/// The most telling reason why no stream came of a dial.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum NoStream {
    /// The registry says every address is down; nothing was dialled.
    Down,
    /// The name has no addresses.
    NoAddress,
    /// This host is out of something.
    Ours,
    /// This host has no way there, or forbids it.
    NoRoute,
    /// The network says that the host cannot be reached.
    HostUnreachable,
    /// No answer in time.
    TimedOut,
    /// The host cut the handshake.
    Reset,
    /// Nothing listens there.
    Refused,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The client asked for what it may not or cannot have.
    Client,
    /// The target failed.
    Upstream,
    /// The operator's bound or rule is in the way.
    Operator,
    /// This process or its host failed.
    Us,
}

/// What is wrong with an answer that cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Breach {
    /// It ended, or its connection did, before it was whole.
    Incomplete,
    /// It broke the protocol, or can be read in two ways.
    Protocol,
    /// Its head is larger than is taken.
    Head,
    /// It left HTTP unasked, or for something else than was asked for.
    Upgrade,
}

impl Breach {
    fn token(self) -> &'static str {
        match self {
            Self::Incomplete => "http_response_incomplete",
            Self::Protocol => "http_protocol_error",
            Self::Head => "http_response_header_section_size",
            Self::Upgrade => "http_upgrade_failed",
        }
    }
}

impl Fault {
    /// A file could not be had because of `error`.
    #[must_use]
    pub fn of_file(error: io::Error) -> Self {
        match is_exhausted(&error) {
            true => Self::Exhausted(error),
            false => Self::Internal(error),
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn side(&self) -> Side {
        match self {
            Self::BadRequest(_)
            | Self::BadTarget(_)
            | Self::Screened(_)
            | Self::Method(_)
            | Self::UnknownHost
            | Self::NoRoute
            | Self::Misdirected
            | Self::TooLarge
            | Self::Loop { .. } => Side::Client,
            Self::Stranger { .. }
            | Self::Prohibited { .. }
            | Self::Limit { .. }
            | Self::Memory
            | Self::Exhausted(_)
            | Self::Changed => Side::Operator,
            Self::Connect {
                how: NoStream::Ours,
                ..
            }
            | Self::Internal(_) => Side::Us,
            // Anybody can ask for an address that leads nowhere, as often as they like.
            Self::Connect {
                how: NoStream::NoRoute,
                ..
            }
            | Self::Idle { .. }
            | Self::Overlong { .. }
            | Self::Cut(_) => Side::Client,
            Self::Name { .. }
            | Self::NameTimedOut { .. }
            | Self::Connect { .. }
            | Self::HeadTimedOut { .. }
            | Self::Parent { .. }
            | Self::NoServer { .. }
            | Self::Full { .. }
            | Self::Tls { .. }
            | Self::Broken { .. } => Side::Upstream,
        }
    }

    /// The HTTP status that tells the client.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) | Self::BadTarget(_) => 400,
            Self::Screened(violation) => violation.status(),
            Self::Method(_) => 405,
            Self::Stranger { .. } | Self::Prohibited { .. } => 403,
            Self::UnknownHost | Self::NoRoute => 404,
            Self::TooLarge => 413,
            Self::Misdirected => 421,
            Self::Loop { .. } => 508,
            Self::Name { .. } | Self::Broken { .. } | Self::Tls { .. } => 502,
            // Who was waited for is the client: see `side`.
            Self::Idle { .. } => 408,
            Self::NameTimedOut { .. } | Self::HeadTimedOut { .. } | Self::Overlong { .. } => 504,
            Self::Limit { .. }
            | Self::Memory
            | Self::Exhausted(_)
            | Self::NoServer { .. }
            | Self::Full { .. } => 503,
            // What the client might do about it is told; that we are not known there is not.
            Self::Parent { status, .. } => match status {
                403 | 503 | 504 => *status,
                _ => 502,
            },
            Self::Cut(_) | Self::Changed | Self::Internal(_) => 500,
            Self::Connect { how, .. } => match how {
                NoStream::Down => 503,
                NoStream::TimedOut => 504,
                NoStream::Ours => 500,
                NoStream::NoAddress
                | NoStream::NoRoute
                | NoStream::HostUnreachable
                | NoStream::Reset
                | NoStream::Refused => 502,
            },
        }
    }

    /// The error type for `Proxy-Status` (RFC 9209 §2.3) and for the access log. `file_changed` is
    /// our own, and in the log alone: the client has had its head by then.
    #[must_use]
    pub fn token(&self) -> &'static str {
        match self {
            Self::BadRequest(_)
            | Self::BadTarget(_)
            | Self::Screened(_)
            | Self::UnknownHost
            | Self::NoRoute
            | Self::Misdirected
            | Self::TooLarge => "http_request_error",
            Self::Tls {
                is_certificate: true,
                ..
            } => "tls_certificate_error",
            Self::Tls { .. } => "tls_protocol_error",
            Self::NoServer { .. } => "destination_unavailable",
            Self::Full { .. } => "connection_limit_reached",
            Self::Method(_) | Self::Stranger { .. } => "http_request_denied",
            Self::Loop { .. } => "proxy_loop_detected",
            Self::Prohibited { .. } => "destination_ip_prohibited",
            Self::Name { .. } => "dns_error",
            Self::NameTimedOut { .. } => "dns_timeout",
            Self::HeadTimedOut { .. } | Self::Overlong { .. } => "http_response_timeout",
            Self::Parent { status, .. } => match status {
                403 => "http_request_denied",
                504 => "connection_timeout",
                _ => "destination_unavailable",
            },
            Self::Broken { how, .. } => how.token(),
            Self::Limit { .. } | Self::Memory | Self::Exhausted(_) => "connection_limit_reached",
            Self::Idle { .. } => "connection_read_timeout",
            Self::Cut(_) => "connection_terminated",
            Self::Changed => "file_changed",
            Self::Internal(_) => "proxy_internal_error",
            Self::Connect { how, .. } => how.token(),
        }
    }

    /// The SOCKS5 reply that tells the client (RFC 1928 §6).
    #[must_use]
    pub fn reply(&self) -> Reply {
        match self {
            Self::Stranger { .. } | Self::Loop { .. } | Self::Prohibited { .. } => {
                Reply::NotAllowed
            }
            Self::Name { .. } => Reply::HostUnreachable,
            Self::NameTimedOut { .. } | Self::Parent { status: 504, .. } => Reply::TtlExpired,
            Self::Parent { status: 403, .. } => Reply::NotAllowed,
            Self::Parent { .. } => Reply::HostUnreachable,
            Self::Connect { how, .. } => match how {
                NoStream::Down | NoStream::NoAddress | NoStream::HostUnreachable => {
                    Reply::HostUnreachable
                }
                NoStream::Ours => Reply::GeneralFailure,
                NoStream::NoRoute => Reply::NetworkUnreachable,
                NoStream::TimedOut => Reply::TtlExpired,
                NoStream::Reset | NoStream::Refused => Reply::ConnectionRefused,
            },
            _ => Reply::GeneralFailure,
        }
    }

    /// When a new try makes sense, if that is known: whole seconds, for `Retry-After`.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Connect {
                error: ConnectError::FallDown { addresses },
                ..
            } => {
                let soonest = addresses
                    .iter()
                    .filter_map(|status| status.retry_in)
                    .min()?;
                Some(
                    soonest
                        .as_millis()
                        .div_ceil(1000)
                        .try_into()
                        .unwrap_or(u64::MAX)
                        .max(1),
                )
            }
            Self::NoServer { retry_in, .. } => {
                let seconds = retry_in.map(|time| time.as_millis().div_ceil(1000));
                Some(seconds.map_or(1, |seconds| {
                    u64::try_from(seconds).unwrap_or(u64::MAX).max(1)
                }))
            }
            Self::Limit { .. } | Self::Memory | Self::Exhausted(_) | Self::Full { .. } => Some(1),
            _ => None,
        }
    }

    /// What a stranger may read of it beside the status: what they can mend themselves, and nothing
    /// of what stands behind this proxy.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::BadRequest(_)
            | Self::Screened(_)
            | Self::UnknownHost
            | Self::NoRoute
            | Self::Misdirected
            | Self::TooLarge => Some(self.to_string()),
            _ => None,
        }
    }

    /// The address it is about, if there is one: of several that were tried, the last.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Loop { address }
            | Self::Prohibited { address }
            | Self::HeadTimedOut { address, .. }
            | Self::Parent { address, .. }
            | Self::Tls { address, .. }
            | Self::Broken { address, .. } => Some(*address),
            Self::Connect { error, .. } => match error {
                ConnectError::FallDown { addresses } => addresses.last().map(|one| one.address),
                ConnectError::Unreachable { attempts } => attempts.last().map(|one| one.address),
                _ => None,
            },
            _ => None,
        }
    }

    /// How many addresses were dialled in vain.
    #[must_use]
    pub fn dials(&self) -> usize {
        match self {
            Self::Connect {
                error: ConnectError::Unreachable { attempts },
                ..
            } => {
                let is_dialled = |fault: &DialFault| !matches!(fault, DialFault::Down(_));
                attempts.iter().filter(|one| is_dialled(&one.fault)).count()
            }
            _ => 0,
        }
    }

    /// How loud the log is. What the operator has to act upon is loud; what the access line tells
    /// as well is for the curious: a dead target must not fill the log.
    #[must_use]
    pub fn level(&self) -> tracing::Level {
        if let Self::Tls { .. } = self {
            // The operator has to mend it, here or there.
            return tracing::Level::WARN;
        }
        match self.side() {
            Side::Us => tracing::Level::ERROR,
            Side::Operator => tracing::Level::WARN,
            Side::Upstream | Side::Client => tracing::Level::DEBUG,
        }
    }
}

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        let how = match &error {
            ConnectError::FallDown { .. } => NoStream::Down,
            ConnectError::Unreachable { attempts } => attempts
                .iter()
                .map(|attempt| NoStream::of(&attempt.fault))
                .max()
                .unwrap_or(NoStream::NoAddress),
            _ => NoStream::NoAddress,
        };
        Self::Connect { how, error }
    }
}

impl NoStream {
    fn of(fault: &DialFault) -> Self {
        match fault {
            DialFault::Down(_) => Self::Down,
            DialFault::TimedOut(_) => Self::TimedOut,
            DialFault::Io(error) => Self::by(error),
            _ => Self::Ours,
        }
    }

    /// What the error of one dial says.
    pub(crate) fn by(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Self::Reset,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::HostUnreachable => Self::HostUnreachable,
            io::ErrorKind::NetworkUnreachable => Self::NoRoute,
            _ if leads_nowhere(error) => Self::NoRoute,
            _ => Self::Ours,
        }
    }

    /// The error type (RFC 9209 §2.3).
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Down => "destination_unavailable",
            Self::NoAddress => "dns_error",
            Self::Ours => "proxy_internal_error",
            Self::NoRoute | Self::HostUnreachable => "destination_ip_unroutable",
            Self::TimedOut => "connection_timeout",
            Self::Reset => "connection_terminated",
            Self::Refused => "connection_refused",
        }
    }
}

/// Whether the address is what this host cannot or may not dial, whatever it has to spare: a
/// link-local one without a scope, broadcast, a family that is switched off, a firewall's word.
pub(crate) fn leads_nowhere(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::ACCESS
                | Errno::AFNOSUPPORT
                | Errno::HOSTUNREACH
                | Errno::INVAL
                | Errno::NETUNREACH
                | Errno::PERM
        )
    )
}

/// Whether this process or its host is out of files.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

/// Whether this process or its host is out of what a file is opened with; that passes.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    is_out_of_files(error) || Errno::from_io_error(error) == Some(Errno::NOMEM)
}

/// What an operator can do about it.
fn remedy(exhausted: &io::Error) -> &'static str {
    match Errno::from_io_error(exhausted) {
        Some(Errno::MFILE) => {
            "raise the limit on open files (ulimit -n, LimitNOFILE), or lower limits.connections \
             and limits.file_cache"
        }
        Some(Errno::NFILE) => "raise the limit on open files of the host (fs.file-max)",
        _ => "give the process or the host more memory, or lower limits.connections",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_up_is_told_to_come_back_for_and_how_to_have_more_of() {
        for (errno, remedy) in [
            (Errno::MFILE, "ulimit -n"),
            (Errno::NFILE, "fs.file-max"),
            (Errno::NOMEM, "memory"),
        ] {
            let fault = Fault::of_file(errno.into());
            assert_eq!((fault.status(), fault.retry_after()), (503, Some(1)));
            assert_eq!(fault.level(), tracing::Level::WARN);
            assert!(fault.to_string().contains(remedy), "{fault}");
            assert_eq!(fault.hint(), None);
        }
        assert_eq!(Fault::of_file(Errno::IO.into()).status(), 500);
    }

    fn of(errno: Errno) -> NoStream {
        NoStream::of(&DialFault::Io(errno.into()))
    }

    #[test]
    fn an_address_that_leads_nowhere_is_not_this_proxy_s_failure() {
        for errno in [
            Errno::ACCESS,
            Errno::AFNOSUPPORT,
            Errno::INVAL,
            Errno::NETUNREACH,
            Errno::PERM,
        ] {
            let how = of(errno);
            assert_eq!(how, NoStream::NoRoute, "{errno}");
            let error = ConnectError::Unreachable { attempts: vec![] };
            let fault = Fault::Connect { how, error };
            assert_eq!(
                (fault.status(), fault.reply()),
                (502, Reply::NetworkUnreachable)
            );
            assert_eq!(fault.level(), tracing::Level::DEBUG);
        }
    }

    #[test]
    fn a_host_that_is_out_of_something_is_its_own_failure() {
        for errno in [
            Errno::ADDRNOTAVAIL,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
        ] {
            assert_eq!(of(errno), NoStream::Ours, "{errno}");
        }
    }
}
