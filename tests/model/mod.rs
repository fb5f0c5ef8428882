//! One address as a plain sequential model: ordinary numbers, one event at a time.
//!
//! Written from the rules as they are documented, not from the registry's code. Times are whole
//! ticks. The one thing that it cannot know is the jitter of a down time: whoever drives it tells
//! it ([`Address::learn`]), and it says which values are allowed ([`Address::unlearned`]).

mod events;
mod reading;

use std::ops::RangeInclusive;
use std::time::Duration;

use risefall::{Cause, Outcome, Policy, Recovery, State, Weight};

/// The registry's unit of time.
pub const TICK: Duration = Duration::from_millis(4);

/// The most policies over one address.
pub const POLICIES: usize = 3;

/// What a handle decides by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Its place among the handles, below [`POLICIES`].
    pub id: usize,
    pub max_fails: u8,
    pub min_rises: u8,
    pub fail_timeout: u64,
    pub max_fail_timeout: u64,
    pub forget_after: u64,
    pub stall_after: u64,
    pub probes: Option<Probes>,
}

#[derive(Clone, Copy, Debug)]
pub struct Probes {
    pub permits: u8,
    pub lease: u64,
}

impl Rules {
    /// The same as the registry takes it. TLS failures trip; the other weights are the default's.
    pub fn policy(&self) -> Policy {
        let recovery = match self.probes {
            None => Recovery::Open,
            Some(Probes { permits, lease }) => Recovery::Probe {
                permits,
                lease: ticks(lease),
            },
        };
        Policy::builder()
            .max_fails(self.max_fails)
            .min_rises(self.min_rises)
            .fail_timeout(ticks(self.fail_timeout))
            .max_fail_timeout(ticks(self.max_fail_timeout))
            .forget_after(ticks(self.forget_after))
            .stall_after(ticks(self.stall_after))
            .recovery(recovery)
            .weight(Cause::Tls, Weight::Trip)
            .build()
            .unwrap()
    }

    /// How long the `trips`th trip in a row may take an address down.
    fn down_times(&self, trips: u8) -> RangeInclusive<u64> {
        if self.probes.is_none() {
            return self.fail_timeout..=self.fail_timeout;
        }
        let mut base = self.fail_timeout;
        for _ in 1..trips {
            base *= 2;
        }
        if base < self.max_fail_timeout {
            base..=(base + base / 10).min(self.max_fail_timeout)
        } else {
            let base = self.max_fail_timeout;
            (base - base / 10).max(self.fail_timeout)..=base
        }
    }
}

pub fn ticks(n: u64) -> Duration {
    TICK * u32::try_from(n).unwrap()
}

/// What an outcome says of the address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum News {
    Fail,
    Trip,
    Success,
    /// To be set aside for so many ticks.
    RateLimited(u64),
    Nothing,
}

impl News {
    pub fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::Success,
            Outcome::Failed(Cause::Tls) => Self::Trip,
            Outcome::Failed(Cause::BadGateway | Cause::ServerError | Cause::Slow) => Self::Nothing,
            Outcome::Failed(_) => Self::Fail,
            Outcome::RateLimited { retry_after } => Self::RateLimited(span(retry_after)),
            _ => Self::Nothing,
        }
    }
}

/// How long an address is set aside: at least as long as it asked for, in sixteenths of a power
/// of two.
fn span(time: Duration) -> u64 {
    let wanted = u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap();
    for step in (0..16).map(|e| 1_u64 << e) {
        if wanted <= 31 * step {
            return wanted.div_ceil(step).max(16) * step;
        }
    }
    31 << 15
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Override {
    Up,
    Down,
    Drained,
}

/// What is held against an address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Case {
    Up {
        fails: u8,
    },
    Down {
        fails: u8,
        /// Whatever a reader's `max_fails`.
        for_all: bool,
    },
    Rising {
        rises: u8,
    },
    Probing {
        rises: u8,
        out: u8,
    },
    SetAside {
        span: u64,
    },
    Forced(Override),
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Address {
    case: Case,
    trips: u8,
    /// When it became so, or when its lease began.
    since: u64,
    /// How long this trip takes it down by each policy; zero until it is learnt.
    down_for: [u64; POLICIES],
    /// Changes of verdict so far.
    changes: u64,
}

/// What a reader is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reading {
    pub state: State,
    pub retry_in: Option<u64>,
    pub failures: u8,
    pub successes: u8,
    pub trips: u8,
}

/// What somebody is told who asks to be admitted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Admitted {
    Pass,
    /// Under the lease that began then.
    Probe(u64),
    Deny(State, Option<u64>),
}

impl Default for Address {
    fn default() -> Self {
        Self {
            case: Case::Up { fails: 0 },
            trips: 0,
            since: 0,
            down_for: [0; POLICIES],
            changes: 0,
        }
    }
}
