//! Every address that is listened on, and what answers there.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Forward, Site};
use crate::net::tls::{Identity, Versions};

/// One address, and what answers there.
#[derive(Clone, Debug)]
pub struct Listen {
    /// What was asked for; its port may be 0.
    pub address: SocketAddr,
    /// What answers.
    pub engine: Engine,
}

/// What answers at an address.
#[derive(Clone, Debug)]
pub enum Engine {
    /// A forward proxy.
    Forward(Arc<Forward>),
    /// Sites, told apart by their hosts.
    Front(Arc<Front>),
}

/// All sites of one address. They agree on how it is spoken to.
#[derive(Clone, Debug)]
pub struct Front {
    pub(crate) address: SocketAddr,
    /// `None` where plain HTTP is spoken.
    pub(crate) tls: Option<FrontTls>,
    /// Whether HTTP/2 is taken without TLS, by prior knowledge.
    pub(crate) h2c: bool,
    /// Never empty. No two have a host in common, and one at the most is for all others.
    pub(crate) sites: Vec<Arc<Site>>,
}

/// How TLS is spoken at an address.
#[derive(Clone, Debug)]
pub struct FrontTls {
    /// The certificates of all its sites, in their order; never empty.
    pub(crate) identities: Vec<Arc<Identity>>,
    /// What is spoken.
    pub(crate) versions: Versions,
}

impl Listen {
    /// The name of what answers there: that of the forward proxy, or of the first of the sites.
    #[must_use]
    pub fn name(&self) -> &str {
        self.engine.name()
    }

    /// What it belongs to: see [`Engine::owner`].
    #[must_use]
    pub fn owner(&self) -> String {
        self.engine.owner()
    }
}

impl Engine {
    /// Its name in the configuration: that of the forward proxy, or of the first of the sites.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Forward(forward) => forward.name(),
            Self::Front(front) => front.name(),
        }
    }

    /// What a port that the system chose belongs to, whatever else changes.
    #[must_use]
    pub fn owner(&self) -> String {
        match self {
            Self::Forward(forward) => forward.name().to_owned(),
            Self::Front(front) => format!("site.{}", front.name()),
        }
    }

    /// How TLS is spoken there, if it is.
    #[must_use]
    pub fn tls(&self) -> Option<&FrontTls> {
        match self {
            Self::Forward(_) => None,
            Self::Front(front) => front.tls.as_ref(),
        }
    }
}

impl Front {
    /// Where it listens; its port may be 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name of its first site.
    #[must_use]
    pub fn name(&self) -> &str {
        self.sites.first().map_or("", |site| site.name())
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Its sites; never empty.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().map(AsRef::as_ref)
    }
}

/// The listeners of `forwards`, then those of `sites`, in the order of the file.
pub(super) fn listens(forwards: &[Arc<Forward>], sites: &[Arc<Site>]) -> Vec<Listen> {
    let mut all = Vec::new();
    for forward in forwards {
        all.extend(forward.listen.iter().map(|&address| Listen {
            address,
            engine: Engine::Forward(Arc::clone(forward)),
        }));
    }
    let fronts = fronts(sites).into_iter().map(|front| Listen {
        address: front.address,
        engine: Engine::Front(Arc::new(front)),
    });
    all.extend(fronts);
    all
}

fn fronts(sites: &[Arc<Site>]) -> Vec<Front> {
    let mut fronts: Vec<Front> = Vec::new();
    for site in sites {
        let tls = site.tls.iter().flat_map(|tls| &tls.listen);
        let plain = site.listen.iter().map(|&address| (address, false));
        for (address, is_tls) in plain.chain(tls.map(|&address| (address, true))) {
            // The system chooses another port for each.
            let mut known = fronts.iter_mut();
            let known = known.find(|one| one.address == address && address.port() != 0);
            match known {
                Some(front) => front.join(site),
                None => fronts.push(Front::of(address, is_tls, site)),
            }
        }
    }
    fronts
}

impl Front {
    fn of(address: SocketAddr, is_tls: bool, site: &Arc<Site>) -> Self {
        let tls = site.tls.as_ref().filter(|_| is_tls);
        Self {
            address,
            tls: tls.map(|tls| FrontTls {
                identities: tls.identities.clone(),
                versions: tls.versions,
            }),
            h2c: site.h2c && !is_tls,
            sites: vec![Arc::clone(site)],
        }
    }

    /// One site more; it speaks as the others do.
    fn join(&mut self, site: &Arc<Site>) {
        if let (Some(front), Some(tls)) = (&mut self.tls, &site.tls) {
            front.identities.extend(tls.identities.iter().cloned());
        }
        self.sites.push(Arc::clone(site));
    }
}
