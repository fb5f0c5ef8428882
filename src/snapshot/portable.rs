//! Health that travels: from a process to the one that takes over from it, or to another machine.
//!
//! Instants of one process mean nothing to another, so a snapshot holds *ages*, and the wall-clock
//! time at which they were taken, by which the reader makes them older. Reading one twice changes
//! nothing the second time, and what is known here already yields only to what is newer.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::State;
use crate::outcome::Cause;
use crate::state::{Moment, lapsed, span_code, span_of};
use crate::word::{Phase, Tick, Word, whole_ticks};

/// All that a registry holds against addresses, at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The form of the entries: [`Snapshot::VERSION`].
    pub version: u32,
    /// When it was taken: milliseconds since 1970 by the system's wall clock.
    pub taken_unix_ms: u64,
    /// The addresses, in no order.
    pub entries: Vec<SnapshotEntry>,
}

/// One address of a [`Snapshot`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct SnapshotEntry {
    /// The address, in its canonical form.
    pub address: SocketAddr,
    /// What it was: up, down, probing, set aside, or an operator's word.
    pub state: State,
    /// Failures in a row.
    #[cfg_attr(feature = "serde", serde(default))]
    pub failures: u8,
    /// Successes in a row since it went down.
    #[cfg_attr(feature = "serde", serde(default))]
    pub successes: u8,
    /// Trips not made up for yet.
    #[cfg_attr(feature = "serde", serde(default))]
    pub trips: u8,
    /// How long before the snapshot the last news of it came, in milliseconds.
    pub age_ms: u64,
    /// For how long it is set aside, from the last news on, in milliseconds.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub set_aside_ms: Option<u64>,
    /// Why it failed last: [`Cause::name`].
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub cause: Option<String>,
}

/// Why a snapshot was not read. Nothing of it was taken over.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Written by a program that knows more than this one.
    #[error("the snapshot is of version {found}, expected {}", Snapshot::VERSION)]
    Version {
        /// The snapshot's.
        found: u32,
    },
}

/// What became of a snapshot's entries.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Imported {
    /// Taken over.
    pub taken: usize,
    /// Left alone: what is known here is as new, or the entry's time is over.
    pub left: usize,
    /// Not taken over because the registry is full of live evidence.
    pub refused: usize,
}

impl Snapshot {
    /// The version that this crate writes and reads.
    pub const VERSION: u32 = 1;

    pub(crate) fn new(entries: Vec<SnapshotEntry>) -> Self {
        Self {
            version: Self::VERSION,
            taken_unix_ms: unix_millis(),
            entries,
        }
    }

    /// How long ago it was taken, by the system's wall clock; zero if that went back.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_millis(unix_millis().saturating_sub(self.taken_unix_ms))
    }
}

impl SnapshotEntry {
    /// What has to be told of an address; `None` if nothing is held against it.
    pub(crate) fn of(
        address: SocketAddr,
        word: Word,
        cause: Option<Cause>,
        moment: &Moment<'_>,
    ) -> Option<Self> {
        let now = moment.now.max(word.tick());
        let moment = &Moment { now, ..*moment };
        let word = lapsed(word, moment);
        if word.is_neutral() {
            return None;
        }
        let streak = word.streak();
        let (state, failures, successes) = match word.phase() {
            // Suspicion is over before anybody could read of it.
            Phase::Up | Phase::Suspect | Phase::Raced => (State::Up, streak, 0),
            // Down for everybody, whatever its streak: see `relapsed` in `state.rs`.
            Phase::Down if word.permits() > 0 => {
                (State::Down, streak.max(moment.rules.max_fails), 0)
            }
            Phase::Down => (State::Down, streak, 0),
            Phase::Rising => (State::Down, 0, streak),
            Phase::Probing => (State::Probing, 0, streak),
            phase => (State::of_phase(phase), 0, 0),
        };
        let is_empty = state == State::Up && failures == 0 && word.trips() == 0;
        let is_aside = state == State::SetAside;
        (!is_empty).then(|| Self {
            address,
            state,
            failures,
            successes,
            trips: word.trips(),
            age_ms: millis(now.since(word.tick()).time()),
            set_aside_ms: is_aside.then(|| millis(span_of(streak).time())),
            cause: cause.map(|cause| cause.name().to_owned()),
        })
    }

    /// The entry as a word at `now`, the snapshot being `elapsed` old. `None` if it is older than
    /// the registry can tell.
    pub(crate) fn to_word(&self, now: Tick, elapsed: Duration) -> Option<Word> {
        let age = Duration::from_millis(self.age_ms).checked_add(elapsed)?;
        if age > OLDEST {
            return None;
        }
        let (phase, streak) = match self.state {
            State::Up | State::Suspect => (Phase::Up, self.failures),
            State::Down | State::ProbeDue if self.successes > 0 => (Phase::Rising, self.successes),
            // Down without a streak is down for everybody.
            State::Down | State::ProbeDue if self.failures == 0 => (Phase::Down, u8::MAX),
            State::Down | State::ProbeDue => (Phase::Down, self.failures),
            State::Probing => (Phase::Probing, self.successes),
            State::SetAside => {
                let span = Duration::from_millis(self.set_aside_ms.unwrap_or(0));
                (Phase::SetAside, span_code(span))
            }
            State::ForcedUp => (Phase::ForcedUp, 0),
            State::ForcedDown => (Phase::ForcedDown, 0),
            State::Drained => (Phase::Drained, 0),
        };
        let word = Word::vacant(now)
            .with(phase, streak)
            .with_trips(self.trips)
            .at(now.before(whole_ticks(age)));
        Some(word)
    }

    pub(crate) fn cause(&self) -> Option<Cause> {
        Cause::named(self.cause.as_deref()?)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "processes have no other time in common; a jump makes evidence older or younger by that"
)]
fn unix_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

/// A quarter of a turn of the tick: nothing that can be configured lasts longer.
const OLDEST: Duration = Duration::from_secs(6 * 24 * 60 * 60);
