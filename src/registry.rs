//! The public door: the calls on an address. What they rest on is in `shared.rs`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::address::Key;
use crate::clock::{Clock, MonotonicClock};
use crate::endpoint::Endpoint;
use crate::event::Transitions;
use crate::outcome::Cause;
use crate::policy::Policy;
use crate::shared::Shared;
use crate::snapshot::Status;

/// Remembers, per network address, how dials went, and says which are not worth another.
///
/// Cloning gives another handle to the same registry.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

/// Choices for a registry beyond its policy.
#[derive(Debug)]
#[must_use = "call `build` to get the registry"]
pub struct RegistryBuilder {
    policy: Policy,
    capacity: usize,
    clock: Arc<dyn Clock>,
}

impl Registry {
    /// A registry with the default capacity and the system's clock.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self::builder().policy(policy).build()
    }

    /// For another capacity or clock.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder {
            policy: Policy::default(),
            capacity: DEFAULT_CAPACITY,
            clock: Arc::new(MonotonicClock::new()),
        }
    }

    /// Whether the address is down: `max_fails` failures in a row, the last record no longer than
    /// `fail_timeout` ago. An unknown address is up. A pure read.
    ///
    /// # Progress
    ///
    /// Wait-free. An address in a bucket without evidence, the usual case, is answered from one
    /// load. The clock is read only for an address that was taken down.
    #[inline]
    #[must_use]
    pub fn is_fall_down(&self, address: &SocketAddr) -> bool {
        let shared = &*self.shared;
        shared
            .find(Key::of(address))
            .is_some_and(|(_, word)| shared.is_down(word))
    }

    /// Records a failure without saying why: one more in a row. At `max_fails` the address is
    /// down.
    ///
    /// # Progress
    ///
    /// As [`record_failure`](Self::record_failure).
    pub fn add_fall_down(&self, address: SocketAddr) {
        self.record_failure(address, Cause::Reported);
    }

    /// Records a failure and its cause: one more in a row, the streak of successes ends. A record
    /// older than `fail_timeout` is cleared first. At `max_fails` the address is down.
    ///
    /// When the registry is full of addresses with live evidence, a new one is not tracked: it
    /// counts in [`overflow`](Self::overflow) and reads as up.
    ///
    /// # Progress
    ///
    /// Lock-free for a tracked address. The first failure of an address may take a shard lock, on
    /// which no reader and no success ever waits.
    pub fn record_failure(&self, address: SocketAddr, cause: Cause) {
        self.shared.record_failure(Key::of(&address), cause);
    }

    /// Records a success: one more in a row, the streak of failures ends. A record older than
    /// `fail_timeout` is cleared first. At `min_rises` a down address is up.
    ///
    /// # Progress
    ///
    /// Lock-free. For an address with nothing against it wait-free: it reads, and writes nothing.
    #[inline]
    pub fn add_rise_up(&self, address: SocketAddr) {
        let shared = &*self.shared;
        let key = Key::of(&address);
        if let Some((record, word)) = shared.find(key) {
            // A record that is gone had nothing against the address when it went.
            shared.record_success(record, word, key);
        }
    }

    /// A handle to the address. It pins the address's record, whatever the capacity.
    ///
    /// # Progress
    ///
    /// Takes a shard lock, on which no reader and no success ever waits.
    #[must_use]
    pub fn endpoint(&self, address: SocketAddr) -> Endpoint {
        Endpoint::new(Key::of(&address), &self.shared)
    }

    /// The address at this moment: verdict, streak, last failure, next try.
    ///
    /// # Progress
    ///
    /// Wait-free.
    #[must_use]
    pub fn status(&self, address: &SocketAddr) -> Status {
        self.shared.status_of(Key::of(address))
    }

    /// Every address with live evidence against it, in no order.
    ///
    /// Weakly consistent: each entry is true of some moment of the call.
    ///
    /// # Progress
    ///
    /// Takes one shard lock after another for reading. No reader or success waits on it; first
    /// failures of addresses may.
    #[must_use]
    pub fn statuses(&self) -> Vec<Status> {
        self.shared.statuses()
    }

    /// Subscribes to changes of verdict, keeping at most `capacity` unread ones.
    #[must_use]
    pub fn subscribe(&self, capacity: usize) -> Transitions {
        self.shared.subscribe(capacity)
    }

    /// Evicts every record with nothing, or nothing any more, against its address, except those
    /// that handles pin.
    ///
    /// Never needed: newcomers make their own room. It tidies [`len`](Self::len) after an incident.
    /// The memory of the records is kept for newcomers.
    ///
    /// # Progress
    ///
    /// Takes one shard lock after another. No reader or success waits on it.
    pub fn sweep(&self) {
        self.shared.sweep_all();
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        self.shared.policy()
    }

    /// Addresses that have a record: failing ones, pinned ones, and those that were and have not
    /// been swept yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Whether no address has a record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// First failures of addresses that found no room, since the start.
    #[must_use]
    pub fn overflow(&self) -> u64 {
        self.shared.overflow()
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("policy", self.policy())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl RegistryBuilder {
    /// Thresholds and deadlines. Default: [`Policy::default`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The most failing addresses to remember at once; default 16 384, at least 1, at most 2^26.
    ///
    /// Each slot costs 4.25 bytes from the start; a failing address about 140 more, from its first
    /// failure until the registry is dropped or another address takes its place. Addresses pinned
    /// by an [`Endpoint`] do not count.
    pub fn capacity(mut self, addresses: usize) -> Self {
        self.capacity = addresses.clamp(1, 1 << 26);
        self
    }

    /// The clock. Default: [`MonotonicClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the registry.
    #[must_use]
    pub fn build(self) -> Registry {
        Registry {
            shared: Arc::new(Shared::new(self.policy, self.capacity, self.clock)),
        }
    }
}

/// Failing addresses remembered at once, unless told otherwise: 2.3 MiB when full.
const DEFAULT_CAPACITY: usize = 16_384;
