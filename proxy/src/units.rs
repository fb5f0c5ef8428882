//! Times and sizes as people write them: `250ms`, `60s`, `10m`, `2h`; `64KiB`, `1GiB`.

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

/// Why some text is not a size.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("found {0:?}, expected a whole number and B, KiB, MiB or GiB, such as 64KiB")]
pub struct SizeError(String);

/// Reads a number of bytes.
///
/// # Errors
///
/// Anything but a whole number and a unit.
pub fn size(text: &str) -> Result<u64, SizeError> {
    let error = || SizeError(text.to_owned());
    let unit_at = text
        .find(|char: char| !char.is_ascii_digit())
        .ok_or_else(error)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| error())?;
    let (_, bytes) = SIZES
        .into_iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(error)?;
    number.checked_mul(bytes).ok_or_else(error)
}

/// Writes a number of bytes so that [`size`] reads it back, with the largest unit that is exact.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    for (unit, unit_bytes) in SIZES {
        if bytes > 0 && bytes.is_multiple_of(unit_bytes) {
            return format!("{}{unit}", bytes / unit_bytes);
        }
    }
    format!("{bytes}B")
}

const SIZES: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

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

    #[test]
    fn a_size_reads_back_and_needs_its_unit() {
        for (text, bytes) in [
            ("0B", 0),
            ("64KiB", 65_536),
            ("1GiB", 1 << 30),
            ("1000B", 1000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
            assert_eq!(show_size(bytes), text);
        }
        for text in ["", "64", "64KB", "64 KiB", "-1B", "99999999999GiB", "KiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
