//! A full proxy on the risefall health registry.

#![forbid(unsafe_code)]

pub mod error;
pub mod forward;
pub mod net;
pub mod plan;
pub mod proto;
pub mod telemetry;
pub mod upstream;
