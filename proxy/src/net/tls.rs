//! TLS: identities that listeners show, and what servers are asked with.
//!
//! An [`Identity`] is a certificate with its key, kept as its two files are: [`refresh_all`] is
//! called every second or so and exchanges what changed while listeners run. A [`ServerTls`] is what
//! one listener answers handshakes with, shared by all workers so that any of them resumes what
//! another began. A [`ClientTls`] is how servers of a group are asked.
//!
//! Rules in force: the cryptography is aws-lc-rs, named wherever a configuration is made and never
//! taken from the process; the post-quantum hybrid X25519MLKEM768 comes first; servers are always
//! verified; no early data (0-RTT), which an attacker could replay.

mod client;
mod error;
mod files;
#[cfg(test)]
pub(crate) mod fixture;
mod identity;
mod keep;
mod names;
mod server;
mod stamp;

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};

pub use client::{ClientSpec, ClientTls};
pub use error::TlsError;
pub use identity::{Identity, Shown};
pub use keep::{Refreshed, refresh_all};
pub use names::Names;
pub use server::ServerTls;

/// Which versions a listener speaks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Versions {
    /// TLS 1.2 and 1.3.
    #[default]
    From12,
    /// TLS 1.3 alone.
    Only13,
}

impl Versions {
    fn spoken(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::From12 => vec![&TLS13, &TLS12],
            Self::Only13 => vec![&TLS13],
        }
    }
}

/// The one cryptography of this proxy.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
