//! What an operator has of a running process: the admin API, its logs, its memory, its supervisor.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "../support/binary.rs"]
mod binary;
#[path = "../support/configured.rs"]
mod configured;

mod admin;
mod commands;
mod metrics;
mod process;
