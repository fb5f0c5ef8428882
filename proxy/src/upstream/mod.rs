//! What stands between a request and its server: connections to origins, kept for the next one.

pub mod pool;
