//! What the sites of a listener would do.
//!
//! Sites are routed by the same tables as at run time ([`Table`]), made anew for the question, so
//! that no rule is told here in words of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hyper::{Method, StatusCode};

use super::{Asking, EndpointExplanation, Question, SiteExplanation, files};
use crate::admin::Report;
use crate::admin::reason;
use crate::admin::status::{AddressStatus, CheckStatus};
use crate::error::Fault;
use crate::net::guard::{Guard, Verdict};
use crate::net::resolve::Resolver;
use crate::plan::files::METHODS;
use crate::plan::site::{Action, Route, Site};
use crate::plan::{Balance, Engine, Front, Upstream};
use crate::proto::Host;
use crate::runtime::force::{InForce, Listener};
use crate::runtime::now_s;
use crate::site::rewrite;
use crate::site::route::{self, Found, Miss, Table};
use crate::site::target::Asked;
use crate::units;

/// The listeners of sites that a URL leads to: those of its port, or, as a port may be mapped on its
/// way here, all that speak its scheme.
pub(super) fn doors<'a>(
    force: &'a InForce,
    asking: &Asking,
    port: u16,
) -> Vec<(&'a Listener, &'a Front)> {
    let fronts = force.listeners.iter().filter_map(|one| match &one.engine {
        Engine::Front(front) => Some((one, front.as_ref())),
        Engine::Forward(_) => None,
    });
    let spoken: Vec<_> = fronts
        .filter(|(_, front)| front.is_tls() == asking.is_tls)
        .collect();
    let is_meant = |one: &&(&Listener, _)| one.0.address.port() == port;
    let meant: Vec<_> = spoken.iter().filter(is_meant).copied().collect();
    if meant.is_empty() { spoken } else { meant }
}

/// One listener, and what is known of it.
pub(super) struct Inside<'a> {
    pub(super) report: &'a Report,
    pub(super) force: &'a InForce,
    pub(super) resolver: &'a Resolver,
    pub(super) listener: &'a Listener,
    pub(super) front: &'a Front,
}

/// Who has to be asked further, once the action is known.
enum Onward {
    Servers(Arc<Upstream>),
    Disk(files::Search),
    Nobody,
}

