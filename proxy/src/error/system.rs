//! What the operating system's errors mean.

use std::io;

use risefall::DialFault;
use rustix::io::Errno;

use super::NoStream;

impl NoStream {
    pub(super) fn of(fault: &DialFault) -> Self {
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
pub(super) fn remedy(exhausted: &io::Error) -> &'static str {
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
    use risefall::ConnectError;

    use super::*;
    use crate::error::Fault;
    use crate::proto::socks5::Reply;

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
