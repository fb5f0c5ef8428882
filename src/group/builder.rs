//! The making of a group.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64 as PlainU64};

use arc_swap::ArcSwap;

use super::member::Core;
use super::members::Members;
use super::policy::GroupPolicy;
use super::sweep::{Roster, Words};
use super::{Group, Shared};
use crate::gate::Gate;
use crate::registry::Registry;
use crate::sync::Mutex;

/// Choices for a group beyond its policy.
#[derive(Debug)]
#[must_use = "call `build` to get the group"]
pub struct GroupBuilder {
    dials: Registry,
    checks: Option<Registry>,
    policy: GroupPolicy,
    capacity: usize,
}

impl GroupBuilder {
    pub(super) fn new(dials: &Registry) -> Self {
        Self {
            dials: dials.clone(),
            checks: None,
            policy: GroupPolicy::default(),
            capacity: DEFAULT_CAPACITY,
        }
    }

    /// What the group may do. Default: [`GroupPolicy::default`].
    pub fn policy(mut self, policy: GroupPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The registry in which active checks write, by the policy of that handle: a member that its
    /// word says is down is not used. It must be on the dials' clock ([`Registry::clock`]), or slow
    /// starts are as wrong as the clocks differ. Default: none.
    pub fn checks(mut self, checks: &Registry) -> Self {
        self.checks = Some(checks.clone());
        self
    }

    /// About how many members there will be; default 256. There may be more, whose failures then
    /// take a longer walk. Each slot costs 4.25 bytes.
    pub fn capacity(mut self, members: usize) -> Self {
        self.capacity = members;
        self
    }

    /// Makes the group, without members.
    #[must_use]
    pub fn build(self) -> Group {
        let gate = Arc::new(Gate::new());
        let clock = Arc::clone(self.dials.shared().clock());
        let service = Registry::builder()
            .policy(self.policy.service.clone())
            .capacity(self.capacity)
            .clock(Arc::clone(&clock))
            .hash(self.dials.shared().hash())
            .gate(Arc::clone(&gate))
            .build();
        let core = Arc::new(Core {
            gate,
            clock,
            version: PlainU64::new(0),
            unreachable: AtomicU32::new(0),
        });
        let members = Members::new(Vec::new(), 0, Arc::new(self.policy), Arc::clone(&core));
        let words = Words {
            dials: self.dials,
            checks: self.checks,
        };
        let shared = Shared {
            service,
            core,
            members: ArcSwap::from_pointee(members),
            roster: Mutex::new(Roster::new(words)),
        };
        Group {
            shared: Arc::new(shared),
        }
    }
}

/// Members of a group, unless told otherwise.
const DEFAULT_CAPACITY: usize = 256;
