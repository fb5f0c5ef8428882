//! A request by HTTP/1.1.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::check::http::Http;
use crate::check::http1::{Answer, AnswerError, Decoder, request};
use crate::check::report::Failure;

pub(super) async fn answer<S>(http: &Http, mut stream: S, host: &str) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |error| Failure::broken(&error);
    stream
        .write_all(&request(http, host))
        .await
        .map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut decoder = Decoder::new(http);
    let mut piece = [0; PIECE_BYTES];
    loop {
        let len = stream.read(&mut piece).await.map_err(broken)?;
        let heard = piece.get(..len).unwrap_or_default();
        if heard.is_empty() {
            return decoder.handle_close().map_err(unreadable);
        }
        if let Some(answer) = decoder.handle_bytes(heard).map_err(unreadable)? {
            return Ok(answer);
        }
    }
}

fn unreadable(error: AnswerError) -> Failure {
    match error {
        AnswerError::Closed => Failure::Closed,
        error => Failure::Malformed(error.to_string()),
    }
}

/// A head and a short body. It is part of what is moved when a check begins.
const PIECE_BYTES: usize = 1024;
