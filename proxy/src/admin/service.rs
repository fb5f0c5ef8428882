//! What `/status` says of listeners, sites and upstreams.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Report;
use super::reason;
use super::status::{AddressStatus, CheckStatus};
use crate::net::tls::Identity;
use crate::plan::site::{HostPattern, Site, SiteTls};
use crate::plan::{Engine, Server, Upstream};
use crate::runtime::force::{InForce, Listener};
use crate::runtime::now_s;
use crate::runtime::standing::Standing;
use crate::telemetry::counters::{Count, ListenerCounts};
use crate::telemetry::tally::{FAILURES, UpstreamCounts};

/// One address that is listened on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ListenerStatus {
    /// `forward` or `site`.
    pub kind: String,
    /// The forward proxy that it belongs to, or the first of its sites.
    pub name: String,
    /// Where.
    pub address: SocketAddr,
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// The hosts that its sites are for, `*` for all that no site names; empty for a forward proxy.
    pub hosts: Vec<String>,
    /// `listening`, or `draining` when the process is about to end.
    pub state: String,
    /// Connections that are open.
    pub connections: u64,
    /// Connections that were served.
    pub accepted: u64,
    /// Connections that were turned away.
    pub refused: u64,
}

/// One HTTP server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SiteStatus {
    /// Its name.
    pub name: String,
    /// The hosts that it is for, `*` for all that no site names.
    pub hosts: Vec<String>,
    /// Requests that are over.
    pub requests: u64,
    /// Those of them that were answered with 5xx, or not at all.
    pub failed: u64,
}

/// One certificate.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CertificateStatus {
    /// The first site that shows it.
    pub site: String,
    /// Its file.
    pub file: String,
    /// The hosts that it is for.
    pub names: Vec<String>,
    /// When it ends, in seconds of Unix time.
    pub not_after: i64,
    /// Whole days until then; below zero behind it.
    pub days_left: i64,
    /// Why its files as they are now are not in use, if that is so.
    pub trouble: Option<String>,
}

/// One group of servers. Counts are those of all workers, since the start.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Its servers.
    pub endpoints: Vec<EndpointStatus>,
    /// Requests and tunnels that were for it.
    pub requests: u64,
    /// Those that are at its servers now.
    pub in_flight: u64,
    /// Tries that failed by a server's fault: `connect`, `tls`, `timeout`, `reset`,
    /// `malformed` or `status`.
    pub failures: BTreeMap<String, u64>,
    /// Requests that were sent again.
    pub retries: u64,
    /// Those that were not, because the budget was spent.
    pub retries_refused: u64,
    /// Requests that wait for a server now.
    pub waiting: u64,
    /// Requests that have waited.
    pub queued: u64,
    /// Requests that found the queue full.
    pub queue_full: u64,
    /// Requests that waited in vain.
    pub queue_timeouts: u64,
    /// Its servers, judged together; absent before the first client.
    pub group: Option<GroupStatus>,
}

/// The servers of a group, judged together by what they answer. Addresses that are in use are
/// counted, those of backups too.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct GroupStatus {
    /// How many there are.
    pub members: u32,
    /// How many nothing is held against.
    pub live: u32,
    /// How many are ejected.
    pub ejected: u32,
    /// How many may be at once.
    pub most_ejected: u32,
    /// How often one was.
    pub ejections: u64,
    /// How often one would have been, but for that bound.
    pub spared: u64,
    /// Whether so few are live that answers and checks are passed over.
    pub failing_open: bool,
}

/// One server of a group.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct EndpointStatus {
    /// As the configuration says it: an address or a name, with its port.
    pub address: String,
    /// Its share.
    pub weight: u16,
    /// Whether it is tried only when no other can be had.
    pub backup: bool,
    /// How dials to it go, if it is an address.
    pub status: Option<AddressStatus>,
    /// Checks of it that have ended since it has been in the configuration, those of addresses too that
    /// it has no more; absent without checks.
    pub checks: Option<u64>,
    /// Those of them that it did not pass.
    pub checks_failed: Option<u64>,
    /// Why its name was not found when a worker last looked it up; then the last addresses stay.
    pub lookup_error: Option<String>,
    /// Where it is: one if it is an address, else what its name was last found to be, by whichever
    /// worker looked; none if none has looked yet.
    pub addresses: Vec<ServerStatus>,
}

