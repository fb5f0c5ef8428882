//! When an address is down: from what is said of it to a policy, or to what is wrong with it.

use std::time::Duration;

use risefall::{Policy, PolicyBuilder, PolicyError, Recovery};

use super::Refused;
use crate::config::tree;
use crate::units;

/// The policy of the process.
pub(super) fn of(health: &tree::Health) -> Result<Policy, PolicyError> {
    builder(health).build()
}

/// The policy of a group, if it has one of its own.
pub(super) fn of_group(
    said: &tree::Upstream,
    health: &tree::Health,
) -> Option<Result<Policy, PolicyError>> {
    let is_own = said.fail_open
        || said.max_fails.is_some()
        || said.min_rises.is_some()
        || said.fail_timeout.is_some();
    is_own.then(|| {
        let own = tree::Health {
            max_fails: said.max_fails.unwrap_or(health.max_fails),
            min_rises: said.min_rises.unwrap_or(health.min_rises),
            fail_timeout: (said.fail_timeout.clone()).unwrap_or(health.fail_timeout.clone()),
            max_fail_timeout: match said.fail_timeout {
                Some(_) => None,
                None => health.max_fail_timeout.clone(),
            },
            ..health.clone()
        };
        builder(&own).fail_open(said.fail_open).build()
    })
}

fn builder(health: &tree::Health) -> PolicyBuilder {
    // Two addresses that do not answer, one after the other, are waited for in full; and a probe
    // that takes as long as it may is not given up for lost.
    let connect = health.connect_timeout.0;
    let dial = DIAL_TIMEOUT.max(connect.saturating_mul(2)).min(DAY);
    let builder = Policy::builder()
        .max_fails(health.max_fails)
        .min_rises(health.min_rises)
        .fail_timeout(health.fail_timeout.0)
        .connect_timeout(connect)
        .dial_timeout(dial)
        .recovery(match health.recovery {
            tree::Recovery::Open => Recovery::Open,
            tree::Recovery::Probe => Recovery::Probe {
                permits: 1,
                lease: dial,
            },
        });
    match &health.max_fail_timeout {
        Some(time) => builder.max_fail_timeout(time.0),
        None => builder,
    }
}

pub(super) fn refuse(table: &str, error: &PolicyError) -> Refused {
    let (field, message) = match error {
        PolicyError::TimeOutOfRange {
            field,
            time,
            least,
            most,
        } => (*field, outside(*time, *least, *most)),
        PolicyError::ZeroThreshold { field } => (*field, "found 0, expected at least 1".to_owned()),
        other => ("recovery", other.to_string()),
    };
    Refused::new(format!("{table}.{field}"), message)
}

/// What is wrong with a time, and what would be right.
pub(super) fn outside(time: Duration, least: Duration, most: Duration) -> String {
    let [found, least, most] = [time, least, most].map(units::show);
    format!("found {found}, expected from {least} to {most}")
}

const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
