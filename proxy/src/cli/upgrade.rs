//! A new process takes over from a running one: its listening sockets, its health.
//!
//! The running process starts the program anew, with the arguments that it was started with itself
//! and a socket as its standard input. Over that it passes its listening sockets and what it knows
//! of addresses. The new process says when it serves; from then on the old one only ends what it
//! has begun. If the new one does not come so far, it is ended, and nothing has changed.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use risefall::Snapshot;
use serde::{Deserialize, Serialize};

use crate::net::inherit::{self, Heirloom, Inherited};
use crate::units;

/// What stands in front of the sockets.
#[derive(Debug, Deserialize, Serialize)]
struct Letter {
    version: u32,
    listeners: Vec<Heading>,
    has_admin: bool,
    health: Snapshot,
}

#[derive(Debug, Deserialize, Serialize)]
struct Heading {
    owner: Option<String>,
    said: SocketAddr,
}

/// The new process's end of the socket.
pub(super) struct Predecessor(UnixStream);

/// What a new process has from the one before.
pub(super) struct Heritage {
    pub(super) inherited: Inherited,
    pub(super) health: Snapshot,
    pub(super) predecessor: Predecessor,
}

/// The program as it was started, whatever its file is replaced by later.
#[derive(Clone, Debug)]
pub(super) struct Program(Option<PathBuf>);

impl Program {
    /// Has to be asked at the start: the name of a file that was replaced is lost.
    pub(super) fn this() -> Self {
        Self(std::env::current_exe().ok())
    }

    /// Starts it anew, gives it all, and waits until it serves. Blocks.
    ///
    /// # Errors
    ///
    /// It does not serve; it has been ended.
    pub(super) fn succeed(self, inherited: &Inherited, health: Snapshot) -> Result<u32, String> {
        let path = self.0.ok_or("the program's own file is not known")?;
        let (here, there) = UnixStream::pair().map_err(|error| error.to_string())?;
        let mut child = Command::new(&path)
            .args(std::env::args_os().skip(1))
            .env(ENVIRONMENT, "1")
            // That of this process is not that of the new one.
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(OwnedFd::from(there)))
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", path.display()))?;
        let served = pass(&here, inherited, health).and_then(|()| wait_until_ready(&here));
        served.map_err(|error| {
            let how = end(&mut child);
            format!("the new process does not serve ({error}; {how}); this one goes on")
        })?;
        let id = child.id();
        // It outlives this process, and nobody waits for it.
        drop(child);
        Ok(id)
    }
}

fn pass(to: &UnixStream, inherited: &Inherited, health: Snapshot) -> io::Result<()> {
    to.set_write_timeout(Some(PATIENCE))?;
    let letter = Letter {
        version: VERSION,
        listeners: (inherited.listeners.iter())
            .map(|one| Heading {
                owner: one.owner.clone(),
                said: one.said,
            })
            .collect(),
        has_admin: inherited.admin.is_some(),
        health,
    };
    let letter = serde_json::to_vec(&letter)?;
    let len = u32::try_from(letter.len()).map_err(io::Error::other)?;
    (&mut &*to).write_all(&len.to_be_bytes())?;
    (&mut &*to).write_all(&letter)?;
    for one in &inherited.listeners {
        inherit::send(to, one.socket.as_fd())?;
    }
    if let Some(admin) = &inherited.admin {
        inherit::send(to, admin.as_fd())?;
    }
    Ok(())
}

fn wait_until_ready(from: &UnixStream) -> io::Result<()> {
    from.set_read_timeout(Some(PATIENCE))?;
    let mut word = [0; READY.len()];
    let read = (&mut &*from).read_exact(&mut word);
    read.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other("it has ended; its last lines say why"),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::other(format!("it took longer than {}", units::show(PATIENCE)))
        }
        _ => error,
    })?;
    if &word == READY {
        Ok(())
    } else {
        Err(io::Error::other("it is another program"))
    }
}

fn end(child: &mut Child) -> String {
    // It may have ended by itself.
    let _ = child.kill();
    match child.wait() {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// What the process before this one passes on; `None` if there is none.
///
/// # Errors
///
/// It could not be read: then this process must not serve.
pub(super) fn inherit() -> io::Result<Option<Heritage>> {
    if std::env::var_os(ENVIRONMENT).is_none() {
        return Ok(None);
    }
    let stream = UnixStream::from(inherit::copy(&io::stdin())?);
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut len = [0; 4];
    (&mut &stream).read_exact(&mut len)?;
    let mut letter = Vec::new();
    let most = u64::from(u32::from_be_bytes(len));
    (&mut &stream).take(most).read_to_end(&mut letter)?;
    let letter: Letter = serde_json::from_slice(&letter)?;
    if letter.version != VERSION {
        return Err(io::Error::other(format!(
            "the process before speaks version {}, expected {VERSION}",
            letter.version
        )));
    }
    let mut listeners = Vec::new();
    for heading in letter.listeners {
        let socket = TcpListener::from(inherit::receive(&stream)?);
        listeners.push(Heirloom {
            owner: heading.owner,
            said: heading.said,
            socket,
        });
    }
    let admin = match letter.has_admin {
        true => Some(inherit::receive(&stream)?),
        false => None,
    };
    Ok(Some(Heritage {
        inherited: Inherited { listeners, admin },
        health: letter.health,
        predecessor: Predecessor(stream),
    }))
}

/// Sockets that a service manager has opened (systemd's `LISTEN_FDS`).
pub(super) fn activated() -> Inherited {
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for nth in 0..passed.len() {
        match passed.take_tcp_listener(nth) {
            Ok(Some(socket)) => match socket.local_addr() {
                Ok(said) => listeners.push(Heirloom {
                    owner: None,
                    said,
                    socket,
                }),
                Err(error) => tracing::warn!(nth, %error, "a passed socket cannot be used"),
            },
            Ok(None) => {}
            Err(error) => tracing::warn!(nth, %error, "a passed socket cannot be used"),
        }
    }
    Inherited {
        listeners,
        admin: None,
    }
}

impl Predecessor {
    /// This process serves: the one before may end.
    pub(super) fn relieve(self) {
        if let Err(error) = (&self.0).write_all(READY) {
            tracing::error!(%error, "the process before cannot be told that this one serves");
        }
    }
}

const ENVIRONMENT: &str = "RISEFALL_TAKEOVER";
const VERSION: u32 = 1;
const READY: &[u8; 6] = b"ready\n";
const PATIENCE: Duration = Duration::from_secs(30);
