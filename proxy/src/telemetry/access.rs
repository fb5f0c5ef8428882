//! The access log: one line for each request and each tunnel, when it is over.
//!
//! Lines go to a thread of their own through a bounded queue. When the sink is slower than the
//! traffic, lines are lost and counted; requests never wait for a log. When the log is off, callers
//! hold no writer and gather nothing.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::sink::{self, Slot, Switching};

/// Where access lines go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sink {
    /// Nowhere.
    Off,
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
    /// The end of a file, made if there is none.
    File(PathBuf),
}

/// How lines look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// Words between single spaces, `-` for nothing.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The process's access log.
#[derive(Clone)]
pub struct AccessLog {
    queue: NonBlocking,
    format: Format,
    /// Where the next file is left; unused if the log is no file.
    slot: Slot,
}

/// Writes what is still queued when it is dropped.
#[must_use = "lines are lost that are still queued when the process ends without dropping this"]
pub struct Flush {
    _guard: WorkerGuard,
}

impl Flush {
    pub(super) fn of(guard: WorkerGuard) -> Self {
        Self { _guard: guard }
    }
}

/// One thread's way to the log.
pub struct AccessWriter {
    queue: RefCell<(NonBlocking, String)>,
    format: Format,
    ids: Cell<u64>,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Line<'a> {
    /// Who asked.
    pub client: SocketAddr,
    /// `http`, `connect` or `socks5`.
    pub protocol: &'static str,
    /// What was asked for; long ones are cut in the log.
    pub method: &'a str,
    /// Of what; long ones are cut in the log.
    pub target: &'a str,
    /// The HTTP status or the SOCKS reply that answered; 0 if nothing did.
    pub status: u16,
    /// Body or tunnel bytes from the client.
    pub bytes_in: u64,
    /// Body or tunnel bytes to the client.
    pub bytes_out: u64,
    /// From the request to the end of it all.
    #[serde(rename = "ms", serialize_with = "as_milliseconds")]
    pub took: Duration,
    /// The address that was dialled, or was not because it is down or forbidden.
    pub address: Option<SocketAddr>,
    /// What the health registry said: `up`, `falldown`, `pooled` when nothing had to be dialled,
    /// or `-` when it was not asked.
    pub health: &'static str,
    /// The error type, if it did not end well.
    pub fault: Option<&'static str>,
    /// What served it, as the configuration has it: `forward` or `site`.
    pub engine: &'static str,
    /// The name of that.
    pub service: &'a str,
    /// No other line of this process has it.
    #[serde(serialize_with = "as_hexadecimal")]
    pub id: u64,
    /// How many addresses were dialled.
    pub dials: usize,
    /// How many times a request was sent to a server; 0 where it is sent once or not at all.
    #[serde(skip_serializing_if = "is_zero")]
    pub tries: u32,
    /// The number by which a site's servers and error pages know the request (`X-Request-Id`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<&'a str>,
    /// Who asked, by name, where a route is for users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// Looking the name up, if there was one to be looked up.
    #[serde(rename = "resolve_ms", serialize_with = "as_milliseconds_if_any")]
    pub resolve: Option<Duration>,
    /// From the first dial to the connection, if one was made.
    #[serde(rename = "connect_ms", serialize_with = "as_milliseconds_if_any")]
    pub connect: Option<Duration>,
    /// From the request to the head of the origin's answer.
    #[serde(rename = "first_byte_ms", serialize_with = "as_milliseconds_if_any")]
    pub first_byte: Option<Duration>,
}

