//! What a listener answers handshakes with.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;

use super::identity::Shown;
use super::names::{self, plain};
use super::{Identity, TlsError, Versions, provider};

/// What one listener answers handshakes with. One for all workers, so that any of them resumes what
/// another began.
///
/// A client that names a host (SNI) is shown the first certificate that has exactly this name, else
/// the first that has it by a wildcard, else the very first; a client that names none is shown the
/// very first, too.
#[derive(Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    shelf: Arc<Shelf>,
    versions: Versions,
}

/// Identities, found by name.
pub(super) struct Shelf {
    /// Never empty.
    identities: Vec<Arc<Identity>>,
    /// As of the last exchange of any of them; handshakes read it without waiting.
    order: ArcSwap<Order>,
    /// Held while sorting, so that an older order cannot replace a newer one.
    sorting: Mutex<()>,
}

/// Which certificate is shown for which name.
struct Order {
    exact: HashMap<Box<str>, Arc<Shown>>,
    /// By what follows the first label.
    below: HashMap<Box<str>, Arc<Shown>>,
    first: Arc<Shown>,
}

impl ServerTls {
    /// Shows these identities and speaks these application protocols (ALPN), best first.
    ///
    /// # Errors
    ///
    /// There is no identity, or the engine cannot be set up.
    pub fn new(
        identities: Vec<Arc<Identity>>,
        versions: Versions,
        alpn: &[&[u8]],
    ) -> Result<Arc<Self>, TlsError> {
        let shelf = Shelf::of(identities)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions.spoken())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shelf) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = alpn.iter().map(|&protocol| protocol.to_vec()).collect();
        // A phone without AES in its processor is the one to know that ChaCha20 is cheaper for it.
        config.ignore_client_order = false;
        // Tickets need no memory here; the few TLS 1.2 clients without them share a small cache.
        config.ticketer = Ticketer::new()?;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MOST);
        config.max_early_data_size = 0;
        Ok(Arc::new(Self {
            config: Arc::new(config),
            shelf,
            versions,
        }))
    }

    /// The settings that each handshake begins from.
    #[must_use]
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// What is shown; never empty.
    #[must_use]
    pub fn identities(&self) -> &[Arc<Identity>] {
        &self.shelf.identities
    }

    /// The identity that a client is shown for `sni`; `None` for the moment in which it is exchanged.
    #[must_use]
    pub fn shown_for(&self, sni: Option<&str>) -> Option<&Arc<Identity>> {
        let order = self.shelf.order.load();
        let shown = order.find(sni);
        let mut identities = self.identities().iter();
        identities.find(|one| Arc::ptr_eq(&one.current(), shown))
    }

    /// Whether the certificate that a client was shown for `sni` is for `host` too: a name, or an
    /// address with or without brackets; no port.
    #[must_use]
    pub fn covers(&self, sni: Option<&str>, host: &str) -> bool {
        self.shelf.order.load().find(sni).names().cover(host)
    }

    /// Whether both show what the same files hold, in the same versions and protocols; then the one
    /// that runs may stay, with its tickets.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.identities(), other.identities());
        let mut pairs = ours.iter().zip(theirs);
        self.versions == other.versions
            && self.config.alpn_protocols == other.config.alpn_protocols
            && ours.len() == theirs.len()
            && pairs.all(|(one, another)| one.is_same_files(another))
    }
}

impl Shelf {
    fn of(identities: Vec<Arc<Identity>>) -> Result<Arc<Self>, TlsError> {
        let Some(order) = Order::of(&identities) else {
            return Err(TlsError::NoIdentity);
        };
        let shelf = Arc::new(Self {
            identities,
            order: ArcSwap::from_pointee(order),
            sorting: Mutex::default(),
        });
        for identity in &shelf.identities {
            identity.stand_on(&shelf);
        }
        // One of them may have been exchanged before it knew of the shelf.
        shelf.sort();
        Ok(shelf)
    }

    /// Takes up what the identities show now.
    pub(super) fn sort(&self) {
        let _one_at_a_time = self.sorting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(order) = Order::of(&self.identities) {
            self.order.store(Arc::new(order));
        }
    }
}

impl ResolvesServerCert for Shelf {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let order = self.order.load();
        Some(Arc::clone(&order.find(hello.server_name()).pair))
    }
}

/// Says which identities; their order follows from them.
impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.identities).finish()
    }
}

impl Order {
    /// None of no identities.
    fn of(identities: &[Arc<Identity>]) -> Option<Self> {
        let mut order = Self {
            exact: HashMap::new(),
            below: HashMap::new(),
            first: identities.first()?.current(),
        };
        for shown in identities.iter().map(|identity| identity.current()) {
            for name in shown.names().exact() {
                let place = order.exact.entry(name.into());
                place.or_insert_with(|| Arc::clone(&shown));
            }
            for name in shown.names().below() {
                let place = order.below.entry(name.into());
                place.or_insert_with(|| Arc::clone(&shown));
            }
        }
        Some(order)
    }

    fn find(&self, sni: Option<&str>) -> &Arc<Shown> {
        let Some(name) = sni.map(plain) else {
            return &self.first;
        };
        let exact = self.exact.get(&*name);
        let below = || self.below.get(names::parent(&name)?);
        exact.or_else(below).unwrap_or(&self.first)
    }
}

