//! Who of a group is an outlier, by what its members did in the window: plain arithmetic.
//!
//! Three rules, in this order for each member: its own share of failures, its success rate beside
//! the group's, its share of slow calls. Those that fail most come first, for the cap may leave room
//! for few.

use std::cmp::Reverse;

use super::policy::OutlierRules;

/// What one member did in the window.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    /// Of `calls`.
    pub(crate) failures: u64,
    /// Of `calls`.
    pub(crate) slow: u64,
}

/// By which rule a member is an outlier.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Rule {
    /// It failed in too many of its calls.
    FailurePercent,
    /// It succeeded less often than its group, by too many deviations.
    SuccessRate,
    /// It took too long in too many of its calls.
    SlowCalls,
}

/// A member that is an outlier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    /// Its place in what was judged.
    pub(crate) place: usize,
    pub(crate) rule: Rule,
    /// What the rule looked at, in percent: failures, successes or slow calls.
    pub(crate) percent: f64,
    /// From where on it is one, in percent; for success rates, below where.
    pub(crate) limit: f64,
}

/// The outliers among members that did `counts`, the worst first.
pub(crate) fn outliers(counts: &[Counts], rules: &OutlierRules) -> Vec<Found> {
    let is_judged = |counts: &Counts| counts.calls > 0 && counts.calls >= rules.min_volume;
    let limit = success_limit(counts.iter().copied().filter(is_judged), rules);
    let judged = counts.iter().enumerate().filter(|(_, one)| is_judged(one));
    let mut found: Vec<_> = judged
        .filter_map(|(place, one)| Some((*one, judge(place, *one, limit, rules)?)))
        .collect();
    found.sort_by_key(|(counts, found)| {
        let share = |part: u64| u128::from(part) * u128::from(u64::MAX) / u128::from(counts.calls);
        Reverse((
            share(counts.failures),
            share(counts.slow),
            Reverse(found.place),
        ))
    });
    found.into_iter().map(|(_, found)| found).collect()
}

fn judge(place: usize, counts: Counts, limit: Option<f64>, rules: &OutlierRules) -> Option<Found> {
    let found = |rule, percent, limit| Found {
        place,
        rule,
        percent,
        limit,
    };
    let failed = percent(counts.failures, counts.calls);
    if reaches(counts.failures, counts.calls, rules.failure_percent) {
        let limit = rules.failure_percent.into();
        return Some(found(Rule::FailurePercent, failed, limit));
    }
    let succeeded = 100.0 - failed;
    if let Some(limit) = limit.filter(|&limit| succeeded < limit) {
        return Some(found(Rule::SuccessRate, succeeded, limit));
    }
    reaches(counts.slow, counts.calls, rules.slow_percent).then(|| {
        let slow = percent(counts.slow, counts.calls);
        found(Rule::SlowCalls, slow, rules.slow_percent.into())
    })
}

/// Below which success rate, in percent, a member is an outlier; `None` if there are too few to
/// compare.
fn success_limit(
    judged: impl Iterator<Item = Counts> + Clone,
    rules: &OutlierRules,
) -> Option<f64> {
    let rates = judged.map(|one| 100.0 - percent(one.failures, one.calls));
    let hosts = rates.clone().count();
    if rules.factor_milli == 0 || hosts < rules.min_hosts.max(1) {
        return None;
    }
    let hosts = hosts as f64;
    let mean = rates.clone().sum::<f64>() / hosts;
    // Of the whole group, not of a sample of it.
    let variance = rates.map(|rate| (rate - mean).powi(2)).sum::<f64>() / hosts;
    let off = variance.sqrt() * f64::from(rules.factor_milli) / 1000.0;
    Some(mean - off.max(rules.tolerance_percent.into()))
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}

