//! One member of a group: whether it may be asked, with what weight, and how that went.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64 as PlainU64, Ordering};
use std::time::Duration;

use super::policy::{GroupPolicy, WHOLE, longest_slow_start};
use super::window::{Ended, Tally};
use crate::admit::{Admission, Permit};
use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::gate::{Gate, Seats};
use crate::journal::JournalEntry;
use crate::outcome::{Outcome, Weight};
use crate::policy::Policy;
use crate::record::Ticket;
use crate::snapshot::{State, Status};
use crate::state::is_taken_down;
use crate::word::Tick;

/// One member of a group, as one policy of it sees it.
///
/// Asking it loads its words: the dial word of its address, which all of the process share, and
/// the service word that its group alone writes; a third if the group is given checks.
pub struct Member {
    pub(super) seat: Arc<Seat>,
    weight: u16,
    dial: Endpoint,
    service: Endpoint,
    checks: Option<Endpoint>,
    policy: Arc<GroupPolicy>,
    core: Arc<Core>,
}

/// What is known of a member whatever the policy; there for as long as anybody uses it.
pub(super) struct Seat {
    pub(super) service: Endpoint,
    pub(super) tally: Tally,
}

/// What all members of a group share.
pub(super) struct Core {
    pub(super) gate: Arc<Gate>,
    pub(super) clock: Arc<dyn Clock>,
    /// Of the list that is in force. Written by `Group::change` after the swap, read by
    /// `Group::refresh` and by lists that would count. `Relaxed`: who finds a new number and still
    /// the old list looks again the next time.
    pub(super) version: PlainU64,
    /// Members that are down by other words than those that the gate counts, when somebody last
    /// counted.
    ///
    /// Written by whoever sweeps, changes members, or finds nobody to choose; read by those who ask
    /// whether the group fails open. `Relaxed`: the number is the whole message, and it may lag.
    /// std's own in the models too.
    pub(super) unreachable: AtomicU32,
}

/// The right to ask a member once, and what its outcome is told by ([`Member::end`]).
///
/// One that is dropped untold says nothing, whatever time has passed: who gave up a request late
/// may have had every reason but the server. If it was to probe, the probe is given back.
#[derive(Debug)]
#[must_use = "an outcome that is not told is none"]
pub struct Right(Held);

#[derive(Debug)]
enum Held {
    /// Asked under the verdict of this ticket: its outcome counts only while that stands.
    Usual(Ticket),
    /// Ejected, and this one tries it. `None` once it is settled.
    Probe(Option<Permit>),
    /// Ejected, and asked all the same while the group fails open or only observes. Nothing that happens then is
    /// news for the word: a server that fails by half would be brought back by two answers in a
    /// row and ejected by the next failures, for twice as long each time.
    PassedOver,
}

/// Why a member may not be asked now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Denied {
    /// What the word that is against it says.
    pub state: State,
    /// When to ask again; `None` where time alone does not bring it back.
    pub retry_in: Option<Duration>,
}

/// How a member stands, word by word. It is eligible when none says down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct MemberStatus {
    /// By dials, in the whole process.
    pub dial: Status,
    /// By what it answers this group.
    pub service: Status,
    /// By checks, if the group has any.
    pub checks: Option<Status>,
}

