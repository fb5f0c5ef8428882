//! Changing records: what happened becomes an event, the event a new word, and whoever exchanged
//! it tells.

use std::time::Duration;

use super::{Case, Shared, Subject};
use crate::address::Key;
use crate::admit::Probe;
use crate::event::Transition;
use crate::journal::Change;
use crate::outcome::{Cause, Outcome, Weight};
use crate::policy::Policy;
use crate::record::{Applied, Charge, Record, Ticket};
use crate::snapshot::{Imported, Snapshot, State};
use crate::state::{self, Event, Settled, Verdict, span_code};
use crate::sync::Link;
use crate::word::{Phase, Tick, Word};

/// What happened to an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    pub(super) event: Event,
    /// The failure behind it.
    pub(super) cause: Option<Cause>,
    /// Of the attempt that brought it.
    ticket: Option<Ticket>,
}

/// What became of the news.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Applies {
    Changed,
    Same,
    /// The record is another address's by now.
    Gone,
    /// There is no room for another record.
    Refused,
}

/// What became of a request for admission.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Admitted {
    As(Verdict),
    Probe(Probe),
}

impl News {
    pub(crate) fn of(event: Event) -> Self {
        Self {
            event,
            cause: None,
            ticket: None,
        }
    }

    pub(crate) fn failed(cause: Cause, weight: Weight) -> Self {
        Self {
            cause: Some(cause),
            ..Self::of(Event::Failure(weight))
        }
    }

    /// `None` if the outcome says nothing of the address by this policy.
    fn from_outcome(outcome: Outcome, policy: &Policy) -> Option<Self> {
        match outcome {
            Outcome::Success => Some(Self::of(Event::Success)),
            Outcome::Failed(cause) => match policy.weight(cause) {
                Weight::Ignore => None,
                weight => Some(Self::failed(cause, weight)),
            },
            Outcome::RateLimited { retry_after } => Some(Self {
                cause: Some(Cause::RateLimited),
                ..Self::of(Event::RateLimited(span_code(retry_after)))
            }),
            Outcome::Cancelled | Outcome::LocalFault => None,
        }
    }
}

impl Shared {
    /// What an attempt that begins now remembers.
    pub(crate) fn ticket(&self, subject: Subject, record: Option<&Link<Record>>) -> Ticket {
        self.word_of(subject, record)
            .map_or_else(Ticket::default, |(record, word)| Ticket::of(record, word))
    }