impl AccessLog {
    /// Opens the log; `None` if it is off.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn open(sink: &Sink, format: Format) -> io::Result<Option<(Self, Flush)>> {
        match sink {
            Sink::Off => Ok(None),
            Sink::Stdout => Ok(Some(Self::start(io::stdout(), format))),
            Sink::Stderr => Ok(Some(Self::start(io::stderr(), format))),
            Sink::File(path) => {
                let slot = Slot::default();
                let file = Switching::new(sink::open(path)?, slot.clone());
                let (log, flush) = Self::start(file, format);
                Ok(Some((Self { slot, ..log }, flush)))
            }
        }
    }

    /// A log that writes to `sink`.
    pub fn start(sink: impl io::Write + Send + 'static, format: Format) -> (Self, Flush) {
        let (queue, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(QUEUE_LINES)
            .thread_name("risefall-access")
            // Flushed when the queue is empty, so lines of one burst share a write.
            .finish(BufWriter::with_capacity(SINK_BUFFER, sink));
        let slot = Slot::default();
        let log = Self {
            queue,
            format,
            slot,
        };
        (log, Flush::of(guard))
    }

    /// Writes to the end of the file `path` from now on: after a rotation, or because the log has
    /// another place. Lines that are queued may still go to the one before.
    ///
    /// # Errors
    ///
    /// The file cannot be opened. The one before goes on.
    pub fn reopen(&self, path: &Path) -> io::Result<()> {
        self.slot.leave(sink::open(path)?);
        Ok(())
    }

    /// A writer for one thread.
    #[must_use]
    pub fn writer(&self) -> AccessWriter {
        AccessWriter {
            queue: RefCell::new((self.queue.clone(), String::new())),
            format: self.format,
            ids: Cell::new(RandomState::new().hash_one(std::process::id())),
        }
    }

    /// How many lines have been lost so far.
    #[must_use]
    pub fn lost(&self) -> ErrorCounter {
        self.queue.error_counter()
    }
}

impl AccessWriter {
    /// A number for a request. It says nothing of how many there were before the process began.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        let id = self.ids.get();
        self.ids.set(id.wrapping_add(1));
        id
    }

    /// Queues one line.
    pub fn write(&self, line: &Line<'_>) {
        let (queue, text) = &mut *self.queue.borrow_mut();
        text.clear();
        // The queue is bounded in lines, and this bounds its bytes.
        let (method, target) = (cut(line.method, METHOD_MOST), cut(line.target, TARGET_MOST));
        let line = Line {
            method: &method,
            target: &target,
            ..line.clone()
        };
        let formatted = match self.format {
            Format::Text => line.write_text(text),
            Format::Json => line.write_json(text),
        };
        if formatted.is_ok() {
            text.push('\n');
            // The queue counts what it loses; it has no other error.
            let _ = queue.write_all(text.as_bytes());
        }
    }
}

impl Line<'_> {
    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        SystemTime.format_time(&mut Writer::new(out))?;
        let Self {
            client,
            protocol,
            method,
            target,
            status,
            bytes_in,
            bytes_out,
            ..
        } = self;
        write!(
            out,
            " {client} {protocol} {method} {target} {status} {bytes_in} {bytes_out}"
        )?;
        write!(out, " {:.1}ms ", self.took.as_secs_f64() * 1e3)?;
        match self.address {
            Some(address) => write!(out, "{address}")?,
            None => out.push('-'),
        }
        write!(out, " {} {}", self.health, self.fault.unwrap_or("-"))?;
        write!(
            out,
            " {}={} id={:016x} dials={}",
            self.engine, self.service, self.id, self.dials
        )?;
        if self.tries > 0 {
            write!(out, " tries={}", self.tries)?;
        }
        if let Some(request) = self.request {
            write!(out, " request={request}")?;
        }
        if let Some(user) = self.user {
            // A space would end the word.
            write!(out, " user={}", user.replace(' ', "_"))?;
        }
        for (name, time) in [
            ("resolve", self.resolve),
            ("connect", self.connect),
            ("first_byte", self.first_byte),
        ] {
            if let Some(time) = time {
                write!(out, " {name}={:.1}ms", time.as_secs_f64() * 1e3)?;
            }
        }
        Ok(())
    }

    fn write_json(&self, out: &mut String) -> std::fmt::Result {
        out.push_str("{\"time\":\"");
        SystemTime.format_time(&mut Writer::new(out))?;
        let fields = serde_json::to_string(self).map_err(|_| std::fmt::Error)?;
        // The first byte of `fields` opens the object that is open already.
        write!(out, "\",{}", fields.get(1..).unwrap_or_default())
    }
}

