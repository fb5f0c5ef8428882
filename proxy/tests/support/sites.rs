//! Sites in process: one worker, one site, one group of servers.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::net::SocketAddr;
use std::time::Duration;

use risefall::{Policy, PolicyBuilder};
use risefall_proxy::plan::site::PathRule;
use risefall_proxy::plan::upstream::HttpVersion;
use risefall_proxy::plan::{ActionDraft, Draft, RouteDraft, Server, SiteDraft, UpstreamDraft};
use risefall_proxy::proto::Target;

use crate::support::{Origin, Proxy};

/// A site whose every request goes to one of `servers`, and what `change` makes of that.
pub fn site_of(servers: &[SocketAddr], change: impl FnOnce(&mut Draft)) -> Proxy {
    site_by(crate::support::policy(), servers, change)
}

/// The same by a policy.
pub fn site_by(policy: Policy, servers: &[SocketAddr], change: impl FnOnce(&mut Draft)) -> Proxy {
    let servers = servers.iter().map(|server| server_of(*server)).collect();
    Proxy::with(policy.clone(), move |draft| {
        draft.forwards.clear();
        draft.upstreams.push(UpstreamDraft {
            policy: Some(policy),
            ..UpstreamDraft::of("app", servers)
        });
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let routes = vec![route_to("/", "app")];
        draft.sites.push(SiteDraft::on("shop", listen, routes));
        change(draft);
    })
}

/// A policy by which a server that went down stays so for as long as any test lasts.
pub fn lasting(change: impl FnOnce(PolicyBuilder) -> PolicyBuilder) -> Policy {
    let policy = Policy::builder().fail_timeout(Duration::from_secs(60));
    change(policy).build().unwrap()
}

/// A site that takes HTTP/2 without TLS.
pub fn h2c(origin: &Origin, change: impl FnOnce(&mut Draft)) -> Proxy {
    site_of(&[origin.address], |draft| {
        draft.sites[0].h2c = true;
        change(draft);
    })
}

/// The same with servers that speak HTTP/2.
pub fn both_h2(origin: &Origin, change: impl FnOnce(&mut Draft)) -> Proxy {
    h2c(origin, |draft| {
        draft.upstreams[0].http = HttpVersion::H2;
        change(draft);
    })
}

pub fn server_of(address: SocketAddr) -> Server {
    Server {
        target: Target::parse(&address.to_string()).unwrap(),
        weight: 1,
        is_backup: false,
        is_srv: false,
    }
}

pub fn route_to(path: &str, upstream: &str) -> RouteDraft {
    let action = ActionDraft::Upstream(upstream.to_owned());
    RouteDraft::of(PathRule::Prefix(path.to_owned()), action)
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n")
}

/// A request with a body of plain length.
pub fn with_body(method: &str, body: &str) -> String {
    let len = body.len();
    format!("{method} / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {len}\r\n\r\n{body}")
}

/// Changes the group of servers.
pub fn group(change: impl FnOnce(&mut UpstreamDraft)) -> impl FnOnce(&mut Draft) {
    |draft| change(&mut draft.upstreams[0])
}

/// How many requests go on in the proxy.
pub fn in_flight(proxy: &Proxy) -> u64 {
    let counters = proxy.running().counters();
    counters.iter().map(|one| one.in_flight.get()).sum()
}
