//! An answer by HTTP/1, read from bytes as they come.
//!
//! The head is read by `httparse` when it is whole; framing is RFC 9112 §6.3, and what two readers
//! could take differently is refused: both a length and an encoding, two lengths, an encoding other
//! than `chunked`. Nothing is read that nobody wants: without a wanted body the head is all, and of
//! a body no more than its limit.

use http::HeaderName;

use super::http::Http;

/// Reads one answer.
#[derive(Debug)]
pub struct Decoder {
    agent_header: Option<HeaderName>,
    body_limit: Option<usize>,
    is_to_head: bool,
    /// Bytes of a head that is not whole, or of the line of a chunk.
    line: Vec<u8>,
    /// Of all heads, those of 1xx included.
    head_bytes: usize,
    stage: Stage,
    answer: Answer,
}

/// What of an answer a check wants to know.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// The status; 0 until it is known.
    pub status: u16,
    /// What the server reports of itself.
    pub agent: Option<Vec<u8>>,
    /// Of the body as much as was wanted.
    pub body: Vec<u8>,
}

/// Why an answer cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// It is no HTTP/1.
    #[error("it is not HTTP/1")]
    NotHttp,
    /// Its head is none.
    #[error("its head cannot be read")]
    Head,
    /// Its head is too long, or has too many fields.
    #[error("its head is longer than {HEAD_BYTES_MOST} bytes or {FIELDS_MOST} fields")]
    TooLong,
    /// Where its body ends can be read in two ways, or in none.
    #[error("where its body ends is not clear")]
    Framing,
    /// It was closed before it was whole.
    #[error("it ended before it was whole")]
    Closed,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Head,
    /// So many bytes of the body are to come.
    Length(u64),
    ChunkLine,
    /// So many bytes of the chunk are to come, and its line end behind them.
    Chunk(u64),
    ChunkEnd,
    UntilClose,
    Whole,
}

impl Decoder {
    /// Reads the answer to what `http` asks.
    #[must_use]
    pub fn new(http: &Http) -> Self {
        Self {
            agent_header: http.agent_field().cloned(),
            body_limit: http.right_body().map(|_| http.body_limit()),
            is_to_head: http.asked_method() == http::Method::HEAD,
            line: Vec::new(),
            head_bytes: 0,
            stage: Stage::Head,
            answer: Answer::default(),
        }
    }

    /// Takes bytes as they came. `Some` when the answer is as whole as is wanted; what comes behind
    /// it is left.
    ///
    /// # Errors
    ///
    /// It cannot be read; nothing that comes later makes it right.
    pub fn handle_bytes(&mut self, mut bytes: &[u8]) -> Result<Option<Answer>, AnswerError> {
        while !bytes.is_empty() && self.stage != Stage::Whole {
            bytes = match self.stage {
                Stage::Head => self.take_head(bytes)?,
                Stage::ChunkLine => self.take_chunk_line(bytes)?,
                Stage::ChunkEnd => self.take_chunk_end(bytes)?,
                Stage::Length(left) => self.take_body(bytes, left, |left| match left {
                    0 => Stage::Whole,
                    left => Stage::Length(left),
                }),
                Stage::Chunk(left) => self.take_body(bytes, left, |left| match left {
                    0 => Stage::ChunkEnd,
                    left => Stage::Chunk(left),
                }),
                Stage::UntilClose => self.take_body(bytes, u64::MAX, |_| Stage::UntilClose),
                Stage::Whole => bytes,
            };
        }
        let is_whole = self.stage == Stage::Whole;
        Ok(is_whole.then(|| std::mem::take(&mut self.answer)))
    }

    /// The server closed. A body that nothing else ends is whole by that.
    ///
    /// # Errors
    ///
    /// [`AnswerError::Closed`] if it was not.
    pub fn handle_close(self) -> Result<Answer, AnswerError> {
        match self.stage {
            Stage::UntilClose | Stage::Whole => Ok(self.answer),
            _ => Err(AnswerError::Closed),
        }
    }

