//! What a group's servers do once they are reached, as evidence against them.
//!
//! A dial says that somebody listens there; whether the service works is said by what it answers.
//! That is each group's own to judge: one address may serve two groups, well the one and badly the
//! other. So a server has two words beside that of its dials: one for what **traffic** met and one
//! for what **checks** found. A server is used when no word says down, and each word is cleared only
//! by what set it.
//!
//! The traffic's word is that of a [`risefall::Group`]: what may be left out at once, what is worse
//! than the others, and how much those get who come back, needs the whole group. It recovers by
//! probes: when its time is over, one request at a time may try. The checks' word recovers by
//! checks alone. Every failing check renews it, so its evidence need only outlast the pace of the
//! checks, and it does so by far; it ends in the end, so that a checker that has stopped does not
//! hold a server down for ever.
//!
//! All workers share the evidence, and it stays through reloads for as long as the group's name
//! does: a plan with other thresholds reads the same words. Members are the servers that any worker
//! has found ([`Presence`]); what was held against one that nobody has any more is forgotten.

mod ejections;
mod presence;
mod weights;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use risefall::check::Start;
use risefall::{
    Cause, Group, GroupPolicy, MemberStatus, Outcome, Outlier, Policy, Registry, Weight,
};

pub use self::ejections::Ejection;
use self::ejections::Ejections;
use self::presence::Present;
pub use self::presence::{Called, Found, Presence};
use self::weights::{OwnWeight, Weights};
use crate::plan::Check;
use crate::plan::upstream::Service;

/// The evidence of all groups, by name. One for the process; asked only when plans change.
#[derive(Debug, Default)]
pub struct Evidences(Mutex<HashMap<String, Arc<Evidence>>>);

/// The evidence of one group, read by the thresholds of one plan.
#[derive(Debug)]
pub struct Evidence {
    words: Arc<Words>,
    terms: Terms,
    /// What a server is before its first check has ended; `None` while there are none.
    start: Option<Start>,
}

/// What plans have in common.
#[derive(Debug)]
struct Words {
    group: Group,
    present: Present,
    weights: Weights,
    ejections: Ejections,
}

/// By what words are read.
#[derive(Clone, Debug)]
struct Terms {
    policy: GroupPolicy,
    dials: Registry,
    checks: Registry,
}

/// One server as its group judges it.
#[derive(Clone, Debug)]
pub struct ServiceHandle {
    member: Arc<risefall::Member>,
    weight: OwnWeight,
}

/// By what right a request is sent to a server: what its outcome is told by.
///
/// Dropped untold it says nothing, whatever time has passed: a client that gives up late is not
/// the server's fault.
#[derive(Debug)]
#[must_use = "an outcome that is not told is none"]
pub struct Right(Option<risefall::Right>);

impl Evidences {
    /// The evidence of the group of that name, by the thresholds of `service` and `check`: the same
    /// value for as long as they are the same. `dials` is who judges its dials, and by what.
    #[must_use]
    pub fn get(
        &self,
        name: &str,
        service: &Service,
        check: Option<&Check>,
        dials: &Registry,
    ) -> Arc<Evidence> {
        let policy = service.group.clone().into_builder();
        let policy = policy.service(traffic_policy(&service.policy)).build();
        // It was valid, and what is said of answers cannot make it otherwise.
        let policy = policy.unwrap_or_default();
        let (checks, start) = (
            check.map(Check::policy),
            check.map(|check| check.thresholds.start),
        );
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let evidence = match known.get(name) {
            Some(known)
                if known.start == start && known.is_judged_by(&policy, checks.as_ref(), dials) =>
            {
                return Arc::clone(known);
            }
            Some(known) => Arc::new(known.judged_by(policy, (checks.as_ref(), start), dials)),
            None => Arc::new(Evidence::new(policy, (checks, start), dials)),
        };
        known.insert(name.to_owned(), Arc::clone(&evidence));
        evidence
    }

    /// The evidence of the group of that name, if there is any yet.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<Evidence>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned()
    }

    /// All that there is, by name.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Arc<Evidence>)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = known.iter();
        all.map(|(name, evidence)| (name.clone(), Arc::clone(evidence)))
            .collect()
    }

    /// Forgets the groups that no plan has any more.
    pub fn retain(&self, is_wanted: impl Fn(&str) -> bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|name, _| is_wanted(name));
    }
}

