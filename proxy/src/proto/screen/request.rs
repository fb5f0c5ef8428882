//! What a head and a chunk line say about framing.

use memchr::memchr;

use super::super::{is_token, trim, trim_start};
use super::Violation;

/// What the current head has said so far about its end and about what comes after.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    is_http11: bool,
    has_host: bool,
    is_chunked: bool,
    length: Option<u64>,
    is_connect: bool,
    leave: Leave,
}

/// Whether the connection leaves HTTP behind a request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Leave {
    /// The head does not ask for it.
    #[default]
    Unasked,
    /// The head asks and no answer is known.
    Asked,
    /// The answer grants it, though the body may still be on its way.
    Granted,
    /// The answer refuses it.
    Refused,
}

/// How a request ends.
pub(super) enum Body {
    Bytes(u64),
    Chunked,
}

impl Request {
    /// Reads a request line.
    pub(super) fn begin(line: &[u8]) -> Result<Self, Violation> {
        let (method, rest) = split_token(line);
        let rest = rest.strip_prefix(b" ").ok_or(Violation::RequestLine)?;
        let (target, version) = rest.split_last_chunk().ok_or(Violation::RequestLine)?;
        if method.is_empty() || !is_target(target) {
            return Err(Violation::RequestLine);
        }
        let is_http11 = match version {
            b" HTTP/1.1" => true,
            b" HTTP/1.0" => false,
            [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(Violation::Version);
            }
            _ => return Err(Violation::RequestLine),
        };
        let is_connect = method == b"CONNECT";
        let leave = if is_connect {
            Leave::Asked
        } else {
            Leave::Unasked
        };
        Ok(Self {
            is_http11,
            is_connect,
            leave,
            ..Self::default()
        })
    }

    pub(super) fn is_connect(&self) -> bool {
        self.is_connect
    }

    pub(super) fn leave(&self) -> Leave {
        self.leave
    }

    /// Notes the answer to a request that asked to leave HTTP.
    pub(super) fn answer(&mut self, answer: Leave) {
        if self.leave != Leave::Unasked {
            self.leave = answer;
        }
    }

    pub(super) fn take_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Violation> {
        match Known::of(name) {
            None => Ok(()),
            Some(Known::Host) => self.take_host(value),
            Some(Known::Length) => self.take_length(value),
            Some(Known::Coding) => self.take_coding(value),
            Some(Known::Upgrade) => {
                // RFC 9110 §7.8: HTTP/1.0 cannot ask for it.
                if self.is_http11 {
                    self.leave = Leave::Asked;
                }
                Ok(())
            }
        }
    }

    fn take_host(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.has_host {
            return Err(Violation::SeveralHosts);
        }
        if !value.iter().copied().all(is_host_byte) {
            return Err(Violation::BadHost);
        }
        self.has_host = true;
        Ok(())
    }

    fn take_length(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.length.is_some() {
            return Err(Violation::SeveralLengths);
        }
        if self.is_chunked {
            return Err(Violation::LengthAndCoding);
        }
        self.length = Some(read_length(value)?);
        Ok(())
    }

    fn take_coding(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.is_chunked {
            return Err(Violation::SeveralCodings);
        }
        if self.length.is_some() {
            return Err(Violation::LengthAndCoding);
        }
        if !self.is_http11 {
            return Err(Violation::CodingBefore11);
        }
        check_coding(value)?;
        self.is_chunked = true;
        Ok(())
    }

    /// How the request ends, once its head is whole.
    pub(super) fn body(&self) -> Result<Body, Violation> {
        if self.is_http11 && !self.has_host {
            return Err(Violation::MissingHost);
        }
        let body = if self.is_chunked {
            Body::Chunked
        } else {
            Body::Bytes(self.length.unwrap_or(0))
        };
        match body {
            Body::Bytes(0) => Ok(body),
            _ if self.is_connect => Err(Violation::ConnectBody),
            _ => Ok(body),
        }
    }
}

/// A field that frames, routes or switches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Known {
    Host,
    Length,
    Coding,
    Upgrade,
}

