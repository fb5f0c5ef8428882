//! HTTP requests in absolute form: sent to the right origin, in the right form, and streamed.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod faults;
mod requests;
