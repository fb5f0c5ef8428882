use std::time::Duration;

use hyper::Method;

use super::super::tests::said;
use super::*;
use crate::net::tls::fixture::Folder;
use crate::plan::{Engine, Server, UpstreamDraft};
use crate::proto::Target;

fn to_api(path: &str) -> RouteDraft {
    let action = ActionDraft::Upstream("api".to_owned());
    RouteDraft::of(PathRule::Prefix(path.to_owned()), action)
}

fn to_elsewhere() -> RouteDraft {
    let action = ActionDraft::Redirect {
        to: "/".to_owned(),
        status: StatusCode::PERMANENT_REDIRECT,
    };
    RouteDraft::of(PathRule::Prefix("/".to_owned()), action)
}

fn site(name: &str, listen: &[&str]) -> SiteDraft {
    let listen = listen.iter().map(|at| at.parse().unwrap()).collect();
    SiteDraft::on(name, listen, vec![to_api("/")])
}

fn hosts(list: &[&str]) -> Vec<HostPattern> {
    let each = list.iter().map(|host| match host.strip_prefix("*.") {
        Some(domain) => HostPattern::Wildcard(domain.to_owned()),
        None => HostPattern::Exact((*host).to_owned()),
    });
    each.collect()
}

fn identity() -> Arc<Identity> {
    let folder = Folder::new();
    let (cert, key) = folder.issue("shop", &["shop.example.com"]);
    Identity::load(&cert, &key).unwrap()
}

fn tls(listen: &[&str]) -> Option<SiteTlsDraft> {
    Some(SiteTlsDraft {
        listen: listen.iter().map(|at| at.parse().unwrap()).collect(),
        identities: vec![identity()],
        ..SiteTlsDraft::default()
    })
}

fn draft(sites: Vec<SiteDraft>) -> Draft {
    let server = Server {
        target: Target::parse("10.0.0.1:80").unwrap(),
        weight: 1,
        is_backup: false,
        is_srv: false,
    };
    Draft {
        forwards: Vec::new(),
        sites,
        upstreams: vec![UpstreamDraft::of("api", vec![server])],
        ..Draft::default()
    }
}

fn refused(sites: Vec<SiteDraft>) -> Vec<String> {
    said(draft(sites))
}

#[test]
fn sites_alone_are_a_plan_and_may_listen_for_everybody() {
    let plan = draft(vec![site("shop", &["0.0.0.0:80"])])
        .resolve()
        .unwrap();
    let [listen] = plan.listens() else {
        panic!("{:?}", plan.listens());
    };
    let Engine::Front(front) = &listen.engine else {
        panic!("{listen:?}");
    };
    assert!(!front.is_tls());
    assert_eq!(listen.name(), "shop");
}

#[test]
fn without_listeners_of_its_own_tls_is_spoken_at_all_of_them() {
    let shop = SiteDraft {
        tls: tls(&[]),
        ..site("shop", &["0.0.0.0:443", "[::1]:443"])
    };
    let plan = draft(vec![shop]).resolve().unwrap();
    let shop = plan.sites().next().unwrap();
    assert!(shop.listen().is_empty());
    assert_eq!(shop.tls().unwrap().listen().len(), 2);
    assert!(!shop.tls().unwrap().redirects());
}

#[test]
fn plain_http_is_sent_to_tls_where_a_site_has_both_unless_said_otherwise() {
    for (redirect, redirects) in [(None, true), (Some(false), false)] {
        let mut shop = site("shop", &["0.0.0.0:80"]);
        shop.tls = tls(&["0.0.0.0:443"]);
        shop.tls.as_mut().unwrap().redirect = redirect;
        let plan = draft(vec![shop]).resolve().unwrap();
        let shop = plan.sites().next().unwrap();
        assert_eq!(shop.tls().unwrap().redirects(), redirects);
        assert_eq!(plan.listens().len(), 2);
    }
    let mut shop = site("shop", &["0.0.0.0:443"]);
    shop.tls = tls(&[]);
    shop.tls.as_mut().unwrap().redirect = Some(true);
    assert_eq!(
        refused(vec![shop]),
        [
            "site.shop.tls.redirect: there is no plain listener to redirect from; expected listen \
          beside tls.listen"
        ]
    );
}

