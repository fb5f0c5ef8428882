//! How an address reads at a time, and what has to be learnt for that.

use std::ops::RangeInclusive;

use risefall::State;

use super::{Address, Case, Override, Reading, Rules};

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
    pub(super) fn lapsed(&self, rules: &Rules, now: u64) -> Self {
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

    pub(super) fn down_time(&self, rules: &Rules) -> u64 {
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
