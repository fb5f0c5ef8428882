//! One worker's groups, across plans: what a reload does not touch keeps its turn, its counts and
//! its names.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use risefall::judge::Judge;
use risefall::{Policy, Registry};

use super::balance::Balance;
use super::evidence::{Evidence, Evidences};
use super::group::{Group, GroupParts, Server};
use crate::net::guard::Guard;
use crate::net::ticks::Ticks;
use crate::net::tls::ClientTls;
use crate::plan::Upstream;
use crate::plan::upstream::HttpVersion;
use crate::telemetry::tally::{Tallies, Tally};

/// The groups by name.
#[derive(Default)]
pub struct Groups {
    known: RefCell<HashMap<String, Known>>,
    /// Never has the same value twice: what was spoken otherwise is never taken for the same.
    eras: Cell<u64>,
}

struct Known {
    wanted: Wanted,
    /// How often connections to its servers have become others, by a change of TLS or HTTP.
    era: u64,
    group: Rc<Group>,
}

/// What makes a group another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its servers.
    pub servers: Vec<Server>,
    /// How one is chosen.
    pub balance: Balance,
    /// When one of them is down; `None` for the policy of the process.
    pub policy: Option<Arc<Policy>>,
    /// What its servers do once they are reached; `None` where dials alone are judged.
    pub service: Option<Arc<Evidence>>,
    /// Whose checks alone are asked, where what the servers answer is not theirs.
    pub checked: Option<Arc<Evidence>>,
    /// How much may go on at one of them, in each worker; 0 for as much as comes.
    pub max_requests: u32,
    /// How many requests may wait for one of them, in each worker.
    pub queue_length: usize,
    /// How many requests may be sent again, in percent of all.
    pub budget_percent: u8,
    /// Where it is told of.
    pub tally: Tally,
    /// How they are spoken to by TLS, if they are.
    pub tls: Option<Arc<ClientTls>>,
    /// What is spoken.
    pub http: HttpVersion,
    /// The addresses that this process listens on.
    pub own: Vec<SocketAddr>,
}

/// What engines make groups by.
pub struct Means<'a> {
    /// Asked before each dial.
    pub judge: &'a Arc<dyn Judge>,
    /// What servers do once they are reached.
    pub evidences: &'a Evidences,
    /// The addresses that the process listens on.
    pub own: Vec<SocketAddr>,
    /// The worker's clock.
    pub ticks: &'a Ticks,
    /// The worker's groups.
    pub groups: &'a Groups,
    /// Where sites and groups are told of.
    pub tallies: &'a Tallies,
    /// Which worker it is.
    pub worker: usize,
    /// The number of the plan.
    pub generation: u64,
}

impl Means<'_> {
    /// The group of servers that are asked for themselves.
    #[must_use]
    pub fn group(&self, upstream: &Upstream) -> Rc<Group> {
        let wanted = Wanted {
            service: Some(self.evidence(upstream)),
            max_requests: upstream.max_requests,
            queue_length: usize::try_from(upstream.queue.length).unwrap_or(usize::MAX),
            budget_percent: upstream.retries.budget_percent,
            tls: upstream.tls.clone(),
            http: upstream.http,
            ..self.wanted(upstream)
        };
        let group = self.groups.get(&upstream.name, wanted, self.judge);
        group.serve(self.generation);
        group
    }

    /// What its servers do once they are reached.
    #[must_use]
    pub fn evidence(&self, upstream: &Upstream) -> Arc<Evidence> {
        let dials = match (self.judge.registry(), &upstream.policy) {
            (Some(dials), Some(policy)) => dials.with_policy(Arc::clone(policy)),
            (Some(dials), None) => dials.clone(),
            // Judged by another kind: nothing is known here of their dials.
            (None, _) => Registry::new(Policy::default()),
        };
        let (service, check) = (&upstream.service, upstream.check.as_ref());
        self.evidences.get(&upstream.name, service, check, &dials)
    }

    /// The group of servers that lead on to others. Whether a proxy serves is told by its dials and
    /// its checks; what it answers is its targets'.
    #[must_use]
    pub fn parent(&self, upstream: &Upstream) -> Rc<Group> {
        let name = format!("{PARENT}{}", upstream.name);
        let is_checked = upstream.check.is_some();
        let wanted = Wanted {
            checked: is_checked.then(|| self.evidence(upstream)),
            ..self.wanted(upstream)
        };
        let group = self.groups.get(&name, wanted, self.judge);
        // What any worker goes through is checked.
        group.serve(self.generation);
        group
    }

    fn wanted(&self, upstream: &Upstream) -> Wanted {
        Wanted {
            servers: upstream.servers.clone(),
            balance: upstream.balance,
            policy: upstream.policy.clone(),
            service: None,
            checked: None,
            max_requests: 0,
            queue_length: 0,
            budget_percent: 0,
            tally: self.tallies.upstream(&upstream.name, self.worker),
            tls: None,
            http: HttpVersion::H1,
            own: self.own.clone(),
        }
    }
}