impl Inside<'_> {
    /// What would become of the request here.
    pub(super) async fn explain(&self, asking: &Asking, question: &Question) -> SiteExplanation {
        let mut told = SiteExplanation {
            listener: Some(self.listener.address),
            tls: self.front.is_tls(),
            ..SiteExplanation::default()
        };
        let found = self.find(asking, question, &mut told);
        match found {
            Ok(Onward::Servers(upstream)) => {
                told.endpoints = self.servers(&upstream).await;
                told.choice = Some(choice(self.force, &upstream, &told.endpoints));
                told.upstream = Some(upstream.name().to_owned());
            }
            Ok(Onward::Disk(search)) => {
                let outcome = search.outcome().await;
                if let Some(action) = &mut told.action {
                    *action = format!("{action}; {outcome}");
                }
            }
            Ok(Onward::Nobody) => {}
            Err(refused) => told.refused = Some(refused),
        }
        told
    }

    /// Walks to the action; gives who has to be asked further, or why the request is refused.
    fn find(
        &self,
        asking: &Asking,
        question: &Question,
        told: &mut SiteExplanation,
    ) -> Result<Onward, String> {
        let request = &asking.request;
        let asked = Asked::read(request, asking.is_tls)
            .map_err(|fault| format!("{fault} ({})", fault.status()))?;
        self.shake(question, &asked, told)?;
        let table = Table::new(&self.front.sites, |_, route| Arc::clone(route));
        let routes = table.site(asked.host());
        let routes =
            routes.ok_or_else(|| format!("no site here is for {} (404)", named(asked.host())))?;
        let site = routes.site();
        told.site = Some(site.name().to_owned());
        let redirect = rewrite::tls_location(site, &asked);
        if let (false, Ok(Some(to))) = (asking.is_tls, redirect) {
            told.action = Some(redirected(StatusCode::PERMANENT_REDIRECT, to.as_bytes()));
            return Ok(Onward::Nobody);
        }
        let asks = route::Question {
            method: request.method(),
            asked: &asked,
            headers: request.headers(),
            client: question.client.unwrap_or(ANYBODY),
        };
        let found = match routes.find(&asks) {
            Found::Route(found) => Ok(found),
            Found::NoRoute => Err("no route of the site is for it (404)".to_owned()),
            Found::Method(allowed) => {
                let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
                Err(format!("only {} is taken there (405)", allowed.join(", ")))
            }
        };
        told.passed = passed(site, found.as_ref().ok().copied(), &asks);
        let found = found?;
        told.route = Some(found.matches.to_string());
        if let Action::Files(_) = &found.action
            && !METHODS.contains(request.method())
        {
            return Err(format!("only {READ_WORDS} are taken there (405)"));
        }
        told.action = Some(action(found, &asked)?);
        Ok(match &found.action {
            Action::Upstream(upstream) => Onward::Servers(Arc::clone(upstream)),
            Action::Files(files) if *request.method() != Method::OPTIONS => {
                Onward::Disk(files::Search {
                    files: Arc::clone(files),
                    asked: asked.path().to_owned(),
                    path: path_below(found, &asked)?,
                    headers: request.headers().clone(),
                })
            }
            _ => Onward::Nobody,
        })
    }

    /// Which certificate is shown, and whether it is for the host that is asked for then.
    fn shake(
        &self,
        question: &Question,
        asked: &Asked,
        told: &mut SiteExplanation,
    ) -> Result<(), String> {
        let Some(tls) = &self.listener.tls else {
            return Ok(());
        };
        let sni = match question.target.host() {
            Host::Name(name) => Some(name.as_str()),
            // A client that goes to an address names nobody (RFC 6066 §3).
            Host::Ip(_) => None,
        };
        told.certificate = tls.shown_for(sni).map(|identity| {
            let (shown, file) = (identity.current(), identity.cert().display());
            let days = shown.days_left(now_s());
            let names = shown.names().listed().join(", ");
            format!("{file}, for {names}; {days} days left")
        });
        match sni {
            Some(sni) if !sni.eq_ignore_ascii_case(asked.host()) => {
                let is_covered = tls.covers(Some(sni), asked.host());
                let host = named(asked.host());
                let refused = || format!("the certificate for {sni} is not for {host} (421)");
                is_covered.then_some(()).ok_or_else(refused)
            }
            _ => Ok(()),
        }
    }

    /// The upstream's servers as they are found now, with how each stands.
    async fn servers(&self, upstream: &Upstream) -> Vec<EndpointExplanation> {
        let guard = Guard::new(self.force.own.clone(), true);
        let most = self.force.judge_of(upstream).policy().max_fails();
        let mut all: Vec<EndpointExplanation> = Vec::new();
        for server in upstream.servers() {
            // One that is not found is as good as none; the others are tried.
            for spot in server.spots(self.resolver).await.unwrap_or_default() {
                if all.iter().any(|known| known.address == spot.address) {
                    continue;
                }
                let standing = self.report.standings.of(self.force, upstream, spot.address);
                let is_own = guard.judge(spot.address) == Verdict::Own;
                all.push(EndpointExplanation {
                    address: spot.address,
                    server: Some(server.to_string()),
                    is_backup: spot.is_backup,
                    is_eligible: !is_own && !standing.is_down(),
                    reason: match is_own {
                        true => "a listener of this proxy itself (508)".to_owned(),
                        false => reason::of(&standing, most),
                    },
                    status: AddressStatus::of(&standing.dial),
                    traffic: standing.traffic.as_ref().map(AddressStatus::of),
                    check: standing.check.as_ref().map(AddressStatus::of),
                    check_report: standing.seen.as_ref().map(CheckStatus::of),
                });
            }
        }
        all.sort_by_key(|one| (one.is_backup, !one.is_eligible));
        all
    }
}

