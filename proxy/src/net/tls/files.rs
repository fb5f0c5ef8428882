//! PEM files: read whole, within a bound, with errors that say what was found instead.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::TlsError;

/// A chain and its key that belong together.
///
/// # Errors
///
/// Either file is not what it should be, or the key is another certificate's.
pub(super) fn read_pair(
    cert: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = read_certificates(cert)?;
    let secret = read_key(key)?;
    let Ok(signer) = provider.key_provider.load_private_key(secret) else {
        return Err(TlsError::UnsupportedKey { file: key.into() });
    };
    let pair = CertifiedKey::new(chain, signer);
    match pair.keys_match() {
        // A kind of key that does not tell its public half cannot be compared.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
        Err(Error::InconsistentKeys(_)) => Err(TlsError::Mismatch {
            cert: cert.into(),
            key: key.into(),
        }),
        Err(error) => Err(TlsError::BadCertificate {
            file: cert.into(),
            said: error.to_string(),
        }),
    }
}

/// The certificates of a file, in its order; never none.
///
/// # Errors
///
/// The file cannot be read, is damaged, or has none.
pub(super) fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|error| TlsError::BadPem {
        file: file.into(),
        said: error.to_string(),
    })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate {
            file: file.into(),
            found: found(&bytes),
        });
    }
    Ok(certificates)
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(file)?;
    if is_encrypted(&bytes) {
        return Err(TlsError::EncryptedKey { file: file.into() });
    }
    match PrivateKeyDer::pem_slice_iter(&bytes).next() {
        Some(Ok(key)) => Ok(key),
        Some(Err(error)) => Err(TlsError::BadPem {
            file: file.into(),
            said: error.to_string(),
        }),
        None => Err(TlsError::NoKey {
            file: file.into(),
            found: found(&bytes),
        }),
    }
}

/// A pipe would be waited for without end, and a huge file would fill the memory: neither is read.
fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| TlsError::Unreadable {
        file: file.into(),
        error,
    };
    let refused = |found| TlsError::NotAFile {
        file: file.into(),
        found,
        limit_bytes: BYTES_MOST,
    };
    let metadata = fs::metadata(file).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(refused("a folder"));
    }
    if !metadata.is_file() {
        return Err(refused("something that is no file"));
    }
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    let read = opened.take(BYTES_MOST + 1).read_to_end(&mut bytes);
    if read.map_err(unreadable)? as u64 > BYTES_MOST {
        return Err(refused("a larger one"));
    }
    Ok(bytes)
}

/// Locked in the way of PKCS#8, or in that of the formats before it.
fn is_encrypted(bytes: &[u8]) -> bool {
    lines(bytes).any(|line| {
        line.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY")
            || (line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED"))
    })
}

/// What a file holds, in words.
fn found(bytes: &[u8]) -> String {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return "an empty file".to_owned();
    }
    let labels: Vec<_> = lines(bytes).filter_map(label).take(LABELS_MOST).collect();
    match (labels.is_empty(), bytes.first()) {
        (false, _) => labels.join(", "),
        // The tag that every DER certificate and key begins with.
        (true, Some(0x30)) => "binary DER".to_owned(),
        (true, _) => "no PEM section".to_owned(),
    }
}

fn label(line: &[u8]) -> Option<String> {
    let label = line.strip_prefix(b"-----")?.strip_suffix(b"-----")?;
    // What a file claims goes into a log line, hence neither long nor strange.
    let is_plain = label.len() <= LABEL_LENGTH_MOST && label.iter().all(|&byte| is_graphic(byte));
    (label.starts_with(b"BEGIN ") && is_plain).then(|| String::from_utf8_lossy(label).into_owned())
}

fn is_graphic(byte: u8) -> bool {
    byte == b' ' || byte.is_ascii_graphic()
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii_end)
}

/// The longest file that is read: a bundle of all public roots is a quarter of it.
const BYTES_MOST: u64 = 1 << 20;

/// How many sections of a file an error names.
const LABELS_MOST: usize = 4;

/// The longest name of a section that an error repeats.
const LABEL_LENGTH_MOST: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_a_file_holds_instead() {
        let long = format!("-----BEGIN {}-----\n", "X".repeat(100));
        for (bytes, said) in [
            ("", "an empty file"),
            (" \r\n", "an empty file"),
            ("hello", "no PEM section"),
            (long.as_str(), "no PEM section"),
            ("0\u{1}\u{2}", "binary DER"),
            ("-----BEGIN PUBLIC KEY-----\r\nAA\n", "BEGIN PUBLIC KEY"),
            ("-----BEGIN A-----\n-----BEGIN B-----\n", "BEGIN A, BEGIN B"),
        ] {
            assert_eq!(found(bytes.as_bytes()), said, "{bytes:?}");
        }
    }

    #[test]
    fn both_ways_to_lock_a_key_are_told() {
        assert!(is_encrypted(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert!(is_encrypted(
            b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\r\n"
        ));
        assert!(!is_encrypted(b"-----BEGIN PRIVATE KEY-----\n"));
    }

    #[test]
    fn what_is_no_file_or_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("found a folder"), "{error}");
        let error = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("no file"), "{error}");
        let large = folder.path().join("large");
        File::create(&large)
            .unwrap()
            .set_len(BYTES_MOST + 1)
            .unwrap();
        let error = read(&large).unwrap_err().to_string();
        assert!(error.contains("a larger one"), "{error}");
    }
}
