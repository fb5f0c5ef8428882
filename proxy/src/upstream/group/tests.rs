//! Servers as they are found, whoever waits for them.

use std::io;
use std::sync::Mutex;

use risefall::{Policy, Registry};

use super::*;
use crate::net::resolve::Names;
use crate::telemetry::tally::Finding;

const SOON: Duration = Duration::from_secs(10);

/// Names whose addresses change.
#[derive(Default)]
struct Fake(Mutex<Vec<SocketAddr>>);

impl Names for Fake {
    fn look_up(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let known = self.0.lock().unwrap().clone();
        match known.is_empty() {
            true => Err(io::Error::other("no such name")),
            false => Ok(known),
        }
    }
}

fn server(text: &str, is_backup: bool) -> Server {
    Server {
        target: Target::parse(text).unwrap(),
        is_srv: false,
        weight: 1,
        is_backup,
    }
}

fn parts(servers: Vec<Server>, registry: &Registry) -> GroupParts {
    let own = vec!["127.0.0.1:8090".parse().unwrap()];
    GroupParts {
        name: "hub".to_owned(),
        era: 0,
        servers,
        balance: Balance::RoundRobin,
        judge: Arc::new(registry.clone()),
        guard: Guard::new(own, false),
        service: None,
        checked: None,
        max_requests: 0,
        queue_length: 0,
        budget_percent: 0,
        tally: Tally::default(),
    }
}

fn group(servers: Vec<Server>) -> (Rc<Group>, Registry) {
    let registry = Registry::new(Policy::default());
    let group = Group::new(parts(servers, &registry));
    (Rc::new(group), registry)
}

fn resolver(names: &Arc<Fake>) -> Rc<Resolver> {
    let names = Arc::clone(names) as Arc<dyn Names>;
    Rc::new(Resolver::new(names, 4, Duration::from_secs(5)))
}

fn addresses(members: &[Rc<Member>]) -> Vec<u16> {
    members.iter().map(|member| member.address.port()).collect()
}

#[tokio::test]
async fn each_in_turn_then_the_others_and_backups_when_none_is_up() {
    let servers = ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3"].map(|text| server(text, false));
    let mut servers = servers.to_vec();
    servers.push(server("10.0.0.1:9", true));
    let (group, registry) = group(servers);
    let resolver = resolver(&Arc::default());
    let members = group.members(&resolver).await.unwrap();
    let mut firsts: Vec<_> = (0..3)
        .map(|_| {
            let candidates = addresses(&members.candidates(0));
            assert_eq!(candidates.len(), 3);
            candidates[0]
        })
        .collect();
    firsts.sort_unstable();
    assert_eq!(firsts, [1, 2, 3]);
    for port in 1..=3 {
        registry.force_down(SocketAddr::from(([10, 0, 0, 1], port)));
    }
    assert_eq!(addresses(&members.candidates(0)), [9]);
    registry.force_down(SocketAddr::from(([10, 0, 0, 1], 9)));
    assert_eq!(members.candidates(0).len(), 4, "the dial tells until when");
}

#[tokio::test]
async fn a_server_that_leads_back_here_is_none() {
    let (group, _) = group(vec![server("127.0.0.1:8090", false)]);
    let members = group.members(&resolver(&Arc::default())).await.unwrap();
    assert!(members.candidates(0).is_empty());
    assert_eq!(members.own(), Some("127.0.0.1:8090".parse().unwrap()));
}

#[tokio::test]
async fn what_stays_is_kept_and_a_name_that_is_lost_keeps_its_addresses() {
    let names = Arc::new(Fake::default());
    let resolver = resolver(&names);
    let server = server("app.internal:80", false);
    let (group, _) = group(vec![server.clone()]);
    let [one, two, three] = [1, 2, 3].map(|last| SocketAddr::from(([10, 0, 0, last], 80)));
    let known = |found: &[SocketAddr]| {
        *names.0.lock().unwrap() = found.to_vec();
        let (group, resolver, server) = (&group, &resolver, &server);
        async move {
            let before = group.members.borrow().clone();
            group.look_up(0, server, resolver).await;
            let after = group.members.borrow().clone().unwrap();
            let is_same = before.is_some_and(|before| Rc::ptr_eq(&before, &after));
            (after, !is_same)
        }
    };
    let (first, is_told) = known(&[one, two]).await;
    assert!(is_told);
    let busy = Group::busy(first.all().next().unwrap());
    assert_eq!(busy.member().address, one);
    // Another order is no change.
    assert!(!known(&[two, one]).await.1);
    let (second, is_told) = known(&[three, one]).await;
    assert!(is_told);
    let kept = second.all().find(|member| member.address == one).unwrap();
    assert_eq!(kept.in_flight.get(), 1);
    assert!(second.all().all(|member| member.address != two));
    drop(busy);
    assert_eq!(kept.in_flight.get(), 0);
    let (third, is_told) = known(&[]).await;
    assert!(!is_told);
    assert_eq!(third.all().count(), 2);
    // The status tells so, until it is found again where it was.
    let told = || group.parts.tally.found.of("app.internal:80");
    let error = told().error.unwrap();
    assert!(error.contains("no such name"), "{error}");
    assert_eq!(told().addresses, [one, three]);
    assert!(!known(&[three, one]).await.1);
    assert_eq!(told().error, None);
}