#[test]
fn sites_of_one_address_are_told_apart_by_their_hosts() {
    let shop = SiteDraft {
        hosts: hosts(&["shop.example.com", "*.shop.example.com"]),
        ..site("shop", &["0.0.0.0:80"])
    };
    let blog = SiteDraft {
        hosts: hosts(&["blog.example.com"]),
        ..site("blog", &["0.0.0.0:80"])
    };
    let rest = site("rest", &["0.0.0.0:80", "0.0.0.0:81"]);
    let plan = draft(vec![shop.clone(), blog.clone(), rest.clone()]);
    let plan = plan.resolve().unwrap();
    let fronts = plan.listens().iter().map(|listen| match &listen.engine {
        Engine::Front(front) => front.sites().count(),
        Engine::Forward(_) => 0,
    });
    assert_eq!(fronts.collect::<Vec<_>>(), [3, 1]);

    let blog = SiteDraft {
        hosts: hosts(&["blog.example.com", "*.shop.example.com"]),
        ..blog
    };
    let other = site("other", &["0.0.0.0:81", "0.0.0.0:80"]);
    assert_eq!(
        refused(vec![shop, blog, rest, other]),
        [
            "site.blog.hosts[1]: *.shop.example.com is taken on 0.0.0.0:80 already by \
             site.shop.hosts[1]",
            "site.other.hosts: every host that no other site has is taken on 0.0.0.0:81 already \
             by site.rest; say the hosts of one of them",
        ]
    );
}

#[test]
fn a_host_is_said_once() {
    let shop = SiteDraft {
        hosts: hosts(&["a.example", "b.example", "a.example"]),
        ..site("shop", &["0.0.0.0:80", "0.0.0.0:81"])
    };
    assert_eq!(
        refused(vec![shop]),
        ["site.shop.hosts[2]: a.example is taken on 0.0.0.0:80 already by site.shop.hosts[0]"]
    );
}

#[test]
fn sites_of_one_address_agree_on_how_it_is_spoken_to() {
    let sites = |change: fn(&mut SiteDraft)| {
        let shop = SiteDraft {
            tls: tls(&["0.0.0.0:443"]),
            ..site("shop", &["0.0.0.0:80"])
        };
        let mut blog = SiteDraft {
            hosts: hosts(&["blog.example.com"]),
            ..SiteDraft {
                name: "blog".to_owned(),
                ..shop.clone()
            }
        };
        change(&mut blog);
        vec![shop, blog]
    };
    assert!(draft(sites(|_| {})).resolve().is_ok());
    assert_eq!(
        refused(sites(|blog| blog.h2c = true)),
        [
            "site.blog.listen[0]: here 0.0.0.0:80 speaks plain HTTP/1.1 and HTTP/2 (h2c), but by \
          site.shop.listen[0] it speaks plain HTTP/1.1; all sites of one address have to agree"
        ]
    );
    assert_eq!(
        refused(sites(
            |blog| blog.tls.as_mut().unwrap().versions = Versions::Only13
        )),
        [
            "site.blog.tls.listen[0]: here 0.0.0.0:443 speaks TLS 1.3 alone, but by \
          site.shop.tls.listen[0] it speaks TLS; all sites of one address have to agree"
        ]
    );
    assert_eq!(
        refused(sites(|blog| {
            blog.tls = tls(&[]);
        })),
        [
            "site.blog.listen[0]: here 0.0.0.0:80 speaks TLS, but by site.shop.listen[0] it speaks \
          plain HTTP/1.1; all sites of one address have to agree"
        ]
    );
}

#[test]
fn the_certificates_of_an_address_are_those_of_all_its_sites() {
    let shop = SiteDraft {
        tls: tls(&[]),
        ..site("shop", &["0.0.0.0:443"])
    };
    let blog = SiteDraft {
        hosts: hosts(&["blog.example.com"]),
        ..SiteDraft {
            name: "blog".to_owned(),
            ..shop.clone()
        }
    };
    let plan = draft(vec![shop, blog]).resolve().unwrap();
    let Engine::Front(front) = &plan.listens()[0].engine else {
        panic!();
    };
    assert_eq!(front.tls.as_ref().unwrap().identities.len(), 2);
}

#[test]
fn an_address_is_for_sites_or_a_forward_proxy_or_the_admin_api() {
    let mut draft = draft(vec![site("shop", &["127.0.0.1:8090", "0.0.0.0:9901"])]);
    draft.forwards = Draft::default().forwards;
    let places: Vec<_> = said(draft)
        .iter()
        .map(|line| line[..24].to_owned())
        .collect();
    assert_eq!(
        places,
        ["site.shop.listen[0]: 127", "admin.listen: 127.0.0.1:"]
    );
    let twice = site("shop", &["127.0.0.1:80", "127.0.0.1:80"]);
    assert_eq!(refused(vec![twice]).len(), 1);
    let wildcard = SiteDraft {
        hosts: hosts(&["a.example"]),
        ..site("more", &["0.0.0.0:80"])
    };
    assert_eq!(
        refused(vec![site("shop", &["127.0.0.1:80"]), wildcard]).len(),
        1
    );
    let chosen = vec![site("a", &["127.0.0.1:0"]), site("b", &["127.0.0.1:0"])];
    assert_eq!(self::draft(chosen).resolve().unwrap().listens().len(), 2);
}

