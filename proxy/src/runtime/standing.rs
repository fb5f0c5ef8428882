//! How servers stand, for whoever shows it: every word that is said of them, and what follows.
//!
//! A server is used while no word says down: that of its dials, which all groups share, and those
//! of what traffic met and of what checks found, which are its group's own.

use std::net::SocketAddr;
use std::sync::Arc;

use risefall::{Registry, Status};

use super::force::InForce;
use crate::plan::Upstream;
use crate::upstream::evidence::Evidences;

/// Asked how servers stand.
#[derive(Clone, Debug)]
pub struct Standings(Arc<Evidences>);

/// How one server of a group stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// How dials to it go.
    pub dial: Status,
    /// What requests met there; `None` where dials alone are judged, and while no worker has served
    /// a client by this plan.
    pub traffic: Option<Status>,
    /// What checks found; `None` while there are none.
    pub check: Option<Status>,
}

impl Standings {
    pub(super) fn new(evidences: Arc<Evidences>) -> Self {
        Self(evidences)
    }

    /// How the server of `upstream` at `address` stands. Reads and changes nothing.
    #[must_use]
    pub fn of(&self, force: &InForce, upstream: &Upstream, address: SocketAddr) -> Standing {
        let evidence = self.0.find(upstream.name());
        let evidence = evidence.as_ref();
        let of = |registry: &Registry| registry.status(&address);
        let checks = evidence.and_then(|evidence| evidence.checks());
        Standing {
            dial: force.judge_of(upstream).status(&address),
            traffic: evidence.map(|evidence| of(evidence.traffic())),
            check: checks.map(of),
        }
    }
}

impl Standing {
    /// What is said of it, by name.
    pub fn words(&self) -> impl Iterator<Item = (&'static str, &Status)> {
        let all = [Some(&self.dial), self.traffic.as_ref(), self.check.as_ref()];
        let named = WORDS.iter().zip(all);
        named.filter_map(|(&name, word)| Some((name, word?)))
    }

    /// Whether a word says down.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.words().any(|(_, word)| word.state.is_down())
    }
}

/// The names of the words.
pub const WORDS: [&str; 3] = ["dial", "traffic", "check"];
