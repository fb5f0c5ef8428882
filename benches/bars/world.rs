//! What is measured, prepared before anything is.

use std::net::SocketAddr;
use std::sync::Arc;

use risefall::{CachedClock, Clock, Endpoint, MonotonicClock, Registry};

use crate::rivals::classic::Classic;
use crate::rivals::{Contender, ipv4, ipv6, storms, traffic};

/// Prepared registries: everything that is measured, so that a window holds nothing else.
pub(crate) struct World {
    pub(crate) v4: Vec<SocketAddr>,
    pub(crate) v6: Vec<SocketAddr>,
    pub(crate) ours: Registry,
    pub(crate) classic: Classic,
    pub(crate) handles: Vec<Endpoint>,
    /// All of `v4` is down.
    pub(crate) down: Registry,
    /// The same with a cached clock.
    pub(crate) down_cached: Registry,
    pub(crate) classic_down: Classic,
    pub(crate) system_clock: Arc<dyn Clock>,
    pub(crate) cached_clock: Arc<dyn Clock>,
    /// Chains full of vacated records.
    pub(crate) vacated: Registry,
    /// Every address of `v4` is pinned and healthy.
    pub(crate) pinned: (Registry, Vec<Endpoint>),
    pub(crate) failing: Registry,
    pub(crate) classic_failing: Classic,
    /// One for each of two threads.
    pub(crate) private: [Registry; 2],
    pub(crate) private_down: [Registry; 2],
    pub(crate) private_classic: [Classic; 2],
}

impl World {
    pub(crate) fn new() -> Self {
        let (v4, v6) = (ipv4(1024), ipv6(1024));
        let ours = Registry::fresh(CAPACITY);
        let classic = Classic::fresh(CAPACITY);
        traffic(&classic, &v4, 0);
        traffic(&classic, &v6, 0);
        // Handles of another registry: a pin costs those who ask by address.
        let held = Registry::fresh(CAPACITY);
        let handles = v4.iter().map(|&address| held.endpoint(address)).collect();
        let cached_clock = Arc::new(CachedClock::new());
        cached_clock.update();
        let down_cached = Registry::builder().clock(cached_clock.clone()).build();
        traffic(&down_cached, &v4, 100);
        let vacated = Registry::fresh(v4.len());
        storms(&vacated, 1024);
        let pinned = Registry::fresh(CAPACITY);
        let pins = v4.iter().map(|&address| pinned.endpoint(address)).collect();
        Self {
            down: all_down(&v4),
            down_cached,
            classic_down: all_down(&v4),
            system_clock: Arc::new(MonotonicClock::new()),
            cached_clock,
            vacated,
            pinned: (pinned, pins),
            failing: all_down(&v4),
            classic_failing: all_down(&v4),
            private: [(); 2].map(|()| Registry::fresh(CAPACITY)),
            private_down: [(); 2].map(|()| all_down(&v4)),
            private_classic: [(); 2].map(|()| {
                let classic = Classic::fresh(CAPACITY);
                traffic(&classic, &v4, 0);
                classic
            }),
            ours,
            classic,
            handles,
            v4,
            v6,
        }
    }
}

fn all_down<C: Contender>(addresses: &[SocketAddr]) -> C {
    let contender = C::fresh(CAPACITY);
    traffic(&contender, addresses, 100);
    contender
}

/// The registry's default.
const CAPACITY: usize = 16_384;
