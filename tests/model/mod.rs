//! What the registry promises of one address, written down plainly: ordinary fields, one thread,
//! no bits. The tests that include it compare the registry with this, never with itself.
//!
//! Jitter cannot be foretold: it is a function of the address and of a seed of the process. The
//! model says in which range a down time lies, is told what it turned out to be, and from then on
//! expects just that.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

/// What a policy decides by, in ticks.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub max_fails: u32,
    pub min_rises: u32,
    pub fail_timeout: u64,
    pub max_fail_timeout: u64,
    pub forget_after: u64,
    /// Permits and lease; `None` is open recovery.
    pub probes: Option<(u32, u64)>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mode {
    Up {
        fails: u32,
    },
    Down {
        fails: u32,
        rises: u32,
        for_all: bool,
    },
    Probing {
        rises: u32,
        in_use: u32,
    },
    SetAside {
        span: u64,
    },
    ForcedUp,
    ForcedDown,
    Drained,
}

/// What is told of an address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Told {
    Up,
    Down,
    ProbeDue,
    Probing,
    SetAside,
    ForcedUp,
    ForcedDown,
    Drained,
}

/// One address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Address {
    pub mode: Mode,
    pub trips: u32,
    /// Of the last news that moved the time.
    pub at: u64,
    /// How long it is down, once that is known.
    pub down_for: Option<u64>,
    /// Changes of verdict.
    pub changes: u64,
}

/// A probe on its way.
#[derive(Clone, Copy, Debug)]
pub struct Permit {
    pub lease: u64,
    pub began: u64,
}

pub const NEUTRAL: Address = Address {
    mode: Mode::Up { fails: 0 },
    trips: 0,
    at: 0,
    down_for: None,
    changes: 0,
};

const TRIPS_MOST: u32 = 7;
const STREAK_MOST: u32 = 255;

impl Rules {
    /// Between what bounds the down time of the `trips`th trip lies.
    pub fn down_time(&self, trips: u32) -> (u64, u64) {
        if self.probes.is_none() {
            return (self.fail_timeout, self.fail_timeout);
        }
        let doubled = self.fail_timeout << trips.saturating_sub(1);
        let base = doubled.min(self.max_fail_timeout);
        if doubled < self.max_fail_timeout {
            (base, (base + base / 10).min(self.max_fail_timeout))
        } else {
            ((base - base / 10).max(self.fail_timeout), base)
        }
    }
}

impl Address {
    pub fn is_neutral(&self) -> bool {
        self.mode == Mode::Up { fails: 0 } && self.trips == 0
    }

    /// The down time that holds: known, or the one there can be.
    fn down_for(&self, rules: &Rules) -> u64 {
        let (least, most) = rules.down_time(self.trips);
        self.down_for
            .unwrap_or(if least == most { least } else { most })
    }

    /// What is left of it at `now`.
    pub fn lapsed(mut self, rules: &Rules, now: u64) -> Self {
        let age = now.saturating_sub(self.at);
        let forgets = |after: u64| age > after + rules.forget_after;
        match self.mode {
            Mode::Up { .. } => {
                if age > rules.fail_timeout.max(rules.forget_after) {
                    self.trips = 0;
                }
                if age > rules.fail_timeout {
                    self.mode = Mode::Up { fails: 0 };
                }
            }
            Mode::SetAside { span } if age > span => {
                self.mode = Mode::Up { fails: 0 };
                if forgets(span) {
                    self.trips = 0;
                }
            }
            Mode::Down { .. } if rules.probes.is_none() && age > rules.fail_timeout => self.clear(),
            Mode::Down { .. } if rules.probes.is_some() && forgets(self.down_for(rules)) => {
                self.clear();
            }
            Mode::Probing { .. } => match rules.probes {
                Some((_, lease)) if !forgets(lease) => {}
                _ => self.clear(),
            },
            _ => {}
        }
        self
    }

    fn clear(&mut self) {
        self.mode = Mode::Up { fails: 0 };
        self.trips = 0;
    }

    fn is_expired(&self, rules: &Rules, now: u64) -> bool {
        now.saturating_sub(self.at) > self.down_for(rules)
    }

