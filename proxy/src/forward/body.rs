//! Bodies on their way through: never gathered, only counted and watched.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::error::Fault;
use crate::forward::session::{Flow, Progress, Session};
use crate::net::ticks::Span;
use crate::upstream::pool::Lease;

/// A request's body, from the client to the origin.
pub struct Upload {
    /// `None` for a request that is sent again, which has no body.
    body: Option<Incoming>,
    flow: Rc<Flow>,
    /// How long the body may stand still.
    idle: Span,
}

/// A response's body, to the client. It is in the engine's hands when this is dropped.
pub(super) struct Reply {
    source: Source,
    /// `None` if the exchange goes on without the body: a tunnel.
    session: Option<Rc<Session>>,
}

enum Source {
    Text(Bytes),
    Origin {
        body: Incoming,
        lease: Option<Lease<Upload>>,
        has_ended: bool,
    },
}

impl Upload {
    pub(super) fn new(body: Incoming, session: &Rc<Session>) -> Self {
        Self {
            body: Some(body),
            ..Self::empty(session)
        }
    }

    pub(super) fn empty(session: &Rc<Session>) -> Self {
        Self {
            body: None,
            flow: Rc::clone(&session.flow),
            idle: session.rules.spans.body_idle,
        }
    }
}

impl Reply {
    /// A short text of our own.
    pub(super) fn text(text: impl Into<Bytes>, session: &Rc<Session>) -> Self {
        Self {
            source: Source::Text(text.into()),
            session: Some(Rc::clone(session)),
        }
    }

    /// No body, and no end of the exchange either: what follows is a tunnel.
    pub(super) fn tunnel() -> Self {
        Self {
            source: Source::Text(Bytes::new()),
            session: None,
        }
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.session.is_none()
    }

    /// The origin's body; when it has ended well, its connection is given back.
    pub(super) fn origin(body: Incoming, lease: Lease<Upload>, session: &Rc<Session>) -> Self {
        let source = Source::Origin {
            body,
            lease: Some(lease),
            has_ended: false,
        };
        Self {
            source,
            session: Some(Rc::clone(session)),
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
            self.flow.upload.set(Progress::Waiting);
            return Poll::Pending;
        };
        let is_end = frame.is_none() || body.is_end_stream();
        let flow = &self.flow;
        if let Some(Ok(frame)) = &frame {
            let len = frame.data_ref().map_or(0, Buf::remaining);
            flow.moved.up.set(flow.moved.up.get() + len as u64);
        }
        if matches!(frame, Some(Err(_))) {
            flow.upload.set(Progress::Broken);
        } else if is_end && flow.upload.replace(Progress::Whole) != Progress::Whole {
            // The origin's time to answer counts from the last byte it was given.
            flow.watch.arm(flow.behind_upload.get());
        } else if !is_end {
            flow.upload.set(Progress::Moving);
            flow.watch.arm(self.idle);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let frame = match &mut this.source {
            Source::Text(text) if text.is_empty() => None,
            Source::Text(text) => Some(Ok(Frame::data(std::mem::take(text)))),
            Source::Origin {
                body, has_ended, ..
            } => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                *has_ended = frame.is_none();
                frame
            }
        };
        if let Some(session) = &this.session {
            match &frame {
                Some(Ok(frame)) => {
                    let len = frame.data_ref().map_or(0, Buf::remaining);
                    session
                        .flow
                        .moved
                        .down
                        .set(session.flow.moved.down.get() + len as u64);
                    session.flow.watch.arm(session.rules.spans.body_idle);
                }
                Some(Err(error)) => this.note_broken(error),
                None => {}
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Text(text) => text.is_empty(),
            Source::Origin {
                body, has_ended, ..
            } => *has_ended || body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => SizeHint::with_exact(text.len() as u64),
            Source::Origin { body, .. } => body.size_hint(),
        }
    }
}

impl Reply {
    fn note_broken(&self, error: &hyper::Error) {
        if let (
            Some(session),
            Source::Origin {
                lease: Some(lease), ..
            },
        ) = (&self.session, &self.source)
        {
            if session.flow.upload.get() == Progress::Broken {
                session.note_fault(&session.upload_fault());
                return;
            }
            let reason = error.to_string().into();
            session.note_fault(&Fault::Broken {
                address: lease.address,
                reason,
            });
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let is_whole = self.is_end_stream();
        if let Source::Origin { lease, .. } = &mut self.source
            && let Some(lease) = lease.take()
        {
            if is_whole {
                lease.give_back();
            } else if let Some(session) = &self.session {
                session.note_cut();
            }
        }
        if let Some(session) = self.session.take() {
            session.end_response();
        }
    }
}
