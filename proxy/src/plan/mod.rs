//! What to run: resolved, complete, immutable.
//!
//! A [`Draft`] collects what the operator said, [`Draft::resolve`] fills in what follows from it
//! and refuses what must not run. A [`Plan`] can only come from there, so every rule about what is
//! allowed stands here once, whoever asks: the command line, a file, a test.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

pub use crate::bounds::{Limits, Timeouts};
use crate::units;

/// What the operator said; what was not said keeps its default.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Where the forward proxy listens. Default 127.0.0.1:8090.
    pub listen: Vec<SocketAddr>,
    /// Client ranges that may use it. Default: whoever reaches a loopback listener.
    pub clients: Vec<IpNet>,
    /// Whether clients may reach loopback, private and link-local targets. Default: yes when every
    /// listener is on loopback, else no.
    pub allow_private: Option<bool>,
    /// Where the admin API listens; `None` for nowhere. Default 127.0.0.1:9901.
    pub admin: Option<SocketAddr>,
    /// Worker threads, each with an event loop of its own; 0, the default, is one for each core.
    pub threads: usize,
    /// Bounds.
    pub limits: Limits,
    /// Deadlines.
    pub timeouts: Timeouts,
}

/// A complete plan. Comes from [`Draft::resolve`] alone.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Never empty.
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) access: Access,
    pub(crate) allow_private: bool,
    /// Always a loopback address.
    pub(crate) admin: Option<SocketAddr>,
    /// Never 0.
    pub(crate) threads: usize,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
}

/// Who may use a listener.
#[derive(Clone, Debug)]
pub enum Access {
    /// Whoever reaches it: every listener is on loopback.
    Anyone,
    /// Clients in these ranges.
    Ranges(Vec<IpNet>),
}

/// Why a draft must not run.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Nothing to do.
    #[error("no listener given; expected at least one address, such as 127.0.0.1:8090")]
    NoListener,
    /// An open proxy.
    #[error(
        "{listener} can be reached from other machines, so anybody could use this proxy to hide \
         behind it; say who may (--allow-clients 192.0.2.0/24), or listen on 127.0.0.1:{}",
        .listener.port()
    )]
    OpenProxy {
        /// The first listener that is not on loopback.
        listener: SocketAddr,
    },
    /// The admin API has no users, so only this machine may ask it.
    #[error("the admin address {admin} is not on loopback; expected one such as 127.0.0.1:9901")]
    AdminInTheOpen {
        /// What was given.
        admin: SocketAddr,
    },
    /// Two listeners on one address.
    #[error("{address} is given twice; each listener needs an address of its own")]
    Twice {
        /// The address.
        address: SocketAddr,
    },
    /// A bound or a deadline out of range.
    #[error("{field} is {found}, expected {expected}")]
    OutOfRange {
        /// Which value: its flag, if it has one.
        field: &'static str,
        /// What was given.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
}

