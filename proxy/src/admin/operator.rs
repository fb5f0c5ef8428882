//! What an operator can have done to the process as a whole, and what is remembered of it.
//!
//! The one who does it is the process's control loop; the admin API only asks it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use risefall::Transition;
use tokio::sync::{mpsc, oneshot};

/// What the control loop is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wish {
    /// The configuration, read again.
    Reload,
    /// A new process in place of this one.
    Upgrade,
}

/// A wish, and where to tell what it did, or why it did nothing.
pub type Request = (Wish, oneshot::Sender<Result<String, String>>);

/// Sets the log's level, or says why not.
type SetLevel = dyn Fn(&str) -> Result<(), String> + Send + Sync;

/// The way from the admin API to the control loop, and what is told of it.
pub struct Operator {
    requests: mpsc::Sender<Request>,
    level: Box<SetLevel>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    reloads: Reloads,
    events: VecDeque<(Instant, Transition)>,
    transitions: [u64; STATES.len()],
}

/// Reloads so far.
#[derive(Clone, Debug, Default)]
pub struct Reloads {
    /// How many changed the plan.
    pub done: u64,
    /// How many were refused.
    pub refused: u64,
    /// The last one: when, whether it was done, and what was said.
    pub last: Option<(Instant, bool, String)>,
}

impl Operator {
    /// One that sends requests to the control loop, and sets the log's level by `level`.
    #[must_use]
    pub fn new(
        level: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static,
    ) -> (Self, mpsc::Receiver<Request>) {
        let (sender, requests) = mpsc::channel(REQUESTS_MOST);
        let operator = Self {
            requests: sender,
            level: Box::new(level),
            told: Mutex::default(),
        };
        (operator, requests)
    }

    /// Has the control loop fulfil a wish.
    ///
    /// # Errors
    ///
    /// It did not: the text says why.
    pub async fn ask(&self, wish: Wish) -> Result<String, String> {
        let (done, answer) = oneshot::channel();
        let nobody = || "the process is stopping\n".to_owned();
        let sent = self.requests.send((wish, done)).await;
        sent.map_err(|_| nobody())?;
        answer.await.map_err(|_| nobody())?
    }

    /// Sets the log's level.
    ///
    /// # Errors
    ///
    /// There is no such level.
    pub fn set_level(&self, level: &str) -> Result<(), String> {
        (self.level)(level)
    }

    /// Remembers how a reload ended.
    pub fn note_reload(&self, result: &Result<String, String>) {
        let mut told = self.told();
        let (is_done, said) = match result {
            Ok(said) => (true, said),
            Err(said) => (false, said),
        };
        if is_done {
            told.reloads.done += 1;
        } else {
            told.reloads.refused += 1;
        }
        told.reloads.last = Some((Instant::now(), is_done, said.clone()));
    }

    /// Remembers a change of an address's health.
    pub fn note_transition(&self, transition: &Transition) {
        let mut told = self.told();
        let named = STATES.iter().position(|&name| name == transition.to.name());
        if let Some(count) = named.and_then(|nth| told.transitions.get_mut(nth)) {
            *count += 1;
        }
        if told.events.len() >= EVENTS_MOST {
            told.events.pop_front();
        }
        told.events.push_back((Instant::now(), *transition));
    }

    /// Reloads so far.
    #[must_use]
    pub fn reloads(&self) -> Reloads {
        self.told().reloads.clone()
    }

    /// The last changes of health, the latest first.
    #[must_use]
    pub fn events(&self) -> Vec<(Instant, Transition)> {
        self.told().events.iter().rev().copied().collect()
    }

    /// How often an address came into each of [`STATES`].
    #[must_use]
    pub fn transitions(&self) -> [u64; STATES.len()] {
        self.told().transitions
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reloads that wait for their turn; more have to wait to ask.
const REQUESTS_MOST: usize = 16;
const EVENTS_MOST: usize = 64;
/// The names of an address's states.
pub const STATES: [&str; 9] = [
    "up",
    "suspect",
    "down",
    "probe_due",
    "probing",
    "set_aside",
    "forced_up",
    "forced_down",
    "drained",
];
