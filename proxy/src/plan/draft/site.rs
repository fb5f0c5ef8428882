//! What was said of a site.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use ipnet::IpNet;

use super::{Draft, Errors};
use crate::net::tls::{Identity, Versions};
use crate::plan::error::PlanFault;
use crate::plan::files::{self, Files};
use crate::plan::site::{
    Action, Edits, HostPattern, Match, PathRule, Rewrite, Route, RouteTimeouts, SiteTls,
};
use crate::plan::users::Users;
use crate::plan::{Site, Upstream};

/// What was said of a site.
#[derive(Clone, Debug)]
pub struct SiteDraft {
    /// Its name; no two have the same.
    pub name: String,
    /// Where it listens: for plain HTTP, or for TLS if `tls` has no listeners of its own.
    pub listen: Vec<SocketAddr>,
    /// How it speaks TLS. Default: it does not.
    pub tls: Option<SiteTlsDraft>,
    /// Which hosts it is for. Default: all that no other site of the address has.
    pub hosts: Vec<HostPattern>,
    /// Whether HTTP/2 is taken without TLS, by prior knowledge. Default: no.
    pub h2c: bool,
    /// Who may say in a field for whom it asks. Default: nobody.
    pub trusted: Vec<IpNet>,
    /// What becomes of its requests.
    pub routes: Vec<RouteDraft>,
}

/// What was said of a site's TLS.
#[derive(Clone, Debug, Default)]
pub struct SiteTlsDraft {
    /// Where; empty for every listener of the site.
    pub listen: Vec<SocketAddr>,
    /// Its certificates with their keys.
    pub identities: Vec<Arc<Identity>>,
    /// What is spoken. Default: from TLS 1.2 on.
    pub versions: Versions,
    /// Whether plain HTTP is sent there with a redirect. Default: yes, where the site has both.
    pub redirect: Option<bool>,
}

/// What was said of a route.
#[derive(Clone, Debug)]
pub struct RouteDraft {
    /// Which requests. Default: all.
    pub matches: Match,
    /// What becomes of them; there is no default.
    pub action: Option<ActionDraft>,
    /// Who may ask. Default: everybody.
    pub users: Users,
    /// What of the path stays. Default: all.
    pub rewrite: Rewrite,
    /// What changes in the request's fields. Default: nothing.
    pub request_headers: Edits,
    /// What changes in the response's fields. Default: nothing.
    pub response_headers: Edits,
    /// Bytes of a request's body. Default: as many as come.
    pub body_limit: Option<u64>,
    /// Deadlines of its own. Default: those of the process.
    pub timeouts: RouteTimeouts,
}

/// What was said of what becomes of a request.
#[derive(Clone, Debug)]
pub enum ActionDraft {
    /// A server of the group of this name answers it.
    Upstream(String),
    /// A file answers it.
    Files(Files),
    /// The client is sent elsewhere.
    Redirect {
        /// Where.
        to: String,
        /// How.
        status: StatusCode,
    },
    /// It is answered here.
    Respond {
        /// The status.
        status: StatusCode,
        /// The body.
        body: String,
        /// What the body is.
        content_type: HeaderValue,
    },
}

/// A listener that a site asks for.
pub(super) struct Gate<'a> {
    pub(super) place: String,
    pub(super) address: SocketAddr,
    /// `None` where plain HTTP is spoken.
    pub(super) tls: Option<&'a SiteTlsDraft>,
    pub(super) site: &'a SiteDraft,
}