    fn take_head<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], AnswerError> {
        let known = self.line.len();
        let room = HEAD_BYTES_MOST.saturating_sub(self.head_bytes);
        let within = bytes.get(..room).unwrap_or(bytes);
        let end = within.iter().enumerate().find(|&(at, &byte)| {
            let before = |back: usize| match at.checked_sub(back) {
                Some(at) => within.get(at).copied(),
                None => (known + at)
                    .checked_sub(back)
                    .and_then(|at| self.line.get(at).copied()),
            };
            let is_empty_line =
                before(1) == Some(b'\n') || (before(1) == Some(b'\r') && before(2) == Some(b'\n'));
            byte == b'\n' && is_empty_line
        });
        let taken = end.map_or(within.len(), |(at, _)| at + 1);
        let (head, rest) = bytes.split_at(taken);
        self.line.extend_from_slice(head);
        self.head_bytes += taken;
        if !is_beginning_of_http(&self.line) {
            return Err(AnswerError::NotHttp);
        }
        match end {
            Some(_) => self.end_head()?,
            None if self.head_bytes >= HEAD_BYTES_MOST => return Err(AnswerError::TooLong),
            None => {}
        }
        Ok(rest)
    }

    fn end_head(&mut self) -> Result<(), AnswerError> {
        let head = std::mem::take(&mut self.line);
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MOST];
        let mut parsed = httparse::Response::new(&mut fields);
        match parsed.parse(&head) {
            Ok(httparse::Status::Complete(_)) => {}
            Err(httparse::Error::TooManyHeaders) => return Err(AnswerError::TooLong),
            Ok(httparse::Status::Partial) | Err(_) => return Err(AnswerError::Head),
        }
        let status = parsed.code.filter(|status| (100..=599).contains(status));
        let status = status.ok_or(AnswerError::Head)?;
        if (100..200).contains(&status) && status != 101 {
            return Ok(());
        }
        self.answer.status = status;
        self.answer.agent = self.agent_header.as_ref().and_then(|name| {
            let field = parsed.headers.iter().rev();
            let mut field = field.filter(|field| field.name.eq_ignore_ascii_case(name.as_str()));
            field.next().map(|field| field.value.to_vec())
        });
        let is_without_body = self.is_to_head || matches!(status, 101 | 204 | 304);
        self.stage = match (self.body_limit, is_without_body) {
            (None, _) | (_, true) => Stage::Whole,
            (Some(_), false) => framing(parsed.headers, parsed.version == Some(1))?,
        };
        Ok(())
    }

    fn take_chunk_line<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], AnswerError> {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let (line, rest) = match end {
            Some(at) => (bytes.get(..at), bytes.get(at + 1..)),
            None => (Some(bytes), None),
        };
        self.line.extend_from_slice(line.unwrap_or_default());
        if self.line.len() > CHUNK_LINE_MOST {
            return Err(AnswerError::Framing);
        }
        if let Some(rest) = rest {
            let line = std::mem::take(&mut self.line);
            self.stage = match chunk_size(&line)? {
                // What fields follow is of no interest.
                0 => Stage::Whole,
                size => Stage::Chunk(size),
            };
            return Ok(rest);
        }
        Ok(&[])
    }

    fn take_chunk_end<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], AnswerError> {
        let (byte, rest) = bytes.split_first().ok_or(AnswerError::Framing)?;
        match (byte, self.line.is_empty()) {
            (b'\r', true) => self.line.push(b'\r'),
            (b'\n', false) => {
                self.line.clear();
                self.stage = Stage::ChunkLine;
            }
            _ => return Err(AnswerError::Framing),
        }
        Ok(rest)
    }

    fn take_body<'b>(
        &mut self,
        bytes: &'b [u8],
        left: u64,
        next: impl FnOnce(u64) -> Stage,
    ) -> &'b [u8] {
        let body = &mut self.answer.body;
        let room = self.body_limit.unwrap_or(0).saturating_sub(body.len());
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(room);
        let (taken, rest) = bytes.split_at(most.min(bytes.len()));
        body.extend_from_slice(taken);
        self.stage = match taken.len() == room {
            true => Stage::Whole,
            false => next(left.saturating_sub(u64::try_from(taken.len()).unwrap_or(left))),
        };
        rest
    }
}

