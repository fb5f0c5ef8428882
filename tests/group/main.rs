//! Groups: the cap, failing open, slow start, outliers, who joins and leaves.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#![cfg(not(any(risefall_loom, risefall_shuttle)))]

mod ejections;
mod failing_open;
mod members;
mod outliers;
mod slots;
mod weights;
mod world;
