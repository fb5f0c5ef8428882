//! A certificate with its key, kept as its files are.
//!
//! Files are looked at, not watched: a `stat` a second costs nothing, and sees what notifications
//! miss, as links that are exchanged (how Kubernetes mounts secrets) and network file systems. Two
//! files are never exchanged at once, so a pair that does not fit is a state to wait out: the old
//! one stays in use, and the files are read again until they fit.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

use super::names::Names;
use super::server::Shelf;
use super::stamp::Stamp;
use super::{TlsError, files, provider};

/// A certificate with its key, kept as its files are.
pub struct Identity {
    cert: PathBuf,
    key: PathBuf,
    /// What handshakes show. Exchanged by [`Identity::refresh`] alone.
    current: ArcSwap<Shown>,
    /// Why the files as they are now are not in use.
    trouble: ArcSwapOption<String>,
    /// How the files looked when they were last read. Its lock makes refreshes follow one another.
    seen: Mutex<Seen>,
    /// Who keeps this identity's names in an order of its own. Locked for a moment only.
    shelves: Mutex<Vec<Weak<Shelf>>>,
}

/// What is shown to clients at one time: the pair, and what the certificate says.
#[derive(Debug)]
pub struct Shown {
    pub(super) pair: Arc<CertifiedKey>,
    names: Names,
    not_before: i64,
    not_after: i64,
}

/// How two files looked, and whether they may have changed since without a trace.
struct Seen {
    stamps: [Option<Stamp>; 2],
    /// A file system's clock is coarse: a write right after a read can leave the same stamp. Files
    /// are at rest when a later look found them as the one before, contents included.
    at_rest: bool,
}

impl Identity {
    /// Reads a chain and its key. A certificate out of its time is no error; see
    /// [`Shown::days_left`].
    ///
    /// # Errors
    ///
    /// Either file is not what it should be, or the key is another certificate's.
    pub fn load(cert: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let stamps = [Stamp::of(cert), Stamp::of(key)];
        let shown = Shown::read(cert, key)?;
        Ok(Arc::new(Self {
            cert: cert.into(),
            key: key.into(),
            current: ArcSwap::from_pointee(shown),
            trouble: ArcSwapOption::empty(),
            seen: Mutex::new(Seen {
                stamps,
                at_rest: false,
            }),
            shelves: Mutex::default(),
        }))
    }

    /// What handshakes are shown now.
    #[must_use]
    pub fn current(&self) -> Arc<Shown> {
        self.current.load_full()
    }

    /// The file of the chain.
    #[must_use]
    pub fn cert(&self) -> &Path {
        &self.cert
    }

    /// The file of the key.
    #[must_use]
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// Whether both are read from the same files, hence will be the same if they are not already.
    #[must_use]
    pub fn is_same_files(&self, other: &Self) -> bool {
        self.cert == other.cert && self.key == other.key
    }

    /// Why the files as they are now are not in use, if that is so.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<String>> {
        self.trouble.load_full()
    }

    /// Whether everybody on this machine may read the key.
    #[must_use]
    pub fn is_key_exposed(&self) -> bool {
        fs::metadata(&self.key).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
    }

    /// Takes up what is new in the files: true if clients are now shown something else. Blocks on
    /// the file system.
    ///
    /// # Errors
    ///
    /// The files changed to something that cannot be used. The old pair stays, the next refresh
    /// tries again, and the same trouble is an error once.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let mut seen = locked(&self.seen);
        let stamps = [Stamp::of(&self.cert), Stamp::of(&self.key)];
        let is_as_before = seen.stamps == stamps;
        if is_as_before && seen.at_rest {
            return Ok(false);
        }
        seen.stamps = stamps;
        match Shown::read(&self.cert, &self.key) {
            Ok(shown) => {
                seen.at_rest = is_as_before;
                self.trouble.store(None);
                Ok(self.show(shown))
            }
            Err(error) => {
                seen.at_rest = false;
                self.complain(error, is_as_before)
            }
        }
    }

    /// Tells this shelf from now on when other names are to be found here.
    pub(super) fn stand_on(&self, shelf: &Arc<Shelf>) {
        let mut shelves = locked(&self.shelves);
        shelves.retain(|shelf| shelf.strong_count() > 0);
        shelves.push(Arc::downgrade(shelf));
    }

    /// The chain tells all: the same certificate has the same key.
    fn show(&self, shown: Shown) -> bool {
        if self.current.load().pair.cert == shown.pair.cert {
            return false;
        }
        self.current.store(Arc::new(shown));
        // Sorted outside the lock, which a new listener may be waiting for.
        let shelves: Vec<_> = locked(&self.shelves).clone();
        for shelf in shelves.iter().filter_map(Weak::upgrade) {
            shelf.sort();
        }
        true
    }

    fn complain(&self, error: TlsError, is_as_before: bool) -> Result<bool, TlsError> {
        let said = error.to_string();
        let known = self.trouble.swap(Some(Arc::new(said.clone())));
        match known {
            Some(known) if is_as_before && *known == said => Ok(false),
            _ => Err(error),
        }
    }
}

