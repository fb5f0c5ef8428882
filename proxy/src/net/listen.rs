//! Listening sockets, one for each worker on the same address.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

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

/// Listens on `address` with `workers` sockets.
///
/// With `SO_REUSEPORT`, a second process of the same user would share the port in silence and take
/// half of the connections. So the address is first bound without it: a port in use is an error.
///
/// # Errors
///
/// Those of the system, with the address and what to do about it.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Bound, BindError> {
    bind_all(address, workers).map_err(|error| BindError { address, error })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sharing {
    Alone,
    Workers,
}

fn bind_all(address: SocketAddr, workers: usize) -> io::Result<Bound> {
    let first = bound_socket(address, Sharing::Alone)?;
    // The system's choice, if the port was 0.
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let sockets = if workers <= 1 {
        vec![first]
    } else {
        drop(first);
        let sharers = (0..workers).map(|_| bound_socket(address, Sharing::Workers));
        sharers.collect::<io::Result<_>>()?
    };
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok(Bound {
        address,
        sockets: sockets.into_iter().map(TcpListener::from).collect(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn all_workers_share_the_port_that_the_system_chose() {
        let bound = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 3).unwrap();
        assert_eq!(bound.sockets.len(), 3);
        for socket in &bound.sockets {
            assert_eq!(socket.local_addr().unwrap(), bound.address);
        }
    }
}
