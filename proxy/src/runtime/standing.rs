//! How servers stand, for whoever shows it: every word that is said of them, and what follows.
//!
//! A server is used while no word says down: that of its dials, which all groups share, and those
//! of what traffic met and of what checks found, which are its group's own.

use std::net::SocketAddr;
use std::sync::Arc;

use risefall::{GroupCounts, Mode, Status};

use super::force::InForce;
use crate::plan::Upstream;
pub use crate::upstream::check::Seen;
use crate::upstream::check::{Checks, Counted};
pub use crate::upstream::evidence::Ejection;
use crate::upstream::evidence::{Evidences, ServiceHandle};

/// Asked how servers stand.
#[derive(Clone, Debug)]
pub struct Standings {
    evidences: Arc<Evidences>,
    checks: Arc<Checks>,
}

/// How one server of a group stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// How dials to it go.
    pub dial: Status,
    /// What requests met there; `None` where dials alone are judged, and while no worker has served
    /// a client by this plan.
    pub traffic: Option<Status>,
    /// Why it was ejected, if that was for what it did beside the others, and nothing has been held
    /// against it since.
    pub ejection: Option<Ejection>,
    /// What checks found; `None` while there are none.
    pub check: Option<Status>,
    /// What the last check found, and how many there were; `None` while there are none.
    pub seen: Option<Seen>,
    /// Why it is used although its traffic or checks say down, if that is so.
    pub passed_over: Option<PassedOver>,
    /// The part of its weight that it gets, in percent: less than 100 while it warms up.
    pub share_percent: u8,
}

/// Why words that say down are passed over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PassedOver {
    /// Too few of the group are up.
    FailingOpen,
    /// The group does not act on what it finds.
    Observing,
}

impl Standings {
    pub(super) fn new(evidences: Arc<Evidences>, checks: Arc<Checks>) -> Self {
        Self { evidences, checks }
    }

    /// Different checks that are made, and those that are under way.
    #[must_use]
    pub fn checks(&self) -> (usize, usize) {
        self.checks.counts()
    }

    /// The checks of a server of `upstream`, at whatever addresses, since it has been in the plan;
    /// `None` if there are none.
    #[must_use]
    pub fn counted(&self, upstream: &Upstream, server: &str) -> Option<Counted> {
        self.checks.counted(upstream.name(), server)
    }

    /// How the server of `upstream` at `address` stands. Reads and changes nothing.
    #[must_use]
    pub fn of(&self, force: &InForce, upstream: &Upstream, address: SocketAddr) -> Standing {
        let evidence = self.evidences.find(upstream.name());
        let evidence = evidence.as_ref();
        let handle = evidence.and_then(|evidence| evidence.handle(address));
        let checks = evidence.and_then(|evidence| evidence.checks());
        let mut standing = Standing {
            dial: force.judge_of(upstream).status(&address),
            traffic: handle.as_ref().map(|handle| handle.status().service),
            ejection: None,
            check: checks.map(|checks| checks.status(&address)),
            seen: self.checks.seen(upstream.name(), address),
            passed_over: None,
            share_percent: handle.as_ref().map_or(100, ServiceHandle::share_percent),
        };
        let last = standing.traffic.and_then(|traffic| traffic.last_failure);
        if let (Some(evidence), Some(last)) = (evidence, last) {
            standing.ejection = evidence.ejection(address, last.cause);
        }
        if let (Some(handle), Some(evidence)) = (&handle, evidence)
            && standing.is_down()
            && !handle.is_down()
        {
            let group = evidence.group();
            standing.passed_over = if group.counts().is_failing_open {
                Some(PassedOver::FailingOpen)
            } else {
                // Else it came back between the two looks.
                let is_observing = group.members().policy().mode() == Mode::Observe;
                is_observing.then_some(PassedOver::Observing)
            };
        }
        standing
    }

    /// How the parent proxy of `upstream` at `address` stands: by its dials and its checks, as what it
    /// answers is its targets'. Reads and changes nothing.
    #[must_use]
    pub fn of_parent(&self, force: &InForce, upstream: &Upstream, address: SocketAddr) -> Standing {
        Standing {
            traffic: None,
            ejection: None,
            passed_over: None,
            share_percent: 100,
            ..self.of(force, upstream, address)
        }
    }

    /// Forgets what groups hold against the servers at `address`.
    pub fn reset(&self, address: SocketAddr) {
        for (_, evidence) in self.evidences.all() {
            evidence.group().reset(&address);
        }
    }

    /// What the group of `upstream` counts; `None` while no worker has asked for it.
    #[must_use]
    pub fn group(&self, upstream: &Upstream) -> Option<GroupCounts> {
        let evidence = self.evidences.find(upstream.name())?;
        Some(evidence.group().counts())
    }
}

impl Standing {
    /// What is said of it, by name.
    pub fn words(&self) -> impl Iterator<Item = (&'static str, &Status)> {
        let all = [Some(&self.dial), self.traffic.as_ref(), self.check.as_ref()];
        let named = WORDS.iter().zip(all);
        named.filter_map(|(&name, word)| Some((name, word?)))
    }

    /// Whether a word says down that is not passed over.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.passed_over.is_none() && self.words().any(|(_, word)| word.state.is_down())
    }
}

/// The names of the words.
pub const WORDS: [&str; 3] = ["dial", "traffic", "check"];
