//! What a finding means: for the word of whoever subscribed, for dials, and for when to look again.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::{Start, Subscriber};
use crate::check::agent::{AgentReport, Availability};
use crate::check::definition::Timing;
use crate::check::report::{Failure, Finding, LastCheck, Verdict, Way};
use crate::check::standing::Standing;
use crate::endpoint::Endpoint;
use crate::error::PolicyError;
use crate::outcome::{Cause, Outcome, Weight};
use crate::policy::Policy;
use crate::snapshot::State;

/// What is known of a word beside itself. Two subscribers have the same one while one takes over
/// from the other.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) users: usize,
    pub(super) is_pending: bool,
    /// What holds before the first check, for the newest subscriber.
    pub(super) start: Start,
    pub(super) standing: Arc<Standing>,
    /// The field by which the server speaks for itself, of the newest subscriber.
    pub(super) heard: Option<HeaderName>,
}

impl Word {
    pub(super) fn take(&mut self, subscriber: &Subscriber, finding: &Finding) {
        if let Some(Ok(report)) = &finding.agent {
            self.hear(&subscriber.word, report);
        }
        if self.is_drained() {
            // The word is held down; what is found meanwhile is in the report alone.
            self.is_pending = false;
            return;
        }
        let outcome = match &finding.result {
            _ if finding.is_said_down() => Outcome::Failed(Cause::ServerError),
            Ok(()) => Outcome::Success,
            Err(failure) => failure.outcome(),
        };
        if outcome == Outcome::LocalFault {
            return;
        }
        let is_first = std::mem::take(&mut self.is_pending) || self.is_held(&subscriber.word);
        // The first result is the verdict, and so is what the server says of itself.
        match is_first || finding.is_said_down() {
            true => subscriber.at_once.record(outcome),
            false => subscriber.word.record(outcome),
        }
    }

    /// Takes what the server says of itself. That it wants no new work stands in the word, where
    /// whoever chooses looks; once it is ready again it is judged anew, by this very finding.
    fn hear(&mut self, word: &Endpoint, report: &AgentReport) {
        let was_drained = self.is_drained();
        self.standing.write(report);
        match (was_drained, self.is_drained()) {
            (false, true) => word.drain(),
            (true, false) => {
                word.release();
                self.is_pending = true;
            }
            _ => {}
        }
    }

    /// From now on it is heard by another field, or by none. What it said by the old one it could not
    /// take back: it is forgotten.
    pub(super) fn hear_by(&mut self, heard: Option<HeaderName>, word: &Endpoint) {
        self.heard = heard;
        self.hear(
            word,
            &AgentReport {
                weight_percent: Some(100),
                availability: Some(Availability::Ready),
                ..AgentReport::default()
            },
        );
    }

    /// Whether the word is down for nothing but that no check has ended yet.
    pub(super) fn is_held(&self, word: &Endpoint) -> bool {
        if self.start != Start::NotEligible {
            return false;
        }
        let status = word.status();
        let cause = status.last_failure.map(|last| last.cause);
        status.state.is_down() && cause == Some(Cause::Reported)
    }

    fn is_drained(&self) -> bool {
        self.standing.read().1 != Availability::Ready
    }

    /// What is held of the server. While it is drained, what the last check found.
    pub(super) fn verdict(&self, subscriber: &Subscriber, state: State) -> Verdict {
        let is_down = match self.is_drained() {
            true => subscriber.has_failed(),
            false if self.is_pending => return Verdict::Pending,
            false => state.is_down(),
        };
        if is_down { Verdict::Down } else { Verdict::Up }
    }
}

impl Subscriber {
    fn has_failed(&self) -> bool {
        self.last.as_ref().is_some_and(LastCheck::is_failed)
    }
}

impl Finding {
    /// Of a check that nobody told of in time.
    pub(super) fn lost() -> Self {
        Self {
            result: Err(Failure::Local("nobody told how it ended".to_owned())),
            agent: None,
            way: Way::Unknown,
            took: Duration::ZERO,
        }
    }
}

impl LastCheck {
    pub(super) fn of(finding: &Finding, at: Duration) -> Self {
        Self {
            result: finding.result.clone(),
            agent_error: match &finding.agent {
                Some(Err(error)) => Some(error.clone()),
                _ => None,
            },
            at,
            took: finding.took,
        }
    }
}

/// As `policy`, but one result is enough. A failure counts as many as it takes, so that whoever
/// reads by the policy sees it.
pub(super) fn at_once(policy: &Policy) -> Result<Policy, PolicyError> {
    let builder = policy.clone().into_builder().min_rises(1);
    let causes = Cause::ALL.into_iter();
    let builder = causes.fold(builder, |builder, cause| {
        builder.weight(cause, Weight::Trip)
    });
    builder.build()
}

/// A check says something of the service, in a word of its own. But to ask it connects, and that is
/// a dial like any other. One that fails is told while dials may be made, so that a verdict is not
/// prolonged by checks alone; one that is answered, while something is held against the address, so
/// that it comes back without a client who tries it. A healthy address is not written to.
///
/// A check that has less time than a dial must be silent for to be a failure has given up early, and
/// says as much as anybody who does.
///
/// It was one dial, however many subscribers judge it: each record is told once, by the first of
/// them for whom it matters.
pub(super) fn tell_dials<'a>(dials: impl Iterator<Item = &'a Endpoint>, finding: &Finding) {
    let mut told = Vec::new();
    for dial in dials {
        if !told.contains(&dial.id()) && tell_dial(dial, finding) {
            told.push(dial.id());
        }
    }
}

/// Whether there was something to tell.
fn tell_dial(dial: &Endpoint, finding: &Finding) -> bool {
    match finding.way {
        Way::Failed(Cause::TimedOut) if finding.took < dial.policy().stall_after() => false,
        Way::Failed(cause) if !dial.is_fall_down() => {
            dial.record_failure(cause);
            true
        }
        Way::Connected => match dial.status().state {
            // Failures in a row of dials that reached somebody else are not for checks to clear.
            State::Up | State::ForcedUp => false,
            _ => {
                dial.add_rise_up();
                true
            }
        },
        _ => false,
    }
}

/// When the next check is wanted by one subscriber.
pub(super) fn wanted(timing: &Timing, subscriber: &Subscriber, is_pending: bool) -> Duration {
    let status = subscriber.word.status();
    let is_down = match status.state {
        State::Drained => subscriber.has_failed(),
        state => state.is_down(),
    };
    let is_changing = match is_down {
        true => status.successes > 0,
        false => status.failures > 0,
    };
    match (is_pending || is_changing, is_down) {
        (true, _) => timing.fast_interval(),
        (false, true) => timing.down_interval(),
        (false, false) => timing.interval(),
    }
}
