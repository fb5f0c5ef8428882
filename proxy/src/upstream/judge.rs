//! What answers and faults say of a server that a request was sent to.

use std::io;
use std::net::SocketAddr;

use hyper::StatusCode;
use risefall::{Cause, Outcome};

use crate::error::{Breach, Fault};
use crate::plan::upstream::Service;

/// What an answer with that status says of the server.
///
/// The statuses of `service` are failures; 429 says nothing, as it is mostly about one client; the
/// rest are successes, those of a server that says it failed as well: which of them count is the
/// operator's to say.
#[must_use]
pub fn judge_status(status: StatusCode, service: &Service) -> Outcome {
    if service.statuses.contains(&status) {
        return Outcome::Failed(match status.as_u16() {
            502..=504 => Cause::BadGateway,
            _ => Cause::ServerError,
        });
    }
    match status {
        StatusCode::TOO_MANY_REQUESTS => Outcome::Cancelled,
        _ => Outcome::Success,
    }
}

/// What a fault says of the server that a request was sent to, once it was connected: the dial
/// has told its own. Of clients that give up it says nothing.
#[must_use]
pub fn judge_fault(fault: &Fault) -> Outcome {
    match fault {
        Fault::HeadTimedOut { .. } => Outcome::Failed(Cause::TimedOut),
        Fault::Broken {
            how: Breach::Incomplete,
            ..
        } => Outcome::Failed(Cause::Reset),
        Fault::Broken {
            how: Breach::Tls, ..
        } => Outcome::Failed(Cause::Tls),
        Fault::Broken { .. } => MALFORMED,
        Fault::Internal(_) | Fault::Memory => Outcome::LocalFault,
        _ => Outcome::Cancelled,
    }
}

/// What the engine says of a server's answer.
#[must_use]
pub fn broken(address: SocketAddr, error: &hyper::Error) -> Fault {
    let reason = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}").into(),
        None => error.to_string().into(),
    };
    let how = breach(error);
    Fault::Broken {
        address,
        how,
        reason,
    }
}

/// Which kind of wrong the engine has found.
#[must_use]
pub fn breach(error: &hyper::Error) -> Breach {
    if error.is_parse_too_large() {
        return Breach::Head;
    }
    let source = std::error::Error::source(error);
    let by_io = source.and_then(|source| source.downcast_ref::<io::Error>());
    let inner = by_io.and_then(io::Error::get_ref);
    if inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) {
        return Breach::Tls;
    }
    let is_unreadable = source.is_some_and(|source| {
        let by_h2 = source.downcast_ref::<h2::Error>();
        // A peer that closes or resets has broken off; what the engine ends is what it cannot read.
        by_h2.is_some_and(|error| error.is_library() && !error.is_io())
            || matches!(
                by_io.map(io::Error::kind),
                Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
            )
    });
    match error.is_parse() || is_unreadable {
        true => Breach::Protocol,
        false => Breach::Incomplete,
    }
}

/// Whether the server has told that it has not begun the request (RFC 9113 §8.7): it refused the
/// stream, or said good-bye before it came. Then it may be sent again whatever it is.
#[must_use]
pub fn is_unread(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let Some(error) = source.and_then(|source| source.downcast_ref::<h2::Error>()) else {
        return false;
    };
    let is_told = match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => error.is_reset(),
        Some(h2::Reason::NO_ERROR) => error.is_go_away(),
        _ => false,
    };
    is_told && error.is_remote()
}

/// What an answer says that breaks the protocol.
pub const MALFORMED: Outcome = Outcome::Failed(Cause::Malformed);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use http_body_util::Empty;
    use hyper::Request;
    use hyper::body::Bytes;
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::*;

    /// Takes every request, and breaks where the answer should come.
    struct Breaking {
        error: fn() -> io::Error,
        is_asked: bool,
    }

    impl AsyncRead for Breaking {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.is_asked {
                return Poll::Ready(Err((self.error)()));
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }

    impl AsyncWrite for Breaking {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.is_asked = true;
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn breach_by(error: fn() -> io::Error) -> Breach {
        let is_asked = false;
        let stream = TokioIo::new(Breaking { error, is_asked });
        let (mut sender, connection) = http1::handshake(stream).await.unwrap();
        let request = Request::new(Empty::<Bytes>::new());
        let (sent, _) = tokio::join!(sender.send_request(request), connection);
        breach(&sent.unwrap_err())
    }

    #[tokio::test]
    async fn what_tls_says_behind_its_handshake_is_no_answer_that_cannot_be_read() {
        let refused = || {
            let alert = rustls::AlertDescription::CertificateRequired;
            io::Error::new(
                io::ErrorKind::InvalidData,
                rustls::Error::AlertReceived(alert),
            )
        };
        assert_eq!(breach_by(refused).await, Breach::Tls);
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(breach_by(reset).await, Breach::Incomplete);
        let nonsense = || io::Error::from(io::ErrorKind::InvalidData);
        assert_eq!(breach_by(nonsense).await, Breach::Protocol);
    }

    #[test]
    fn listed_statuses_are_failures_and_429_says_nothing() {
        let service = Service {
            policy: Arc::default(),
            group: crate::plan::upstream::usual_group(),
            statuses: [502, 503, 504, 507]
                .map(|status| StatusCode::from_u16(status).unwrap())
                .to_vec(),
        };
        let judged = |status| judge_status(StatusCode::from_u16(status).unwrap(), &service);
        for status in [502, 503, 504] {
            assert_eq!(judged(status), Outcome::Failed(Cause::BadGateway));
        }
        assert_eq!(judged(507), Outcome::Failed(Cause::ServerError));
        assert_eq!(judged(429), Outcome::Cancelled);
        for status in [200, 304, 404, 500, 501] {
            assert_eq!(judged(status), Outcome::Success, "{status}");
        }
    }

    #[test]
    fn a_client_that_gives_up_blames_nobody_and_a_silent_server_is_blamed() {
        let address = SocketAddr::from(([10, 0, 0, 1], 80));
        let after = Duration::from_secs(9);
        assert_eq!(
            judge_fault(&Fault::Cut("by the client")),
            Outcome::Cancelled
        );
        assert_eq!(judge_fault(&Fault::Idle { after }), Outcome::Cancelled);
        let silent = Fault::HeadTimedOut { address, after };
        assert_eq!(judge_fault(&silent), Outcome::Failed(Cause::TimedOut));
        for (how, cause) in [
            (Breach::Incomplete, Cause::Reset),
            (Breach::Protocol, Cause::Malformed),
            (Breach::Tls, Cause::Tls),
            (Breach::Head, Cause::Malformed),
            (Breach::Upgrade, Cause::Malformed),
        ] {
            let reason = "said".into();
            let broken = Fault::Broken {
                address,
                how,
                reason,
            };
            assert_eq!(judge_fault(&broken), Outcome::Failed(cause), "{how:?}");
        }
    }
}
