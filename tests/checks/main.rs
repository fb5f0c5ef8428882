//! Each kind of check against servers that are well, ill, silent, early, slow or talk nonsense; and
//! the runner that makes them.
//!
//! A check whose end is a deadline has a short one; all others have one that never comes.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod kinds;
mod running;
mod servers;
