//! Checks by tokio: what the board says is to be made is made, in one task for all.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::agent::Availability;
use super::ask::ask;
use super::board::{Board, Handle, Step, Thresholds};
use super::connect::{Connect, Direct};
use super::definition::Definition;
use super::report::{Finding, Report};
use super::schedule::Turn;
use crate::endpoint::Endpoint;
use crate::error::PolicyError;
use crate::registry::Registry;

/// Who is to be checked: subscriptions to the checks that a [`Runner`] makes.
///
/// Cloning gives another handle to the same checks.
#[derive(Clone, Debug)]
pub struct Checker {
    owned: Arc<Owned>,
    dials: Registry,
}

/// Makes the checks of a [`Checker`].
#[derive(Debug)]
#[must_use = "nothing is checked until it runs"]
pub struct Runner<C = Direct> {
    shared: Arc<Shared>,
    connector: Arc<C>,
}

/// Choices for checks beyond who is checked.
#[derive(Debug)]
#[must_use = "call `build` to get the checker"]
pub struct CheckerBuilder<C = Direct> {
    dials: Registry,
    in_flight: usize,
    seed: Option<u64>,
    connector: C,
}

/// A server that is checked for as long as this is kept.
#[must_use = "a subscription that is dropped is over"]
pub struct Subscription {
    handle: Handle,
    dial: Endpoint,
    owned: Arc<Owned>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// That there may be something to do that the runner does not know of.
    changed: Notify,
    /// That a check has ended, for those who wait for one.
    told: Notify,
    began: Instant,
}

#[derive(Debug)]
struct State {
    board: Board,
    /// Nobody can subscribe any more, and nobody does.
    is_over: bool,
}

/// Kept by all who can subscribe or do; with the last of them the runner ends.
#[derive(Debug)]
struct Owned(Arc<Shared>);

impl Checker {
    /// Checks over plain TCP, with the usual limits. What dials of checks meet is told to `dials`.
    ///
    /// Nothing is checked until the runner [runs](Runner::run).
    pub fn new(dials: &Registry) -> (Self, Runner) {
        Self::builder(dials).build()
    }

    /// For TLS, or other limits.
    pub fn builder(dials: &Registry) -> CheckerBuilder {
        CheckerBuilder {
            dials: dials.clone(),
            in_flight: IN_FLIGHT,
            seed: None,
            connector: Direct,
        }
    }

    /// Another handle to the same checks, whose subscribers judge what dials meet by `dials`: by a
    /// policy of their own, with [`Registry::with_policy`]. A check that two of them share is one
    /// dial, told once.
    #[must_use]
    pub fn with_dials(&self, dials: &Registry) -> Self {
        Self {
            owned: Arc::clone(&self.owned),
            dials: dials.clone(),
        }
    }

    /// Checks the server at `address` from now on, and records what is found in its word of
    /// `evidence`: a registry for checks alone, one for each group of servers. The same check of
    /// the same address is made once for all who want it, and each judges for itself.
    ///
    /// Of what stays in a group keep the subscription, or subscribe anew before the old one is
    /// dropped: the verdict is kept. With the last subscription of a word its verdict is forgotten.
    ///
    /// # Errors
    ///
    /// A threshold is zero.
    ///
    /// # Progress
    ///
    /// Takes the checks' lock and a shard lock of the registry; no reader waits on either.
    pub fn subscribe(
        &self,
        address: SocketAddr,
        definition: impl Into<Arc<Definition>>,
        evidence: &Registry,
        thresholds: Thresholds,
    ) -> Result<Subscription, PolicyError> {
        let shared = &self.owned.0;
        let now = shared.now();
        let dial = self.dials.endpoint(address);
        let entered = {
            let board = &mut shared.lock().board;
            let definition = definition.into();
            board.enter(address, dial.clone(), definition, evidence, thresholds, now)
        };
        shared.changed.notify_one();
        Ok(Subscription {
            handle: entered?,
            dial,
            owned: Arc::clone(&self.owned),
        })
    }

    /// How many checks may be under way at once from now on, as
    /// [`CheckerBuilder::in_flight`]. Those under way go on, though they may be more.
    pub fn set_in_flight(&self, checks: usize) {
        self.owned.0.lock().board.set_in_flight(checks);
        self.owned.0.changed.notify_one();
    }

    /// The time on the checks' clock, for the moments in reports.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.owned.0.now()
    }

    /// Different checks that are made: those that are shared count once.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owned.0.lock().board.len()
    }

    /// Whether nothing is checked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.owned.0.lock().board.in_flight()
    }
}

impl<C: Connect> CheckerBuilder<C> {
    /// How many checks may be under way at once; default 64, at least 1. Those that are due wait,
    /// who waits longest goes first. Each costs a connection, and up to a few KiB, or as much body
    /// as it reads.
    pub fn in_flight(mut self, checks: usize) -> Self {
        self.in_flight = checks;
        self
    }

    /// Where jitter begins. Default: different in each process.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// By which way servers are reached. Default: [`Direct`].
    pub fn connector<D: Connect>(self, connector: D) -> CheckerBuilder<D> {
        CheckerBuilder {
            dials: self.dials,
            in_flight: self.in_flight,
            seed: self.seed,
            connector,
        }
    }

    /// Makes both halves.
    pub fn build(self) -> (Checker, Runner<C>) {
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let board = Board::new(self.dials.clone(), self.in_flight, seed);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                board,
                is_over: false,
            }),
            changed: Notify::new(),
            told: Notify::new(),
            began: Instant::now(),
        });
        let checker = Checker {
            owned: Arc::new(Owned(Arc::clone(&shared))),
            dials: self.dials,
        };
        let connector = Arc::new(self.connector);
        (checker, Runner { shared, connector })
    }
}

