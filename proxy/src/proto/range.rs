//! Ranges: which bytes of a representation a client asks for (RFC 9110 §14).
//!
//! `Range` is a wish, and a server may always send the whole (§14.2). That is the answer to what is
//! not understood, and to what costs the server more than it brings the client:
//!
//! - another unit than `bytes`, and every mistake in the syntax, of which a last position before
//!   the first is one (§14.1.1);
//! - more than [`RANGES_LIMIT`] ranges, since each costs a read and a head of its own;
//! - ranges that are together longer than the representation. So overlaps, which §14.2 warns of,
//!   never make an answer longer than the file, but for the heads of its parts.
//!
//! A range behind the end is left out if others are not (§14.1.2); if all are, the answer is 416.
//! Numbers too big for 64 bits are behind every end, so they are read as the greatest there is.
//! Nothing of an empty representation can be sent as a range, since `Content-Range` names a first
//! and a last byte: there each range is behind the end, a suffix too.
//!
//! The order is the client's, since it may have one in mind (§15.3.7.2), and ranges that touch are
//! not joined: who asks for parts can put them together.

use hyper::header::HeaderValue;

use super::{ascii_value, trim};

/// Bytes of a representation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// The first byte, counted from 0.
    pub start: u64,
    /// How many bytes, at least 1; the end fits into 64 bits.
    pub len: u64,
}

impl Span {
    /// The last byte, counted from 0.
    #[must_use]
    pub const fn last(self) -> u64 {
        self.start.saturating_add(self.len).saturating_sub(1)
    }
}

/// What is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ranges {
    /// All of it, by a field that is to be passed over.
    Whole,
    /// These parts, in the client's order: at least one and at most [`RANGES_LIMIT`], each within
    /// the representation, together not longer than it.
    Parts(Vec<Span>),
    /// Nothing that is there: the answer is 416 with [`unsatisfied`].
    Unsatisfiable,
}

/// What `Range: value` asks of a representation of `len` bytes.
#[must_use]
pub fn read(value: &[u8], len: u64) -> Ranges {
    byte_set(value)
        .and_then(|set| read_set(set, len))
        .unwrap_or(Ranges::Whole)
}

/// `Content-Range` of a part: `bytes 0-9/100`.
#[must_use]
pub fn content_range(span: Span, len: u64) -> HeaderValue {
    ascii_value(format!("bytes {}-{}/{len}", span.start, span.last()))
}

/// `Content-Range` of an answer with 416: `bytes */100`.
#[must_use]
pub fn unsatisfied(len: u64) -> HeaderValue {
    ascii_value(format!("bytes */{len}"))
}

/// What stands behind `bytes=`, which is compared without case as all names of units are (§14.1).
fn byte_set(value: &[u8]) -> Option<&[u8]> {
    let (unit, set) = trim(value).split_at_checked(UNIT.len())?;
    unit.eq_ignore_ascii_case(UNIT).then_some(set)
}

/// `None` for what is answered by the whole.
fn read_set(set: &[u8], len: u64) -> Option<Ranges> {
    let mut spans = Vec::new();
    let mut asked = 0_usize;
    let mut total = 0_u64;
    // Empty members mean nothing (§5.6.1.2).
    let members = set.split(|&byte| byte == b',').map(trim);
    for member in members.filter(|member| !member.is_empty()) {
        asked += 1;
        if asked > RANGES_LIMIT {
            return None;
        }
        let Some(span) = Spec::read(member)?.within(len) else {
            continue;
        };
        total = total.checked_add(span.len)?;
        if total > len {
            return None;
        }
        spans.push(span);
    }
    match (asked, spans.is_empty()) {
        (0, _) => None,
        (_, true) => Some(Ranges::Unsatisfiable),
        (_, false) => Some(Ranges::Parts(spans)),
    }
}

/// A range as it is written.
#[derive(Clone, Copy)]
enum Spec {
    /// `first-last`; an open end is the greatest number.
    Between { first: u64, last: u64 },
    /// `-len`: that many bytes before the end.
    Suffix { len: u64 },
}

impl Spec {
    fn read(text: &[u8]) -> Option<Self> {
        let mut halves = text.splitn(2, |&byte| byte == b'-');
        match (halves.next()?, halves.next()?) {
            (b"", len) => number(len).map(|len| Self::Suffix { len }),
            (first, b"") => number(first).map(|first| Self::Between {
                first,
                last: u64::MAX,
            }),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between { first, last })
            }
        }
    }

    /// The bytes of a representation of `len` bytes that this means, if there are any.
    fn within(self, len: u64) -> Option<Span> {
        let end = len.checked_sub(1)?;
        match self {
            Self::Between { first, last } => {
                let behind_first = last.min(end).checked_sub(first)?;
                Some(Span {
                    start: first,
                    // Not above `len`.
                    len: behind_first.saturating_add(1),
                })
            }
            Self::Suffix { len: 0 } => None,
            Self::Suffix { len: suffix } => {
                let suffix = suffix.min(len);
                Some(Span {
                    start: len - suffix,
                    len: suffix,
                })
            }
        }
    }
}