/// At most `most` bytes of `text`; an ellipsis says that there was more.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let kept = (0..=most).rev().find_map(|end| text.get(..end));
    Cow::Owned(format!("{}…", kept.unwrap_or_default()))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the derive asks for it")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn as_milliseconds<S: serde::Serializer>(took: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((took.as_secs_f64() * 1e6).round() / 1e3)
}

fn as_milliseconds_if_any<S: serde::Serializer>(
    took: &Option<Duration>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match took {
        Some(took) => as_milliseconds(took, to),
        None => to.serialize_none(),
    }
}

fn as_hexadecimal<S: serde::Serializer>(id: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{id:016x}"))
}

/// About 12 MB of usual lines. At worst, when every target is as long as it may be, 90 MB, and
/// twice that if each of its bytes has to be escaped for JSON.
const QUEUE_LINES: usize = 64 * 1024;
const METHOD_MOST: usize = 32;
const TARGET_MOST: usize = 1024;
const SINK_BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line<'static> {
        Line {
            client: ([127, 0, 0, 1], 50000).into(),
            protocol: "http",
            method: "GET",
            target: "http://example.com/",
            status: 503,
            bytes_in: 0,
            bytes_out: 61,
            took: Duration::from_micros(1250),
            address: None,
            health: "falldown",
            fault: Some("destination_unavailable"),
            engine: "forward",
            service: "office",
            id: 0xbeef,
            dials: 2,
            tries: 0,
            request: None,
            user: None,
            resolve: None,
            connect: Some(Duration::from_micros(340)),
            first_byte: None,
        }
    }

    #[test]
    fn a_text_line_is_words_between_single_spaces() {
        let mut out = String::new();
        line().write_text(&mut out).unwrap();
        let (_time, rest) = out.split_once(' ').unwrap();
        assert_eq!(
            rest,
            "127.0.0.1:50000 http GET http://example.com/ 503 0 61 1.2ms - falldown \
             destination_unavailable forward=office id=000000000000beef dials=2 connect=0.3ms"
        );
        out.clear();
        let line = Line {
            user: Some("a b"),
            ..line()
        };
        line.write_text(&mut out).unwrap();
        assert!(out.contains(" dials=2 user=a_b connect="), "{out}");
    }

    #[test]
    fn a_long_target_is_cut_between_characters() {
        let long = "é".repeat(TARGET_MOST);
        let cut_off = format!("{}…", "é".repeat(TARGET_MOST / 2));
        assert_eq!(cut(&long, TARGET_MOST), cut_off);
        assert_eq!(cut(&long, TARGET_MOST + 1), cut_off);
        let fits = "x".repeat(TARGET_MOST);
        assert_eq!(cut(&fits, TARGET_MOST), fits);
    }

    #[test]
    fn the_bytes_of_a_queued_line_are_bounded() {
        let written = tempfile::NamedTempFile::new().unwrap();
        for (format, most) in [(Format::Text, 1400), (Format::Json, 2 * 1400)] {
            let (log, flush) = AccessLog::start(written.reopen().unwrap(), format);
            let target = "\"".repeat(16 * 1024);
            log.writer().write(&Line {
                target: &target,
                method: &target,
                ..line()
            });
            drop(log);
            drop(flush);
            let text = std::fs::read_to_string(written.path()).unwrap();
            assert!(text.len() < most && text.contains('…'), "{}", text.len());
            written.as_file().set_len(0).unwrap();
        }
    }

    #[test]
    fn a_json_line_is_one_object_with_its_time() {
        let mut out = String::new();
        line().write_json(&mut out).unwrap();
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert!(value["time"].is_string());
        assert_eq!(value["ms"], 1.25);
        assert_eq!(value["address"], serde_json::Value::Null);
        assert_eq!(value["fault"], "destination_unavailable");
        assert_eq!(value["id"], "000000000000beef");
        assert_eq!(value["connect_ms"], 0.34);
        assert_eq!(value["first_byte_ms"], serde_json::Value::Null);
    }
}
