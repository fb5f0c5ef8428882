//! Servers are asked whether they work, and what comes of it for clients.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "../support/admin.rs"]
mod admin;
#[path = "../support/h2.rs"]
mod h2s;
#[path = "../support/sites.rs"]
mod sites;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tls.rs"]
mod tls;

mod agent;
mod kinds;
mod service;
mod verdicts;
