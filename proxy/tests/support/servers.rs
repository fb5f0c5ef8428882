//! A group of servers as one worker has it, with every word that there is on each.

#![allow(dead_code, unreachable_pub, reason = "each file uses its part")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use risefall::judge::Judge;
use risefall::{Cause, Outcome, Policy, Registry};
use risefall_proxy::net::guard::Guard;
use risefall_proxy::net::resolve::{Resolver, SystemNames};
use risefall_proxy::plan::Check;
use risefall_proxy::plan::upstream::Service;
use risefall_proxy::proto::Target;
use risefall_proxy::telemetry::tally::Tally;
use risefall_proxy::upstream::balance::Balance;
use risefall_proxy::upstream::evidence::{Evidence, Evidences};
use risefall_proxy::upstream::group::{Group, GroupParts, Server};
use risefall_proxy::upstream::member::Busy;
use risefall_proxy::upstream::members::Members;

/// The servers of a group, and what is known of them.
pub struct Servers {
    pub group: Rc<Group>,
    pub members: Rc<Members>,
    dials: Registry,
    evidence: Arc<Evidence>,
}

/// Every way.
pub const WAYS: [(&str, Balance); 5] = [
    ("round-robin", Balance::RoundRobin),
    ("p2c", Balance::P2c),
    ("random", Balance::Random),
    ("hash", Balance::Hash),
    ("least-conn", Balance::LeastConn),
];

impl Servers {
    /// So many servers, whose dials, traffic and checks are judged.
    pub fn new(count: u16, balance: Balance, fails_open: bool) -> Self {
        let policy = Policy::builder()
            .fail_timeout(LASTING)
            .fail_open(fails_open);
        let policy = policy.build().unwrap();
        let dials = Registry::new(policy.clone());
        let service = Service::by(policy);
        let check = Check::of(risefall::check::Kind::Connect);
        let evidence = Evidences::default().get("app", &service, Some(&check), &dials);
        let judge: Arc<dyn Judge> = Arc::new(dials.clone());
        let group = Rc::new(Group::new(GroupParts {
            name: "app".to_owned(),
            era: 0,
            servers: (0..count).map(server).collect(),
            balance,
            judge,
            guard: Guard::new(Vec::new(), true),
            service: Some(Arc::clone(&evidence)),
            checked: None,
            max_requests: 100,
            queue_length: 0,
            budget_percent: 0,
            tally: Tally::default(),
        }));
        let resolver = Resolver::new(Arc::new(SystemNames), 1, Duration::from_secs(1));
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let members = runtime.block_on(group.members(&Rc::new(resolver))).unwrap();
        Self {
            group,
            members,
            dials,
            evidence,
        }
    }

    /// Every `nth` server goes down: by its dials, its traffic or its checks in turn.
    pub fn take_down_every(&self, nth: usize) {
        for (turn, member) in self.members.all().step_by(nth).enumerate() {
            let checks = self.evidence.checks().unwrap();
            let (address, failed) = (member.address, Outcome::Failed(Cause::Refused));
            for _ in 0..3 {
                match turn % 3 {
                    0 => self.dials.record(address, failed),
                    1 => member.end(member.admit_anyway(), failed, Duration::ZERO),
                    _ => checks.record(address, failed),
                }
            }
            assert!(member.is_down());
        }
    }

    /// Every server has answered, and is at work on one more request for as long as the value.
    pub fn work(&self) -> Vec<Busy> {
        let busy: Vec<_> = self.members.all().map(Group::busy).collect();
        busy.iter().for_each(|busy| self.group.note(busy));
        busy
    }
}

fn server(nth: u16) -> Server {
    let address = SocketAddr::from(([10, 0, 0, 1], 1 + nth));
    Server {
        target: Target::parse(&address.to_string()).unwrap(),
        weight: 1,
        is_backup: false,
        is_srv: false,
    }
}

/// What is down stays so for as long as anything here goes on.
const LASTING: Duration = Duration::from_secs(60 * 60);
