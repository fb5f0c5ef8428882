//! CONNECT as a client speaks it (RFC 9110 §9.3.6): the request, and the head of the answer.

use std::fmt::Write as _;

use memchr::memmem;

use super::{Parsed, Target};

/// A request for a tunnel to `target`.
#[must_use]
pub fn encode_request(target: &Target) -> Vec<u8> {
    let mut request = String::new();
    // Writing to a string does not fail.
    let _ = write!(
        request,
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
    );
    request.into_bytes()
}

/// Why an answer is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// It does not begin as an answer in HTTP/1 does.
    #[error("its answer does not begin with an HTTP/1.1 status line")]
    NoStatus,
    /// Its head goes on and on.
    #[error("the head of its answer is longer than {ANSWER_LIMIT} bytes")]
    TooLong,
}

/// Reads the status of an answer. What was `consumed` is its head; all behind it belongs to the
/// tunnel, if the status is 2xx.
///
/// # Errors
///
/// It cannot become an answer, whatever follows.
pub fn parse_answer(bytes: &[u8]) -> Result<Parsed<u16>, AnswerError> {
    let status = status(bytes)?;
    let head = bytes.get(..ANSWER_LIMIT).unwrap_or(bytes);
    match (memmem::find(head, END), status) {
        (Some(at), Some(status)) => Ok(Parsed::Whole {
            value: status,
            consumed: at + END.len(),
        }),
        // An end before there is a status.
        (Some(_), None) => Err(AnswerError::NoStatus),
        (None, _) if bytes.len() >= ANSWER_LIMIT => Err(AnswerError::TooLong),
        (None, _) => Ok(Parsed::NeedMore),
    }
}

/// The three digits behind the version; `None` while they are to come.
fn status(bytes: &[u8]) -> Result<Option<u16>, AnswerError> {
    let mut status = 0;
    for (at, wanted) in STATUS_LINE.iter().enumerate() {
        let Some(&byte) = bytes.get(at) else {
            return Ok(None);
        };
        let is_right = match wanted {
            b'?' => matches!(byte, b'0' | b'1'),
            b'#' => byte.is_ascii_digit(),
            b'_' => matches!(byte, b' ' | b'\r'),
            wanted => byte == *wanted,
        };
        if !is_right {
            return Err(AnswerError::NoStatus);
        }
        if *wanted == b'#' {
            status = status * 10 + u16::from(byte - b'0');
        }
    }
    Ok(Some(status))
}

/// The most that the head of an answer may take.
pub const ANSWER_LIMIT: usize = 16 * 1024;
/// `?` is a minor version, `#` a digit, `_` a space or the end of the line.
const STATUS_LINE: &[u8] = b"HTTP/1.? ###_";
const END: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_head_and_not_a_byte_more() {
        let whole = |value, consumed| Ok(Parsed::Whole { value, consumed });
        for (bytes, expected) in [
            ("", Ok(Parsed::NeedMore)),
            ("HTT", Ok(Parsed::NeedMore)),
            ("HTTP/1.1 20", Ok(Parsed::NeedMore)),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", Ok(Parsed::NeedMore)),
            ("HTTP/1.1 200 OK\r\n\r\nSSH-2.0", whole(200, 19)),
            ("HTTP/1.0 407 \r\nA: b\r\n\r\n", whole(407, 23)),
            ("HTTP/1.1 200\r\n\r\n", whole(200, 16)),
            ("HTTP/1.1 2000\r\n\r\n", Err(AnswerError::NoStatus)),
            ("HTTP/1.2 200 \r\n\r\n", Err(AnswerError::NoStatus)),
            ("HTTP/2 200\r\n\r\n", Err(AnswerError::NoStatus)),
            ("HTTP/1.1 2x0 \r\n\r\n", Err(AnswerError::NoStatus)),
            ("\r\n\r\n", Err(AnswerError::NoStatus)),
            ("SSH-2.0-a\r\n", Err(AnswerError::NoStatus)),
        ] {
            assert_eq!(parse_answer(bytes.as_bytes()), expected, "{bytes:?}");
        }
    }

    #[test]
    fn an_endless_head_is_refused_at_the_limit() {
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        bytes.resize(ANSWER_LIMIT - 1, b'a');
        assert_eq!(parse_answer(&bytes), Ok(Parsed::NeedMore));
        bytes.push(b'a');
        assert_eq!(parse_answer(&bytes), Err(AnswerError::TooLong));
    }

    #[test]
    fn a_request_names_its_target_twice() {
        let target = Target::parse("[::1]:443").unwrap();
        let request = b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n";
        assert_eq!(encode_request(&target), request);
    }
}
