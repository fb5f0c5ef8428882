//! What a registry is made of.

use std::sync::Arc;

use super::Registry;
use crate::address::AddressHash;
use crate::clock::{Clock, MonotonicClock};
use crate::gate::Gate;
use crate::policy::Policy;
use crate::shared::Shared;

/// Choices for a registry beyond its policy.
#[derive(Debug)]
#[must_use = "call `build` to get the registry"]
pub struct RegistryBuilder {
    policy: Policy,
    capacity: usize,
    clock: Arc<dyn Clock>,
    gate: Option<Arc<Gate>>,
    /// `None`: by the operating system's randomness.
    hash: Option<AddressHash>,
}

impl RegistryBuilder {
    pub(super) fn new() -> Self {
        Self {
            policy: Policy::default(),
            capacity: DEFAULT_CAPACITY,
            clock: Arc::new(MonotonicClock::new()),
            gate: None,
            hash: None,
        }
    }

    /// Thresholds and deadlines. Default: [`Policy::default`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The most failing addresses to remember at once; default 16 384, at least 1, at most 2^26.
    ///
    /// Each slot costs 4.25 bytes from the start; a failing address about 150 more, from its first
    /// failure until the registry is dropped or another address takes its place. Addresses pinned
    /// by an [`Endpoint`](crate::Endpoint) do not count.
    pub fn capacity(mut self, addresses: usize) -> Self {
        self.capacity = addresses.clamp(1, 1 << 26);
        self
    }

    /// The clock. Default: [`MonotonicClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Draws from `seed` what is random otherwise: how addresses are hashed, and by how much the down
    /// time of each is longer than that of others. Groups over this registry do likewise. Default:
    /// the operating system's randomness.
    ///
    /// For simulations, which are to come out the same each time. Not where clients choose
    /// addresses: who knows the seed can choose those that collide.
    pub fn seed(mut self, seed: u64) -> Self {
        self.hash = Some(AddressHash::seeded(seed));
        self
    }

    /// Hashes as another registry does, whose secret that stays.
    pub(crate) fn hash(mut self, hash: AddressHash) -> Self {
        self.hash = Some(hash);
        self
    }

    /// Words go down only through the gate. For registries whose addresses all have handles: one
    /// that is new comes in without asking.
    pub(crate) fn gate(mut self, gate: Arc<Gate>) -> Self {
        self.gate = Some(gate);
        self
    }

    /// Makes the registry.
    #[must_use]
    pub fn build(self) -> Registry {
        let policy = Arc::new(self.policy);
        let hash = self.hash.unwrap_or_else(AddressHash::random);
        let (capacity, clock) = (self.capacity, self.clock);
        let shared = Shared::new(Arc::clone(&policy), capacity, clock, self.gate, hash);
        Registry {
            shared: Arc::new(shared),
            policy,
        }
    }
}

/// Failing addresses remembered at once, unless told otherwise: 2.3 MiB when full.
const DEFAULT_CAPACITY: usize = 16_384;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::group::{Group, GroupPolicy};
    use crate::outcome::{Cause, Outcome};
    use crate::policy::Recovery;

    /// How long an address is down that has failed for `seed`: by dials, and by its answers.
    fn down_times(seed: u64, host: u8) -> [Duration; 2] {
        let policy = Policy::builder().recovery(Recovery::PROBE).max_fails(1);
        let dials = Registry::builder()
            .policy(policy.build().unwrap())
            .clock(Arc::new(ManualClock::new()))
            .seed(seed)
            .build();
        let address: SocketAddr = ([192, 0, 2, host], 80).into();
        let group = Group::new(&dials, GroupPolicy::default());
        group.set([(address, 1), (([192, 0, 2, 200], 80).into(), 1)]);
        let members = group.members();
        let member = members.find(&address).unwrap();
        for _ in 0..3 {
            let failed = Outcome::Failed(Cause::BadGateway);
            member.end(member.admit().unwrap(), failed, Duration::ZERO);
        }
        dials.record_failure(address, Cause::Refused);
        let status = member.status();
        [status.dial, status.service].map(|word| word.retry_in.unwrap())
    }

    #[test]
    fn what_is_drawn_from_a_seed_is_the_same_each_time() {
        for host in 1..10 {
            assert_eq!(down_times(7, host), down_times(7, host));
        }
        let of = |seed| {
            (1..10)
                .map(|host| down_times(seed, host))
                .collect::<Vec<_>>()
        };
        assert_ne!(of(7), of(8));
    }
}
