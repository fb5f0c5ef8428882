//! A strict look at the bytes of an HTTP/1 client, before the HTTP engine reads them.
//!
//! Request smuggling lives on messages that two parsers cut at different places. An engine forgives
//! much, rightly so, and by the time it hands over a request what it forgave cannot be seen. So
//! every byte of a client passes here first, and whatever RFC 9112 lets parsers read differently is
//! refused (§2.2, §5, §6, §7): the [`Violation`] list is the list of rules. What passes has one
//! reading: each head, length and chunk means the same to every parser behind.
//!
//! The screen frames, it does not judge. Methods, targets, the match of `Host` and target, and
//! other fields are for those who know the route.
//!
//! # After a head that asks to leave HTTP
//!
//! A `CONNECT`, or an HTTP/1.1 request with `Upgrade`, may end HTTP on the connection, and only the
//! answer decides. Until then the bytes behind it are neither examined nor let through:
//! [`Screen::inspect`] tells how many bytes may go on, and its caller holds the others back. Then
//!
//! - [`Screen::tunnel`]: the answer was 2xx to a `CONNECT`, or 101. All that follows, what was held
//!   included, is passed without a look.
//! - [`Screen::stay`]: any other answer. What follows is examined again, as the next request. Bytes
//!   that were sent behind a `CONNECT` too early end the connection instead: clients do not
//!   pipeline there, so they were meant for a tunnel that never was, and whoever chose them (a page
//!   in a browser, say) must not get them read as a request of the client.
//!
//! A caller that forgets to decide holds the connection up; it does not open it.
//!
//! # In front of a broken request
//!
//! What came whole before a request that breaks a rule goes on, however the bytes were cut into
//! chunks, and is answered first. Nothing does of that request that is in the same chunk as the
//! mistake.
//!
//! # Cost
//!
//! Linear in the bytes. A good line that arrives whole is read where it lies; one that is cut, or
//! needs a closer look, is gathered up to its limit. Body bytes are counted, not looked at.

mod request;
mod violation;

use memchr::memchr;

use request::{Body, Known, Leave, Request, read_chunk_size, split_field};

pub use violation::Violation;

/// Bounds of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of the request line without its end. Default 16 KiB: some clients put whole queries
    /// there, and 8 KiB is what RFC 9112 §3 asks for at least.
    pub request_line_bytes: usize,
    /// Bytes of all fields of a head with their line ends; also of a trailer section. Default
    /// 64 KiB.
    pub field_bytes: usize,
    /// Fields of a head; also of a trailer section. Default 100.
    pub field_count: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line_bytes: 16 * 1024,
            field_bytes: 64 * 1024,
            field_count: 100,
        }
    }
}

/// Watches one connection, from its first byte.
#[derive(Clone, Debug)]
pub struct Screen {
    limits: Limits,
    state: State,
    request: Request,
    /// The start of a line whose end is still to come, without what `limits` forbid.
    partial: Vec<u8>,
    heads: u64,
    /// Whether the violation is in the body of the last head's request.
    broke_in_body: bool,
}