impl Draft {
    /// Completes the draft.
    ///
    /// # Errors
    ///
    /// Every mistake in it, not only the first.
    pub fn resolve(self) -> Result<Plan, Vec<PlanError>> {
        let mut errors = Vec::new();
        self.check_addresses(&mut errors);
        self.check_ranges(&mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let on_loopback = self.listen.iter().all(is_loopback);
        Ok(Plan {
            allow_private: self.allow_private.unwrap_or(on_loopback),
            access: if self.clients.is_empty() {
                Access::Anyone
            } else {
                Access::Ranges(self.clients)
            },
            threads: match self.threads {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                threads => threads,
            },
            listen: self.listen,
            admin: self.admin,
            limits: self.limits,
            timeouts: self.timeouts,
        })
    }

    fn check_addresses(&self, errors: &mut Vec<PlanError>) {
        if self.listen.is_empty() {
            errors.push(PlanError::NoListener);
        }
        if self.clients.is_empty()
            && let Some(&listener) = self.listen.iter().find(|listener| !is_loopback(listener))
        {
            errors.push(PlanError::OpenProxy { listener });
        }
        if let Some(admin) = self.admin
            && !is_loopback(&admin)
        {
            errors.push(PlanError::AdminInTheOpen { admin });
        }
        let mut all: Vec<_> = self.listen.iter().chain(&self.admin).copied().collect();
        all.retain(|address| address.port() != 0);
        all.sort_unstable();
        for pair in all.windows(2) {
            if let [first, second] = pair
                && first == second
            {
                errors.push(PlanError::Twice { address: *first });
            }
        }
    }

    fn check_ranges(&self, errors: &mut Vec<PlanError>) {
        for (field, value, range, expected) in [
            (
                "--max-connections",
                self.limits.connections,
                1..=CONNECTIONS_MOST,
                "from 1 to 16777216",
            ),
            (
                "limits.lookups",
                self.limits.lookups,
                1..=LOOKUPS_MOST,
                "from 1 to 1024",
            ),
            (
                "--header-size",
                self.limits.header_size,
                HEADER_LEAST..=HEADER_MOST,
                "from 1024 to 1048576 bytes",
            ),
            (
                "--header-count",
                self.limits.header_count,
                1..=FIELDS_MOST,
                "from 1 to 10000",
            ),
            (
                "--threads",
                self.threads,
                0..=THREADS_MOST,
                "from 0 to 1024",
            ),
        ] {
            if !range.contains(&value) {
                errors.push(PlanError::OutOfRange {
                    field,
                    found: value.to_string(),
                    expected,
                });
            }
        }
        let timeouts = &self.timeouts;
        for (field, value) in [
            ("--handshake-timeout", timeouts.handshake),
            ("--header-timeout", timeouts.header),
            ("--body-idle-timeout", timeouts.body_idle),
            ("timeouts.keep_alive", timeouts.keep_alive),
            ("timeouts.resolve", timeouts.resolve),
            ("--answer-timeout", timeouts.answer),
            ("--idle-timeout", timeouts.idle),
            ("timeouts.pool_idle", timeouts.pool_idle),
        ] {
            if !(TIMEOUT_LEAST..=TIMEOUT_MOST).contains(&value) {
                errors.push(PlanError::OutOfRange {
                    field,
                    found: units::show(value),
                    expected: "from 10ms to 168h",
                });
            }
        }
        if timeouts.drain > TIMEOUT_MOST {
            errors.push(PlanError::OutOfRange {
                field: "--drain-timeout",
                found: units::show(timeouts.drain),
                expected: "at most 168h",
            });
        }
    }
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8090))],
            clients: Vec::new(),
            allow_private: None,
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 9901))),
            threads: 0,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl Plan {
    /// Who may use the listeners.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Whether clients may reach loopback, private and link-local targets.
    #[must_use]
    pub fn allows_private(&self) -> bool {
        self.allow_private
    }

    /// How many workers it asks for; never 0.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
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
        let free = files.saturating_sub(self.files_of_workers());
        // A connection that idles is worth less than one that a client waits for.
        let idle = wide(self.limits.idle_origins).min(free / 4 / threads);
        let served = (free.saturating_sub(idle.saturating_mul(threads)) / 2)
            .clamp(threads, wide(CONNECTIONS_MOST));
        self.limits.idle_origins = narrow(idle);
        self.limits.connections = self.limits.connections.min(narrow(served));
        self
    }

    /// What is there before the first client comes.
    fn files_of_workers(&self) -> u64 {
        let each = wide(self.listen.len())
            .saturating_add(wide(self.limits.lookups))
            .saturating_add(FILES_PER_WORKER);
        each.saturating_mul(wide(self.threads))
            .saturating_add(FILES_BESIDES)
    }

    /// The deadlines.
    #[must_use]
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
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

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
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
/// No machine holds more; and what is computed from it stays far from overflow.
const CONNECTIONS_MOST: usize = 1 << 24;
const LOOKUPS_MOST: usize = 1024;
const THREADS_MOST: usize = 1024;
/// A browser's head does not fit into less.
const HEADER_LEAST: usize = 1024;
/// Every connection may hold this much before its request is known.
const HEADER_MOST: usize = 1024 * 1024;
const FIELDS_MOST: usize = 10_000;
const TIMEOUT_LEAST: Duration = Duration::from_millis(10);
const TIMEOUT_MOST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(listen: &str) -> Draft {
        Draft {
            listen: vec![listen.parse().unwrap()],
            ..Draft::default()
        }
    }

    #[test]
    fn a_listener_on_loopback_is_for_anyone_and_reaches_private_targets() {
        for listen in ["127.0.0.1:8090", "[::1]:8090", "[::ffff:127.0.0.1]:8090"] {
            let plan = at(listen).resolve().unwrap();
            assert!(plan.allow_private, "{listen}");
            assert!(plan.access.admits([203, 0, 113, 9].into()), "{listen}");
        }
    }

    #[test]
    fn a_listener_elsewhere_needs_client_ranges() {
        for listen in ["0.0.0.0:8090", "[::]:8090", "192.0.2.7:8090"] {
            let errors = at(listen).resolve().unwrap_err();
            assert!(
                matches!(errors[..], [PlanError::OpenProxy { .. }]),
                "{listen}"
            );
            assert!(
                errors[0].to_string().contains("--allow-clients"),
                "{listen}"
            );
        }
    }

    #[test]
    fn client_ranges_open_a_listener_to_them_alone_and_to_public_targets_alone() {
        let clients = vec!["192.0.2.0/24".parse().unwrap()];
        let plan = Draft {
            clients,
            ..at("0.0.0.0:8090")
        }
        .resolve()
        .unwrap();
        assert!(!plan.allow_private);
        assert!(plan.access.admits([192, 0, 2, 9].into()));
        assert!(plan.access.admits("::ffff:192.0.2.9".parse().unwrap()));
        assert!(!plan.access.admits([192, 0, 3, 9].into()));
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let draft = Draft {
            admin: Some("192.0.2.1:9901".parse().unwrap()),
            limits: Limits {
                connections: 0,
                ..Limits::default()
            },
            ..at("0.0.0.0:8090")
        };
        assert_eq!(draft.resolve().unwrap_err().len(), 3);
    }

    #[test]
    fn a_value_out_of_range_is_refused_in_the_words_of_its_flag() {
        let draft = Draft {
            threads: 5000,
            limits: Limits {
                connections: usize::MAX,
                ..Limits::default()
            },
            timeouts: Timeouts {
                idle: Duration::ZERO,
                drain: Duration::from_secs(169 * 60 * 60),
                ..Timeouts::default()
            },
            ..Draft::default()
        };
        let errors = draft.resolve().unwrap_err();
        let said: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "--max-connections is 18446744073709551615, expected from 1 to 16777216",
                "--threads is 5000, expected from 0 to 1024",
                "--idle-timeout is 0ms, expected from 10ms to 168h",
                "--drain-timeout is 169h, expected at most 168h",
            ]
        );
    }

    #[test]
    fn a_plan_is_lowered_to_the_files_there_are_and_no_further() {
        let plan = Draft {
            threads: 2,
            ..Draft::default()
        }
        .resolve()
        .unwrap();
        assert_eq!(plan.files(), 21_170);
        let enough = plan.clone().within(21_170);
        assert_eq!(enough.limits.connections, 10_000);
        for (files, connections, idle_origins) in [
            (20_000, 9415, 512),
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
    fn two_listeners_need_two_addresses() {
        let address = "127.0.0.1:8090".parse().unwrap();
        let draft = Draft {
            listen: vec![address, address],
            ..Draft::default()
        };
        assert_eq!(draft.resolve().unwrap_err(), [PlanError::Twice { address }]);
    }
}
