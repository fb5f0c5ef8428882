//! What to run: resolved, complete, immutable.
//!
//! A [`Draft`] collects what the operator said, [`Draft::resolve`] fills in what follows from it
//! and refuses what must not run. A [`Plan`] can only come from there, so every rule about what is
//! allowed stands here once, whoever asks: the command line, a file, a test.

pub mod check;
mod draft;
mod error;
pub mod files;
pub mod listen;
pub mod site;
pub mod upstream;
pub mod users;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::bounds;

pub use crate::bounds::{Limits, Timeouts};
pub use crate::upstream::balance::Balance;
pub use crate::upstream::group::Server;
pub use crate::upstream::parent::KeyBy;
pub use check::Check;
pub(crate) use draft::overlap;
pub use draft::{
    ActionDraft, Draft, ForwardDraft, RouteDraft, SiteDraft, SiteTlsDraft, UpstreamDraft,
};
pub use error::{Manner, PlanError, PlanFault};
pub use listen::{Engine, Front, FrontTls, Listen};
pub use site::Site;
pub use upstream::Upstream;

/// A complete plan. Comes from [`Draft::resolve`] alone.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) forwards: Vec<Arc<Forward>>,
    pub(crate) sites: Vec<Arc<Site>>,
    /// Follows from the two before.
    pub(crate) listens: Vec<Listen>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    pub(crate) admin: Option<Admin>,
    /// Never 0.
    pub(crate) threads: usize,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
}

/// A forward proxy.
#[derive(Clone, Debug)]
pub struct Forward {
    pub(crate) name: String,
    /// Never empty.
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) protocols: Protocols,
    pub(crate) access: Access,
    pub(crate) allow_private: bool,
    pub(crate) parent: Option<Arc<Upstream>>,
}

/// What a forward proxy speaks; one of them at least.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Protocols {
    /// HTTP, CONNECT included.
    pub http: bool,
    /// SOCKS5.
    pub socks5: bool,
}

/// Who may use a listener.
#[derive(Clone, Debug)]
pub enum Access {
    /// Whoever reaches it: every listener is on loopback.
    Anyone,
    /// Clients in these ranges.
    Ranges(Vec<IpNet>),
}

/// The admin API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admin {
    /// Where it listens.
    pub at: Control,
    /// What every request has to show, if anything.
    pub token: Option<Token>,
}

/// Where the admin API listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Control {
    /// On a port of this machine.
    Tcp(SocketAddr),
    /// On a socket in the file system.
    Unix(PathBuf),
}

/// A secret that is compared and never shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Token(Arc<str>);

impl Plan {
    /// The forward proxies.
    pub fn forwards(&self) -> impl Iterator<Item = &Forward> {
        self.forwards.iter().map(AsRef::as_ref)
    }

    /// The sites.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().map(AsRef::as_ref)
    }

    /// The shortest deadline that the coarse clock has to keep, those of routes included.
    pub(crate) fn shortest(&self) -> Duration {
        let routes = self.sites.iter().flat_map(|site| &site.routes);
        let own = routes.flat_map(|route| {
            let timeouts = route.timeouts;
            [timeouts.answer, timeouts.request, timeouts.idle]
        });
        own.flatten().fold(self.timeouts.shortest(), Duration::min)
    }

    /// Every address that is listened on but that of the admin API: those of the forward proxies,
    /// then those of the sites.
    #[must_use]
    pub fn listens(&self) -> &[Listen] {
        &self.listens
    }

    /// The groups of servers.
    pub fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        self.upstreams.iter().map(AsRef::as_ref)
    }

    /// Where the admin API listens, if it does.
    #[must_use]
    pub fn admin(&self) -> Option<&Admin> {
        self.admin.as_ref()
    }

    /// How many workers it asks for; never 0.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The same plan for so many workers: those that run already.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The deadlines.
    #[must_use]
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// How many files it may hold open: two for each client connection, and what else there is.
    #[must_use]
    pub fn files(&self) -> u64 {
        let limits = &self.limits;
        self.files_of_workers()
            .saturating_add(wide(limits.idle_origins).saturating_mul(wide(self.threads)))
            .saturating_add(wide(limits.connections).saturating_mul(2))
    }

    /// The same plan with bounds low enough for `files` open files: fewer idle connections to
    /// origins, fewer client connections, but one of these for each worker at least.
    #[must_use]
    pub fn within(mut self, files: u64) -> Self {
        if self.files() <= files {
            return self;
        }
        let threads = wide(self.threads);
        if self.folders() > 0 {
            // A quarter at most, and one for each.
            let most = files / 4 / threads / wide(self.folders());
            let most = most.max(1).saturating_mul(bounds::HELD_FILE_BYTES);
            self.limits.file_cache = self.limits.file_cache.min(narrow(most));
        }
        let free = files.saturating_sub(self.files_of_workers());
        // A connection that idles is worth less than one that a client waits for.
        let idle = wide(self.limits.idle_origins).min(free / 4 / threads);
        let served = (free.saturating_sub(idle.saturating_mul(threads)) / 2)
            .clamp(threads, wide(draft::CONNECTIONS_MOST));
        self.limits.idle_origins = narrow(idle);
        self.limits.connections = self.limits.connections.min(narrow(served));
        self
    }

    /// What a worker holds of the folders that are shown: each itself, and files of it.
    fn files_held(&self) -> u64 {
        let held = wide(self.limits.file_cache) / bounds::HELD_FILE_BYTES;
        wide(self.folders()).saturating_mul(held.saturating_add(1))
    }

    /// How many folders are shown, each at every address of its site.
    fn folders(&self) -> usize {
        let sites = self.sites.iter().map(|site| {
            let folders = site.routes.iter();
            let folders = folders.filter(|route| matches!(route.action, site::Action::Files(_)));
            let tls = site.tls().map_or(0, |tls| tls.listen.len());
            folders.count() * (site.listen.len() + tls)
        });
        sites.sum()
    }

    /// What is there before the first client comes.
    fn files_of_workers(&self) -> u64 {
        let each = wide(self.listens.len())
            .saturating_add(wide(self.limits.lookups))
            .saturating_add(self.files_held())
            .saturating_add(FILES_PER_WORKER);
        each.saturating_mul(wide(self.threads))
            .saturating_add(FILES_BESIDES)
    }
}

