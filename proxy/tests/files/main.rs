//! Files of a folder: what is shown, what is not, in which form, and under which conditions.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "../support/folder.rs"]
mod folder;
#[path = "../support/h2.rs"]
mod h2_support;
#[path = "../support/mod.rs"]
mod support;

mod choosing;
mod coding;
mod conditions;
mod hiding;
mod listing;
mod sending;

use self::support::Response;

fn field<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    support::field(&response.head, name)
}