#[tokio::test]
async fn a_name_that_never_was_found_is_told_so() {
    let server = server("app.internal:80", false);
    let (group, _) = group(vec![server.clone()]);
    let told = || group.parts.tally.found.of("app.internal:80");
    assert_eq!(told(), Finding::default());
    group.look_up(0, &server, &resolver(&Arc::default())).await;
    assert!(told().error.is_some() && told().addresses.is_empty());
}

#[tokio::test]
async fn a_name_is_looked_up_once_for_all_that_wait_for_it() {
    let local = tokio::task::LocalSet::new();
    let wait = async {
        let names = Arc::new(Fake::default());
        names.0.lock().unwrap().push(([10, 0, 0, 1], 80).into());
        let resolver = resolver(&names);
        let (group, _) = group(vec![server("app.internal:80", false)]);
        let (one, other) = tokio::join!(group.members(&resolver), group.members(&resolver));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(Rc::ptr_eq(&one, &other));
        assert_eq!(one.all().count(), 1);
    };
    local.run_until(wait).await;
}

#[tokio::test]
async fn nothing_found_is_told_to_each_until_the_pause_is_over() {
    let local = tokio::task::LocalSet::new();
    let wait = async {
        let resolver = resolver(&Arc::default());
        let (group, _) = group(vec![server("app.internal:80", false)]);
        for _ in 0..2 {
            let fault = group.members(&resolver).await.err().unwrap();
            assert_eq!(fault.token(), "dns_error", "{fault}");
        }
    };
    local.run_until(wait).await;
}

#[tokio::test]
async fn what_one_group_asked_for_is_told_to_the_one_behind_it_and_back() {
    let local = tokio::task::LocalSet::new();
    let wait = async {
        let names = Arc::new(Fake::default());
        let known = |last| names.0.lock().unwrap().push(([10, 0, 0, last], 80).into());
        known(1);
        let resolver = resolver(&names);
        let server = server("app.internal:80", false);
        let (before, registry) = group(vec![server.clone()]);
        // It has asked, and is replaced before it is answered.
        assert!(before.known(&resolver).is_none());
        let behind = Rc::new(Group::behind(
            &before,
            parts(vec![server.clone()], &registry),
        ));
        let found = tokio::time::timeout(SOON, behind.members(&resolver)).await;
        assert_eq!(found.unwrap().unwrap().all().count(), 1);
        for (asking, hearing) in [(&before, &behind), (&behind, &before)] {
            let count = hearing.known(&resolver).unwrap().all().count();
            known(7 + u8::try_from(count).unwrap());
            asking.look_up(0, &server, &resolver).await;
            let heard = hearing.known(&resolver).unwrap();
            assert_eq!(heard.all().count(), count + 1);
        }
    };
    local.run_until(wait).await;
}

#[tokio::test]
async fn a_lookup_that_goes_on_is_waited_for_whatever_failed_before() {
    let local = tokio::task::LocalSet::new();
    let wait = async {
        let names = Arc::new(Fake::default());
        let resolver = resolver(&names);
        let server = server("app.internal:80", false);
        let (group, _) = group(vec![server.clone()]);
        assert!(group.members(&resolver).await.is_err());
        names.0.lock().unwrap().push(([10, 0, 0, 1], 80).into());
        let later = Instant::now() + Duration::from_secs(600);
        assert_eq!(group.names.lookups.borrow_mut().start(later).len(), 1);
        let (found, ()) = tokio::join!(
            tokio::time::timeout(SOON, group.members(&resolver)),
            group.look_up(0, &server, &resolver)
        );
        assert_eq!(found.unwrap().unwrap().all().count(), 1);
    };
    local.run_until(wait).await;
}

/// Names that nobody knows until it is dropped, and then no more.
struct Silent(Mutex<std::sync::mpsc::Receiver<()>>);

impl Names for Silent {
    fn look_up(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let _ = self.0.lock().unwrap().recv();
        Err(io::Error::other("no such name"))
    }
}

