//! The classic calls on one process-wide registry: the only global of this crate.

use std::net::SocketAddr;
use std::sync::OnceLock;

use crate::error::AlreadyInUse;
use crate::policy::Policy;
use crate::registry::Registry;

/// The process-wide registry, for programs that want one line changed and nothing else:
/// `TcpStream::connect(target)` becomes `HealthCheck::connect(target)`.
///
/// Whoever embeds a registry of their own uses [`Registry`].
///
/// ```
/// use risefall::HealthCheck;
///
/// let address = "192.0.2.9:80".parse().unwrap();
/// HealthCheck::add_fall_down(address);
/// assert!(!HealthCheck::is_fall_down(&address)); // one failure of three
/// ```
#[derive(Debug)]
pub enum HealthCheck {}

static REGISTRY: OnceLock<Registry> = OnceLock::new();

impl HealthCheck {
    /// Sets the policy, before first use.
    ///
    /// # Errors
    ///
    /// The registry is in use or configured already; it keeps what it has.
    pub fn configure(policy: Policy) -> Result<(), AlreadyInUse> {
        REGISTRY
            .set(Registry::new(policy))
            .map_err(|_| AlreadyInUse)
    }

    /// The registry itself, for everything that has no shorthand here.
    #[must_use]
    pub fn registry() -> &'static Registry {
        REGISTRY.get_or_init(|| Registry::new(Policy::default()))
    }

    /// [`Registry::is_fall_down`] of the process-wide registry.
    #[must_use]
    pub fn is_fall_down(address: &SocketAddr) -> bool {
        Self::registry().is_fall_down(address)
    }

    /// [`Registry::add_fall_down`] of the process-wide registry.
    pub fn add_fall_down(address: SocketAddr) {
        Self::registry().add_fall_down(address);
    }

    /// [`Registry::add_rise_up`] of the process-wide registry.
    pub fn add_rise_up(address: SocketAddr) {
        Self::registry().add_rise_up(address);
    }
}

#[cfg(feature = "tokio")]
mod dial {
    use std::io;
    use std::time::Duration;

    use tokio::net::{TcpStream, ToSocketAddrs};

    use super::HealthCheck;

    impl HealthCheck {
        /// Stands in for `TcpStream::connect`: [`Registry::connect`](crate::Registry::connect) of
        /// the process-wide registry.
        ///
        /// # Errors
        ///
        /// Of the kind that the last address's dial had, or would have had. The source downcasts
        /// to [`ConnectError`](crate::ConnectError), which has them all.
        ///
        /// # Cancel safety
        ///
        /// As [`Registry::connect`](crate::Registry::connect).
        pub async fn connect<A: ToSocketAddrs>(target: A) -> io::Result<TcpStream> {
            Self::registry()
                .connect(target)
                .await
                .map_err(io::Error::from)
        }

        /// As [`connect`](Self::connect), dialling each address no longer than `timeout` in place
        /// of the policy's `connect_timeout`.
        ///
        /// # Errors
        ///
        /// As [`connect`](Self::connect).
        ///
        /// # Cancel safety
        ///
        /// As [`Registry::connect`](crate::Registry::connect).
        pub async fn connect_timeout<A: ToSocketAddrs>(
            target: A,
            timeout: Duration,
        ) -> io::Result<TcpStream> {
            Self::registry()
                .connect_timeout(target, timeout)
                .await
                .map_err(io::Error::from)
        }
    }
}
