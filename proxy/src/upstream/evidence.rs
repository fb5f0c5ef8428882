//! What a group's servers do once they are reached, as evidence against them.
//!
//! A dial says that somebody listens there; whether the service works is said by what it answers.
//! That is each group's own to judge: one address may serve two groups, well the one and badly the
//! other. So a group has two registries beside that of the dials: a word for what **traffic** met
//! and a word for what **checks** found. A server is used when no word says down, and each word is
//! cleared only by what set it.
//!
//! The traffic's word recovers by probes: when its time is over, one request at a time may try.
//! The checks' word recovers by checks alone. Every failing check renews it, so its evidence need
//! only outlast the pace of the checks, and it does so by far; it ends in the end, so that a
//! checker that has stopped does not hold a server down for ever.
//!
//! All workers share the evidence, and it stays through reloads for as long as the group's name
//! does: a plan with other thresholds reads the same words.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use risefall::{
    Admission, Cause, Endpoint, Outcome, Permit, Policy, Recovery, Registry, State, Status, Weight,
};

use crate::plan::upstream::{Check, Service};

/// The evidence of all groups, by name. One for the process; asked only when plans change.
#[derive(Debug, Default)]
pub struct Evidences(Mutex<HashMap<String, Arc<Evidence>>>);

/// The evidence of one group, read by the thresholds of one plan.
#[derive(Debug)]
pub struct Evidence {
    traffic: Registry,
    checks: Registry,
    is_checked: bool,
}

/// One server as its group judges it.
#[derive(Clone, Debug)]
pub struct ServiceHandle {
    traffic: Endpoint,
    /// `None` while nothing checks it.
    checks: Option<Endpoint>,
}

/// By what right a request is sent to a server: what its outcome is told by.
///
/// Dropped untold it says nothing, whatever time has passed: a client that gives up late is not
/// the server's fault.
#[derive(Debug)]
#[must_use = "an outcome that is not told is none"]
pub enum Right {
    /// Nothing is held against the server.
    Usual,
    /// It was down, and this request tries it.
    Probe(Probe),
    /// All are down, and the policy would rather ask one than none.
    Open,
}

/// The permit to try a server that was down.
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back"]
pub struct Probe(Option<Permit>);

impl Evidences {
    /// The evidence of the group of that name, by the thresholds of `service` and `check`: the same
    /// value for as long as they are the same.
    #[must_use]
    pub fn get(&self, name: &str, service: &Service, check: Option<&Check>) -> Arc<Evidence> {
        let traffic = traffic_policy(&service.policy);
        let checks = check.map(checks_policy);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let evidence = match known.get(name) {
            Some(known) if known.is_judged_by(&traffic, checks.as_ref()) => {
                return Arc::clone(known);
            }
            Some(known) => Arc::new(known.judged_by(traffic, checks)),
            None => Arc::new(Evidence::new(traffic, checks)),
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

    /// Forgets the groups that no plan has any more.
    pub fn retain(&self, is_wanted: impl Fn(&str) -> bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|name, _| is_wanted(name));
    }
}

impl Evidence {
    fn new(traffic: Policy, checks: Option<Policy>) -> Self {
        Self {
            traffic: registry(traffic),
            is_checked: checks.is_some(),
            checks: registry(checks.unwrap_or_default()),
        }
    }

    fn judged_by(&self, traffic: Policy, checks: Option<Policy>) -> Self {
        Self {
            traffic: self.traffic.with_policy(traffic),
            is_checked: checks.is_some(),
            checks: match checks {
                Some(checks) => self.checks.with_policy(checks),
                None => self.checks.clone(),
            },
        }
    }

    fn is_judged_by(&self, traffic: &Policy, checks: Option<&Policy>) -> bool {
        self.traffic.policy() == traffic && self.checks().map(Registry::policy) == checks
    }

    /// A handle to what is known of the server at `address`.
    #[must_use]
    pub fn handle(&self, address: SocketAddr) -> ServiceHandle {
        ServiceHandle {
            traffic: self.traffic.endpoint(address),
            checks: self.checks().map(|checks| checks.endpoint(address)),
        }
    }

    /// What traffic met.
    #[must_use]
    pub fn traffic(&self) -> &Registry {
        &self.traffic
    }

    /// What checks found; `None` while the group has none.
    #[must_use]
    pub fn checks(&self) -> Option<&Registry> {
        self.is_checked.then_some(&self.checks)
    }
}

/// Only the same evidence, read in the same way, is equal.
impl PartialEq for Evidence {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl ServiceHandle {
    /// Whether either word says down. Two loads, and no clock, while nothing is held against the
    /// server.
    #[inline]
    #[must_use]
    pub fn is_down(&self) -> bool {
        let checks = self.checks.as_ref();
        self.traffic.is_fall_down() || checks.is_some_and(Endpoint::is_fall_down)
    }