impl Member {
    /// The address, in its canonical form.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.dial.address()
    }

    /// The weight it was given; at least 1.
    #[must_use]
    pub fn given_weight(&self) -> u16 {
        self.weight
    }

    /// The handle to what dials to it say, for whoever dials.
    #[must_use]
    pub fn dial(&self) -> &Endpoint {
        &self.dial
    }

    /// Whether no word says down.
    ///
    /// While the group fails open, only the dial word counts: that a server answers badly may be
    /// the load's doing, that nobody listens there is not. In [`Mode::Observe`](super::Mode) the
    /// service word never counts, nor does that of one that has left the group.
    ///
    /// # Progress
    ///
    /// Wait-free: a load for each word while it is up.
    #[inline]
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        !self.dial.is_fall_down() && (!self.is_judged_down() || self.is_passed_over())
    }

    /// Its weight at `now` of the registry's clock, in 1024ths: less than the whole while it warms
    /// up after it was down. A member that is not eligible has one as well.
    ///
    /// # Progress
    ///
    /// Wait-free.
    #[must_use]
    pub fn weight(&self, now: Duration) -> u32 {
        u32::from(self.weight) * self.share_at(|| Tick::at(now))
    }

    /// Its share of its weight at this moment, in [`WHOLE`](Self::WHOLE)ths: for balancers that draw
    /// by a weight of their own, and then ask of the one that is drawn whether the share takes it.
    ///
    /// # Progress
    ///
    /// Wait-free. Reads the registry's clock only for a member that was down of late.
    #[inline]
    #[must_use]
    pub fn share(&self) -> u32 {
        self.share_at(|| Tick::at(self.core.clock.elapsed()))
    }

    /// The [share](Self::share) of a member that does not warm up.
    pub const WHOLE: u32 = WHOLE;

    /// Asks to use it. `Err` if a word says down, or its one probe has been given to another.
    ///
    /// # Errors
    ///
    /// Which word's verdict is in the way, and for how long.
    ///
    /// # Progress
    ///
    /// Wait-free while it is up, lock-free otherwise.
    pub fn admit(&self) -> Result<Right, Denied> {
        if self.dial.is_fall_down() {
            return Err(Denied::by(&self.dial));
        }
        if let Some(checks) = &self.checks
            && checks.is_fall_down()
            && !self.is_passed_over()
        {
            return Err(Denied::by(checks));
        }
        if let Some(ticket) = self.service.ticket_if_up() {
            return Ok(Right(Held::Usual(ticket)));
        }
        match self.service.try_admit() {
            Admission::Pass => Ok(self.admit_anyway()),
            Admission::Probe(permit) => Ok(Right(Held::Probe(Some(permit)))),
            // Who has left the group is judged by its other words.
            Admission::Deny {
                state: State::Drained,
                ..
            } => Ok(Right(Held::PassedOver)),
            Admission::Deny { .. } if self.policy.is_observing() || self.is_passed_over() => {
                Ok(Right(Held::PassedOver))
            }
            Admission::Deny { state, retry_in } => Err(Denied { state, retry_in }),
        }
    }

    /// The right to use it whatever its words say: for when nobody else is left. The outcome
    /// counts.
    ///
    /// # Progress
    ///
    /// Wait-free.
    pub fn admit_anyway(&self) -> Right {
        Right(Held::Usual(self.service.ticket()))
    }

    /// Tells how it went that was begun by `right`, and how long it took: zero if nobody knows.
    ///
    /// Success and failure count for the service word, by the weights of the service policy, and
    /// both for the rates, if it was begun under the verdict that holds. [`Outcome::Cancelled`] says
    /// nothing, unless it took as long as a slow call: then it is one. What was begun by passing over
    /// the service word, while the group failed open or only observed, counts for nothing: the word
    /// stands until its time is over.
    ///
    /// # Progress
    ///
    /// Lock-free. A success of a member that nothing is held against writes one counter, or none
    /// where no rates are judged.
    pub fn end(&self, right: Right, outcome: Outcome, took: Duration) {
        let mut right = right;
        if let Held::Usual(ticket) = &right.0
            && self.service.is_current(*ticket)
        {
            self.count(outcome, took);
        }
        match &mut right.0 {
            Held::Usual(ticket) => self.service.settle(*ticket, outcome),
            Held::Probe(permit) => {
                if let Some(permit) = permit.take() {
                    permit.end(outcome);
                }
            }
            Held::PassedOver => {}
        }
    }

    /// How it stands, word by word. Reads the clock.
    #[must_use]
    pub fn status(&self) -> MemberStatus {
        MemberStatus {
            dial: self.dial.status(),
            service: self.service.status(),
            checks: self.checks.as_ref().map(Endpoint::status),
        }
    }

    /// What its group has changed about it, oldest first, 16 at most.
    #[must_use]
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.service.journal()
    }

    fn count(&self, outcome: Outcome, took: Duration) {
        let rules = &self.policy.outliers;
        if !rules.is_any() {
            return;
        }
        let is_slow = rules.is_slow(took);
        let is_failure = match outcome {
            Outcome::Success => false,
            Outcome::Failed(cause) => self.policy.service.weight(cause) != Weight::Ignore,
            Outcome::Cancelled if is_slow => false,
            Outcome::Cancelled | Outcome::LocalFault | Outcome::RateLimited { .. } => return,
        };
        self.seat.tally.note(Ended {
            is_failure,
            is_slow,
        });
    }
}

