//! A policy is collected here and checked as a whole.

use std::time::Duration;

use super::{Policy, Recovery};
use crate::error::PolicyError;
use crate::outcome::{Cause, Weight};
use crate::word::{SMALL_MOST, TICK};

/// Collects the values of a [`Policy`]; what is not given keeps its default.
#[derive(Clone, Debug)]
#[must_use = "call `build` to get the policy"]
pub struct PolicyBuilder {
    policy: Policy,
    /// `None`: follows `fail_timeout`.
    max_fail_timeout: Option<Duration>,
}

impl PolicyBuilder {
    pub(super) fn new(policy: Policy, max_fail_timeout: Option<Duration>) -> Self {
        Self {
            policy,
            max_fail_timeout,
        }
    }

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
    ///
    /// With [`Recovery::Probe`] this is the first down time of an address. Each trip that follows
    /// before the earlier ones are made up for doubles it, up to
    /// [`max_fail_timeout`](Self::max_fail_timeout); up to a tenth is added, differently for each
    /// address, so that not all come back at once. One trip is made up for by each `fail_timeout`
    /// that ends in a success.
    pub fn fail_timeout(mut self, time: Duration) -> Self {
        self.policy.fail_timeout = time;
        self
    }

    /// The longest a trip takes an address down: `fail_timeout` to 24 h.
    pub fn max_fail_timeout(mut self, time: Duration) -> Self {
        self.max_fail_timeout = Some(time);
        self
    }

    /// How long earlier trips are remembered of an address that nobody asks for, beyond the end
    /// of its down time: 4 ms to 24 h. Only with [`Recovery::Probe`]. Costs memory: a dead
    /// address keeps its record for so long.
    pub fn forget_after(mut self, time: Duration) -> Self {
        self.policy.forget_after = time;
        self
    }

    /// How long one address is dialled: 1 ms to 24 h.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.policy.connect_timeout = time;
        self
    }

    /// How long one `connect` may take over all of its addresses, name resolution included: 1 ms
    /// to 24 h.
    pub fn dial_timeout(mut self, time: Duration) -> Self {
        self.policy.dial_timeout = time;
        self
    }

    /// The longest that one address is waited for before the next is dialled beside it: 10 ms to
    /// 2 s, the bounds of RFC 8305 §5.
    pub fn attempt_delay(mut self, time: Duration) -> Self {
        self.policy.attempt_delay = time;
        self
    }

    /// The least silence that makes an address suspect: 1 ms to 2 s. More than the connect times
    /// that are usual here, or healthy addresses are raced for nothing.
    pub fn suspect_after(mut self, time: Duration) -> Self {
        self.policy.suspect_after = time;
        self
    }

    /// From when on a dropped dial is a failure: 1 ms to 24 h.
    pub fn stall_after(mut self, time: Duration) -> Self {
        self.policy.stall_after = time;
        self
    }

    /// What happens at the end of the down time.
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.policy.recovery = recovery;
        self
    }

    /// Whether `connect` dials the address that is next in turn when all are down.
    pub fn fail_open(mut self, fail_open: bool) -> Self {
        self.policy.fail_open = fail_open;
        self
    }

    /// What a failure of `cause` weighs. [`Cause::RateLimited`] is never weighed: it sets aside.
    pub fn weight(mut self, cause: Cause, weight: Weight) -> Self {
        self.policy.weights = self.policy.weights.with(cause, weight);
        self
    }

    /// What the answers of a server weigh: all of [`Cause::BadGateway`], [`Cause::ServerError`] and
    /// [`Cause::Slow`]. [`Weight::Count`] is for a registry that judges services and not dials.
    pub fn weigh_answers(self, weight: Weight) -> Self {
        [Cause::BadGateway, Cause::ServerError, Cause::Slow]
            .into_iter()
            .fold(self, |builder, cause| builder.weight(cause, weight))
    }

    /// Checks the values.
    ///
    /// # Errors
    ///
    /// A threshold of zero, or a time or number outside its range.
    pub fn build(self) -> Result<Policy, PolicyError> {
        let mut policy = self.policy;
        policy.max_fail_timeout = self
            .max_fail_timeout
            .unwrap_or(MAX_FAIL_TIMEOUT.max(policy.fail_timeout));
        for (field, threshold) in [
            ("max_fails", policy.max_fails),
            ("min_rises", policy.min_rises),
        ] {
            if threshold == 0 {
                return Err(PolicyError::ZeroThreshold { field });
            }
        }
        let probe_lease = match policy.recovery {
            Recovery::Open => TICK,
            Recovery::Probe { permits, lease } => {
                if !(1..=SMALL_MOST).contains(&permits) {
                    return Err(PolicyError::PermitsOutOfRange {
                        permits,
                        most: SMALL_MOST,
                    });
                }
                lease
            }
        };
        for (field, time, least, most) in [
            ("fail_timeout", policy.fail_timeout, TICK, LONGEST),
            (
                "max_fail_timeout",
                policy.max_fail_timeout,
                policy.fail_timeout,
                LONGEST,
            ),
            ("forget_after", policy.forget_after, TICK, LONGEST),
            ("lease", probe_lease, TICK, LONGEST),
            ("connect_timeout", policy.connect_timeout, MILLI, LONGEST),
            ("dial_timeout", policy.dial_timeout, MILLI, LONGEST),
            (
                "attempt_delay",
                policy.attempt_delay,
                Duration::from_millis(10),
                LONGEST_DELAY,
            ),
            ("suspect_after", policy.suspect_after, MILLI, LONGEST_DELAY),
            ("stall_after", policy.stall_after, MILLI, LONGEST),
        ] {
            if time < least || time > most {
                return Err(PolicyError::TimeOutOfRange {
                    field,
                    time,
                    least,
                    most,
                });
            }
        }
        policy.rules = policy.rules_of();
        Ok(policy)
    }
}

/// Five times the default `fail_timeout`.
pub(super) const MAX_FAIL_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Longer spans are mistakes of a unit; and the word's clock must hold many of them.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// RFC 8305 §5.
const LONGEST_DELAY: Duration = Duration::from_secs(2);

const MILLI: Duration = Duration::from_millis(1);