/// How many TLS 1.2 sessions of clients without tickets are remembered, at about 200 bytes each.
const SESSIONS_MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use rustls::version::TLS12;
    use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};

    use super::super::fixture::{Folder, connect, shake};
    use super::*;

    const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

    fn serve(identities: Vec<Arc<Identity>>) -> Arc<ServerTls> {
        ServerTls::new(identities, Versions::From12, ALPN).unwrap()
    }

    /// The index of the identity that a client is shown for this name.
    fn shown(server: &ServerTls, sni: Option<&str>, among: &[Arc<Identity>]) -> usize {
        let order = server.shelf.order.load();
        let leaf = &order.find(sni).pair.cert;
        let mut identities = among.iter();
        let found = identities.position(|one| one.current().pair.cert == *leaf);
        found.unwrap()
    }

    #[test]
    fn exact_names_win_over_wildcards_and_the_first_answers_for_the_rest() {
        let folder = Folder::new();
        let identities = vec![
            folder.identity("first", &["first.example"]),
            folder.identity("star", &["*.example.com"]),
            folder.identity("shop", &["shop.example.com", "FIRST.example"]),
        ];
        let server = serve(identities.clone());
        for (sni, index) in [
            (Some("shop.example.com"), 2),
            (Some("SHOP.example.com."), 2),
            (Some("blog.example.com"), 1),
            (Some("a.blog.example.com"), 0),
            (Some("example.com"), 0),
            (Some("first.example"), 0),
            (None, 0),
        ] {
            assert_eq!(shown(&server, sni, &identities), index, "{sni:?}");
        }
    }

    #[test]
    fn a_host_is_covered_by_the_certificate_that_was_shown_alone() {
        let folder = Folder::new();
        let server = serve(vec![
            folder.identity("first", &["first.example", "127.0.0.1"]),
            folder.identity("shop", &["shop.example", "*.shop.example"]),
        ]);
        for (sni, host, covered) in [
            (Some("shop.example"), "www.SHOP.example.", true),
            (Some("www.shop.example"), "shop.example", true),
            (Some("shop.example"), "first.example", false),
            (Some("elsewhere.example"), "first.example", true),
            (None, "127.0.0.1", true),
            (None, "shop.example", false),
        ] {
            assert_eq!(server.covers(sni, host), covered, "{sni:?} {host}");
        }
    }

    #[test]
    fn an_exchanged_certificate_is_shown_by_a_listener_that_runs() {
        let folder = Folder::new();
        let identity = folder.identity("site", &["old.example"]);
        let server = serve(vec![
            folder.identity("other", &["other.example"]),
            Arc::clone(&identity),
        ]);
        let client = folder.client(ALPN);
        shake(&client, &server, "old.example").unwrap();
        shake(&client, &server, "new.example").unwrap_err();
        folder.issue("site", &["new.example"]);
        assert!(identity.refresh().unwrap());
        let (seen, _) = shake(&client, &server, "new.example").unwrap();
        let leaf = seen.peer_certificates().unwrap().first().cloned();
        assert_eq!(leaf.as_ref(), identity.current().pair.cert.first());
        assert!(server.covers(Some("new.example"), "new.example"));
        shake(&folder.client(ALPN), &server, "old.example").unwrap_err();
    }

    #[test]
    fn the_second_handshake_resumes_what_the_first_began() {
        let folder = Folder::new();
        let server = serve(vec![folder.identity("site", &["site.example"])]);
        let by_13 = folder.client(ALPN).config().clone();
        let by_12 = Arc::new(folder.config_of(&[&TLS12]));
        for (config, version) in [
            (by_13, ProtocolVersion::TLSv1_3),
            (by_12, ProtocolVersion::TLSv1_2),
        ] {
            for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let (client, _) = connect(&config, server.config(), "site.example").unwrap();
                assert_eq!(client.protocol_version(), Some(version));
                assert_eq!(client.handshake_kind(), Some(kind), "{version:?}");
            }
        }
    }

    #[test]
    fn keys_are_exchanged_so_that_quantum_computers_cannot_follow() {
        let folder = Folder::new();
        let server = serve(vec![folder.identity("site", &["site.example"])]);
        let (client, _) = shake(&folder.client(ALPN), &server, "site.example").unwrap();
        let group = client.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
        assert_eq!(client.alpn_protocol(), Some(&b"h2"[..]));
    }

    #[test]
    fn a_listener_of_1_3_alone_refuses_1_2() {
        let folder = Folder::new();
        let identities = vec![folder.identity("site", &["site.example"])];
        let server = ServerTls::new(identities, Versions::Only13, &[]).unwrap();
        let old = Arc::new(folder.config_of(&[&TLS12]));
        connect(&old, server.config(), "site.example").unwrap_err();
        let (client, _) = shake(&folder.client(&[]), &server, "site.example").unwrap();
        assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    }

    #[test]
    fn the_same_files_and_settings_are_the_same_listener() {
        let folder = Folder::new();
        let one = || folder.identity("one", &["one.example"]);
        let two = folder.identity("two", &["two.example"]);
        let server = serve(vec![one(), Arc::clone(&two)]);
        assert!(server.is_same_as(&serve(vec![one(), Arc::clone(&two)])));
        assert!(!server.is_same_as(&serve(vec![two, one()])));
        assert!(!server.is_same_as(&serve(vec![one()])));
        let only_13 = ServerTls::new(vec![one()], Versions::Only13, ALPN).unwrap();
        assert!(!serve(vec![one()]).is_same_as(&only_13));
    }

    #[test]
    fn a_listener_has_something_to_show() {
        let none = ServerTls::new(Vec::new(), Versions::From12, ALPN);
        assert!(matches!(none, Err(TlsError::NoIdentity)));
    }
}
