//! What is done now and then, by whoever owns the group: judging rates, writing down what time has
//! undone, counting who is down.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::member::{Member, Seat};
use super::members::Members;
use super::outlier::{Counts, Found, Rule, outliers};
use super::window::History;
use crate::endpoint::Endpoint;
use crate::outcome::Cause;
use crate::record::Ticket;
use crate::registry::Registry;

/// What a sweep came to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sweep {
    /// How many members had traffic enough to be judged by rates.
    pub judged: usize,
    /// Who was found unfit by rates, the worst first.
    pub outliers: Vec<Outlier>,
    /// When to sweep again, on the registry's clock: when rates are judged the next time, or in a
    /// second, if that is sooner.
    pub next: Duration,
}

/// A member that was found unfit by what it did in the window.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outlier {
    /// Which.
    pub address: SocketAddr,
    /// By which rule.
    pub rule: Rule,
    /// What the rule looked at, in percent of the member's calls: failures, successes or slow ones.
    pub percent: f64,
    /// The rule's limit, in percent.
    pub limit: f64,
    /// The member's calls in the window.
    pub calls: u64,
    /// What came of it.
    pub effect: Effect,
}

/// What came of a verdict by rates.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// It is ejected.
    Ejected,
    /// It would be, but the group only observes.
    Observed,
    /// It would be, but as many are ejected as may be.
    Spared,
}

/// What the owner of the group knows, under its lock.
pub(super) struct Roster {
    /// By which members ask.
    pub(super) words: Words,
    /// Who has left and may still be in use: their words take no evidence.
    pub(super) left: Vec<Arc<Seat>>,
    histories: HashMap<SocketAddr, History>,
    /// When rates are judged again.
    pub(super) due: Duration,
}

/// The registries of the words that are not the group's own.
pub(super) struct Words {
    pub(super) dials: Registry,
    pub(super) checks: Option<Registry>,
}

impl Words {
    /// The handles for one address: its dial word's, and its checks'.
    pub(super) fn of(&self, address: SocketAddr) -> (Endpoint, Option<Endpoint>) {
        let checks = self.checks.as_ref();
        (
            self.dials.endpoint(address),
            checks.map(|checks| checks.endpoint(address)),
        )
    }
}

impl Roster {
    /// Nobody has left, and nothing is due.
    pub(super) fn new(words: Words) -> Self {
        Self {
            words,
            left: Vec::new(),
            histories: HashMap::new(),
            due: Duration::ZERO,
        }
    }

    /// The seat of who left, if it comes back.
    pub(super) fn take_back(&mut self, address: SocketAddr) -> Option<Arc<Seat>> {
        let is_its = |seat: &Arc<Seat>| seat.service.address() == address;
        let place = self.left.iter().position(is_its)?;
        Some(self.left.swap_remove(place))
    }

    /// Lets go of who has left and is in use no more: only the seats' holders could make another
    /// holder, and there are none.
    pub(super) fn tidy(&mut self) {
        self.left.retain(|seat| {
            let is_in_use = Arc::strong_count(seat) > 1;
            if !is_in_use {
                // So that the record can be another address's.
                seat.service.release();
            }
            is_in_use
        });
    }

    /// Judges by rates, if it is time to.
    pub(super) fn judge(&mut self, members: &Members, now: Duration) -> Sweep {
        let rules = &members.policy.outliers;
        if !rules.is_any() {
            self.histories.clear();
            return Sweep {
                judged: 0,
                outliers: Vec::new(),
                next: now.saturating_add(PAUSE),
            };
        }
        let mut sweep = Sweep {
            judged: 0,
            outliers: Vec::new(),
            next: self.due.min(now.saturating_add(PAUSE)),
        };
        if now < self.due {
            return sweep;
        }
        self.due = now.saturating_add(rules.window / SLICES);
        sweep.next = self.due.min(now.saturating_add(PAUSE));
        let candidates = self.counted(members, now);
        let counts: Vec<_> = candidates.iter().map(|one| one.counts).collect();
        sweep.judged = counts
            .iter()
            .filter(|counts| counts.calls >= rules.min_volume)
            .count();
        let found = outliers(&counts, rules).into_iter();
        sweep.outliers = found
            .filter_map(|found| candidates.get(found.place)?.eject(&found))
            .collect();
        sweep
    }

    /// Who is up, with what it did in the window under that verdict.
    fn counted<'a>(&mut self, members: &'a Members, now: Duration) -> Vec<Candidate<'a>> {
        let mut known = std::mem::take(&mut self.histories);
        let mut candidates = Vec::with_capacity(members.len());
        for member in members {
            // What it does while it is down, or being tried, is judged by other rules.
            let ticket = member.service().ticket_if_up();
            let Some(ticket) = ticket.filter(|_| !member.dial().is_fall_down()) else {
                continue;
            };
            let (address, total) = (member.address(), member.seat.tally.total());
            let history = known.remove(&address);
            let history = history.filter(|history| history.is_of(ticket));
            let mut history = history.unwrap_or_else(|| History::new(ticket, now, total));
            let counts = history.advance(now, total, members.policy.outliers.window);
            self.histories.insert(address, history);
            candidates.push(Candidate {
                member,
                ticket,
                counts,
            });
        }
        candidates
    }
}

struct Candidate<'a> {
    member: &'a Member,
    ticket: Ticket,
    counts: Counts,
}

impl Candidate<'_> {
    /// `None` if its verdict has changed since.
    fn eject(&self, found: &Found) -> Option<Outlier> {
        let cause = match found.rule {
            Rule::SlowCalls => Cause::Slow,
            Rule::FailurePercent | Rule::SuccessRate => Cause::Outlier,
        };
        let service = self.member.service();
        let effect = if service.eject(self.ticket, cause) {
            if self.member.is_observed() {
                Effect::Observed
            } else {
                Effect::Ejected
            }
        } else if service.ticket_if_up() == Some(self.ticket) {
            Effect::Spared
        } else {
            return None;
        };
        Some(Outlier {
            address: self.member.address(),
            rule: found.rule,
            percent: found.percent,
            limit: found.limit,
            calls: self.counts.calls,
            effect,
        })
    }
}

/// In so many steps the window slides.
const SLICES: u32 = 8;
/// How often to sweep at least, whatever the window: who is down by dials is counted so often.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