/// A number of any length in plain digits; the greatest if it is too big.
fn number(digits: &[u8]) -> Option<u64> {
    let mut digits = digits.iter().map(|byte| match byte {
        b'0'..=b'9' => Some(u64::from(byte - b'0')),
        _ => None,
    });
    let first = digits.next()??;
    digits.try_fold(first, |number, digit| {
        Some(number.saturating_mul(10).saturating_add(digit?))
    })
}

/// Ranges in a request that are answered one by one. Players and downloaders ask for a handful.
pub const RANGES_LIMIT: usize = 32;

const UNIT: &[u8] = b"bytes=";

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(spans: &[(u64, u64)]) -> Ranges {
        Ranges::Parts(
            spans
                .iter()
                .map(|&(start, len)| Span { start, len })
                .collect(),
        )
    }

    #[test]
    fn what_is_there_is_sent_in_the_order_of_the_client() {
        for (value, len, spans) in [
            ("bytes=0-0", 100, &[(0, 1)][..]),
            ("bytes=0-9", 100, &[(0, 10)]),
            ("bytes=0-99", 100, &[(0, 100)]),
            ("bytes=99-99", 100, &[(99, 1)]),
            ("bytes=0-", 100, &[(0, 100)]),
            ("bytes=99-", 100, &[(99, 1)]),
            ("bytes=-1", 100, &[(99, 1)]),
            ("bytes=-100", 100, &[(0, 100)]),
            ("bytes=0-0,-1", 100, &[(0, 1), (99, 1)]),
            ("bytes=50-59,0-9", 100, &[(50, 10), (0, 10)]),
            ("bytes=0-9,5-14", 100, &[(0, 10), (5, 10)]),
            ("bytes=0-0,0-0", 100, &[(0, 1), (0, 1)]),
            ("bytes=0-49,50-99", 100, &[(0, 50), (50, 50)]),
            ("bytes=007-0009", 100, &[(7, 3)]),
            // Behind the end: cut.
            ("bytes=90-199", 100, &[(90, 10)]),
            ("bytes=-101", 100, &[(0, 100)]),
            ("bytes=0-", 1, &[(0, 1)]),
            // Out of the range of numbers.
            ("bytes=0-18446744073709551615", 100, &[(0, 100)]),
            ("bytes=0-18446744073709551616", 100, &[(0, 100)]),
            ("bytes=1-99999999999999999999999999", 100, &[(1, 99)]),
            ("bytes=-18446744073709551616", 100, &[(0, 100)]),
            ("bytes=-9223372036854775808", 100, &[(0, 100)]),
            ("bytes=0-", u64::MAX, &[(0, u64::MAX)]),
            ("bytes=-1", u64::MAX, &[(u64::MAX - 1, 1)]),
            (
                "bytes=18446744073709551614-",
                u64::MAX,
                &[(u64::MAX - 1, 1)],
            ),
            // What is not there among what is.
            ("bytes=100-,0-0", 100, &[(0, 1)]),
            ("bytes=0-0,-0,1000-2000", 100, &[(0, 1)]),
            ("bytes=0-0,18446744073709551616-", 100, &[(0, 1)]),
            // Spelling.
            ("BYTES=0-0", 100, &[(0, 1)]),
            ("ByTeS=-1", 100, &[(99, 1)]),
            (" bytes=0-0\t", 100, &[(0, 1)]),
            ("bytes= 0-0", 100, &[(0, 1)]),
            ("bytes=0-0 ,\t1-1", 100, &[(0, 1), (1, 1)]),
            ("bytes=,0-0", 100, &[(0, 1)]),
            ("bytes=0-0,", 100, &[(0, 1)]),
            ("bytes=, ,\t,0-0,,  ,1-1, ,", 100, &[(0, 1), (1, 1)]),
        ] {
            assert_eq!(
                read(value.as_bytes(), len),
                parts(spans),
                "{value} of {len}"
            );
        }
    }

    #[test]
    fn what_is_broken_or_too_much_gets_the_whole() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes= ",
            "bytes=,",
            "bytes=, ,,",
            "bytes=-",
            "bytes=--",
            "bytes=--1",
            "bytes=1--",
            "bytes=1--2",
            "bytes=1-2-",
            "bytes=1-2-3",
            "bytes=1",
            "bytes=a-b",
            "bytes=0x0-0x1",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=-+1",
            "bytes=1.0-2",
            "bytes=0 - 1",
            "bytes=0- 1",
            "bytes=0 -1",
            "bytes=- 1",
            "bytes=0-1;2-3",
            "bytes=0-1 2-3",
            "bytes=\u{661}-\u{662}",
            "bytes 0-1",
            "bytes 0-1/100",
            "bytes =0-1",
            "bytes:0-1",
            "byte=0-1",
            "bytess=0-1",
            "=0-1",
            "0-1",
            "items=0-1",
            "none=0-1",
            "bytes=bytes=0-1",
            // One mistake spoils all, whatever is beside it.
            "bytes=5-2",
            "bytes=0-0,5-2",
            "bytes=5-2,0-0",
            "bytes=1000-,x",
            "bytes=0-0,-",
            "bytes=18446744073709551616-1",
            // More than there is.
            "bytes=0-,0-,0-",
            "bytes=0-,0-0",
            "bytes=-100,-1",
            "bytes=0-50,50-99",
            "bytes=0-18446744073709551615,0-18446744073709551615",
            "bytes=-18446744073709551615,-18446744073709551615",
        ] {
            assert_eq!(read(value.as_bytes(), 100), Ranges::Whole, "{value}");
        }
        assert_eq!(read(b"bytes=0-\xFF", 100), Ranges::Whole);
        assert_eq!(read(b"bytes=0-0,-1", 1), Ranges::Whole);
        assert_eq!(read(b"bytes=0-,0-", u64::MAX), Ranges::Whole);
        assert_eq!(read(b"bytes=5-2", 0), Ranges::Whole);
    }

    #[test]
    fn what_is_not_there_cannot_be_sent() {
        for (value, len) in [
            ("bytes=100-", 100),
            ("bytes=100-100", 100),
            ("bytes=100-,200-300", 100),
            ("bytes=-0", 100),
            ("bytes=-0,-00", 100),
            ("bytes=18446744073709551615-", 100),
            ("bytes=18446744073709551616-", 100),
            ("bytes=18446744073709551616-18446744073709551616", 100),
            ("bytes=18446744073709551615-", u64::MAX),
            ("bytes=18446744073709551616-", u64::MAX),
            ("bytes=0-", 0),
            ("bytes=0-0", 0),
            ("bytes=-1", 0),
            ("bytes=-0", 0),
            ("bytes=0-,0-,0-", 0),
        ] {
            let ranges = read(value.as_bytes(), len);
            assert_eq!(ranges, Ranges::Unsatisfiable, "{value} of {len}");
        }
    }

    #[test]
    fn ranges_are_counted_whether_they_are_there_or_not() {
        for member in ["0-0", "1000-", "-0", " 5-5 ", ",,7-7,"] {
            let of = |count: usize| format!("bytes={}", vec![member; count].join(","));
            let allowed = read(of(RANGES_LIMIT).as_bytes(), 100);
            assert_ne!(allowed, Ranges::Whole, "{member}");
            let refused = read(of(RANGES_LIMIT + 1).as_bytes(), 100);
            assert_eq!(refused, Ranges::Whole, "{member}");
        }
    }

    #[test]
    fn answers_name_what_they_hold() {
        for (start, len, of, value) in [
            (0, 10, 100, "bytes 0-9/100"),
            (99, 1, 100, "bytes 99-99/100"),
            (
                0,
                u64::MAX,
                u64::MAX,
                "bytes 0-18446744073709551614/18446744073709551615",
            ),
        ] {
            assert_eq!(content_range(Span { start, len }, of), value);
        }
        assert_eq!(unsatisfied(0), "bytes */0");
        assert_eq!(unsatisfied(u64::MAX), "bytes */18446744073709551615");
    }

    /// A range told by a plain model: the places of its bytes, and how it is written.
    fn random_range(random: &mut fastrand::Rng, len: u64) -> (Vec<u64>, String) {
        let limit = len + 3;
        let (first, last) = (random.u64(..limit), random.u64(..limit));
        let there = |from: u64, to: u64| (0..len).filter(|at| (from..to).contains(at)).collect();
        match random.u8(..4) {
            0 => (there(first, u64::MAX), format!("{first}-")),
            1 => {
                let start = len.saturating_sub(first);
                (there(start, u64::MAX), format!("-{first}"))
            }
            2 => {
                let huge = format!("{first}-{}", u128::from(u64::MAX) + u128::from(last));
                (there(first, u64::MAX), huge)
            }
            _ => {
                let (first, last) = (first.min(last), first.max(last));
                (there(first, last + 1), format!("{first}-{last}"))
            }
        }
    }

    #[test]
    fn ranges_are_those_of_a_plain_model() {
        let mut random = fastrand::Rng::with_seed(14);
        for _ in 0..100_000 {
            let len = random.u64(..12);
            let ranges: Vec<_> = (0..random.usize(1..5))
                .map(|_| random_range(&mut random, len))
                .collect();
            let mut value = "bytes=".to_owned();
            for (_, text) in &ranges {
                value.push_str(random.choice(["", " ", ",", ", ,\t"]).unwrap());
                value.push_str(text);
                value.push_str(random.choice([",", " ,", ",,"]).unwrap());
            }
            let there: Vec<_> = ranges
                .iter()
                .map(|(places, _)| places)
                .filter(|places| !places.is_empty())
                .collect();
            let sum: usize = there.iter().map(|places| places.len()).sum();
            let expected = if there.is_empty() {
                Ranges::Unsatisfiable
            } else if sum as u64 > len {
                Ranges::Whole
            } else {
                let span = |places: &&Vec<u64>| (places[0], places.len() as u64);
                parts(&there.iter().map(span).collect::<Vec<_>>())
            };
            assert_eq!(read(value.as_bytes(), len), expected, "{value} of {len}");
        }
    }
}
