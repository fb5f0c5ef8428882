//! Bytes that are sent, and bytes that are expected: for services that speak neither HTTP nor gRPC.

use super::error::DefinitionError;

/// What is sent to a server, and what it must answer.
///
/// # Examples
///
/// ```
/// use risefall::check::{Exchange, Expect};
///
/// let redis = Exchange::new(r"PING\r\n").unescaped()?.expect(Expect::prefix("+PONG"))?;
/// assert_eq!(redis.sent(), b"PING\r\n");
/// # Ok::<(), risefall::check::DefinitionError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Exchange {
    sent: Vec<u8>,
    expect: Option<Expect>,
    limit_bytes: usize,
}

/// What an answer must be.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Expect {
    /// It begins with these bytes.
    Prefix(Vec<u8>),
    /// It has these bytes somewhere.
    Contains(Vec<u8>),
}

/// What the bytes that have come say so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Matched {
    /// It is as expected, whatever comes.
    Yes,
    /// It is not, whatever comes.
    No,
    /// More has to come.
    Undecided,
}

impl Exchange {
    /// Sends these bytes, and expects nothing yet: that they can be sent is enough. Nothing is sent
    /// if they are empty.
    #[must_use]
    pub fn new(sent: impl Into<Vec<u8>>) -> Self {
        Self {
            sent: sent.into(),
            expect: None,
            limit_bytes: LIMIT_BYTES,
        }
    }

    /// Reads escapes in what was given: see [`unescape`].
    ///
    /// # Errors
    ///
    /// An escape is none.
    pub fn unescaped(mut self) -> Result<Self, DefinitionError> {
        self.sent = unescape(&self.sent)?;
        Ok(self)
    }

    /// What must be answered.
    ///
    /// # Errors
    ///
    /// It is empty, or longer than what is read at most.
    pub fn expect(mut self, expect: Expect) -> Result<Self, DefinitionError> {
        let len = expect.bytes().len();
        if !(1..=self.limit_bytes).contains(&len) {
            return Err(DefinitionError::SizeOutOfRange {
                field: "expected",
                bytes: len,
                most: self.limit_bytes,
            });
        }
        self.expect = Some(expect);
        Ok(self)
    }

    /// How much is read of the answer, in bytes. Default 4096, at most 65 536; to be given before
    /// what is expected.
    ///
    /// # Errors
    ///
    /// It is outside its range, or less than what is expected already.
    pub fn limit_bytes(mut self, bytes: usize) -> Result<Self, DefinitionError> {
        if !(1..=LIMIT_BYTES_MOST).contains(&bytes) {
            return Err(DefinitionError::SizeOutOfRange {
                field: "limit_bytes",
                bytes,
                most: LIMIT_BYTES_MOST,
            });
        }
        self.limit_bytes = bytes;
        match self.expect.take() {
            Some(expect) => self.expect(expect),
            None => Ok(self),
        }
    }

    /// What is sent.
    #[must_use]
    pub fn sent(&self) -> &[u8] {
        &self.sent
    }

    /// What is expected; `None` if nothing is.
    #[must_use]
    pub fn expected(&self) -> Option<&Expect> {
        self.expect.as_ref()
    }

    /// How much is read of the answer, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit_bytes
    }
}

impl Expect {
    /// It begins with these bytes.
    #[must_use]
    pub fn prefix(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Prefix(bytes.into())
    }

    /// It has these bytes somewhere.
    #[must_use]
    pub fn contains(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Contains(bytes.into())
    }

    /// Which bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Prefix(bytes) | Self::Contains(bytes) => bytes,
        }
    }

    /// What `heard`, the beginning of an answer, says.
    #[must_use]
    pub fn judge(&self, heard: &[u8]) -> Matched {
        match self {
            Self::Prefix(prefix) if heard.starts_with(prefix) => Matched::Yes,
            Self::Prefix(prefix) if prefix.starts_with(heard) => Matched::Undecided,
            Self::Prefix(_) => Matched::No,
            Self::Contains(part) if has(heard, part) => Matched::Yes,
            Self::Contains(_) => Matched::Undecided,
        }
    }
}

/// Bytes of a text with escapes: `\r`, `\n`, `\t`, `\0`, `\\`, and `\xHH` with two hexadecimal
/// digits.
///
/// # Errors
///
/// [`DefinitionError::Escape`], with the place of the first that is none of these.
pub fn unescape(text: &[u8]) -> Result<Vec<u8>, DefinitionError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        let at = text.len() - rest.len();
        let (byte, behind) = match (first, behind) {
            (b'\\', [b'r', behind @ ..]) => (b'\r', behind),
            (b'\\', [b'n', behind @ ..]) => (b'\n', behind),
            (b'\\', [b't', behind @ ..]) => (b'\t', behind),
            (b'\\', [b'0', behind @ ..]) => (0, behind),
            (b'\\', [b'\\', behind @ ..]) => (b'\\', behind),
            (b'\\', [b'x', high, low, behind @ ..]) => match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, behind),
                _ => return Err(DefinitionError::Escape { at }),
            },
            (b'\\', _) => return Err(DefinitionError::Escape { at }),
            (plain, behind) => (*plain, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    Ok(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    let digit = char::from(digit).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// Whether `part` is somewhere in `whole`. Both are bounded by what a check reads.
pub(super) fn has(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|window| window == part)
}

/// Enough for any greeting.
const LIMIT_BYTES: usize = 4096;
/// The largest datagram there is, and more than a greeting.
const LIMIT_BYTES_MOST: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_bytes_and_what_is_none_is_refused_with_its_place() {
        for (text, bytes) in [
            (r"PING\r\n", &b"PING\r\n"[..]),
            (r"\x00\xfF\0\t\\x41", b"\x00\xff\0\t\\x41"),
            ("plain \u{e9}", b"plain \xc3\xa9"),
            ("", b""),
        ] {
            assert_eq!(unescape(text.as_bytes()).unwrap(), bytes, "{text}");
        }
        for (text, at) in [(r"ab\q", 2), (r"\x4", 0), (r"ok\\\xg0", 4), ("\\", 0)] {
            let error = unescape(text.as_bytes()).unwrap_err();
            assert_eq!(error, DefinitionError::Escape { at }, "{text}");
        }
    }

    #[test]
    fn a_prefix_is_decided_at_the_first_byte_that_differs() {
        let prefix = Expect::prefix("+PONG");
        for (heard, matched) in [
            ("", Matched::Undecided),
            ("+PO", Matched::Undecided),
            ("+PONG", Matched::Yes),
            ("+PONG\r\n", Matched::Yes),
            ("-", Matched::No),
            ("+PANG", Matched::No),
        ] {
            assert_eq!(prefix.judge(heard.as_bytes()), matched, "{heard}");
        }
        let part = Expect::contains("OK");
        for (heard, matched) in [
            ("O", Matched::Undecided),
            ("no OK", Matched::Yes),
            ("nO K", Matched::Undecided),
        ] {
            assert_eq!(part.judge(heard.as_bytes()), matched, "{heard}");
        }
    }

    #[test]
    fn what_is_expected_fits_into_what_is_read() {
        let exchange = Exchange::new("").limit_bytes(3).unwrap();
        let error = exchange.clone().expect(Expect::prefix("four")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected is 4 bytes, must be from 1 to 3"
        );
        assert!(exchange.clone().expect(Expect::prefix("")).is_err());
        let exchange = exchange.expect(Expect::prefix("abc")).unwrap();
        assert!(exchange.clone().limit_bytes(2).is_err());
        assert!(exchange.limit_bytes(65_537).is_err());
    }
}
