//! TLS with a server, once its socket is open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use risefall::{Cause, Outcome};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::Fault;
use crate::net::stream::Stream;
use crate::net::tls::ClientTls;
use crate::plan::upstream::HttpVersion;

/// How the servers of one group are spoken to by TLS.
pub struct Secure {
    tls: Arc<ClientTls>,
    /// Offers what the group speaks.
    usual: TlsConnector,
    /// Offers HTTP/1.1 alone, which a request can leave.
    single: TlsConnector,
    /// How long a handshake may take.
    timeout: Duration,
}

impl Secure {
    /// By `tls`, speaking `http`; a handshake may take `timeout`.
    #[must_use]
    pub fn new(tls: &Arc<ClientTls>, http: HttpVersion, timeout: Duration) -> Self {
        let usual: &[&[u8]] = match http {
            HttpVersion::Auto => &[H2, H1],
            HttpVersion::H1 => &[H1],
            HttpVersion::H2 => &[H2],
        };
        Self {
            usual: TlsConnector::from(tls.offering(usual)),
            single: TlsConnector::from(tls.offering(&[H1])),
            tls: Arc::clone(tls),
            timeout,
        }
    }

    /// Speaks TLS with the server at `address`, which the configuration calls `host`.
    ///
    /// # Errors
    ///
    /// The handshake fails or takes too long; what that says of the server.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the socket.
    pub async fn connect(
        &self,
        socket: TcpStream,
        address: SocketAddr,
        host: &str,
        is_single: bool,
    ) -> Result<Stream, (Fault, Outcome)> {
        let connector = if is_single { &self.single } else { &self.usual };
        let name = self.tls.server_name(host).map_err(|error| {
            let fault = Fault::Tls {
                address,
                reason: error.to_string().into(),
                is_certificate: false,
            };
            (fault, Outcome::LocalFault)
        })?;
        let handshake = connector.connect(name, socket);
        let failed = |reason: String, is_certificate, cause| {
            let fault = Fault::Tls {
                address,
                reason: reason.into(),
                is_certificate,
            };
            (fault, Outcome::Failed(cause))
        };
        match tokio::time::timeout(self.timeout, handshake).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => {
                let is_certificate = is_certificate(&error);
                let remedy = if is_certificate { REMEDY } else { "" };
                Err(failed(
                    format!("{error}{remedy}"),
                    is_certificate,
                    Cause::Tls,
                ))
            }
            Err(_) => Err(failed(
                format!("no handshake within {:?}", self.timeout),
                false,
                Cause::TimedOut,
            )),
        }
    }
}

fn is_certificate(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

const REMEDY: &str = "; tls.roots and tls.name of the upstream say whom to believe";
const H1: &[u8] = b"http/1.1";
const H2: &[u8] = b"h2";
