//! Listening sockets, one for each worker on the same address.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::{fs, io};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

/// One address, held by as many sockets as there are workers; the kernel spreads the connections.
#[derive(Debug)]
pub struct Bound {
    /// With the port the system chose, if it was asked to.
    pub address: SocketAddr,
    /// One for each worker.
    pub sockets: Vec<TcpListener>,
}

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}{}", remedy(.error, .address))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub error: io::Error,
}

/// One address that is claimed but not listened on: nobody has reached it yet.
#[derive(Debug)]
pub struct Claim {
    address: SocketAddr,
    sockets: Vec<Socket>,
}

/// Whether somebody else may listen on the address already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Neighbours {
    /// Nobody may.
    None,
    /// This process does, on an address that holds this one or is held by it.
    Own,
}

/// Claims `address` with `workers` sockets.
///
/// With `SO_REUSEPORT`, a second process of the same user would share the port in silence and take
/// half of the connections. So the address is first bound without it: a port in use is an error.
///
/// # Errors
///
/// Those of the system, with the address and what to do about it.
pub fn claim(
    address: SocketAddr,
    workers: usize,
    neighbours: Neighbours,
) -> Result<Claim, BindError> {
    claim_all(address, workers, neighbours).map_err(|error| BindError { address, error })
}

/// Claims `address` and listens on it.
///
/// # Errors
///
/// Those of [`claim`].
pub fn bind(address: SocketAddr, workers: usize) -> Result<Bound, BindError> {
    claim(address, workers, Neighbours::None)?.listen()
}

impl Claim {
    /// Lets connections come.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn listen(self) -> Result<Bound, BindError> {
        let address = self.address;
        for socket in &self.sockets {
            let listened = prepare(socket).and_then(|()| socket.listen(BACKLOG));
            listened.map_err(|error| BindError { address, error })?;
        }
        Ok(Bound {
            address,
            sockets: self.sockets.into_iter().map(TcpListener::from).collect(),
        })
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sharing {
    Alone,
    Workers,
}

fn claim_all(address: SocketAddr, workers: usize, neighbours: Neighbours) -> io::Result<Claim> {
    // The system never chooses a port that is shared already.
    if address.port() != 0 && neighbours == Neighbours::None {
        bound_socket(address, Sharing::Alone)?;
    }
    let first = bound_socket(address, Sharing::Workers)?;
    // The system's choice, if the port was 0.
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(bound_socket(address, Sharing::Workers)?);
    }
    Ok(Claim { address, sockets })
}

fn bound_socket(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of an earlier run that still wait for their last packets do not hold the port.
    socket.set_reuse_address(true)?;
    if sharing == Sharing::Workers {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Has connections send at once what they are given: a proxy writes what is whole, and to wait for
/// more of it (Nagle) would hold up ends of messages. The system hands it on to each connection
/// that is accepted.
///
/// # Errors
///
/// Those of the system.
pub(super) fn prepare(listener: &impl AsFd) -> io::Result<()> {
    SockRef::from(listener).set_tcp_nodelay(true)
}

/// Listens on a socket in the file system, which only its owner may use. One that a process has left
/// behind, and nobody listens on any more, is put out of the way.
///
/// # Errors
///
/// Those of the system, or that another process listens there.
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Err(error) = claim_path(path) {
        let text = format!("cannot listen on unix:{}: {error}", path.display());
        return Err(io::Error::new(error.kind(), text));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let bound = socket.bind(&SockAddr::unix(path)?).and_then(|()| {
        // Nobody can connect before it listens, so there is no moment in which others may.
        fs::set_permissions(path, fs::Permissions::from_mode(OWNER_ONLY))?;
        socket.listen(BACKLOG)
    });
    bound.map_err(|error| {
        let text = format!("cannot listen on unix:{}: {error}", path.display());
        io::Error::new(error.kind(), text)
    })?;
    Ok(UnixListener::from(OwnedFd::from(socket)))
}

fn claim_path(path: &Path) -> io::Result<()> {
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there",
        )),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            // A plain file refuses connections as well, and must not be lost.
            if fs::symlink_metadata(path)?.file_type().is_socket() {
                fs::remove_file(path)
            } else {
                Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "there is a file of that name, which is no socket",
                ))
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// What an operator can do about it, as the end of a sentence.
fn remedy(error: &io::Error, address: &SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "; another program listens there (find it with: ss -ltnp 'sport = :{}'), stop it or \
             choose another port",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            "; no interface of this machine has that address".to_owned()
        }
        io::ErrorKind::PermissionDenied => format!(
            "; port {} needs the capability CAP_NET_BIND_SERVICE, or a lower \
             net.ipv4.ip_unprivileged_port_start",
            address.port()
        ),
        _ => String::new(),
    }
}

/// The kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;
const OWNER_ONLY: u32 = 0o600;

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn an_accepted_connection_sends_at_once() {
        let bound = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
        let client = TcpStream::connect(bound.address).unwrap();
        let socket = &bound.sockets[0];
        socket.set_nonblocking(false).unwrap();
        let (accepted, _) = socket.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
        assert!(!client.nodelay().unwrap());
    }

    #[test]
    fn a_port_in_use_is_an_error_even_among_sharers() {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = bind(address, 2).unwrap();
        let error = bind(first.address, 2).unwrap_err();
        assert_eq!(error.error.kind(), io::ErrorKind::AddrInUse);
        let text = error.to_string();
        assert!(text.contains(&first.address.to_string()), "{text}");
        assert!(text.contains("another program listens there"), "{text}");
    }

    #[test]
    fn a_wildcard_is_claimed_beside_an_own_listener_and_not_beside_a_stranger_s() {
        let own = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
        let wildcard = SocketAddr::from(([0, 0, 0, 0], own.address.port()));
        assert!(claim(wildcard, 1, Neighbours::None).is_err());
        let claimed = claim(wildcard, 2, Neighbours::Own).unwrap();
        assert_eq!(claimed.listen().unwrap().sockets.len(), 2);
    }

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let first = bind_unix(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
        let taken = bind_unix(&path).unwrap_err();
        assert!(taken.to_string().contains("another process"), "{taken}");
        drop(first);
        bind_unix(&path).unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        bind_unix(&file).unwrap_err();
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }

    #[test]
    fn all_workers_share_the_port_that_the_system_chose() {
        let bound = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 3).unwrap();
        assert_eq!(bound.sockets.len(), 3);
        for socket in &bound.sockets {
            assert_eq!(socket.local_addr().unwrap(), bound.address);
        }
    }
}
