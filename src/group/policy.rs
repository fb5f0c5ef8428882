//! What a group may do to its members, and when: checked on construction.

mod builder;

use std::time::Duration;

pub use self::builder::GroupPolicyBuilder;
use crate::outcome::{Cause, Weight};
use crate::policy::{Policy, Recovery};
use crate::word::{Ticks, whole_ticks};

/// What a group may do to its members, and when. Valid by construction.
///
/// The default judges answers by the default [`Policy`] with [`Recovery::PROBE`], in which 502, 503,
/// 504, other 5xx and [`Cause::Slow`] count; at most half of the members are ejected, at least one
/// may be, and an only one never is; below half of the members live it fails open; outliers are
/// ejected by success rate and by share of failures; there is no slow start, and slow calls are not
/// looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupPolicy {
    pub(super) service: Policy,
    pub(super) mode: Mode,
    pub(super) max_ejected_percent: u8,
    pub(super) min_ejectable: u32,
    pub(super) spares_single: bool,
    pub(super) fail_open_percent: u8,
    pub(super) slow_start: Duration,
    pub(super) slow_start_percent: u8,
    pub(super) outliers: OutlierRules,
}

/// Whether a group acts on its verdicts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Mode {
    /// Who is judged unfit is ejected.
    #[default]
    Enforce,
    /// Everything is judged, counted and told as if, and nobody is ejected: for trying a policy on
    /// live traffic. What dials and checks say still holds.
    Observe,
}

/// By what a member is an outlier.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct OutlierRules {
    pub(crate) window: Duration,
    pub(crate) min_volume: u64,
    pub(crate) min_hosts: usize,
    /// Deviations below the mean, in thousandths; 0 for no such rule.
    pub(crate) factor_milli: u32,
    /// Percent points below the mean.
    pub(crate) tolerance_percent: u8,
    /// 0 for no such rule.
    pub(crate) failure_percent: u8,
    pub(crate) slow_after: Duration,
    /// 0 for no such rule.
    pub(crate) slow_percent: u8,
}

impl GroupPolicy {
    /// Starts from the default.
    pub fn builder() -> GroupPolicyBuilder {
        GroupPolicyBuilder::new(Self::default())
    }

    /// Starts from this policy.
    pub fn into_builder(self) -> GroupPolicyBuilder {
        GroupPolicyBuilder::new(self)
    }

    /// By what the members' answers are judged.
    #[must_use]
    pub fn service(&self) -> &Policy {
        &self.service
    }

    /// Whether it acts on its verdicts. Default [`Mode::Enforce`].
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How many of `members` may be ejected at once: one more is, as long as
    /// `ejected + 1 <= max(min_ejectable, members * percent / 100)` in whole numbers, rounded down.
    #[must_use]
    pub fn most_ejected(&self, members: u32) -> u32 {
        if members <= 1 && self.spares_single {
            return 0;
        }
        let share = u64::from(members) * u64::from(self.max_ejected_percent) / 100;
        let most = share.max(u64::from(self.min_ejectable));
        u32::try_from(most).unwrap_or(u32::MAX).min(members)
    }

    /// Whether so few of `members` are live that it fails open: `live * 100 < members * percent`.
    #[must_use]
    pub fn fails_open(&self, live: u32, members: u32) -> bool {
        u64::from(live) * 100 < u64::from(members) * u64::from(self.fail_open_percent)
    }

    /// Whether it ever does.
    pub(super) fn may_fail_open(&self) -> bool {
        self.fail_open_percent > 0
    }

    #[inline]
    pub(super) fn has_slow_start(&self) -> bool {
        !self.slow_start.is_zero()
    }

    #[inline]
    pub(super) fn is_observing(&self) -> bool {
        self.mode == Mode::Observe
    }

    /// The share of a member that has been back for `age`, in [`WHOLE`]ths of its weight.
    pub(super) fn share(&self, age: Ticks) -> u32 {
        let window = whole_ticks(self.slow_start).0;
        if age.0 >= window {
            return WHOLE;
        }
        let whole = u64::from(WHOLE);
        let least = whole * u64::from(self.slow_start_percent) / 100;
        // Below `whole`, as `age` is below `window`; never 0, or it would never be chosen.
        let share = least + (whole - least) * age.0 / window;
        u32::try_from(share.max(1)).unwrap_or(WHOLE)
    }
}

impl Default for GroupPolicy {
    fn default() -> Self {
        Self {
            service: service_policy(),
            mode: Mode::Enforce,
            max_ejected_percent: 50,
            min_ejectable: 1,
            spares_single: true,
            fail_open_percent: 50,
            slow_start: Duration::ZERO,
            slow_start_percent: 10,
            outliers: OutlierRules {
                window: Duration::from_secs(10),
                min_volume: 100,
                min_hosts: 5,
                factor_milli: 1900,
                tolerance_percent: 5,
                failure_percent: 85,
                slow_after: Duration::ZERO,
                slow_percent: 0,
            },
        }
    }
}

/// Answers count, which they do not for dials, and one request at a time tries what was ejected.
fn service_policy() -> Policy {
    let counted = [Cause::BadGateway, Cause::ServerError, Cause::Slow];
    let builder = Policy::builder().recovery(Recovery::PROBE);
    let builder = counted.into_iter().fold(builder, |builder, cause| {
        builder.weight(cause, Weight::Count)
    });
    // Valid: the default is, and neither weights nor that recovery can make it otherwise.
    builder.build().unwrap_or_default()
}

