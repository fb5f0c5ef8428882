//! From what the operator said to a plan, or to all that is wrong with it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use risefall::Policy;

use super::error::{PlanError, PlanFault};
use super::{
    Access, Admin, Balance, Control, Forward, KeyBy, Limits, Plan, Protocols, Server, Timeouts,
    Upstream,
};
use crate::units;

/// What the operator said; what was not said keeps its default.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Forward proxies. Default: one named `proxy`.
    pub forwards: Vec<ForwardDraft>,
    /// Groups of servers. Default: none.
    pub upstreams: Vec<UpstreamDraft>,
    /// Where the admin API listens; `None` for nowhere. Default 127.0.0.1:9901.
    pub admin: Option<Admin>,
    /// Worker threads, each with an event loop of its own; 0, the default, is one for each core.
    pub threads: usize,
    /// Bounds.
    pub limits: Limits,
    /// Deadlines.
    pub timeouts: Timeouts,
}

/// What was said of a forward proxy.
#[derive(Clone, Debug)]
pub struct ForwardDraft {
    /// Its name; no two have the same.
    pub name: String,
    /// Where it listens. Default 127.0.0.1:8090.
    pub listen: Vec<SocketAddr>,
    /// What it speaks. Default: all.
    pub protocols: Protocols,
    /// Client ranges that may use it. Default: whoever reaches a loopback listener.
    pub clients: Vec<IpNet>,
    /// Whether clients may reach loopback, private and link-local targets. Default: yes when every
    /// listener is on loopback, else no.
    pub allow_private: Option<bool>,
    /// The name of the upstream through which every target is reached.
    pub parent: Option<String>,
}

/// What was said of a group of servers.
#[derive(Clone, Debug)]
pub struct UpstreamDraft {
    /// Its name; no two have the same.
    pub name: String,
    /// The servers, in the order in which they are tried.
    pub servers: Vec<Server>,
    /// How one is chosen. Default: each in turn.
    pub balance: Balance,
    /// What of a request it is chosen by, if the balance asks for that. Default: its client.
    pub by: KeyBy,
    /// When one of them is down. Default: the policy of the process.
    pub policy: Option<Policy>,
}

impl Draft {
    /// Completes the draft.
    ///
    /// # Errors
    ///
    /// Every mistake in it, not only the first.
    pub fn resolve(self) -> Result<Plan, Vec<PlanError>> {
        let mut errors = Errors(Vec::new());
        if self.forwards.is_empty() {
            errors.add("forward".to_owned(), PlanFault::Nothing);
        }
        for forward in &self.forwards {
            self.check_forward(forward, &mut errors);
        }
        for upstream in &self.upstreams {
            check_upstream(upstream, &mut errors);
        }
        self.check_admin(&mut errors);
        self.check_claims(&mut errors);
        self.check_limits(&mut errors);
        self.check_timeouts(&mut errors);
        if !errors.0.is_empty() {
            return Err(errors.0);
        }
        let upstreams: Vec<_> = self
            .upstreams
            .into_iter()
            .map(|draft| Arc::new(draft.complete()))
            .collect();
        let forwards = self.forwards.into_iter();
        Ok(Plan {
            forwards: forwards
                .map(|draft| Arc::new(draft.complete(&upstreams)))
                .collect(),
            upstreams,
            threads: match self.threads {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                threads => threads,
            },
            admin: self.admin,
            limits: self.limits,
            timeouts: self.timeouts,
        })
    }

    fn check_forward(&self, forward: &ForwardDraft, errors: &mut Errors) {
        let place = format!("forward.{}", forward.name);
        if forward.listen.is_empty() {
            errors.add(format!("{place}.listen"), PlanFault::NoListener);
        }
        if !forward.protocols.http && !forward.protocols.socks5 {
            errors.add(format!("{place}.protocols"), PlanFault::NoProtocol);
        }
        let open = forward.listen.iter().position(|at| !is_loopback(at));
        if forward.clients.is_empty()
            && let Some((nth, &listener)) =
                open.and_then(|nth| Some((nth, forward.listen.get(nth)?)))
        {
            let fault = PlanFault::OpenProxy { listener };
            errors.add(format!("{place}.listen[{nth}]"), fault);
        }
        if let Some(name) = &forward.parent
            && !self.upstreams.iter().any(|upstream| upstream.name == *name)
        {
            let upstreams = self.upstreams.iter();
            let fault = PlanFault::UnknownUpstream {
                name: name.clone(),
                upstreams: upstreams.map(|upstream| upstream.name.clone()).collect(),
            };
            errors.add(format!("{place}.parent"), fault);
        }
    }

