//! What is told of a [`Fault`]: to clients, in the access log, and how loudly in the log.

use std::net::SocketAddr;
use std::time::Duration;

use risefall::{ConnectError, DialFault};

use super::{Breach, Fault, NoStream, Side};
use crate::proto::socks5::Reply;

impl Fault {
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
            | Self::QueueFull { .. }
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
            | Self::Full { .. }
            | Self::QueueFull { .. } => 503,
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
            Self::Full { .. } | Self::QueueFull { .. } => "connection_limit_reached",
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
                let soonest = addresses.iter().filter_map(|status| status.retry_in);
                soonest.min().map(whole_seconds)
            }
            Self::NoServer { retry_in, .. } => Some(retry_in.map_or(1, whole_seconds)),
            Self::Limit { .. }
            | Self::Memory
            | Self::Exhausted(_)
            | Self::Full { .. }
            | Self::QueueFull { .. } => Some(1),
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

impl NoStream {
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

impl Breach {
    fn token(self) -> &'static str {
        match self {
            Self::Incomplete => "http_response_incomplete",
            Self::Protocol => "http_protocol_error",
            Self::Head => "http_response_header_section_size",
            Self::Tls => "tls_protocol_error",
            Self::Upgrade => "http_upgrade_failed",
        }
    }
}

/// Never zero: whoever is told that comes back at once.
fn whole_seconds(time: Duration) -> u64 {
    let seconds = time.as_millis().div_ceil(1000);
    u64::try_from(seconds).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_names_its_upstream_and_fills_no_log() {
        let upstream = "app".into();
        let fault = Fault::QueueFull { upstream, limit: 7 };
        let said = "the queue of upstream app is full: 7 requests wait";
        assert_eq!(fault.to_string(), said);
        assert_eq!((fault.status(), fault.retry_after()), (503, Some(1)));
        assert_eq!(fault.token(), "connection_limit_reached");
        assert_eq!(fault.level(), tracing::Level::DEBUG);
        assert_eq!(fault.hint(), None, "strangers learn nothing of it");
    }
}
