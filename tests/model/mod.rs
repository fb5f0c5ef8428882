//! One address as a plain sequential model: ordinary numbers, one event at a time.
//!
//! Written from the rules as they are documented, not from the registry's code. Times are whole
//! ticks. The one thing that it cannot know is the jitter of a down time: whoever drives it tells
//! it ([`Address::learn`]), and it says which values are allowed ([`Address::unlearned`]).

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

/// Reading.
impl Address {
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether nothing is held against it any more: as good as an address never heard of.
    pub fn is_neutral(&self, rules: &Rules, now: u64) -> bool {
        let lapsed = self.lapsed(rules, now);
        lapsed.case == Case::Up { fails: 0 } && lapsed.trips == 0
    }

    /// One form for all that cannot be told apart from `now` on, under one policy.
    pub fn canonical(&self, rules: &Rules, now: u64) -> Self {
        if self.is_neutral(rules, now) {
            Self::default()
        } else {
            Self {
                changes: 0,
                ..self.clone()
            }
        }
    }

    pub fn read(&self, rules: &Rules, now: u64) -> Reading {
        let lapsed = self.lapsed(rules, now);
        let age = now - lapsed.since;
        // The last tick belongs to it.
        let left = |limit: u64| Some(limit + 1 - age);
        let expired = |state, limit| {
            if age > limit {
                (State::ProbeDue, None)
            } else {
                (state, left(limit))
            }
        };
        let (state, retry_in) = match lapsed.case {
            Case::Up { fails } if fails >= rules.max_fails => {
                (State::Down, left(rules.fail_timeout))
            }
            Case::Up { .. } => (State::Up, None),
            Case::Down { fails, for_all } if fails < rules.max_fails && !for_all => {
                (State::Up, None)
            }
            Case::Rising { rises } if rises >= rules.min_rises => (State::Up, None),
            Case::Down { .. } | Case::Rising { .. } => {
                expired(State::Down, lapsed.down_time(rules))
            }
            Case::Probing { out, .. } => match rules.probes {
                Some(probes) if out >= probes.permits => expired(State::Probing, probes.lease),
                Some(_) => (State::ProbeDue, None),
                None => (State::Up, None),
            },
            Case::SetAside { span } => (State::SetAside, left(span)),
            Case::Forced(Override::Up) => (State::ForcedUp, None),
            Case::Forced(Override::Down) => (State::ForcedDown, None),
            Case::Forced(Override::Drained) => (State::Drained, None),
        };
        let (failures, successes) = match lapsed.case {
            Case::Up { fails } | Case::Down { fails, .. } => (fails, 0),
            Case::Rising { rises } | Case::Probing { rises, .. } => (0, rises),
            Case::SetAside { .. } | Case::Forced(_) => (0, 0),
        };
        Reading {
            state,
            retry_in,
            failures,
            successes,
            trips: lapsed.trips,
        }
    }

    /// The verdict that a change of verdict leads to.
    pub fn told(&self) -> State {
        match self.case {
            Case::Up { .. } => State::Up,
            Case::Down { .. } | Case::Rising { .. } => State::Down,
            Case::Probing { .. } => State::Probing,
            Case::SetAside { .. } => State::SetAside,
            Case::Forced(Override::Up) => State::ForcedUp,
            Case::Forced(Override::Down) => State::ForcedDown,
            Case::Forced(Override::Drained) => State::Drained,
        }
    }

    /// The moments at which something ends by these rules: the last of which it still holds.
    pub fn boundaries(&self, rules: &Rules) -> Vec<u64> {
        let lease = rules.probes.map_or(1, |probes| probes.lease);
        let limits = match self.case {
            Case::Up { .. } => vec![rules.fail_timeout, rules.forget_after],
            Case::Down { .. } | Case::Rising { .. } => {
                let down_for = self.down_time(rules);
                vec![down_for, down_for + rules.forget_after]
            }
            Case::Probing { .. } => vec![lease, lease + rules.forget_after, rules.stall_after],
            Case::SetAside { span } => vec![span, span + rules.forget_after],
            Case::Forced(_) => vec![1],
        };
        limits.into_iter().map(|limit| self.since + limit).collect()
    }

