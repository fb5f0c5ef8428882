//! When an address is down, and for how long: checked on construction, so that no rule ever meets
//! a threshold of zero or a span the record's clock cannot hold.

mod builder;

use std::time::Duration;

pub use self::builder::PolicyBuilder;
use crate::outcome::{Cause, Weight};
use crate::state::{Probes, Rules};
use crate::word::whole_ticks;

/// Thresholds and deadlines of a registry. Valid by construction.
///
/// The default is the classic one: 3 failures in a row take an address down for 60 s after the
/// last of them, 2 successes in a row bring it back before that, and then everybody may try again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    max_fails: u8,
    min_rises: u8,
    fail_timeout: Duration,
    max_fail_timeout: Duration,
    forget_after: Duration,
    connect_timeout: Duration,
    dial_timeout: Duration,
    attempt_delay: Duration,
    suspect_after: Duration,
    stall_after: Duration,
    recovery: Recovery,
    fail_open: bool,
    weights: Weights,
    /// The thresholds above in ticks.
    rules: Rules,
}

/// What happens when a down address has served its time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Recovery {
    /// Everybody may dial again: the classic rule. A dead server costs `max_fails` failures, or as
    /// many as there are callers at that moment, each `fail_timeout` anew.
    #[default]
    Open,
    /// A few may try it, and the others wait for their verdict. `min_rises` successful probes
    /// bring it up; one that fails takes it down again, for twice as long.
    Probe {
        /// Probes on their way at once: 1 to 7.
        permits: u8,
        /// How long a probe may take before it is given up for lost and another is sent: 4 ms to
        /// 24 h. Longer than the connect timeout, or a slow answer comes too late to count.
        lease: Duration,
    },
}

impl Recovery {
    /// One probe at a time, each with a lease of 10 s.
    pub const PROBE: Self = Self::Probe {
        permits: 1,
        lease: Duration::from_secs(10),
    };
}

/// What each cause weighs: two bits each, at twice the cause's number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Weights(u32);

impl Weights {
    fn get(self, cause: Cause) -> Weight {
        match self.0 >> (2 * cause.to_bits()) & 0b11 {
            0 => Weight::Ignore,
            1 => Weight::Count,
            _ => Weight::Trip,
        }
    }

    fn with(self, cause: Cause, weight: Weight) -> Self {
        let bits = match weight {
            Weight::Ignore => 0,
            Weight::Count => 1,
            Weight::Trip => 2,
        };
        let at = 2 * cause.to_bits();
        Self(self.0 & !(0b11 << at) | bits << at)
    }
}

impl Default for Weights {
    fn default() -> Self {
        let counts = |cause: &Cause| {
            !matches!(
                cause,
                Cause::BadGateway
                    | Cause::ServerError
                    | Cause::Slow
                    | Cause::RateLimited
                    | Cause::Outlier
            )
        };
        Cause::ALL
            .into_iter()
            .filter(counts)
            .fold(Self(0), |weights, cause| weights.with(cause, Weight::Count))
    }
}

