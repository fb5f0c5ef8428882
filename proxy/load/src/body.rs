//! Where an HTTP/1.1 body ends (RFC 9112 §6), fed piece by piece; nothing of it is kept.

/// Bytes that break the protocol they claim to speak, or exceed what the loader will hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the answer breaks its protocol")]
pub(crate) struct Malformed;

/// How far a body has been read.
#[derive(Debug)]
pub(crate) struct Body {
    state: State,
    /// The part of a chunk's size line or a trailer line read so far.
    line: Vec<u8>,
    /// Trailer bytes so far: bounded in all, not only line by line.
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Sized { left: u64 },
    ChunkSize,
    ChunkData { left: u64 },
    ChunkEnd,
    Trailer,
    UntilClose,
    Done,
}

impl Body {
    pub(crate) fn sized(length: u64) -> Self {
        Self::in_state(if length == 0 {
            State::Done
        } else {
            State::Sized { left: length }
        })
    }

    pub(crate) fn until_close() -> Self {
        Self::in_state(State::UntilClose)
    }

    /// The framing that the headers announce, or `None` if they announce none.
    ///
    /// # Errors
    ///
    /// Lengths that disagree or are no numbers: guessing one would misread all that follows.
    pub(crate) fn announced(headers: &[httparse::Header<'_>]) -> Result<Option<Self>, Malformed> {
        let values = |name: &'static str| {
            headers
                .iter()
                .filter(move |header| header.name.eq_ignore_ascii_case(name))
                .map(|header| header.value)
        };
        if let Some(codings) = values("transfer-encoding").next_back() {
            let last = codings.rsplit(|&byte| byte == b',').next();
            let is_chunked =
                last.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"));
            return Ok(Some(Self::in_state(if is_chunked {
                State::ChunkSize
            } else {
                State::UntilClose
            })));
        }
        let mut length = None;
        for value in values("content-length") {
            let value = parse_number(value.trim_ascii(), 10)?;
            if length.is_some_and(|earlier| earlier != value) {
                return Err(Malformed);
            }
            length = Some(value);
        }
        Ok(length.map(Self::sized))
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Only the end of the connection can end this body.
    pub(crate) fn ends_with_connection(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Takes what belongs to the body and says how much that was.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_done() {
            let taken = self.step(rest)?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(bytes.len() - rest.len())
    }

    fn in_state(state: State) -> Self {
        Self {
            state,
            line: Vec::new(),
            trailer_bytes: 0,
        }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self.state {
            State::Sized { left } => {
                let (taken, left) = skip(bytes, left);
                self.state = if left == 0 {
                    State::Done
                } else {
                    State::Sized { left }
                };
                Ok(taken)
            }
            State::ChunkData { left } => {
                let (taken, left) = skip(bytes, left);
                self.state = if left == 0 {
                    State::ChunkEnd
                } else {
                    State::ChunkData { left }
                };
                Ok(taken)
            }
            State::ChunkSize | State::ChunkEnd | State::Trailer => self.step_line(bytes),
            State::UntilClose | State::Done => Ok(bytes.len()),
        }
    }

    /// Collects a line; once it is whole, moves to the state that follows it.
    fn step_line(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(bytes.len(), |at| at + 1);
        self.line.extend(bytes.iter().take(taken));
        if self.line.len() > MAX_LINE_BYTES {
            return Err(Malformed);
        }
        if end.is_none() {
            return Ok(taken);
        }
        let line = self.line.strip_suffix(b"\r\n").ok_or(Malformed)?;
        self.state = match self.state {
            State::ChunkSize => match chunk_size(line)? {
                0 => State::Trailer,
                left => State::ChunkData { left },
            },
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::Trailer if line.is_empty() => State::Done,
            State::Trailer => State::Trailer,
            _ => return Err(Malformed),
        };
        if self.state == State::Trailer {
            self.trailer_bytes += self.line.len();
            if self.trailer_bytes > MAX_TRAILER_BYTES {
                return Err(Malformed);
            }
        }
        self.line.clear();
        Ok(taken)
    }
}

fn skip(bytes: &[u8], left: u64) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (taken, left - taken as u64)
}

/// The size before any chunk extension (RFC 9112 §7.1).
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let size = line.split(|&byte| byte == b';').next().unwrap_or_default();
    parse_number(size.trim_ascii(), 16)
}

