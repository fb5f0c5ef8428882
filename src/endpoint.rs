//! A handle to one address.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
#[cfg(feature = "tower")]
use std::time::Duration;

use crate::address::Key;
use crate::admit::{Admission, Attempt};
use crate::journal::JournalEntry;
use crate::outcome::{Cause, Outcome};
use crate::policy::Policy;
use crate::record::{Record, Ticket};
use crate::shared::{Case, Shared, Subject};
use crate::snapshot::Status;
use crate::state::{self, Event, Moment};
use crate::sync::Link;
use crate::word::{Phase, Tick, Ticks, Word};

/// A handle to one address: asking it is one atomic load, without a hash or a walk.
///
/// It pins the address's record, so keep handles for the servers you have chosen yourself (the
/// members of an upstream), and ask by address where clients choose. A pinned record is free of
/// the capacity; it costs by-address readers of its bucket a short walk.
#[derive(Clone)]
pub struct Endpoint {
    subject: Subject,
    record: Link<Record>,
    shared: Arc<Shared>,
    policy: Arc<Policy>,
}

/// Which record an endpoint is a handle to. True for as long as that endpoint lives.
#[cfg(feature = "checks")]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct EndpointId {
    /// Where its registry lies in memory.
    registry: usize,
    address: SocketAddr,
}

impl Endpoint {
    pub(crate) fn new(key: Key, shared: &Arc<Shared>, policy: &Arc<Policy>) -> Self {
        let subject = shared.subject(key);
        Self {
            subject,
            record: shared.pin(subject),
            shared: Arc::clone(shared),
            policy: Arc::clone(policy),
        }
    }

    /// By which two handles to one record know each other, whatever their policies.
    #[cfg(feature = "checks")]
    pub(crate) fn id(&self) -> EndpointId {
        EndpointId {
            registry: Arc::as_ptr(&self.shared).addr(),
            address: self.address(),
        }
    }

    /// The address, in its canonical form.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.subject.key.address()
    }

    /// The policy by which this handle judges.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Another handle to the same record, judging by a policy of its own. As
    /// [`Registry::with_policy`](crate::Registry::with_policy).
    #[must_use]
    pub fn with_policy(&self, policy: impl Into<Arc<Policy>>) -> Self {
        let policy = policy.into();
        self.shared.keep_for(&policy);
        Self {
            policy,
            ..self.clone()
        }
    }

    /// As [`Registry::is_fall_down`](crate::Registry::is_fall_down).
    ///
    /// # Progress
    ///
    /// Wait-free: one load while the address is up.
    #[inline]
    #[must_use]
    pub fn is_fall_down(&self) -> bool {
        let word = self.record.word();
        !word.is_neutral() && self.shared.is_down(word, self.case())
    }

    /// As [`Registry::try_admit`](crate::Registry::try_admit).
    ///
    /// # Progress
    ///
    /// Wait-free while the address is healthy; lock-free otherwise.
    #[inline]
    pub fn try_admit(&self) -> Admission {
        let word = self.record.word();
        if word.is_neutral() {
            return Admission::Pass;
        }
        let admitted = self.shared.admit(self.case(), &self.record, word);
        Admission::of(admitted, &self.shared, &self.policy)
    }

    /// As [`Registry::attempt`](crate::Registry::attempt).
    ///
    /// # Progress
    ///
    /// Wait-free. Reads the clock.
    pub fn attempt(&self) -> Attempt<'_> {
        Attempt::new(&self.shared, self.case(), Some(&self.record))
    }

    /// As [`Registry::record`](crate::Registry::record).
    ///
    /// # Progress
    ///
    /// Lock-free.
    pub fn record(&self, outcome: Outcome) {
        match outcome {
            Outcome::Success => self.add_rise_up(),
            outcome => self.shared.record(self.case(), None, outcome),
        }
    }

    /// As [`Registry::add_fall_down`](crate::Registry::add_fall_down).
    ///
    /// # Progress
    ///
    /// Lock-free.
    pub fn add_fall_down(&self) {
        self.record_failure(Cause::Reported);
    }

    /// As [`Registry::record_failure`](crate::Registry::record_failure).
    ///
    /// # Progress
    ///
    /// Lock-free.
    pub fn record_failure(&self, cause: Cause) {
        self.record(Outcome::Failed(cause));
    }

    /// As [`Registry::add_rise_up`](crate::Registry::add_rise_up).
    ///
    /// # Progress
    ///
    /// Lock-free; wait-free and without a write while nothing is held against the address.
    #[inline]
    pub fn add_rise_up(&self) {
        self.shared
            .record_success(self.case(), &self.record, self.record.word());
    }

    /// As [`Registry::status`](crate::Registry::status).
    ///
    /// # Progress
    ///
    /// Wait-free.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared
            .status(self.case(), &self.record, self.record.word())
    }

    /// As [`Registry::journal`](crate::Registry::journal).
    ///
    /// # Progress
    ///
    /// Wait-free. Allocates its answer.
    #[must_use]
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.record.journal(self.record.word(), self.shared.now())
    }

    /// As [`Registry::force_up`](crate::Registry::force_up).
    ///
    /// # Progress
    ///
    /// Lock-free.
    pub fn force_up(&self) {
        self.shared.force(self.case(), Phase::ForcedUp);
    }

    /// As [`Registry::force_down`](crate::Registry::force_down).
    ///
    /// # Progress
    ///
    /// Lock-free.
    pub fn force_down(&self) {
        self.shared.force(self.case(), Phase::ForcedDown);
    }

    /// As [`Registry::drain`](crate::Registry::drain).
    ///
    /// # Progress
    ///
    /// Lock-free.
    pub fn drain(&self) {
        self.shared.force(self.case(), Phase::Drained);
    }

    /// As [`Registry::release`](crate::Registry::release).
    ///
    /// # Progress
    ///
    /// Lock-free.
    pub fn release(&self) {
        self.shared.change_known(self.case(), Event::Release);
    }

    /// As [`Registry::reset`](crate::Registry::reset).
    ///
    /// # Progress
    ///
    /// Lock-free.
    pub fn reset(&self) {
        self.shared.change_known(self.case(), Event::Reset);
    }

    /// What a call that begins now remembers, and when that is.
    #[cfg(feature = "tower")]
    pub(crate) fn begin(&self) -> (Ticket, Duration) {
        let ticket = self.shared.ticket(self.subject, Some(&self.record));
        (ticket, self.shared.elapsed())
    }

    /// The outcome of a call, which tells nothing of how long connects take.
    #[cfg(feature = "tower")]
    pub(crate) fn end_call(&self, ticket: Ticket, outcome: Outcome) {
        self.shared
            .end(self.case(), Some(&self.record), ticket, outcome, || None);
    }

    /// The time of the registry's clock.
    #[cfg(feature = "tower")]
    pub(crate) fn elapsed(&self) -> Duration {
        self.shared.elapsed()
    }

    #[inline]
    fn case(&self) -> Case<'_> {
        Case {
            policy: &self.policy,
            subject: self.subject,
        }
    }
}

