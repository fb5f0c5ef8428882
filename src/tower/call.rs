//! One call: by what right it is made, and what is told of it in the end.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::classify::chain;
use crate::address::Key;
use crate::admit::{Admission, Permit};
use crate::endpoint::Endpoint;
use crate::outcome::{Cause, Outcome};
use crate::record::Ticket;
use crate::registry::Registry;
use crate::snapshot::Status;

/// Whom a call goes to: a handle, for a server that you have chosen, or an address of a registry,
/// where somebody else chooses.
///
/// A clone of a handle's counts one reference up, of an address's two; nothing else on the way of a
/// call to a healthy peer is written.
#[derive(Clone, Debug)]
pub struct Peer(Held);

#[derive(Clone, Debug)]
enum Held {
    Endpoint(Arc<Endpoint>),
    Address(Registry, SocketAddr),
}

impl Peer {
    /// The address, as that registry judges it. Pins nothing.
    #[must_use]
    pub fn at(registry: &Registry, address: SocketAddr) -> Self {
        Self(Held::Address(registry.clone(), address))
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        match &self.0 {
            Held::Endpoint(endpoint) => endpoint.address(),
            Held::Address(_, address) => *address,
        }
    }

    /// As [`Registry::status`].
    ///
    /// # Progress
    ///
    /// Wait-free.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.0 {
            Held::Endpoint(endpoint) => endpoint.status(),
            Held::Address(registry, address) => registry.status(address),
        }
    }

    /// Asks, and begins a call: an ordinary one, or the probe of a peer that was down.
    ///
    /// # Errors
    ///
    /// The peer is down, or somebody else is probing it.
    ///
    /// # Progress
    ///
    /// As [`Registry::try_admit`]. Reads the clock.
    pub fn call(&self) -> Result<Call, Denied> {
        let admission = match &self.0 {
            Held::Endpoint(endpoint) => endpoint.try_admit(),
            Held::Address(registry, address) => registry.try_admit(address),
        };
        let right = match admission {
            Admission::Pass => None,
            Admission::Probe(permit) => Some(permit),
            Admission::Deny { state, retry_in } => {
                let status = self.status();
                return Err(Denied {
                    status: Status {
                        state,
                        retry_in,
                        ..status
                    },
                });
            }
        };
        let (ticket, began) = self.begin();
        Ok(Call {
            peer: Some(self.clone()),
            right: Some(right.map_or(Right::Attempt(ticket), Right::Probe)),
            began,
            stall_after: None,
        })
    }

    fn begin(&self) -> (Ticket, Duration) {
        match &self.0 {
            Held::Endpoint(endpoint) => endpoint.begin(),
            Held::Address(registry, address) => {
                let shared = registry.shared();
                let ticket = shared.ticket(shared.subject(Key::of(address)), None);
                (ticket, shared.elapsed())
            }
        }
    }

    fn end(&self, ticket: Ticket, outcome: Outcome) {
        match &self.0 {
            Held::Endpoint(endpoint) => endpoint.end_call(ticket, outcome),
            Held::Address(registry, address) => {
                let shared = registry.shared();
                let case = registry.case(shared.subject(Key::of(address)));
                shared.end(case, None, ticket, outcome, || None);
            }
        }
    }

    fn elapsed(&self) -> Duration {
        match &self.0 {
            Held::Endpoint(endpoint) => endpoint.elapsed(),
            Held::Address(registry, _) => registry.shared().elapsed(),
        }
    }
}

impl From<Endpoint> for Peer {
    fn from(endpoint: Endpoint) -> Self {
        Self(Held::Endpoint(Arc::new(endpoint)))
    }
}

impl From<Arc<Endpoint>> for Peer {
    fn from(endpoint: Arc<Endpoint>) -> Self {
        Self(Held::Endpoint(endpoint))
    }
}

/// One call that was let through, until its outcome is told.
///
/// It owns what it needs and borrows nothing. Dropped, it says nothing of its peer, and the permit
/// of a probe is given back at once: whoever drops a call may have any reason. Only with a
/// [`stall_after`](super::HealthLayer::stall_after) is a call that had been silent for so long a
/// failure ([`Cause::Stalled`]).
///
/// Like an [`Attempt`](crate::Attempt) it counts only if the verdict is still the one under which it
/// began; unlike one it teaches the registry no connect time.
#[must_use = "a call that is dropped says nothing"]
pub struct Call {
    /// `None`: nobody is judged.
    peer: Option<Peer>,
    /// `None`: told.
    right: Option<Right>,
    /// On the registry's clock.
    began: Duration,
    stall_after: Option<Duration>,
}

#[derive(Debug)]
enum Right {
    Attempt(Ticket),
    Probe(Permit),
}

impl Call {
    /// A call to nobody who is judged.
    pub(super) fn unjudged() -> Self {
        Self {
            peer: None,
            right: None,
            began: Duration::ZERO,
            stall_after: None,
        }
    }

    pub(super) fn stalls_after(mut self, time: Option<Duration>) -> Self {
        self.stall_after = time;
        self
    }

    /// Whether this call finds out if its peer is back.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        matches!(self.right, Some(Right::Probe(_)))
    }

    /// Tells how it went.
    ///
    /// # Progress
    ///
    /// As [`Attempt::end`](crate::Attempt::end).
    pub fn end(mut self, outcome: Outcome) {
        self.tell(outcome);
    }

    /// Of a call whose answer has begun well: tells so of a probe, whose verdict others wait for.
    /// Either way what follows may be told by the call that it returns, and `true` if only a
    /// failure is news.
    #[cfg(feature = "http")]
    pub(super) fn answered(mut self) -> (Self, bool) {
        if !self.is_probe() {
            return (self, false);
        }
        self.tell(Outcome::Success);
        if let Some(peer) = &self.peer {
            let (ticket, began) = peer.begin();
            self.right = Some(Right::Attempt(ticket));
            self.began = began;
        }
        (self, true)
    }

    fn tell(&mut self, outcome: Outcome) {
        match (self.right.take(), &self.peer) {
            (Some(Right::Attempt(ticket)), Some(peer)) => peer.end(ticket, outcome),
            (Some(Right::Probe(permit)), _) => permit.end(outcome),
            _ => {}
        }
    }

    fn has_stalled(&self) -> bool {
        let silent = self.peer.as_ref().zip(self.stall_after);
        silent.is_some_and(|(peer, limit)| peer.elapsed().saturating_sub(self.began) >= limit)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.right.is_some() {
            // A permit's own drop would judge by the policy's `stall_after`, which is about dials.
            self.tell(if self.has_stalled() {
                Outcome::Failed(Cause::Stalled)
            } else {
                Outcome::Cancelled
            });
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("peer", &self.peer)
            .field("is_probe", &self.is_probe())
            .finish_non_exhaustive()
    }
}

/// Why a call was not made: its peer is down. The inner service has not been called.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("health check falldown: {status}")]
pub struct Denied {
    status: Status,
}

impl Denied {
    /// The first denial in that error's chain of sources.
    #[must_use]
    pub fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        chain(error).find_map(|error| error.downcast_ref())
    }

    /// The peer at that moment: its address, why it is down, since when.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// When to ask again; `None` where only an operator can tell.
    #[must_use]
    pub fn retry_in(&self) -> Option<Duration> {
        self.status.retry_in
    }

    /// The same in whole seconds, rounded up: the value of a `Retry-After` field (RFC 9110
    /// §10.2.3).
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        let left = self.status.retry_in?;
        Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))
    }
}
