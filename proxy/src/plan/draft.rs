//! From what the operator said to a plan, or to all that is wrong with it.

mod bounds;
mod claims;
mod forward;
mod site;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;

use super::error::{PlanError, PlanFault};
use super::listen::listens;
use super::{Admin, Limits, Plan, Timeouts};

pub(super) use bounds::CONNECTIONS_MOST;
pub(crate) use claims::overlap;
pub use forward::ForwardDraft;
pub use site::{ActionDraft, RouteDraft, SiteDraft, SiteTlsDraft};
pub use upstream::UpstreamDraft;

/// What the operator said; what was not said keeps its default.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Forward proxies. Default: one named `proxy`.
    pub forwards: Vec<ForwardDraft>,
    /// Sites. Default: none.
    pub sites: Vec<SiteDraft>,
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

impl Draft {
    /// Completes the draft.
    ///
    /// # Errors
    ///
    /// Every mistake in it, not only the first.
    pub fn resolve(self) -> Result<Plan, Vec<PlanError>> {
        let mut errors = Errors(Vec::new());
        if self.forwards.is_empty() && self.sites.is_empty() {
            errors.add("forward".to_owned(), PlanFault::Nothing);
        }
        for forward in &self.forwards {
            self.check_forward(forward, &mut errors);
        }
        for site in &self.sites {
            self.check_site(site, &mut errors);
        }
        for upstream in &self.upstreams {
            upstream.check(&mut errors);
        }
        self.check_admin(&mut errors);
        self.check_claims(&mut errors);
        self.check_shared(&mut errors);
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
        let forwards: Vec<_> = forwards
            .map(|draft| Arc::new(draft.complete(&upstreams)))
            .collect();
        let sites = self.sites.into_iter();
        let sites: Vec<_> = sites
            .map(|draft| Arc::new(draft.complete(&upstreams)))
            .collect();
        Ok(Plan {
            listens: listens(&forwards, &sites),
            forwards,
            sites,
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
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            forwards: vec![ForwardDraft::default()],
            sites: Vec::new(),
            upstreams: Vec::new(),
            admin: Some(Admin::on(SocketAddr::from(([127, 0, 0, 1], 9901)))),
            threads: 0,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

struct Errors(Vec<PlanError>);

impl Errors {
    fn add(&mut self, place: String, fault: PlanFault) {
        self.0.push(PlanError { place, fault });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn at(listen: &str) -> Draft {
        with(ForwardDraft::on(vec![listen.parse().unwrap()]))
    }

    pub(super) fn with(forward: ForwardDraft) -> Draft {
        Draft {
            forwards: vec![forward],
            ..Draft::default()
        }
    }

    pub(super) fn said(draft: Draft) -> Vec<String> {
        let errors = draft.resolve().unwrap_err();
        errors.iter().map(ToString::to_string).collect()
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
}