    fn check_admin(&self, errors: &mut Errors) {
        if let Some(&admin) = self.admin_address()
            && !is_loopback(&admin)
        {
            errors.add(
                "admin.listen".to_owned(),
                PlanFault::AdminInTheOpen { admin },
            );
        }
    }

    fn admin_address(&self) -> Option<&SocketAddr> {
        match &self.admin {
            Some(Admin {
                at: Control::Tcp(address),
                ..
            }) => Some(address),
            _ => None,
        }
    }

    /// No two listeners on one address; a wildcard holds them all.
    fn check_claims(&self, errors: &mut Errors) {
        let forwards = self.forwards.iter().flat_map(|forward| {
            let listen = forward.listen.iter().enumerate();
            listen.map(|(nth, &at)| (format!("forward.{}.listen[{nth}]", forward.name), at))
        });
        let admin = self.admin_address();
        let admin = admin.map(|&at| ("admin.listen".to_owned(), at));
        let mut claims: Vec<(String, SocketAddr)> = Vec::new();
        for (place, address) in forwards.chain(admin) {
            let other = claims.iter().find(|(_, other)| overlap(address, *other));
            if let Some((other, other_address)) = other {
                let fault = PlanFault::ClaimedTwice {
                    address,
                    other: other.clone(),
                    other_address: *other_address,
                };
                errors.add(place.clone(), fault);
            }
            claims.push((place, address));
        }
    }

    fn check_limits(&self, errors: &mut Errors) {
        let limits = &self.limits;
        for (place, value, range, expected) in [
            (
                "limits.connections",
                limits.connections,
                1..=CONNECTIONS_MOST,
                "from 1 to 16777216",
            ),
            (
                "limits.connections_per_client",
                limits.per_client,
                0..=CONNECTIONS_MOST,
                "from 0 to 16777216",
            ),
            (
                "limits.lookups",
                limits.lookups,
                1..=LOOKUPS_MOST,
                "from 1 to 1024",
            ),
            (
                "limits.header_size",
                limits.header_size,
                HEADER_LEAST..=HEADER_MOST,
                "from 1024 to 1048576 bytes",
            ),
            (
                "limits.header_count",
                limits.header_count,
                1..=FIELDS_MOST,
                "from 1 to 10000",
            ),
            (
                "process.threads",
                self.threads,
                0..=THREADS_MOST,
                "from 0 to 1024",
            ),
        ] {
            if !range.contains(&value) {
                let found = value.to_string();
                errors.add(place.to_owned(), PlanFault::OutOfRange { found, expected });
            }
        }
    }

    fn check_timeouts(&self, errors: &mut Errors) {
        let timeouts = &self.timeouts;
        for (place, value) in [
            ("limits.handshake_timeout", Some(timeouts.handshake)),
            ("limits.header_timeout", Some(timeouts.header)),
            ("limits.keep_alive_timeout", Some(timeouts.keep_alive)),
            ("limits.answer_timeout", Some(timeouts.answer)),
            ("limits.body_idle_timeout", Some(timeouts.body_idle)),
            ("limits.idle_timeout", Some(timeouts.idle)),
            ("limits.request_timeout", timeouts.request),
            ("limits.tunnel_timeout", timeouts.tunnel),
            ("limits.resolve_timeout", Some(timeouts.resolve)),
            ("limits.pool_idle_timeout", Some(timeouts.pool_idle)),
        ] {
            if let Some(value) = value
                && !(TIMEOUT_LEAST..=TIMEOUT_MOST).contains(&value)
            {
                let fault = PlanFault::OutOfRange {
                    found: units::show(value),
                    expected: "from 10ms to 168h",
                };
                errors.add(place.to_owned(), fault);
            }
        }
        if timeouts.drain > TIMEOUT_MOST {
            let fault = PlanFault::OutOfRange {
                found: units::show(timeouts.drain),
                expected: "at most 168h",
            };
            errors.add("process.drain_timeout".to_owned(), fault);
        }
    }
}

