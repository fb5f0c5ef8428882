//! A group's policy is collected here and checked as a whole.

use std::time::Duration;

use super::{GroupPolicy, Mode};
use crate::error::PolicyError;
use crate::gate::SEATS_MOST;
use crate::policy::Policy;
use crate::word::TICK;

/// Collects the values of a [`GroupPolicy`]; what is not given keeps its default.
#[derive(Clone, Debug)]
#[must_use = "call `build` to get the policy"]
pub struct GroupPolicyBuilder {
    policy: GroupPolicy,
}

impl GroupPolicyBuilder {
    pub(super) fn new(policy: GroupPolicy) -> Self {
        Self { policy }
    }

    /// By what the members' answers are judged: thresholds, down times, weights of causes.
    pub fn service(mut self, policy: Policy) -> Self {
        self.policy.service = policy;
        self
    }

    /// Whether it acts on its verdicts.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.policy.mode = mode;
        self
    }

    /// How many members may be ejected at once, in percent of all, rounded down: 0 to 100, default
    /// 50. Half, because with the default of [`fail_open_below`](Self::fail_open_below) what a
    /// group ejects is then never by itself enough to make it fail open.
    pub fn max_ejected_percent(mut self, percent: u8) -> Self {
        self.policy.max_ejected_percent = percent;
        self
    }

    /// How many may be ejected whatever the percentage comes to: default 1, or a group of one or two
    /// could never eject anybody (10 % of 9 is nobody). With 0 the percentage alone counts.
    pub fn min_ejectable(mut self, members: u32) -> Self {
        self.policy.min_ejectable = members;
        self
    }

    /// Whether the only member of a group is never ejected: default yes. Nobody could take its
    /// place, so that some errors would become nothing but errors. Its dials are still judged.
    pub fn spare_single(mut self, spares: bool) -> Self {
        self.policy.spares_single = spares;
        self
    }

    /// Below which share of live members, in percent, verdicts are passed over: 0 (never) to 100,
    /// default 50. Those who are left would not stand the load, and so many at once have a cause in
    /// common that is not theirs.
    pub fn fail_open_below(mut self, percent: u8) -> Self {
        self.policy.fail_open_percent = percent;
        self
    }

    /// How long a member that comes back takes to get its whole share: up to 1 h, in steps of 4 ms;
    /// default 0, no slow start. `least_percent` is what it begins with, 1 to 100, default 10. In
    /// between the share grows in a straight line.
    pub fn slow_start(mut self, window: Duration, least_percent: u8) -> Self {
        self.policy.slow_start = window;
        self.policy.slow_start_percent = least_percent;
        self
    }

    /// The stretch of time over which outliers are looked for: 1 s to 1 h, default 10 s. It slides
    /// in eighths.
    pub fn window(mut self, window: Duration) -> Self {
        self.policy.outliers.window = window;
        self
    }

    /// How many calls a member has to have had in the window to be judged by rates: at least 1,
    /// default 100. Fewer tell chance from fault too badly.
    pub fn min_volume(mut self, calls: u32) -> Self {
        self.policy.outliers.min_volume = calls.into();
        self
    }

    /// How many members with that volume it takes to compare them by success rate: at least 3,
    /// default 5. One that fails among `n` equals is at most `sqrt(n - 1)` deviations off the mean,
    /// so that with the default factor of 1.9 fewer than 5 would find nobody.
    pub fn min_hosts(mut self, members: u32) -> Self {
        self.policy.outliers.min_hosts = usize::try_from(members).unwrap_or(usize::MAX);
        self
    }

    /// Ejects who succeeds less often than the mean of the group less `factor_milli` thousandths of
    /// its standard deviation, and less often by `tolerance_percent` points as well: default 1900
    /// and 5, of which the latter is 1 to 100. Without it one failure in a thousand would be many
    /// deviations off where all others have none. A factor of 0 is no such rule.
    pub fn success_rate(mut self, factor_milli: u32, tolerance_percent: u8) -> Self {
        self.policy.outliers.factor_milli = factor_milli;
        self.policy.outliers.tolerance_percent = tolerance_percent;
        self
    }

    /// Ejects who fails in so many of a hundred calls, whatever the others do: default 85, 0 for no
    /// such rule. For this nobody is compared, so [`min_hosts`](Self::min_hosts) does not matter.
    pub fn failure_percent(mut self, percent: u8) -> Self {
        self.policy.outliers.failure_percent = percent;
        self
    }

    /// Ejects who takes longer than `after` in so many of a hundred calls: default 0, no such rule.
    /// `after` is 1 ms to 1 h. A call that its caller gave up after as long is a slow one.
    pub fn slow_calls(mut self, after: Duration, percent: u8) -> Self {
        self.policy.outliers.slow_after = after;
        self.policy.outliers.slow_percent = percent;
        self
    }

    /// Checks the values.
    ///
    /// # Errors
    ///
    /// A time or a number outside its range.
    pub fn build(self) -> Result<GroupPolicy, PolicyError> {
        let (policy, outliers) = (&self.policy, &self.policy.outliers);
        let percent = |field, percent: u8, least| (field, u64::from(percent), least, 100);
        let hosts = outliers.min_hosts as u64;
        for (field, number, least, most) in [
            percent("max_ejected_percent", policy.max_ejected_percent, 0),
            percent("fail_open_below", policy.fail_open_percent, 0),
            percent("slow_start percent", policy.slow_start_percent, 1),
            percent("failure_percent", outliers.failure_percent, 0),
            percent("slow_calls percent", outliers.slow_percent, 0),
            percent("tolerance_percent", outliers.tolerance_percent, 1),
            ("factor_milli", outliers.factor_milli.into(), 0, 100_000),
            ("min_volume", outliers.min_volume, 1, u32::MAX.into()),
            ("min_hosts", hosts, 3, SEATS_MOST.into()),
        ] {
            if !(least..=most).contains(&number) {
                return Err(PolicyError::NumberOutOfRange {
                    field,
                    number,
                    least,
                    most,
                });
            }
        }
        let slow_after = match outliers.slow_percent {
            0 => LEAST_SLOW,
            _ => outliers.slow_after,
        };
        for (field, time, least) in [
            ("slow_start", policy.slow_start, Duration::ZERO),
            ("window", outliers.window, LEAST_WINDOW),
            ("slow_calls after", slow_after, LEAST_SLOW),
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

/// Longer ones are mistakes of a unit; and the registry's tick must hold many of them.
pub(super) const LONGEST: Duration = Duration::from_secs(60 * 60);
/// So that an eighth of it is far above the registry's tick.
const LEAST_WINDOW: Duration = Duration::from_secs(1);
const LEAST_SLOW: Duration = Duration::from_millis(1);
const _: () = assert!(LEAST_WINDOW.as_millis() > 100 * TICK.as_millis());
