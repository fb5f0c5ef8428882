//! Which servers are members of a group: those that any worker has found.
//!
//! Workers look names up each for itself, and may be told different addresses. What one of them
//! would send requests to is a member, and what none would is none: it must not count for how many
//! may be left out at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::Words;

/// How many have found each address.
#[derive(Debug, Default)]
pub(super) struct Present(Mutex<BTreeMap<SocketAddr, usize>>);

/// The servers that one worker has found, members of their group for as long as this is kept.
///
/// A list that takes the place of another is to begin before that ends: what is known of a server
/// that is in both is kept.
#[derive(Debug)]
#[must_use = "they are members only while it is kept"]
pub struct Presence {
    words: Arc<Words>,
    addresses: Vec<SocketAddr>,
}

impl Presence {
    pub(super) fn begin(words: &Arc<Words>, addresses: Vec<SocketAddr>) -> Self {
        words.change(|known| {
            for address in &addresses {
                *known.entry(*address).or_default() += 1;
            }
        });
        Self {
            words: Arc::clone(words),
            addresses,
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.words.change(|known| {
            for address in &self.addresses {
                if let Some(count) = known.get_mut(address) {
                    *count -= 1;
                }
            }
            known.retain(|_, count| *count > 0);
        });
    }
}

impl Words {
    /// Changes who has found what; the members follow under the same lock, so that no two who
    /// change it pass each other.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<SocketAddr, usize>)) {
        let mut known = self
            .present
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before: Vec<_> = known.keys().copied().collect();
        change(&mut known);
        if !known.keys().eq(&before) {
            // Weights are the balancers' own.
            self.group.set(known.keys().map(|&address| (address, 1)));
        }
    }
}

#[cfg(test)]
mod tests {
    use risefall::{Cause, Outcome, Policy, Registry};

    use super::super::{Evidence, Evidences};
    use super::*;
    use crate::plan::upstream::Service;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn evidence() -> Arc<Evidence> {
        let service = Service::by(Policy::builder().max_fails(1).build().unwrap());
        Evidences::default().get("api", &service, None, &Registry::new(Policy::default()))
    }

    fn members(evidence: &Evidence) -> Vec<u16> {
        let members = evidence.group().members();
        members.iter().map(|one| one.address().port()).collect()
    }

    #[test]
    fn members_are_those_that_somebody_has_found() {
        let evidence = evidence();
        let one = evidence.enter(vec![address(1), address(2)]);
        let other = evidence.enter(vec![address(2), address(3)]);
        assert_eq!(members(&evidence), [1, 2, 3]);
        drop(one);
        assert_eq!(members(&evidence), [2, 3]);
        assert!(evidence.handle(address(1)).is_none());
        drop(other);
        assert!(members(&evidence).is_empty());
    }

    #[test]
    fn who_is_in_the_next_list_as_well_keeps_what_is_held_against_it() {
        let evidence = evidence();
        let before = evidence.enter(vec![address(1), address(2)]);
        let fail = |port| {
            let handle = evidence.handle(address(port)).unwrap();
            let failed = Outcome::Failed(Cause::BadGateway);
            handle.end(handle.admit().unwrap(), failed, std::time::Duration::ZERO);
        };
        fail(1);
        let after = evidence.enter(vec![address(1), address(3)]);
        drop(before);
        assert!(evidence.handle(address(1)).unwrap().is_down());
        // One that has left and comes again has nothing against it.
        drop(after);
        let again = evidence.enter(vec![address(1)]);
        assert!(!evidence.handle(address(1)).unwrap().is_down());
        drop(again);
    }
}
