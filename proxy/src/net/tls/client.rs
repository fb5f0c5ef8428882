//! How servers are asked by TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

use super::names::{address, plain};
use super::{TlsError, files, provider};

/// What the operator chose about TLS to the servers of a group.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientSpec {
    /// The file of the roots that servers are verified by, PEM; `None` for the system's.
    pub roots: Option<PathBuf>,
    /// The files of a certificate and its key for servers that ask for one.
    pub cert_and_key: Option<(PathBuf, PathBuf)>,
    /// The name that servers' certificates must hold, and that is sent (SNI); `None` for each
    /// server's own.
    pub name: Option<String>,
    /// The application protocols offered (ALPN), best first; empty to offer none.
    pub alpn: Vec<Vec<u8>>,
}

/// How servers of a group are asked by TLS. Equal if settings and contents of the files are, so
/// that a reload can keep what did not change.
#[derive(Clone, Debug)]
pub struct ClientTls {
    spec: ClientSpec,
    config: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
    /// Certificates tell of their keys: the same one has the same key.
    chain: Vec<CertificateDer<'static>>,
}

impl ClientTls {
    /// Reads the files of `spec`. Servers are always verified.
    ///
    /// # Errors
    ///
    /// A file is not what it should be, the name is none, or the system has no roots.
    pub fn load(spec: &ClientSpec) -> Result<Self, TlsError> {
        if let Some(name) = &spec.name {
            server_name(name)?;
        }
        let roots = match &spec.roots {
            Some(file) => Arc::new(read_roots(file)?),
            None => system_roots()?,
        };
        let pair = match &spec.cert_and_key {
            Some((cert, key)) => Some(files::read_pair(cert, key, &provider())?),
            None => None,
        };
        let chain = pair
            .as_ref()
            .map_or_else(Vec::new, |pair| pair.cert.clone());
        let config = Arc::new(configured(Arc::clone(&roots), pair, spec.alpn.clone())?);
        Ok(Self {
            spec: spec.clone(),
            config,
            roots,
            chain,
        })
    }

    /// What it was loaded by.
    #[must_use]
    pub fn spec(&self) -> &ClientSpec {
        &self.spec
    }

    /// The settings that each handshake begins from.
    #[must_use]
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// The same settings, sessions shared, with other protocols offered: for a check or an upgrade
    /// that needs HTTP/1.1 whatever requests are sent by. Made once, not for each connection.
    #[must_use]
    pub fn offering(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = alpn.iter().map(|&protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    /// The name that the certificate of the server `host` must hold, and that is sent unless it is
    /// an address: the one chosen for the group, else `host`, a name or an address, no port.
    ///
    /// # Errors
    ///
    /// The host is neither.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        server_name(self.spec.name.as_deref().unwrap_or(host))
    }
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec
            && self.chain == other.chain
            && (Arc::ptr_eq(&self.roots, &other.roots) || self.roots.roots == other.roots.roots)
    }
}

impl Eq for ClientTls {}

fn configured(
    roots: Arc<RootCertStore>,
    pair: Option<CertifiedKey>,
    alpn: Vec<Vec<u8>>,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match pair {
        Some(pair) => {
            let shown: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(pair));
            builder.with_client_cert_resolver(shown)
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn;
    Ok(config)
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    if let Some(address) = address(host) {
        return Ok(ServerName::from(address));
    }
    let name = plain(host).into_owned();
    ServerName::try_from(name).map_err(|_| TlsError::BadName { host: host.into() })
}

/// All of a file's: one that cannot be used is the operator's mistake.
fn read_roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in files::read_certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::BadCertificate {
                file: file.into(),
                said: error.to_string(),
            })?;
    }
    Ok(roots)
}

/// The system's, as they are now, so that a reload sees a newer bundle. Those that can be used:
/// what a bundle holds beside them is no operator's mistake.
fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let error = found.errors.first();
        return Err(TlsError::NoSystemRoots {
            found: error.map_or_else(|| "nothing".to_owned(), ToString::to_string),
        });
    }
    Ok(Arc::new(roots))
}

#[cfg(test)]
mod tests {
    use rustls::server::WebPkiClientVerifier;
    use rustls::{CertificateError, Error, ServerConfig};

    use super::super::fixture::{Folder, connect};
    use super::super::{ServerTls, Versions};
    use super::*;

    fn serve(folder: &Folder, names: &[&str]) -> Arc<ServerTls> {
        let identities = vec![folder.identity("server", names)];
        ServerTls::new(identities, Versions::From12, &[]).unwrap()
    }

    fn meet(client: &ClientTls, server: &ServerTls, host: &str) -> Result<(), Error> {
        let ServerName::DnsName(name) = client.server_name(host).unwrap() else {
            panic!("{host} is no name");
        };
        connect(client.config(), server.config(), name.as_ref()).map(drop)
    }