impl Draft {
    pub(super) fn check_site(&self, site: &SiteDraft, errors: &mut Errors) {
        let place = format!("site.{}", site.name);
        if site.gates().next().is_none() {
            errors.add(format!("{place}.listen"), PlanFault::NoListener);
        }
        if let Some(tls) = &site.tls {
            check_tls(&format!("{place}.tls"), tls, site, errors);
        }
        if site.routes.is_empty() {
            errors.add(format!("{place}.route"), PlanFault::NoRoute);
        }
        let matches: Vec<_> = site
            .routes
            .iter()
            .map(|route| sorted(&route.matches))
            .collect();
        for (nth, route) in site.routes.iter().enumerate() {
            let place = format!("{place}.route[{nth}]");
            self.check_route(&place, route, errors);
            let mut earlier = matches.iter().take(nth);
            if let Some(other) = earlier.position(|one| matches.get(nth) == Some(one)) {
                let other = format!("site.{}.route[{other}]", site.name);
                errors.add(place, PlanFault::SameRoute { other });
            }
        }
    }

    fn check_route(&self, place: &str, route: &RouteDraft, errors: &mut Errors) {
        match &route.action {
            None => errors.add(place.to_owned(), PlanFault::NoAction),
            Some(ActionDraft::Upstream(name)) => {
                self.check_upstream_name(format!("{place}.upstream"), name, errors);
            }
            Some(action) => check_unsent(place, action, &route.rewrite, errors),
        }
        let methods = &route.matches.methods;
        if let Some(ActionDraft::Files(_)) = &route.action
            && !methods.is_empty()
            && !methods.iter().any(|method| files::METHODS.contains(method))
        {
            errors.add(format!("{place}.methods"), PlanFault::NotRead);
        }
        if let Some(prefix) = &route.rewrite.strip_prefix
            && !leads(prefix, &route.matches.path)
        {
            let (PathRule::Prefix(path) | PathRule::Exact(path)) = &route.matches.path;
            let fault = PlanFault::NoSuchPrefix {
                prefix: prefix.clone(),
                path: path.clone(),
            };
            errors.add(format!("{place}.strip_prefix"), fault);
        }
        let timeouts = &route.timeouts;
        for (key, value) in [
            ("answer_timeout", timeouts.answer),
            ("request_timeout", timeouts.request),
            ("idle_timeout", timeouts.idle),
        ] {
            if let Some(value) = value {
                errors.check_time(format!("{place}.{key}"), value);
            }
        }
    }

    /// Whether there is such a group.
    pub(super) fn check_upstream_name(&self, place: String, name: &str, errors: &mut Errors) {
        let upstreams = self.upstreams.iter().map(|upstream| &upstream.name);
        if upstreams.clone().any(|known| known == name) {
            return;
        }
        let fault = PlanFault::UnknownUpstream {
            name: name.to_owned(),
            upstreams: upstreams.cloned().collect(),
        };
        errors.add(place, fault);
    }
}

impl SiteDraft {
    /// A site on `listen` for every host, all else by default.
    #[must_use]
    pub fn on(name: &str, listen: Vec<SocketAddr>, routes: Vec<RouteDraft>) -> Self {
        Self {
            name: name.to_owned(),
            listen,
            tls: None,
            hosts: Vec::new(),
            h2c: false,
            trusted: Vec::new(),
            routes,
        }
    }

    /// Every listener that it asks for.
    pub(super) fn gates(&self) -> impl Iterator<Item = Gate<'_>> {
        let gate = |key: &str, nth: usize, address: SocketAddr, tls| Gate {
            place: format!("site.{}.{key}[{nth}]", self.name),
            address,
            tls,
            site: self,
        };
        let tls = self.tls.as_ref();
        let own = tls.map_or(&[][..], |tls| &tls.listen);
        let usual = tls.filter(|_| own.is_empty());
        let listen = self.listen.iter().enumerate();
        let listen = listen.map(move |(nth, &at)| gate("listen", nth, at, usual));
        let own = own.iter().enumerate();
        listen.chain(own.map(move |(nth, &at)| gate("tls.listen", nth, at, tls)))
    }

    pub(super) fn complete(self, upstreams: &[Arc<Upstream>]) -> Site {
        let (mut listen, mut tls) = (self.listen, None);
        if let Some(said) = self.tls {
            let own = match said.listen.is_empty() {
                true => std::mem::take(&mut listen),
                false => said.listen,
            };
            tls = Some(SiteTls {
                listen: own,
                identities: said.identities,
                versions: said.versions,
                redirect: said.redirect.unwrap_or(!listen.is_empty()),
            });
        }
        let routes = self.routes.into_iter();
        Site {
            name: self.name,
            listen,
            tls,
            hosts: self.hosts,
            h2c: self.h2c,
            trusted: self.trusted,
            routes: routes
                .filter_map(|route| route.complete(upstreams))
                .map(Arc::new)
                .collect(),
        }
    }
}