impl Evidence {
    fn new(
        policy: GroupPolicy,
        (checks, start): (Option<Policy>, Option<Start>),
        dials: &Registry,
    ) -> Self {
        let terms = Terms {
            policy,
            dials: dials.clone(),
            checks: registry(checks.unwrap_or_default(), dials),
        };
        Self::by(terms, start)
    }

    fn by(terms: Terms, start: Option<Start>) -> Self {
        let group = Group::builder(&terms.dials).checks(&terms.checks);
        let words = Words {
            group: group.policy(terms.policy.clone()).build(),
            present: Present::default(),
            weights: Weights::default(),
            ejections: Ejections::default(),
        };
        words.set_unchecked(unchecked(&terms, start));
        Self {
            words: Arc::new(words),
            terms,
            start,
        }
    }

    fn judged_by(
        &self,
        policy: GroupPolicy,
        (checks, start): (Option<&Policy>, Option<Start>),
        dials: &Registry,
    ) -> Self {
        let group = &self.words.group;
        let terms = Terms {
            policy,
            dials: dials.clone(),
            checks: match checks {
                Some(checks) => self.terms.checks.with_policy(checks.clone()),
                None => self.terms.checks.clone(),
            },
        };
        group.set_registries(&terms.dials, Some(&terms.checks));
        group.set_policy(terms.policy.clone());
        self.words.set_unchecked(unchecked(&terms, start));
        Self {
            words: Arc::clone(&self.words),
            terms,
            start,
        }
    }

    fn is_judged_by(
        &self,
        policy: &GroupPolicy,
        checks: Option<&Policy>,
        dials: &Registry,
    ) -> bool {
        self.terms.policy == *policy
            && self.terms.dials.policy() == dials.policy()
            && self.checks().map(Registry::policy) == checks
    }

    /// Makes what a worker has found members, beside what others have, for as long as the value is
    /// kept.
    pub fn enter(&self, found: Found) -> Presence {
        Presence::begin(&self.words, found)
    }

    /// Leaves out at `now` what nobody has asked for any more. To be called now and then.
    pub fn tidy(&self, now: Instant) {
        self.words.tidy(now);
        self.words.weights.tidy();
        let members = self.words.group.members();
        (self.words.ejections).tidy(|address| members.find(&address).is_some());
    }

    /// Judges its servers by what they did of late beside each other, if it is time to. Who is worse
    /// than may be.
    pub fn sweep(&self) -> Vec<Outlier> {
        let group = self.group();
        let outliers = group.sweep(group.now()).outliers;
        for outlier in &outliers {
            self.words.ejections.note(outlier);
        }
        outliers
    }

    /// Why rates have taken the server at `address` out, if that was its last failure and is known:
    /// `cause` is that of the failure.
    #[must_use]
    pub fn ejection(&self, address: SocketAddr, cause: Cause) -> Option<Ejection> {
        let is_by_rates = matches!(cause, Cause::Outlier | Cause::Slow);
        self.words.ejections.of(address).filter(|_| is_by_rates)
    }

    /// Notes that the server at `address` wants so much of its weight, in percent: 100 unless it has
    /// said otherwise.
    pub fn note_weight(&self, address: SocketAddr, percent: u8) {
        self.words.weights.note(address, percent);
    }

    /// Its members, whichever worker has found them, with what the plan calls them.
    #[must_use]
    pub fn found(&self) -> Vec<(SocketAddr, Called)> {
        self.words.found()
    }

    /// A handle to what is known of the server at `address`; `None` if it is no member.
    #[must_use]
    pub fn handle(&self, address: SocketAddr) -> Option<ServiceHandle> {
        let members = self.words.group.members();
        Some(ServiceHandle {
            member: Arc::clone(members.find(&address)?),
            weight: self.words.weights.of(address),
        })
    }

    /// Its servers, judged together by what traffic met.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.words.group
    }

    /// What checks found; `None` while the group has none.
    #[must_use]
    pub fn checks(&self) -> Option<&Registry> {
        self.start.map(|_| &self.terms.checks)
    }
}

