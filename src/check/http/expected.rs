//! What an answer must be: its status, and what its body holds.

use std::fmt;
use std::hash::{Hash, Hasher};

use regex::bytes::{Regex, RegexBuilder};

use crate::check::error::DefinitionError;
use crate::check::exchange::has;

/// Which statuses are right.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Statuses(Vec<(u16, u16)>);

/// What a body must hold.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BodyMatch {
    /// These bytes, somewhere.
    Contains(Vec<u8>),
    /// What the pattern says.
    Pattern(Pattern),
}

/// A regular expression over bytes, in the syntax of the `regex` crate; classes such as `\d` are
/// ASCII. It is matched in a time that grows with the body alone.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Statuses {
    /// From 200 to 399.
    pub(super) fn usual() -> Self {
        Self(vec![(200, 399)])
    }

    /// Those of one range or several, ends included.
    ///
    /// # Errors
    ///
    /// There is none, or one that is no range from 100 to 599.
    pub fn new(ranges: impl IntoIterator<Item = (u16, u16)>) -> Result<Self, DefinitionError> {
        let ranges: Vec<_> = ranges.into_iter().collect();
        if ranges.is_empty() {
            return Err(DefinitionError::Empty { field: "statuses" });
        }
        for &(first, last) in &ranges {
            if first < 100 || first > last || last > 599 {
                return Err(DefinitionError::Statuses { first, last });
            }
        }
        Ok(Self(ranges))
    }

    /// Whether that status is right.
    #[must_use]
    pub fn has(&self, status: u16) -> bool {
        let is_within = |&(first, last): &(u16, u16)| (first..=last).contains(&status);
        self.0.iter().any(is_within)
    }
}

/// `200-399, 404`
impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl BodyMatch {
    /// Whether `body` is as it must be.
    #[must_use]
    pub fn is_match(&self, body: &[u8]) -> bool {
        match self {
            Self::Contains(part) => has(body, part),
            Self::Pattern(Pattern(regex)) => regex.is_match(body),
        }
    }
}

impl fmt::Display for BodyMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains(part) => write!(f, "\"{}\"", part.escape_ascii()),
            Self::Pattern(Pattern(regex)) => write!(f, "/{}/", regex.as_str()),
        }
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is too large to be kept (256 KiB compiled).
    pub fn new(pattern: &str) -> Result<Self, DefinitionError> {
        let mut builder = RegexBuilder::new(pattern);
        let builder = builder.unicode(false).size_limit(PATTERN_BYTES_MOST);
        let regex = builder.build().map_err(|error| DefinitionError::Pattern {
            pattern: pattern.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self(regex))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

/// A pattern is a few words; what is larger is a mistake, or an attempt on memory.
const PATTERN_BYTES_MOST: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_ranges_with_their_ends() {
        let statuses = Statuses::new([(200, 299), (404, 404)]).unwrap();
        assert_eq!(statuses.to_string(), "200-299, 404");
        for (status, is_right) in [
            (199, false),
            (200, true),
            (299, true),
            (300, false),
            (404, true),
        ] {
            assert_eq!(statuses.has(status), is_right, "{status}");
        }
        for (first, last) in [(99, 200), (300, 299), (200, 600)] {
            let error = Statuses::new([(first, last)]).unwrap_err();
            assert_eq!(error, DefinitionError::Statuses { first, last });
        }
        assert!(Statuses::new([]).is_err());
    }

    #[test]
    fn a_pattern_is_over_bytes_bounded_and_compared_by_its_text() {
        let pattern = Pattern::new(r#""status":\s*"(up|warn)""#).unwrap();
        let body = BodyMatch::Pattern(pattern.clone());
        assert!(body.is_match(b"\xff{\"status\": \"up\"}"));
        assert!(!body.is_match(b"{\"status\": \"down\"}"));
        assert_eq!(pattern, Pattern::new(pattern.0.as_str()).unwrap());
        assert!(Pattern::new("(").is_err());
        assert!(Pattern::new("a{1000}{1000}").is_err());
    }
}