impl RouteDraft {
    /// What becomes of requests whose path is one of these.
    #[must_use]
    pub fn of(path: PathRule, action: ActionDraft) -> Self {
        Self {
            matches: Match::of(path),
            action: Some(action),
            users: Users::default(),
            rewrite: Rewrite::default(),
            request_headers: Edits::default(),
            response_headers: Edits::default(),
            body_limit: None,
            timeouts: RouteTimeouts::default(),
        }
    }

    /// All of it; it was checked that nothing is missing.
    fn complete(self, upstreams: &[Arc<Upstream>]) -> Option<Route> {
        let action = match self.action? {
            ActionDraft::Upstream(name) => {
                let found = upstreams.iter().find(|upstream| upstream.name == name);
                Action::Upstream(Arc::clone(found?))
            }
            ActionDraft::Files(files) => Action::Files(Arc::new(files)),
            ActionDraft::Redirect { to, status } => Action::Redirect { to, status },
            ActionDraft::Respond {
                status,
                body,
                content_type,
            } => Action::Respond {
                status,
                body,
                content_type,
            },
        };
        Some(Route {
            matches: self.matches,
            action,
            users: self.users,
            rewrite: self.rewrite,
            request_headers: self.request_headers,
            response_headers: self.response_headers,
            body_limit: self.body_limit,
            timeouts: self.timeouts,
        })
    }
}

fn check_tls(place: &str, tls: &SiteTlsDraft, site: &SiteDraft, errors: &mut Errors) {
    if tls.identities.is_empty() {
        errors.add(place.to_owned(), PlanFault::NoCertificate);
    }
    let has_both = !site.listen.is_empty() && !tls.listen.is_empty();
    if tls.redirect == Some(true) && !has_both {
        errors.add(format!("{place}.redirect"), PlanFault::NothingToRedirect);
    }
}

/// What is told to a server is of no use where none is asked, and a path only where one is looked
/// for.
fn check_unsent(place: &str, action: &ActionDraft, rewrite: &Rewrite, errors: &mut Errors) {
    let has_path = matches!(action, ActionDraft::Files(_));
    for (key, is_said, fault) in [
        (
            "strip_prefix",
            rewrite.strip_prefix.is_some() && !has_path,
            PlanFault::NotAsked,
        ),
        (
            "add_prefix",
            rewrite.add_prefix.is_some() && !has_path,
            PlanFault::NotAsked,
        ),
        ("host", rewrite.host.is_some(), PlanFault::NotSent),
    ] {
        if is_said {
            errors.add(format!("{place}.{key}"), fault);
        }
    }
}

/// The same requests, said in the one order that tells them from others.
fn sorted(matches: &Match) -> Match {
    let mut sorted = matches.clone();
    sorted
        .methods
        .sort_by(|one, other| one.as_str().cmp(other.as_str()));
    sorted.methods.dedup();
    sorted
        .headers
        .sort_by(|one, other| one.0.as_str().cmp(other.0.as_str()));
    sorted.query.sort();
    sorted.clients.sort();
    sorted.clients.dedup();
    sorted
}

/// Whether every path of `rule` begins with `prefix`, which ends where one of its segments does.
fn leads(prefix: &str, rule: &PathRule) -> bool {
    let (PathRule::Prefix(path) | PathRule::Exact(path)) = rule;
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}

#[cfg(test)]
mod tests;
