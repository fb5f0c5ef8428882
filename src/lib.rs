//! A lock-free health registry: which network addresses are worth dialling.
//!
//! A dead server costs each caller seconds, because the operating system keeps dialling it. This
//! crate remembers, per address, how the last dials went, and answers *is this address down?* in
//! nanoseconds without ever making a reader wait.
//!
//! ```
//! use risefall::{Policy, Registry};
//!
//! let registry = Registry::new(Policy::default()); // 3 failures, 2 rises, 60 s
//! let address = "192.0.2.7:443".parse().unwrap();
//!
//! assert!(!registry.is_fall_down(&address)); // unknown: up
//! for _ in 0..3 {
//!     registry.add_fall_down(address);
//! }
//! assert!(registry.is_fall_down(&address)); // three in a row: down for 60 s
//! ```
//!
//! With the default feature `tokio`, [`Registry::connect`] resolves, skips what is down, dials the
//! rest and reports every outcome; [`HealthCheck::connect`] does so on one process-wide registry,
//! as a drop-in for `TcpStream::connect`.
//!
//! # What it promises
//!
//! | call | progress |
//! |---|---|
//! | [`Registry::is_fall_down`], [`Endpoint::is_fall_down`] | wait-free: a bounded number of loads, no write, no allocation, no clock unless the address is down |
//! | [`Registry::add_rise_up`] and its like | lock-free; on a healthy address wait-free and writes nothing |
//! | [`Registry::add_fall_down`] and its like | lock-free once an address is tracked; its first failure takes a shard lock that no reader waits on |
//!
//! Healthy addresses have no record at all: memory follows the number of *failing* addresses, and
//! is capped.

mod address;
mod admit;
mod clock;
#[cfg(feature = "tokio")]
mod connect;
mod endpoint;
mod error;
mod event;
mod health_check;
mod index;
mod journal;
#[cfg(feature = "tokio")]
#[doc(hidden)]
pub mod judge;
mod outcome;
mod policy;
mod record;
mod registry;
#[cfg(feature = "tokio")]
mod resolve;
mod shared;
mod snapshot;
mod state;
mod sync;
mod usual;
mod word;

pub use admit::{Admission, Attempt, Permit};
pub use clock::{CachedClock, Clock, ManualClock, MonotonicClock};
#[cfg(feature = "tokio")]
pub use connect::Connector;
pub use endpoint::Endpoint;
pub use error::{AlreadyInUse, PolicyError};
#[cfg(feature = "tokio")]
pub use error::{ConnectError, DialFailure, DialFault};
pub use event::{Transition, Transitions};
pub use health_check::HealthCheck;
pub use journal::JournalEntry;
pub use outcome::{Cause, Outcome, Weight};
pub use policy::{Policy, PolicyBuilder, Recovery};
pub use registry::{Registry, RegistryBuilder};
#[cfg(feature = "tokio")]
pub use resolve::{Resolve, SystemResolver};
pub use snapshot::{Imported, LastFailure, Snapshot, SnapshotEntry, SnapshotError, State, Status};

#[doc = include_str!("docs/internals.md")]
pub mod internals {}

/// The README's code, so that it stays true.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
pub enum Readme {}