impl Known {
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        // Few names have these lengths, so that most are passed by without a comparison.
        let (known, spelling): (_, &[u8]) = match name.len() {
            4 => (Self::Host, b"host"),
            7 => (Self::Upgrade, b"upgrade"),
            14 => (Self::Length, b"content-length"),
            17 => (Self::Coding, b"transfer-encoding"),
            _ => return None,
        };
        name.eq_ignore_ascii_case(spelling).then_some(known)
    }
}

/// Reads a field line: its name and its value without the white space around it.
pub(super) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    match split_token(line) {
        ([], [b' ' | b'\t', ..]) => Err(Violation::Folding),
        (name @ [_, ..], [b':', value @ ..]) => Ok((name, trim(value))),
        (_, rest) if !rest.contains(&b':') => Err(Violation::NoColon),
        ([_, ..], rest) if trim_start(rest).first() == Some(&b':') => {
            Err(Violation::SpaceBeforeColon)
        }
        _ => Err(Violation::FieldName),
    }
}

/// Reads plain digits. No sign or list passes, nor a zero in front, which some take for octal.
fn read_length(value: &[u8]) -> Result<u64, Violation> {
    let is_plain = matches!(value, [b'0'] | [b'1'..=b'9', ..]);
    let digits = std::str::from_utf8(value).ok().filter(|_| is_plain);
    digits
        .and_then(|digits| digits.parse().ok())
        .filter(|&length| length <= LENGTH_LIMIT)
        .ok_or(Violation::BadLength)
}

/// Lets `chunked` pass and tells apart what is unknown from what is wrong (RFC 9112 §6.1, §6.3).
fn check_coding(value: &[u8]) -> Result<(), Violation> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.split(|&byte| byte == b',').map(trim);
    let mut is_chunked = false;
    let is_list = codings.all(|coding| {
        let is_behind_chunked = is_chunked;
        is_chunked = coding.eq_ignore_ascii_case(b"chunked");
        is_whole_token(coding) && !is_behind_chunked
    });
    Err(if is_list {
        Violation::UnknownCoding
    } else {
        Violation::BadCoding
    })
}

/// Reads the line before a chunk's data.
pub(super) fn read_chunk_size(line: &[u8]) -> Result<u64, Violation> {
    let digits = match memchr(b';', line) {
        Some(end) => line.get(..end).unwrap_or_default(),
        None => line,
    };
    if digits.is_empty() || digits.len() > CHUNK_DIGITS_LIMIT {
        return Err(Violation::BadChunkSize);
    }
    let size = digits.iter().try_fold(0, |size: u64, &byte| {
        let digit = char::from(byte).to_digit(16)?;
        size.checked_mul(16)?.checked_add(u64::from(digit))
    });
    size.filter(|&size| size <= LENGTH_LIMIT)
        .ok_or(Violation::BadChunkSize)
}

/// Splits behind the longest token, which may be empty.
fn split_token(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line
        .iter()
        .position(|&byte| !is_token(byte))
        .unwrap_or(line.len());
    line.split_at_checked(end).unwrap_or_default()
}

/// Whether this is a target in any of its forms. Some clients send text as it was typed, without
/// percent signs, so that more than ASCII passes; engines hand targets on as text.
fn is_target(target: &[u8]) -> bool {
    let has_space = target
        .iter()
        .fold(false, |found, &byte| found | (byte <= b' '));
    !target.is_empty() && !has_space && std::str::from_utf8(target).is_ok()
}

fn is_whole_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token)
}

/// Whether a byte may stand in `uri-host [":" port]`. A comma may (RFC 3986 §3.2.2), but it also
/// joins fields, so that one host could be two.
#[expect(
    clippy::indexing_slicing,
    reason = "every byte has a place in the table"
)]
fn is_host_byte(byte: u8) -> bool {
    HOST_BYTES[byte as usize]
}

#[expect(
    clippy::indexing_slicing,
    reason = "every byte has a place in the table"
)]
static HOST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'%')
            || matches!(
                byte,
                b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'='
            );
        byte += 1;
    }
    table
};

/// Parsers that count in signed numbers must agree too.
const LENGTH_LIMIT: u64 = i64::MAX as u64;
const CHUNK_DIGITS_LIMIT: usize = 16;