/// Digits only: the standard parser would also take a sign.
fn parse_number(digits: &[u8], radix: u32) -> Result<u64, Malformed> {
    let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
    if !text.chars().all(|digit| digit.is_digit(radix)) {
        return Err(Malformed);
    }
    u64::from_str_radix(text, radix).map_err(|_| Malformed)
}

const MAX_LINE_BYTES: usize = 4096;
const MAX_TRAILER_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked() -> Body {
        Body::in_state(State::ChunkSize)
    }

    /// How much of `bytes` the body takes when they come in two parts, and whether it is complete.
    fn split_feed(mut body: Body, bytes: &[u8], at: usize) -> Result<(usize, bool), Malformed> {
        let (first, second) = bytes.split_at(at);
        let mut taken = body.feed(first)?;
        if taken == first.len() {
            taken += body.feed(second)?;
        }
        Ok((taken, body.is_done()))
    }

    #[test]
    fn chunked_bodies_end_where_they_should_at_every_split() {
        let table: [(&[u8], usize); 4] = [
            (b"0\r\n\r\nNEXT", 5),
            (b"3\r\nabc\r\n0\r\n\r\nNEXT", 13),
            (
                b"A;ext=1\r\n0123456789\r\n1\r\n\n\r\n0\r\nX: y\r\n\r\nNEXT",
                38,
            ),
            (b"00a \r\n0123456789\r\n000\r\n\r\nNEXT", 25),
        ];
        for (bytes, length) in table {
            for at in 0..=bytes.len() {
                assert_eq!(split_feed(chunked(), bytes, at), Ok((length, true)), "{at}");
            }
        }
    }

    #[test]
    fn broken_chunks_are_refused_at_every_split() {
        let table: [&[u8]; 7] = [
            b"\r\n",
            b"x\r\n",
            b"+3\r\nabc\r\n",
            b"3\nabc\r\n",
            b"3\r\nabcd\r\n",
            b"3\r\nabc\n",
            b"11111111111111111\r\n",
        ];
        for bytes in table {
            for at in 0..=bytes.len() {
                assert_eq!(
                    split_feed(chunked(), bytes, at),
                    Err(Malformed),
                    "{bytes:?} {at}"
                );
            }
        }
    }

    #[test]
    fn endless_lines_and_trailers_are_refused() {
        assert_eq!(chunked().feed(&[b'1'; MAX_LINE_BYTES + 1]), Err(Malformed));
        let trailers = [b"0\r\n".as_slice(), &b"A: b\r\n".repeat(4000)].concat();
        assert_eq!(chunked().feed(&trailers), Err(Malformed));
    }

    #[test]
    fn headers_announce_the_framing() {
        let announced = |pairs: &[(&'static str, &'static str)]| {
            let headers: Vec<_> = pairs
                .iter()
                .map(|(name, value)| httparse::Header {
                    name,
                    value: value.as_bytes(),
                })
                .collect();
            Body::announced(&headers).map(|body| body.map(|body| body.state))
        };
        assert_eq!(announced(&[]), Ok(None));
        assert_eq!(announced(&[("Content-Length", "0")]), Ok(Some(State::Done)));
        assert_eq!(
            announced(&[("content-length", "7"), ("Content-Length", " 7 ")]),
            Ok(Some(State::Sized { left: 7 }))
        );
        assert_eq!(
            announced(&[
                ("Content-Length", "7"),
                ("Transfer-Encoding", "gzip, Chunked")
            ]),
            Ok(Some(State::ChunkSize))
        );
        assert_eq!(
            announced(&[("Transfer-Encoding", "gzip")]),
            Ok(Some(State::UntilClose))
        );
        for lengths in [["7", "8"], ["7", "-7"], ["", "7"], ["7", "0x7"]] {
            let pairs = lengths.map(|length| ("Content-Length", length));
            assert_eq!(announced(&pairs), Err(Malformed), "{lengths:?}");
        }
    }
}