    fn word_of<'a>(
        &'a self,
        subject: Subject,
        record: Option<&'a Link<Record>>,
    ) -> Option<(&'a Link<Record>, Word)> {
        match record {
            Some(record) => Some((record, record.word())),
            None => self.find(subject),
        }
    }

    #[inline]
    pub(crate) fn record_success(&self, case: Case<'_>, record: &Link<Record>, word: Word) {
        if !word.is_neutral() {
            self.change(case, record, word, News::of(Event::Success));
        }
    }

    /// Records an outcome; `ticket` if it is an attempt's.
    pub(crate) fn record(&self, case: Case<'_>, ticket: Option<Ticket>, outcome: Outcome) {
        if let Some(news) = News::from_outcome(outcome, case.policy) {
            let news = News { ticket, ..news };
            self.happen(case, news, Charge::Capped);
        }
    }

    /// The outcome of an attempt. `took` is asked for only where somebody wants to know; `None` if
    /// it was no connect.
    pub(crate) fn end(
        &self,
        case: Case<'_>,
        record: Option<&Link<Record>>,
        ticket: Ticket,
        outcome: Outcome,
        took: impl FnOnce() -> Option<Duration>,
    ) {
        if outcome != Outcome::Success {
            return self.record(case, Some(ticket), outcome);
        }
        if let Some((record, word)) = self.word_of(case.subject, record) {
            if let Some(took) = took() {
                record.note_usual(took);
            }
            if !word.is_neutral() {
                let news = News {
                    ticket: Some(ticket),
                    ..News::of(Event::Success)
                };
                self.change(case, record, word, news);
            }
        }
    }

    /// The outcome of an attempt by a handle, whose record is there.
    pub(crate) fn settle_attempt(&self, case: Case<'_>, ticket: Ticket, outcome: Outcome) {
        if let Some(news) = News::from_outcome(outcome, case.policy) {
            let ticket = Some(ticket);
            self.happen(case, News { ticket, ..news }, Charge::Pinned);
        }
    }

    /// Takes the record's word down at once, if its verdict is still that of `ticket`. Whether this
    /// call did.
    pub(crate) fn eject(
        &self,
        case: Case<'_>,
        record: &Link<Record>,
        ticket: Ticket,
        cause: Cause,
    ) -> bool {
        let event = Event::Failure(Weight::Trip);
        let (moment, ticket) = (self.moment(case), Some(ticket));
        match Record::apply(record, record.word(), ticket, event, &moment, self.gate()) {
            Applied::Changed {
                before,
                after,
                holder,
            } => {
                self.tell(case, record, before, after, Some(cause));
                drop(holder);
                !state::is_taken_down(before) && state::is_taken_down(after)
            }
            Applied::Same | Applied::Gone => false,
        }
    }

    /// A dial to it has been silent for longer than usual.
    #[cfg(feature = "tokio")]
    pub(crate) fn note_silence(&self, case: Case<'_>, ticket: Ticket) {
        let news = News {
            ticket: Some(ticket),
            ..News::of(Event::Silence)
        };
        self.happen(case, news, Charge::Capped);
    }

    /// Whether the one race of the moment against the suspect is the caller's.
    #[cfg(feature = "tokio")]
    pub(crate) fn claim_race(&self, case: Case<'_>) -> bool {
        self.find(case.subject).is_some_and(|(record, word)| {
            let news = News::of(Event::Race);
            self.change(case, record, word, news) == Applies::Changed
        })
    }

    /// Asks for a probe of what may be due for one.
    ///
    /// Lock-free: it asks again only after somebody else has changed the word.
    pub(crate) fn admit(&self, case: Case<'_>, record: &Link<Record>, mut word: Word) -> Admitted {
        if state::is_up_at_any_time(word, case.policy.rules()) {
            return Admitted::As(Verdict::UP);
        }
        let moment = self.moment(case);
        loop {
            let verdict = state::verdict(word, &moment);
            if verdict.state != State::ProbeDue {
                return Admitted::As(verdict);
            }
            match Record::apply(record, word, None, Event::Admit, &moment, self.gate()) {
                Applied::Changed {
                    before,
                    after,
                    holder,
                } => {
                    self.tell(case, record, before, after, None);
                    drop(holder);
                    return Admitted::Probe(Probe {
                        subject: case.subject,
                        incarnation: after.incarnation(),
                        lease: after.tick(),
                        began: moment.now.max(before.tick()),
                    });
                }
                // Somebody else was given it, or it came up. By now it may be due again, and that
                // is no leave to pass.
                Applied::Same => match record.word_if(case.subject.key) {
                    Some(now) => word = now,
                    None => return Admitted::As(Verdict::UP),
                },
                Applied::Gone => return Admitted::As(Verdict::UP),
            }
        }
    }

    /// The outcome of a probe.
    pub(crate) fn settle(&self, policy: &Policy, probe: Probe, outcome: Outcome) {
        let news = News::from_outcome(outcome, policy);
        let settled = match news.map(|news| news.event) {
            Some(Event::Success) => Settled::Success,
            Some(Event::RateLimited(span)) => Settled::RateLimited(span),
            Some(_) => Settled::Failure,
            None => Settled::Nothing,
        };
        let subject = probe.subject;
        if let Some((record, word)) = self.find(subject)
            && word.incarnation() == probe.incarnation
        {
            let news = News {
                cause: news.and_then(|news| news.cause),
                ..News::of(Event::Settle(probe.lease, settled))
            };
            self.change(Case { policy, subject }, record, word, news);
        }
    }

    /// An operator's word: one of the forced phases.
    pub(crate) fn force(&self, case: Case<'_>, phase: Phase) {
        self.happen(case, News::of(Event::Force(phase)), Charge::Pinned);
    }

    /// Changes the record of the address, if it has one.
    pub(crate) fn change_known(&self, case: Case<'_>, event: Event) {
        if let Some((record, word)) = self.find(case.subject) {
            self.change(case, record, word, News::of(event));
        }
    }

    pub(crate) fn import(&self, snapshot: &Snapshot, elapsed: Duration) -> Imported {
        let mut imported = Imported::default();
        for entry in &snapshot.entries {
            let case = self.own_case(self.subject(Key::of(&entry.address)));
            let Some(word) = entry.to_word(self.now(), elapsed) else {
                imported.left += 1;
                continue;
            };
            let charge = if word.phase().is_forced() {
                Charge::Pinned
            } else {
                Charge::Capped
            };
            let news = News {
                cause: entry.cause(),
                ..News::of(Event::Restore(word))
            };
            match self.happen(case, news, charge) {
                Applies::Changed => imported.taken += 1,
                Applies::Same | Applies::Gone => imported.left += 1,
                Applies::Refused => imported.refused += 1,
            }
        }
        imported
    }

    /// Exchanges the record's word and tells it.
    pub(crate) fn change(
        &self,
        case: Case<'_>,
        record: &Link<Record>,
        word: Word,
        news: News,
    ) -> Applies {
        let moment = self.moment(case);
        match Record::apply(record, word, news.ticket, news.event, &moment, self.gate()) {
            Applied::Gone => Applies::Gone,
            Applied::Same => Applies::Same,
            Applied::Changed {
                before,
                after,
                holder,
            } => {
                self.tell(case, record, before, after, news.cause);
                drop(holder);
                Applies::Changed
            }
        }
    }

    /// As `change`, for an address that may have no record, of what leaves anything to remember.
    fn happen(&self, case: Case<'_>, news: News, charge: Charge) -> Applies {
        while let Some((record, word)) = self.find(case.subject) {
            match self.change(case, record, word, news) {
                Applies::Gone => {}
                applies => return applies,
            }
        }
        self.happen_first(case, news, charge)
    }

    /// Tells the record's own memory and everybody who subscribes, once, what has changed.
    pub(super) fn tell(
        &self,
        case: Case<'_>,
        record: &Record,
        before: Word,
        after: Word,
        cause: Option<Cause>,
    ) {
        if let Some(cause) = cause {
            record.note_failure(after, cause);
        }
        let is_transition = before.generation() != after.generation();
        if !is_transition && is_suspect(before) == is_suspect(after) {
            return;
        }
        let at = self.elapsed();
        let moment = self.moment_at(case, Tick::at(at).max(after.tick()));
        let phase = if is_transition {
            state::told(after)
        } else {
            after.phase()
        };
        let change = Change {
            from: state::verdict(before, &moment).state,
            to: State::of_phase(phase),
            cause,
            evidence: evidence(before, after),
        };
        record.write_journal(change, after);
        if is_transition {
            self.hub.publish(Transition {
                address: case.subject.key.address(),
                from: change.from,
                to: change.to,
                cause,
                evidence: change.evidence,
                generation: after.generation(),
                life: record.life(after),
                at,
            });
        }
    }
}

fn is_suspect(word: Word) -> bool {
    matches!(word.phase(), Phase::Suspect | Phase::Raced)
}

/// How many results in a row led from `before` to `after`.
fn evidence(before: Word, after: Word) -> u8 {
    match (before.phase(), after.phase()) {
        // A probe's failure is one, whatever it stands for.
        (Phase::Probing, Phase::Down) => 1,
        (_, Phase::Down) => after.streak(),
        (Phase::Rising | Phase::Probing, Phase::Up) => before.streak().saturating_add(1),
        (Phase::Down, Phase::Up) => 1,
        _ => 0,
    }
}
