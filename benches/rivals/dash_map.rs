//! A `DashMap` with a fast keyed hasher. Reads and records of a known address take a shard's read
//! lock; coming and going takes its write lock.

use std::net::SocketAddr;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Place;
use foldhash::fast::RandomState;

use super::Contender;
use super::entry::{Entry, Time};

pub(crate) struct Dash {
    map: DashMap<SocketAddr, Entry, RandomState>,
    time: Time,
}

impl Contender for Dash {
    const NAME: &str = "DashMap";

    fn fresh(_: usize) -> Self {
        Self {
            map: DashMap::default(),
            time: Time::new(),
        }
    }

    #[inline]
    fn is_down(&self, address: &SocketAddr) -> bool {
        self.map
            .get(address)
            .is_some_and(|entry| entry.is_down(&self.time))
    }

    #[inline]
    fn success(&self, address: SocketAddr) {
        let found = self.map.get(&address);
        let retired = found.is_some_and(|entry| entry.succeed(&self.time));
        if retired {
            self.map.remove_if(&address, |_, entry| entry.is_retired());
        }
    }

    #[inline]
    fn failure(&self, address: SocketAddr) {
        let found = self.map.get(&address);
        let counted = found.is_some_and(|entry| entry.fail(&self.time));
        if counted {
            return;
        }
        match self.map.entry(address) {
            Place::Occupied(mut member) => {
                if !member.get().fail(&self.time) {
                    member.insert(Entry::failed(&self.time));
                }
            }
            Place::Vacant(place) => {
                place.insert(Entry::failed(&self.time));
            }
        }
    }
}
