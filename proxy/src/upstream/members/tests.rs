//! Who is tried, and who after that.

use std::sync::Arc;

use risefall::judge::Judge;
use risefall::{Cause, Outcome, Policy, Registry};

use super::*;
use crate::net::guard::Guard;
use crate::net::resolve::{Resolver, SystemNames};
use crate::plan::Check;
use crate::plan::upstream::{Service, usual_group};
use crate::proto::Target;
use crate::telemetry::tally::Tally;
use crate::upstream::evidence::{Evidence, Evidences};
use crate::upstream::group::{Group, GroupParts, Server};

struct Fixture {
    group: Rc<Group>,
    members: Rc<Members>,
    dials: Registry,
    evidence: Arc<Evidence>,
}

/// Servers at ports 1, 2, ... and a backup at port 9.
async fn fixture(usual: u16, fails_open: bool, max_requests: u32) -> Fixture {
    let policy = Policy::builder().fail_open(fails_open).build().unwrap();
    let dials = Registry::new(policy.clone());
    let service = Service {
        policy: Arc::new(policy),
        group: usual_group(),
        statuses: Vec::new(),
    };
    let second = Duration::from_secs(1);
    let mut check = Check::of(risefall::check::Kind::Connect);
    (check.thresholds.fall, check.thresholds.rise) = (1, 1);
    let evidence = Evidences::default().get("api", &service, Some(&check), &dials);
    let servers = (1..=usual).chain([9]).map(|port| Server {
        target: Target::parse(&address(port).to_string()).unwrap(),
        weight: 1,
        is_backup: port == 9,
        is_srv: false,
    });
    let judge: Arc<dyn Judge> = Arc::new(dials.clone());
    let group = Rc::new(Group::new(GroupParts {
        name: "api".to_owned(),
        era: 0,
        servers: servers.collect(),
        balance: Balance::RoundRobin,
        judge,
        guard: Guard::new(Vec::new(), true),
        service: Some(Arc::clone(&evidence)),
        checked: None,
        max_requests,
        queue_length: 0,
        budget_percent: 0,
        tally: Tally::default(),
    }));
    let resolver = Rc::new(Resolver::new(Arc::new(SystemNames), 1, second));
    let members = group.members(&resolver).await.unwrap();
    Fixture {
        group,
        members,
        dials,
        evidence,
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

impl Fixture {
    fn chosen(&self, tried: &Tried) -> (Rc<Member>, Right) {
        match self.members.choose(0, tried) {
            Choice::Member(member, right) => (member, right),
            other => panic!("{other:?}"),
        }
    }

    fn take_down(&self, ports: impl IntoIterator<Item = u16>) {
        for port in ports {
            for _ in 0..3 {
                self.dials.record_failure(address(port), Cause::Refused);
            }
        }
    }
}

#[tokio::test]
async fn each_is_tried_once_backups_last_and_then_nobody_is_left() {
    let fixture = fixture(3, true, 0).await;
    let mut tried = Tried::default();
    let mut ports: Vec<_> = (0..4)
        .map(|_| {
            let (member, _) = fixture.chosen(&tried);
            tried.add(&member);
            member.address.port()
        })
        .collect();
    assert_eq!(ports[3], 9);
    ports.sort_unstable();
    assert_eq!(ports, [1, 2, 3, 9]);
    assert!(matches!(fixture.members.choose(0, &tried), Choice::None));
    tried.clear();
    assert_ne!(fixture.chosen(&tried).0.address.port(), 9);
}

#[tokio::test]
async fn any_word_takes_it_out_of_the_choice() {
    let fixture = fixture(4, false, 0).await;
    fixture.take_down([1]);
    let service = fixture.evidence.handle(address(2)).unwrap();
    for _ in 0..3 {
        let failed = Outcome::Failed(Cause::BadGateway);
        service.end(service.admit_anyway(), failed, Duration::ZERO);
    }
    let checks = fixture.evidence.checks().unwrap();
    checks.record(address(3), Outcome::Failed(Cause::TimedOut));
    for _ in 0..8 {
        assert_eq!(fixture.chosen(&Tried::default()).0.address, address(4));
    }
}

#[tokio::test]
async fn a_full_one_is_passed_over_until_something_ends_there() {
    let fixture = fixture(2, false, 1).await;
    let busy: Vec<_> = (0..3)
        .map(|_| Group::busy(&fixture.chosen(&Tried::default()).0))
        .collect();
    assert_eq!(busy[2].member().address, address(9));
    let choice = fixture.members.choose(0, &Tried::default());
    assert!(matches!(choice, Choice::AllFull), "{choice:?}");
    let freed = busy[0].member().address;
    drop(busy);
    fixture.take_down([1, 2, 9].into_iter().filter(|&port| address(port) != freed));
    assert_eq!(fixture.chosen(&Tried::default()).0.address, freed);
}

#[tokio::test]
async fn when_all_are_down_it_is_told_when_the_first_is_due() {
    let fixture = fixture(2, false, 0).await;
    fixture.take_down([1, 2, 9]);
    let Choice::AllDown { retry_in } = fixture.members.choose(0, &Tried::default()) else {
        panic!("none is up");
    };
    let retry_in = retry_in.unwrap();
    assert!(retry_in <= Duration::from_secs(61) && retry_in > Duration::from_secs(50));
    let fixture = self::fixture(1, false, 0).await;
    let checks = fixture.evidence.checks().unwrap();
    for port in [1, 9] {
        checks.record(address(port), Outcome::Failed(Cause::TimedOut));
    }
    let choice = fixture.members.choose(0, &Tried::default());
    assert!(
        matches!(choice, Choice::AllDown { retry_in: None }),
        "{choice:?}"
    );
}

#[tokio::test]
async fn failing_open_asks_one_that_no_operator_took_out() {
    let fixture = fixture(2, true, 0).await;
    fixture.dials.force_down(address(1));
    fixture.take_down([9]);
    let checks = fixture.evidence.checks().unwrap();
    checks.record(address(2), Outcome::Failed(Cause::TimedOut));
    let mut tried = Tried::default();
    // One has a time, the other waits for a check.
    for port in [9, 2] {
        let (member, right) = fixture.chosen(&tried);
        assert_eq!(member.address.port(), port);
        assert!(!right.is_probe());
        tried.add(&member);
    }
    let choice = fixture.members.choose(0, &tried);
    assert!(matches!(choice, Choice::AllDown { .. }), "{choice:?}");
    // One that is up, though it was tried, is no reason to ask those that are down.
    let fixture = self::fixture(2, true, 0).await;
    fixture.take_down([1, 9]);
    let mut tried = Tried::default();
    tried.add(&fixture.chosen(&tried).0);
    let choice = fixture.members.choose(0, &tried);
    assert!(matches!(choice, Choice::AllDown { .. }), "{choice:?}");
}

#[tokio::test]
async fn a_client_keeps_its_server_while_that_may_be_had() {
    let fixture = fixture(3, false, 1).await;
    let member = fixture.members.all().nth(1).unwrap();
    let mut tried = Tried::default();
    let kept = |tried: &Tried| {
        let found = fixture.members.by_name(member.name(), tried);
        found.map(|(member, _)| member.address)
    };
    assert_eq!(kept(&tried), Some(member.address));
    assert!(fixture.members.by_name(7, &tried).is_none());
    let busy = Group::busy(member);
    assert_eq!(kept(&tried), None);
    drop(busy);
    tried.add(member);
    assert_eq!(kept(&tried), None);
    fixture.take_down([member.address.port()]);
    assert_eq!(kept(&Tried::default()), None);
}

#[tokio::test]
async fn what_a_client_takes_to_send_is_not_what_its_server_takes() {
    let fixture = fixture(1, false, 0).await;
    let member = fixture.chosen(&Tried::default()).0;
    let (short, long) = (Group::busy(&member), Group::busy(&member));
    long.note_upload();
    for busy in [&short, &long] {
        fixture.group.note(busy);
    }
    // Rounded up: one that is answered has taken some time.
    assert!(short.took() > Duration::ZERO);
    assert_eq!(long.took(), Duration::ZERO);
}

#[tokio::test]
async fn what_ends_calls_those_who_wait() {
    let fixture = fixture(1, false, 1).await;
    fixture.group.queue().adjust(1);
    let busy = Group::busy(&fixture.chosen(&Tried::default()).0);
    let mut place = fixture.group.queue().enter().unwrap();
    drop(busy);
    let called = place.wait(tokio::time::Instant::now(), None).await;
    assert_eq!(called, Ok(()));
}