impl ForwardDraft {
    /// A forward proxy on `listen`, all else by default.
    #[must_use]
    pub fn on(listen: Vec<SocketAddr>) -> Self {
        Self {
            listen,
            ..Self::default()
        }
    }

    fn complete(self, upstreams: &[Arc<Upstream>]) -> Forward {
        let on_loopback = self.listen.iter().all(is_loopback);
        let parent = self.parent.and_then(|name| {
            let found = upstreams.iter().find(|upstream| upstream.name == name);
            found.cloned()
        });
        Forward {
            name: self.name,
            allow_private: self.allow_private.unwrap_or(on_loopback),
            access: if self.clients.is_empty() {
                Access::Anyone
            } else {
                Access::Ranges(self.clients)
            },
            listen: self.listen,
            protocols: self.protocols,
            parent,
        }
    }
}

impl UpstreamDraft {
    fn complete(self) -> Upstream {
        Upstream {
            name: self.name,
            servers: self.servers,
            balance: self.balance,
            by: self.by,
            policy: self.policy.map(Arc::new),
        }
    }
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            forwards: vec![ForwardDraft::default()],
            upstreams: Vec::new(),
            admin: Some(Admin::on(SocketAddr::from(([127, 0, 0, 1], 9901)))),
            threads: 0,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for ForwardDraft {
    fn default() -> Self {
        Self {
            name: "proxy".to_owned(),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8090))],
            protocols: Protocols::ALL,
            clients: Vec::new(),
            allow_private: None,
            parent: None,
        }
    }
}

struct Errors(Vec<PlanError>);

impl Errors {
    fn add(&mut self, place: String, fault: PlanFault) {
        self.0.push(PlanError { place, fault });
    }
}

fn check_upstream(upstream: &UpstreamDraft, errors: &mut Errors) {
    let place = format!("upstream.{}.servers", upstream.name);
    if upstream.servers.is_empty() {
        errors.add(place.clone(), PlanFault::NoServer);
    } else if upstream.servers.iter().all(|server| server.is_backup) {
        errors.add(place.clone(), PlanFault::OnlyBackups);
    }
    let mut seen = HashSet::new();
    for (nth, server) in upstream.servers.iter().enumerate() {
        let server = server.target.to_string();
        if !seen.insert(server.clone()) {
            let fault = PlanFault::SameServer { server };
            errors.add(format!("{place}[{nth}]"), fault);
        }
    }
}

/// Whether two listeners would get connections that are meant for one of them. Port 0 is another
/// port for each.
pub(crate) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (here, there) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() != 0
        && one.port() == other.port()
        && (here == there || holds(here, there) || holds(there, here))
}