    /// What is told at `now`, and for how many ticks more it will be.
    pub fn told(&self, rules: &Rules, now: u64) -> (Told, u64) {
        let now = now.max(self.at);
        let this = self.lapsed(rules, now);
        let left = |limit: u64| limit + 1 - (now - this.at).min(limit);
        let held = |told, limit| (told, left(limit));
        match this.mode {
            Mode::Up { fails } if fails >= rules.max_fails => held(Told::Down, rules.fail_timeout),
            Mode::Up { .. } => (Told::Up, 0),
            Mode::Down {
                fails,
                rises: 0,
                for_all,
            } if fails < rules.max_fails && !for_all => (Told::Up, 0),
            Mode::Down { rises, .. } if rises > 0 && rises >= rules.min_rises => (Told::Up, 0),
            Mode::Down { .. } if this.is_expired(rules, now) => (Told::ProbeDue, 0),
            Mode::Down { .. } => held(Told::Down, this.down_for(rules)),
            Mode::Probing { in_use, .. } => match rules.probes {
                Some((permits, lease)) if in_use >= permits && now - this.at <= lease => {
                    held(Told::Probing, lease)
                }
                _ => (Told::ProbeDue, 0),
            },
            Mode::SetAside { span } => held(Told::SetAside, span),
            Mode::ForcedUp => (Told::ForcedUp, 0),
            Mode::ForcedDown => (Told::ForcedDown, 0),
            Mode::Drained => (Told::Drained, 0),
        }
    }

    pub fn is_down(&self, rules: &Rules, now: u64) -> bool {
        use Told::{Down, Drained, ForcedDown, Probing, SetAside};
        matches!(
            self.told(rules, now).0,
            Down | Probing | SetAside | ForcedDown | Drained
        )
    }

    fn is_forced(&self) -> bool {
        matches!(self.mode, Mode::ForcedUp | Mode::ForcedDown | Mode::Drained)
    }

    /// Does `change` to what is left at `now`, unless an operator's word stands. Nothing changed is
    /// nothing written: what had lapsed stays as it was.
    fn change(&mut self, rules: &Rules, now: u64, change: impl FnOnce(&mut Self, u64)) {
        if self.is_forced() {
            return;
        }
        let now = now.max(self.at);
        let before = self.lapsed(rules, now);
        let mut after = before;
        change(&mut after, now);
        if after != before {
            *self = after;
        }
    }

    fn trip(&mut self, rules: &Rules, now: u64, fails: u32, for_all: bool) {
        self.mode = Mode::Down {
            fails,
            rises: 0,
            for_all,
        };
        self.trips = match rules.probes {
            Some(_) => (self.trips + 1).min(TRIPS_MOST),
            None => 0,
        };
        self.changes += 1;
        self.down_for = None;
        self.at = now;
    }

    pub fn fail(&mut self, rules: &Rules, now: u64, trips_at_once: bool) {
        self.change(rules, now, |this, now| match this.mode {
            Mode::Up { fails } => {
                let fails = (fails + 1).min(STREAK_MOST);
                if trips_at_once || fails >= rules.max_fails {
                    this.trip(rules, now, fails.max(rules.max_fails), false);
                } else {
                    this.mode = Mode::Up { fails };
                    this.at = now;
                }
            }
            Mode::Down { .. } if this.is_expired(rules, now) => {
                this.trip(rules, now, rules.max_fails, true);
            }
            Mode::Down {
                fails,
                rises,
                for_all,
            } => {
                let (fails, for_all) = match (rises, rules.probes) {
                    (0, _) => ((fails + 1).min(STREAK_MOST), for_all),
                    (_, None) => (1, true),
                    (_, Some(_)) => (rules.max_fails, true),
                };
                this.mode = Mode::Down {
                    fails,
                    rises: 0,
                    for_all,
                };
                this.at = now;
            }
            Mode::Probing { .. } => this.trip(rules, now, rules.max_fails, true),
            Mode::SetAside { .. } if trips_at_once => {
                this.trip(rules, now, rules.max_fails, false);
            }
            _ => {}
        });
    }

    fn recover(&mut self, now: u64) {
        self.mode = Mode::Up { fails: 0 };
        self.changes += 1;
        self.at = now;
    }

