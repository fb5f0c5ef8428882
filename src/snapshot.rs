//! Read-only views of what the registry holds, for people and programs.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::outcome::Cause;
use crate::state::{self, Phase, Thresholds, Tick, Word};

/// The verdict on an address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// Worth dialling. Also every address the registry has never heard of.
    Up,
    /// Not to be dialled now.
    Down,
}

/// One address at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The address, in its canonical form.
    pub address: SocketAddr,
    /// The verdict.
    pub state: State,
    /// Failures in a row up to now; stops counting at 255.
    pub failures: u8,
    /// Successes in a row since it went down; it comes up at the policy's `min_rises`.
    pub successes: u8,
    /// Why and when it failed last, as far as that is remembered.
    pub last_failure: Option<LastFailure>,
    /// How long until it may be dialled again; `None` while it is up.
    pub retry_in: Option<Duration>,
}

/// The latest failure of an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LastFailure {
    /// Why.
    pub cause: Cause,
    /// How long ago, in steps of 4 ms.
    pub age: Duration,
}

impl Status {
    /// An address without any evidence.
    pub(crate) fn unknown(address: SocketAddr) -> Self {
        let state = State::Up;
        Self {
            address,
            state,
            failures: 0,
            successes: 0,
            last_failure: None,
            retry_in: None,
        }
    }

    pub(crate) fn of(
        address: SocketAddr,
        word: Word,
        last: Option<(Cause, Tick)>,
        now: Tick,
        thresholds: &Thresholds,
    ) -> Self {
        let last_failure = last.map(|(cause, at)| LastFailure {
            cause,
            age: now.since(at).time(),
        });
        let status = Self {
            last_failure,
            ..Self::unknown(address)
        };
        if state::is_stale(word, now, thresholds) {
            return status;
        }
        let down = state::is_down(word, now, thresholds);
        let rising = word.phase() == Phase::Rising;
        Self {
            state: if down { State::Down } else { State::Up },
            failures: if rising { 0 } else { word.streak() },
            successes: if rising { word.streak() } else { 0 },
            retry_in: down.then(|| state::retry_in(word, now, thresholds)),
            ..status
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// `192.0.2.7:443 down, 3 failures in a row, last refused 2.1s ago, tried again in 57.9s`
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.address, self.state)?;
        match (self.failures, self.successes) {
            (0, 0) => {}
            (0, 1) => f.write_str(", 1 success since")?,
            (0, successes) => write!(f, ", {successes} successes in a row since")?,
            (1, _) => f.write_str(", 1 failure")?,
            (failures, _) => write!(f, ", {failures} failures in a row")?,
        }
        if let Some(LastFailure { cause, age }) = self.last_failure {
            write!(f, ", last {cause} {:.1}s ago", age.as_secs_f64())?;
        }
        if let Some(left) = self.retry_in {
            write!(f, ", tried again in {:.1}s", left.as_secs_f64())?;
        }
        Ok(())
    }
}
