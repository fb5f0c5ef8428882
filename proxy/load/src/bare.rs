//! The bare engine as a reverse proxy: the floor that hyper sets under any proxy built on it.
//!
//! For measuring only. It has one server, waits without end, checks nothing and knows no feature,
//! so that what a real proxy costs beyond it is that proxy's own work. What it does beside moving
//! messages is what the engine needs to do so: the URI in origin form, a `Host` for requests that
//! come by HTTP/2, and no `Connection` of the client's, which would end a kept connection to the
//! server. One thread; a connection to the server is a task of its own and is kept for the next
//! request as soon as a response has been read.

use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::{
    Request, Response, Uri, Version,
    body::{Body, Frame, Incoming, SizeHint},
    client,
    header::{CONNECTION, HOST, HeaderValue},
    rt::{Executor, Read, Write},
    server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::spawn_local};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use crate::{error::RunError, origin};

/// Forwards every request to `to`, until the process ends.
pub(crate) fn serve(
    listener: std::net::TcpListener,
    to: SocketAddr,
    tls: Option<&TlsAcceptor>,
) -> Result<Infallible, RunError> {
    let idle = RefCell::default();
    let pool = Rc::new(Pool { to, idle });
    origin::accept(listener, |stream| {
        // A client that breaks off ends its own task and nothing else.
        spawn_local(welcome(stream, tls.cloned(), Rc::clone(&pool)));
    })
}

/// Shows the certificate of these files, and offers both versions of HTTP.
pub(crate) fn tls(cert: &Path, key: &Path) -> Result<TlsAcceptor, RunError> {
    let failed = |file: &Path, why: String| RunError::Certificate {
        file: file.to_owned(),
        why,
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(cert, error.to_string()))?;
    let secret =
        PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.to_string()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| failed(cert, error.to_string()))?;
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn welcome(stream: TcpStream, tls: Option<TlsAcceptor>, pool: Rc<Pool>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let Some(tls) = tls else {
        return serve_http1(stream, pool).await;
    };
    let stream = tls.accept(stream).await.ok()?;
    if stream.get_ref().1.alpn_protocol() != Some(H2) {
        return serve_http1(stream, pool).await;
    }
    server::conn::http2::Builder::new(Local)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| forward(Rc::clone(&pool), request)),
        )
        .await
        .ok()
}

async fn serve_http1<S>(stream: S, pool: Rc<Pool>) -> Option<()>
where
    TokioIo<S>: Read + Write + Unpin,
{
    server::conn::http1::Builder::new()
        .header_read_timeout(None)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| forward(Rc::clone(&pool), request)),
        )
        .await
        .ok()
}

/// One exchange. An error ends the client's connection, or its stream.
async fn forward(pool: Rc<Pool>, mut request: Request<Incoming>) -> io::Result<Response<Reply>> {
    adapt(&mut request);
    let mut sender = match pool.take() {
        Some(sender) => sender,
        None => pool.dial().await?,
    };
    let sent = sender.send_request(request).await;
    let response = sent.map_err(io::Error::other)?;
    let sender = Some(sender);
    Ok(response.map(|body| Reply { body, sender, pool }))
}

/// What the engine needs to send a client's request to a server by HTTP/1.1.
fn adapt(request: &mut Request<Incoming>) {
    *request.version_mut() = Version::HTTP_11;
    request.headers_mut().remove(CONNECTION);
    if let Some(authority) = request.uri().authority() {
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            request.headers_mut().insert(HOST, host);
        }
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
    }
}

type Sender = client::conn::http1::SendRequest<Incoming>;

/// Connections to the server that wait for a request, the latest on top.
struct Pool {
    to: SocketAddr,
    idle: RefCell<Vec<Sender>>,
}

impl Pool {
    fn take(&self) -> Option<Sender> {
        std::iter::from_fn(|| self.idle.borrow_mut().pop()).find(Sender::is_ready)
    }

    async fn dial(&self) -> io::Result<Sender> {
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        spawn_local(driver);
        Ok(sender)
    }
}

/// A response's body as it comes. Dropped, it gives its connection back.
struct Reply {
    body: Incoming,
    sender: Option<Sender>,
    pool: Rc<Pool>,
}

impl Body for Reply {
    type Data = hyper::body::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Self::Data>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // One that is not ready was cut off in the middle of its response, and ends.
        if let Some(sender) = self.sender.take().filter(Sender::is_ready) {
            self.pool.idle.borrow_mut().push(sender);
        }
    }
}

/// Runs the streams of HTTP/2 on the one thread.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output: 'static> + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}

const H2: &[u8] = b"h2";
