//! Asking the running proxy: one request to its admin API, one answer.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::units;

/// Why there is no answer to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(
        "nothing answers on {admin}: {error}; is `risefall proxy` running, and with this \
         --admin address?"
    )]
    Unreachable { admin: SocketAddr, error: io::Error },
    #[error(
        "{admin} took the connection but did not answer within {}; if `risefall proxy` runs \
         there, it may be out of files, and its log says so", units::show(*.after)
    )]
    Silent { admin: SocketAddr, after: Duration },
    #[error("{admin} answered {found:?}, expected the status of a risefall proxy")]
    NotOurs { admin: SocketAddr, found: String },
    #[error("{0}")]
    Refused(String),
}

/// Asks for `path`.
pub(super) fn get(admin: SocketAddr, path: &str) -> Result<String, AskError> {
    fetch(admin, "GET", path, PATIENCE)
}

/// Has `path` done. The field is what a page of another site cannot send.
pub(super) fn post(admin: SocketAddr, path: &str) -> Result<String, AskError> {
    fetch(admin, "POST", path, PATIENCE)
}

fn fetch(
    admin: SocketAddr,
    method: &str,
    path: &str,
    patience: Duration,
) -> Result<String, AskError> {
    let unreachable = |error| AskError::Unreachable { admin, error };
    let stream = TcpStream::connect_timeout(&admin, patience).map_err(unreachable)?;
    let answer =
        ask(stream, admin, method, path, patience).map_err(|error| match error.kind() {
            // What a read deadline gives, by system.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Silent {
                admin,
                after: patience,
            },
            _ => unreachable(error),
        })?;
    let not_ours = || AskError::NotOurs {
        admin,
        found: start_of(&answer),
    };
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(not_ours)?;
    if head.starts_with("HTTP/1.1 4") {
        return Err(AskError::Refused(body.trim_end().to_owned()));
    }
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(not_ours());
    }
    Ok(body.to_owned())
}

fn ask(
    mut stream: TcpStream,
    admin: SocketAddr,
    method: &str,
    path: &str,
    patience: Duration,
) -> io::Result<String> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\nx-risefall-action: 1\r\n\
         content-length: 0\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MOST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

pub(super) fn start_of(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(80)
        .collect()
}

const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_MOST: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_cannot_accept_is_told_from_one_that_is_not_there() {
        let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = fetch(
            deaf.local_addr().unwrap(),
            "GET",
            "/status",
            Duration::from_millis(20),
        )
        .unwrap_err();
        assert!(matches!(error, AskError::Silent { .. }), "{error}");
        assert!(error.to_string().contains("may be out of files"), "{error}");
    }
}
