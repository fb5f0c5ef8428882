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
//! With the default feature `tokio`, [`Registry::connect`] resolves, skips what is down, races the
//! rest as RFC 8305 has it and reports every outcome; [`HealthCheck::connect`] does so on one
//! process-wide registry, as a drop-in for `TcpStream::connect`.
//!
//! # Which call for whom
//!
//! | you | call |
//! |---|---|
//! | want one line changed | [`HealthCheck::connect`] |
//! | dial by name or address | [`Registry::connect`], or [`Registry::connector`] with a resolver and limits of your own |
//! | dial by yourself | [`Registry::try_admit`], then [`Permit::end`] or [`Registry::attempt`] and [`Attempt::end`] |
//! | balance over servers you know | a [`Group`]: how many may be left out, who is worse than the others, who warms up |
//! | do all of that yourself | an [`Endpoint`] for each server: asking it is one load |
//! | speak TLS, or dial what is no TCP | [`Registry::connector`] with a [`Dial`] |
//! | use hyper-util's client, or call tower services | `HealthConnector` (feature `hyper-util`), `tower::HealthLayer` (feature `tower`) |
//! | only count | [`Registry::is_fall_down`], [`add_fall_down`](Registry::add_fall_down), [`add_rise_up`](Registry::add_rise_up) |
//! | operate | [`Registry::status`], [`journal`](Registry::journal), [`force_down`](Registry::force_down), [`drain`](Registry::drain), [`reset`](Registry::reset) |
//! | observe | [`Registry::subscribe`] |
//! | ask servers before clients do | `check` (feature `checks`) |
//! | restart without forgetting | [`Registry::export`], [`import`](Registry::import) (feature `serde` writes them) |
//!
//! ```
//! # use risefall::*;
//! # let registry = Registry::new(Policy::default());
//! # let address = "192.0.2.7:443".parse().unwrap();
//! # fn dial() -> Result<(), std::io::Error> { Ok(()) }
//! match registry.try_admit(&address) {
//!     Admission::Pass => {
//!         let attempt = registry.attempt(&address);
//!         attempt.end(match dial() {
//!             Ok(()) => Outcome::Success,
//!             Err(error) => Outcome::of(&error), // refused, timed out ... or our own fault
//!         });
//!     }
//!     // It was down, and this caller is the one to try it.
//!     Admission::Probe(permit) => permit.end(match dial() {
//!         Ok(()) => Outcome::Success,
//!         Err(error) => Outcome::of(&error),
//!     }),
//!     Admission::Deny { state, retry_in } => println!("{state}, again in {retry_in:?}"),
//! }
//! ```
//!
//! By default a down address is free for everybody again after a minute, as in the classic design.
//! [`Recovery::Probe`] lets one caller at a time find out instead, and backs off from an address
//! that stays dead; servers want that. [`states`] tells what an address goes through, [`groups`] what
//! several do together, [`internals`] how that is kept, [`orderings`] why each atomic is as strong as
//! it is.
//!
//! # What it promises
//!
//! | call | progress |
//! |---|---|
//! | [`Registry::is_fall_down`], [`Endpoint::is_fall_down`] | wait-free: a bounded number of loads, no write, no allocation, no clock unless the address was taken down |
//! | [`Registry::try_admit`] | wait-free while the address is healthy; lock-free otherwise, and writes only to grant a probe |
//! | [`Registry::attempt`] | wait-free; reads the clock |
//! | [`Registry::add_rise_up`], a success of [`Attempt::end`] | lock-free; on a healthy address wait-free and writes nothing |
//! | [`Registry::add_fall_down`], other outcomes of [`Attempt::end`], overrides | lock-free once an address is tracked; its first takes a shard lock that no reader waits on |
//! | [`Permit::end`] | lock-free |
//! | [`Member::is_eligible`], [`Member::weight`], [`Members::choose`] | wait-free, no write, no allocation |
//! | [`Registry::statuses`], [`subscribe`](Registry::subscribe), [`export`](Registry::export) | one shard lock after another, for reading |
//!
//! Healthy addresses have no record at all: memory follows the number of *failing* addresses (130 to
//! 155 bytes each, and 150 more for the history of those that went down), and is capped.

mod address;
mod admit;
#[cfg(feature = "checks")]
pub mod check;
mod clock;
#[cfg(feature = "tokio")]
mod connect;
mod endpoint;
mod error;
mod event;
mod gate;
mod group;
mod health_check;
#[cfg(feature = "hyper-util")]
mod http_connector;
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
#[cfg(feature = "tower")]
pub mod tower;
mod usual;
mod word;

pub use admit::{Admission, Attempt, Permit};
pub use clock::{CachedClock, Clock, ManualClock, MonotonicClock};
#[cfg(feature = "tokio")]
pub use connect::{Connector, Dial, DialEnd, TcpDialler};
pub use endpoint::Endpoint;
pub use error::{AlreadyInUse, PolicyError};
#[cfg(feature = "tokio")]
pub use error::{ConnectError, DialFailure, DialFault};
pub use event::{Transition, Transitions};
pub use group::{
    Denied, Effect, Group, GroupBuilder, GroupCounts, GroupPolicy, GroupPolicyBuilder, Member,
    MemberStatus, Members, Mode, Outlier, Right, Rule, Sweep,
};
pub use health_check::HealthCheck;
#[cfg(feature = "hyper-util")]
pub use http_connector::{Connecting, HealthConnector, HttpConnectError};
pub use journal::JournalEntry;
pub use outcome::{Cause, Outcome, Weight};
pub use policy::{Policy, PolicyBuilder, Recovery};
pub use registry::{Registry, RegistryBuilder};
#[cfg(feature = "tokio")]
pub use resolve::{Resolve, SystemResolver};
pub use snapshot::{Imported, LastFailure, Snapshot, SnapshotEntry, SnapshotError, State, Status};

#[doc = include_str!("docs/states.md")]
pub mod states {}

#[doc = include_str!("docs/groups.md")]
pub mod groups {}

#[doc = include_str!("docs/internals.md")]
pub mod internals {}

#[doc = include_str!("docs/orderings.md")]
pub mod orderings {}

/// The README's code, so that it stays true.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
pub enum Readme {}

/// The same of what tells how it is embedded.
#[cfg(all(doctest, feature = "http", feature = "hyper-util"))]
#[doc = include_str!("../docs/embed.md")]
pub enum Embed {}
