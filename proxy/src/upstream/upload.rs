//! A request's body on its way to a server: counted and watched, and as much of it kept as it takes
//! to send it again.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, HeaderName, HeaderValue,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use crate::net::relay::Moved;
use crate::net::ticks::{Span, Watch};

/// What a body on its way to an origin has to do with its session.
///
/// Apart from the session because the origin's connection holds it as well, in a task of its own:
/// that one must not keep the client's place.
pub struct Flow {
    /// The deadline of what goes on.
    pub watch: Watch,
    /// Bytes of the exchange or tunnel that goes on now.
    pub moved: Moved,
    /// How far the body is.
    pub upload: Cell<Progress>,
    /// What is waited for, and how long, when the body is whole: the answer, or more of it.
    pub behind_upload: Cell<Span>,
    /// Whom the request was sent to last.
    pub sent_to: Cell<Option<SocketAddr>>,
}

/// How far a request's body is on its way to the origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// The origin has to take what there is.
    Moving,
    /// The client has to send more.
    Waiting,
    /// The origin has been given all there is.
    Whole,
    /// The client broke it off, or broke a rule in it.
    Broken,
    /// It is longer than it may be.
    TooLarge,
}

/// A request's body, from the client to the origin.
pub struct Upload {
    source: Source,
    flow: Rc<Flow>,
    /// How long the body may stand still.
    idle: Span,
}

enum Source {
    Empty,
    Client(Incoming),
    Tape(Try),
}

/// A tape as one try sends it, which others may follow.
struct Try {
    tape: Rc<Tape>,
    /// How many of the frames that were kept have been sent by this one.
    played: usize,
    /// Which one it is.
    turn: u32,
}

/// A body that may be sent more than once.
pub struct Tape {
    body: RefCell<Incoming>,
    kept: RefCell<Vec<Bytes>>,
    /// Bytes that may be kept still; `None` once there were more, and nothing is kept any more.
    room: Cell<Option<usize>>,
    /// Bytes that may come still; `None` for as many as do.
    left: Cell<Option<u64>>,
    has_ended: Cell<bool>,
    /// The last try. One before it, whose server may still ask for more, gets nothing any more.
    turn: Cell<u32>,
    /// Who waits until no server is sent it any more.
    waiting: Cell<Option<Waker>>,
}

/// A client's body, of which the rest is for nobody.
pub enum Unread {
    /// All of it.
    Body(Incoming),
    /// What servers have left of it.
    Tape(Rc<Tape>),
}

/// Why a body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// What the engine says.
    #[error(transparent)]
    Engine(#[from] hyper::Error),
    /// It is longer than it may be.
    #[error("the body is too large")]
    TooLarge,
    /// Another server is sent it by now.
    #[error("the request is sent elsewhere")]
    Superseded,
}

impl Tape {
    /// A body of which `room` bytes at the most are kept, and which may have `limit` bytes.
    #[must_use]
    pub fn new(body: Incoming, room: usize, limit: Option<u64>) -> Rc<Self> {
        Rc::new(Self {
            body: RefCell::new(body),
            kept: RefCell::default(),
            room: Cell::new(Some(room)),
            left: Cell::new(limit),
            has_ended: Cell::new(false),
            turn: Cell::new(0),
            waiting: Cell::new(None),
        })
    }

    fn next_turn(&self) -> u32 {
        self.turn.set(self.turn.get().wrapping_add(1));
        self.turn.get()
    }

    /// Whether there is nothing of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_end_stream(0)
    }

    /// Whether all that was sent of it is still here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.room.get().is_some()
    }

    fn keep(&self, data: &Bytes) {
        let Some(room) = self.room.get() else {
            return;
        };
        let left = room.checked_sub(data.len());
        self.room.set(left);
        match left {
            Some(_) => self.kept.borrow_mut().push(data.clone()),
            None => *self.kept.borrow_mut() = Vec::new(),
        }
    }

    fn poll(
        &self,
        cx: &mut Context<'_>,
        played: &mut usize,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if let Some(kept) = self.kept.borrow().get(*played) {
            *played += 1;
            return Poll::Ready(Some(Ok(Frame::data(kept.clone()))));
        }
        if self.has_ended.get() {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut *self.body.borrow_mut()).poll_frame(cx));
        let Some(frame) = frame.transpose()? else {
            self.has_ended.set(true);
            return Poll::Ready(None);
        };
        match frame.data_ref() {
            Some(data) => {
                if let Some(left) = self.left.get() {
                    let left = left.checked_sub(data.len() as u64);
                    self.left.set(Some(left.unwrap_or(0)));
                    left.ok_or(UploadError::TooLarge)?;
                }
                self.keep(data);
                if self.is_whole() {
                    *played += 1;
                }
            }
            // Trailers are not kept, so what has them is sent once.
            None => self.room.set(None),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self, played: usize) -> bool {
        self.kept.borrow().len() <= played
            && (self.has_ended.get() || self.body.borrow().is_end_stream())
    }

    fn size_hint(&self, played: usize) -> SizeHint {
        let rest = self.body.borrow().size_hint();
        let kept = self.kept.borrow();
        let kept = kept.iter().skip(played);
        let kept: u64 = kept.map(|one| one.len() as u64).sum();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint
    }
}

