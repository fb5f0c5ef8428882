//! Interleavings of the registry, exhaustively up to a bound on preemptions: `.ci/loom`.
//!
//! Every model uses a capacity of at most four, so that all addresses share one bucket, and 1 or 2
//! as thresholds. Each ordering that `src/sync.rs` lets a build weaken makes one of these fail
//! (`.ci/long`).
#![cfg(risefall_loom)]
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod evidence;
mod groups;
mod probes;
mod world;
