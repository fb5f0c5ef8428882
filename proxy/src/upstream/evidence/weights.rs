//! What servers say that they can take, in answers to checks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// By address.
#[derive(Debug, Default)]
pub(super) struct Weights(Mutex<HashMap<SocketAddr, OwnWeight>>);

/// The part of its weight that one server wants, by its own account.
///
/// In percent. Written by whoever looks after the checks, read by balancers. Ordering: `Relaxed`; the
/// number is the whole message.
#[derive(Clone, Debug)]
pub(super) struct OwnWeight(Arc<AtomicU8>);

impl Weights {
    /// What the server at `address` wants, now and from now on.
    pub(super) fn of(&self, address: SocketAddr) -> OwnWeight {
        let mut known = self.known();
        let whole = || OwnWeight(Arc::new(AtomicU8::new(100)));
        known.entry(address).or_insert_with(whole).clone()
    }

    /// It wants that. Nothing is kept for one that nobody asks for.
    pub(super) fn note(&self, address: SocketAddr, percent: u8) {
        if let Some(weight) = self.known().get(&address) {
            weight.0.store(percent.min(100), Ordering::Relaxed);
        }
    }

    /// Forgets those that nobody asks for any more.
    pub(super) fn tidy(&self) {
        self.known()
            .retain(|_, weight| Arc::strong_count(&weight.0) > 1);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<SocketAddr, OwnWeight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OwnWeight {
    #[inline]
    pub(super) fn percent(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_wants_is_known_to_whoever_asks_for_it() {
        let address = SocketAddr::from(([10, 0, 0, 1], 80));
        let weights = Weights::default();
        // Nobody asks.
        weights.note(address, 7);
        assert!(weights.known().is_empty());
        let one = weights.of(address);
        assert_eq!(one.percent(), 100);
        weights.note(address, 30);
        weights.tidy();
        assert_eq!((one.percent(), weights.of(address).percent()), (30, 30));
        drop(one);
        weights.tidy();
        assert!(weights.known().is_empty());
    }
}