impl OutlierRules {
    /// Whether calls have to be counted at all.
    pub(crate) fn is_any(&self) -> bool {
        self.factor_milli > 0 || self.failure_percent > 0 || self.slow_percent > 0
    }

    /// Whether a call of that length is a slow one.
    pub(crate) fn is_slow(&self, took: Duration) -> bool {
        self.slow_percent > 0 && took > self.slow_after
    }
}

/// The whole weight of a member, in the parts that a slow start gives.
pub(crate) const WHOLE: u32 = 1024;
/// How long a return may matter to somebody.
pub(super) fn longest_slow_start() -> Ticks {
    whole_ticks(builder::LONGEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cap(percent: u8, min_ejectable: u32, spares: bool) -> GroupPolicy {
        GroupPolicy::builder()
            .max_ejected_percent(percent)
            .min_ejectable(min_ejectable)
            .spare_single(spares)
            .build()
            .unwrap()
    }

    #[test]
    fn the_cap_rounds_down_and_never_below_what_may_always_be_ejected() {
        for (percent, least, members, most) in [
            (50, 1, 2, 1),
            (50, 1, 3, 1),
            (50, 1, 4, 2),
            (10, 1, 9, 1),
            (10, 0, 9, 0),
            (10, 0, 10, 1),
            (67, 0, 3, 2),
            (100, 0, 3, 3),
            (0, 2, 10, 2),
            (0, 0, 10, 0),
            (0, 9, 3, 3),
            (100, 0, u32::MAX, u32::MAX),
        ] {
            let policy = cap(percent, least, true);
            assert_eq!(
                policy.most_ejected(members),
                most,
                "{percent} % of {members}"
            );
        }
    }

    #[test]
    fn an_only_member_is_ejected_only_when_it_may_be() {
        assert_eq!(cap(100, 1, true).most_ejected(1), 0);
        assert_eq!(cap(100, 1, false).most_ejected(1), 1);
        assert_eq!(cap(100, 1, true).most_ejected(0), 0);
    }

    #[test]
    fn what_a_group_ejects_by_default_never_makes_it_fail_open() {
        let policy = GroupPolicy::default();
        for members in 0..2000 {
            let live = members - policy.most_ejected(members);
            assert!(!policy.fails_open(live, members), "{members}");
        }
        assert!(policy.fails_open(4, 9) && !policy.fails_open(5, 9));
    }

    #[test]
    fn a_share_begins_at_its_least_and_ends_whole() {
        let policy = GroupPolicy::builder()
            .slow_start(Duration::from_secs(4), 25)
            .build()
            .unwrap();
        for (age, share) in [
            (0, 256),
            (1, 256),
            (500, 640),
            (999, 1023),
            (1000, WHOLE),
            (u64::MAX, WHOLE),
        ] {
            assert_eq!(policy.share(Ticks(age)), share, "{age}");
        }
        assert_eq!(GroupPolicy::default().share(Ticks(0)), WHOLE);
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name_and_range() {
        let refused = |builder: GroupPolicyBuilder| builder.build().unwrap_err().to_string();
        let builder = GroupPolicy::builder;
        assert_eq!(
            refused(builder().max_ejected_percent(101)),
            "max_ejected_percent is 101, must be from 0 to 100"
        );
        assert_eq!(
            refused(builder().min_hosts(2)),
            "min_hosts is 2, must be from 3 to 2097151"
        );
        let hours = Duration::from_secs(7200);
        assert_eq!(
            refused(builder().slow_start(hours, 10)),
            "slow_start is 7200s, must be from 0ns to 3600s"
        );
        assert!(refused(builder().slow_calls(hours, 50)).starts_with("slow_calls after"));
        // Without the rule its time does not matter.
        assert!(builder().slow_calls(Duration::ZERO, 0).build().is_ok());
        assert!(refused(builder().slow_start(Duration::ZERO, 0)).starts_with("slow_start percent"));
    }

    proptest! {
        /// The rule as it is told, one by one, from none.
        #[test]
        fn the_cap_is_the_last_that_the_rule_lets_through(
            members in 0u32..5000, percent in 0u8..=100, least in 0u32..50,
        ) {
            let most = cap(percent, least, false).most_ejected(members);
            let limit = u64::from(least).max(u64::from(members) * u64::from(percent) / 100);
            // The one more that may be.
            let may = |ejected: u32| u64::from(ejected) < limit && ejected < members;
            prop_assert!((0..most).all(may));
            prop_assert!(!may(most));
        }

        #[test]
        fn a_share_never_shrinks_as_time_goes_on(
            millis in 4u64..3_600_000, percent in 1u8..=100, age in 0u64..900_000, later in 0u64..900_000,
        ) {
            let policy = GroupPolicy::builder()
                .slow_start(Duration::from_millis(millis), percent)
                .build()
                .unwrap();
            let share = policy.share(Ticks(age));
            prop_assert!((1..=WHOLE).contains(&share));
            prop_assert!(share >= WHOLE * u32::from(percent) / 100);
            prop_assert!(policy.share(Ticks(age + later)) >= share);
        }
    }
}