    /// Asks to send one request there; `None` if that must not be now.
    pub fn admit(&self) -> Option<Right> {
        if self.checks.as_ref().is_some_and(Endpoint::is_fall_down) {
            return None;
        }
        match self.traffic.try_admit() {
            Admission::Pass => Some(Right::Usual),
            Admission::Probe(permit) => Some(Right::Probe(Probe(Some(permit)))),
            Admission::Deny { .. } => None,
        }
    }

    /// Tells how the request went that was sent by `right`.
    ///
    /// A success is best told when the answer is whole: a server that begins every answer and ends
    /// none would never have two failures in a row. A probe's is told when the answer begins, as
    /// others wait for it.
    pub fn end(&self, right: Right, outcome: Outcome) {
        match right {
            Right::Probe(mut probe) => probe.end(outcome),
            Right::Usual if self.is_stale(outcome) => {}
            Right::Usual | Right::Open => self.traffic.record(outcome),
        }
    }

    /// Whether `outcome` is that of a request that was sent before the server went down: of
    /// hundreds under way some still end well and some badly, and neither is to undo the verdict
    /// or to prolong it.
    fn is_stale(&self, outcome: Outcome) -> bool {
        match outcome {
            // The usual case, and no more than one load.
            Outcome::Success => self.traffic.is_fall_down(),
            _ => !matches!(self.traffic.status().state, State::Up | State::Suspect),
        }
    }

    /// What is held against it: by traffic, and by checks.
    #[must_use]
    pub fn status(&self) -> (Status, Option<Status>) {
        let checks = self.checks.as_ref().map(Endpoint::status);
        (self.traffic.status(), checks)
    }
}

impl Probe {
    fn end(&mut self, outcome: Outcome) {
        if let Some(permit) = self.0.take() {
            permit.end(outcome);
        }
    }
}

/// A permit that is dropped after a while would be a failure: right for a dial, which is silent
/// only by the server's fault, and wrong for a request.
impl Drop for Probe {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled);
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

/// `fall` failures in a row take down, `rise` successes in a row bring up, and nothing else does
/// while checks are made.
fn checks_policy(check: &Check) -> Policy {
    let round = check.interval.saturating_add(check.timeout);
    let lasts = round.saturating_mul(ROUNDS);
    let policy = Policy::builder()
        .max_fails(check.fall.max(1))
        .min_rises(check.rise.max(1))
        .fail_timeout(lasts.clamp(EVIDENCE_LEAST, EVIDENCE_MOST))
        // No permits: nobody but the checker records here.
        .recovery(Recovery::Open)
        .weight(Cause::BadGateway, Weight::Count)
        .weight(Cause::ServerError, Weight::Count)
        .weight(Cause::Slow, Weight::Count);
    policy.build().unwrap_or_default()
}

fn registry(policy: Policy) -> Registry {
    // Servers are pinned by their handles and free of the capacity.
    Registry::builder()
        .policy(policy)
        .capacity(CAPACITY)
        .build()
}

/// Addresses of one group without a handle, for what ends after its server has gone.
const CAPACITY: usize = 1024;
/// Checks that may be left out, or wait for their turn, before what they found is forgotten.
const ROUNDS: u32 = 10;
/// With all checks of the process in a row that is long enough.
const EVIDENCE_LEAST: Duration = Duration::from_secs(10 * 60);
/// What a policy can hold.
const EVIDENCE_MOST: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::upstream::CheckKind;

    fn service(fails: u8) -> Service {
        let policy = Policy::builder()
            .max_fails(fails)
            .min_rises(1)
            .fail_timeout(Duration::from_millis(4))
            .recovery(Recovery::PROBE);
        Service {
            policy: Arc::new(policy.build().unwrap()),
            statuses: Vec::new(),
        }
    }

    fn check() -> Check {
        Check {
            kind: CheckKind::Tcp,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            fall: 3,
            rise: 2,
        }
    }