/// One address of a server. It is used while no word says down.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServerStatus {
    /// Which.
    pub address: SocketAddr,
    /// Whether requests are sent there.
    pub eligible: bool,
    /// Why they are, or why not.
    pub reason: String,
    /// How dials to it go.
    pub dial: AddressStatus,
    /// What requests met there; absent where dials alone are judged, and before the first client.
    pub traffic: Option<AddressStatus>,
    /// What checks found, as a word; absent without checks.
    pub check: Option<AddressStatus>,
    /// The same in full: how many there were, and what the last one met.
    pub check_report: Option<CheckStatus>,
    /// The part of its weight that it gets, in percent: less than 100 while it warms up, and when it
    /// says so itself.
    pub share_percent: u8,
}

impl Report {
    /// Where it listens.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerStatus> {
        let is_draining = !self.is_ready();
        let force = self.force.load();
        let listeners = force.listeners.iter();
        listeners.map(|one| listener(one, is_draining)).collect()
    }

    /// HTTP servers.
    #[must_use]
    pub fn sites(&self) -> Vec<SiteStatus> {
        let force = self.force.load();
        let of = |site: &Site| {
            let sum = |class: usize| {
                let name = site.name();
                (force.tallies).site_sum(name, |counts| counts.requests.get(class))
            };
            SiteStatus {
                name: site.name().to_owned(),
                hosts: hosts(site),
                requests: (0..=5).map(sum).sum(),
                failed: sum(0) + sum(5),
            }
        };
        force.plan.sites().map(of).collect()
    }

    /// Every certificate that is shown somewhere, each file once.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateStatus> {
        let force = self.force.load();
        let now_s = now_s();
        let mut all: Vec<CertificateStatus> = Vec::new();
        for listener in &force.listeners {
            // Not the plan's: a listener that stays goes on with those it had.
            let identities = listener.tls.iter().flat_map(|tls| tls.identities());
            for identity in identities {
                let file = identity.cert().display().to_string();
                if all.iter().all(|known| known.file != file) {
                    all.push(certificate(&force, identity, file, now_s));
                }
            }
        }
        all
    }

    /// Groups of servers.
    #[must_use]
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        let force = self.force.load();
        let upstreams = force.plan.upstreams();
        upstreams.map(|one| self.upstream(&force, one)).collect()
    }

    fn upstream(&self, force: &InForce, upstream: &Upstream) -> UpstreamStatus {
        let name = upstream.name();
        let sum = |count: fn(&UpstreamCounts) -> &Count| {
            (force.tallies).upstream_sum(name, |counts| Some(count(counts)))
        };
        let failures = FAILURES.iter().enumerate().map(|(nth, &failure)| {
            let sum = (force.tallies).upstream_sum(name, |counts| counts.failures.get(nth));
            (failure.to_owned(), sum)
        });
        let servers = upstream.servers().iter();
        UpstreamStatus {
            name: name.to_owned(),
            endpoints: (servers.map(|server| self.endpoint(force, upstream, server))).collect(),
            requests: sum(|one| &one.requests),
            in_flight: sum(|one| &one.in_flight),
            failures: failures.collect(),
            retries: sum(|one| &one.retries),
            retries_refused: sum(|one| &one.retries_refused),
            waiting: sum(|one| &one.waiting),
            queued: sum(|one| &one.queued),
            queue_full: sum(|one| &one.queue_full),
            queue_timeouts: sum(|one| &one.queue_timeouts),
            group: (self.standings.group(upstream)).map(|counts| GroupStatus::of(&counts)),
        }
    }

    fn endpoint(&self, force: &InForce, upstream: &Upstream, server: &Server) -> EndpointStatus {
        let written = server.to_string();
        let fixed = server.target.address();
        let (found, error) = match fixed {
            Some(address) => (vec![address], None),
            None => {
                let found = force.tallies.found(upstream.name(), &written);
                (found.addresses, found.error)
            }
        };
        let most = force.judge_of(upstream).policy().max_fails();
        let addresses = found.into_iter().map(|address| {
            let standing = self.standings.of(force, upstream, address);
            ServerStatus::of(&standing, most)
        });
        let addresses: Vec<_> = addresses.collect();
        let dial = addresses.first().map(|one| one.dial.clone());
        let counted = self.standings.counted(upstream, &written);
        EndpointStatus {
            checks: counted.map(|counted| counted.checks),
            checks_failed: counted.map(|counted| counted.failed),
            address: written,
            weight: server.weight,
            backup: server.is_backup,
            status: dial.filter(|_| fixed.is_some()),
            lookup_error: error.map(Into::into),
            addresses,
        }
    }
}

