//! Targets made in this process, so that one command shows everything.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{args::DeadKind, error::RunError, origin};

/// Starts an origin on a thread of its own and says where it is. It lives as long as the process.
pub(crate) fn start_origin() -> Result<SocketAddr, RunError> {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = origin::listen(any_port)?;
    let address = listener.local_addr().map_err(RunError::Runtime)?;
    thread::Builder::new()
        .name("origin".to_owned())
        .spawn(move || origin::serve(listener, ORIGIN_BODY_BYTES))
        .map_err(RunError::Runtime)?;
    Ok(address)
}

/// A port of this process that answers no dial; dropped, it is free again.
#[derive(Debug)]
pub(crate) struct DeadTarget {
    pub(crate) address: SocketAddr,
    /// Bound all the while: a port merely noted and let go could be given to somebody's listener,
    /// or to the very connection that dials it, which then connects to itself.
    _socket: Socket,
    /// What fills the listener's queue.
    _fillers: Vec<TcpStream>,
}

impl DeadTarget {
    pub(crate) fn open(kind: DeadKind) -> Result<Self, RunError> {
        let failed = |source| RunError::DeadTarget {
            kind: kind.name(),
            source,
        };
        let (socket, address) = bind().map_err(failed)?;
        let fillers = match kind {
            DeadKind::Closed => Vec::new(),
            DeadKind::Blackhole => {
                socket.listen(0).map_err(failed)?;
                fill(address)
                    .map_err(failed)?
                    .ok_or(RunError::NoBlackHole)?
            }
        };
        Ok(Self {
            address,
            _socket: socket,
            _fillers: fillers,
        })
    }
}

fn bind() -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let address = socket.local_addr()?.as_socket();
    Ok((socket, address.ok_or(io::ErrorKind::AddrNotAvailable)?))
}

/// Connects until nothing answers any more: with the queue full, the kernel drops every SYN.
/// `None` if it never fills.
fn fill(address: SocketAddr) -> io::Result<Option<Vec<TcpStream>>> {
    let mut fillers = Vec::new();
    for _ in 0..MAX_FILLERS {
        match TcpStream::connect_timeout(&address, FILL_PATIENCE) {
            Ok(stream) => fillers.push(stream),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(Some(fillers)),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

const ORIGIN_BODY_BYTES: usize = 100;
/// Linux queues one more connection than the backlog says; other kernels round up further.
const MAX_FILLERS: usize = 16;
/// A dial on loopback is answered in microseconds, and a SYN is repeated after a second.
const FILL_PATIENCE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_target_refuses() {
        let target = DeadTarget::open(DeadKind::Closed).unwrap();
        let error = TcpStream::connect(target.address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_black_hole_stays_silent() {
        let target = DeadTarget::open(DeadKind::Blackhole).unwrap();
        for _ in 0..2 {
            let error = TcpStream::connect_timeout(&target.address, FILL_PATIENCE).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
    }
}
