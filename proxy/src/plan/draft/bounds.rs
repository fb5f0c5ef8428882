//! Bounds and deadlines: what is too little and what too much.

use std::time::Duration;

use super::{Draft, Errors};
use crate::plan::error::PlanFault;
use crate::units;

impl Draft {
    pub(super) fn check_limits(&self, errors: &mut Errors) {
        let limits = &self.limits;
        for (place, value, range, expected) in [
            (
                "limits.connections",
                limits.connections,
                1..=CONNECTIONS_MOST,
                "from 1 to 16777216",
            ),
            (
                "limits.connections_per_client",
                limits.per_client,
                0..=CONNECTIONS_MOST,
                "from 0 to 16777216",
            ),
            (
                "limits.lookups",
                limits.lookups,
                1..=LOOKUPS_MOST,
                "from 1 to 1024",
            ),
            (
                "limits.checks",
                limits.checks,
                1..=CHECKS_MOST,
                "from 1 to 4096",
            ),
            (
                "limits.header_size",
                limits.header_size,
                HEADER_LEAST..=HEADER_MOST,
                "from 1024 to 1048576 bytes",
            ),
            (
                "limits.header_count",
                limits.header_count,
                1..=FIELDS_MOST,
                "from 1 to 10000",
            ),
            (
                "process.threads",
                self.threads,
                0..=THREADS_MOST,
                "from 0 to 1024",
            ),
        ] {
            if !range.contains(&value) {
                let found = value.to_string();
                errors.add(place.to_owned(), PlanFault::OutOfRange { found, expected });
            }
        }
    }

    pub(super) fn check_timeouts(&self, errors: &mut Errors) {
        let timeouts = &self.timeouts;
        for (place, value) in [
            ("limits.handshake_timeout", Some(timeouts.handshake)),
            ("limits.header_timeout", Some(timeouts.header)),
            ("limits.keep_alive_timeout", Some(timeouts.keep_alive)),
            ("limits.answer_timeout", Some(timeouts.answer)),
            ("limits.body_idle_timeout", Some(timeouts.body_idle)),
            ("limits.idle_timeout", Some(timeouts.idle)),
            ("limits.request_timeout", timeouts.request),
            ("limits.tunnel_timeout", timeouts.tunnel),
            ("limits.resolve_timeout", Some(timeouts.resolve)),
            ("limits.pool_idle_timeout", Some(timeouts.pool_idle)),
        ] {
            if let Some(value) = value
                && !(TIMEOUT_LEAST..=TIMEOUT_MOST).contains(&value)
            {
                let fault = PlanFault::OutOfRange {
                    found: units::show(value),
                    expected: "from 10ms to 168h",
                };
                errors.add(place.to_owned(), fault);
            }
        }
        if timeouts.drain > TIMEOUT_MOST {
            let fault = PlanFault::OutOfRange {
                found: units::show(timeouts.drain),
                expected: "at most 168h",
            };
            errors.add("process.drain_timeout".to_owned(), fault);
        }
    }
}

impl Errors {
    /// A deadline that somebody waits for.
    pub(super) fn check_time(&mut self, place: String, value: Duration) {
        if !(TIMEOUT_LEAST..=TIMEOUT_MOST).contains(&value) {
            let fault = PlanFault::OutOfRange {
                found: units::show(value),
                expected: "from 10ms to 168h",
            };
            self.add(place, fault);
        }
    }
}

/// No machine holds more; and what is computed from it stays far from overflow.
pub(in crate::plan) const CONNECTIONS_MOST: usize = 1 << 24;
const LOOKUPS_MOST: usize = 1024;
/// Each has a connection open.
const CHECKS_MOST: usize = 4096;
const THREADS_MOST: usize = 1024;
/// A browser's head does not fit into less.
const HEADER_LEAST: usize = 1024;
/// Every connection may hold this much before its request is known.
const HEADER_MOST: usize = 1024 * 1024;
const FIELDS_MOST: usize = 10_000;
const TIMEOUT_LEAST: Duration = Duration::from_millis(10);
const TIMEOUT_MOST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;
    use crate::plan::{Limits, Timeouts};

    #[test]
    fn a_value_out_of_range_is_refused_with_its_place() {
        let draft = Draft {
            threads: 5000,
            limits: Limits {
                connections: usize::MAX,
                ..Limits::default()
            },
            timeouts: Timeouts {
                idle: Duration::ZERO,
                drain: Duration::from_secs(169 * 60 * 60),
                ..Timeouts::default()
            },
            ..Draft::default()
        };
        assert_eq!(
            said(draft),
            [
                "limits.connections: found 18446744073709551615, expected from 1 to 16777216",
                "process.threads: found 5000, expected from 0 to 1024",
                "limits.idle_timeout: found 0ms, expected from 10ms to 168h",
                "process.drain_timeout: found 169h, expected at most 168h",
            ]
        );
    }
}
