//! For tests: an authority of its own in a folder, and handshakes in memory.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::{
    ClientConfig, ClientConnection, Connection, Error, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};
use x509_parser::der_parser::parse_der;

use super::{ClientSpec, ClientTls, Identity, ServerTls, TlsError, files, provider};

/// Files of an authority and of what it issued; gone with the value.
pub(crate) struct Folder {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Folder {
    pub(crate) fn new() -> Self {
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

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes a certificate and its new key to `NAME.crt` and `NAME.key`.
    pub(crate) fn issue(&self, name: &str, hosts: &[&str]) -> (PathBuf, PathBuf) {
        self.issue_until(name, hosts, 4000)
    }

    /// The same, with the certificate's last year told: it ends as that year begins.
    pub(super) fn issue_until(&self, name: &str, hosts: &[&str], year: i32) -> (PathBuf, PathBuf) {
        self.issue_for(name, hosts, &KeyPair::generate().unwrap(), year)
    }

    /// The same for this key.
    pub(super) fn issue_for(
        &self,
        name: &str,
        hosts: &[&str],
        key: &KeyPair,
        year: i32,
    ) -> (PathBuf, PathBuf) {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let leaf = params.signed_by(key, &self.issuer).unwrap();
        let cert = self.write(&format!("{name}.crt"), leaf.pem().as_bytes());
        let key = self.write(&format!("{name}.key"), key.serialize_pem().as_bytes());
        (cert, key)
    }

    pub(super) fn load(&self, name: &str) -> Result<Arc<Identity>, TlsError> {
        let (cert, key) = (format!("{name}.crt"), format!("{name}.key"));
        Identity::load(&self.path(&cert), &self.path(&key))
    }

    pub(super) fn identity(&self, name: &str, hosts: &[&str]) -> Arc<Identity> {
        self.issue(name, hosts);
        self.load(name).unwrap()
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self, alpn: &[&[u8]]) -> ClientTls {
        let spec = ClientSpec {
            roots: Some(self.path("roots.pem")),
            alpn: alpn.iter().map(|&protocol| protocol.to_vec()).collect(),
            ..ClientSpec::default()
        };
        ClientTls::load(&spec).unwrap()
    }

    /// A stranger's client that trusts this authority and speaks these versions.
    pub(super) fn config_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let found = files::read_certificates(&self.path("roots.pem")).unwrap();
        roots.add_parsable_certificates(found);
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

/// A handshake between these two, and all that follows of itself.
pub(super) fn shake(
    client: &ClientTls,
    server: &ServerTls,
    host: &str,
) -> Result<(ClientConnection, ServerConnection), Error> {
    connect(client.config(), server.config(), host)
}

/// The same by settings.
pub(super) fn connect(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    host: &str,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = host.to_owned().try_into().unwrap();
    let mut client = Connection::from(ClientConnection::new(Arc::clone(client), name)?);
    let mut server = Connection::from(ServerConnection::new(Arc::clone(server))?);
    while client.wants_write() || server.wants_write() {
        carry(&mut client, &mut server)?;
        carry(&mut server, &mut client)?;
    }
    match (client, server) {
        (Connection::Client(client), Connection::Server(server)) => Ok((client, server)),
        _ => unreachable!(),
    }
}

fn carry(from: &mut Connection, to: &mut Connection) -> Result<(), Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

/// A PEM section of this label.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let mut encoded = String::new();
    for chunk in der.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let six = (bits >> (18 - 6 * place)) & 63;
            let is_padding = place > chunk.len();
            let byte = if is_padding {
                b'='
            } else {
                BASE64[six as usize]
            };
            encoded.push(char::from(byte));
        }
    }
    format!("-----BEGIN {label}-----\n{encoded}\n-----END {label}-----\n")
}

/// The key that PKCS#8 (RFC 5208 §5) wraps, in the format that its algorithm had before.
pub(super) fn pkcs8_inside(der: &[u8]) -> Vec<u8> {
    let (_, wrapped) = parse_der(der).unwrap();
    wrapped.as_sequence().unwrap()[2]
        .as_slice()
        .unwrap()
        .to_vec()
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
