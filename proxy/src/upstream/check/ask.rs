//! One check: a connection, and a request if one is asked for.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::Builder;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use risefall::{Cause, Outcome};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Checked;
use crate::plan::upstream::CheckKind;

/// Why a server did not pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// It could not be connected to.
    #[error("not connected: {0}")]
    Dial(io::Error),
    /// It was not connected to in time.
    #[error("not connected within {0:?}")]
    DialTimedOut(Duration),
    /// It would not speak TLS as it should.
    #[error("no TLS: {0}")]
    Tls(io::Error),
    /// It was connected to, and did not answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// It broke off, or gave no answer that can be read.
    #[error("no usable answer: {0}")]
    Answer(hyper::Error),
    /// It answered otherwise than it should.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// The request cannot be made: no fault of the server.
    #[error("no request: {0}")]
    Request(hyper::http::Error),
}

impl Failed {
    /// What it says of the service.
    pub(super) fn outcome(&self) -> Outcome {
        Outcome::Failed(match self {
            Self::Dial(error) => return Outcome::of(error),
            Self::Request(_) => return Outcome::LocalFault,
            Self::DialTimedOut(_) | Self::TimedOut(_) => Cause::TimedOut,
            Self::Tls(_) => Cause::Tls,
            Self::Answer(error) if error.is_parse() => Cause::ServerError,
            Self::Answer(_) => Cause::Reset,
            Self::Status(_) => Cause::ServerError,
        })
    }

    /// Whether the way there was proved good.
    pub(super) fn is_connected(&self) -> bool {
        !matches!(
            self,
            Self::Dial(_) | Self::DialTimedOut(_) | Self::Request(_)
        )
    }

    /// What it says of the way there; `None` if it was connected to.
    pub(super) fn of_dial(&self) -> Option<Cause> {
        match self {
            Self::Dial(error) => Cause::of(error),
            Self::DialTimedOut(_) => Some(Cause::TimedOut),
            _ => None,
        }
    }
}

/// Checks `server` once, for no longer than its check may take.
///
/// # Cancel safety
///
/// Its connection is closed; nothing is recorded here.
pub(super) async fn ask(server: &Checked) -> Result<(), Failed> {
    let most = server.check.timeout;
    let deadline = tokio::time::Instant::now() + most;
    let stream = tokio::time::timeout_at(deadline, dial(server))
        .await
        .map_err(|_| Failed::DialTimedOut(most))?
        .map_err(Failed::Dial)?;
    tokio::time::timeout_at(deadline, talk(server, stream))
        .await
        .map_err(|_| Failed::TimedOut(most))?
}

async fn dial(server: &Checked) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server.address).await?;
    stream.set_nodelay(true)?;
    // TCP may connect a closed port of this host to itself.
    match stream.local_addr()? == server.address {
        true => Err(io::ErrorKind::ConnectionRefused.into()),
        false => Ok(stream),
    }
}

async fn talk(server: &Checked, stream: TcpStream) -> Result<(), Failed> {
    let Some(tls) = &server.tls else {
        return inquire(server, stream).await;
    };
    let connector = TlsConnector::from(tls.config.clone());
    let stream = connector.connect(tls.name.clone(), stream).await;
    inquire(server, stream.map_err(Failed::Tls)?).await
}

async fn inquire(
    server: &Checked,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
) -> Result<(), Failed> {
    let CheckKind::Http { expect, .. } = &server.check.kind else {
        return Ok(());
    };
    let request = request(server).map_err(Failed::Request)?;
    let handshake = Builder::new()
        .max_buf_size(HEAD_MOST)
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = handshake.map_err(Failed::Answer)?;
    // The connection ends by its own means only; what that was, the answer tells.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer.map_err(Failed::Answer)?,
        never = drive => match never {},
    };
    let status = answer.status().as_u16();
    let is_expected = |&(least, most): &(u16, u16)| (least..=most).contains(&status);
    match expect.iter().any(is_expected) {
        true => Ok(()),
        false => Err(Failed::Status(answer.status())),
    }
}