/// Says which files; a key has no business in a log.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("cert", &self.cert)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Shown {
    /// The chain with its key.
    #[must_use]
    pub fn pair(&self) -> &Arc<CertifiedKey> {
        &self.pair
    }

    /// The hosts it is for.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// When it begins to hold, in seconds of Unix time.
    #[must_use]
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// When it ceases to hold, in seconds of Unix time.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Whole days until it ceases to hold, below zero once it did. `now_s` is Unix time.
    #[must_use]
    pub fn days_left(&self, now_s: i64) -> i64 {
        self.not_after.saturating_sub(now_s).div_euclid(DAY_S)
    }

    fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let pair = files::read_pair(cert, key, &provider())?;
        let unusable = |said: String| TlsError::BadCertificate {
            file: cert.into(),
            said,
        };
        let leaf = pair.end_entity_cert()?;
        let (_, leaf) =
            parse_x509_certificate(leaf).map_err(|error| unusable(error.to_string()))?;
        let names = Names::of(&leaf);
        let validity = leaf.validity();
        let (not_before, not_after) = (validity.not_before, validity.not_after);
        Ok(Self {
            pair: Arc::new(pair),
            names,
            not_before: not_before.timestamp(),
            not_after: not_after.timestamp(),
        })
    }
}

/// A panic elsewhere leaves nothing half-done here: every change is one assignment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const DAY_S: i64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};

    use super::super::fixture::{Folder, pem, pkcs8_inside};
    use super::*;

    fn mistake(folder: &Folder) -> String {
        folder.load("site").unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_file_and_say_what_was_found_and_what_is_right() {
        let folder = Folder::new();
        let (cert, key) = folder.issue("site", &["a.example"]);
        let (chain, secret) = (fs::read(&cert).unwrap(), fs::read(&key).unwrap());
        let locked = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n";
        let strange = pem("PRIVATE KEY", b"strange");
        for (cert_bytes, key_bytes, said) in [
            (
                &*secret,
                &*secret,
                "site.crt: found BEGIN PRIVATE KEY, expected a certificate",
            ),
            (
                b"",
                &*secret,
                "site.crt: found an empty file, expected a certificate",
            ),
            (
                &*chain,
                &*chain,
                "site.key: found BEGIN CERTIFICATE, expected a private key",
            ),
            (
                &*chain,
                locked,
                "site.key: found an encrypted key, expected one without",
            ),
            (
                &*chain,
                strange.as_bytes(),
                "site.key: found a key of another kind",
            ),
            (
                &chain[..chain.len() / 2],
                &*secret,
                "site.crt: found a damaged PEM section",
            ),
            (
                &*chain,
                &secret[..secret.len() / 2],
                "site.key: found a damaged PEM section",
            ),
            (
                pem("CERTIFICATE", b"x").as_bytes(),
                &*secret,
                "site.crt: found a certificate that",
            ),
        ] {
            folder.write("site.crt", cert_bytes);
            folder.write("site.key", key_bytes);
            let error = mistake(&folder);
            assert!(error.contains(said), "{error}");
        }
        fs::remove_file(&key).unwrap();
        folder.write("site.crt", &chain);
        let error = mistake(&folder);
        assert!(
            error.contains("site.key: cannot be read: No such file"),
            "{error}"
        );
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = Folder::new();
        folder.issue("site", &["a.example"]);
        let (_, other) = folder.issue("other", &["a.example"]);
        fs::copy(other, folder.path("site.key")).unwrap();
        let error = mistake(&folder);
        assert!(
            error.contains("site.key: found the key of another certificate"),
            "{error}"
        );
        assert!(error.contains("site.crt"), "{error}");
    }

    #[test]
    fn keys_are_taken_in_the_older_formats_too() {
        let folder = Folder::new();
        let curve = KeyPair::generate().unwrap();
        let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        for (pair, label) in [(curve, "EC PRIVATE KEY"), (rsa, "RSA PRIVATE KEY")] {
            folder.issue_for("site", &["a.example"], &pair, 4000);
            let inside = pkcs8_inside(pair.serialized_der());
            folder.write("site.key", pem(label, &inside).as_bytes());
            folder.load("site").unwrap();
        }
    }

    #[test]
    fn a_certificate_says_its_names_and_its_time() {
        let folder = Folder::new();
        folder.issue_until("site", &["a.example", "*.b.example", "::1"], 2020);
        let shown = folder.load("site").unwrap().current();
        assert_eq!(shown.names().listed(), ["a.example", "*.b.example", "::1"]);
        // The first of January 2020, which the certificate does not live to see.
        let end = 1_577_836_800;
        assert_eq!(shown.not_after(), end);
        assert!(shown.not_before() < end);
        for (now, days) in [(end, 0), (end - DAY_S, 1), (end - 1, 0), (end + 1, -1)] {
            assert_eq!(shown.days_left(now), days);
        }
    }

    #[test]
    fn a_pair_that_does_not_fit_is_told_once_and_tried_again() {
        let folder = Folder::new();
        let identity = folder.identity("site", &["old.example"]);
        let old = identity.current();
        folder.issue("new", &["new.example"]);
        fs::copy(folder.path("new.crt"), folder.path("site.crt")).unwrap();
        let error = identity.refresh().unwrap_err();
        assert!(matches!(error, TlsError::Mismatch { .. }));
        assert!(!identity.refresh().unwrap());
        assert_eq!(identity.trouble().as_deref(), Some(&error.to_string()));
        assert!(Arc::ptr_eq(&old, &identity.current()));
        fs::copy(folder.path("new.key"), folder.path("site.key")).unwrap();
        assert!(identity.refresh().unwrap());
        assert_eq!(identity.current().names().listed(), ["new.example"]);
        assert!(identity.trouble().is_none());
        assert!(!identity.refresh().unwrap());
    }

    #[test]
    fn files_that_are_gone_leave_the_old_pair() {
        let folder = Folder::new();
        let identity = folder.identity("site", &["a.example"]);
        fs::remove_file(identity.key()).unwrap();
        assert!(matches!(
            identity.refresh(),
            Err(TlsError::Unreadable { .. })
        ));
        assert!(!identity.refresh().unwrap());
        assert_eq!(identity.current().names().listed(), ["a.example"]);
    }

    #[test]
    fn the_same_contents_in_other_files_are_no_change() {
        let folder = Folder::new();
        let identity = folder.identity("site", &["a.example"]);
        let bytes = fs::read(identity.cert()).unwrap();
        fs::remove_file(identity.cert()).unwrap();
        folder.write("site.crt", &bytes);
        let old = identity.current();
        for _ in 0..3 {
            assert!(!identity.refresh().unwrap());
        }
        assert!(Arc::ptr_eq(&old, &identity.current()));
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_a_change() {
        let folder = Folder::new();
        for (release, name) in [("one", "one.example"), ("two", "two.example")] {
            fs::create_dir(folder.path(release)).unwrap();
            folder.issue(&format!("{release}/site"), &[name]);
        }
        symlink("one", folder.path("data")).unwrap();
        let identity = folder.load("data/site").unwrap();
        for _ in 0..2 {
            assert!(!identity.refresh().unwrap());
        }
        symlink("two", folder.path("next")).unwrap();
        fs::rename(folder.path("next"), folder.path("data")).unwrap();
        assert!(identity.refresh().unwrap());
        assert_eq!(identity.current().names().listed(), ["two.example"]);
    }

    #[test]
    fn a_key_that_everybody_may_read_is_exposed() {
        let folder = Folder::new();
        let identity = folder.identity("site", &["a.example"]);
        for (mode, exposed) in [(0o600, false), (0o640, false), (0o644, true)] {
            fs::set_permissions(identity.key(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(identity.is_key_exposed(), exposed, "{mode:o}");
        }
    }

    #[test]
    fn what_is_printed_of_an_identity_is_no_key() {
        let identity = Folder::new().identity("site", &["a.example"]);
        let printed = format!("{identity:?}");
        assert!(printed.ends_with("site.key\", .. }"), "{printed}");
    }
}