/// The other routes of the site, and why they are not for the request; the first [`PASSED_MOST`].
fn passed(site: &Site, found: Option<&Arc<Route>>, asks: &route::Question<'_>) -> Vec<String> {
    let others = site.routes.iter().filter(|route| {
        // The one that is for it needs no reason.
        found.is_none_or(|found| !Arc::ptr_eq(route, found))
    });
    let told = others.map(|route| {
        let why = match route::missed(&route.matches, asks) {
            None => "another route comes first".to_owned(),
            Some(Miss::Path) => "another path".to_owned(),
            Some(Miss::Field(name)) => format!("it wants the field {name}"),
            Some(Miss::Parameter(name)) => format!("it wants the parameter {name}"),
            Some(Miss::Client) => format!("it is not for {}", asks.client),
            Some(Miss::Method) => format!("it is not for {}", asks.method),
        };
        format!("{}: {why}", route.matches)
    });
    told.take(PASSED_MOST).collect()
}

/// What becomes of the request, or why nothing does.
fn action(route: &Route, asked: &Asked) -> Result<String, String> {
    let told = told(route, asked)?;
    Ok(match route.users.is_empty() {
        true => told,
        false => format!("for its users (others are asked who they are, 401): {told}"),
    })
}

fn told(route: &Route, asked: &Asked) -> Result<String, String> {
    let refused = |fault: Fault| format!("{fault} ({})", fault.status());
    match &route.action {
        Action::Upstream(upstream) => {
            let path = rewrite::target(&route.rewrite, asked.target()).map_err(refused)?;
            let path = path.as_ref().unwrap_or(asked.target());
            Ok(format!("upstream {} is asked for {path}", upstream.name()))
        }
        Action::Redirect { to, status } => {
            let to = rewrite::location(to, asked).map_err(refused)?;
            Ok(redirected(*status, to.as_bytes()))
        }
        Action::Files(shown) => files::looked_for(shown, asked.path(), &path_below(route, asked)?),
        Action::Respond { status, .. } => Ok(format!("answered here with {}", status.as_u16())),
    }
}

/// What of the path is left below the root.
fn path_below(route: &Route, asked: &Asked) -> Result<String, String> {
    let path = rewrite::target(&route.rewrite, asked.target());
    let path = path.map_err(|fault| format!("{fault} ({})", fault.status()))?;
    Ok(path.as_ref().unwrap_or(asked.target()).path().to_owned())
}

fn redirected(status: StatusCode, to: &[u8]) -> String {
    let to = String::from_utf8_lossy(to);
    format!("redirected to {to} ({})", status.as_u16())
}

/// How a server is chosen while these stand as they do.
fn choice(force: &InForce, upstream: &Upstream, all: &[EndpointExplanation]) -> String {
    let eligible = |is_backup| {
        let eligible = all.iter().filter(|one| one.is_eligible);
        eligible.filter(|one| one.is_backup == is_backup).count()
    };
    let how = match upstream.balance {
        Balance::RoundRobin => "each in turn",
        Balance::LeastConn => "the one with the fewest requests",
        Balance::Random => "any",
        Balance::P2c => "the better of two",
        Balance::Hash => "by hash",
    };
    let queue = upstream.queue;
    match (eligible(false), eligible(true)) {
        _ if all.is_empty() => "none of its servers is found (502)".to_owned(),
        (0, 0) if force.judge_of(upstream).policy().fail_open() => {
            "all are down; one is asked nevertheless, as fail_open says".to_owned()
        }
        (0, 0) if queue.length > 0 => {
            let time = units::show(queue.timeout);
            format!("all are down; the request waits for one, {time} at most (503)")
        }
        (0, 0) => "all are down (503)".to_owned(),
        (0, backups) => format!("{how}, of {backups} that back up, as no other is up"),
        (usual, _) => format!("{how}, of {usual} that may be asked"),
    }
}

fn named(host: &str) -> &str {
    if host.is_empty() {
        "an unknown host"
    } else {
        host
    }
}

/// How files are asked for.
const READ_WORDS: &str = "GET, HEAD, OPTIONS";
/// For whom a request is where nobody says.
const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Routes whose reasons are told.
const PASSED_MOST: usize = 16;