impl Screen {
    /// A screen for a connection that has sent nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: START,
            request: Request::default(),
            partial: Vec::new(),
            heads: 0,
            broke_in_body: false,
        }
    }

    /// Examines the next bytes of the client and tells how many of them may go on.
    ///
    /// Fewer than all in two cases, and the caller holds the rest back in both:
    ///
    /// - Behind a head that asks to leave HTTP. The caller decides with [`tunnel`](Self::tunnel) or
    ///   [`stay`](Self::stay), and shows the rest again.
    /// - In front of a request that breaks a rule, if one before it ends in this chunk: that one is
    ///   to have its response (RFC 9112 §9.3.2). The rest, shown again, is refused.
    ///
    /// # Errors
    ///
    /// Nothing of the chunk may go on and the connection is to end; the answer stays the same for
    /// ever. Earlier requests may still wait for their responses, see [`heads`](Self::heads).
    pub fn inspect(&mut self, chunk: &[u8]) -> Result<usize, Violation> {
        let mut rest = chunk;
        // How much of the chunk belongs to requests that end in it.
        let mut sound = 0;
        while !rest.is_empty() && !self.is_undecided() {
            match self.step(rest) {
                Ok(behind) => rest = behind,
                Err(violation) => {
                    self.refuse(violation);
                    return if sound > 0 { Ok(sound) } else { Err(violation) };
                }
            }
            if matches!(self.state, State::Start { empty_lines: 0 }) && self.partial.is_empty() {
                sound = chunk.len() - rest.len();
            }
        }
        if let State::Undecided { early } = &mut self.state {
            *early |= !rest.is_empty();
        }
        Ok(chunk.len() - rest.len())
    }

    fn refuse(&mut self, violation: Violation) {
        self.broke_in_body = match self.state {
            State::Broken(_) => self.broke_in_body,
            State::Start { .. } | State::Fields(_) => false,
            _ => true,
        };
        self.state = State::Broken(violation);
        self.partial = Vec::new();
    }

    /// The connection left HTTP: everything behind the current request passes without a look.
    ///
    /// Without effect if that request did not ask for it.
    pub fn tunnel(&mut self) {
        self.request.answer(Leave::Granted);
        if self.is_undecided() {
            self.state = State::Tunnel;
        }
    }

    /// The connection stays with HTTP: what is behind the current request is the next one.
    ///
    /// Without effect if that request did not ask for anything else.
    pub fn stay(&mut self) {
        self.request.answer(Leave::Refused);
        if let State::Undecided { early } = self.state {
            self.state = if early && self.request.is_connect() {
                State::Broken(Violation::EarlyBytes)
            } else {
                START
            };
        }
    }

    /// Whether bytes are held back until [`tunnel`](Self::tunnel) or [`stay`](Self::stay).
    pub fn is_undecided(&self) -> bool {
        matches!(self.state, State::Undecided { .. })
    }

    /// Whether the client is between two requests, where the end of its stream is no loss.
    pub fn is_between_requests(&self) -> bool {
        matches!(self.state, State::Start { .. }) && self.partial.is_empty()
    }

    /// Whether the last head that was read to its end has a body of which more has to come, or which
    /// cannot be read on.
    pub fn is_in_body(&self) -> bool {
        match self.state {
            State::Start { .. } | State::Fields(_) | State::Undecided { .. } | State::Tunnel => {
                false
            }
            State::Broken(_) => self.broke_in_body,
            _ => true,
        }
    }

    /// What the connection was refused for, if it was.
    pub fn violation(&self) -> Option<Violation> {
        match self.state {
            State::Broken(violation) => Some(violation),
            _ => None,
        }
    }

    /// Whether the violation is in the body of a request whose head was read to its end.
    pub fn broke_in_body(&self) -> bool {
        self.broke_in_body
    }

    /// How many heads were read to their end, that of a request with a broken body among them.
    ///
    /// When a violation comes in a head, a caller that has answered this many requests can answer
    /// it with [`Violation::status`]; one that has not would put that answer in the place of
    /// another. When it [comes in a body](Self::broke_in_body), the last of these requests is the
    /// one at fault: the answer is for it, unless it has one.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Takes the next part of `bytes`, which are not empty, and returns what lies behind it.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Violation> {
        match self.state {
            State::Start { .. } | State::Fields(_) | State::ChunkSize | State::Trailers(_) => {
                self.step_line(bytes)
            }
            State::Body { left } => {
                let (behind, left) = skip(bytes, left);
                self.state = State::Body { left };
                if left == 0 {
                    self.end_message();
                }
                Ok(behind)
            }
            State::Chunk { left } => {
                let (behind, left) = skip(bytes, left);
                self.state = if left == 0 {
                    State::ChunkCr
                } else {
                    State::Chunk { left }
                };
                Ok(behind)
            }
            State::ChunkCr => {
                self.state = State::ChunkLf;
                bytes.strip_prefix(b"\r").ok_or(Violation::BadChunkEnd)
            }
            State::ChunkLf => {
                self.state = State::ChunkSize;
                bytes.strip_prefix(b"\n").ok_or(Violation::BadChunkEnd)
            }
            State::Tunnel | State::Undecided { .. } => Ok(&[]),
            State::Broken(violation) => Err(violation),
        }
    }

    fn step_line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Violation> {
        if self.partial.is_empty()
            && let Some((line, behind)) = split_plain_line(bytes)
        {
            self.check_room(line.len() + 1)?;
            self.take_line(line)?;
            return Ok(behind);
        }
        let end = memchr(b'\n', bytes);
        let (start, behind) = match end {
            Some(end) => (bytes.get(..end), bytes.get(end + 1..)),
            None => (Some(bytes), None),
        };
        let (start, behind) = (start.unwrap_or_default(), behind.unwrap_or_default());
        self.check_room(self.partial.len() + start.len())?;
        self.partial.extend_from_slice(start);
        if end.is_some() {
            let mut line = std::mem::take(&mut self.partial);
            self.take_line(check_line(&line)?)?;
            // A connection that waits for its next request should not sit on a long line.
            if line.capacity() <= PARTIAL_KEPT {
                line.clear();
                self.partial = line;
            }
        }
        Ok(behind)
    }

    /// Checks the limits for a line of which `bytes` are there, its LF not counted.
    ///
    /// Asked before the bytes are kept, and before any other rule: the verdict is then the same
    /// whether the line came whole or in parts.
    fn check_room(&self, bytes: usize) -> Result<(), Violation> {
        let (room, violation) = match self.state {
            State::Start { .. } => (
                self.limits.request_line_bytes.saturating_add(1),
                Violation::RequestLineTooLong,
            ),
            State::Fields(section) | State::Trailers(section) => (
                self.limits.field_bytes.saturating_sub(section.bytes),
                Violation::FieldsTooLong,
            ),
            _ => (CHUNK_LINE_LIMIT, Violation::ChunkLineTooLong),
        };
        if bytes > room { Err(violation) } else { Ok(()) }
    }

    /// Judges a line, which is here without its end and has no control bytes.
    fn take_line(&mut self, line: &[u8]) -> Result<(), Violation> {
        let taken = line.len() + 2;
        match self.state {
            State::Start { empty_lines } if line.is_empty() => {
                if empty_lines == EMPTY_LINES_LIMIT {
                    return Err(Violation::EmptyLines);
                }
                self.state = State::Start {
                    empty_lines: empty_lines + 1,
                };
            }
            State::Start { .. } => {
                self.request = Request::begin(line)?;
                self.state = State::Fields(Section::default());
            }
            State::Fields(_) if line.is_empty() => return self.end_head(),
            State::Fields(section) => {
                self.state = State::Fields(section.with_field(taken, &self.limits)?);
                let (name, value) = split_field(line)?;
                self.request.take_field(name, value)?;
            }
            State::Trailers(_) if line.is_empty() => self.end_message(),
            State::Trailers(section) => {
                self.state = State::Trailers(section.with_field(taken, &self.limits)?);
                let (name, _) = split_field(line)?;
                if Known::of(name).is_some_and(|known| known != Known::Upgrade) {
                    return Err(Violation::ForbiddenTrailer);
                }
            }
            _ => {
                self.state = match read_chunk_size(line)? {
                    0 => State::Trailers(Section::default()),
                    left => State::Chunk { left },
                };
            }
        }
        Ok(())
    }

    fn end_head(&mut self) -> Result<(), Violation> {
        let body = self.request.body()?;
        self.heads += 1;
        match body {
            Body::Chunked => self.state = State::ChunkSize,
            Body::Bytes(0) => self.end_message(),
            Body::Bytes(left) => self.state = State::Body { left },
        }
        Ok(())
    }

    fn end_message(&mut self) {
        self.state = match self.request.leave() {
            Leave::Unasked | Leave::Refused => START,
            Leave::Asked => State::Undecided { early: false },
            Leave::Granted => State::Tunnel,
        };
    }
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum State {
    /// A request line, or an empty line before it.
    Start { empty_lines: u8 },
    /// The fields of a head.
    Fields(Section),
    /// A body of known length; never 0 between steps.
    Body { left: u64 },
    /// The line with the size of a chunk.
    ChunkSize,
    /// The data of a chunk; never 0 between steps.
    Chunk { left: u64 },
    /// The CR behind the data of a chunk.
    ChunkCr,
    /// The LF behind it.
    ChunkLf,
    /// The fields behind the last chunk.
    Trailers(Section),
    /// The next request or a tunnel; `early` once bytes were held back.
    Undecided { early: bool },
    /// Not HTTP any more.
    Tunnel,
    /// Refused.
    Broken(Violation),
}