    /// What time has left of it.
    fn lapsed(&self, rules: &Rules, now: u64) -> Self {
        let age = now - self.since;
        let mut lapsed = self.clone();
        let (ends, forgotten) = match self.case {
            Case::Up { .. } => (
                rules.fail_timeout,
                rules.fail_timeout.max(rules.forget_after),
            ),
            Case::SetAside { span } => (span, span + rules.forget_after),
            Case::Down { .. } | Case::Rising { .. } => {
                let kept = rules.probes.map_or(0, |_| rules.forget_after);
                let ends = self.down_time(rules) + kept;
                (ends, ends)
            }
            Case::Probing { .. } => {
                let probed = rules.probes.as_ref();
                let ends = probed.map_or(rules.fail_timeout, |probes| {
                    probes.lease + rules.forget_after
                });
                (ends, ends)
            }
            Case::Forced(_) => return lapsed,
        };
        if age > ends {
            lapsed.case = Case::Up { fails: 0 };
        }
        if age > forgotten {
            lapsed.trips = 0;
        }
        lapsed
    }

    fn down_time(&self, rules: &Rules) -> u64 {
        let range = rules.down_times(self.trips);
        if range.start() == range.end() {
            return *range.start();
        }
        match self.down_for[rules.id] {
            0 => panic!("a down time is used before it is learnt"),
            learnt => learnt,
        }
    }
}

/// The jitter.
impl Address {
    /// Between which values the down time must lie, if it is to be learnt.
    pub fn unlearned(&self, rules: &Rules) -> Option<RangeInclusive<u64>> {
        let range = rules.down_times(self.trips);
        let is_open = self.down_for[rules.id] == 0 && range.start() != range.end();
        (is_open && matches!(self.case, Case::Down { .. })).then_some(range)
    }

    pub fn learn(&mut self, rules: &Rules, down_for: u64) {
        self.down_for[rules.id] = down_for;
    }
}

/// Events.
impl Address {
    pub fn record(&mut self, news: News, rules: &Rules, now: u64) {
        self.change(rules, now, |address| match news {
            News::Fail => address.fail(false, rules, now),
            News::Trip => address.fail(true, rules, now),
            News::Success => address.succeed(rules, now),
            News::RateLimited(span) => address.set_aside(span, now),
            News::Nothing => {}
        });
    }

    pub fn admit(&mut self, rules: &Rules, now: u64) -> Admitted {
        let Reading {
            state, retry_in, ..
        } = self.read(rules, now);
        if state != State::ProbeDue {
            return if state.is_down() {
                Admitted::Deny(state, retry_in)
            } else {
                Admitted::Pass
            };
        }
        let lease = rules.probes.unwrap().lease;
        self.change(rules, now, |address| match address.case {
            Case::Probing { rises, out } if out > 0 && now - address.since <= lease => {
                address.case = Case::Probing {
                    rises,
                    out: out + 1,
                };
            }
            Case::Probing { rises, .. } => {
                address.case = Case::Probing { rises, out: 1 };
                address.since = now;
            }
            Case::Rising { rises } => address.turn(Case::Probing { rises, out: 1 }, now),
            _ => address.turn(Case::Probing { rises: 0, out: 1 }, now),
        });
        Admitted::Probe(self.since)
    }

    /// The end of a probe under the lease that began at `lease`.
    pub fn settle(&mut self, lease: u64, news: News, rules: &Rules, now: u64) {
        self.change(rules, now, |address| {
            let Case::Probing { rises, out } = address.case else {
                return;
            };
            if address.since != lease || out == 0 {
                return;
            }
            let out = out - 1;
            match news {
                News::Nothing => address.case = Case::Probing { rises, out },
                News::Fail | News::Trip => address.trip_again(rules, now),
                News::RateLimited(span) => address.turn(Case::SetAside { span }, now),
                News::Success if rises + 1 >= rules.min_rises => {
                    address.turn(Case::Up { fails: 0 }, now);
                }
                News::Success => {
                    let rises = rises + 1;
                    address.case = Case::Probing { rises, out };
                    if out == 0 {
                        address.since = now;
                    }
                }
            }
        });
    }

    pub fn force(&mut self, to: Override, rules: &Rules, now: u64) {
        let mut next = self.lapsed(rules, now);
        if next.case != Case::Forced(to) {
            next.turn(Case::Forced(to), now);
            *self = next;
        }
    }

