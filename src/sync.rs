//! The parts that a model checker replaces: atomics, shared pointers, once-cells and the ledger's
//! map. Everything concurrent in this crate is built from what stands here, and nothing else
//! imports a checker.
//!
//! Under `cfg(risefall_loom)` the atomics are loom's, under `cfg(risefall_shuttle)` shuttle's, and
//! the map is a `HashMap` under the checker's mutex: neither sees into a `DashMap`, and both would
//! hang on its locks.

pub(crate) use imp::{
    AtomicU8, AtomicU64, AtomicUsize, Ledger, Link, Mutex, OnceBox, OnceLock, Ordering,
};

/// What the ledger did with a key.
pub(crate) enum Entered<V> {
    /// It was there already.
    Present(V),
    /// It was made and put in.
    Created(V),
    /// It could not be made; nothing changed.
    Refused,
}

/// An ordering that the models can weaken by name, to show that they would notice.
///
/// `.ci/long` builds the models once for each name with `RISEFALL_WEAKEN` set to it, and expects
/// every one of these runs to fail. In a normal build this is the ordering itself.
#[cfg(not(risefall_loom))]
#[inline(always)]
pub(crate) const fn order(_name: &str, ordering: Ordering) -> Ordering {
    ordering
}

#[cfg(risefall_loom)]
pub(crate) const fn order(name: &str, ordering: Ordering) -> Ordering {
    match option_env!("RISEFALL_WEAKEN") {
        Some(weak) if same(weak.as_bytes(), name.as_bytes()) => Ordering::Relaxed,
        _ => ordering,
    }
}

/// A `SeqCst` fence that the models can leave out by name.
#[cfg(not(risefall_loom))]
pub(crate) fn fence(_name: &str) {
    std::sync::atomic::fence(Ordering::SeqCst);
}

#[cfg(risefall_loom)]
pub(crate) fn fence(name: &str) {
    if order(name, Ordering::SeqCst) == Ordering::SeqCst {
        loom::sync::atomic::fence(Ordering::SeqCst);
    }
}

#[cfg(risefall_loom)]
const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        #[allow(clippy::indexing_slicing)] // `at` is below both lengths; const code has no `get`
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(not(any(risefall_loom, risefall_shuttle)))]
mod imp {
    use std::hash::{BuildHasher, Hash};

    use dashmap::DashMap;
    use dashmap::mapref::entry::Entry;

    use super::Entered;

    pub(crate) use once_cell::race::OnceBox;
    pub(crate) use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use std::sync::{Arc as Link, Mutex, OnceLock};

    /// Who is a member: a map that is locked shard by shard, and only by those who change it or
    /// list it.
    pub(crate) struct Ledger<K, V, S> {
        map: DashMap<K, V, S>,
    }

    impl<K: Eq + Hash, V: Clone, S: BuildHasher + Clone> Ledger<K, V, S> {
        pub(crate) fn new(hasher: S) -> Self {
            Self {
                map: DashMap::with_hasher(hasher),
            }
        }

        /// Finds `key` or puts in what `create` makes, under the shard's lock. `create` must not
        /// come back to the ledger.
        pub(crate) fn enter(&self, key: K, create: impl FnOnce() -> Option<V>) -> Entered<V> {
            match self.map.entry(key) {
                Entry::Occupied(member) => Entered::Present(member.get().clone()),
                Entry::Vacant(place) => match create() {
                    Some(value) => Entered::Created(place.insert(value).value().clone()),
                    None => Entered::Refused,
                },
            }
        }

        /// Removes `key` if `may` agrees, under the shard's lock.
        pub(crate) fn remove_if(&self, key: &K, may: impl FnOnce(&V) -> bool) -> bool {
            self.map.remove_if(key, |_, value| may(value)).is_some()
        }

        /// Shows every member once, a shard at a time, under its lock for reading.
        pub(crate) fn for_each(&self, mut see: impl FnMut(&V)) {
            self.map.iter().for_each(|member| see(member.value()));
        }

        pub(crate) fn len(&self) -> usize {
            self.map.len()
        }
    }
}