/// For groups, which look at the word itself.
impl Endpoint {
    #[inline]
    pub(crate) fn word(&self) -> Word {
        self.record.word()
    }

    /// Whether the word says down by itself, whatever streak of failures this handle's thresholds
    /// would call one: only an exchange takes it down, for which a gate was asked. A word that is
    /// drained is no verdict. All by one load: what is released meanwhile is down by neither.
    #[inline]
    pub(crate) fn is_judged_down(&self) -> bool {
        let word = self.record.word();
        !is_up(word) && word.phase() != Phase::Drained && self.shared.is_down(word, self.case())
    }

    /// What an attempt that begins now remembers.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket::of(&self.record, self.record.word())
    }

    /// The same, if the word is up, whatever its streak.
    #[inline]
    pub(crate) fn ticket_if_up(&self) -> Option<Ticket> {
        let word = self.record.word();
        is_up(word).then(|| Ticket::of(&self.record, word))
    }

    /// Whether the verdict under which `ticket` was given still stands.
    #[inline]
    pub(crate) fn is_current(&self, ticket: Ticket) -> bool {
        ticket.is_current(&self.record, self.record.word())
    }

    /// The outcome of an attempt of `ticket`.
    pub(crate) fn settle(&self, ticket: Ticket, outcome: Outcome) {
        if outcome == Outcome::Success && self.word().is_neutral() {
            return;
        }
        self.shared.settle_attempt(self.case(), ticket, outcome);
    }

    /// Takes it down at once, if its verdict is still that of `ticket`. Whether it did.
    pub(crate) fn eject(&self, ticket: Ticket, cause: Cause) -> bool {
        self.shared.eject(self.case(), &self.record, ticket, cause)
    }

    /// Writes down what time has undone.
    pub(crate) fn lapse(&self) {
        self.shared.change_known(self.case(), Event::Lapse);
    }

    /// How long it has been back from being down, at `now`; `None` if it never was, or is.
    #[inline]
    pub(crate) fn back_for(&self, now: impl FnOnce() -> Tick) -> Option<Ticks> {
        if self.record.is_untried() {
            return None;
        }
        let word = self.record.word();
        if state::is_taken_down(word) {
            let moment = Moment {
                rules: self.policy.rules(),
                now: now(),
                salt: self.subject.hash,
            };
            return state::lapsed_for(word, &moment);
        }
        let since = self.record.back_since(word)?;
        Some(now().since(since))
    }

    /// Counts it as one that has come back now.
    pub(crate) fn begin_return(&self) {
        self.record.begin_return(self.word(), self.shared.now());
    }

    /// Forgets that it came back, if that is more than `longest` ago.
    pub(crate) fn forget_return(&self, longest: Ticks) {
        let word = self.word();
        if let Some(since) = self.record.back_since(word)
            && self.shared.now().since(since) >= longest
        {
            self.record.forget_return(word, since);
        }
    }
}

fn is_up(word: Word) -> bool {
    matches!(word.phase(), Phase::Up | Phase::Suspect | Phase::Raced)
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.status()).finish()
    }
}
