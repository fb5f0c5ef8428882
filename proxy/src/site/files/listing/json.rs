//! A listing for programs.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{Entries, Entry, Order};

/// The listing of the folder at `path` (the normal form of what was asked for) as JSON:
///
/// ```json
/// {
///   "path": "/pub/",
///   "entries": [
///     { "name": "a", "href": "./a/", "type": "folder", "modified": "2026-01-02T03:04:05Z" },
///     { "name": "b c", "href": "./b%20c", "type": "file", "size": 17 }
///   ],
///   "truncated": false
/// }
/// ```
///
/// What is not known is not there. A name that is not UTF-8 has U+FFFD for what cannot be written;
/// `href` is exact.
#[must_use]
pub fn json(path: &str, entries: &Entries, order: Order) -> String {
    let sorted = order.sorted(entries);
    let listing = Listing {
        path,
        entries: sorted.into_iter().map(Row::of).collect(),
        truncated: entries.is_cut,
    };
    // Texts and numbers can always be written.
    serde_json::to_string(&listing).unwrap_or_default()
}

/// `time` in UTC and whole seconds (RFC 3339 §5.6); none before 1970 or after 9999.
pub(super) fn timestamp(time: SystemTime) -> Option<String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    // The calendar is the library's, which does not take other times.
    let date = (since < YEAR_10000).then(|| httpdate::fmt_http_date(time))?;
    let mut words = date.split(' ').skip(1);
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Some(format!("{year}-{month:02}-{day}T{}Z", words.next()?))
}

#[derive(Serialize)]
struct Listing<'a> {
    path: &'a str,
    entries: Vec<Row>,
    truncated: bool,
}

#[derive(Serialize)]
struct Row {
    name: String,
    href: String,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
}

impl Row {
    fn of(entry: &Entry) -> Self {
        Self {
            name: entry.name.to_string_lossy().into_owned(),
            href: entry.href(),
            r#type: if entry.is_folder { "folder" } else { "file" },
            size: (!entry.is_folder).then_some(entry.len),
            modified: entry.modified.and_then(timestamp),
        }
    }
}

const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_the_internet_does() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_323_045, "2026-01-02T03:04:05Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
            assert_eq!(timestamp(time).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_time_that_cannot_be_written_is_left_out() {
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(timestamp(epoch - Duration::from_nanos(1)), None);
        assert_eq!(timestamp(epoch + YEAR_10000), None);
        let last = epoch + YEAR_10000 - Duration::from_nanos(1);
        assert_eq!(timestamp(last).as_deref(), Some("9999-12-31T23:59:59Z"));
    }
}