    fn address() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 80))
    }

    /// Evidence on a clock that moves only when told to.
    fn by_hand(fails: u8) -> (Evidence, Arc<risefall::ManualClock>) {
        let clock = Arc::new(risefall::ManualClock::new());
        let made = |policy| {
            let registry = Registry::builder().policy(policy);
            registry.clock(Arc::clone(&clock) as _).build()
        };
        let evidence = Evidence {
            traffic: made(traffic_policy(&service(fails).policy)),
            checks: made(checks_policy(&check())),
            is_checked: true,
        };
        (evidence, clock)
    }

    const FAILED: Outcome = Outcome::Failed(Cause::BadGateway);

    #[test]
    fn after_its_time_one_request_at_a_time_tries_it() {
        let (evidence, clock) = by_hand(2);
        let handle = evidence.handle(address());
        for _ in 0..2 {
            let right = handle.admit().unwrap();
            handle.end(right, FAILED);
        }
        assert!(handle.is_down());
        assert!(handle.admit().is_none());
        clock.advance(Duration::from_millis(20));
        assert!(!handle.is_down());
        let probe = handle.admit().unwrap();
        assert!(matches!(probe, Right::Probe(_)));
        assert!(handle.is_down() && handle.admit().is_none());
        // A client that gives up, however late, gives the permit back.
        clock.advance(Duration::from_secs(5));
        drop(probe);
        let probe = handle.admit().unwrap();
        handle.end(probe, Outcome::Success);
        assert!(!handle.is_down());
        assert!(matches!(handle.admit(), Some(Right::Usual)));
    }

    #[test]
    fn what_was_under_way_when_it_went_down_changes_nothing() {
        let (evidence, clock) = by_hand(1);
        let handle = evidence.handle(address());
        let rights: Vec<_> = (0..5).map(|_| handle.admit().unwrap()).collect();
        handle.end(Right::Usual, FAILED);
        let status = handle.status().0;
        assert_eq!((status.state, status.failures), (State::Down, 1));
        for (nth, right) in rights.into_iter().enumerate() {
            let outcome = if nth % 2 == 0 {
                Outcome::Success
            } else {
                FAILED
            };
            handle.end(right, outcome);
        }
        assert_eq!(handle.status().0.state, State::Down);
        assert_eq!(handle.status().0.failures, 1);
        clock.advance(Duration::from_millis(20));
        handle.end(Right::Usual, FAILED);
        assert_eq!(handle.status().0.state, State::ProbeDue);
        // Who was sent there because all are down does count.
        handle.end(Right::Open, Outcome::Success);
        assert_eq!(handle.status().0.state, State::Up);
    }

    #[test]
    fn each_word_takes_it_down_alone_and_clears_itself_alone() {
        let (evidence, _) = by_hand(3);
        let handle = evidence.handle(address());
        let checks = evidence.checks().unwrap().endpoint(address());
        for _ in 0..3 {
            checks.record(Outcome::Failed(Cause::ServerError));
        }
        assert!(handle.is_down() && handle.admit().is_none());
        for _ in 0..9 {
            handle.end(Right::Usual, Outcome::Success);
        }
        assert!(handle.is_down());
        checks.record(Outcome::Success);
        assert!(handle.is_down());
        checks.record(Outcome::Success);
        assert!(!handle.is_down());
    }

    #[test]
    fn only_checks_bring_back_what_checks_took_down_while_they_go_on() {
        let (evidence, clock) = by_hand(3);
        let checks = evidence.checks().unwrap().endpoint(address());
        for _ in 0..400 {
            checks.record(Outcome::Failed(Cause::TimedOut));
            clock.advance(Duration::from_secs(60));
        }
        assert!(checks.is_fall_down());
        // A success and then a failure: two in a row are what it takes.
        checks.record(Outcome::Success);
        checks.record(Outcome::Failed(Cause::TimedOut));
        checks.record(Outcome::Success);
        assert!(checks.is_fall_down());
        // A checker that has stopped says nothing in the end.
        clock.advance(EVIDENCE_LEAST + Duration::from_secs(1));
        assert!(!checks.is_fall_down());
    }

    #[test]
    fn evidence_stays_through_plans_while_the_name_does() {
        let evidences = Evidences::default();
        let first = evidences.get("api", &service(3), None);
        assert!(Arc::ptr_eq(
            &first,
            &evidences.get("api", &service(3), None)
        ));
        first.traffic().record(address(), FAILED);
        assert!(first.checks().is_none());
        let strict = evidences.get("api", &service(1), Some(&check()));
        assert_ne!(first, strict);
        assert_eq!(strict.traffic().status(&address()).failures, 1);
        assert_eq!(strict.checks().unwrap().policy().max_fails(), 3);
        let other = evidences.get("web", &service(3), None);
        assert_eq!(other.traffic().status(&address()).failures, 0);
        evidences.retain(|name| name == "web");
        let anew = evidences.get("api", &service(1), None);
        assert_eq!(anew.traffic().status(&address()).failures, 0);
    }
}
