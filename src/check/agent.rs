//! What a server says of itself beside its answer: how much it wants to do, and whether it wants to
//! do anything. The words are those of HAProxy's agent checks.

use std::str::FromStr;

/// What a server reports: words separated by spaces, tabs or commas, up to a `#`, behind which a
/// reason may stand. Of words that say the same thing the last counts.
///
/// | word | means |
/// |---|---|
/// | `0%` to `100%` | its share of its usual weight |
/// | `ready` | new work again, after `drain` or `maint` |
/// | `drain`, `maint` | no new work |
/// | `up` | this check counts as what it is |
/// | `down`, `failed`, `stopped` | it is down at once, whatever the thresholds |
///
/// # Examples
///
/// ```
/// use risefall::check::{Availability, AgentReport};
///
/// let report: AgentReport = "drain, 50% # a new version comes".parse()?;
/// assert_eq!(report.weight_percent, Some(50));
/// assert_eq!(report.availability, Some(Availability::Drain));
/// assert_eq!(report.reason.as_deref(), Some("a new version comes"));
/// # Ok::<(), risefall::check::AgentError>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct AgentReport {
    /// Its share of its usual weight; `None`: as before.
    pub weight_percent: Option<u8>,
    /// Whether it wants new work; `None`: as before.
    pub availability: Option<Availability>,
    /// Whether it says that it is down, by which word, or that it is up. Of this answer alone.
    pub is_down: Option<bool>,
    /// Why, in its own words.
    pub reason: Option<String>,
}

/// Whether a server wants new work.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Availability {
    /// It does.
    #[default]
    Ready,
    /// It wants to end what it has.
    Drain,
    /// It is being worked on.
    Maint,
}

/// Why a report was not understood. Nothing of it counts then.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// A word that is none of those that are known.
    #[error("agent word {0:?} is not known")]
    Word(String),
    /// A share of more than all.
    #[error("agent weight {0:?} is not from 0% to 100%")]
    Weight(String),
    /// It has no word at all.
    #[error("agent says nothing")]
    Empty,
}

impl FromStr for AgentReport {
    type Err = AgentError;

    fn from_str(text: &str) -> Result<Self, AgentError> {
        let (words, reason) = match text.split_once('#') {
            Some((words, reason)) => (words, Some(reason.trim())),
            None => (text, None),
        };
        let mut report = Self {
            reason: reason.filter(|reason| !reason.is_empty()).map(shortened),
            ..Self::default()
        };
        let mut is_empty = true;
        let words = words.split([' ', '\t', ',']);
        for word in words.filter(|word| !word.is_empty()) {
            is_empty = false;
            report.take(word)?;
        }
        match is_empty {
            true => Err(AgentError::Empty),
            false => Ok(report),
        }
    }
}

impl AgentReport {
    fn take(&mut self, word: &str) -> Result<(), AgentError> {
        match word.to_ascii_lowercase().as_str() {
            "up" => self.is_down = Some(false),
            "down" | "failed" | "stopped" => self.is_down = Some(true),
            "ready" => self.availability = Some(Availability::Ready),
            "drain" => self.availability = Some(Availability::Drain),
            "maint" => self.availability = Some(Availability::Maint),
            other => match other.strip_suffix('%') {
                Some(share) => self.weight_percent = Some(percent(share, word)?),
                None => return Err(AgentError::Word(shortened(word))),
            },
        }
        Ok(())
    }
}

impl Availability {
    /// The word that a server says.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }
}

fn percent(share: &str, word: &str) -> Result<u8, AgentError> {
    let is_number = share.bytes().all(|byte| byte.is_ascii_digit());
    let percent = share
        .parse()
        .ok()
        .filter(|&percent| is_number && percent <= 100);
    percent.ok_or_else(|| AgentError::Weight(shortened(word)))
}

/// As much of a server's words as is kept.
fn shortened(words: &str) -> String {
    words.chars().take(CHARS_KEPT).collect()
}

/// A line on a screen or two.
const CHARS_KEPT: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_says_its_own_thing_and_the_last_of_a_kind_counts() {
        use Availability::{Drain, Maint, Ready};
        for (text, weight, availability, is_down) in [
            ("up", None, None, Some(false)),
            ("down", None, None, Some(true)),
            ("FAILED", None, None, Some(true)),
            ("stopped", None, None, Some(true)),
            ("ready", None, Some(Ready), None),
            ("drain", None, Some(Drain), None),
            ("maint", None, Some(Maint), None),
            ("0%", Some(0), None, None),
            ("100%", Some(100), None, None),
            ("007%", Some(7), None, None),
            ("ready,up,  75%", Some(75), Some(Ready), Some(false)),
            ("\t50% 25%\tdrain maint", Some(25), Some(Maint), None),
            ("up down up", None, None, Some(false)),
        ] {
            let report: AgentReport = text.parse().unwrap();
            assert_eq!(
                (report.weight_percent, report.availability, report.is_down),
                (weight, availability, is_down),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_counts_for_nothing() {
        for (text, error) in [
            ("", AgentError::Empty),
            (" , ", AgentError::Empty),
            ("# only a reason", AgentError::Empty),
            ("drain soon", AgentError::Word("soon".to_owned())),
            ("50", AgentError::Word("50".to_owned())),
            ("101%", AgentError::Weight("101%".to_owned())),
            ("+5%", AgentError::Weight("+5%".to_owned())),
            ("-1%", AgentError::Weight("-1%".to_owned())),
            ("%", AgentError::Weight("%".to_owned())),
            (
                "99999999999%",
                AgentError::Weight("99999999999%".to_owned()),
            ),
        ] {
            assert_eq!(text.parse::<AgentReport>().unwrap_err(), error, "{text:?}");
        }
    }

    #[test]
    fn a_reason_is_kept_as_it_was_said() {
        let report: AgentReport = "down# disk full, 0% left # really".parse().unwrap();
        assert_eq!(
            report.reason.as_deref(),
            Some("disk full, 0% left # really")
        );
        assert_eq!(report.weight_percent, None);
        let report: AgentReport = "up #".parse().unwrap();
        assert_eq!(report.reason, None);
    }
}
