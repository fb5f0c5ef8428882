//! `[upstream.NAME.group]` and `[upstream.NAME.outliers]`: what needs more than one server.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choice::Part;
use crate::config::scalar::Said;

/// What a group may do to its servers for what they answer to requests of sites. Servers that nobody
/// can connect to are no part of this: they are left out whatever it says.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Group {
    /// How many may be ejected at once, for what they answer: a part such as `"50%"` of all servers
    /// and backups, rounded down, or a number of percent. One more that fails stays in use.
    pub max_ejected: Part,
    /// How many may be ejected whatever that part comes to.
    #[schemars(range(min = 0, max = 2_097_151))]
    pub min_ejectable: u32,
    /// Whether the only server of a group is never ejected, as nobody could take its place. False:
    /// it is, and clients are told at once (503) until one of them finds it well again.
    pub spare_single: bool,
    /// Below which part of servers that are up, answers and checks are passed over and all are used
    /// that can be connected to: so many at once have a cause in common. 0: never.
    pub fail_open_below: Part,
    /// How long a server that comes back takes to get its whole share, at most 1h. 0s: none.
    pub slow_start: Said<Duration>,
    /// The part of its share that it begins with; of use with `slow_start` alone. Default: 10%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_start_from: Option<Part>,
    /// Whether it acts on what it finds: `enforce`, or `observe` to log, count and show who would be
    /// ejected, and eject nobody.
    pub mode: Mode,
}

/// Whether a group acts on what it finds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Mode {
    #[default]
    Enforce,
    Observe,
}

/// By what a server is an outlier. Judged eight times in each window, once a second at the most, over
/// all workers, for servers that are up.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outliers {
    /// The stretch of time that is looked at, from 1s to 1h.
    pub window: Said<Duration>,
    /// How many requests a server has had in it at least; with fewer it is not judged.
    #[schemars(range(min = 1))]
    pub min_volume: u32,
    /// How many servers with that volume it takes to compare them with each other; of use with
    /// `deviations_milli` alone. Default: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 3, max = 2_097_151))]
    pub min_hosts: Option<u32>,
    /// Ejects who succeeds less often than the mean of all less so many thousandths of the standard
    /// deviation. 0: nobody is compared.
    #[schemars(range(min = 0, max = 100_000))]
    pub deviations_milli: u32,
    /// And less often than the mean by so many points in a hundred; of use with `deviations_milli`
    /// alone. Default: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub tolerance: Option<u8>,
    /// Ejects who fails in so large a part of its requests, whatever the others do. 0: no such rule.
    pub failures: Part,
    /// Ejects who is slow in so large a part of its requests. 0: no such rule.
    pub slow: Part,
    /// Slow is whose answer takes longer to begin, from 1ms to 1h; of use with `slow` alone.
    /// Default: 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_after: Option<Said<Duration>>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            max_ejected: Part::of(50),
            min_ejectable: 1,
            spare_single: false,
            fail_open_below: Part::of(0),
            slow_start: Said(Duration::ZERO),
            slow_start_from: None,
            mode: Mode::default(),
        }
    }
}

impl Default for Outliers {
    fn default() -> Self {
        Self {
            window: Said(Duration::from_secs(10)),
            min_volume: 100,
            min_hosts: None,
            deviations_milli: 1900,
            tolerance: None,
            failures: Part::of(85),
            slow: Part::of(0),
            slow_after: None,
        }
    }
}
