//! How one unit of work ended.

use std::io;

/// The end of a unit, as told apart in the report.
///
/// The order of variants is the order of the report's lines.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Outcome {
    /// The target answered, and the answer was read in full.
    Ok,
    /// The proxy answered with this HTTP status. In http mode an origin's own error looks the same.
    Status(u16),
    /// The proxy answered with this SOCKS5 reply (RFC 1928 §6).
    Reply(u8),
    /// The proxy takes no SOCKS5 client without authentication.
    AuthRequired,
    /// The tunnel was open, and what answered through it said this.
    TargetStatus(u16),
    Timeout,
    /// The proxy's port refused the connection.
    ConnectRefused,
    /// Any other failure to connect to the proxy.
    ConnectFailed,
    Reset,
    /// The connection ended before an answer was complete.
    Closed,
    /// An answer that breaks its protocol.
    Malformed,
    /// This host had no port or no descriptor left: the loader's fault, not the proxy's.
    LoaderLimit,
}

impl Outcome {
    /// Why a dial to the proxy failed.
    pub(crate) fn of_connect(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectRefused,
            io::ErrorKind::ConnectionReset => Self::Reset,
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::AddrNotAvailable => Self::LoaderLimit,
            _ if is_out_of_files(error) => Self::LoaderLimit,
            _ => Self::ConnectFailed,
        }
    }

    /// Why an open connection failed.
    pub(crate) fn of_traffic(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Reset,
        }
    }

    /// The proxy took a position on the target, in its protocol's words.
    pub(crate) fn is_error_answer(self) -> bool {
        matches!(self, Self::Status(_) | Self::Reply(_))
    }

    /// The name in JSON.
    pub(crate) fn key(self) -> String {
        match self {
            Self::Ok => "ok".to_owned(),
            Self::Status(status) => format!("status_{status}"),
            Self::Reply(reply) => format!("socks_{reply:02x}"),
            Self::AuthRequired => "socks_auth_required".to_owned(),
            Self::TargetStatus(status) => format!("target_status_{status}"),
            Self::Timeout => "timeout".to_owned(),
            Self::ConnectRefused => "proxy_connect_refused".to_owned(),
            Self::ConnectFailed => "proxy_connect_failed".to_owned(),
            Self::Reset => "reset".to_owned(),
            Self::Closed => "closed_early".to_owned(),
            Self::Malformed => "malformed".to_owned(),
            Self::LoaderLimit => "loader_out_of_ports_or_files".to_owned(),
        }
    }

    /// The name in the table.
    pub(crate) fn label(self) -> String {
        match self {
            Self::Ok => "ok".to_owned(),
            Self::Status(status) => format!("answered {status}{}", status_name(status)),
            Self::Reply(reply) => format!("answered SOCKS {reply:02x}{}", reply_name(reply)),
            Self::AuthRequired => "proxy wants SOCKS authentication".to_owned(),
            Self::TargetStatus(status) => format!("target answered {status}"),
            Self::Timeout => "timed out".to_owned(),
            Self::ConnectRefused => "proxy refused the connection".to_owned(),
            Self::ConnectFailed => "cannot connect to the proxy".to_owned(),
            Self::Reset => "connection reset".to_owned(),
            Self::Closed => "closed before the answer ended".to_owned(),
            Self::Malformed => "answer breaks its protocol".to_owned(),
            Self::LoaderLimit => "loader out of ports or files".to_owned(),
        }
    }
}

fn is_out_of_files(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
        .iter()
        .any(|errno| code == Some(errno.raw_os_error()))
}

fn status_name(status: u16) -> &'static str {
    match status {
        403 => " (forbidden)",
        407 => " (authentication)",
        502 => " (refused or reset)",
        503 => " (known to be down)",
        504 => " (dial timed out)",
        _ => "",
    }
}

fn reply_name(reply: u8) -> &'static str {
    match reply {
        1 => " (general failure)",
        2 => " (not allowed)",
        3 => " (network unreachable)",
        4 => " (host unreachable)",
        5 => " (connection refused)",
        6 => " (TTL expired)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_own_limits_are_not_blamed_on_the_proxy() {
        for errno in [
            rustix::io::Errno::MFILE,
            rustix::io::Errno::NFILE,
            rustix::io::Errno::ADDRNOTAVAIL,
        ] {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            assert_eq!(Outcome::of_connect(&error), Outcome::LoaderLimit, "{error}");
        }
    }

    #[test]
    fn socks_replies_are_written_as_two_digits() {
        assert_eq!(Outcome::Reply(5).key(), "socks_05");
        assert_eq!(Outcome::Reply(6).label(), "answered SOCKS 06 (TTL expired)");
    }
}
