//! What a server said of itself last, to be read beside its word without asking the board.

use super::agent::{AgentReport, Availability};
use crate::sync::{AtomicU64, Ordering};

/// Weight and availability of a server, by its own account.
#[derive(Debug)]
pub(super) struct Standing {
    /// The weight in percent, and above its eight bits the availability.
    ///
    /// Written by `write` (under the board's lock, so never by two at once), read by `read`.
    /// Ordering: `Relaxed`. The number is the whole message; no other memory is published by it.
    told: AtomicU64,
}

impl Standing {
    /// What of the report is said replaces what was; the rest stays.
    pub(super) fn write(&self, report: &AgentReport) {
        let (weight, availability) = self.read();
        let weight = report.weight_percent.unwrap_or(weight);
        let availability = report.availability.unwrap_or(availability);
        let told = pack(weight, availability);
        // A shared line is written only when there is news.
        if self.told.load(Ordering::Relaxed) != told {
            self.told.store(told, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> (u8, Availability) {
        let told = self.told.load(Ordering::Relaxed);
        let availability = match told >> 8 {
            0 => Availability::Ready,
            1 => Availability::Drain,
            _ => Availability::Maint,
        };
        (told.to_le_bytes()[0], availability)
    }
}

/// Ready, with its whole weight.
impl Default for Standing {
    fn default() -> Self {
        let told = AtomicU64::new(pack(100, Availability::Ready));
        Self { told }
    }
}

fn pack(weight: u8, availability: Availability) -> u64 {
    let availability = match availability {
        Availability::Ready => 0,
        Availability::Drain => 1,
        Availability::Maint => 2,
    };
    u64::from(weight) | availability << 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays() {
        let standing = Standing::default();
        assert_eq!(standing.read(), (100, Availability::Ready));
        for (words, told) in [
            ("50%", (50, Availability::Ready)),
            ("drain", (50, Availability::Drain)),
            ("up", (50, Availability::Drain)),
            ("maint, 0%", (0, Availability::Maint)),
            ("ready", (0, Availability::Ready)),
        ] {
            standing.write(&words.parse().unwrap());
            assert_eq!(standing.read(), told, "{words}");
        }
    }
}
