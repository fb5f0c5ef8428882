//! A full proxy on the risefall health registry.

#![forbid(unsafe_code)]

pub mod error;
pub mod plan;
pub mod proto;
