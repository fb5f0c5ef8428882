//! An `ArcSwap<HashMap>` with a fast keyed hasher: readers load the current map, whoever changes
//! membership copies it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use super::Contender;
use super::entry::{Entry, Time};

type Map = HashMap<SocketAddr, Arc<Entry>, RandomState>;

pub(crate) struct Copied {
    map: ArcSwap<Map>,
    /// Held while the map is copied: one copy at a time, none for nothing.
    copying: Mutex<()>,
    time: Time,
}

impl Copied {
    fn replace(&self, change: impl FnOnce(&mut Map)) {
        let _alone = self.copying.lock().unwrap_or_else(PoisonError::into_inner);
        let mut map = Map::clone(&self.map.load());
        change(&mut map);
        self.map.store(Arc::new(map));
    }
}

impl Contender for Copied {
    const NAME: &str = "ArcSwap<HashMap>";

    fn fresh(_: usize) -> Self {
        Self {
            map: ArcSwap::default(),
            copying: Mutex::default(),
            time: Time::new(),
        }
    }

    #[inline]
    fn is_down(&self, address: &SocketAddr) -> bool {
        self.map
            .load()
            .get(address)
            .is_some_and(|entry| entry.is_down(&self.time))
    }

    #[inline]
    fn success(&self, address: SocketAddr) {
        let map = self.map.load();
        let found = map.get(&address);
        if found.is_some_and(|entry| entry.succeed(&self.time)) {
            drop(map);
            self.replace(|map| {
                if map.get(&address).is_some_and(|entry| entry.is_retired()) {
                    map.remove(&address);
                }
            });
        }
    }

    #[inline]
    fn failure(&self, address: SocketAddr) {
        let map = self.map.load();
        let found = map.get(&address);
        if found.is_some_and(|entry| entry.fail(&self.time)) {
            return;
        }
        drop(map);
        self.replace(|map| {
            let counted = map
                .get(&address)
                .is_some_and(|entry| entry.fail(&self.time));
            if !counted {
                map.insert(address, Arc::new(Entry::failed(&self.time)));
            }
        });
    }
}
