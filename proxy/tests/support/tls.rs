//! An authority of its own, what it issued, and handshakes by it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use risefall_proxy::net::tls::{ClientSpec, ClientTls, Identity};
use risefall_proxy::plan::{Draft, SiteTlsDraft};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::support::{Client, within};

/// Files of an authority and of what it issued; gone with the value.
pub struct Folder {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Folder {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Authorities of one name would be taken for each other until signatures are looked at.
        let own = folder.path().to_string_lossy().into_owned();
        params.distinguished_name.push(DnType::CommonName, own);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.path().join("roots.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a certificate and its new key to `NAME.crt` and `NAME.key`.
    pub fn issue(&self, name: &str, hosts: &[&str]) {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(hosts).unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.crt")), leaf.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// What a site shows for the files of that name.
    pub fn load(&self, name: &str) -> Arc<Identity> {
        let (cert, key) = self.pair(name);
        Identity::load(&cert, &key).unwrap()
    }

    pub fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        let of = |kind| self.path(&format!("{name}.{kind}"));
        (of("crt"), of("key"))
    }

    pub fn identity(&self, name: &str, hosts: &[&str]) -> Arc<Identity> {
        self.issue(name, hosts);
        self.load(name)
    }

    /// The certificate that a file holds now.
    pub fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.pair(name).0).unwrap()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(self.path("roots.pem")).unwrap();
        roots.add(root).unwrap();
        roots
    }

    /// A client that trusts this authority, and speaks these versions and protocols.
    pub fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> Arc<ClientConfig> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|&protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    /// How a proxy asks servers that trusts this authority, and what `change` makes of that.
    pub fn asking(&self, change: impl FnOnce(&mut ClientSpec)) -> Arc<ClientTls> {
        let mut spec = ClientSpec {
            roots: Some(self.path("roots.pem")),
            ..ClientSpec::default()
        };
        change(&mut spec);
        Arc::new(ClientTls::load(&spec).unwrap())
    }

    /// A server that shows the certificate of that name.
    pub fn server(&self, name: &str, alpn: &[&[u8]]) -> TlsAcceptor {
        self.server_of(name, alpn, false)
    }

    /// The same, which asks its clients for a certificate of this authority.
    pub fn strict_server(&self, name: &str) -> TlsAcceptor {
        self.server_of(name, &[], true)
    }

    fn server_of(&self, name: &str, alpn: &[&[u8]], is_strict: bool) -> TlsAcceptor {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if is_strict {
            let roots = Arc::new(self.roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (cert, key) = self.pair(name);
        let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|&protocol| protocol.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Has the draft's only site speak TLS at its listener.
pub fn speak_tls(draft: &mut Draft, identities: Vec<Arc<Identity>>) {
    draft.sites[0].tls = Some(SiteTlsDraft {
        identities,
        ..SiteTlsDraft::default()
    });
}

/// A client's side of a connection by TLS.
pub type Secured = client::TlsStream<TcpStream>;

/// Connects and asks for `host`.
pub async fn try_shake(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    host: &str,
) -> io::Result<Secured> {
    let stream = within(TcpStream::connect(address)).await?;
    let name = host.to_owned().try_into().unwrap();
    within(TlsConnector::from(Arc::clone(config)).connect(name, stream)).await
}

/// The same where it works.
pub async fn shake(address: SocketAddr, config: &Arc<ClientConfig>, host: &str) -> Client<Secured> {
    Client::over(try_shake(address, config, host).await.unwrap())
}

/// The same settings for a client that goes on with whatever certificate it is shown.
pub fn gullible(config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(config);
    let verifier = Gullible(default_provider().signature_verification_algorithms);
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(verifier));
    Arc::new(config)
}

#[derive(Debug)]
struct Gullible(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// What a client was shown.
pub fn shown(client: &Client<Secured>) -> CertificateDer<'static> {
    let (_, connection) = client.stream.get_ref();
    connection.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

/// Accepts a handshake as a server; `None` if it fails.
pub async fn accept(
    acceptor: &TlsAcceptor,
    client: Client,
) -> Option<Client<server::TlsStream<TcpStream>>> {
    let stream = within(acceptor.accept(client.stream)).await.ok()?;
    Some(Client::over(stream))
}