/// The request of an HTTP check; what the operator said replaces what would be sent.
fn request(server: &Checked) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    let mut request = Request::new(Empty::new());
    let CheckKind::Http {
        path,
        method,
        host,
        headers,
        ..
    } = &server.check.kind
    else {
        return Ok(request);
    };
    let host = match host {
        Some(host) => host.clone(),
        None => HeaderValue::try_from(server.target.to_string())?,
    };
    *request.uri_mut() = path.parse()?;
    *request.method_mut() = Method::clone(method);
    let fields = request.headers_mut();
    fields.insert(HOST, host);
    fields.insert(USER_AGENT, HeaderValue::from_static("risefall-check"));
    for (name, value) in headers {
        fields.insert(name, value.clone());
    }
    Ok(request)
}

/// More than any head of an answer to a check.
const HEAD_MOST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::tests::{checked, http};
    use super::*;
    use crate::plan::upstream::Check;
    use crate::upstream::check::CheckTls;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Checks a server that says `said` to whatever comes, and tells what it was asked.
    async fn asked(check: Check, said: &'static str) -> (Result<(), Failed>, String) {
        let (listener, address) = listener().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = vec![0; 4096];
            let len = stream.read(&mut heard).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            heard.truncate(len);
            String::from_utf8(heard).unwrap()
        });
        let found = ask(&checked(address, check)).await;
        (found, server.await.unwrap())
    }

    #[tokio::test]
    async fn a_status_within_the_range_passes_and_another_does_not() {
        let (found, heard) = asked(http("/health?full"), "HTTP/1.1 204 No\r\n\r\n").await;
        found.unwrap();
        assert!(
            heard.starts_with("GET /health?full HTTP/1.1\r\n"),
            "{heard}"
        );
        let heard = heard.to_lowercase();
        assert!(heard.contains("\r\nhost: app.internal:80\r\n"), "{heard}");
        let said = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
        let failed = asked(http("/"), said).await.0.unwrap_err();
        assert_eq!(failed.outcome(), Outcome::Failed(Cause::ServerError));
        assert_eq!(
            (failed.of_dial(), failed.to_string().as_str()),
            (None, "it answered 500 Internal Server Error")
        );
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_or_cannot_be_read_does_not_pass() {
        for (said, cause) in [
            ("", Cause::Reset),
            ("HTTP/1.1 200 OK\r\nA", Cause::Reset),
            ("SSH-2.0-OpenSSH\r\n", Cause::ServerError),
        ] {
            let failed = asked(http("/"), said).await.0.unwrap_err();
            assert_eq!(failed.outcome(), Outcome::Failed(cause), "{said:?}");
            assert_eq!(failed.of_dial(), None);
        }
    }

    #[tokio::test]
    async fn silence_is_the_service_s_once_it_is_connected() {
        let (_listener, address) = listener().await;
        let mut check = http("/");
        check.timeout = Duration::from_millis(10);
        let failed = ask(&checked(address, check)).await.unwrap_err();
        assert!(matches!(failed, Failed::TimedOut(_)), "{failed}");
        assert_eq!(failed.of_dial(), None);
    }

    #[tokio::test]
    async fn a_connection_is_enough_for_tcp_and_a_refusal_is_the_dial_s_as_well() {
        let (listener, address) = listener().await;
        let mut check = http("/");
        check.kind = CheckKind::Tcp;
        ask(&checked(address, check.clone())).await.unwrap();
        drop(listener);
        let failed = ask(&checked(address, check)).await.unwrap_err();
        assert_eq!(failed.outcome(), Outcome::Failed(Cause::Refused));
        assert_eq!(failed.of_dial(), Some(Cause::Refused));
    }

    #[tokio::test]
    async fn a_server_that_does_not_speak_tls_does_not_pass() {
        let (listener, address) = listener().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        });
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let mut server_checked = checked(address, http("/"));
        server_checked.tls = Some(CheckTls {
            config: Arc::new(config),
            name: "app.internal".try_into().unwrap(),
        });
        let failed = ask(&server_checked).await.unwrap_err();
        assert_eq!(failed.outcome(), Outcome::Failed(Cause::Tls));
        server.await.unwrap();
    }
}
