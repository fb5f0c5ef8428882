//! Sockets: listening, looking names up, dialling, joining two streams.
//!
//! Nothing here knows HTTP, configuration or plans; what is needed of them comes as plain values.

pub mod guard;
pub mod inherit;
pub mod listen;
pub mod relay;
pub mod resolve;
pub mod scratch;
pub mod stream;
pub mod ticks;
pub mod tls;