    fn refusal(met: Result<(), Error>) -> CertificateError {
        match met.unwrap_err() {
            Error::InvalidCertificate(why) => why,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_server_of_unknown_roots_is_refused() {
        let (ours, theirs) = (Folder::new(), Folder::new());
        let server = serve(&theirs, &["a.example"]);
        meet(&theirs.client(&[]), &server, "a.example").unwrap();
        let why = refusal(meet(&ours.client(&[]), &server, "a.example"));
        assert_eq!(why, CertificateError::UnknownIssuer);
    }

    #[test]
    fn a_server_of_another_name_is_refused_unless_that_name_is_asked_for() {
        let folder = Folder::new();
        let server = serve(&folder, &["internal.example"]);
        let client = folder.client(&[]);
        let why = refusal(meet(&client, &server, "a.example"));
        assert!(matches!(
            why,
            CertificateError::NotValidForNameContext { .. }
        ));
        let named = ClientSpec {
            name: Some("Internal.example.".into()),
            ..client.spec().clone()
        };
        meet(&ClientTls::load(&named).unwrap(), &server, "a.example").unwrap();
    }

    #[test]
    fn a_server_whose_certificate_expired_is_refused() {
        let folder = Folder::new();
        folder.issue_until("server", &["a.example"], 2020);
        let identities = vec![folder.load("server").unwrap()];
        let server = ServerTls::new(identities, Versions::From12, &[]).unwrap();
        let why = refusal(meet(&folder.client(&[]), &server, "a.example"));
        assert!(matches!(why, CertificateError::ExpiredContext { .. }));
    }

    #[test]
    fn a_client_s_certificate_is_shown_to_a_server_that_asks() {
        let folder = Folder::new();
        let identity = folder.identity("server", &["a.example"]);
        let (cert, key) = folder.issue("client", &["us.example"]);
        let without = folder.client(&[]);
        let with = ClientSpec {
            cert_and_key: Some((cert, key)),
            ..without.spec().clone()
        };
        let with = ClientTls::load(&with).unwrap();
        let roots = Arc::clone(&with.roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(
                identity.current().pair(),
            ))));
        let server = Arc::new(server);
        let (_, seen) = connect(with.config(), &server, "a.example").unwrap();
        assert_eq!(seen.peer_certificates(), Some(&*with.chain));
        connect(without.config(), &server, "a.example").unwrap_err();
    }

    #[test]
    fn clients_are_equal_while_settings_and_files_are() {
        let folder = Folder::new();
        let client = folder.client(&[b"h2"]);
        assert_eq!(client, folder.client(&[b"h2"]));
        assert_ne!(client, folder.client(&[]));
        let (cert, key) = folder.issue("client", &["us.example"]);
        let spec = ClientSpec {
            cert_and_key: Some((cert, key)),
            ..client.spec().clone()
        };
        let before = ClientTls::load(&spec).unwrap();
        assert_ne!(client, before);
        folder.issue("client", &["us.example"]);
        assert_ne!(before, ClientTls::load(&spec).unwrap());
        let roots = spec.roots.clone().unwrap();
        std::fs::copy(
            Folder::new().client(&[]).spec().roots.as_ref().unwrap(),
            roots,
        )
        .unwrap();
        assert_ne!(client, folder.client(&[b"h2"]));
    }

    #[test]
    fn other_protocols_are_offered_with_the_same_sessions() {
        let folder = Folder::new();
        let client = folder.client(&[b"h2"]);
        let other = client.offering(&[b"http/1.1"]);
        assert_eq!(other.alpn_protocols, [b"http/1.1"]);
        assert_eq!(client.config().alpn_protocols, [b"h2"]);
        let server = serve(&folder, &["a.example"]);
        connect(client.config(), server.config(), "a.example").unwrap();
        let (again, _) = connect(&other, server.config(), "a.example").unwrap();
        assert_eq!(again.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        let client = Folder::new().client(&[]);
        for (host, said) in [
            ("A.example.", "a.example"),
            ("192.0.2.7", "192.0.2.7"),
            ("[::1]", "::1"),
        ] {
            assert_eq!(client.server_name(host).unwrap().to_str(), said);
        }
        for host in ["", "a b", "a..example", "a.example:443"] {
            assert!(client.server_name(host).is_err(), "{host}");
        }
        let named = ClientSpec {
            name: Some("a b".into()),
            ..client.spec().clone()
        };
        let error = ClientTls::load(&named).unwrap_err().to_string();
        assert_eq!(error, "found \"a b\", expected a DNS name or an IP address");
    }

    #[test]
    fn roots_that_cannot_be_used_are_told() {
        let folder = Folder::new();
        let file = folder.write("roots.pem", b"no roots");
        let spec = ClientSpec {
            roots: Some(file),
            ..ClientSpec::default()
        };
        let error = ClientTls::load(&spec).unwrap_err().to_string();
        assert!(error.contains("roots.pem: found no PEM section"), "{error}");
    }
}
