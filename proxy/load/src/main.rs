//! A small load generator for proxies.
fn main() {}