/// Whoever drops the sender ends the silence.
fn silent() -> (std::sync::mpsc::Sender<()>, Rc<Resolver>) {
    let (sender, silence) = std::sync::mpsc::channel();
    let names = Arc::new(Silent(Mutex::new(silence)));
    let resolver = Resolver::new(names, 4, Duration::from_secs(600));
    (sender, Rc::new(resolver))
}

#[tokio::test]
async fn servers_given_by_address_serve_at_once_whatever_becomes_of_names() {
    let local = tokio::task::LocalSet::new();
    let wait = async {
        let (silence, resolver) = silent();
        let (group, _) = group(vec![
            server("app.internal:80", false),
            server("10.0.0.2:80", false),
            server("10.0.0.3:80", true),
        ]);
        for _ in 0..2 {
            let known = tokio::time::timeout(SOON, group.members(&resolver)).await;
            assert_eq!(known.unwrap().unwrap().all().count(), 2);
        }
        assert!(!group.is_whole.get());
        drop(silence);
        while !group.is_whole.get() {
            let told = group.names.told.notified();
            tokio::time::timeout(SOON, told).await.unwrap();
        }
        assert_eq!(group.members(&resolver).await.unwrap().all().count(), 2);
    };
    local.run_until(wait).await;
}

#[tokio::test]
async fn backups_and_this_process_itself_are_no_reason_not_to_wait_for_a_name() {
    let local = tokio::task::LocalSet::new();
    let wait = async {
        let (silence, resolver) = silent();
        let (group, _) = group(vec![
            server("app.internal:80", false),
            server("10.0.0.3:80", true),
            server("127.0.0.1:8090", false),
        ]);
        let members = tokio::join!(group.members(&resolver), async {
            tokio::task::yield_now().await;
            assert!(group.known(&resolver).is_none());
            drop(silence);
        });
        assert_eq!(members.0.unwrap().all().count(), 1);
    };
    local.run_until(wait).await;
}

#[tokio::test]
async fn a_name_that_the_next_plan_has_too_is_known_at_once() {
    let local = tokio::task::LocalSet::new();
    let wait = async {
        let names = Arc::new(Fake::default());
        names.0.lock().unwrap().push(([10, 0, 0, 1], 80).into());
        let named = server("app.internal:80", false);
        let (before, registry) = group(vec![named.clone()]);
        before.members(&resolver(&names)).await.unwrap();
        let more = vec![named, server("new.internal:80", false)];
        let behind = Rc::new(Group::behind(&before, parts(more, &registry)));
        let (silence, silent) = silent();
        let known = tokio::time::timeout(SOON, behind.members(&silent)).await;
        assert_eq!(known.unwrap().unwrap().all().count(), 1);
        drop(silence);
    };
    local.run_until(wait).await;
}

#[tokio::test]
async fn what_is_held_against_a_server_stays_while_its_new_name_is_looked_up() {
    let local = tokio::task::LocalSet::new();
    let wait = async {
        let registry = Registry::new(Policy::default());
        let policy = Policy::builder().max_fails(1).build().unwrap();
        let service = crate::plan::upstream::Service::by(policy);
        let evidences = super::super::evidence::Evidences::default();
        let evidence = evidences.get("hub", &service, None, &registry);
        let judged = |servers| GroupParts {
            service: Some(Arc::clone(&evidence)),
            ..parts(servers, &registry)
        };
        let names = Arc::new(Fake::default());
        let address = SocketAddr::from(([10, 0, 0, 1], 80));
        names.0.lock().unwrap().push(address);
        let before = Rc::new(Group::new(judged(vec![server("old.internal:80", false)])));
        before.serve(1);
        before.members(&resolver(&names)).await.unwrap();
        let handle = evidence.handle(address).unwrap();
        let failed = risefall::Outcome::Failed(risefall::Cause::BadGateway);
        handle.end(handle.admit().unwrap(), failed, Duration::ZERO);
        assert!(handle.is_down());

        let servers = ["new.internal:80", "10.0.0.2:80"].map(|text| server(text, false));
        let behind = Rc::new(Group::behind(&before, judged(servers.to_vec())));
        behind.serve(2);
        drop(before);
        let (silence, silent) = silent();
        let known = behind.members(&silent).await.unwrap();
        assert_eq!(known.all().count(), 1);
        // It goes on with another name server, that knows.
        let found = SocketAddr::from(([10, 0, 0, 1], 80));
        behind
            .look_up(0, &server("new.internal:80", false), &resolver(&names))
            .await;
        let known = behind.members(&silent).await.unwrap();
        assert_eq!(known.all().count(), 2);
        assert!(evidence.handle(found).unwrap().is_down());
        drop(silence);
    };
    local.run_until(wait).await;
}