#[cfg(any(risefall_loom, risefall_shuttle))]
mod imp {
    use std::collections::HashMap;
    use std::hash::{BuildHasher, Hash};

    #[cfg(risefall_loom)]
    use loom as checker;
    #[cfg(risefall_shuttle)]
    use shuttle as checker;

    use checker::sync::atomic::AtomicBool;

    use super::Entered;

    pub(crate) use checker::sync::Mutex;
    pub(crate) use checker::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
    #[cfg(risefall_loom)]
    pub(crate) use loom::sync::Arc as Link;
    // shuttle need not see reference counts: it looks for schedules, not for lost releases.
    #[cfg(risefall_shuttle)]
    pub(crate) use std::sync::Arc as Link;

    pub(crate) struct Ledger<K, V, S> {
        map: Mutex<HashMap<K, V, S>>,
    }

    #[allow(clippy::unwrap_used)] // a poisoned lock is a failed model
    impl<K: Eq + Hash, V: Clone, S: BuildHasher + Clone> Ledger<K, V, S> {
        pub(crate) fn new(hasher: S) -> Self {
            Self {
                map: Mutex::new(HashMap::with_hasher(hasher)),
            }
        }

        pub(crate) fn enter(&self, key: K, create: impl FnOnce() -> Option<V>) -> Entered<V> {
            let mut map = self.map.lock().unwrap();
            if let Some(value) = map.get(&key) {
                return Entered::Present(value.clone());
            }
            match create() {
                Some(value) => {
                    map.insert(key, value.clone());
                    Entered::Created(value)
                }
                None => Entered::Refused,
            }
        }

        pub(crate) fn remove_if(&self, key: &K, may: impl FnOnce(&V) -> bool) -> bool {
            let mut map = self.map.lock().unwrap();
            let agreed = map.get(key).is_some_and(may);
            if agreed {
                map.remove(key);
            }
            agreed
        }

        pub(crate) fn for_each(&self, see: impl FnMut(&V)) {
            self.map.lock().unwrap().values().for_each(see);
        }

        pub(crate) fn len(&self) -> usize {
            self.map.lock().unwrap().len()
        }
    }

    /// A box that whoever needs it first makes. Behind a lock, whose ordering the checker sees: the
    /// real one lets several make theirs and keeps the first.
    pub(crate) struct OnceBox<T> {
        cell: std::sync::OnceLock<Box<T>>,
        ready: AtomicBool,
        making: Mutex<()>,
    }

    #[allow(clippy::unwrap_used)] // a poisoned lock is a failed model
    impl<T> OnceBox<T> {
        pub(crate) fn new() -> Self {
            Self {
                cell: std::sync::OnceLock::new(),
                ready: AtomicBool::new(false),
                making: Mutex::new(()),
            }
        }

        pub(crate) fn get(&self) -> Option<&T> {
            let is_ready = self.ready.load(Ordering::Acquire);
            self.cell.get().filter(|_| is_ready).map(|made| &**made)
        }

        pub(crate) fn get_or_init(&self, make: impl FnOnce() -> Box<T>) -> &T {
            if let Some(made) = self.get() {
                return made;
            }
            let _making = self.making.lock().unwrap();
            let made = self.cell.get_or_init(make);
            self.ready.store(true, Ordering::Release);
            made
        }
    }

    /// std's cell behind a flag that the checker can see: the flag carries the ordering.
    pub(crate) struct OnceLock<T> {
        cell: std::sync::OnceLock<T>,
        ready: AtomicBool,
    }

    impl<T> OnceLock<T> {
        pub(crate) fn new() -> Self {
            Self {
                cell: std::sync::OnceLock::new(),
                ready: AtomicBool::new(false),
            }
        }

        pub(crate) fn get(&self) -> Option<&T> {
            if self.ready.load(Ordering::Acquire) {
                self.cell.get()
            } else {
                None
            }
        }

        pub(crate) fn take(&mut self) -> Option<T> {
            self.cell.take()
        }

        pub(crate) fn set(&self, value: T) -> Result<(), T> {
            self.cell.set(value)?;
            self.ready.store(true, Ordering::Release);
            Ok(())
        }
    }
}
