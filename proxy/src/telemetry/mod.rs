//! What the operator sees of the running proxy: access lines and logs.

pub mod access;
pub mod counters;
pub mod log;
mod sink;
pub mod tally;
