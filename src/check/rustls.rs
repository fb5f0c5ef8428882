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
    profiles: HashMap<String, Profile>,
}

/// One setting, once for each choice of protocols: what is offered is part of it.
#[derive(Clone, Debug)]
struct Profile {
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
        let offering = |protocols: Protocols| {
            let mut config = config.clone();
            let names = protocols.names().iter();
            config.alpn_protocols = names.map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        let profile = Profile {
            none: offering(Protocols::None),
            http1: offering(Protocols::Http1),
            http2: offering(Protocols::Http2),
        };
        self.profiles.insert(name.into(), profile);
        self
    }
}

impl Profile {
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
        let unusable = |text: String| io::Error::new(io::ErrorKind::Unsupported, text);
        let profile = self.profiles.get(tls.profile_name());
        let profile =
            profile.ok_or_else(|| unusable(format!("no TLS profile {:?}", tls.profile_name())))?;
        let name = ServerName::try_from(tls.name().to_owned())
            .map_err(|_| unusable(format!("{:?} is no name for TLS", tls.name())))?;
        let connector = TlsConnector::from(Arc::clone(profile.offering(protocols)));
        let stream = connector.connect(name, plain).await?;
        let chosen = stream.get_ref().1.alpn_protocol();
        match protocols {
            Protocols::Http2 if chosen != Some(b"h2") => {
                Err(io::Error::other("the server does not offer HTTP/2"))
            }
            _ => Ok(stream),
        }
    }
}