impl Unread {
    /// Reads on; the bytes of the next piece, or `None` at the end. As long as a server is sent the
    /// body, it is that one's.
    ///
    /// # Progress
    ///
    /// Wakes who polled last when there is more, or when the last server has left it.
    pub fn poll_skip(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let frame = match self {
            Self::Body(body) => ready!(Pin::new(body).poll_frame(cx)),
            Self::Tape(tape) if tape.has_ended.get() => None,
            Self::Tape(tape) if Rc::strong_count(tape) > 1 => {
                tape.waiting.set(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            Self::Tape(tape) => ready!(Pin::new(&mut *tape.body.borrow_mut()).poll_frame(cx)),
        };
        let len = |frame: Frame<Bytes>| frame.data_ref().map_or(0, Bytes::len);
        Poll::Ready(frame.and_then(Result::ok).map(len))
    }
}

/// Takes out of trailers what belongs to a connection or says how a message is framed or where it
/// goes (RFC 9110 §6.5.1): read as a part of the head, it would say something else. And the white
/// space around values.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    let is_unfit = |name: &HeaderName| {
        let name = name.as_str();
        let is_claim = name.starts_with("x-forwarded") || name.starts_with("content-");
        is_claim || name.contains('_') || NOT_IN_TRAILERS.iter().any(|unfit| name == *unfit)
    };
    let unfit: Vec<_> = trailers
        .keys()
        .filter(|name| is_unfit(name))
        .cloned()
        .collect();
    for name in unfit {
        trailers.remove(name);
    }
    trim_values(trailers);
}

/// Takes off the white space around values. HTTP/1 has it between the parts of a line, and means
/// nothing by it; HTTP/2 must not have it (RFC 9113 §8.2.1), and the engine lets it pass.
pub fn trim_values(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        let said = value.as_bytes();
        let trimmed = said.trim_ascii();
        if trimmed.len() < said.len()
            && let Ok(mut trimmed) = HeaderValue::from_bytes(trimmed)
        {
            trimmed.set_sensitive(value.is_sensitive());
            *value = trimmed;
        }
    }
}

impl Upload {
    /// A body that may stand still for `idle`.
    #[must_use]
    pub fn new(body: Incoming, flow: &Rc<Flow>, idle: Span) -> Self {
        Self {
            source: Source::Client(body),
            ..Self::empty(flow, idle)
        }
    }

    /// No body.
    #[must_use]
    pub fn empty(flow: &Rc<Flow>, idle: Span) -> Self {
        Self {
            source: Source::Empty,
            flow: Rc::clone(flow),
            idle,
        }
    }

    /// A body from its beginning, which others may send again.
    #[must_use]
    pub fn of_tape(tape: &Rc<Tape>, flow: &Rc<Flow>, idle: Span) -> Self {
        Self {
            source: Source::Tape(Try {
                tape: Rc::clone(tape),
                played: 0,
                turn: tape.next_turn(),
            }),
            ..Self::empty(flow, idle)
        }
    }

    fn note(&self, frame: Option<&Result<Frame<Bytes>, UploadError>>) {
        let flow = &self.flow;
        if let Some(Ok(frame)) = frame {
            let len = frame.data_ref().map_or(0, Bytes::len);
            flow.moved.up.set(flow.moved.up.get() + len as u64);
        }
        let is_end = frame.is_none() || self.is_end_stream();
        match frame {
            Some(Err(UploadError::TooLarge)) => flow.upload.set(Progress::TooLarge),
            Some(Err(_)) => flow.upload.set(Progress::Broken),
            _ if is_end => {
                if flow.upload.replace(Progress::Whole) != Progress::Whole {
                    // The origin's time to answer counts from the last byte it was given.
                    flow.watch.arm(flow.behind_upload.get());
                }
            }
            _ => {
                flow.upload.set(Progress::Moving);
                flow.watch.arm(self.idle);
            }
        }
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        if let Some(waiting) = self.tape.waiting.take() {
            // Polled when this one is gone.
            waiting.wake();
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let polled = match &mut self.source {
            Source::Empty => return Poll::Ready(None),
            Source::Client(body) => Pin::new(body).poll_frame(cx).map_err(UploadError::Engine),
            Source::Tape(one) if one.tape.turn.get() != one.turn => {
                return Poll::Ready(Some(Err(UploadError::Superseded)));
            }
            Source::Tape(one) => one.tape.poll(cx, &mut one.played),
        };
        let Poll::Ready(mut frame) = polled else {
            self.flow.upload.set(Progress::Waiting);
            return Poll::Pending;
        };
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            clean_trailers(trailers);
        }
        self.note(frame.as_ref());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Client(body) => body.is_end_stream(),
            Source::Tape(one) => one.tape.is_end_stream(one.played),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Client(body) => body.size_hint(),
            Source::Tape(one) => one.tape.size_hint(one.played),
        }
    }
}

const NOT_IN_TRAILERS: [HeaderName; 14] = [
    AUTHORIZATION,
    COOKIE,
    FORWARDED,
    SET_COOKIE,
    HeaderName::from_static("x-real-ip"),
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
