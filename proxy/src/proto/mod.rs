//! Codecs: bytes in, decisions and bytes out.
//!
//! Everything here is a plain function or a small state machine over byte slices, so that every
//! rule about what a peer may send is tested without a socket and fuzzed as it is. Reading,
//! writing, deadlines and buffers belong to the caller; so does the wish to wait for more input,
//! which is said by [`Parsed::NeedMore`].
//!
//! Two rules hold for every codec. A length that came from a peer is bounded before anything is
//! kept or reserved for it. The verdict on some bytes does not depend on how they were cut into
//! reads.

pub mod byteranges;
pub mod coding;
pub mod connect;
pub mod path;
pub mod precondition;
pub mod range;
pub mod screen;
pub mod sniff;
pub mod socks5;
pub mod target;

use bytes::Bytes;
use hyper::header::HeaderValue;

pub use target::{Host, HostError, Name, Target, TargetError};

/// What a codec makes of the bytes read so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Parsed<T> {
    /// All is well, but the message goes on: call again with these bytes and more behind them.
    NeedMore,
    /// The message is whole.
    Whole {
        /// The message.
        value: T,
        /// How many bytes it took; what lies behind them belongs to the next message.
        consumed: usize,
    },
}

/// Reads a message from its start; each step is `None` while its bytes are still to come.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Runs `read` over `bytes`, where `None` means that it ran out of them.
    pub(crate) fn parse<T, E>(
        bytes: &'a [u8],
        read: impl FnOnce(&mut Self) -> Option<Result<T, E>>,
    ) -> Result<Parsed<T>, E> {
        let mut reader = Self { rest: bytes };
        let Some(result) = read(&mut reader) else {
            return Ok(Parsed::NeedMore);
        };
        let consumed = bytes.len() - reader.rest.len();
        result.map(|value| Parsed::Whole { value, consumed })
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    pub(crate) fn slice(&mut self, len: u8) -> Option<&'a [u8]> {
        let (slice, rest) = self.rest.split_at_checked(usize::from(len))?;
        self.rest = rest;
        Some(slice)
    }
}

/// Whether a byte may stand in an HTTP token: a method or a field name (RFC 9110 §5.6.2).
#[expect(
    clippy::indexing_slicing,
    reason = "every byte has a place in the table"
)]
pub(crate) fn is_token(byte: u8) -> bool {
    TOKEN_BYTES[byte as usize]
}

/// The value of a field that we write ourselves, of visible ASCII and spaces only.
fn ascii_value(text: String) -> HeaderValue {
    // Nothing in such a text is refused.
    HeaderValue::from_maybe_shared(Bytes::from(text))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A value without the white space around it (RFC 9110 §5.6.3).
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    let mut value = trim_start(value);
    while let [before @ .., b' ' | b'\t'] = value {
        value = before;
    }
    value
}

/// A value without the white space in front of it.
pub(crate) fn trim_start(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', behind @ ..] = value {
        value = behind;
    }
    value
}

/// A table, because names are most of what is scanned byte by byte.
#[expect(
    clippy::indexing_slicing,
    reason = "every byte has a place in the table"
)]
static TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.')
            || matches!(byte, b'^'..=b'`' | b'|' | b'~');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::is_token;

    #[test]
    fn tokens_are_letters_digits_and_fifteen_marks() {
        let tokens: Vec<u8> = (0..=u8::MAX).filter(|&byte| is_token(byte)).collect();
        let marks: Vec<u8> = tokens
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_alphanumeric())
            .collect();
        assert_eq!(marks, b"!#$%&'*+-.^_`|~");
        assert_eq!(tokens.len(), marks.len() + 62);
    }
}
