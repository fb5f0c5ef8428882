//! A full proxy on the risefall health registry.
pub mod proto;
