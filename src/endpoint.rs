//! A handle to one address.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::address::Key;
use crate::outcome::Cause;
use crate::record::Record;
use crate::shared::Shared;
use crate::snapshot::Status;
use crate::sync::Link;

/// A handle to one address: asking it is one atomic load, without a hash or a walk.
///
/// It pins the address's record, so keep handles for the servers you have chosen yourself (the
/// members of an upstream), and ask by address where clients choose. A pinned record is free of
/// the capacity; it costs by-address readers of its bucket a short walk.
#[derive(Clone)]
pub struct Endpoint {
    key: Key,
    record: Link<Record>,
    shared: Arc<Shared>,
}

impl Endpoint {
    pub(crate) fn new(key: Key, shared: &Arc<Shared>) -> Self {
        Self {
            key,
            record: shared.pin(key),
            shared: Arc::clone(shared),
        }
    }

    /// The address, in its canonical form.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.key.address()
    }

    /// As [`Registry::is_fall_down`](crate::Registry::is_fall_down).
    ///
    /// # Progress
    ///
    /// Wait-free: one load while the address is up.
    #[inline]
    #[must_use]
    pub fn is_fall_down(&self) -> bool {
        self.shared.is_down(self.record.word())
    }

    /// As [`Registry::add_fall_down`](crate::Registry::add_fall_down).
    ///
    /// # Progress
    ///
    /// Lock-free.
    pub fn add_fall_down(&self) {
        self.record_failure(Cause::Reported);
    }

    /// As [`Registry::record_failure`](crate::Registry::record_failure).
    ///
    /// # Progress
    ///
    /// Lock-free.
    pub fn record_failure(&self, cause: Cause) {
        let shared = &*self.shared;
        shared.fail(
            &self.record,
            self.record.word(),
            self.key,
            shared.now(),
            cause,
        );
    }

    /// As [`Registry::add_rise_up`](crate::Registry::add_rise_up).
    ///
    /// # Progress
    ///
    /// Lock-free; wait-free and without a write while nothing is held against the address.
    #[inline]
    pub fn add_rise_up(&self) {
        self.shared
            .record_success(&self.record, self.record.word(), self.key);
    }

    /// As [`Registry::status`](crate::Registry::status).
    ///
    /// # Progress
    ///
    /// Wait-free.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared
            .status(self.key, &self.record, self.record.word())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.status()).finish()
    }
}