/// In whole numbers, so that a limit of 50 is reached by 50 of 100.
fn reaches(part: u64, whole: u64, limit_percent: u8) -> bool {
    limit_percent > 0 && u128::from(part) * 100 >= u128::from(whole) * u128::from(limit_percent)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const RULES: OutlierRules = OutlierRules {
        window: Duration::from_secs(10),
        min_volume: 100,
        min_hosts: 5,
        factor_milli: 1900,
        tolerance_percent: 5,
        failure_percent: 85,
        slow_after: Duration::from_secs(1),
        slow_percent: 50,
    };

    const fn counts(calls: u64, failures: u64, slow: u64) -> Counts {
        Counts {
            calls,
            failures,
            slow,
        }
    }

    /// Each of a hundred calls, with so many failures.
    const fn failing<const N: usize>(failures: [u64; N]) -> [Counts; N] {
        let mut all = [counts(100, 0, 0); N];
        let mut place = 0;
        while place < N {
            all[place].failures = failures[place];
            place += 1;
        }
        all
    }

    fn found(counts: &[Counts], rules: &OutlierRules) -> Vec<(usize, Rule)> {
        let found = outliers(counts, rules);
        found.iter().map(|one| (one.place, one.rule)).collect()
    }

    #[test]
    fn the_table_of_rules() {
        for (name, counts, expected) in TABLE {
            assert_eq!(found(counts, &RULES), *expected, "{name}");
        }
    }

    /// What is tried, what the members did, and who is an outlier by which rule.
    type Row = (&'static str, &'static [Counts], &'static [(usize, Rule)]);

    const TABLE: &[Row] = &[
        ("nobody", &[], &[]),
        ("all well", &failing([0; 10]), &[]),
        ("all alike badly", &failing([60; 10]), &[]),
        // Mean 90, deviation 30: 33 is the limit.
        (
            "one of ten fails wholly",
            &failing([0, 0, 0, 0, 0, 0, 0, 0, 0, 100]),
            &[(9, Rule::FailurePercent)],
        ),
        (
            "one of ten fails in eight of ten",
            &failing([0, 80, 0, 0, 0, 0, 0, 0, 0, 0]),
            &[(1, Rule::SuccessRate)],
        ),
        // Mean 88, deviation 24: the limit is 42.4.
        (
            "one of five fails in six of ten",
            &failing([0, 0, 60, 0, 0]),
            &[(2, Rule::SuccessRate)],
        ),
        ("four are too few to compare", &failing([0, 0, 60, 0]), &[]),
        (
            "and yet one fails by itself",
            &failing([0, 0, 85, 0]),
            &[(2, Rule::FailurePercent)],
        ),
        ("84 of 100 are not 85", &failing([84]), &[]),
        // Nine deviations off, and within the tolerance of 5 points.
        ("a blemish is no outlier", &failing([0, 0, 0, 0, 4]), &[]),
        // Mean 98.8, so 93.8.
        (
            "just beyond tolerance",
            &failing([0, 0, 0, 0, 7]),
            &[(4, Rule::SuccessRate)],
        ),
        (
            "the worst come first",
            &failing([90, 0, 100, 0, 95]),
            &[
                (2, Rule::FailurePercent),
                (4, Rule::FailurePercent),
                (0, Rule::FailurePercent),
            ],
        ),
        (
            "little traffic says nothing",
            &[counts(99, 99, 99), counts(0, 0, 0)],
            &[],
        ),
        (
            "who has little traffic is not compared with",
            &[
                counts(100, 0, 0),
                counts(100, 0, 0),
                counts(100, 60, 0),
                counts(100, 0, 0),
                counts(99, 0, 0),
            ],
            &[],
        ),
        (
            "slow in half of the calls",
            &[counts(100, 0, 50), counts(100, 0, 49)],
            &[(0, Rule::SlowCalls)],
        ),
        (
            "failures come before slowness",
            &[counts(200, 170, 200), counts(200, 0, 200)],
            &[(0, Rule::FailurePercent), (1, Rule::SlowCalls)],
        ),
    ];

    #[test]
    fn it_is_told_what_was_looked_at_and_where_the_limit_is() {
        let one = outliers(&failing([0, 0, 60, 0, 0]), &RULES)[0];
        assert_eq!(one.percent, 40.0);
        assert!((one.limit - (88.0 - 24.0 * 1.9)).abs() < 1e-9, "{one:?}");
        let one = outliers(&[counts(100, 90, 0)], &RULES)[0];
        assert_eq!((one.percent, one.limit), (90.0, 85.0));
    }

    #[test]
    fn a_rule_of_zero_is_none() {
        let rules = OutlierRules {
            factor_milli: 0,
            failure_percent: 0,
            slow_percent: 0,
            ..RULES
        };
        assert!(!rules.is_any());
        assert_eq!(found(&failing([0, 0, 0, 0, 100]), &rules), []);
    }

    #[test]
    fn numbers_as_large_as_they_get_do_not_overflow() {
        let all = [counts(u64::MAX, u64::MAX, u64::MAX); 5];
        assert_eq!(outliers(&all, &RULES).len(), 5);
    }

    proptest! {
        #[test]
        fn never_are_all_outliers_by_comparison(
            failures in prop::collection::vec(0u64..=1000, 5..40), factor in 1u32..3000,
        ) {
            let all: Vec<_> = failures.iter().map(|&n| counts(1000, n, 0)).collect();
            let rules = OutlierRules {
                failure_percent: 0,
                slow_percent: 0,
                factor_milli: factor,
                tolerance_percent: 1,
                ..RULES
            };
            let found = outliers(&all, &rules);
            prop_assert!(found.len() < all.len());
            // No outlier succeeds more often than one that is none.
            let worst_kept = (0..all.len())
                .filter(|place| !found.iter().any(|one| one.place == *place))
                .map(|place| failures[place])
                .max();
            let best_found = found.iter().map(|one| failures[one.place]).min();
            prop_assert!(best_found.is_none() || worst_kept < best_found);
        }
    }
}
