//! What can be wrong with certificates, keys and roots.

use std::io;
use std::path::PathBuf;

/// Why TLS cannot be set up as it is written: what was looked at, what was found there, and what
/// would be right. All of them are the operator's to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file is missing, or may not be read.
    #[error("{}: cannot be read: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A path leads to something else than a file of a sensible size.
    #[error("{}: found {found}, expected a PEM file of at most {limit_bytes} bytes", file.display())]
    NotAFile {
        /// The path.
        file: PathBuf,
        /// What it leads to.
        found: &'static str,
        /// The most that is read.
        limit_bytes: u64,
    },
    /// A PEM section is damaged.
    #[error("{}: found a damaged PEM section, expected base64 between BEGIN and END: {said}", file.display())]
    BadPem {
        /// The file.
        file: PathBuf,
        /// What the reader said.
        said: String,
    },
    /// A file holds no certificate.
    #[error("{}: found {found}, expected a certificate (BEGIN CERTIFICATE)", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
        /// What it holds.
        found: String,
    },
    /// A certificate cannot be understood.
    #[error("{}: found a certificate that cannot be used, expected X.509 version 3: {said}", file.display())]
    BadCertificate {
        /// The file.
        file: PathBuf,
        /// What the reader said.
        said: String,
    },
    /// A file holds no key.
    #[error(
        "{}: found {found}, expected a private key (BEGIN PRIVATE KEY, BEGIN RSA PRIVATE KEY or \
         BEGIN EC PRIVATE KEY)",
        file.display()
    )]
    NoKey {
        /// The file.
        file: PathBuf,
        /// What it holds.
        found: String,
    },
    /// A key is locked by a passphrase, which nobody could type while the proxy starts.
    #[error("{}: found an encrypted key, expected one without a passphrase", file.display())]
    EncryptedKey {
        /// The file.
        file: PathBuf,
    },
    /// A key is of a kind that TLS here does not sign with.
    #[error(
        "{}: found a key of another kind or size, expected RSA of 2048 to 8192 bits, ECDSA on \
         P-256, P-384 or P-521, or Ed25519",
        file.display()
    )]
    UnsupportedKey {
        /// The file.
        file: PathBuf,
    },
    /// A key belongs to another certificate.
    #[error(
        "{}: found the key of another certificate, expected that of the first certificate of {}",
        key.display(),
        cert.display()
    )]
    Mismatch {
        /// The file of the chain.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The system has no roots to verify servers by.
    #[error(
        "found no root certificates on this system ({found}), expected a CA bundle, or `roots`"
    )]
    NoSystemRoots {
        /// What the search said.
        found: String,
    },
    /// A host that no certificate could hold.
    #[error("found {host:?}, expected a DNS name or an IP address")]
    BadName {
        /// The host.
        host: String,
    },
    /// A listener was given nothing to show.
    #[error("found no certificate, expected at least one")]
    NoIdentity,
    /// The engine refused the settings.
    #[error("TLS could not be set up: {0}")]
    Engine(#[from] rustls::Error),
}