impl<C: Connect> Runner<C> {
    /// Makes checks until the [`Checker`] and all subscriptions are dropped. Each check is a task
    /// of its own, on the runtime that polls this.
    ///
    /// # Cancel safety
    ///
    /// Checks under way are dropped with it and say nothing. Nothing is checked any more.
    pub async fn run(self) {
        let Self { shared, connector } = self;
        let mut flights = JoinSet::new();
        let mut handles: HashMap<Turn, AbortHandle> = HashMap::new();
        loop {
            while let Some(step) = shared.poll() {
                match step {
                    Step::Begin(job) => {
                        let (turn, connector) = (job.turn, Arc::clone(&connector));
                        let flight = async move { (job.turn, ask(&*connector, &job).await) };
                        handles.insert(turn, flights.spawn(flight));
                    }
                    Step::Drop(turn) => {
                        if let Some(handle) = handles.remove(&turn) {
                            handle.abort();
                        }
                    }
                }
            }
            let due = match shared.next_due() {
                Due::Over => return,
                Due::Later(due) => due,
            };
            let due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ended) = flights.join_next() => {
                    // One that was dropped, or panicked, has nothing to tell; its lease ends.
                    if let Ok((turn, finding)) = ended {
                        handles.remove(&turn);
                        shared.tell(turn, &finding);
                    }
                }
                () = shared.changed.notified() => {}
                () = due => {}
            }
        }
    }
}

/// When the runner has to look again.
enum Due {
    Later(Option<Instant>),
    Over,
}

impl Shared {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self) -> Option<Step> {
        let now = self.now();
        let step = self.lock().board.poll(now);
        if let Some(Step::Drop(_)) = step {
            // It may be one that nobody told of in time, which ends it.
            self.told.notify_waiters();
        }
        step
    }

    fn next_due(&self) -> Due {
        let state = self.lock();
        match (state.is_over, state.board.next_due()) {
            (true, _) => Due::Over,
            // A time that cannot be told is never.
            (false, due) => {
                let due = due.map(|due| together(due, state.board.slack()));
                Due::Later(due.and_then(|due| self.began.checked_add(due)))
            }
        }
    }

    fn tell(&self, turn: Turn, finding: &Finding) {
        let now = self.now();
        self.lock().board.handle_finding(turn, finding, now);
        self.told.notify_waiters();
    }
}

/// The end of the stretch in which a moment lies: what is due in one stretch is begun together, so
/// that a thousand checks a second do not wake the runner a thousand times.
fn together(due: Duration, stretch: Duration) -> Duration {
    let stretches = due.as_nanos().div_ceil(stretch.as_nanos().max(1));
    let stretches = u32::try_from(stretches).unwrap_or(u32::MAX);
    stretch.saturating_mul(stretches).max(due)
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_one();
    }
}

impl Subscription {
    /// Whether the server may be used: neither dials nor checks say down, and it has not asked for
    /// no new work, which its checks' word says as well.
    ///
    /// # Progress
    ///
    /// Wait-free: two loads while nothing is held against it.
    #[inline]
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        !self.dial.is_fall_down() && !self.handle.word.is_fall_down()
    }

    /// What checks found, as a word of its own: [`is_fall_down`](Endpoint::is_fall_down) is all
    /// that whoever has handles to other words needs. It is [drained](crate::State::Drained) while
    /// the server wants no new work.
    #[must_use]
    pub fn word(&self) -> &Endpoint {
        &self.handle.word
    }

    /// What dials to the server met.
    #[must_use]
    pub fn dial(&self) -> &Endpoint {
        &self.dial
    }

    /// The share of its usual weight that the server wants, in percent: 100 unless it has said
    /// otherwise, 0 for no work that can go elsewhere.
    ///
    /// # Progress
    ///
    /// Wait-free: one load.
    #[inline]
    #[must_use]
    pub fn weight_percent(&self) -> u8 {
        self.handle.standing.read().0
    }

    /// Whether the server wants new work, by its own account.
    ///
    /// # Progress
    ///
    /// Wait-free: one load.
    #[inline]
    #[must_use]
    pub fn availability(&self) -> Availability {
        self.handle.standing.read().1
    }

    /// The server as its checks see it: verdict, reason, when, how long that took.
    ///
    /// # Progress
    ///
    /// Takes the checks' lock. For people and pages, not for each request.
    #[must_use]
    pub fn report(&self) -> Report {
        let report = self.owned.0.lock().board.report(self.handle.id);
        // There is one for as long as the subscription lasts.
        report.unwrap_or_else(|| Report::pending(self.handle.word.address()))
    }

    /// Waits until so many checks have ended since it was subscribed to: 1 for the first verdict.
    /// For ever, if nothing [runs](Runner::run).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn wait_for_checks(&self, checks: u64) -> Report {
        loop {
            let mut told = std::pin::pin!(self.owned.0.told.notified());
            // From here on none is missed.
            told.as_mut().enable();
            let report = self.report();
            if report.checks >= checks {
                return report;
            }
            told.await;
        }
    }
}

/// The check ends with its last subscription; what is under way is dropped.
impl Drop for Subscription {
    fn drop(&mut self) {
        let shared = &self.owned.0;
        shared.lock().board.unsubscribe(self.handle.id);
        shared.changed.notify_one();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("check", &self.handle.word)
            .field("dial", &self.dial)
            .finish_non_exhaustive()
    }
}

/// Checks under way at once, unless told otherwise.
const IN_FLIGHT: usize = 64;
