//! This crate, as a proxy is made of it: a registry of dials that recovers by probes, a group over
//! it, the connector that races silent servers, and, if asked for, active checks. All of it is the
//! real thing; only sockets and time are not.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use risefall::check::{
    Board, Definition, Failure, Finding, Http, Job, Kind, Statuses, Step, Thresholds, Timing, Way,
};
use risefall::{
    Cause, Clock, Connector, Dial, Group, GroupPolicy, Member, Outcome, Policy, Recovery, Registry,
    Right, State, SystemResolver,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::chance::Chance;
use crate::run::Model;
use crate::world::{SERVERS, Who, World};

pub(crate) struct Ours {
    world: Arc<World>,
    group: Group,
    /// Dials whom health allows, and one that dials whoever is left.
    connectors: [Connector<SystemResolver, Wire>; 2],
    board: Option<Mutex<Board>>,
    chance: Chance,
    budget: Mutex<Budget>,
}

impl Ours {
    /// With the settings that nobody has to give.
    pub(crate) fn new(world: &Arc<World>) -> Self {
        Self::with(world, false)
    }

    /// The same, and each server is asked for a page every 5 s.
    pub(crate) fn checked(world: &Arc<World>) -> Self {
        Self::with(world, true)
    }

    fn with(world: &Arc<World>, is_checked: bool) -> Self {
        let policy = Policy::builder().recovery(Recovery::PROBE).build().unwrap();
        let registry = |policy| {
            let clock = Arc::new(Paused(world.began()));
            Registry::builder()
                .policy(policy)
                .clock(clock)
                .seed(SEED)
                .build()
        };
        let dials = registry(policy);
        let evidence = registry(Policy::default());
        let mut group = Group::builder(&dials).policy(GroupPolicy::default());
        if is_checked {
            group = group.checks(&evidence);
        }
        let group = group.build();
        group.set((0..SERVERS).map(|server| (address(server), 1)));
        let connector = dials.connector().dialler(Wire(Arc::clone(world)));
        Self {
            world: Arc::clone(world),
            connectors: [connector.clone(), connector.fail_open(true)],
            board: is_checked.then(|| Mutex::new(board(dials, &evidence))),
            group,
            chance: Chance::new(SEED),
            budget: Mutex::default(),
        }
    }

    /// Who is asked, and who may be dialled when that one is silent: the first time by chance, the
    /// group failing open if it must; then those that are eligible and were not tried.
    fn candidates(&self, tried: &[bool]) -> Candidates {
        let members = self.group.members();
        let first = match tried.contains(&true) {
            false => members.admit(self.chance.next()),
            true => None,
        };
        let from = self.chance.below(SERVERS);
        let others = (from..from + SERVERS).filter_map(|place| members.get(place % SERVERS));
        let others = others.filter(|other| other.is_eligible() && !tried[server(other.address())]);
        let others = others.map(|other| other.address());
        let others =
            others.filter(|other| first.as_ref().map(|one| one.0.address()) != Some(*other));
        let addresses = first.iter().map(|one| one.0.address()).chain(others);
        Candidates {
            addresses: addresses.take(DIALLED_MOST).collect(),
            is_up: first.as_ref().is_none_or(|one| one.0.is_eligible()),
            right: first.map(|one| one.1),
        }
    }

    /// Opens a connection to one of them: whose it is, and by which right.
    async fn open(&self, candidates: &mut Candidates) -> Option<(Arc<Member>, Right)> {
        let connector = &self.connectors[usize::from(!candidates.is_up)];
        let (_, address) = connector.connect_to(&candidates.addresses).await.ok()?;
        let member = Arc::clone(self.group.members().find(&address)?);
        let is_first = candidates.addresses.first() == Some(&address);
        let right = candidates.right.take().filter(|_| is_first);
        let right = right.or_else(|| member.admit().ok());
        let right = right.unwrap_or_else(|| member.admit_anyway());
        Some((member, right))
    }
}

/// Who may be asked, best first.
struct Candidates {
    addresses: Vec<SocketAddr>,
    is_up: bool,
    /// To ask the first.
    right: Option<Right>,
}

impl Model for Ours {
    async fn ask(&self) -> bool {
        self.budget.lock().unwrap().deposit(self.world.now());
        let mut tried = [false; SERVERS];
        let mut retries = 0;
        loop {
            let mut candidates = self.candidates(&tried);
            if candidates.addresses.is_empty() {
                return false;
            }
            let Some((member, right)) = self.open(&mut candidates).await else {
                candidates
                    .addresses
                    .iter()
                    .for_each(|one| tried[server(*one)] = true);
                continue;
            };
            let asked = server(member.address());
            tried[asked] = true;
            let began = Instant::now();
            let answer = timeout(ANSWER_TIMEOUT, self.world.send(asked)).await;
            let (outcome, is_answered) = match answer {
                Ok(Ok(200)) => (Outcome::Success, true),
                Ok(Ok(_)) => (Outcome::Failed(Cause::BadGateway), true),
                Ok(Err(error)) => (Outcome::of(&error), false),
                Err(_) => (Outcome::Failed(Cause::TimedOut), false),
            };
            member.end(right, outcome, began.elapsed());
            // What was sent and not answered is sent again, twice at the most, within the budget.
            retries += 1;
            let may_repeat = !is_answered && retries <= RETRIES_MOST;
            if !may_repeat || !self.budget.lock().unwrap().withdraw(self.world.now()) {
                return outcome == Outcome::Success;
            }
        }
    }

    fn uses(&self, server: usize) -> bool {
        let members = self.group.members();
        let member = members.get(server).unwrap();
        let status = member.status();
        let is_well = |state| matches!(state, State::Up | State::ForcedUp);
        let checks = status.checks.is_none_or(|checks| is_well(checks.state));
        // What answers and checks say is passed over while the group fails open.
        let is_well_judged = is_well(status.service.state) && checks || member.is_eligible();
        is_well(status.dial.state) && is_well_judged
    }

    async fn tend(&self) {
        let checks = async {
            match &self.board {
                Some(board) => make_checks(board, &self.world).await,
                None => std::future::pending().await,
            }
        };
        let sweeps = async {
            loop {
                let sweep = self.group.sweep(self.group.now());
                sleep_until(self.world.began() + sweep.next).await;
            }
        };
        tokio::join!(checks, sweeps);
    }
}

/// The retries of the last seconds, as the proxy has them: a fifth of the requests, and three a second.
#[derive(Default)]
struct Budget {
    firsts: VecDeque<Duration>,
    retries: VecDeque<Duration>,
}

impl Budget {
    fn deposit(&mut self, now: Duration) {
        forget_old(&mut self.firsts, now);
        self.firsts.push_back(now);
    }

    fn withdraw(&mut self, now: Duration) -> bool {
        forget_old(&mut self.retries, now);
        let most = self.firsts.len() / 5 + 3 * BUDGET_WINDOW.as_secs() as usize;
        let may = self.retries.len() < most;
        if may {
            self.retries.push_back(now);
        }
        may
    }
}

fn forget_old(times: &mut VecDeque<Duration>, now: Duration) {
    while times.front().is_some_and(|at| now - *at >= BUDGET_WINDOW) {
        times.pop_front();
    }
}

/// The network, as a dialler.
#[derive(Clone)]
struct Wire(Arc<World>);

impl Dial for Wire {
    type Stream = ();

    async fn dial(&self, address: SocketAddr) -> io::Result<()> {
        self.0.dial(server(address), Who::Client).await
    }
}

/// The time of the runtime.
#[derive(Debug)]
struct Paused(Instant);

impl Clock for Paused {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

fn board(dials: Registry, evidence: &Registry) -> Board {
    let page = Kind::Http(Http::new("/health").unwrap());
    let definition = Arc::new(Definition::new(page, None, Timing::default()).unwrap());
    let mut board = Board::new(dials, 64, SEED);
    for server in 0..SERVERS {
        let (definition, thresholds) = (Arc::clone(&definition), Thresholds::default());
        let subscribed = board.subscribe(
            address(server),
            definition,
            evidence,
            thresholds,
            Duration::ZERO,
        );
        subscribed.unwrap();
    }
    board
}

/// Does what the board says, as the crate's runner does over sockets.
async fn make_checks(board: &Mutex<Board>, world: &Arc<World>) {
    let mut under_way = JoinSet::new();
    loop {
        let due = {
            let mut board = board.lock().unwrap();
            while let Some(step) = board.poll(world.now()) {
                if let Step::Begin(job) = step {
                    let world = Arc::clone(world);
                    under_way.spawn(async move { (job.turn, make_check(&job, &world).await) });
                }
            }
            board.next_due().unwrap_or(Duration::MAX)
        };
        tokio::select! {
            biased;
            Some(ended) = under_way.join_next() => {
                let (turn, finding) = ended.unwrap();
                board.lock().unwrap().handle_finding(turn, &finding, world.now());
            }
            () = sleep_until(world.began() + due) => {}
        }
    }
}

async fn make_check(job: &Job, world: &World) -> Finding {
    let (began, limit) = (Instant::now(), job.definition.timing().timeout());
    let deadline = began + limit;
    let server = server(job.address);
    let dialled = tokio::time::timeout_at(deadline, world.dial(server, Who::Check)).await;
    let (way, result) = match dialled {
        Err(_) => (
            Way::Failed(Cause::TimedOut),
            Err(Failure::DialTimedOut(limit)),
        ),
        Ok(Err(error)) => {
            let way = Cause::of(&error).map_or(Way::Unknown, Way::Failed);
            (way, Err(Failure::dial(&error)))
        }
        Ok(Ok(())) => {
            let answered = tokio::time::timeout_at(deadline, world.send(server)).await;
            let result = match answered {
                Ok(Ok(200)) => Ok(()),
                Ok(Ok(found)) => Err(Failure::Status {
                    found,
                    expected: Statuses::new([(200, 399)]).unwrap(),
                }),
                Ok(Err(_)) => Err(Failure::Closed),
                Err(_) => Err(Failure::TimedOut(limit)),
            };
            (Way::Connected, result)
        }
    };
    Finding {
        result,
        agent: None,
        way,
        took: began.elapsed(),
    }
}

fn address(server: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, server as u8], 80))
}

fn server(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(v4) => usize::from(v4.ip().octets()[3]),
        SocketAddr::V6(_) => unreachable!("there are none"),
    }
}

/// One is chosen, and four are there if it is silent, as in the proxy.
const DIALLED_MOST: usize = 5;
const RETRIES_MOST: usize = 2;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const BUDGET_WINDOW: Duration = Duration::from_secs(10);
const SEED: u64 = 1;
