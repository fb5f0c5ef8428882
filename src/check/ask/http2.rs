//! A request by HTTP/2, and gRPC's health protocol over it.
//!
//! The connection is driven in the same future as the request, so that dropping the check leaves
//! nothing behind.

use std::convert::Infallible;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE, USER_AGENT};
use http::{Method, Request};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::check::grpc::{self, Serving};
use crate::check::http::{Grpc, Http};
use crate::check::http1::{Answer, USER_AGENT as OURS};
use crate::check::report::Failure;

/// Asks what `http` asks.
pub(super) async fn answer<S>(
    http: &Http,
    stream: S,
    host: &str,
    is_secure: bool,
) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let mut request = request(http.asked_method(), http.asked_path(), host, is_secure)?;
    let fields = request.headers_mut();
    for (name, value) in http.sent_headers() {
        // The first of ours is replaced, others of the same name stand beside it.
        match name == USER_AGENT {
            true => drop(fields.insert(name, value.clone())),
            false => drop(fields.append(name, value.clone())),
        }
    }
    over(stream, async |send: SendRequest<Bytes>| {
        let (response, _) = begin(send, request, true).await?;
        let (head, mut body) = response.await.map_err(|error| broken(&error))?.into_parts();
        let agent = http.agent_field().and_then(|name| {
            let said = head.headers.get_all(name).iter().next_back();
            said.map(|value| value.as_bytes().to_vec())
        });
        let is_wanted = http.right_body().is_some() && http.asked_method() != Method::HEAD;
        let body = match is_wanted {
            true => read(&mut body, http.body_limit()).await?,
            false => Vec::new(),
        };
        let status = head.status.as_u16();
        Ok(Answer {
            status,
            agent,
            body,
        })
    })
    .await
}

/// Asks whether a service serves.
pub(super) async fn health<S>(
    grpc: &Grpc,
    stream: S,
    host: &str,
    is_secure: bool,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let mut request = request(&Method::POST, HEALTH_PATH, host, is_secure)?;
    let fields = request.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert(TE, HeaderValue::from_static("trailers"));
    let message = Bytes::from(grpc::request(grpc.asked_service()));
    over(stream, async |send: SendRequest<Bytes>| {
        let (response, mut sender) = begin(send, request, false).await?;
        sender
            .send_data(message, true)
            .map_err(|error| broken(&error))?;
        let (head, mut body) = response.await.map_err(|error| broken(&error))?.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(Failure::Malformed(format!(
                "status {}",
                head.status.as_u16()
            )));
        }
        if head.headers.contains_key(STATUS) {
            // Nothing but trailers.
            return status(&head.headers);
        }
        let message = read(&mut body, MESSAGE_BYTES_MOST + 1).await?;
        if message.len() > MESSAGE_BYTES_MOST {
            return Err(Failure::Malformed("its message is too long".to_owned()));
        }
        let trailers = body.trailers().await.map_err(|error| broken(&error))?;
        status(&trailers.unwrap_or_default())?;
        match grpc::answer(&message) {
            Ok(Serving::Serving) => Ok(()),
            Ok(other) => Err(Failure::Serving(other)),
            Err(error) => Err(Failure::Malformed(error.to_string())),
        }
    })
    .await
}

/// Runs `work` beside the connection that it needs.
async fn over<S, T>(
    stream: S,
    work: impl AsyncFnOnce(SendRequest<Bytes>) -> Result<T, Failure>,
) -> Result<T, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let handshake = Builder::new()
        .enable_push(false)
        .max_header_list_size(HEAD_LIST_MOST)
        .handshake(stream)
        .await;
    let (send, connection) = handshake.map_err(|error| broken(&error))?;
    // The connection ends by its own means only; what that was, the answer tells.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        done = work(send) => done,
        never = drive => match never {},
    }
}

async fn begin(
    send: SendRequest<Bytes>,
    request: Request<()>,
    is_whole: bool,
) -> Result<(ResponseFuture, h2::SendStream<Bytes>), Failure> {
    let mut send = send.ready().await.map_err(|error| broken(&error))?;
    send.send_request(request, is_whole)
        .map_err(|error| broken(&error))
}

fn request(
    method: &Method,
    path: &str,
    host: &str,
    is_secure: bool,
) -> Result<Request<()>, Failure> {
    let scheme = match is_secure {
        true => "https",
        false => "http",
    };
    Request::builder()
        .method(method)
        .uri(format!("{scheme}://{host}{path}"))
        .version(http::Version::HTTP_2)
        .header(USER_AGENT, OURS)
        .body(())
        .map_err(|error| Failure::Local(error.to_string()))
}

/// The body up to its end, or to `most` bytes.
async fn read(body: &mut RecvStream, most: usize) -> Result<Vec<u8>, Failure> {
    let mut whole = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| broken(&error))?;
        let _ = body.flow_control().release_capacity(data.len());
        let room = most.saturating_sub(whole.len());
        whole.extend_from_slice(data.get(..room).unwrap_or(&data));
        if whole.len() >= most {
            break;
        }
    }
    Ok(whole)
}

/// `grpc-status`, and what stands beside it.
fn status(fields: &HeaderMap) -> Result<(), Failure> {
    let text = |name| {
        let value = fields.get(name).map(HeaderValue::as_bytes);
        value.map(|value| {
            String::from_utf8_lossy(value)
                .chars()
                .take(CHARS_KEPT)
                .collect()
        })
    };
    let code: Option<String> = text(STATUS);
    let message: Option<String> = text("grpc-message");
    match (code.as_deref(), message) {
        (Some("0"), _) => Ok(()),
        (None, _) => Err(Failure::Grpc("missing".to_owned())),
        (Some(code), None) => Err(Failure::Grpc(code.to_owned())),
        (Some(code), Some(message)) => Err(Failure::Grpc(format!("{code} ({message})"))),
    }
}

fn broken(error: &h2::Error) -> Failure {
    if let Some(error) = error.get_io() {
        return Failure::broken(error);
    }
    match error.reason() {
        // A connection that ends in order, but before the answer.
        Some(Reason::NO_ERROR) => Failure::Closed,
        // It says so itself, as it should.
        _ if error.is_remote() => Failure::Broken {
            kind: std::io::ErrorKind::ConnectionReset,
            text: error.to_string(),
        },
        _ => Failure::Malformed(error.to_string()),
    }
}

const HEALTH_PATH: &str = "/grpc.health.v1.Health/Check";
const STATUS: &str = "grpc-status";
/// As much of a message as is told.
const CHARS_KEPT: usize = 200;
/// More than an answer of one number, unknown fields included.
const MESSAGE_BYTES_MOST: usize = 1024;
/// More than any head of an answer to a check.
const HEAD_LIST_MOST: u32 = 16 * 1024;