/// Whether `wildcard` stands for every address, `ip` among them. That of IPv6 is for both families.
fn holds(wildcard: std::net::IpAddr, ip: std::net::IpAddr) -> bool {
    wildcard.is_unspecified() && (wildcard.is_ipv6() || ip.is_ipv4())
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// No machine holds more; and what is computed from it stays far from overflow.
pub(super) const CONNECTIONS_MOST: usize = 1 << 24;
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
    use crate::proto::Target;

    fn at(listen: &str) -> Draft {
        with(ForwardDraft::on(vec![listen.parse().unwrap()]))
    }

    fn with(forward: ForwardDraft) -> Draft {
        Draft {
            forwards: vec![forward],
            ..Draft::default()
        }
    }

    fn said(draft: Draft) -> Vec<String> {
        let errors = draft.resolve().unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_listener_on_loopback_is_for_anyone_and_reaches_private_targets() {
        for listen in ["127.0.0.1:8090", "[::1]:8090", "[::ffff:127.0.0.1]:8090"] {
            let plan = at(listen).resolve().unwrap();
            let forward = &plan.forwards[0];
            assert!(forward.allow_private, "{listen}");
            assert!(forward.access.admits([203, 0, 113, 9].into()), "{listen}");
        }
    }

    #[test]
    fn a_listener_elsewhere_needs_client_ranges() {
        for listen in ["0.0.0.0:8090", "[::]:8090", "192.0.2.7:8090"] {
            let errors = at(listen).resolve().unwrap_err();
            assert_eq!(errors.len(), 1, "{listen}");
            assert!(
                matches!(errors[0].fault, PlanFault::OpenProxy { .. }),
                "{listen}"
            );
            assert_eq!(errors[0].place, "forward.proxy.listen[0]");
        }
    }

    #[test]
    fn client_ranges_open_a_listener_to_them_alone_and_to_public_targets_alone() {
        let plan = with(ForwardDraft {
            clients: vec!["192.0.2.0/24".parse().unwrap()],
            ..ForwardDraft::on(vec!["0.0.0.0:8090".parse().unwrap()])
        })
        .resolve()
        .unwrap();
        let forward = &plan.forwards[0];
        assert!(!forward.allow_private);
        assert!(forward.access.admits([192, 0, 2, 9].into()));
        assert!(forward.access.admits("::ffff:192.0.2.9".parse().unwrap()));
        assert!(!forward.access.admits([192, 0, 3, 9].into()));
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let draft = Draft {
            admin: Some(Admin::on("192.0.2.1:9901".parse().unwrap())),
            limits: Limits {
                connections: 0,
                ..Limits::default()
            },
            ..at("0.0.0.0:8090")
        };
        assert_eq!(draft.resolve().unwrap_err().len(), 3);
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_its_place() {
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
        assert_eq!(
            said(draft),
            [
                "limits.connections: found 18446744073709551615, expected from 1 to 16777216",
                "process.threads: found 5000, expected from 0 to 1024",
                "limits.idle_timeout: found 0ms, expected from 10ms to 168h",
                "process.drain_timeout: found 169h, expected at most 168h",
            ]
        );
    }

    #[test]
    fn two_listeners_need_two_addresses_and_a_wildcard_holds_them_all() {
        let clients = vec!["192.0.2.0/24".parse().unwrap()];
        for (one, other, is_refused) in [
            ("127.0.0.1:8090", "127.0.0.1:8090", true),
            ("0.0.0.0:8090", "127.0.0.1:8090", true),
            ("127.0.0.1:8090", "[::]:8090", true),
            ("[::]:8090", "[::1]:8090", true),
            ("[::ffff:127.0.0.1]:8090", "127.0.0.1:8090", true),
            ("0.0.0.0:8090", "[::1]:8090", false),
            ("127.0.0.1:8090", "127.0.0.2:8090", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let listen = [one, other].map(|at| at.parse().unwrap()).to_vec();
            let draft = with(ForwardDraft {
                clients: clients.clone(),
                ..ForwardDraft::on(listen)
            });
            let errors = draft.resolve().err().unwrap_or_default();
            let places: Vec<_> = errors.iter().map(|error| error.place.as_str()).collect();
            let expected: &[&str] = if is_refused {
                &["forward.proxy.listen[1]"]
            } else {
                &[]
            };
            assert_eq!(places, expected, "{one} {other}");
        }
    }

    #[test]
    fn a_reference_to_nothing_names_both_ends() {
        let draft = Draft {
            upstreams: vec![UpstreamDraft {
                name: "hub".to_owned(),
                servers: vec![Server {
                    target: Target::parse("10.0.0.1:3128").unwrap(),
                    weight: 1,
                    is_backup: false,
                }],
                balance: Balance::default(),
                by: KeyBy::default(),
                policy: None,
            }],
            ..with(ForwardDraft {
                parent: Some("hop".to_owned()),
                ..ForwardDraft::default()
            })
        };
        assert_eq!(
            said(draft),
            [
                "forward.proxy.parent: there is no upstream \"hop\"; expected one of \
              [upstream.NAME]: hub"
            ]
        );
    }

    #[test]
    fn a_group_has_each_server_once_and_not_only_backups() {
        let server = |text, is_backup| Server {
            target: Target::parse(text).unwrap(),
            weight: 1,
            is_backup,
        };
        let upstream = |servers| UpstreamDraft {
            name: "hub".to_owned(),
            servers,
            balance: Balance::default(),
            by: KeyBy::default(),
            policy: None,
        };
        let draft = |servers| Draft {
            upstreams: vec![upstream(servers)],
            ..Draft::default()
        };
        let twice = draft(vec![server("a:1", false), server("A:1", false)]);
        assert_eq!(
            said(twice),
            ["upstream.hub.servers[1]: a:1 is in this group already"]
        );
        assert_eq!(said(draft(vec![server("a:1", true)])).len(), 1);
        assert_eq!(said(draft(Vec::new())).len(), 1);
    }
}
