//! When an address is down, and for how long: checked on construction, so that no rule ever meets
//! a threshold of zero or a span the record's clock cannot hold.

use std::time::Duration;

use crate::error::PolicyError;
use crate::state::{self, Thresholds};

/// Thresholds and deadlines of a registry. Valid by construction.
///
/// The default is the classic one: 3 failures in a row take an address down for 60 s after the
/// last of them, 2 successes in a row bring it back before that.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    max_fails: u8,
    min_rises: u8,
    fail_timeout: Duration,
    connect_timeout: Duration,
    stall_after: Duration,
    recovery: Recovery,
}

/// What happens when a down address has served its `fail_timeout`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Recovery {
    /// Everybody may dial again: the classic rule.
    #[default]
    Open,
}

impl Policy {
    /// Starts from the default.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder {
            policy: Self::default(),
        }
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

    /// How long one address is dialled before that is a failure. Default 5 s.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// A dial that is dropped after this long without an answer is a failure; one dropped sooner
    /// blames nobody. Default 1 s: by then the first SYN has been repeated.
    #[must_use]
    pub fn stall_after(&self) -> Duration {
        self.stall_after
    }

    /// What happens at the end of `fail_timeout`. Default [`Recovery::Open`].
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        self.recovery
    }

    pub(crate) fn thresholds(&self) -> Thresholds {
        Thresholds {
            max_fails: self.max_fails,
            min_rises: self.min_rises,
            fail_timeout: state::whole_ticks(self.fail_timeout),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_fails: 3,
            min_rises: 2,
            fail_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            stall_after: Duration::from_secs(1),
            recovery: Recovery::Open,
        }
    }
}

/// Collects the values of a [`Policy`]; what is not given keeps its default.
#[derive(Clone, Debug)]
#[must_use = "call `build` to get the policy"]
pub struct PolicyBuilder {
    policy: Policy,
}

impl PolicyBuilder {
    /// Failures in a row that take an address down: 1 to 255.
    pub fn max_fails(mut self, failures: u8) -> Self {
        self.policy.max_fails = failures;
        self
    }

    /// Successes in a row that bring a down address up: 1 to 255.
    pub fn min_rises(mut self, successes: u8) -> Self {
        self.policy.min_rises = successes;
        self
    }

    /// How long evidence counts after the last record: 4 ms to 24 h, rounded up to 4 ms.
    pub fn fail_timeout(mut self, time: Duration) -> Self {
        self.policy.fail_timeout = time;
        self
    }

    /// How long one address is dialled: 1 ms to 24 h.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.policy.connect_timeout = time;
        self
    }

    /// From when on a dropped dial is a failure: 1 ms to 24 h.
    pub fn stall_after(mut self, time: Duration) -> Self {
        self.policy.stall_after = time;
        self
    }

    /// What happens at the end of `fail_timeout`.
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.policy.recovery = recovery;
        self
    }

    /// Checks the values.
    ///
    /// # Errors
    ///
    /// A threshold of zero, or a time outside its range.
    pub fn build(self) -> Result<Policy, PolicyError> {
        let Policy {
            max_fails,
            min_rises,
            fail_timeout,
            connect_timeout,
            stall_after,
            ..
        } = self.policy;
        for (field, threshold) in [("max_fails", max_fails), ("min_rises", min_rises)] {
            if threshold == 0 {
                return Err(PolicyError::ZeroThreshold { field });
            }
        }
        for (field, time, least) in [
            ("fail_timeout", fail_timeout, state::TICK),
            ("connect_timeout", connect_timeout, Duration::from_millis(1)),
            ("stall_after", stall_after, Duration::from_millis(1)),
        ] {
            if time < least || time > LONGEST {
                return Err(PolicyError::TimeOutOfRange {
                    field,
                    time,
                    least,
                    most: LONGEST,
                });
            }
        }
        Ok(self.policy)
    }
}

/// Longer spans are mistakes of a unit; and the word's clock must hold many of them.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

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
    }
}
