//! Interleavings at random: more threads and more of the API than loom can go through whole.
//! `.ci/shuttle`.
//!
//! A failing schedule is printed; `shuttle::replay` runs it again.
#![cfg(risefall_shuttle)]
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[cfg(feature = "checks")] // `.ci/shuttle` builds it
mod checks;
mod groups;
mod registry;
mod world;
