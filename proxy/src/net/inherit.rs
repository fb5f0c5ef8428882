//! Listening sockets that another process has opened: the one before this one, or the service
//! manager.
//!
//! A socket that changes hands is never closed in between, so nobody who connects meanwhile is
//! refused: the kernel keeps the connection until somebody accepts it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::net::listen::{self, Bound};

/// What was inherited and nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Sockets for clients.
    pub listeners: Vec<Heirloom>,
    /// The socket of the admin API, of either kind.
    pub admin: Option<OwnedFd>,
}

/// One listening socket.
#[derive(Debug)]
pub struct Heirloom {
    /// Whose it was, if that is known.
    pub owner: Option<String>,
    /// What was asked for; its port may be 0.
    pub said: SocketAddr,
    /// The socket.
    pub socket: TcpListener,
}

impl Inherited {
    /// All sockets for `said` of `owner`, at least one for each of so many workers; `None` if
    /// there is none.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn take(
        &mut self,
        owner: &str,
        said: SocketAddr,
        workers: usize,
    ) -> io::Result<Option<Bound>> {
        let is_meant = |one: &mut Heirloom| {
            // A port that the system chose is its owner's.
            let is_owner = one.owner.as_deref().is_none_or(|name| name == owner);
            one.said == said && (said.port() != 0 || is_owner)
        };
        let mut address = None;
        let mut sockets = Vec::new();
        let taken: Vec<_> = self.listeners.extract_if(.., is_meant).collect();
        for one in taken {
            let at = one.socket.local_addr()?;
            // Two listeners on port 0 have two ports.
            if *address.get_or_insert(at) == at {
                one.socket.set_nonblocking(true)?;
                listen::prepare(&one.socket)?;
                sockets.push(one.socket);
            } else {
                self.listeners.push(one);
            }
        }
        let Some(address) = address else {
            return Ok(None);
        };
        // Workers that share a socket share its queue.
        let mut nth = 0;
        while sockets.len() < workers {
            let Some(shared) = sockets.get(nth) else {
                break;
            };
            let shared = shared.try_clone()?;
            sockets.push(shared);
            nth += 1;
        }
        Ok(Some(Bound { address, sockets }))
    }
}

/// Sends one descriptor, with the byte that carries it.
///
/// # Errors
///
/// Those of the system.
pub fn send(to: &UnixStream, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = sendmsg(to, &[IoSlice::new(b"+")], &mut control, SendFlags::NOSIGNAL)?;
    if sent == 1 {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// Receives one descriptor.
///
/// # Errors
///
/// Those of the system, or that there was none.
pub fn receive(from: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    received.ok_or_else(|| io::Error::other("no socket was passed"))
}

/// A copy of the descriptor of `socket`.
///
/// # Errors
///
/// Those of the system.
pub fn copy(socket: &impl AsFd) -> io::Result<OwnedFd> {
    socket.as_fd().try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heirloom(forward: &str, said: &str) -> Heirloom {
        Heirloom {
            owner: Some(forward.to_owned()),
            said: said.parse().unwrap(),
            socket: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    #[test]
    fn a_descriptor_arrives_as_the_same_socket() {
        let (here, there) = UnixStream::pair().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        send(&here, socket.as_fd()).unwrap();
        let received = TcpListener::from(receive(&there).unwrap());
        assert_eq!(received.local_addr().unwrap(), socket.local_addr().unwrap());
        drop(here);
        assert!(receive(&there).is_err());
    }

    #[test]
    fn every_worker_has_a_socket_and_none_is_left_out() {
        let any = "127.0.0.1:0";
        let mut inherited = Inherited {
            listeners: vec![heirloom("a", any), heirloom("a", any), heirloom("b", any)],
            admin: None,
        };
        let first = inherited
            .take("a", any.parse().unwrap(), 3)
            .unwrap()
            .unwrap();
        assert_eq!(first.sockets.len(), 3);
        for socket in &first.sockets {
            assert!(socket2::SockRef::from(socket).tcp_nodelay().unwrap());
        }
        let second = inherited
            .take("a", any.parse().unwrap(), 1)
            .unwrap()
            .unwrap();
        assert_ne!(first.address, second.address);
        assert!(
            inherited
                .take("a", any.parse().unwrap(), 1)
                .unwrap()
                .is_none()
        );
        assert_eq!(inherited.listeners.len(), 1);
    }

    #[test]
    fn a_said_port_is_its_own_whatever_it_is_called() {
        let mut inherited = Inherited {
            listeners: vec![heirloom("a", "127.0.0.1:8090")],
            admin: None,
        };
        let said = "127.0.0.1:8090".parse().unwrap();
        assert!(inherited.take("b", said, 2).unwrap().is_some());
    }
}
