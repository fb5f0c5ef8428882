//! The framing of a body with several ranges: `multipart/byteranges` (RFC 9110 §14.6).
//!
//! Each part has a head with the boundary, the type of the whole representation and the range that
//! follows (§15.3.7.2); behind the last part stands the boundary once more (RFC 2046 §5.1.1). The
//! bytes between are the caller's, who may send them from a file. All heads are made at the start,
//! for they are few and short, and only so is the length of the body known before it is sent.
//!
//! The boundary must not occur in what is sent, which nobody looks through for it. It is a random
//! number of 128 bits, which who writes the files cannot know.
//!
//! This is for two ranges and more: one alone is sent without any of this, even if the client
//! asked for more that are not there.

use std::fmt::Write as _;

use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::header::HeaderValue;

use super::ascii_value;
use super::range::Span;

/// A body with several ranges, but for their bytes.
///
/// What is sent is the first of `heads`, the bytes of the first span, the second of `heads`, and so
/// on; at last `close`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Multipart {
    /// `Content-Type` of the answer.
    pub content_type: HeaderValue,
    /// What stands before the bytes of each span, in the same order.
    pub heads: Vec<Bytes>,
    /// What stands behind the bytes of the last one.
    pub close: Bytes,
    /// The length of it all, in bytes.
    pub len: u64,
}

impl Multipart {
    /// Frames `spans` of a representation of `len` bytes and the type `kind`.
    ///
    /// `boundary` is a random number, made for this answer.
    #[must_use]
    pub fn frame(boundary: u128, kind: &HeaderValue, spans: &[Span], len: u64) -> Self {
        let mut out = BytesMut::with_capacity((HEAD_BYTES + kind.len()) * (spans.len() + 1));
        let mut heads = Vec::with_capacity(spans.len());
        let mut total = 0_u64;
        for span in spans {
            let line_end = if heads.is_empty() { "" } else { "\r\n" };
            // Writing to a buffer that grows does not fail.
            let _ = write!(out, "{line_end}--{boundary:032x}\r\nContent-Type: ");
            out.put_slice(kind.as_bytes());
            let (start, last) = (span.start, span.last());
            let _ = write!(out, "\r\nContent-Range: bytes {start}-{last}/{len}\r\n\r\n");
            let head = out.split().freeze();
            // The spans of a request are not longer than the representation, so this is far from
            // the greatest number unless the file is.
            total = total
                .saturating_add(head.len() as u64)
                .saturating_add(span.len);
            heads.push(head);
        }
        let _ = write!(out, "\r\n--{boundary:032x}--\r\n");
        let close = out.freeze();
        Self {
            content_type: ascii_value(format!("multipart/byteranges; boundary={boundary:032x}")),
            len: total.saturating_add(close.len() as u64),
            heads,
            close,
        }
    }
}

/// The most bytes of a head without its type: 81 for the boundary and the names, 60 for three
/// numbers. The end is shorter.
const HEAD_BYTES: usize = 141;

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(spans: &[(u64, u64)]) -> Vec<Span> {
        let spans = spans.iter();
        spans.map(|&(start, len)| Span { start, len }).collect()
    }

    /// The body as a client gets it.
    fn body(multipart: &Multipart, spans: &[Span], representation: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for (head, span) in multipart.heads.iter().zip(spans) {
            body.extend_from_slice(head);
            body.extend_from_slice(&representation[span.start as usize..][..span.len as usize]);
        }
        body.extend_from_slice(&multipart.close);
        body
    }

    #[test]
    fn parts_stand_between_boundaries() {
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        let spans = spans(&[(0, 2), (9, 1)]);
        let multipart = Multipart::frame(0xAB, &kind, &spans, 10);
        assert_eq!(
            multipart.content_type,
            "multipart/byteranges; boundary=000000000000000000000000000000ab"
        );
        let expected = b"--000000000000000000000000000000ab\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\
            Content-Range: bytes 0-1/10\r\n\
            \r\n\
            01\r\n\
            --000000000000000000000000000000ab\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\
            Content-Range: bytes 9-9/10\r\n\
            \r\n\
            9\r\n\
            --000000000000000000000000000000ab--\r\n";
        let body = body(&multipart, &spans, b"0123456789");
        assert_eq!(
            body.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
        assert_eq!(multipart.len, expected.len() as u64);
    }

    #[test]
    fn the_length_is_that_of_all_parts_whatever_their_numbers() {
        let kind = HeaderValue::from_static("a/b");
        let spans = spans(&[(0, 1 << 40), (u64::MAX - 2, 1), (1 << 41, 1 << 42)]);
        let multipart = Multipart::frame(u128::MAX, &kind, &spans, u64::MAX - 1);
        let heads: usize = multipart.heads.iter().map(Bytes::len).sum();
        let framing = (heads + multipart.close.len()) as u64;
        assert_eq!(multipart.len, framing + (1 << 40) + 1 + (1 << 42));
        let head = multipart.heads[1].escape_ascii().to_string();
        assert!(head.ends_with(
            "bytes 18446744073709551613-18446744073709551613/18446744073709551614\\r\\n\\r\\n"
        ));
    }

    /// The parts as a plain reader of RFC 2046 finds them: their ranges and their bytes.
    fn read_parts<'a>(boundary: u128, body: &'a str) -> Vec<(&'a str, &'a str)> {
        let delimiter = format!("\r\n--{boundary:032x}");
        let mut pieces = body.split(&*delimiter);
        let first = format!("--{boundary:032x}");
        let first = pieces.next().unwrap().strip_prefix(&*first).unwrap();
        let mut pieces: Vec<_> = [first].into_iter().chain(pieces).collect();
        assert_eq!(pieces.pop(), Some("--\r\n"));
        let read = |piece: &'a str| {
            let (head, bytes) = piece.split_once("\r\n\r\n").unwrap();
            let (kind, range) = head.rsplit_once("\r\n").unwrap();
            assert_eq!(kind, "\r\nContent-Type: a/b");
            (range.strip_prefix("Content-Range: ").unwrap(), bytes)
        };
        pieces.into_iter().map(read).collect()
    }

    #[test]
    fn a_plain_reader_finds_the_parts() {
        let text = "0123456789abcdefghijklmnopqrstuvwxyz\r\n--\r\n";
        let kind = HeaderValue::from_static("a/b");
        let mut random = fastrand::Rng::with_seed(6);
        for _ in 0..10_000 {
            let boundary = random.u128(..);
            let spans: Vec<Span> = (0..random.usize(1..33))
                .map(|_| {
                    let start = random.u64(..text.len() as u64);
                    let len = random.u64(1..=text.len() as u64 - start);
                    Span { start, len }
                })
                .collect();
            let multipart = Multipart::frame(boundary, &kind, &spans, text.len() as u64);
            let body = body(&multipart, &spans, text.as_bytes());
            assert_eq!(body.len() as u64, multipart.len);
            let body = String::from_utf8(body).unwrap();
            let parts = read_parts(boundary, &body);
            assert_eq!(parts.len(), spans.len());
            for ((range, bytes), span) in parts.into_iter().zip(&spans) {
                let (start, end) = (span.start as usize, (span.start + span.len) as usize);
                assert_eq!(range, format!("bytes {start}-{}/{}", end - 1, text.len()));
                assert_eq!(bytes, &text[start..end]);
            }
        }
    }
}
