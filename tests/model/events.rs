//! What changes an address.

use risefall::State;

use super::{Address, Admitted, Case, News, Override, POLICIES, Reading, Rules};

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