#[test]
fn a_route_leads_somewhere_and_no_two_are_for_the_same_requests() {
    let nowhere = RouteDraft {
        action: None,
        ..to_api("/a")
    };
    let unknown = RouteDraft {
        action: Some(ActionDraft::Upstream("apo".to_owned())),
        ..to_api("/b")
    };
    let with = |methods: &[&str]| {
        let mut route = to_api("/c");
        route.matches.methods = methods.iter().map(|one| one.parse().unwrap()).collect();
        route
    };
    let shop = SiteDraft {
        routes: vec![
            nowhere,
            unknown,
            with(&["GET", "PUT"]),
            with(&["PUT", "GET"]),
            with(&[]),
        ],
        ..site("shop", &["0.0.0.0:80"])
    };
    assert_eq!(
        refused(vec![shop]),
        [
            "site.shop.route[0]: nothing is said of what becomes of these requests; expected one \
             of upstream, root, redirect, respond",
            "site.shop.route[1].upstream: there is no upstream \"apo\"; expected one of \
             [upstream.NAME]: api",
            "site.shop.route[3]: site.shop.route[2] is for the very same requests",
        ]
    );
    let shop = SiteDraft {
        routes: Vec::new(),
        ..site("shop", &[])
    };
    assert_eq!(refused(vec![shop]).len(), 2);
}

#[test]
fn what_is_stripped_is_what_every_path_of_the_route_begins_with() {
    for (path, prefix, is_right) in [
        ("/api", "/api", true),
        ("/api/", "/api", true),
        ("/api/v1", "/api", true),
        ("/api/v1", "/api/", true),
        ("/api/v1", "/ap", false),
        ("/api", "/api/", false),
        ("/", "/api", false),
    ] {
        let mut route = to_api(path);
        route.rewrite.strip_prefix = Some(prefix.to_owned());
        let shop = SiteDraft {
            routes: vec![route],
            ..site("shop", &["0.0.0.0:80"])
        };
        let resolved = draft(vec![shop]).resolve();
        assert_eq!(resolved.is_ok(), is_right, "{path} {prefix}");
    }
}

#[test]
fn a_folder_is_for_requests_that_read() {
    for (methods, is_right) in [
        (&[][..], true),
        (&[Method::GET], true),
        (&[Method::OPTIONS], true),
        (&[Method::POST, Method::HEAD], true),
        (&[Method::POST], false),
        (&[Method::PUT, Method::DELETE], false),
    ] {
        let action = ActionDraft::Files(Files::of("/srv".into()));
        let mut route = RouteDraft::of(PathRule::Prefix("/".to_owned()), action);
        route.matches.methods = methods.to_vec();
        let shop = SiteDraft {
            routes: vec![route],
            ..site("shop", &["0.0.0.0:80"])
        };
        let resolved = draft(vec![shop]).resolve();
        let told = resolved.map(|_| ()).map_err(|errors| errors[0].to_string());
        assert_eq!(told.is_ok(), is_right, "{methods:?}: {told:?}");
        if let Err(told) = told {
            assert!(told.starts_with("site.shop.route[0].methods: "), "{told}");
            assert!(
                told.contains("405") && told.contains("expected GET"),
                "{told}"
            );
        }
    }
}

#[test]
fn what_is_told_to_servers_needs_one_and_times_have_bounds() {
    let mut route = to_elsewhere();
    route.rewrite.add_prefix = Some("/a".to_owned());
    route.timeouts.answer = Some(Duration::ZERO);
    let shop = SiteDraft {
        routes: vec![route],
        ..site("shop", &["0.0.0.0:80"])
    };
    assert_eq!(
        refused(vec![shop]),
        [
            "site.shop.route[0].add_prefix: is of use beside upstream or root alone",
            "site.shop.route[0].answer_timeout: found 0ms, expected from 10ms to 168h",
        ]
    );
}

#[test]
fn the_clock_keeps_the_deadlines_of_routes_as_well() {
    let mut shop = site("shop", &["127.0.0.1:80"]);
    shop.routes[0].timeouts.answer = Some(Duration::from_millis(80));
    let plan = draft(vec![shop]).resolve().unwrap();
    assert_eq!(plan.shortest(), Duration::from_millis(80));
    let plan = draft(vec![site("shop", &["127.0.0.1:80"])]);
    let plan = plan.resolve().unwrap();
    assert_eq!(plan.shortest(), plan.timeouts.shortest());
}