impl Policy {
    /// Starts from the default.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder::new(Self::default(), None)
    }

    /// Starts from this policy.
    pub fn into_builder(self) -> PolicyBuilder {
        let max_fail_timeout = Some(self.max_fail_timeout);
        PolicyBuilder::new(self, max_fail_timeout)
    }

    /// Failures in a row that take an address down. Default 3.
    #[must_use]
    pub fn max_fails(&self) -> u8 {
        self.max_fails
    }

    /// Successes in a row that bring a down address up. Default 2.
    #[must_use]
    pub fn min_rises(&self) -> u8 {
        self.min_rises
    }

    /// How long evidence counts after the last record. Default 60 s, kept to 4 ms.
    #[must_use]
    pub fn fail_timeout(&self) -> Duration {
        self.fail_timeout
    }

    /// The longest a trip takes an address down. Default 5 min, or `fail_timeout` if that is
    /// longer.
    #[must_use]
    pub fn max_fail_timeout(&self) -> Duration {
        self.max_fail_timeout
    }

    /// How long earlier trips are remembered of an address that nobody asks for. Default 10 min.
    #[must_use]
    pub fn forget_after(&self) -> Duration {
        self.forget_after
    }

    /// How long one address is dialled before that is a failure. Default 5 s.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// How long one `connect` may take over all of its addresses. Default 10 s.
    #[must_use]
    pub fn dial_timeout(&self) -> Duration {
        self.dial_timeout
    }

    /// The longest that one address is waited for before the next is dialled beside it. Default
    /// 250 ms (RFC 8305 §5).
    #[must_use]
    pub fn attempt_delay(&self) -> Duration {
        self.attempt_delay
    }

    /// The least silence that makes an address suspect. Default 30 ms.
    #[must_use]
    pub fn suspect_after(&self) -> Duration {
        self.suspect_after
    }

    /// A dial that is dropped after this long without an answer is a failure; one dropped sooner
    /// blames nobody. Default 1 s: by then the first SYN has been repeated.
    #[must_use]
    pub fn stall_after(&self) -> Duration {
        self.stall_after
    }

    /// What happens at the end of the down time. Default [`Recovery::Open`].
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// Whether `connect` dials the address that is next in turn when all are down. Default no.
    #[must_use]
    pub fn fail_open(&self) -> bool {
        self.fail_open
    }

    /// What a failure of that cause weighs.
    ///
    /// Default: [`Weight::Count`] for what concerns connections, [`Weight::Ignore`] for what a
    /// server said over one that it had accepted ([`Cause::BadGateway`], [`Cause::ServerError`],
    /// [`Cause::Slow`]); what cannot be read ([`Cause::Malformed`]) counts as a connection that breaks.
    #[must_use]
    pub fn weight(&self, cause: Cause) -> Weight {
        self.weights.get(cause)
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    fn rules_of(&self) -> Rules {
        Rules {
            max_fails: self.max_fails,
            min_rises: self.min_rises,
            fail_timeout: whole_ticks(self.fail_timeout),
            probes: match self.recovery {
                Recovery::Open => None,
                Recovery::Probe { permits, lease } => Some(Probes {
                    permits,
                    lease: whole_ticks(lease),
                }),
            },
            max_fail_timeout: whole_ticks(self.max_fail_timeout),
            forget_after: whole_ticks(self.forget_after),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        let mut policy = Self {
            max_fails: 3,
            min_rises: 2,
            fail_timeout: Duration::from_secs(60),
            max_fail_timeout: builder::MAX_FAIL_TIMEOUT,
            forget_after: Duration::from_secs(10 * 60),
            connect_timeout: Duration::from_secs(5),
            dial_timeout: Duration::from_secs(10),
            attempt_delay: Duration::from_millis(250),
            suspect_after: Duration::from_millis(30),
            stall_after: Duration::from_secs(1),
            recovery: Recovery::Open,
            fail_open: false,
            weights: Weights::default(),
            rules: NO_RULES,
        };
        policy.rules = policy.rules_of();
        policy
    }
}

/// Stands in until the policy is whole.
const NO_RULES: Rules = Rules {
    max_fails: 1,
    min_rises: 1,
    fail_timeout: crate::word::Ticks(1),
    probes: None,
    max_fail_timeout: crate::word::Ticks(1),
    forget_after: crate::word::Ticks(1),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_of_zero_is_refused_by_name() {
        let error = Policy::builder().min_rises(0).build().unwrap_err();
        assert_eq!(error.to_string(), "min_rises must be at least 1");
    }

    #[test]
    fn a_time_outside_its_range_is_refused_by_name_and_range() {
        let error = Policy::builder()
            .fail_timeout(Duration::from_millis(3))
            .build()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "fail_timeout is 3ms, must be from 4ms to 86400s"
        );
        let error = Policy::builder()
            .connect_timeout(Duration::MAX)
            .build()
            .unwrap_err();
        assert!(error.to_string().starts_with("connect_timeout is "));
    }

    #[test]
    fn the_default_is_the_classic_policy() {
        let policy = Policy::builder().build().unwrap();
        assert_eq!(policy, Policy::default());
        assert_eq!((policy.max_fails(), policy.min_rises()), (3, 2));
        assert_eq!(policy.fail_timeout(), Duration::from_secs(60));
        assert_eq!(policy.recovery(), Recovery::Open);
    }

    #[test]
    fn the_cap_of_the_back_off_follows_a_longer_fail_timeout_and_is_never_below_it() {
        let hour = Duration::from_secs(3600);
        let policy = Policy::builder().fail_timeout(hour).build().unwrap();
        assert_eq!(policy.max_fail_timeout(), hour);
        let error = Policy::builder()
            .max_fail_timeout(Duration::from_secs(59))
            .build()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "max_fail_timeout is 59s, must be from 60s to 86400s"
        );
    }

    #[test]
    fn permits_that_the_word_cannot_hold_are_refused() {
        for permits in [0, 8] {
            let lease = Duration::from_secs(1);
            let recovery = Recovery::Probe { permits, lease };
            let error = Policy::builder().recovery(recovery).build().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("permits is {permits}, must be from 1 to 7")
            );
        }
    }

    #[test]
    fn weights_are_kept_for_each_cause() {
        let policy = Policy::builder()
            .weight(Cause::Refused, Weight::Trip)
            .weight(Cause::ServerError, Weight::Count)
            .build()
            .unwrap();
        assert_eq!(policy.weight(Cause::Refused), Weight::Trip);
        assert_eq!(policy.weight(Cause::ServerError), Weight::Count);
        assert_eq!(policy.weight(Cause::Reset), Weight::Count);
        assert_eq!(policy.weight(Cause::Malformed), Weight::Count);
        assert_eq!(policy.weight(Cause::Slow), Weight::Ignore);
    }

    #[test]
    fn answers_are_weighed_together() {
        let builder = Policy::builder().weigh_answers(Weight::Count);
        let policy = builder.build().unwrap();
        for cause in Cause::ALL {
            let weight = match cause {
                // Of outliers the group decides, which compares.
                Cause::RateLimited | Cause::Outlier => Weight::Ignore,
                _ => Weight::Count,
            };
            assert_eq!(policy.weight(cause), weight, "{cause}");
        }
    }
}
