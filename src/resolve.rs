//! Names to addresses, by a resolver of the caller's choice.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

/// Where a [`Connector`](crate::Connector) looks names up.
///
/// # Examples
///
/// A table, as a test may want it:
///
/// ```
/// use std::io;
/// use std::net::SocketAddr;
///
/// struct Table(Vec<SocketAddr>);
///
/// impl risefall::Resolve for Table {
///     async fn resolve(&self, host: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
///         match host {
///             "service.test" => Ok(self.0.clone()),
///             _ => Err(io::ErrorKind::NotFound.into()),
///         }
///     }
/// }
/// # async fn dial() -> Result<(), risefall::ConnectError> {
/// let registry = risefall::Registry::new(risefall::Policy::default());
/// let table = Table(vec!["192.0.2.7:443".parse().unwrap()]);
/// let stream = registry.connector().resolver(table).connect("service.test", 443).await?;
/// # Ok(()) }
/// ```
pub trait Resolve: Send + Sync {
    /// The addresses of `host` with `port`, best first.
    ///
    /// # Errors
    ///
    /// The name is not found, or nobody knows. An empty list is no error here.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the dial's deadline comes first.
    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// The operating system's resolver, on threads that may block; its order is that of RFC 6724.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}