impl ServerStatus {
    fn of(standing: &Standing, max_fails: u8) -> Self {
        let word = |status: &Option<risefall::Status>| status.as_ref().map(AddressStatus::of);
        Self {
            address: standing.dial.address,
            eligible: !standing.is_down(),
            reason: reason::of(standing, max_fails),
            dial: AddressStatus::of(&standing.dial),
            traffic: word(&standing.traffic),
            check: word(&standing.check),
            check_report: standing.seen.as_ref().map(CheckStatus::of),
            share_percent: standing.share_percent,
        }
    }

    /// What is said of it, by name.
    pub fn words(&self) -> impl Iterator<Item = (&'static str, &AddressStatus)> {
        let all = [Some(&self.dial), self.traffic.as_ref(), self.check.as_ref()];
        let named = crate::runtime::standing::WORDS.into_iter().zip(all);
        named.filter_map(|(name, word)| Some((name, word?)))
    }
}

impl UpstreamStatus {
    /// The same with those servers alone that are at `address`; `None` if there are none.
    pub(super) fn only(&self, address: SocketAddr) -> Option<Self> {
        let endpoints = self.endpoints.iter().filter_map(|server| {
            let addresses = server.addresses.iter();
            let addresses: Vec<_> = addresses
                .filter(|one| is_same(one.address, address))
                .cloned()
                .collect();
            (!addresses.is_empty()).then(|| EndpointStatus {
                addresses,
                ..server.clone()
            })
        });
        let endpoints: Vec<_> = endpoints.collect();
        (!endpoints.is_empty()).then(|| Self {
            endpoints,
            ..self.clone()
        })
    }
}

/// An address of IPv4 may be written as one of IPv6.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && one.ip().to_canonical() == other.ip().to_canonical()
}

impl GroupStatus {
    fn of(counts: &risefall::GroupCounts) -> Self {
        Self {
            members: counts.members,
            live: counts.live,
            ejected: counts.ejected,
            most_ejected: counts.most_ejected,
            ejections: counts.ejections,
            spared: counts.spared,
            failing_open: counts.is_failing_open,
        }
    }
}

fn listener(listener: &Listener, is_draining: bool) -> ListenerStatus {
    let sum = |count: fn(&ListenerCounts) -> &Count| {
        let counts = listener.counts.iter().map(|worker| count(worker).get());
        counts.sum()
    };
    let (kind, hosts) = match &listener.engine {
        Engine::Forward(_) => ("forward", Vec::new()),
        Engine::Front(front) => ("site", front.sites().flat_map(hosts).collect()),
    };
    ListenerStatus {
        kind: kind.to_owned(),
        name: listener.name().to_owned(),
        address: listener.address,
        tls: listener.tls.is_some(),
        hosts,
        state: if is_draining { "draining" } else { "listening" }.to_owned(),
        connections: sum(|worker| &worker.open),
        accepted: sum(|worker| &worker.accepted),
        refused: sum(|worker| &worker.refused),
    }
}

/// The hosts that a site is for, as a person writes them.
fn hosts(site: &Site) -> Vec<String> {
    if site.hosts().is_empty() {
        return vec!["*".to_owned()];
    }
    site.hosts().iter().map(HostPattern::to_string).collect()
}

fn certificate(
    force: &InForce,
    identity: &Identity,
    file: String,
    now_s: i64,
) -> CertificateStatus {
    let shows = |site: &&Site| {
        let mut identities = site.tls().into_iter().flat_map(SiteTls::identities);
        identities.any(|one| one.is_same_files(identity))
    };
    let shown = identity.current();
    CertificateStatus {
        site: (force.plan.sites().find(shows))
            .map_or_else(String::new, |one| one.name().to_owned()),
        file,
        names: shown.names().listed().to_vec(),
        not_after: shown.not_after(),
        days_left: shown.days_left(now_s),
        trouble: identity.trouble().map(|said| said.to_string()),
    }
}
