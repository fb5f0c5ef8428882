//! The first bytes of a connection, before its protocol is known.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use crate::net::scratch;
use crate::serve::http1;
use crate::serve::session::Session;

/// Reads on, within the session's deadline; a little less of it when draining. False at the end.
pub(crate) async fn read_more<S: AsyncRead + Unpin>(
    stream: &mut S,
    into: &mut Vec<u8>,
    limit: usize,
    session: &Session,
) -> bool {
    let mut read = pin!(scratch::read_into(stream, into, limit));
    let mut is_told = false;
    poll_fn(|cx| {
        if let Poll::Ready(read) = read.as_mut().poll(cx) {
            return Poll::Ready(read.is_ok_and(|len| len > 0));
        }
        if session.is_draining() && !is_told {
            is_told = true;
            session.flow.watch.arm(session.terms.spans.grace);
        }
        session.flow.watch.poll_due(cx).map(|()| false)
    })
    .await
}

/// Answers and closes.
pub(crate) async fn turn_away<S>(stream: &mut S, answer: &[u8], session: &Session)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let written = session.flow.watch.guard(stream.write_all(answer)).await;
    if written.is_some_and(|written| written.is_ok()) {
        http1::linger(stream, session).await;
    }
}