/// For the group, which makes and judges it.
impl Member {
    /// `words` are its dial word's handle, and its checks'.
    pub(super) fn new(
        seat: Arc<Seat>,
        weight: u16,
        words: (Endpoint, Option<Endpoint>),
        policy: &Arc<GroupPolicy>,
        service: &Arc<Policy>,
        core: &Arc<Core>,
    ) -> Self {
        let (dial, checks) = words;
        Self {
            weight: weight.max(1),
            dial,
            service: seat.service.with_policy(Arc::clone(service)),
            checks,
            policy: Arc::clone(policy),
            core: Arc::clone(core),
            seat,
        }
    }

    pub(super) fn service(&self) -> &Endpoint {
        &self.service
    }

    pub(super) fn is_observed(&self) -> bool {
        self.policy.is_observing()
    }

    /// Its share of its weight, in [`WHOLE`]ths. The time is asked for only if it depends on it.
    #[inline]
    pub(super) fn share_at(&self, now: impl Fn() -> Tick) -> u32 {
        if !self.policy.has_slow_start() {
            return WHOLE;
        }
        let words = [Some(&self.dial), self.checks.as_ref()];
        let judged = (!self.policy.is_observing()).then_some(&self.service);
        let back_for = words.into_iter().chain([judged]).flatten();
        let shortest = back_for.filter_map(|word| word.back_for(&now)).min();
        shortest.map_or(WHOLE, |age| self.policy.share(age))
    }

    /// What is to be counted for failing open: down by a word whose slot the gate does not count.
    pub(super) fn is_unreachable(&self) -> bool {
        let is_counted = !self.policy.is_observing() && is_taken_down(self.service.word());
        !is_counted && (self.dial.is_fall_down() || self.is_judged_down())
    }

    /// Writes down what time has undone, and forgets what nobody wants to know any more.
    pub(super) fn tidy(&self) {
        self.service.lapse();
        let words = [Some(&self.dial), Some(&self.service), self.checks.as_ref()];
        for word in words.into_iter().flatten() {
            word.forget_return(longest_slow_start());
        }
    }

    /// The words that are a matter of opinion: answers and checks.
    #[inline]
    fn is_judged_down(&self) -> bool {
        self.checks.as_ref().is_some_and(Endpoint::is_fall_down)
            // One that is drained is no member any more, and its word takes no evidence. Those who
            // hold it may go on with what they have, by what its other words say.
            || !self.policy.is_observing() && self.service.is_judged_down()
    }

    /// Whether the group fails open. What an operator has taken out by the checks' word stays out.
    #[cold]
    fn is_passed_over(&self) -> bool {
        let checks = self.checks.as_ref();
        let is_forced = checks.is_some_and(|checks| checks.word().phase().is_forced());
        !is_forced && self.core.fails_open(&self.policy)
    }
}

impl Core {
    /// Members that no word is against.
    pub(super) fn live(&self, policy: &GroupPolicy, seats: Seats) -> u32 {
        let ejected = if policy.is_observing() {
            0
        } else {
            seats.taken
        };
        let unreachable = self.unreachable.load(Ordering::Relaxed);
        seats
            .members
            .saturating_sub(ejected.saturating_add(unreachable))
    }

    pub(super) fn fails_open(&self, policy: &GroupPolicy) -> bool {
        if !policy.may_fail_open() {
            return false;
        }
        let seats = self.gate.seats();
        policy.fails_open(self.live(policy, seats), seats.members)
    }
}

impl Right {
    /// Whether it is to try a member that was ejected: its outcome is waited for.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        matches!(self.0, Held::Probe(_))
    }
}

/// A permit that is dropped after a while would be a failure: right for a dial, which is silent only
/// by the server's fault, and wrong for a request.
impl Drop for Right {
    fn drop(&mut self) {
        if let Held::Probe(permit) = &mut self.0
            && let Some(permit) = permit.take()
        {
            permit.end(Outcome::Cancelled);
        }
    }
}

impl Denied {
    fn by(word: &Endpoint) -> Self {
        let status = word.status();
        Self {
            state: status.state,
            retry_in: status.retry_in,
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("status", &self.status())
            .field("weight", &self.weight)
            .finish_non_exhaustive()
    }
}