/// Only the same evidence, read in the same way, is equal.
impl PartialEq for Evidence {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl ServiceHandle {
    /// Whether a word says down. Three loads, and no clock, while nothing is held against the
    /// server.
    #[inline]
    #[must_use]
    pub fn is_down(&self) -> bool {
        !self.member.is_eligible()
    }

    /// Asks to send one request there; `None` if that must not be now.
    pub fn admit(&self) -> Option<Right> {
        self.member.admit().ok().map(|right| Right(Some(right)))
    }

    /// The right to send one whatever the words say.
    pub fn admit_anyway(&self) -> Right {
        Right(Some(self.member.admit_anyway()))
    }

    /// Whether one that the balancer would give it is to go there: less often while it warms up, and
    /// when it wants less.
    #[inline]
    #[must_use]
    pub fn takes_its_share(&self) -> bool {
        let share = self.share();
        share >= WHOLE || fastrand::u32(..WHOLE) < share
    }

    /// Whether it wants any requests at all, by its own account.
    #[must_use]
    pub fn wants_any(&self) -> bool {
        self.weight.percent() > 0
    }

    /// The part of its weight that it gets now, in percent.
    #[must_use]
    pub fn share_percent(&self) -> u8 {
        let percent = (self.share() * 100).div_ceil(WHOLE);
        u8::try_from(percent).unwrap_or(100)
    }

    /// The same in [`WHOLE`]ths.
    #[inline]
    fn share(&self) -> u32 {
        let share = self.member.share();
        match self.weight.percent() {
            100 => share,
            percent => share * u32::from(percent) / 100,
        }
    }

    /// Tells how the request went that was sent by `right`, and how long its answer took to begin.
    ///
    /// A success is best told when the answer is whole: a server that begins every answer and ends
    /// none would never have two failures in a row. A probe's is told when the answer begins, as
    /// others wait for it. What was sent before the server went down changes nothing then.
    pub fn end(&self, right: Right, outcome: Outcome, took: Duration) {
        if let Some(right) = right.0 {
            self.member.end(right, outcome, took);
        }
    }

    /// What is held against it, word by word. Reads the clock.
    #[must_use]
    pub fn status(&self) -> MemberStatus {
        self.member.status()
    }
}

impl Right {
    /// That of a server whose dials alone are judged.
    pub const DIALS: Self = Self(None);

    /// Whether it is to try a server that was down: others wait for its outcome.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.0.as_ref().is_some_and(risefall::Right::is_probe)
    }
}

/// A server's answers count here, which they do not for dials.
fn traffic_policy(policy: &Policy) -> Policy {
    let causes = [Cause::BadGateway, Cause::ServerError, Cause::Slow];
    let ignored = causes.into_iter().filter(|&cause| {
        // What the operator has weighed stays as it is.
        policy.weight(cause) == Weight::Ignore
    });
    let builder = ignored.fold(policy.clone().into_builder(), |builder, cause| {
        builder.weight(cause, Weight::Count)
    });
    // It was valid, and weights cannot make it otherwise.
    builder.build().unwrap_or_else(|_| policy.clone())
}

/// Where it is noted of servers that no check has ended yet, if they are not to be used before: one
/// note is enough to take them down.
fn unchecked(terms: &Terms, start: Option<Start>) -> Option<Registry> {
    (start == Some(Start::NotEligible)).then(|| {
        let policy = terms.checks.policy().clone().into_builder();
        let policy = policy.weight(Cause::Reported, Weight::Trip).build();
        // It was valid, and weights cannot make it otherwise.
        let policy = policy.unwrap_or_else(|_| terms.checks.policy().clone());
        terms.checks.with_policy(policy)
    })
}

/// On the clock of the dials, which a group compares it with.
fn registry(policy: Policy, dials: &Registry) -> Registry {
    // Servers are pinned by their handles and free of the capacity.
    Registry::builder()
        .policy(policy)
        .capacity(CAPACITY)
        .clock(Arc::clone(dials.clock()))
        .build()
}

/// The whole of a server's weight.
const WHOLE: u32 = risefall::Member::WHOLE;
/// Addresses of one group without a handle, for what ends after its server has gone.
const CAPACITY: usize = 1024;

#[cfg(test)]
mod tests;
