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
    let weights = vec![1; usual.into()];
    fixture_by(Balance::RoundRobin, &weights, fails_open, max_requests).await
}

/// As many as `weights`.
async fn fixture_by(
    balance: Balance,
    weights: &[u16],
    fails_open: bool,
    max_requests: u32,
) -> Fixture {
    // What is by chance is the same each time.
    fastrand::seed(7);
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
    let usual = (1..).zip(weights.iter().copied());
    let servers = usual.chain([(9, 1)]).map(|(port, weight)| Server {
        target: Target::parse(&address(port).to_string()).unwrap(),
        weight,
        is_backup: port == 9,
        is_srv: false,
    });
    let judge: Arc<dyn Judge> = Arc::new(dials.clone());
    let group = Rc::new(Group::new(GroupParts {
        name: "api".to_owned(),
        era: 0,
        servers: servers.collect(),
        balance,
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

    /// Dials to it fall silent.
    fn silence(&self, port: u16) {
        let ticket = self.dials.begin(&address(port));
        self.dials.note_silence(address(port), ticket);
    }

    /// Who would be dialled for a request, and whom the race would turn to.
    fn dialled(&self, key: u64) -> Rc<Member> {
        let mut tried = Tried::default();
        let Choice::Member(member, _) = self.members.choose(key, &tried) else {
            panic!("all are up");
        };
        tried.add(&member);
        // More than once, as a request does that looks for an open connection first.
        let _ = self.members.others(key, &tried);
        let others = self.members.others(key, &tried);
        let mut all = std::iter::once(&member).chain(&others);
        Rc::clone(all.find(|one| !one.is_suspect()).unwrap())
    }
}

/// How many of 600 requests each of ports 1 to 9 gets, at which a request ends in no time.
fn counts(fixture: &Fixture) -> [usize; 9] {
    let mut counts = [0; 9];
    for key in 0..600 {
        let choice = fixture.members.choose(key, &Tried::default());
        let Choice::Member(member, _) = choice else {
            panic!("{choice:?}");
        };
        counts[usize::from(member.address.port()) - 1] += 1;
    }
    counts
}

/// How far from what it is due a server may be.
fn most_off(balance: Balance, due: usize) -> usize {
    match balance {
        Balance::RoundRobin | Balance::LeastConn => usize::from(due > 0),
        Balance::Random | Balance::P2c => 4 * due.isqrt(),
        Balance::Hash => due * 2 / 5,
    }
}

const ALL: [Balance; 5] = [
    Balance::RoundRobin,
    Balance::LeastConn,
    Balance::Random,
    Balance::P2c,
    Balance::Hash,
];

#[tokio::test]
async fn the_share_of_a_server_that_is_down_is_spread_over_all_others() {
    let some_down: [(&[u16], &[u16], [usize; 9]); 6] = [
        (&[1, 1, 1], &[1], [0, 300, 300, 0, 0, 0, 0, 0, 0]),
        (&[1, 1, 1], &[2], [300, 0, 300, 0, 0, 0, 0, 0, 0]),
        (&[1, 1, 1], &[3], [300, 300, 0, 0, 0, 0, 0, 0, 0]),
        (&[2, 7, 3, 1], &[2], [200, 0, 300, 100, 0, 0, 0, 0, 0]),
        (&[1; 8], &[3, 4, 5, 6], [150, 150, 0, 0, 0, 0, 150, 150, 0]),
        // The backup alone is left.
        (&[1, 2], &[1, 2], [0, 0, 0, 0, 0, 0, 0, 0, 600]),
    ];
    for (balance, (weights, down, due)) in
        ALL.iter().flat_map(|&way| some_down.map(|one| (way, one)))
    {
        let fixture = fixture_by(balance, weights, false, 0).await;
        fixture.take_down(down.iter().copied());
        let counts = counts(&fixture);
        for (&count, due) in counts.iter().zip(due) {
            let told = format!("{balance:?} {weights:?} without {down:?}: {counts:?}");
            assert!(count.abs_diff(due) <= most_off(balance, due), "{told}");
        }
    }
}

#[tokio::test]
async fn what_is_not_let_through_to_a_silent_server_is_spread_over_all_others() {
    let some_silent: [(&[u16], &[u16], [usize; 9]); 5] = [
        (&[1, 1, 1], &[1], [0, 300, 300, 0, 0, 0, 0, 0, 0]),
        (&[1, 1, 1], &[3], [300, 300, 0, 0, 0, 0, 0, 0, 0]),
        (&[2, 7, 3, 1], &[2], [200, 0, 300, 100, 0, 0, 0, 0, 0]),
        (&[1; 8], &[3, 4], [100, 100, 0, 0, 100, 100, 100, 100, 0]),
        // More than one dial tries.
        (
            &[1; 8],
            &[1, 2, 3, 5, 7, 8],
            [0, 0, 0, 300, 0, 300, 0, 0, 0],
        ),
    ];
    for (balance, (weights, silent, due)) in ALL
        .iter()
        .flat_map(|&way| some_silent.map(|one| (way, one)))
    {
        let fixture = fixture_by(balance, weights, false, 0).await;
        silent.iter().for_each(|&port| fixture.silence(port));
        let mut counts = [0_usize; 9];
        for key in 0..600 {
            let port = fixture.dialled(key).address.port();
            counts[usize::from(port) - 1] += 1;
        }
        for (&count, due) in counts.iter().zip(due) {
            let told = format!("{balance:?} {weights:?}, {silent:?} silent: {counts:?}");
            let most_off = match balance {
                Balance::Hash => due * 2 / 5,
                _ => 4 * due.isqrt(),
            };
            assert!(count.abs_diff(due) <= most_off, "{told}");
        }
    }
}

#[tokio::test]
async fn a_silent_server_s_client_goes_where_it_would_go_if_that_were_down() {
    let [silent, down] = [
        fixture_by(Balance::Hash, &[1; 8], false, 0).await,
        fixture_by(Balance::Hash, &[1; 8], false, 0).await,
    ];
    silent.silence(3);
    down.take_down([3]);
    for key in 0..600 {
        let expected = down.dialled(key).address;
        assert_eq!(silent.dialled(key).address, expected, "{key}");
    }
}

#[tokio::test]
async fn the_others_are_all_that_may_be_had_each_once_and_backups_when_none_is() {
    for balance in ALL {
        let fixture = fixture_by(balance, &[1, 1, 1, 1, 1], false, 1).await;
        let mut tried = Tried::default();
        let member = fixture.chosen(&tried).0;
        tried.add(&member);
        let ports = |tried: &Tried| {
            let others = fixture.members.others(0, tried);
            let mut ports: Vec<_> = others.iter().map(|one| one.address.port()).collect();
            ports.sort_unstable();
            ports
        };
        let mut left: Vec<_> = (1..=5).collect();
        left.retain(|&port| port != member.address.port());
        assert_eq!(ports(&tried), left, "{balance:?}");
        let full = fixture
            .members
            .all()
            .find(|one| one.address.port() == left[0]);
        let busy = Group::busy(full.unwrap());
        fixture.take_down([left[1]]);
        // One that is silent is had all the same.
        fixture.silence(left[2]);
        assert_eq!(ports(&tried), left[2..], "{balance:?}");
        fixture.take_down([left[2], left[3]]);
        assert!(fixture.members.has_others(&tried));
        assert_eq!(ports(&tried), [9], "{balance:?}");
        fixture.take_down([9]);
        assert!(!fixture.members.has_others(&tried));
        assert!(ports(&tried).is_empty(), "{balance:?}");
        drop(busy);
    }
}

#[tokio::test]
async fn what_fails_at_a_server_is_spread_over_all_others() {
    let fixture = fixture(3, false, 0).await;
    let mut counts = [0; 3];
    for _ in 0..600 {
        let mut tried = Tried::default();
        let mut member = fixture.chosen(&tried).0;
        if member.address == address(2) {
            tried.add(&member);
            member = fixture.chosen(&tried).0;
        }
        counts[usize::from(member.address.port()) - 1] += 1;
    }
    assert_eq!(counts, [300, 0, 300]);
}

#[tokio::test]
async fn what_a_full_server_or_one_that_warms_up_does_not_take_is_spread_over_all_others() {
    for balance in ALL {
        let fixture = fixture_by(balance, &[1, 1, 1], false, 1).await;
        let first = fixture.members.all().next().unwrap();
        let busy = Group::busy(first);
        let counts = counts(&fixture);
        assert_eq!(counts[0] + counts[8], 0, "{balance:?} {counts:?}");
        let most_off = most_off(balance, 300);
        assert!(
            counts[1].abs_diff(300) <= most_off,
            "{balance:?} {counts:?}"
        );
        drop(busy);
        fixture.evidence.note_weight(address(1), 10);
        let counts = self::counts(&fixture);
        // A tenth of a third.
        assert!((5..=40).contains(&counts[0]), "{balance:?} {counts:?}");
        assert!(
            counts[1].abs_diff(counts[2]) <= 2 * most_off,
            "{balance:?} {counts:?}"
        );
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
