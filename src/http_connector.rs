//! A connector for hyper-util's client, and for what is built on such connectors (feature
//! `hyper-util`).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::hyper_util::rt::TokioIo;
use http::Uri;
use http::uri::Scheme;
use tower_service::Service;

use crate::connect::{Connector, Dial, TcpDialler};
use crate::error::ConnectError;
use crate::registry::Registry;
use crate::resolve::{Resolve, SystemResolver};

/// In the place of hyper-util's `HttpConnector`: resolves, skips what is down, races the rest and
/// reports, as [`Registry::connect`] does.
///
/// Like that it is wrapped by TLS connectors from outside, which then want
/// [`enforce_http(false)`](Self::enforce_http).
///
/// It dials when the client wants a connection; one that the client keeps is not asked about again.
/// What servers answer is for a `tower::HealthLayer` around the client to judge.
///
/// # Examples
///
/// ```
/// use http_body_util::Empty;
/// use hyper::body::Bytes;
/// use hyper_util::client::legacy::Client;
/// use hyper_util::rt::TokioExecutor;
/// use risefall::{HealthConnector, Policy, Registry};
///
/// let registry = Registry::new(Policy::default());
/// let client: Client<_, Empty<Bytes>> =
///     Client::builder(TokioExecutor::new()).build(HealthConnector::new(&registry));
/// ```
///
/// With a resolver, a dialler and limits of your own:
///
/// ```
/// # let registry = risefall::Registry::new(risefall::Policy::default());
/// use std::time::Duration;
///
/// use risefall::{HealthConnector, TcpDialler};
///
/// let connector = registry
///     .connector()
///     .dialler(TcpDialler::new().nodelay(true))
///     .connect_timeout(Duration::from_secs(2));
/// let connector = HealthConnector::from(connector);
/// # let _ = connector;
/// ```
pub struct HealthConnector<R = SystemResolver, D = TcpDialler> {
    connector: Arc<Connector<R, D>>,
    enforce_http: bool,
}

impl HealthConnector {
    /// Dials by TCP and the system's resolver, small writes at once (`TCP_NODELAY`).
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let dialler = TcpDialler::new().nodelay(true);
        Self::from(registry.connector().dialler(dialler))
    }
}

impl<R, D> HealthConnector<R, D> {
    /// Whether it refuses all but `http`. Default yes: it speaks no TLS, and what was meant to be
    /// secret must not be sent in clear. No is for connectors that speak TLS over its streams.
    #[must_use]
    pub fn enforce_http(self, enforce_http: bool) -> Self {
        Self {
            enforce_http,
            ..self
        }
    }

    /// Host and port that the URI leads to.
    fn target(&self, uri: &Uri) -> Result<(String, u16), HttpConnectError> {
        let scheme = uri.scheme();
        if self.enforce_http && scheme != Some(&Scheme::HTTP) {
            return Err(HttpConnectError::NotHttp { uri: uri.clone() });
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let Some(host) = host else {
            return Err(HttpConnectError::NoHost { uri: uri.clone() });
        };
        // An IPv6 address stands in brackets (RFC 3986 §3.2.2).
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let usual = if scheme == Some(&Scheme::HTTPS) {
            443
        } else {
            80
        };
        let port = uri.port_u16().unwrap_or(usual);
        Ok((bare.unwrap_or(host).to_owned(), port))
    }
}

impl<R, D> From<Connector<R, D>> for HealthConnector<R, D> {
    fn from(connector: Connector<R, D>) -> Self {
        Self {
            connector: Arc::new(connector),
            enforce_http: true,
        }
    }
}

impl<R, D> Clone for HealthConnector<R, D> {
    fn clone(&self) -> Self {
        Self {
            connector: Arc::clone(&self.connector),
            enforce_http: self.enforce_http,
        }
    }
}

impl<R, D> fmt::Debug for HealthConnector<R, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthConnector")
            .field("enforce_http", &self.enforce_http)
            .finish_non_exhaustive()
    }
}

impl<R, D> Service<Uri> for HealthConnector<R, D>
where
    R: Resolve + 'static,
    D: Dial + Clone + 'static,
{
    type Response = TokioIo<D::Stream>;
    type Error = HttpConnectError;
    type Future = Connecting<D::Stream>;

    /// Always ready: what is down is told by the call.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let target = self.target(&uri);
        let connector = Arc::clone(&self.connector);
        Connecting(Box::pin(async move {
            let (host, port) = target?;
            match connector.connect(&host, port).await {
                Ok(stream) => Ok(TokioIo::new(stream)),
                Err(source) => Err(HttpConnectError::Unreached { uri, source }),
            }
        }))
    }
}

/// A connection on its way. From a [`HealthConnector`].
///
/// # Cancel safety
///
/// As [`Registry::connect`].
#[must_use = "futures do nothing unless polled"]
pub struct Connecting<S>(Flying<S>);

type Flying<S> = Pin<Box<dyn Future<Output = Result<TokioIo<S>, HttpConnectError>> + Send>>;

impl<S> Future for Connecting<S> {
    type Output = Result<TokioIo<S>, HttpConnectError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl<S> fmt::Debug for Connecting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}

/// Why a [`HealthConnector`] gave no stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpConnectError {
    /// The URI is not of the scheme `http`, and
    /// [`enforce_http`](HealthConnector::enforce_http) is on. Nothing was dialled.
    #[error(
        "{uri} is not http, and the connector speaks no TLS: wrap it, with enforce_http(false)"
    )]
    NotHttp {
        /// What was asked for.
        uri: Uri,
    },
    /// The URI names no host. Nothing was dialled.
    #[error("{uri} has no host")]
    NoHost {
        /// What was asked for.
        uri: Uri,
    },
    /// No address of the host gave a stream.
    #[error("no connection for {uri}")]
    Unreached {
        /// What was asked for.
        uri: Uri,
        /// Why, with the cause of each address.
        source: ConnectError,
    },
}