impl Groups {
    /// The group of that name: the one there is if it is the same, else a new one.
    pub fn get(&self, name: &str, wanted: Wanted, judge: &Arc<dyn Judge>) -> Rc<Group> {
        let judge: Arc<dyn Judge> = match (&wanted.policy, judge.registry()) {
            (Some(policy), Some(registry)) => Arc::new(registry.with_policy(Arc::clone(policy))),
            _ => Arc::clone(judge),
        };
        let mut era = None;
        let mut before = None;
        if let Some(known) = self.known.borrow().get(name) {
            if known.wanted == wanted && known.group.judge().policy() == judge.policy() {
                return Rc::clone(&known.group);
            }
            let is_spoken_alike =
                known.wanted.tls == wanted.tls && known.wanted.http == wanted.http;
            era = is_spoken_alike.then_some(known.era);
            before = Some(Rc::clone(&known.group));
        }
        let era = era.unwrap_or_else(|| self.eras.replace(self.eras.get() + 1));
        let parts = GroupParts {
            name: name.to_owned(),
            era,
            servers: wanted.servers.clone(),
            balance: wanted.balance,
            judge,
            guard: Guard::new(wanted.own.clone(), true),
            service: wanted.service.clone(),
            checked: wanted.checked.clone(),
            max_requests: wanted.max_requests,
            queue_length: wanted.queue_length,
            budget_percent: wanted.budget_percent,
            tally: wanted.tally.clone(),
        };
        let group = Rc::new(match before {
            Some(before) => Group::behind(&before, parts),
            None => Group::new(parts),
        });
        let known = Known {
            wanted,
            era,
            group: Rc::clone(&group),
        };
        self.known.borrow_mut().insert(name.to_owned(), known);
        group
    }

    /// Forgets those of the upstreams that no plan has any more. Connections that have one keep it.
    pub fn retain(&self, is_wanted: impl Fn(&str) -> bool) {
        let upstream = |name: &String| is_wanted(name.strip_prefix(PARENT).unwrap_or(name));
        self.known.borrow_mut().retain(|name, _| upstream(name));
    }
}

/// In front of an upstream's name where its servers lead on to others; no name has a space.
const PARENT: &str = "parent ";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::Target;

    fn wanted(server: &str) -> Wanted {
        Wanted {
            servers: vec![Server {
                target: Target::parse(server).unwrap(),
                weight: 1,
                is_backup: false,
                is_srv: false,
            }],
            balance: Balance::RoundRobin,
            policy: None,
            service: None,
            checked: None,
            max_requests: 0,
            queue_length: 0,
            budget_percent: 0,
            tally: Tally::default(),
            tls: None,
            http: HttpVersion::Auto,
            own: Vec::new(),
        }
    }

    #[test]
    fn a_group_stays_while_nothing_of_it_changes() {
        let groups = Groups::default();
        let registry = Registry::new(Policy::default());
        let judge: Arc<dyn Judge> = Arc::new(registry.clone());
        let tally = Tally::default();
        let wanted = |server: &str| Wanted {
            tally: tally.clone(),
            ..wanted(server)
        };
        let first = groups.get("a", wanted("b:1"), &judge);
        // A reload makes another handle of the same registry.
        let again: Arc<dyn Judge> = Arc::new(registry.clone());
        assert!(Rc::ptr_eq(&first, &groups.get("a", wanted("b:1"), &again)));
        let moved = groups.get("a", wanted("b:2"), &judge);
        assert!(!Rc::ptr_eq(&first, &moved));
        let policy = Policy::builder().fail_timeout(Duration::from_secs(9));
        let policy = policy.build().unwrap();
        let other: Arc<dyn Judge> = Arc::new(registry.with_policy(policy));
        let judged = groups.get("a", wanted("b:2"), &other);
        assert!(!Rc::ptr_eq(&moved, &judged));
        groups.retain(|name| name != "a");
        assert!(!Rc::ptr_eq(
            &judged,
            &groups.get("a", wanted("b:2"), &other)
        ));
    }
}
