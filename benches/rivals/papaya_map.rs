//! A papaya `HashMap` with a fast keyed hasher: lock-free, each call pins a guard.

use std::net::SocketAddr;

use foldhash::fast::RandomState;
use papaya::{HashMap, Operation};

use super::Contender;
use super::entry::{Entry, Time};

pub(crate) struct Papaya {
    map: HashMap<SocketAddr, Entry, RandomState>,
    time: Time,
}

impl Contender for Papaya {
    const NAME: &str = "papaya";

    fn fresh(_: usize) -> Self {
        Self {
            map: HashMap::default(),
            time: Time::new(),
        }
    }

    #[inline]
    fn is_down(&self, address: &SocketAddr) -> bool {
        let map = self.map.pin();
        map.get(address)
            .is_some_and(|entry| entry.is_down(&self.time))
    }

    #[inline]
    fn success(&self, address: SocketAddr) {
        let map = self.map.pin();
        let found = map.get(&address);
        if found.is_some_and(|entry| entry.succeed(&self.time)) {
            // Refused if the address has failed anew: then its new entry stays.
            let _ = map.remove_if(&address, |_, entry| entry.is_retired());
        }
    }

    #[inline]
    fn failure(&self, address: SocketAddr) {
        let map = self.map.pin();
        let found = map.get(&address);
        if found.is_some_and(|entry| entry.fail(&self.time)) {
            return;
        }
        map.compute(address, |found| match found {
            Some((_, entry)) if entry.fail(&self.time) => Operation::Abort(()),
            _ => Operation::Insert(Entry::failed(&self.time)),
        });
    }
}
