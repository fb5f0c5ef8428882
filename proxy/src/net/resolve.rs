//! Names to addresses, off the event loop.
//!
//! The system's resolver blocks, for many seconds when its server is silent, so it runs on threads
//! of its own: a bounded number, waited for until a deadline. A lookup that nobody waits for any
//! longer holds its place until the system gives up on it, or the bound would bound nothing.
//!
//! A client's target is looked up by the system alone, as every other program does. The servers of
//! a group are looked up again as often as the DNS says, which the system does not tell: [`dns`].

pub mod dns;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

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

    /// The addresses of a name and how long they hold. A final dot says that the name is whole.
    ///
    /// # Errors
    ///
    /// Those of [`Names::look_up`].
    fn look_up_with_ttl(&self, name: &str, port: u16) -> io::Result<Found> {
        let addresses = self.look_up(name, port)?;
        Ok(Found {
            addresses,
            ttl: None,
        })
    }

    /// Who offers a service, such as `_http._tcp.api.internal` (RFC 2782).
    ///
    /// # Errors
    ///
    /// Nobody does, or nobody knows.
    fn look_up_srv(&self, service: &str) -> io::Result<Offers> {
        let _ = service;
        let why = "there is no name server to ask for services";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }
}

/// The addresses of a name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// Never empty when a [`Resolver`] gives it.
    pub addresses: Vec<SocketAddr>,
    /// How long they hold, if that was told.
    pub ttl: Option<Duration>,
}

/// What the SRV records of a service say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Offers {
    /// One for each record.
    pub offers: Vec<Offer>,
    /// How long they hold, if that was told.
    pub ttl: Option<Duration>,
}

/// One SRV record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    /// Where the service is offered.
    pub target: Target,
    /// The lowest number is asked first.
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u16,
}

/// A service and the addresses of those who offer it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Service {
    /// Each offer with its addresses; without, if these were not found in time.
    pub offers: Vec<(Offer, Option<Vec<SocketAddr>>)>,
    /// The least time that one of these holds, if that was told.
    pub ttl: Option<Duration>,
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
        self.in_time(name, self.look_up(name, target.port())).await
    }

    /// The addresses of `target` and how long they hold.
    ///
    /// # Errors
    ///
    /// Those of [`Resolver::resolve`].
    ///
    /// # Cancel safety
    ///
    /// That of [`Resolver::resolve`].
    pub async fn resolve_with_ttl(&self, target: &Target) -> Result<Found, Fault> {
        let (name, port) = match target.host() {
            Host::Ip(ip) => {
                return Ok(Found {
                    addresses: vec![SocketAddr::new(*ip, target.port())],
                    ttl: None,
                });
            }
            Host::Name(name) => (name.as_str(), target.port()),
        };
        let asked = name.to_owned();
        let lookup = self.ask(move |names| names.look_up_with_ttl(&asked, port));
        let found = self.in_time(name, lookup).await?;
        kept(found).ok_or_else(|| unresolved(name, io::ErrorKind::NotFound.into()))
    }

    /// Who offers `service`, and their addresses; all of it within the deadline of one lookup.
    ///
    /// # Errors
    ///
    /// Nobody does, or nobody knows in time.
    ///
    /// # Cancel safety
    ///
    /// That of [`Resolver::resolve`].
    pub async fn resolve_srv(&self, service: &str) -> Result<Service, Fault> {
        let asked = service.to_owned();
        let began = Instant::now();
        let lookup = self.ask(move |names| names.look_up_srv(&asked));
        let Offers { mut offers, ttl } = self.in_time(service, lookup).await?;
        offers.truncate(OFFERS_MOST);
        let rest = self.timeout.get().saturating_sub(began.elapsed());
        let mut lookups = JoinSet::new();
        for (nth, offer) in offers.iter().enumerate() {
            let (name, port) = (whole(offer.target.host()), offer.target.port());
            let lookup = self.ask(move |names| names.look_up_with_ttl(&name, port));
            lookups.spawn(async move { (nth, tokio::time::timeout(rest, lookup).await) });
        }
        let offers = offers.into_iter().map(|offer| (offer, None)).collect();
        let mut service = Service { offers, ttl };
        while let Some(done) = lookups.join_next().await {
            let Ok((nth, Ok(Ok(found)))) = done else {
                continue;
            };
            if let (Some(found), Some(place)) = (kept(found), service.offers.get_mut(nth)) {
                place.1 = Some(found.addresses);
                service.ttl = least(service.ttl, found.ttl);
            }
        }
        Ok(service)
    }

    async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let name = name.to_owned();
        let lookup = self.ask(move |names| names.look_up(&name, port));
        Ok(each_once(lookup.await?, ADDRESSES_MOST))
    }

    /// Asks on a thread of its own, as soon as there is a place.
    fn ask<T, Q>(&self, question: Q) -> impl Future<Output = io::Result<T>> + Send + use<T, Q>
    where
        T: Send + 'static,
        Q: FnOnce(&dyn Names) -> io::Result<T> + Send + 'static,
    {
        let places = Arc::clone(&self.places.borrow());
        let names = Arc::clone(&self.names);
        async move {
            let place = places.acquire_owned().await.map_err(io::Error::other)?;
            let lookup = tokio::task::spawn_blocking(move || {
                let found = question(names.as_ref());
                drop(place);
                found
            });
            lookup.await.map_err(io::Error::other)?
        }
    }

    async fn in_time<T>(
        &self,
        name: &str,
        lookup: impl Future<Output = io::Result<T>>,
    ) -> Result<T, Fault> {
        let after = self.timeout.get();
        match tokio::time::timeout(after, lookup).await {
            Ok(found) => found.map_err(|error| unresolved(name, error)),
            Err(_) => Err(Fault::NameTimedOut {
                name: name.into(),
                after,
            }),
        }
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

fn each_once(found: Vec<SocketAddr>, most: usize) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found.into_iter().map(unmapped).take(most) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// What is looked at of an answer; nothing if it holds no address.
fn kept(found: Found) -> Option<Found> {
    let addresses = each_once(found.addresses, SERVERS_MOST);
    (!addresses.is_empty()).then_some(Found {
        addresses,
        ttl: found.ttl,
    })
}

/// A record's target stands in no search list.
fn whole(host: &Host) -> String {
    match host {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => format!("{name}."),
    }
}

fn least(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// One host is one address: rules and health records must not take `::ffff:a.b.c.d` for another.
fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        // Keeps the scope of a link-local address.
        IpAddr::V6(_) => address,
    }
}

/// How many addresses of a client's target are looked at.
const ADDRESSES_MOST: usize = 16;
/// How many addresses of a group's server are looked at.
const SERVERS_MOST: usize = 64;
/// How many records of a service are looked at.
const OFFERS_MOST: usize = 64;

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