    pub fn succeed(&mut self, rules: &Rules, now: u64) {
        self.change(rules, now, |this, now| match this.mode {
            Mode::Up { fails: 0 } => {
                if this.trips > 0 && now - this.at >= rules.fail_timeout {
                    this.trips -= 1;
                    this.at = now;
                }
            }
            Mode::Up { .. } => {
                this.mode = Mode::Up { fails: 0 };
                this.at = now;
            }
            Mode::Down { rises, .. } => {
                let rises = rises + 1;
                if rises >= rules.min_rises {
                    return this.recover(now);
                }
                this.mode = Mode::Down {
                    fails: 0,
                    rises,
                    for_all: false,
                };
                if rules.probes.is_none() {
                    this.at = now;
                }
            }
            Mode::Probing { rises, in_use } => {
                if rises + 1 >= rules.min_rises {
                    return this.recover(now);
                }
                this.mode = Mode::Probing {
                    rises: rises + 1,
                    in_use,
                };
            }
            _ => {}
        });
    }

    pub fn limit(&mut self, rules: &Rules, now: u64, span: u64) {
        self.change(rules, now, |this, now| match this.mode {
            Mode::Up { .. } => this.aside(now, span),
            Mode::SetAside { span: old } if now + span > this.at + old => {
                this.mode = Mode::SetAside { span };
                this.at = now;
            }
            _ => {}
        });
    }

    fn aside(&mut self, now: u64, span: u64) {
        self.mode = Mode::SetAside { span };
        self.changes += 1;
        self.at = now;
    }

    /// A permit, if one is to be had.
    pub fn admit(&mut self, rules: &Rules, now: u64) -> Option<Permit> {
        let now = now.max(self.at);
        if self.told(rules, now).0 != Told::ProbeDue {
            return None;
        }
        let (_, lease) = rules.probes?;
        let mut this = self.lapsed(rules, now);
        match this.mode {
            Mode::Down { rises, .. } => {
                this.mode = Mode::Probing { rises, in_use: 1 };
                this.changes += 1;
                this.at = now;
            }
            Mode::Probing { rises, in_use } if in_use == 0 || now - this.at > lease => {
                this.mode = Mode::Probing { rises, in_use: 1 };
                this.at = now;
            }
            Mode::Probing { rises, in_use } => {
                this.mode = Mode::Probing {
                    rises,
                    in_use: in_use + 1,
                };
            }
            _ => return None,
        }
        *self = this;
        Some(Permit {
            lease: this.at,
            began: now,
        })
    }

    /// The end of a probe; anything but its own lease makes it void.
    pub fn settle(&mut self, rules: &Rules, now: u64, permit: Permit, end: End) {
        let now = now.max(self.at);
        let this = self.lapsed(rules, now);
        let Mode::Probing { rises, in_use } = this.mode else {
            return;
        };
        if this.at != permit.lease || in_use == 0 {
            return;
        }
        *self = this;
        match end {
            End::Failed => self.trip(rules, now, rules.max_fails, true),
            End::Limited(span) => self.aside(now, span),
            End::GivenBack => {
                self.mode = Mode::Probing {
                    rises,
                    in_use: in_use - 1,
                };
            }
            End::Succeeded if rises + 1 >= rules.min_rises => self.recover(now),
            End::Succeeded => {
                self.mode = Mode::Probing {
                    rises: rises + 1,
                    in_use: in_use - 1,
                };
                if in_use == 1 {
                    self.at = now;
                }
            }
        }
    }

    pub fn force(&mut self, rules: &Rules, now: u64, mode: Mode) {
        if self.mode != mode {
            let now = now.max(self.at);
            *self = self.lapsed(rules, now);
            self.mode = mode;
            self.changes += 1;
            self.at = now;
        }
    }

    pub fn release(&mut self, now: u64) {
        if self.is_forced() {
            self.clear();
            self.changes += 1;
            self.at = now.max(self.at);
        }
    }

    pub fn reset(&mut self, rules: &Rules, now: u64) {
        let now = now.max(self.at);
        let mut next = self.lapsed(rules, now);
        let was_up = matches!(next.mode, Mode::Up { .. });
        next.clear();
        if next != self.lapsed(rules, now) {
            next.changes += u64::from(!was_up);
            next.at = now;
            *self = next;
        }
    }
}

/// How a probe ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Succeeded,
    Failed,
    Limited(u64),
    GivenBack,
}
