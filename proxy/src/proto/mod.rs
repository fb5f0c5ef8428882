//! Codecs: bytes in, decisions and bytes out.
//!
//! Everything here is a plain function or a small state machine over byte slices, so that every
//! rule about what a peer may send is tested without a socket and fuzzed as it is. Reading,
//! writing, deadlines and buffers belong to the caller.
//!
//! Two rules hold for every codec. A length that came from a peer is bounded before anything is
//! kept or reserved for it. The verdict on some bytes does not depend on how they were cut into
//! reads.

pub mod target;

pub use target::{Host, HostError, Name, Target, TargetError};
