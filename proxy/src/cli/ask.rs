//! Asking the running proxy: one request to its admin API, one answer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::scalar::{Control, Form as _};
use crate::units;

/// How the running proxy is reached.
#[derive(Args, Clone, Debug)]
pub(super) struct Door {
    /// Admin address of the running proxy: IP:PORT, or unix: and the path of a socket
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9901", value_parser = control)]
    admin: Control,

    /// File whose first line is the token that the running proxy asks for (admin.token)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Why there is no answer to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(
        "nothing answers on {admin}: {error}; is `risefall` running, and with this --admin address?"
    )]
    Unreachable { admin: String, error: io::Error },
    #[error(
        "{admin} took the connection but did not answer within {}; if `risefall` runs there, it \
         may be out of files, and its log says so", units::show(*.after)
    )]
    Silent { admin: String, after: Duration },
    #[error("{admin} answered {found:?}, expected the status of a risefall proxy")]
    NotOurs { admin: String, found: String },
    #[error("cannot read the token file {}: {error}", .path.display())]
    Token { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Refused(String),
}

/// A connection of either kind.
trait Stream: Read + Write {}

impl Stream for TcpStream {}
impl Stream for UnixStream {}

/// Asks for `path`.
pub(super) fn get(door: &Door, path: &str) -> Result<String, AskError> {
    fetch(door, "GET", path, PATIENCE)
}

/// Has `path` done. The field is what a page of another site cannot send.
pub(super) fn post(door: &Door, path: &str) -> Result<String, AskError> {
    fetch(door, "POST", path, PATIENCE)
}

/// The same for what may take its time.
pub(super) fn post_patiently(door: &Door, path: &str) -> Result<String, AskError> {
    fetch(door, "POST", path, PATIENCE * 8)
}

impl Door {
    /// Where it is, for a message.
    pub(super) fn name(&self) -> String {
        self.admin.show()
    }

    fn open(&self, patience: Duration) -> io::Result<Box<dyn Stream>> {
        match &self.admin {
            Control::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, patience)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Ok(Box::new(stream))
            }
            Control::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Ok(Box::new(stream))
            }
            Control::Off => Err(io::Error::other("off is no address")),
        }
    }

    fn token(&self) -> Result<Option<String>, AskError> {
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).map_err(|error| AskError::Token {
            path: path.clone(),
            error,
        })?;
        Ok(Some(
            text.lines().next().unwrap_or_default().trim().to_owned(),
        ))
    }

    fn host(&self) -> String {
        match &self.admin {
            Control::Tcp(address) => address.to_string(),
            Control::Unix(_) | Control::Off => "localhost".to_owned(),
        }
    }
}

fn fetch(door: &Door, method: &str, path: &str, patience: Duration) -> Result<String, AskError> {
    let admin = door.name();
    let unreachable = |error| AskError::Unreachable {
        admin: door.name(),
        error,
    };
    let token = door.token()?;
    let stream = door.open(patience).map_err(unreachable)?;
    let asked = ask(stream, method, path, &door.host(), token.as_deref());
    let answer = asked.map_err(|error| match error.kind() {
        // What a read deadline gives, by system.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Silent {
            admin: door.name(),
            after: patience,
        },
        _ => unreachable(error),
    })?;
    let not_ours = || AskError::NotOurs {
        admin: admin.clone(),
        found: start_of(&answer),
    };
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(not_ours)?;
    if head.starts_with("HTTP/1.1 401") {
        let what = "the running proxy asks for a token; give it with --token-file";
        return Err(AskError::Refused(what.to_owned()));
    }
    if head.starts_with("HTTP/1.1 4") || head.starts_with("HTTP/1.1 503") {
        return Err(AskError::Refused(body.trim_end().to_owned()));
    }
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(not_ours());
    }
    Ok(body.to_owned())
}

fn ask(
    mut stream: Box<dyn Stream>,
    method: &str,
    path: &str,
    host: &str,
    token: Option<&str>,
) -> io::Result<String> {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
    let token = token.unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nx-risefall-action: 1\r\n\
         content-length: 0\r\n{token}\r\n"
    );
    stream.write_all(request.as_bytes())?;
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

fn control(text: &str) -> Result<Control, String> {
    match Control::read(text) {
        Ok(Control::Off) | Err(_) => Err(format!(
            "found {text:?}, expected an address such as 127.0.0.1:9901, or unix:/run/risefall.sock"
        )),
        Ok(control) => Ok(control),
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_MOST: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_cannot_accept_is_told_from_one_that_is_not_there() {
        let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Door {
            admin: Control::Tcp(deaf.local_addr().unwrap()),
            token_file: None,
        };
        let error = fetch(&door, "GET", "/status", Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, AskError::Silent { .. }), "{error}");
        assert!(error.to_string().contains("may be out of files"), "{error}");
    }
}
