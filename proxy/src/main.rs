//! The `risefall` binary.
fn main() {}
