//! Servers by script, and what their first check finds.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use risefall::check::{
    Checker, Connect, Definition, Failure, Http, Kind, Report, Runner, Thresholds, Timing, Verdict,
};
use risefall::{Policy, Registry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const NEVER: Duration = Duration::from_secs(60);
pub(crate) const SOON: Duration = Duration::from_millis(20);

pub(crate) fn timing(timeout: Duration) -> Timing {
    let timing = Timing::builder().interval(Duration::from_secs(3600));
    let timing = timing.fast_interval(Duration::from_millis(10));
    timing.timeout(timeout).build().unwrap()
}

pub(crate) fn definition(kind: Kind, timeout: Duration) -> Definition {
    Definition::new(kind, None, timing(timeout)).unwrap()
}

pub(crate) fn http() -> Http {
    Http::new("/health").unwrap()
}

/// Serves one connection after another.
pub(crate) async fn serve<F, W>(work: W) -> SocketAddr
where
    F: Future<Output = io::Result<()>> + Send + 'static,
    W: Fn(TcpStream) -> F + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(work(stream));
        }
    });
    address
}

/// A server that hears something, says this, and closes.
pub(crate) async fn says(said: impl Into<Vec<u8>>) -> SocketAddr {
    let said: Arc<[u8]> = said.into().into();
    serve(move |mut stream| {
        let said = Arc::clone(&said);
        async move {
            let _ = stream.read(&mut [0; 4096]).await?;
            stream.write_all(&said).await?;
            stream.shutdown().await?;
            // Until the peer has closed as well, so that nothing unread resets what was said.
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
            Ok(())
        }
    })
    .await
}

/// A server that hears and is silent.
pub(crate) async fn silent() -> SocketAddr {
    serve(|mut stream| async move {
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
        Ok(())
    })
    .await
}

/// An address where nothing listens.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

pub(crate) fn runs<C: Connect>(runner: Runner<C>) {
    tokio::spawn(runner.run());
}

/// What the first check finds.
pub(crate) async fn first(address: SocketAddr, definition: Definition) -> (Report, Registry) {
    let dials = Registry::new(Policy::default());
    let evidence = Registry::new(Policy::default());
    let (checker, runner) = Checker::new(&dials);
    runs(runner);
    let server = checker
        .subscribe(address, definition, &evidence, Thresholds::default())
        .unwrap();
    (server.wait_for_checks(1).await, dials)
}

/// The same of one that should pass.
pub(crate) async fn passes(address: SocketAddr, kind: Kind) {
    let (report, dials) = first(address, definition(kind, NEVER)).await;
    assert_eq!(report.verdict, Verdict::Up, "{report}");
    assert_eq!(report.last.unwrap().result, Ok(()));
    assert_eq!(dials.status(&address).failures, 0);
}

/// The same of one that should not, once it is connected to: why.
pub(crate) async fn fails(address: SocketAddr, kind: Kind, timeout: Duration) -> Failure {
    let (report, dials) = first(address, definition(kind, timeout)).await;
    assert_eq!(report.verdict, Verdict::Down, "{report}");
    assert_eq!(dials.status(&address).failures, 0, "the dial was well");
    report.last.unwrap().result.unwrap_err()
}

/// How a server of HTTP/2 answers.
#[derive(Clone)]
pub(crate) struct Answers {
    pub(crate) status: u16,
    pub(crate) head: &'static [(&'static str, &'static str)],
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<&'static [(&'static str, &'static str)]>,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            status: 200,
            head: &[],
            body: Vec::new(),
            trailers: None,
        }
    }
}

pub(crate) fn fields(pairs: &[(&'static str, &'static str)]) -> http::HeaderMap {
    let pairs = pairs.iter().map(|&(name, value)| {
        let name = http::HeaderName::from_static(name);
        (name, http::HeaderValue::from_static(value))
    });
    pairs.collect()
}

/// A server of HTTP/2 by prior knowledge, and what it was asked: the request, and its body.
pub(crate) async fn http2(
    answers: Answers,
) -> (
    SocketAddr,
    tokio::sync::mpsc::Receiver<(http::request::Parts, Vec<u8>)>,
) {
    let (told, heard) = tokio::sync::mpsc::channel(8);
    let address = serve(move |stream| {
        let (answers, told) = (answers.clone(), told.clone());
        async move {
            let mut connection = h2::server::handshake(stream)
                .await
                .map_err(io::Error::other)?;
            while let Some(request) = connection.accept().await {
                let (request, mut respond) = request.map_err(io::Error::other)?;
                let (answers, told) = (answers.clone(), told.clone());
                tokio::spawn(async move {
                    let (parts, mut body) = request.into_parts();
                    let mut asked = Vec::new();
                    while let Some(Ok(data)) = body.data().await {
                        asked.extend_from_slice(&data);
                    }
                    let _ = told.send((parts, asked)).await;
                    let mut response = http::Response::new(());
                    *response.status_mut() = answers.status.try_into().unwrap();
                    *response.headers_mut() = fields(answers.head);
                    let is_whole = answers.body.is_empty() && answers.trailers.is_none();
                    let mut stream = respond.send_response(response, is_whole).unwrap();
                    if is_whole {
                        return;
                    }
                    let is_last = answers.trailers.is_none();
                    let _ = stream.send_data(answers.body.into(), is_last);
                    if let Some(trailers) = answers.trailers {
                        let _ = stream.send_trailers(fields(trailers));
                    }
                });
            }
            Ok(())
        }
    })
    .await;
    (address, heard)
}
