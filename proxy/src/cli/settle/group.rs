//! What needs more than one server: from what is said of it to a group's policy.

use std::time::Duration;

use risefall::{GroupPolicy, Mode, PolicyError};

use super::Refused;
use super::policy::outside;
use crate::config::tree::{Part, group as tree};
use crate::plan::upstream;

pub(super) fn policy(
    place: &str,
    said: (&tree::Group, &tree::Outliers),
    refused: &mut Vec<Refused>,
) -> GroupPolicy {
    let (group, outliers) = said;
    let (slow_start, slow) = (&group.slow_start, outliers.slow.percent());
    let begins_with = group
        .slow_start_from
        .as_ref()
        .map_or(BEGINS_WITH, Part::percent);
    let slow_after = outliers
        .slow_after
        .as_ref()
        .map_or(SLOW_AFTER, |time| time.0);
    refuse_lone(place, said, refused);
    let before = refused.len();
    // Each by itself as well, or one mistake would hide another.
    let alone = [
        GroupPolicy::builder().slow_start(slow_start.0, begins_with),
        GroupPolicy::builder().window(outliers.window.0),
        GroupPolicy::builder().slow_calls(slow_after, slow),
    ];
    for mistake in alone.into_iter().filter_map(|one| one.build().err()) {
        refused.push(refuse(place, &mistake));
    }
    let built = GroupPolicy::builder()
        .max_ejected_percent(group.max_ejected.percent())
        .min_ejectable(group.min_ejectable)
        .spare_single(group.spare_single)
        .fail_open_below(group.fail_open_below.percent())
        .slow_start(slow_start.0, begins_with)
        .mode(match group.mode {
            tree::Mode::Enforce => Mode::Enforce,
            tree::Mode::Observe => Mode::Observe,
        })
        .window(outliers.window.0)
        .min_volume(outliers.min_volume)
        .min_hosts(outliers.min_hosts.unwrap_or(HOSTS_LEAST))
        .success_rate(
            outliers.deviations_milli,
            outliers.tolerance.unwrap_or(TOLERANCE),
        )
        .failure_percent(outliers.failures.percent())
        .slow_calls(slow_after, slow)
        .build();
    built.unwrap_or_else(|error| {
        // The schema bounds all else.
        if refused.len() == before {
            refused.push(refuse(place, &error));
        }
        upstream::usual_group()
    })
}

/// Keys that say nothing without another.
fn refuse_lone(
    place: &str,
    (group, outliers): (&tree::Group, &tree::Outliers),
    refused: &mut Vec<Refused>,
) {
    if group.slow_start_from.is_some() && group.slow_start.0.is_zero() {
        let message = "is of use with slow_start alone; expected slow_start = \"30s\", or another time, \
                       beside it";
        refused.push(Refused::new(
            format!("{place}.group.slow_start_from"),
            message,
        ));
    }
    let lone = [
        ("min_hosts", outliers.min_hosts.is_some()),
        ("tolerance", outliers.tolerance.is_some()),
    ];
    let lone = lone.into_iter().filter(|(_, is_said)| *is_said);
    for (key, _) in lone.filter(|_| outliers.deviations_milli == 0) {
        let message = "is of use with deviations_milli alone; expected deviations_milli = 1900, or \
                       another number, beside it";
        refused.push(Refused::new(format!("{place}.outliers.{key}"), message));
    }
    if outliers.slow_after.is_some() && outliers.slow.percent() == 0 {
        let message =
            "is of use with slow alone; expected slow = \"50%\", or another part, beside it";
        refused.push(Refused::new(
            format!("{place}.outliers.slow_after"),
            message,
        ));
    }
}

fn refuse(place: &str, error: &PolicyError) -> Refused {
    match error {
        PolicyError::TimeOutOfRange {
            field,
            time,
            least,
            most,
        } => {
            let message = outside(*time, *least, *most);
            Refused::new(format!("{place}.{}", key(field)), message)
        }
        PolicyError::NumberOutOfRange {
            field,
            number,
            least,
            most,
        } => {
            let message = format!("found {number}, expected from {least} to {most}");
            Refused::new(format!("{place}.{}", key(field)), message)
        }
        other => Refused::new(place.to_owned(), other.to_string()),
    }
}

