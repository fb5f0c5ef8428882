//! What a registry is made of.

use std::sync::Arc;

use super::Registry;
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
}

impl RegistryBuilder {
    pub(super) fn new() -> Self {
        Self {
            policy: Policy::default(),
            capacity: DEFAULT_CAPACITY,
            clock: Arc::new(MonotonicClock::new()),
            gate: None,
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
        let shared = Shared::new(Arc::clone(&policy), self.capacity, self.clock, self.gate);
        Registry {
            shared: Arc::new(shared),
            policy,
        }
    }
}

/// Failing addresses remembered at once, unless told otherwise: 2.3 MiB when full.
const DEFAULT_CAPACITY: usize = 16_384;
