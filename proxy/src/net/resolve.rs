//! Names to addresses, off the event loop.
//!
//! The system's resolver blocks, for many seconds when its server is silent, so it runs on threads
//! of its own: a bounded number, waited for until a deadline. A lookup that nobody waits for any
//! longer holds its place until the system gives up on it, or the bound would bound nothing.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::error::{Fault, is_out_of_files};
use crate::proto::{Host, Target};

/// Where names are looked up. Asked on threads that may block.
pub trait Names: Send + Sync {
    /// The addresses of a name, best first.
    ///
    /// # Errors
    ///
    /// The name is not found, or nobody knows.
    fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The operating system's resolver: its files, its servers, its order (RFC 6724).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

/// One worker's lookups.
pub struct Resolver {
    names: Arc<dyn Names>,
    places: RefCell<Arc<Semaphore>>,
    lookups: Cell<usize>,
    timeout: Cell<Duration>,
}

impl Resolver {
    /// At most `lookups` at a time, each waited for `timeout` at most, a place included.
    #[must_use]
    pub fn new(names: Arc<dyn Names>, lookups: usize, timeout: Duration) -> Self {
        Self {
            names,
            places: RefCell::new(Arc::new(Semaphore::new(lookups))),
            lookups: Cell::new(lookups),
            timeout: Cell::new(timeout),
        }
    }

    /// Changes the bounds for the lookups that follow; those under way keep theirs.
    pub fn adjust(&self, lookups: usize, timeout: Duration) {
        self.timeout.set(timeout);
        if self.lookups.replace(lookups) != lookups {
            self.places.replace(Arc::new(Semaphore::new(lookups)));
        }
    }

    /// The addresses of `target`, best first.
    ///
    /// # Errors
    ///
    /// The name is not found, or nobody knows in time.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost; the thread ends its lookup and forgets it.
    pub async fn resolve(&self, target: &Target) -> Result<Vec<SocketAddr>, Fault> {
        let name = match target.host() {
            Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, target.port())]),
            Host::Name(name) => name.as_str(),
        };
        let timeout = self.timeout.get();
        match tokio::time::timeout(timeout, self.look_up(name, target.port())).await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(unresolved(name, error)),
            Err(_) => Err(Fault::NameTimedOut {
                name: name.into(),
                after: timeout,
            }),
        }
    }

    async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let places = Arc::clone(&self.places.borrow());
        let place = places.acquire_owned().await.map_err(io::Error::other)?;
        let (names, name) = (Arc::clone(&self.names), name.to_owned());
        let lookup = tokio::task::spawn_blocking(move || {
            let found = names.look_up(&name, port);
            drop(place);
            found
        });
        lookup.await.map_err(io::Error::other)?.map(each_once)
    }
}

/// Being out of files says nothing about the name.
fn unresolved(name: &str, error: io::Error) -> Fault {
    if is_out_of_files(&error) {
        return Fault::Internal(error);
    }
    Fault::Name {
        name: name.into(),
        error,
    }
}

impl Names for SystemNames {
    #[expect(clippy::disallowed_methods, reason = "runs on a thread that may block")]
    fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = std::net::ToSocketAddrs::to_socket_addrs(&(name, port))?;
        Ok(found.take(ADDRESSES_MOST).collect())
    }
}

fn each_once(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found.into_iter().map(unmapped).take(ADDRESSES_MOST) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// One host is one address: rules and health records must not take `::ffff:a.b.c.d` for another.
fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        // Keeps the scope of a link-local address.
        IpAddr::V6(_) => address,
    }
}

/// How many addresses of one name are looked at.
const ADDRESSES_MOST: usize = 16;

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_lookup_without_files_is_this_proxy_s_failure() {
        for (error, status) in [
            (Errno::MFILE.into(), 500),
            (Errno::NFILE.into(), 500),
            (io::Error::other("no such name"), 502),
        ] {
            assert_eq!(unresolved("example.com", error).status(), status);
        }
    }
}