impl Forward {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens; never empty.
    #[must_use]
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// What it speaks.
    #[must_use]
    pub fn protocols(&self) -> Protocols {
        self.protocols
    }

    /// Who may use it.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Whether clients may reach loopback, private and link-local targets.
    #[must_use]
    pub fn allows_private(&self) -> bool {
        self.allow_private
    }

    /// Through whom every target is reached; `None` if they are dialled from here.
    #[must_use]
    pub fn parent(&self) -> Option<&Upstream> {
        self.parent.as_deref()
    }
}

impl Access {
    /// Whether a client at `ip` may use the listeners. Ranges mean what they say: this machine is
    /// in them only if it is named.
    #[must_use]
    pub fn admits(&self, ip: IpAddr) -> bool {
        match self {
            Self::Anyone => true,
            Self::Ranges(ranges) => {
                let ip = ip.to_canonical();
                ranges.iter().any(|range| range.contains(&ip))
            }
        }
    }
}

impl Protocols {
    /// All there are.
    pub const ALL: Self = Self {
        http: true,
        socks5: true,
    };
}

impl fmt::Display for Protocols {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match (self.http, self.socks5) {
            (true, true) => "HTTP, CONNECT and SOCKS5",
            (true, false) => "HTTP and CONNECT",
            (false, true) => "SOCKS5",
            (false, false) => "nothing",
        })
    }
}

impl Admin {
    /// Without a token.
    #[must_use]
    pub fn on(address: SocketAddr) -> Self {
        Self {
            at: Control::Tcp(address),
            token: None,
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl Token {
    /// Keeps a secret.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(secret.into())
    }

    /// Whether `shown` is it. Takes the same time for every wrong one of its length.
    #[must_use]
    pub fn is(&self, shown: &[u8]) -> bool {
        let secret = self.0.as_bytes();
        let differing = secret
            .iter()
            .zip(shown)
            .fold(0, |differing, (one, other)| differing | (one ^ other));
        secret.len() == shown.len() && std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("<hidden>")
    }
}

fn wide(count: usize) -> u64 {
    count as u64
}

fn narrow(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The admin API and its connections, logs, signals.
const FILES_BESIDES: u64 = 64;
/// An event loop and what wakes it.
const FILES_PER_WORKER: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_lowered_to_the_files_there_are_and_no_further() {
        let plan = Draft {
            threads: 2,
            ..Draft::default()
        }
        .resolve()
        .unwrap();
        assert_eq!(plan.files(), 22_194);
        let enough = plan.clone().within(22_194);
        assert_eq!(enough.limits.connections, 10_000);
        for (files, connections, idle_origins) in [
            (20_000, 8903, 1024),
            (1024, 330, 109),
            (100, 2, 0),
            (0, 2, 0),
        ] {
            let lowered = plan.clone().within(files);
            assert_eq!(lowered.limits.connections, connections, "{files}");
            assert_eq!(lowered.limits.idle_origins, idle_origins, "{files}");
            assert!(lowered.files() <= files.max(150), "{files}");
        }
    }

    #[test]
    fn a_token_is_itself_and_is_not_shown() {
        let token = Token::new("hunter2");
        assert!(token.is(b"hunter2"));
        for wrong in [&b"hunter"[..], b"hunter22", b"hunter3", b""] {
            assert!(!token.is(wrong), "{wrong:?}");
        }
        assert_eq!(format!("{token:?}"), "<hidden>");
    }
}
