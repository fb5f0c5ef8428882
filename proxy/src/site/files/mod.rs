//! Static files: from the path of a request to what is answered.

pub mod cache_rule;
pub mod encode;
pub mod kind;
pub mod listing;
