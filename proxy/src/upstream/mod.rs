//! Servers: groups of them, which one is next, the way there, and connections that are kept.

pub mod balance;
pub mod dial;
pub mod group;
pub mod groups;
pub mod parent;
pub mod pool;
