//! Preconditions: whether a client has what it asks for already (RFC 9110 §13).
//!
//! [`judge`] goes through the fields in the order of §13.2.2, for GET and HEAD:
//!
//! 1. `If-Match`, or without it `If-Unmodified-Since`: if it does not hold, the answer is 412.
//! 2. `If-None-Match`, or without it `If-Modified-Since`: if it does not hold, the answer is 304.
//! 3. `If-Range`, if there is a `Range`: if it does not hold, the whole is sent.
//!
//! Entity tags are compared strongly where bytes are going to be put together or replaced
//! (`If-Match`, `If-Range`), weakly where an equal meaning will do (`If-None-Match`), see §8.8.3.2.
//!
//! What cannot be read is decided so that nothing wrong is taken for right. A member of a list that
//! is no entity tag is none of ours, and those beside it count; `*` counts if it stands alone. A
//! field with a date that is none, or with several, is passed over, as §13.1.3 and §13.1.4 demand.
//! An `If-Range` that is neither our tag nor our date does not hold. Tags are read a little more
//! widely than §8.8.3 has them: all but a quote may stand in quotes, since spaces are met there.
//!
//! A date in `If-Range` has to be `Last-Modified` as we wrote it (§13.1.5), byte by byte: another
//! spelling of the same second did not come from us.

use std::time::UNIX_EPOCH;

use hyper::header::{
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};
use hyper::{HeaderMap, Method};

use super::trim;

/// What is told of a representation, for clients to ask by later.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// `ETag`: `"..."` or `W/"..."`.
    pub etag: &'a HeaderValue,
    /// When it changed last, in seconds since the start of 1970.
    pub modified: u64,
    /// The same as `Last-Modified` has it.
    pub last_modified: &'a HeaderValue,
}

/// How a request is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// As if there were no conditions.
    Go {
        /// Whether `Range` counts: it is there, once, in a GET, and `If-Range` does not forbid it.
        is_ranged: bool,
    },
    /// By 304.
    NotModified,
    /// By 412.
    Failed,
}

/// How a GET or a HEAD is answered by a representation with these validators.
#[must_use]
pub fn judge(method: &Method, headers: &HeaderMap, validators: &Validators<'_>) -> Verdict {
    if is_another(headers, validators) {
        return Verdict::Failed;
    }
    if is_known(headers, validators) {
        return Verdict::NotModified;
    }
    Verdict::Go {
        is_ranged: *method == Method::GET && is_ranged(headers, validators),
    }
}

/// Whether the client wants none but another representation (§13.1.1, §13.1.4).
fn is_another(headers: &HeaderMap, validators: &Validators<'_>) -> bool {
    if let Some(is_named) = names(headers, &IF_MATCH, validators.etag, Comparison::Strong) {
        return !is_named;
    }
    let date = single(headers, &IF_UNMODIFIED_SINCE);
    date.is_some_and(|date| is_modified_since(date, validators) == Some(true))
}

/// Whether the client has this representation (§13.1.2, §13.1.3).
fn is_known(headers: &HeaderMap, validators: &Validators<'_>) -> bool {
    if let Some(is_named) = names(headers, &IF_NONE_MATCH, validators.etag, Comparison::Weak) {
        return is_named;
    }
    let date = single(headers, &IF_MODIFIED_SINCE);
    date.is_some_and(|date| is_modified_since(date, validators) == Some(false))
}

/// Whether the client asks for ranges, and of this representation (§13.1.5).
///
/// `Range` is no list, so a second one is a mistake, by which all are passed over (§14.2).
fn is_ranged(headers: &HeaderMap, validators: &Validators<'_>) -> bool {
    if single(headers, &RANGE).is_none() {
        return false;
    }
    if !headers.contains_key(IF_RANGE) {
        return true;
    }
    single(headers, &IF_RANGE).is_some_and(|condition| {
        condition == validators.last_modified
            || is_tag(condition.as_bytes(), validators.etag, Comparison::Strong)
    })
}

/// Whether a list of entity tags names `own`; `None` if the field is not there.
fn names(
    headers: &HeaderMap,
    field: &HeaderName,
    own: &HeaderValue,
    comparison: Comparison,
) -> Option<bool> {
    let lines = headers.get_all(field);
    let first = lines.iter().next()?;
    if trim(first.as_bytes()) == b"*" && lines.iter().nth(1).is_none() {
        return Some(true);
    }
    Some(lines.iter().any(|line| {
        let is_own = comparison == Comparison::Weak && line == own;
        is_own || members(line.as_bytes()).any(|member| is_tag(member, own, comparison))
    }))
}

/// Whether it changed after `date`; `None` if that is no date.
fn is_modified_since(date: &HeaderValue, validators: &Validators<'_>) -> Option<bool> {
    if date == validators.last_modified {
        return Some(false);
    }
    let date = httpdate::parse_http_date(date.to_str().ok()?).ok()?;
    let since = date.duration_since(UNIX_EPOCH).ok()?;
    Some(validators.modified > since.as_secs())
}

/// The value of a field that is there once.
fn single<'a>(headers: &'a HeaderMap, field: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(field).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// The members of a list: what stands between commas that are not in quotes.
///
/// A quote that is never closed keeps all behind it.
fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    let is_end = move |byte: &u8| {
        is_quoted ^= *byte == b'"';
        *byte == b',' && !is_quoted
    };
    list.split(is_end)
}

/// Whether `text` is an entity tag, and the same as `own`.
fn is_tag(text: &[u8], own: &HeaderValue, comparison: Comparison) -> bool {
    let tags = Tag::read(text).zip(Tag::read(own.as_bytes()));
    tags.is_some_and(|(tag, own)| {
        let is_comparable = match comparison {
            Comparison::Strong => !tag.is_weak && !own.is_weak,
            Comparison::Weak => true,
        };
        is_comparable && tag.opaque == own.opaque
    })
}

/// RFC 9110 §8.8.3.2.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Comparison {
    Strong,
    Weak,
}

/// An entity tag (RFC 9110 §8.8.3). There is no escaping in it.
struct Tag<'a> {
    is_weak: bool,
    opaque: &'a [u8],
}

impl<'a> Tag<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        let text = trim(text);
        let (is_weak, quoted) = match text.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let opaque = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        (!opaque.contains(&b'"')).then_some(Self { is_weak, opaque })
    }
}

#[cfg(test)]
mod tests;