/// The bytes of a request for what `http` asks of `host`.
#[must_use]
pub fn request(http: &Http, host: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let mut say = |parts: &[&[u8]]| parts.iter().for_each(|part| bytes.extend_from_slice(part));
    let (method, path) = (http.asked_method(), http.asked_path());
    say(&[
        method.as_str().as_bytes(),
        b" ",
        path.as_bytes(),
        b" HTTP/1.1\r\n",
    ]);
    say(&[b"host: ", host.as_bytes(), b"\r\nconnection: close\r\n"]);
    let headers = http.sent_headers();
    if !headers
        .iter()
        .any(|(name, _)| name == http::header::USER_AGENT)
    {
        say(&[b"user-agent: ", USER_AGENT.as_bytes(), b"\r\n"]);
    }
    if matches!(method.as_str(), "POST" | "PUT" | "PATCH") {
        say(&[b"content-length: 0\r\n"]);
    }
    for (name, value) in headers {
        say(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    say(&[b"\r\n"]);
    bytes
}

/// Whether what has come so far can be the beginning of an answer. Servers that speak something
/// else, and greet first, are told apart by that at once.
fn is_beginning_of_http(heard: &[u8]) -> bool {
    heard.starts_with(b"HTTP/1.") || b"HTTP/1.".starts_with(heard)
}

fn framing(fields: &[httparse::Header<'_>], is_1_1: bool) -> Result<Stage, AnswerError> {
    let named = |name: &'static str| {
        let fields = fields.iter();
        fields.filter(move |field| field.name.eq_ignore_ascii_case(name))
    };
    let mut encodings = named("transfer-encoding");
    let mut lengths = named("content-length");
    let (encoding, length) = (encodings.next(), lengths.next());
    if encodings.next().is_some() || lengths.next().is_some() {
        return Err(AnswerError::Framing);
    }
    match (encoding, length) {
        (None, None) => Ok(Stage::UntilClose),
        (Some(encoding), None) if is_1_1 && encoding.value.eq_ignore_ascii_case(b"chunked") => {
            Ok(Stage::ChunkLine)
        }
        (None, Some(length)) => match number(length.value, 10)? {
            0 => Ok(Stage::Whole),
            length => Ok(Stage::Length(length)),
        },
        _ => Err(AnswerError::Framing),
    }
}

/// The size of a chunk, extensions left out. The line is without its line feed.
fn chunk_size(line: &[u8]) -> Result<u64, AnswerError> {
    let line = line.strip_suffix(b"\r").ok_or(AnswerError::Framing)?;
    let size = line.split(|&byte| byte == b';').next().unwrap_or_default();
    number(size.trim_ascii_end(), 16)
}

fn number(digits: &[u8], radix: u32) -> Result<u64, AnswerError> {
    let is_number = digits
        .iter()
        .all(|&digit| char::from(digit).is_digit(radix));
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number);
    text.and_then(|text| u64::from_str_radix(text, radix).ok())
        .ok_or(AnswerError::Framing)
}

/// How checks name themselves.
pub(super) const USER_AGENT: &str = "risefall-check";
/// More than any head of an answer to a check.
const HEAD_BYTES_MOST: usize = 16 * 1024;
const FIELDS_MOST: usize = 100;
/// A size and a few extensions.
const CHUNK_LINE_MOST: usize = 256;

#[cfg(test)]
mod tests;
