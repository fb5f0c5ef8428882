//! Read-only views of what the registry holds, for people and programs, and the form in which it
//! travels from one process to the next.

mod portable;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

pub use portable::{Imported, Snapshot, SnapshotEntry, SnapshotError};

use crate::outcome::Cause;
use crate::state::{self, Moment, lapsed};
use crate::usual::Usual;
use crate::word::{Phase, Tick, Word};

/// The verdict on an address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum State {
    /// Worth dialling. Also every address the registry has never heard of.
    Up,
    /// Worth dialling, but its dials have been silent for longer than usual: better ones first.
    Suspect,
    /// Not to be dialled now.
    Down,
    /// Its down time is over, and a probe is due: the next to ask may send it.
    ProbeDue,
    /// As many probes are on their way as there may be: not to be dialled by others.
    Probing,
    /// It asked to be left alone for a while.
    SetAside,
    /// Up, because an operator said so.
    ForcedUp,
    /// Down, because an operator said so.
    ForcedDown,
    /// Given no new work, because an operator said so.
    Drained,
}

impl State {
    /// Whether the address must not be dialled: what `is_fall_down` says.
    #[must_use]
    pub fn is_down(self) -> bool {
        match self {
            Self::Up | Self::Suspect | Self::ProbeDue | Self::ForcedUp => false,
            Self::Down | Self::Probing | Self::SetAside | Self::ForcedDown | Self::Drained => true,
        }
    }

    /// The word that configuration, metrics and snapshots use: `probe_due`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::ProbeDue => "probe_due",
            Self::Probing => "probing",
            Self::SetAside => "set_aside",
            Self::ForcedUp => "forced_up",
            Self::ForcedDown => "forced_down",
            Self::Drained => "drained",
        }
    }

    pub(crate) fn of_phase(phase: Phase) -> Self {
        match phase {
            Phase::Vacant | Phase::Claimed | Phase::Up => Self::Up,
            Phase::Suspect | Phase::Raced => Self::Suspect,
            Phase::Down => Self::Down,
            // No phase of its own: the journal keeps it under this one.
            Phase::Rising => Self::ProbeDue,
            Phase::Probing => Self::Probing,
            Phase::SetAside => Self::SetAside,
            Phase::ForcedUp => Self::ForcedUp,
            Phase::ForcedDown => Self::ForcedDown,
            Phase::Drained => Self::Drained,
        }
    }

    /// The inverse of `of_phase`.
    pub(crate) fn to_phase(self) -> Phase {
        match self {
            Self::Up => Phase::Up,
            Self::Suspect => Phase::Suspect,
            Self::Down => Phase::Down,
            Self::ProbeDue => Phase::Rising,
            Self::Probing => Phase::Probing,
            Self::SetAside => Phase::SetAside,
            Self::ForcedUp => Phase::ForcedUp,
            Self::ForcedDown => Phase::ForcedDown,
            Self::Drained => Phase::Drained,
        }
    }
}

/// One address at one moment, by the thresholds of the handle that was asked.
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
    /// How often it went down and has not made up for yet; from the second on, each doubles the
    /// down time. Stops counting at 7; always 0 in [`Recovery::Open`](crate::Recovery::Open).
    pub trips: u8,
    /// Why and when it failed last, as far as that is remembered.
    pub last_failure: Option<LastFailure>,
    /// How long until it may be dialled again: the rest of its down time, of the probe's lease or
    /// of the time it is set aside. `None` while it may be dialled, and where only an operator can
    /// tell.
    pub retry_in: Option<Duration>,
    /// How long a connect to it usually takes, to within half an octave. Known of addresses with a
    /// record: pinned ones, and those that failed lately.
    pub usual: Option<Duration>,
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
        Self {
            address,
            state: State::Up,
            failures: 0,
            successes: 0,
            trips: 0,
            last_failure: None,
            retry_in: None,
            usual: None,
        }
    }

    pub(crate) fn of(
        address: SocketAddr,
        word: Word,
        last: Option<(Cause, Tick)>,
        usual: Usual,
        moment: &Moment<'_>,
    ) -> Self {
        let now = moment.now.max(word.tick());
        let moment = &Moment { now, ..*moment };
        let verdict = state::verdict(word, moment);
        let current = lapsed(word, moment);
        let (failures, successes) = match current.phase() {
            Phase::Rising | Phase::Probing => (0, current.streak()),
            Phase::SetAside => (0, 0),
            _ => (current.streak(), 0),
        };
        Self {
            address,
            state: verdict.state,
            failures,
            successes,
            trips: current.trips(),
            last_failure: last.map(|(cause, at)| LastFailure {
                cause,
                age: now.since(at).time(),
            }),
            retry_in: (!verdict.left.time().is_zero()).then(|| verdict.left.time()),
            usual: usual.time(),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProbeDue => "probe due",
            Self::SetAside => "set aside",
            Self::ForcedUp => "forced up",
            Self::ForcedDown => "forced down",
            _ => self.name(),
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
