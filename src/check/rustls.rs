//! TLS for checks by rustls, with settings and cryptography of the caller's choice.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::connect::{Connect, Protocols, dial};
use super::definition::Tls;

/// TCP, and TLS by rustls.
#[derive(Clone, Debug, Default)]
pub struct Rustls {
    profiles: HashMap<String, TlsProfile>,
}

/// Settings of TLS, once for each choice of protocols: what is offered is part of them. For a
/// connector of one's own, whose settings change while it is in use.
#[derive(Clone, Debug)]
pub struct TlsProfile {
    none: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Rustls {
    /// Speaks TLS as `config` says, where a check names no profile.
    #[must_use]
    pub fn new(config: &ClientConfig) -> Self {
        Self::default().profile("", config)
    }

    /// Speaks TLS as `config` says, where a check names this profile. Its list of protocols is
    /// replaced by what the check speaks.
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>, config: &ClientConfig) -> Self {
        self.profiles.insert(name.into(), TlsProfile::new(config));
        self
    }
}

impl TlsProfile {
    /// `config` with its list of protocols replaced, the sessions shared.
    #[must_use]
    pub fn new(config: &ClientConfig) -> Self {
        let offering = |protocols: Protocols| {
            let mut config = config.clone();
            let names = protocols.names().iter();
            config.alpn_protocols = names.map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Self {
            none: offering(Protocols::None),
            http1: offering(Protocols::Http1),
            http2: offering(Protocols::Http2),
        }
    }

    /// Speaks TLS over `plain` with the server `name`, as [`Connect::secure`] is to.
    ///
    /// # Errors
    ///
    /// Those of [`Connect::secure`]; [`io::ErrorKind::Unsupported`] if `name` is neither a name nor
    /// an address.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the connection is closed.
    pub async fn secure(
        &self,
        plain: TcpStream,
        name: &str,
        protocols: Protocols,
    ) -> io::Result<TlsStream<TcpStream>> {
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| unusable(format!("{name:?} is no name for TLS")))?;
        let connector = TlsConnector::from(Arc::clone(self.offering(protocols)));
        let stream = connector.connect(server, plain).await?;
        let chosen = stream.get_ref().1.alpn_protocol();
        match protocols {
            Protocols::Http2 if chosen != Some(b"h2") => {
                Err(io::Error::other("the server does not offer HTTP/2"))
            }
            _ => Ok(stream),
        }
    }

    fn offering(&self, protocols: Protocols) -> &Arc<ClientConfig> {
        match protocols {
            Protocols::None => &self.none,
            Protocols::Http1 => &self.http1,
            Protocols::Http2 => &self.http2,
        }
    }
}

impl Connect for Rustls {
    type Plain = TcpStream;
    type Secure = TlsStream<TcpStream>;

    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        dial(address).await
    }

    async fn secure(
        &self,
        plain: TcpStream,
        tls: &Tls,
        protocols: Protocols,
    ) -> io::Result<TlsStream<TcpStream>> {
        let profile = self.profiles.get(tls.profile_name());
        let profile =
            profile.ok_or_else(|| unusable(format!("no TLS profile {:?}", tls.profile_name())))?;
        profile.secure(plain, tls.name(), protocols).await
    }
}

fn unusable(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, text)
}
