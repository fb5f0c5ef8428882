//! Why rates took servers out: a word knows that it was an outlier's, and not by which rule.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use risefall::{Effect, Outlier, Rule};

/// Why a server was ejected for what it did beside the others: the rule, as the configuration calls
/// it, and the numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ejection(Outlier);

/// The last ejection of each member, by address.
#[derive(Debug, Default)]
pub(super) struct Ejections(Mutex<HashMap<SocketAddr, Ejection>>);

impl Ejection {
    /// What the configuration calls the rule, in `[upstream.NAME.outliers]`.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self.0.rule {
            Rule::FailurePercent => "failures",
            Rule::SuccessRate => "deviations_milli",
            _ => "slow",
        }
    }
}

/// `an outlier by failures: 90 % of 120 requests failed, the limit is 85 %`
impl fmt::Display for Ejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let did = match self.0.rule {
            Rule::FailurePercent => "failed, the limit is",
            Rule::SuccessRate => "succeeded, the limit beside the others is",
            _ => "were slow, the limit is",
        };
        let (percent, limit) = (tenths(self.0.percent), tenths(self.0.limit));
        let (key, calls) = (self.key(), self.0.calls);
        write!(
            out,
            "an outlier by {key}: {percent} % of {calls} requests {did} {limit} %"
        )
    }
}

impl Ejections {
    /// Remembers it, if it took somebody out, or would have in a group that does not only observe.
    pub(super) fn note(&self, outlier: &Outlier) {
        if matches!(outlier.effect, Effect::Ejected | Effect::Observed) {
            self.known().insert(outlier.address, Ejection(*outlier));
        }
    }

    pub(super) fn of(&self, address: SocketAddr) -> Option<Ejection> {
        self.known().get(&address).copied()
    }

    /// Forgets those of who `is_member` no more.
    pub(super) fn tidy(&self, is_member: impl Fn(SocketAddr) -> bool) {
        self.known().retain(|&address, _| is_member(address));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<SocketAddr, Ejection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As precise as it is of use.
fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use risefall::{Cause, GroupPolicyBuilder, ManualClock, Outcome, Policy, Registry};

    use super::super::{Called, Evidence, Evidences, Found};
    use crate::plan::upstream::{Service, usual_group};

    const FAILED: Outcome = Outcome::Failed(Cause::BadGateway);

    /// What ten requests to each of three servers come to, of which the first fails or is late in
    /// six.
    fn judged(
        rules: impl Fn(GroupPolicyBuilder) -> GroupPolicyBuilder,
        bad: Outcome,
        late: Duration,
    ) -> (String, Option<Cause>) {
        let clock = Arc::new(ManualClock::new());
        let dials = Registry::builder().clock(Arc::clone(&clock) as _).build();
        let mut service = Service::by(Policy::builder().max_fails(255).build().unwrap());
        let group = usual_group().into_builder().min_volume(10).min_hosts(3);
        let group = group.success_rate(0, 5).failure_percent(0);
        service.group = rules(group).build().unwrap();
        let evidence: Arc<Evidence> = Evidences::default().get("api", &service, None, &dials);
        let addresses = [1, 2, 3].map(|port| std::net::SocketAddr::from(([10, 0, 0, 1], port)));
        let _presence = evidence.enter(Found {
            generation: 1,
            servers: Vec::new(),
            addresses: addresses.map(|address| (address, Called::of("api"))).into(),
            due: None,
        });
        assert!(evidence.sweep().is_empty());
        for nth in 0..10 {
            for (place, &address) in addresses.iter().enumerate() {
                let handle = evidence.handle(address).unwrap();
                let (outcome, took) = match place == 0 && nth % 5 < 3 {
                    true => (bad, late),
                    false => (Outcome::Success, Duration::ZERO),
                };
                handle.end(handle.admit().unwrap(), outcome, took);
            }
        }
        clock.advance(Duration::from_secs(2));
        assert_eq!(evidence.sweep().len(), 1);
        let handle = evidence.handle(addresses[0]).unwrap();
        let cause = handle.status().service.last_failure.unwrap().cause;
        let ejection = evidence.ejection(addresses[0], cause).unwrap();
        // What is held against it since is something else.
        assert_eq!(evidence.ejection(addresses[0], Cause::BadGateway), None);
        assert_eq!(evidence.ejection(addresses[1], cause), None);
        evidence.tidy(Instant::now());
        assert_eq!(evidence.ejection(addresses[0], cause), Some(ejection));
        (ejection.to_string(), Some(cause))
    }

    #[test]
    fn each_rule_is_told_by_its_key_with_what_it_looked_at() {
        let failures = judged(|group| group.failure_percent(50), FAILED, Duration::ZERO);
        let said = "an outlier by failures: 60 % of 10 requests failed, the limit is 50 %";
        assert_eq!(failures, (said.to_owned(), Some(Cause::Outlier)));
        let rate = judged(|group| group.success_rate(1000, 5), FAILED, Duration::ZERO);
        // Mean 80, deviation 28.3.
        let said = "an outlier by deviations_milli: 40 % of 10 requests succeeded, the limit beside \
                    the others is 51.7 %";
        assert_eq!(rate, (said.to_owned(), Some(Cause::Outlier)));
        let slow = Duration::from_millis(10);
        let late = Duration::from_millis(11);
        let slow = judged(|group| group.slow_calls(slow, 50), Outcome::Success, late);
        let said = "an outlier by slow: 60 % of 10 requests were slow, the limit is 50 %";
        assert_eq!(slow, (said.to_owned(), Some(Cause::Slow)));
    }
}
