//! Identities of a process, kept as their files are.

use std::sync::Arc;

use super::{Identity, TlsError};

/// What became of one identity at a refresh.
#[derive(Debug)]
#[must_use = "tells which certificates changed and which are in trouble"]
pub enum Refreshed {
    /// Clients are shown what they were shown before.
    Kept,
    /// Clients are shown another certificate.
    Exchanged,
    /// The files changed to something that cannot be used; the old pair stays. Told once for each
    /// change.
    Refused(TlsError),
}

/// Takes up what is new in the files of all, one outcome for each, and logs what changed. `now_s`
/// is Unix time, by which the days left are told.
///
/// Blocks on the file system: call it where that is allowed, every second or so, and not again
/// before it has returned.
pub fn refresh_all(identities: &[Arc<Identity>], now_s: i64) -> Vec<Refreshed> {
    let each = identities.iter();
    each.map(|identity| refresh(identity, now_s)).collect()
}

fn refresh(identity: &Identity, now_s: i64) -> Refreshed {
    match identity.refresh() {
        Ok(false) => Refreshed::Kept,
        Ok(true) => {
            let shown = identity.current();
            tracing::info!(cert = %identity.cert().display(), names = %shown.names(),
                days_left = shown.days_left(now_s), "another certificate is shown from now on");
            Refreshed::Exchanged
        }
        Err(error) => {
            tracing::warn!(cert = %identity.cert().display(), %error,
                "the certificate in use stays, the new one cannot be used");
            Refreshed::Refused(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Folder;
    use super::*;

    #[test]
    fn each_identity_has_an_outcome_of_its_own() {
        let folder = Folder::new();
        let identities = ["a", "b", "c"].map(|name| folder.identity(name, &["a.example"]));
        folder.issue("b", &["b.example"]);
        folder.write("c.crt", b"nothing");
        let outcomes = refresh_all(&identities, 0);
        assert!(
            matches!(
                outcomes.as_slice(),
                [
                    Refreshed::Kept,
                    Refreshed::Exchanged,
                    Refreshed::Refused(TlsError::NoCertificate { .. })
                ]
            ),
            "{outcomes:?}"
        );
        let again = refresh_all(&identities, 0);
        assert!(again.iter().all(|one| matches!(one, Refreshed::Kept)));
    }
}
