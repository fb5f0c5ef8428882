//! What the plan says of the sites of one address, made ready for one worker.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::files::Folder;
use super::route::Table;
use hyper::header::HeaderValue;

use crate::net::ticks::Span;
use crate::net::tls::ServerTls;
use crate::plan::listen::Front;
use crate::plan::site::{Action, Route, Site};
use crate::plan::{Plan, Upstream};
use crate::serve::context::Terms;
use crate::telemetry::tally::Service;
use crate::upstream::group::Group;
use crate::upstream::groups::Means;
use crate::upstream::secure::Secure;
use crate::upstream::send::Times;

/// A connection keeps the rules it began with.
pub struct Rules {
    /// What is the same for every connection.
    pub terms: Rc<Terms>,
    /// The sites and their routes.
    pub(super) table: Table<Ready>,
    /// Each site, as it is counted and logged.
    services: Box<[(Arc<Site>, Rc<Service>)]>,
    /// How TLS is spoken; `None` for plain HTTP.
    pub(super) tls: Option<Arc<ServerTls>>,
    /// Whether HTTP/2 is taken without TLS.
    pub(super) h2c: bool,
}

/// A route with what a worker needs for it.
pub(super) struct Ready {
    pub(super) route: Arc<Route>,
    pub(super) site: Arc<Site>,
    /// The site, as it is counted and logged.
    pub(super) service: Rc<Service>,
    /// Who answers, if the action is an upstream.
    pub(super) behind: Option<Behind>,
    /// What is shown, if the action is a folder.
    pub(super) folder: Option<Rc<Folder>>,
    pub(super) times: Times,
    /// How long all of a request may take.
    pub(super) request: Option<Span>,
    /// How long an upgraded connection may stand still, if that is the route's own.
    pub(super) idle: Option<(Span, Duration)>,
}

/// The servers behind a route.
pub(super) struct Behind {
    pub(super) upstream: Arc<Upstream>,
    pub(super) group: Rc<Group>,
    pub(super) secure: Option<Secure>,
    /// What servers are told as `Host` where the client says none.
    pub(super) host: Option<HeaderValue>,
}

impl AsRef<Route> for Ready {
    fn as_ref(&self) -> &Route {
        &self.route
    }
}

impl Rules {
    /// Makes `front` of `plan` ready.
    #[must_use]
    pub fn new(
        plan: &Arc<Plan>,
        front: &Front,
        tls: Option<Arc<ServerTls>>,
        means: &Means<'_>,
    ) -> Self {
        let services = front.sites.iter().map(|site| {
            let service = Service {
                name: site.name.as_str().into(),
                counts: means.tallies.site(&site.name, means.worker),
            };
            (Arc::clone(site), Rc::new(service))
        });
        let services: Box<[_]> = services.collect();
        let table = Table::new(&front.sites, |site, route| {
            let service = service_of(&services, site).unwrap_or_default();
            Ready::new(plan, (site, service), route, means)
        });
        Self {
            terms: Rc::new(Terms::new(
                Arc::clone(plan),
                "site",
                front.name(),
                means.ticks,
            )),
            table,
            services,
            tls,
            h2c: front.h2c,
        }
    }

    /// How a site of these is counted and logged. Routes know it already: this is for requests that
    /// find none.
    pub(super) fn service(&self, site: &Arc<Site>) -> Option<Rc<Service>> {
        service_of(&self.services, site)
    }
}

fn service_of(services: &[(Arc<Site>, Rc<Service>)], site: &Arc<Site>) -> Option<Rc<Service>> {
    let found = services.iter().find(|(known, _)| Arc::ptr_eq(known, site));
    found.map(|(_, service)| Rc::clone(service))
}

impl Ready {
    fn new(
        plan: &Plan,
        (site, service): (&Arc<Site>, Rc<Service>),
        route: &Arc<Route>,
        means: &Means<'_>,
    ) -> Self {
        let (ticks, timeouts, own) = (means.ticks, &plan.timeouts, route.timeouts);
        let both = |time: Duration| (ticks.span(time), time);
        let request = own.request.or(timeouts.request);
        let behind = match &route.action {
            Action::Upstream(upstream) => Some(Behind {
                group: means.group(upstream),
                host: (upstream.servers().first())
                    .and_then(|one| HeaderValue::try_from(one.target.to_string()).ok()),
                secure: upstream.tls.as_ref().map(|tls| {
                    let policy = upstream.policy.as_deref();
                    let policy = policy.unwrap_or(means.judge.policy());
                    Secure::new(tls, upstream.http, policy.connect_timeout())
                }),
                upstream: Arc::clone(upstream),
            }),
            _ => None,
        };
        let folder = match &route.action {
            Action::Files(files) => Some(Folder::show(files, plan.limits().file_cache)),
            _ => None,
        };
        Self {
            route: Arc::clone(route),
            site: Arc::clone(site),
            service,
            behind,
            folder,
            times: Times {
                answer: both(own.answer.unwrap_or(timeouts.answer)),
                body_idle: both(timeouts.body_idle),
                request,
            },
            request: request.map(|time| ticks.span(time)),
            idle: own.idle.map(both),
        }
    }
}
