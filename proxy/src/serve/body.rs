//! A response on its way to the client: never gathered, only counted and watched.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use risefall::{Cause, Outcome};

use crate::error::{Breach, Fault};
use crate::serve::file::Changed;
use crate::serve::parts::Feed;
use crate::serve::session::Session;
use crate::upstream::judge::{breach, judge_fault};
use crate::upstream::pool::Lease;
use crate::upstream::upload::{Progress, clean_trailers};

/// A response's body, to the client. It is in the engine's hands when this is dropped.
pub(crate) struct Reply {
    source: Source,
    /// Why it broke off, until that is told.
    broken: Option<Broken>,
    /// `None` if the exchange goes on without the body: a tunnel.
    session: Option<Rc<Session>>,
}

enum Source {
    Text(Bytes),
    Feed(Box<dyn Feed>),
    Origin {
        body: Incoming,
        lease: Option<Lease>,
        has_ended: bool,
        /// Parts that were there at once, one after the other.
        in_a_row: u8,
    },
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The origin.
    #[error(transparent)]
    Origin(#[from] hyper::Error),
    /// What it was read from.
    #[error(transparent)]
    Own(#[from] io::Error),
}

impl Reply {
    /// A short text of our own.
    pub(crate) fn text(text: impl Into<Bytes>, session: &Rc<Session>) -> Self {
        Self {
            source: Source::Text(text.into()),
            broken: None,
            session: Some(Rc::clone(session)),
        }
    }

    /// No body, and no end of the exchange either: what follows is a tunnel.
    pub(crate) fn tunnel() -> Self {
        Self {
            source: Source::Text(Bytes::new()),
            broken: None,
            session: None,
        }
    }

    /// What comes piece by piece.
    pub(crate) fn feed(feed: impl Feed + 'static, session: &Rc<Session>) -> Self {
        Self {
            source: Source::Feed(Box::new(feed)),
            broken: None,
            session: Some(Rc::clone(session)),
        }
    }

    /// Leaves out a text of our own; gives its bytes.
    pub(crate) fn without_text(&mut self) -> Option<u64> {
        match &mut self.source {
            Source::Text(text) if !text.is_empty() => Some(std::mem::take(text).len() as u64),
            _ => None,
        }
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        self.session.is_none()
    }

    /// The origin's body; when it has ended well, its connection is given back.
    pub(crate) fn origin(body: Incoming, lease: Lease, session: &Rc<Session>) -> Self {
        let source = Source::Origin {
            body,
            lease: Some(lease),
            has_ended: false,
            in_a_row: 0,
        };
        Self {
            source,
            broken: None,
            session: Some(Rc::clone(session)),
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        if let Some(broken) = this.broken.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        let mut frame = ready!(this.source.poll_frame(cx, this.session.as_deref()));
        match &mut frame {
            None => {}
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    clean_trailers(trailers);
                }
                this.note(frame);
            }
            Some(Err(_)) => {
                if let Some(Err(error)) = frame {
                    this.note_broken(&error);
                    // Told a turn later: the engine writes what it has before that, and nothing any
                    // more behind it.
                    this.broken = Some(error);
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Text(text) => text.is_empty(),
            Source::Feed(feed) => feed.left() == Some(0),
            Source::Origin {
                body, has_ended, ..
            } => *has_ended || body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => SizeHint::with_exact(text.len() as u64),
            Source::Feed(feed) => feed.left().map_or_else(SizeHint::new, SizeHint::with_exact),
            Source::Origin { body, .. } => body.size_hint(),
        }
    }
}

impl Source {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        session: Option<&Session>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Self::Text(text) if text.is_empty() => Poll::Ready(None),
            Self::Text(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            Self::Feed(feed) => {
                let Some(session) = session else {
                    return Poll::Ready(None);
                };
                let piece = ready!(feed.poll_next(cx, &session.outgoing));
                Poll::Ready(piece.map(|piece| Ok(Frame::data(piece?))))
            }
            Self::Origin {
                body,
                lease,
                has_ended,
                in_a_row,
            } => {
                if *in_a_row >= FRAMES_IN_A_ROW {
                    // Whoever takes it does the connection's work as well: others have to have their
                    // turn.
                    *in_a_row = 0;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let body = Pin::new(body);
                let polled = match lease {
                    Some(lease) => lease.poll_frame(body, cx),
                    None => body.poll_frame(cx),
                };
                *in_a_row = if polled.is_ready() { *in_a_row + 1 } else { 0 };
                let frame = ready!(polled);
                // Nobody asks for more behind trailers.
                let is_last = |frame: &hyper::Result<Frame<Bytes>>| {
                    frame.as_ref().is_ok_and(Frame::is_trailers)
                };
                *has_ended = frame.as_ref().is_none_or(is_last);
                Poll::Ready(frame.map(|frame| frame.map_err(Broken::from)))
            }
        }
    }
}

impl Reply {
    fn note(&self, frame: &Frame<Bytes>) {
        if let Some(session) = &self.session {
            let len = frame.data_ref().map_or(0, Buf::remaining);
            let down = &session.flow.moved.down;
            down.set(down.get() + len as u64);
            session.flow.watch.arm(session.terms.spans.body_idle);
        }
    }

    fn note_broken(&mut self, error: &Broken) {
        let Some(session) = &self.session else {
            return;
        };
        if let Broken::Own(error) = error {
            return session.note_fault(&match Changed::is_in(error) {
                true => Fault::Changed,
                false => Fault::Internal(io::Error::new(error.kind(), error.to_string())),
            });
        }
        let Source::Origin {
            lease: Some(lease), ..
        } = &mut self.source
        else {
            return;
        };
        match session.flow.upload.get() {
            Progress::Broken => return session.note_fault(&session.upload_fault()),
            Progress::TooLarge => return session.note_fault(&Fault::TooLarge),
            _ => {}
        }
        let fault = Fault::Broken {
            address: lease.address,
            how: match error {
                Broken::Origin(error) => breach(error),
                Broken::Own(_) => Breach::Incomplete,
            },
            reason: error.to_string().into(),
        };
        lease.end(judge_fault(&fault));
        session.note_fault(&fault);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let (is_whole, hint) = (self.is_end_stream(), self.size_hint());
        if let Source::Origin { lease, .. } = &mut self.source
            && let Some(lease) = lease.take()
        {
            let mut lease = lease;
            // A stream, whose length nobody knows, may well have nothing to say.
            let is_silent = hint.exact().is_some()
                && self.session.as_ref().is_some_and(|session| {
                    let flow = &session.flow;
                    let is_its_turn = flow.upload.get() == Progress::Whole && !flow.watch.is_over();
                    is_its_turn && flow.watch.is_due() && flow.moved.down.get() == 0
                });
            if is_whole {
                lease.give_back();
            } else if is_silent {
                // It has begun an answer and sent nothing of it.
                lease.retire();
                lease.end(Outcome::Failed(Cause::TimedOut));
            } else if let Some(session) = &self.session {
                session.note_cut();
            }
        } else if !is_whole
            && matches!(self.source, Source::Feed(_))
            && let Some(session) = &self.session
        {
            session.note_cut();
        }
        if let Some(session) = self.session.take() {
            session.end_response();
        }
    }
}

/// Parts of a body that are handed on in one turn.
const FRAMES_IN_A_ROW: u8 = 8;
