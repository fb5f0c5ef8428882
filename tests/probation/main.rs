//! The registry against the sequential model of its rules: random operations by up to three
//! policies over the same evidence, one thread, and a manual clock that likes to stop one tick
//! before, on and after whatever ends next.
//!
//! After every operation every address must read as the model says through every policy, and
//! subscribers must have been told exactly the changes that the model made. Permits and attempts
//! are held across operations and ended late.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod agreement;
#[path = "../model/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test uses its part")]
mod model;
mod moves;
mod operations;
mod world;

use std::net::SocketAddr;

const ADDRESSES: usize = 8;

fn address(n: usize) -> SocketAddr {
    match n % 2 {
        0 => format!("10.0.0.{n}:80").parse().unwrap(),
        _ => format!("[2001:db8::{n:x}]:80").parse().unwrap(),
    }
}
