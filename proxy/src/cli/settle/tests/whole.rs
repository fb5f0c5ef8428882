//! A file that says all that there is to say, and that all of it is in the plan.

use std::time::Duration;

use hyper::StatusCode;
use risefall::check::{BodyMatch, Http, Kind, Start, Statuses, Version};

use super::super::{policy, tree};
use super::Folder;
use crate::plan::files::{Candidate, Cors, Links};
use crate::plan::site::{Action, PathRule, Route};
use crate::plan::upstream::HttpVersion;
use crate::plan::{Engine, KeyBy, Plan, Upstream};

/// The plan by that file.
fn whole() -> Plan {
    let text = include_str!("../../../../../fuzz/seeds/config/whole.toml");
    let text = text
        .replace("${A}", "127.0.0.1:1")
        .replace("shop.pem", "a.pem")
        .replace("shop.key", "a.key")
        .replace("more.pem", "a.pem")
        .replace("more.key", "a.key");
    Folder::new().settle(&text).unwrap().plan
}

fn routes(plan: &Plan) -> Vec<&Route> {
    plan.sites().next().unwrap().routes().collect()
}

fn api(plan: &Plan) -> &Upstream {
    plan.upstreams().find(|one| one.name() == "api").unwrap()
}

#[test]
fn all_that_is_said_of_a_site_is_in_the_plan() {
    let plan = whole();
    let site = plan.sites().next().unwrap();
    assert!(site.h2c && site.hosts.len() == 2 && site.trusted.len() == 1);
    let tls = site.tls().unwrap();
    assert!(tls.identities.len() == 2 && !tls.redirects());
    let fronts: Vec<_> = plan
        .listens()
        .iter()
        .map(|listen| match &listen.engine {
            Engine::Front(front) => Some(front.is_tls()),
            Engine::Forward(_) => None,
        })
        .collect();
    assert_eq!(fronts, [None, None, Some(false), Some(true)]);
}

#[test]
fn all_that_is_said_of_routes_is_in_the_plan() {
    let plan = whole();
    let routes = routes(&plan);
    let first = routes[0];
    assert_eq!(
        first.matches.to_string(),
        "/api/ GET POST x-user: x-version: ?a b ?debug 10.0.0.0/8"
    );
    assert!(matches!(&first.action, Action::Upstream(api) if api.name() == "api"));
    assert_eq!(first.rewrite.strip_prefix.as_deref(), Some("/api"));
    assert_eq!(first.request_headers.set.len(), 1);
    assert_eq!(first.response_headers.add.len(), 1);
    assert_eq!(first.body_limit, Some(10 * 1024 * 1024));
    assert_eq!(first.timeouts.answer, Some(Duration::from_secs(5)));
    assert_eq!(routes[1].matches.path, PathRule::Exact("/old".to_owned()));
    assert!(matches!(&routes[2].action, Action::Respond { body, .. } if body == "no"));
}

#[test]
fn all_that_is_said_of_files_and_their_users_is_in_the_plan() {
    let plan = whole();
    let shown = routes(&plan)[3];
    let Action::Files(files) = &shown.action else {
        panic!("{:?}", shown.action);
    };
    assert!(files.root.is_absolute() && files.root.ends_with("public"));
    assert_eq!(files.index, ["index.html", "index.htm"]);
    let asked = |before: &str, behind: &str| Candidate::Asked {
        before: before.to_owned(),
        behind: behind.to_owned(),
    };
    let candidates = [
        asked("", ""),
        asked("", ".html"),
        asked("/old", ""),
        Candidate::Fixed("/app.html".to_owned()),
    ];
    assert_eq!(files.try_files, candidates);
    assert!(files.listing && files.hidden && !files.precompressed && !files.compress);
    assert_eq!((files.links, files.types.len()), (Links::Off, 1));
    let rules = files.cache_control.iter().map(|(files, _)| files.as_str());
    assert_eq!(rules.collect::<Vec<_>>(), ["assets/**", "*"]);
    let page = (StatusCode::NOT_FOUND, "/404.html".to_owned());
    assert_eq!(files.error_pages, [page]);
    assert!(matches!(&files.cors, Cors::Origins(list) if list == &["https://a.example"]));
    let users = &shown.users;
    assert!(users.find(b"bob@a.example:hunter2").is_some() && users.len() == 2);
    assert_eq!(plan.limits().file_cache, 32 * 1024 * 1024);
}

#[test]
fn all_that_is_said_of_servers_is_in_the_plan() {
    let plan = whole();
    let api = api(&plan);
    assert!(api.servers[0].is_srv && api.servers[0].weight == 2);
    assert_eq!(
        (api.http, api.by.clone()),
        (HttpVersion::H2, KeyBy::Cookie("user".to_owned()))
    );
    assert_eq!((api.retries.budget_percent, api.queue.length), (10, 100));
    assert_eq!((api.service.statuses.len(), api.max_requests), (2, 10));
    assert!(api.tls.is_some() && api.sticky.is_some());
    // Nothing of its own was said of when one is down.
    assert_eq!(
        *api.service.policy,
        policy::of(&tree::Health {
            recovery: tree::Recovery::Open,
            ..tree::Health::default()
        })
        .unwrap()
    );
}

#[test]
fn all_that_is_said_of_checks_is_in_the_plan() {
    let plan = whole();
    let check = api(&plan).check.as_ref().unwrap();
    let wanted = Http::new("/healthz?full").unwrap();
    let wanted = wanted
        .version(Version::Http2)
        .statuses(Statuses::new([(200, 299), (404, 404)]).unwrap())
        .body(BodyMatch::Contains(b"ok\r\n".to_vec()))
        .header("x-check", "1")
        .and_then(|http| http.agent_header("x-agent"))
        .unwrap();
    assert_eq!(check.kind, Kind::Http(wanted));
    assert_eq!(check.thresholds.start, Start::NotEligible);
    let timing = check.timing;
    let times = [
        timing.interval(),
        timing.fast_interval(),
        timing.down_interval(),
    ];
    assert_eq!(times.map(|time| time.as_millis()), [1000, 500, 10_000]);
    assert_eq!(timing.jitter_percent(), 20);
}