/// How much of a field section has been read.
#[derive(Clone, Copy, Debug, Default)]
struct Section {
    bytes: usize,
    fields: usize,
}

impl Section {
    fn with_field(self, bytes: usize, limits: &Limits) -> Result<Self, Violation> {
        if self.fields >= limits.field_count {
            return Err(Violation::TooManyFields);
        }
        Ok(Self {
            bytes: self.bytes + bytes,
            fields: self.fields + 1,
        })
    }
}

/// Drops up to `left` bytes; returns what is behind them and how many are still to come.
fn skip(bytes: &[u8], left: u64) -> (&[u8], u64) {
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (bytes.get(len..).unwrap_or_default(), left - len as u64)
}

/// Splits off a line that is whole and without a mistake or a tab.
///
/// One pass finds the end and proves the rest, since the end of a good line is its first control
/// byte. Everything else, the few lines with a tab among it, is left to [`check_line`].
fn split_plain_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, behind) = bytes.split_at_checked(first_control(bytes)?)?;
    Some((line, behind.strip_prefix(b"\r\n")?))
}

/// Where the first byte below a space, or DEL, stands; eight bytes a step.
fn first_control(bytes: &[u8]) -> Option<usize> {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, &word) in words.iter().enumerate() {
        let marks = mark_controls(u64::from_le_bytes(word));
        if marks != 0 {
            return Some(index * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    let in_tail = tail.iter().position(|&byte| byte < b' ' || byte == 0x7F)?;
    Some(words.len() * 8 + in_tail)
}

/// Sets the high bit of each of eight bytes that is below a space or is DEL.
///
/// A subtraction may borrow from the byte above and mark that one wrongly, but never the lowest.
const fn mark_controls(word: u64) -> u64 {
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7F);
    let is_delete = delete.wrapping_sub(ONES) & !delete;
    (below_space | is_delete) & (ONES * 0x80)
}

/// Checks a line that ended in LF, which it is without, and returns it without its CR.
fn check_line(line: &[u8]) -> Result<&[u8], Violation> {
    let line = line.strip_suffix(b"\r").ok_or(Violation::BareLf)?;
    let is_control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7F;
    match line.iter().find(|byte| is_control(byte)) {
        None => Ok(line),
        Some(b'\r') => Err(Violation::BareCr),
        Some(_) => Err(Violation::ControlByte),
    }
}

/// One in each byte of a word.
const ONES: u64 = u64::MAX / 0xFF;

const START: State = State::Start { empty_lines: 0 };

/// RFC 9112 §2.2 asks for at least one; some clients end a body with a line end too many.
const EMPTY_LINES_LIMIT: u8 = 2;
/// Bytes of the line with a chunk's size; extensions have hardly a use and none that is long.
const CHUNK_LINE_LIMIT: usize = 1024;
/// Bytes of memory that a line in parts may leave behind for the next one.
const PARTIAL_KEPT: usize = 1024;

#[cfg(test)]
mod differential;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