    pub fn release(&mut self, now: u64) {
        if matches!(self.case, Case::Forced(_)) {
            self.turn(Case::Up { fails: 0 }, now);
            self.trips = 0;
        }
    }

    pub fn reset(&mut self, rules: &Rules, now: u64) {
        if self.case == (Case::Up { fails: 0 }) && self.trips == 0 {
            return;
        }
        let mut next = self.lapsed(rules, now);
        let is_up = matches!(next.case, Case::Up { .. });
        next.turn(Case::Up { fails: 0 }, now);
        next.changes -= u64::from(is_up);
        next.trips = 0;
        *self = next;
    }

    /// What time has undone is written down only by what changes something more.
    fn change(&mut self, rules: &Rules, now: u64, event: impl FnOnce(&mut Self)) {
        if matches!(self.case, Case::Forced(_)) {
            return;
        }
        let lapsed = self.lapsed(rules, now);
        let mut next = lapsed.clone();
        event(&mut next);
        if next != lapsed {
            *self = next;
        }
    }

    fn fail(&mut self, at_once: bool, rules: &Rules, now: u64) {
        let is_expired = |address: &Self| {
            rules.probes.is_some() && now - address.since > address.down_time(rules)
        };
        match self.case {
            Case::Up { fails } => {
                let fails = fails + 1;
                if at_once || fails >= rules.max_fails {
                    self.trip(fails.max(rules.max_fails), false, rules, now);
                } else {
                    self.case = Case::Up { fails };
                    self.since = now;
                }
            }
            Case::SetAside { .. } if at_once => self.trip(rules.max_fails, false, rules, now),
            Case::SetAside { .. } | Case::Forced(_) => {}
            Case::Probing { .. } => self.trip_again(rules, now),
            Case::Down { .. } | Case::Rising { .. } if is_expired(self) => {
                self.trip_again(rules, now);
            }
            Case::Down { fails, for_all } => {
                let fails = fails + 1;
                self.case = Case::Down { fails, for_all };
                self.since = now;
            }
            Case::Rising { .. } => {
                let fails = rules.probes.map_or(1, |_| rules.max_fails);
                let for_all = true;
                self.case = Case::Down { fails, for_all };
                self.since = now;
            }
        }
    }

    fn trip_again(&mut self, rules: &Rules, now: u64) {
        self.trip(rules.max_fails, true, rules, now);
    }

    fn trip(&mut self, fails: u8, for_all: bool, rules: &Rules, now: u64) {
        self.turn(Case::Down { fails, for_all }, now);
        self.trips = match rules.probes {
            Some(_) => (self.trips + 1).min(7),
            None => self.trips,
        };
        self.down_for = [0; POLICIES];
    }

    fn succeed(&mut self, rules: &Rules, now: u64) {
        let rises = match self.case {
            Case::Up { fails: 0 } => {
                if self.trips > 0 && now - self.since >= rules.fail_timeout {
                    self.trips -= 1;
                    self.since = now;
                }
                return;
            }
            Case::Up { .. } => {
                self.case = Case::Up { fails: 0 };
                self.since = now;
                return;
            }
            Case::SetAside { .. } | Case::Forced(_) => return,
            Case::Down { .. } => 1,
            Case::Rising { rises } | Case::Probing { rises, .. } => rises + 1,
        };
        match self.case {
            _ if rises >= rules.min_rises => self.turn(Case::Up { fails: 0 }, now),
            Case::Probing { out, .. } => self.case = Case::Probing { rises, out },
            _ => {
                self.case = Case::Rising { rises };
                if rules.probes.is_none() {
                    self.since = now;
                }
            }
        }
    }

    fn set_aside(&mut self, span: u64, now: u64) {
        match self.case {
            Case::Up { .. } => self.turn(Case::SetAside { span }, now),
            Case::SetAside { span: known } if now + span > self.since + known => {
                self.case = Case::SetAside { span };
                self.since = now;
            }
            _ => {}
        }
    }

    /// A change of verdict.
    fn turn(&mut self, case: Case, now: u64) {
        self.case = case;
        self.since = now;
        self.changes += 1;
    }
}