/// What the configuration calls a field of the policy.
fn key(field: &str) -> &'static str {
    match field {
        "slow_start" => "group.slow_start",
        "slow_start percent" => "group.slow_start_from",
        "max_ejected_percent" => "group.max_ejected",
        "fail_open_below" => "group.fail_open_below",
        "window" => "outliers.window",
        "min_volume" => "outliers.min_volume",
        "min_hosts" => "outliers.min_hosts",
        "factor_milli" => "outliers.deviations_milli",
        "tolerance_percent" => "outliers.tolerance",
        "failure_percent" => "outliers.failures",
        "slow_calls percent" => "outliers.slow",
        _ => "outliers.slow_after",
    }
}

/// In percent of its share.
const BEGINS_WITH: u8 = 10;
const SLOW_AFTER: Duration = Duration::from_secs(1);
const HOSTS_LEAST: u32 = 5;
/// In points of a hundred.
const TOLERANCE: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::scalar::Said;

    fn refusals(group: &tree::Group, outliers: &tree::Outliers) -> Vec<String> {
        let mut refused = Vec::new();
        let _ = policy("upstream.api", (group, outliers), &mut refused);
        refused
            .iter()
            .map(|one| format!("{}: {}", one.place, one.message))
            .collect()
    }

    #[test]
    fn what_is_not_said_is_what_the_plan_has_by_default() {
        let said = (&tree::Group::default(), &tree::Outliers::default());
        let mut refused = Vec::new();
        assert_eq!(policy("", said, &mut refused), upstream::usual_group());
        assert!(refused.is_empty());
    }

    #[test]
    fn what_is_out_of_range_is_refused_where_it_stands() {
        let usual = (tree::Group::default(), tree::Outliers::default());
        let group = tree::Group {
            slow_start: Said(Duration::from_secs(7200)),
            ..usual.0.clone()
        };
        let expected = ["upstream.api.group.slow_start: found 2h, expected from 0ms to 1h"];
        assert_eq!(refusals(&group, &usual.1), expected);
        let group = tree::Group {
            slow_start: Said(Duration::from_secs(30)),
            slow_start_from: Some(Part::of(0)),
            ..usual.0.clone()
        };
        let expected = ["upstream.api.group.slow_start_from: found 0, expected from 1 to 100"];
        assert_eq!(refusals(&group, &usual.1), expected);
        let outliers = tree::Outliers {
            window: Said(Duration::from_millis(10)),
            ..usual.1.clone()
        };
        let expected = ["upstream.api.outliers.window: found 10ms, expected from 1s to 1h"];
        assert_eq!(refusals(&usual.0, &outliers), expected);
        let slow = tree::Outliers {
            slow: Part::of(50),
            slow_after: Some(Said(Duration::ZERO)),
            ..usual.1
        };
        let expected = ["upstream.api.outliers.slow_after: found 0ms, expected from 1ms to 1h"];
        assert_eq!(refusals(&usual.0, &slow), expected);
        // All of them at once.
        let both = tree::Outliers {
            window: outliers.window,
            ..slow
        };
        assert_eq!(refusals(&group, &both).len(), 3);
    }

    #[test]
    fn what_says_nothing_without_another_key_is_refused_and_told_which() {
        let usual = (tree::Group::default(), tree::Outliers::default());
        let group = tree::Group {
            slow_start_from: Some(Part::of(20)),
            ..usual.0.clone()
        };
        let outliers = tree::Outliers {
            slow_after: Some(Said(Duration::from_secs(2))),
            ..usual.1.clone()
        };
        let lone = [
            "upstream.api.group.slow_start_from: is of use with slow_start alone; expected \
             slow_start = \"30s\", or another time, beside it",
            "upstream.api.outliers.slow_after: is of use with slow alone; expected slow = \"50%\", \
             or another part, beside it",
        ];
        assert_eq!(refusals(&group, &outliers), lone);
        let group = tree::Group {
            slow_start: Said(Duration::from_secs(30)),
            ..group
        };
        let outliers = tree::Outliers {
            slow: Part::of(50),
            ..outliers
        };
        assert!(refusals(&group, &outliers).is_empty());
        let mut refused = Vec::new();
        let built = policy("upstream.api", (&group, &outliers), &mut refused);
        let expected = upstream::usual_group().into_builder();
        let expected = expected.slow_start(Duration::from_secs(30), 20);
        let expected = expected.slow_calls(Duration::from_secs(2), 50).build();
        assert_eq!(built, expected.unwrap());
    }
}
