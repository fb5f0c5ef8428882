//! A response body that tells how it ended.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::classify::known;
use super::{BoxError, Call, GrpcStatus};
use crate::outcome::{Cause, Outcome};

pin_project! {
    /// A response body that tells its peer's registry how it ended.
    ///
    /// | it | tells |
    /// |---|---|
    /// | ends | a success; of gRPC what its trailers say |
    /// | breaks off | a failure: what the error says ([`Cause::Malformed`] of chunks that cannot be read), else [`Cause::Reset`] |
    /// | is dropped while its reader waits for more | nothing |
    /// | is dropped otherwise, before it was read for instance | a success: there was nothing wrong with what came |
    ///
    /// A probe has been told by the head already; of its body only a failure is news.
    #[derive(Debug)]
    pub struct Watched<B> {
        #[pin]
        body: B,
        watch: Watch,
    }

    impl<B> PinnedDrop for Watched<B> {
        fn drop(this: Pin<&mut Self>) {
            this.project().watch.drop_early();
        }
    }
}

/// What a body is watched for.
#[derive(Debug)]
struct Watch {
    /// `None` once there is nothing more to tell.
    call: Option<Call>,
    trailers: Trailers,
    is_told: bool,
    /// The reader waits for more.
    is_awaited: bool,
}

/// What the end of a body is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trailers {
    /// It ends, and that is well.
    Ignored,
    /// It must end with trailers, which say how it went.
    Judged(GrpcStatus),
}

impl<B: Body> Watched<B> {
    /// A body whose head was good.
    pub(super) fn new(body: B, call: Call, trailers: Trailers) -> Self {
        let (call, is_told) = call.answered();
        let mut watch = Watch {
            call: Some(call),
            trailers,
            is_told,
            is_awaited: false,
        };
        if body.is_end_stream() {
            watch.end();
        }
        Self { body, watch }
    }

    /// A body of which nothing is to be told any more.
    pub(super) fn unwatched(body: B) -> Self {
        let watch = Watch {
            call: None,
            trailers: Trailers::Ignored,
            is_told: true,
            is_awaited: false,
        };
        Self { body, watch }
    }

    /// The body inside.
    pub fn inner(&self) -> &B {
        &self.body
    }
}

impl Watch {
    fn tell(&mut self, outcome: Outcome) {
        if let Some(call) = self.call.take() {
            call.end(match outcome {
                Outcome::Success if self.is_told => Outcome::Cancelled,
                outcome => outcome,
            });
        }
    }

    fn end(&mut self) {
        self.tell(match self.trailers {
            Trailers::Ignored => Outcome::Success,
            Trailers::Judged(_) => BROKEN_OFF,
        });
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Trailers::Judged(status) = self.trailers {
            self.tell(status.outcome(trailers).unwrap_or(BROKEN_OFF));
        }
    }

    fn drop_early(&mut self) {
        self.tell(if self.is_awaited {
            Outcome::Cancelled
        } else {
            Outcome::Success
        });
    }
}

impl<B> Body for Watched<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        this.watch.is_awaited = true;
        let frame = ready!(this.body.as_mut().poll_frame(context));
        this.watch.is_awaited = false;
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.watch.trailers(trailers);
                }
                if this.body.is_end_stream() {
                    this.watch.end();
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                let error = error.into();
                this.watch.tell(known(&*error).unwrap_or(BROKEN_OFF));
                Some(Err(error))
            }
            None => {
                this.watch.end();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer that ends before its end.
const BROKEN_OFF: Outcome = Outcome::Failed(Cause::Reset);
