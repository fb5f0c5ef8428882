//! Preconditions: each field counts where it should and nowhere else, whatever stands in the others.
//!
//! The input is the entity tag, which is weak if it begins with `W/`, and fields, a line each.
#![no_main]

use hyper::header::{
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};
use hyper::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use risefall_proxy::proto::precondition::{Validators, Verdict, judge};

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let Some(own) = Own::read(first) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let mut halves = line.splitn(2, |&byte| byte == b':');
        let name = halves
            .next()
            .and_then(|name| HeaderName::from_bytes(name).ok());
        let value = halves
            .next()
            .and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    check(&own, &headers);
});

/// What is told of the representation.
struct Own {
    etag: HeaderValue,
    is_weak: bool,
}

impl Own {
    /// A tag with this in it, but for quotes.
    fn read(line: &[u8]) -> Option<Self> {
        let is_weak = line.starts_with(b"W/");
        let opaque = line.strip_prefix(b"W/").unwrap_or(line);
        let mut etag = if is_weak {
            b"W/\"".to_vec()
        } else {
            b"\"".to_vec()
        };
        etag.extend(opaque.iter().filter(|&&byte| byte != b'"'));
        etag.push(b'"');
        let etag = HeaderValue::from_bytes(&etag).ok()?;
        Some(Self { etag, is_weak })
    }

    fn judge(&self, method: &Method, headers: &HeaderMap) -> Verdict {
        let validators = Validators {
            etag: &self.etag,
            modified: 784_111_777,
            last_modified: &HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"),
        };
        judge(method, headers, &validators)
    }

    fn get(&self, headers: &HeaderMap) -> Verdict {
        self.judge(&Method::GET, headers)
    }
}

fn check(own: &Own, headers: &HeaderMap) {
    let verdict = own.get(headers);
    let head = own.judge(&Method::HEAD, headers);
    match verdict {
        Verdict::Go { is_ranged } => {
            assert_eq!(head, Verdict::Go { is_ranged: false });
            let ranges = headers.get_all(RANGE).iter().count();
            assert!(!is_ranged || ranges == 1);
        }
        Verdict::NotModified | Verdict::Failed => assert_eq!(head, verdict),
    }
    for (tags, dates) in [
        (IF_MATCH, IF_UNMODIFIED_SINCE),
        (IF_NONE_MATCH, IF_MODIFIED_SINCE),
    ] {
        if headers.contains_key(&tags) {
            assert_eq!(own.get(&without(headers, &[dates])), verdict);
        }
        assert_eq!(own.get(&joined(headers, &tags)), verdict);
    }
    check_tags(own, headers);

    let plain = [
        IF_MATCH,
        IF_UNMODIFIED_SINCE,
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
    ];
    let plain = without(headers, &plain);
    assert!(matches!(own.get(&plain), Verdict::Go { .. }));
    let mut ranged = without(&plain, &[IF_RANGE, RANGE]);
    assert_eq!(own.get(&ranged), Verdict::Go { is_ranged: false });
    ranged.append(RANGE, HeaderValue::from_static("bytes=0-0"));
    assert_eq!(own.get(&ranged), Verdict::Go { is_ranged: true });
    ranged.append(IF_RANGE, own.etag.clone());
    let is_ranged = !own.is_weak;
    assert_eq!(own.get(&ranged), Verdict::Go { is_ranged });
}

/// Our own tag in a line of its own settles it.
fn check_tags(own: &Own, headers: &HeaderMap) {
    let mut known = headers.clone();
    known.append(IF_NONE_MATCH, own.etag.clone());
    assert!(!matches!(own.get(&known), Verdict::Go { .. }));
    let mut matched = headers.clone();
    matched.append(IF_MATCH, own.etag.clone());
    assert_eq!(own.get(&matched) == Verdict::Failed, own.is_weak);
}

fn without(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut headers = headers.clone();
    for name in names {
        headers.remove(name);
    }
    headers
}

/// The same with all lines of a list in one, unless a quote is left open in one of them.
fn joined(headers: &HeaderMap, name: &HeaderName) -> HeaderMap {
    let mut headers = headers.clone();
    let lines: Vec<_> = headers.get_all(name).iter().cloned().collect();
    let is_closed = |line: &HeaderValue| {
        let quotes = line.as_bytes().iter().filter(|&&byte| byte == b'"');
        quotes.count().is_multiple_of(2)
    };
    if !lines.is_empty() && lines.iter().all(is_closed) {
        let lines: Vec<_> = lines.iter().map(HeaderValue::as_bytes).collect();
        let line = HeaderValue::from_bytes(&lines.join(&b", "[..]));
        headers.insert(name, line.expect("what was allowed in parts"));
    }
    headers
}
