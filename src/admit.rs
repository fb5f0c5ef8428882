//! Asking for admission, and what one is given: a permit to probe, an attempt to report.
//!
//! Both decide by their drop, so that no path of a program can forget them: whoever gives up early
//! blames nobody, whoever gives up on silence does.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::outcome::{Cause, Outcome};
use crate::policy::Policy;
use crate::record::{Record, Ticket};
use crate::shared::{Admitted, Case, Shared, Subject};
use crate::snapshot::State;
use crate::sync::Link;
use crate::word::Tick;

/// Whether an address may be used now, and on what terms.
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back"]
pub enum Admission {
    /// Go ahead.
    Pass,
    /// Its down time is over, and the caller is the one to try it. Nobody else does meanwhile.
    Probe(Permit),
    /// Not now.
    Deny {
        /// Why.
        state: State,
        /// When to ask again; `None` where only an operator can tell.
        retry_in: Option<Duration>,
    },
}

/// The right, and the duty, to try an address that was down.
///
/// Ends with [`Permit::end`], or by its drop: early that gives the permit back, to be offered to
/// the next caller at once; once the probe has been silent for `stall_after` it is a failure. A
/// permit that is leaked is offered again when its lease ends, and its result, should one come,
/// changes nothing any more.
#[must_use = "a permit that is dropped is given back"]
pub struct Permit {
    /// Boxed, so that an [`Admission`], which hardly ever holds one, stays small.
    granted: Box<Granted>,
}

struct Granted {
    shared: Arc<Shared>,
    policy: Arc<Policy>,
    probe: Probe,
    is_settled: bool,
}

/// Who is probed, under which lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) subject: Subject,
    pub(crate) incarnation: u64,
    /// When the lease began, which tells it from every other.
    pub(crate) lease: Tick,
    /// When this permit was given.
    pub(crate) began: Tick,
}

impl Admission {
    pub(crate) fn of(admitted: Admitted, shared: &Arc<Shared>, policy: &Arc<Policy>) -> Self {
        match admitted {
            Admitted::Probe(probe) => Self::Probe(Permit::new(shared, policy, probe)),
            Admitted::As(verdict) if verdict.state.is_down() => {
                let left = verdict.left.time();
                Self::Deny {
                    state: verdict.state,
                    retry_in: (!left.is_zero()).then_some(left),
                }
            }
            Admitted::As(_) => Self::Pass,
        }
    }
}

impl Permit {
    fn new(shared: &Arc<Shared>, policy: &Arc<Policy>, probe: Probe) -> Self {
        let granted = Granted {
            shared: Arc::clone(shared),
            policy: Arc::clone(policy),
            probe,
            is_settled: false,
        };
        Self {
            granted: Box::new(granted),
        }
    }

    /// The address to try.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.granted.probe.subject.key.address()
    }

    /// Tells how it went. A success counts towards `min_rises`; a failure that weighs anything
    /// takes the address down again, for longer; [`Outcome::Cancelled`] and
    /// [`Outcome::LocalFault`] give the permit back.
    ///
    /// If the lease has ended and another caller has one since, this changes nothing.
    ///
    /// # Progress
    ///
    /// Lock-free.
    pub fn end(mut self, outcome: Outcome) {
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: Outcome) {
        let granted = &mut *self.granted;
        granted.is_settled = true;
        granted
            .shared
            .settle(&granted.policy, granted.probe, outcome);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let granted = &*self.granted;
        if granted.is_settled {
            return;
        }
        let silent = granted.shared.now().since(granted.probe.began).time();
        self.settle(if silent >= granted.policy.stall_after() {
            Outcome::Failed(Cause::Stalled)
        } else {
            Outcome::Cancelled
        });
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.address()).finish()
    }
}

/// One use of an address, from its beginning to its outcome.
///
/// Ends with [`Attempt::end`], or by its drop: early that says nothing, after `stall_after` it is a
/// failure. A result counts only if the address's verdict is still the one under which the attempt
/// began: a straggler from before a trip neither prolongs it nor ends it.
#[must_use = "an attempt that is dropped early says nothing"]
pub struct Attempt<'a> {
    shared: &'a Shared,
    case: Case<'a>,
    /// A handle's own.
    record: Option<&'a Link<Record>>,
    ticket: Ticket,
    began: Duration,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        case: Case<'a>,
        record: Option<&'a Link<Record>>,
    ) -> Self {
        Self {
            shared,
            case,
            record,
            ticket: shared.ticket(case.subject, record),
            began: shared.elapsed(),
        }
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.case.subject.key.address()
    }

    /// How long ago it began, on the registry's clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.shared.elapsed().saturating_sub(self.began)
    }

    /// Tells how it went. The time that a success took is what the address's usual connect time
    /// is learnt from.
    ///
    /// # Progress
    ///
    /// Lock-free, and for a success of a healthy address wait-free; the first failure of an
    /// address may take a shard lock, on which no reader and no success ever waits.
    pub fn end(self, outcome: Outcome) {
        self.settle(outcome);
        std::mem::forget(self);
    }

    fn settle(&self, outcome: Outcome) {
        self.shared
            .end(self.case, self.record, self.ticket, outcome, || {
                Some(self.elapsed())
            });
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.elapsed() >= self.case.policy.stall_after() {
            self.settle(Outcome::Failed(Cause::Stalled));
        }
    }
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("address", &self.address())
            .field("elapsed", &self.elapsed())
            .finish()
    }
}
