//! Durations as people write them: `250ms`, `60s`, `10m`, `2h`.

use std::time::Duration;

/// Why some text is not a duration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// A bare number: seconds to one reader, milliseconds to the next.
    #[error("found {0:?} without a unit, expected one such as {0}s or {0}ms")]
    NoUnit(String),
    /// Something else.
    #[error("found {0:?}, expected a whole number and ms, s, m or h, such as 250ms, 60s or 10m")]
    Malformed(String),
}

/// Reads a duration.
///
/// # Errors
///
/// Anything but a whole number and a unit.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    let unit_at = text
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| malformed())?;
    let unit_ms: u64 = match unit {
        "" => return Err(DurationError::NoUnit(text.to_owned())),
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(malformed()),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or_else(malformed)
}

/// Writes a duration so that [`duration`] reads it back, with the largest unit that is exact.
#[must_use]
pub fn show(time: Duration) -> String {
    let ms = time.as_millis();
    for (unit, unit_ms) in [("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if ms > 0 && ms.is_multiple_of(unit_ms) {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    format!("{ms}ms")
}

/// Writes a duration for a reader who wants to know how long about.
#[must_use]
pub fn show_about(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        1..60 => format!("{:.1}s", time.as_secs_f64()),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_unit_is_a_duration_and_reads_back() {
        for (text, ms) in [
            ("0ms", 0),
            ("250ms", 250),
            ("60s", 60_000),
            ("10m", 600_000),
        ] {
            let time = duration(text).unwrap();
            assert_eq!(time, Duration::from_millis(ms), "{text}");
            assert_eq!(duration(&show(time)), Ok(time), "{text}");
        }
        assert_eq!(show(Duration::from_secs(60)), "1m");
    }

    #[test]
    fn a_bare_number_is_refused_with_a_hint() {
        let error = duration("60").unwrap_err();
        assert_eq!(
            error.to_string(),
            "found \"60\" without a unit, expected one such as 60s or 60ms"
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "1d",
            "1S",
            "18446744073709551615h",
        ] {
            assert!(
                matches!(duration(text), Err(DurationError::Malformed(_))),
                "{text}"
            );
        }
    }
}
