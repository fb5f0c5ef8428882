//! Servers: groups of them, which one is next, the way there, and connections that are kept.

pub mod balance;
pub mod budget;
pub mod check;
pub mod dial;
pub mod evidence;
pub mod group;
pub mod groups;
pub mod judge;
mod letter;
pub mod lookup;
pub mod member;
pub mod members;
mod opening;
pub mod parent;
pub mod pool;
pub mod queue;
mod recent;
pub mod secure;
pub mod send;
pub mod upload;
