//! By which way checks reach servers: TCP, and TLS by the settings of their groups.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use risefall::check::{Connect, Protocols, Tls, TlsProfile, dial};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::net::tls::ClientTls;

/// The connector of all checks.
#[derive(Debug)]
pub(super) struct Way(Arc<Profiles>);

/// The settings that checks are made by, told apart by names. Groups with the same settings share
/// the name, and so may share checks; files with other contents make other settings.
#[derive(Debug, Default)]
pub(super) struct Profiles(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Never gives the same name twice: what was spoken otherwise is never taken for the same.
    named: u64,
    profiles: Vec<Profile>,
}

/// One setting, and what it was made of.
#[derive(Debug)]
struct Profile {
    name: String,
    tls: Arc<ClientTls>,
    made: TlsProfile,
}

impl Way {
    pub(super) fn new(profiles: Arc<Profiles>) -> Self {
        Self(profiles)
    }
}

impl Profiles {
    /// The name of these settings.
    pub(super) fn name_of(&self, tls: &Arc<ClientTls>) -> String {
        let mut known = self.known();
        let is_same = |one: &&Profile| Arc::ptr_eq(&one.tls, tls) || one.tls == *tls;
        if let Some(profile) = known.profiles.iter().find(is_same) {
            return profile.name.clone();
        }
        known.named += 1;
        let name = known.named.to_string();
        known.profiles.push(Profile {
            name: name.clone(),
            tls: Arc::clone(tls),
            made: TlsProfile::new(tls.config()),
        });
        name
    }

    /// Forgets those that are not `wanted` any more.
    pub(super) fn retain(&self, wanted: &[&str]) {
        let mut known = self.known();
        let is_wanted = |profile: &Profile| wanted.contains(&profile.name.as_str());
        known.profiles.retain(is_wanted);
    }

    fn find(&self, name: &str) -> Option<TlsProfile> {
        let known = self.known();
        let mut profiles = known.profiles.iter();
        let profile = profiles.find(|profile| profile.name == name)?;
        Some(profile.made.clone())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connect for Way {
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
        let name = tls.profile_name();
        // It has gone with its group, a moment before the check does.
        let profile = self.0.find(name).ok_or_else(|| {
            let text = format!("no TLS settings {name:?}");
            io::Error::new(io::ErrorKind::Unsupported, text)
        })?;
        profile.secure(plain, tls.name(), protocols).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::fixture::Folder;

    #[test]
    fn the_same_settings_have_one_name_and_others_another() {
        let folder = Folder::new();
        let profiles = Profiles::default();
        let [one, again] = [0; 2].map(|_| Arc::new(folder.client(&[])));
        let other = Arc::new(Folder::new().client(&[]));
        let name = profiles.name_of(&one);
        assert_eq!(profiles.name_of(&again), name);
        let second = profiles.name_of(&other);
        assert_ne!(second, name);
        assert!(profiles.find(&name).is_some());
        profiles.retain(&[&second]);
        assert!(profiles.find(&name).is_none());
        assert!(profiles.find(&second).is_some());
        // A name that has gone is never given again.
        assert!(![&name, &second].contains(&&profiles.name_of(&one)));
    }
}
