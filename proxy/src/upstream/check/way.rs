//! By which way checks reach servers: TCP, and TLS by the settings of their groups.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use risefall::check::{Connect, Protocols, Tls, dial};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
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

/// One setting, once for each choice of protocols: what is offered is part of it.
#[derive(Debug)]
struct Profile {
    name: String,
    tls: Arc<ClientTls>,
    none: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
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
        let profile = Profile::new(known.named.to_string(), tls);
        let name = profile.name.clone();
        known.profiles.push(profile);
        name
    }

    /// Forgets those that are not `wanted` any more.
    pub(super) fn retain(&self, wanted: &[&str]) {
        let mut known = self.known();
        let is_wanted = |profile: &Profile| wanted.contains(&profile.name.as_str());
        known.profiles.retain(is_wanted);
    }

    fn config(&self, name: &str, protocols: Protocols) -> Option<Arc<ClientConfig>> {
        let known = self.known();
        let mut profiles = known.profiles.iter();
        let profile = profiles.find(|profile| profile.name == name)?;
        Some(Arc::clone(profile.offering(protocols)))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Profile {
    fn new(name: String, tls: &Arc<ClientTls>) -> Self {
        let offering = |protocols: Protocols| tls.offering(protocols.names());
        Self {
            name,
            tls: Arc::clone(tls),
            none: offering(Protocols::None),
            http1: offering(Protocols::Http1),
            http2: offering(Protocols::Http2),
        }
    }

    fn offering(&self, protocols: Protocols) -> &Arc<ClientConfig> {
        match protocols {
            Protocols::Http1 => &self.http1,
            Protocols::Http2 => &self.http2,
            _ => &self.none,
        }
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
        let unusable = |text: String| io::Error::new(io::ErrorKind::Unsupported, text);
        let profile = tls.profile_name();
        let config = self.0.config(profile, protocols);
        // It has gone with its group, a moment before the check does.
        let config = config.ok_or_else(|| unusable(format!("no TLS settings {profile:?}")))?;
        let name = ServerName::try_from(tls.name().to_owned())
            .map_err(|_| unusable(format!("{:?} is no name for TLS", tls.name())))?;
        let stream = TlsConnector::from(config).connect(name, plain).await?;
        let chosen = stream.get_ref().1.alpn_protocol();
        match protocols {
            Protocols::Http2 if chosen != Some(b"h2") => {
                Err(io::Error::other("the server does not offer HTTP/2"))
            }
            _ => Ok(stream),
        }
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
        let offered = profiles.config(&name, Protocols::Http2).unwrap();
        assert_eq!(offered.alpn_protocols, [b"h2"]);
        profiles.retain(&[&second]);
        assert!(profiles.config(&name, Protocols::None).is_none());
        assert!(profiles.config(&second, Protocols::None).is_some());
        // A name that has gone is never given again.
        assert!(![&name, &second].contains(&&profiles.name_of(&one)));
    }
}
