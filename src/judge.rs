//! The seam between dialling and judging. Hidden: it exists so that benches can put a rival in the
//! registry's place and drive the same dials through it.

use std::net::SocketAddr;

pub use crate::connect::{connect, connect_timeout};
use crate::outcome::Cause;
use crate::policy::Policy;
use crate::registry::Registry;
use crate::snapshot::Status;

/// What a dial asks and tells.
pub trait Judge: Send + Sync {
    /// Whether the address must not be dialled.
    fn is_fall_down(&self, address: &SocketAddr) -> bool;
    /// A dial was answered.
    fn record_success(&self, address: SocketAddr);
    /// A dial failed by the peer's fault.
    fn record_failure(&self, address: SocketAddr, cause: Cause);
    /// The address at this moment.
    fn status(&self, address: &SocketAddr) -> Status;
    /// Every address with something against it.
    fn statuses(&self) -> Vec<Status>;
    /// First failures that found no room.
    fn overflow(&self) -> u64;
    /// The policy in force.
    fn policy(&self) -> &Policy;
}

impl Judge for Registry {
    fn is_fall_down(&self, address: &SocketAddr) -> bool {
        Registry::is_fall_down(self, address)
    }

    fn record_success(&self, address: SocketAddr) {
        self.add_rise_up(address);
    }

    fn record_failure(&self, address: SocketAddr, cause: Cause) {
        Registry::record_failure(self, address, cause);
    }

    fn status(&self, address: &SocketAddr) -> Status {
        Registry::status(self, address)
    }

    fn statuses(&self) -> Vec<Status> {
        Registry::statuses(self)
    }

    fn overflow(&self) -> u64 {
        Registry::overflow(self)
    }

    fn policy(&self) -> &Policy {
        Registry::policy(self)
    }
}
