//! hyper-util's client over the registry, with real sockets on 127.0.0.1.
#![cfg(all(feature = "hyper-util", feature = "http"))]
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use risefall::tower::{Denied, HealthLayer, HttpStatus};
use risefall::{
    Cause, ConnectError, HealthConnector, HttpConnectError, ManualClock, Policy, Recovery,
    Registry, Resolve, State, Weight,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower::{Layer, Service, ServiceExt};

/// A server that answers every request with those bytes and closes.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn new(answer: &'static str) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    fn on(listener: TcpListener, answer: &'static str) -> Self {
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, answer, Arc::clone(&count)));
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, answer: &str, count: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    count.fetch_add(1, Ordering::Relaxed);
    let _ = stream.write_all(answer.as_bytes()).await;
}

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const BROKEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nok";
const MANGLED: &str =
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nzz\r\nok\r\n";
const OVER: &str =
    "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A port on which nothing listens, and which is nobody else's; it may be listened on later.
fn closed_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Knows one name.
struct Names(Vec<SocketAddr>);

impl Resolve for Names {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!((host, port), ("service.test", 80));
        Ok(self.0.clone())
    }
}

fn registry() -> (Registry, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let policy = Policy::builder()
        .recovery(Recovery::PROBE)
        .weigh_answers(Weight::Count);
    let registry = Registry::builder().policy(policy.build().unwrap());
    (registry.clock(clock.clone()).build(), clock)
}

fn client<C>(connector: C) -> Client<C, Empty<Bytes>>
where
    C: Clone + Send + Sync + 'static,
    C: hyper_util::client::legacy::connect::Connect,
{
    Client::builder(TokioExecutor::new()).build(connector)
}

fn uri(address: SocketAddr) -> Uri {
    format!("http://{address}/").parse().unwrap()
}

fn request(address: SocketAddr) -> Request<Empty<Bytes>> {
    Request::get(uri(address)).body(Empty::new()).unwrap()
}

/// The registry's own account, from within a client's error.
fn account<'a>(error: &'a (dyn Error + 'static)) -> &'a ConnectError {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref())
        .expect("a ConnectError")
}

#[tokio::test]
async fn a_name_with_a_dead_server_costs_three_dials_and_no_request() {
    let (registry, _) = registry();
    let (_bound, dead) = closed_port();
    let alive = Server::new(FINE).await;
    let names = Names(vec![dead, alive.address]);
    let client = client(HealthConnector::from(registry.connector().resolver(names)));
    for _ in 0..5 {
        let uri = Uri::from_static("http://service.test/");
        let response = client.get(uri).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "ok");
    }
    assert_eq!(registry.status(&dead).failures, 3);
    assert_eq!(alive.requests(), 5);
}

#[tokio::test]
async fn a_black_hole_is_raced() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let hole = listener.local_addr().unwrap();
    // Its backlog is full when a dial is silent.
    let mut fillers = Vec::new();
    let patience = std::time::Duration::from_millis(50);
    while let Ok(Ok(filler)) = tokio::time::timeout(patience, TcpStream::connect(hole)).await {
        fillers.push(filler);
    }
    let (registry, _) = registry();
    let alive = Server::new(FINE).await;
    let names = Names(vec![hole, alive.address]);
    let client = client(HealthConnector::from(registry.connector().resolver(names)));
    let uri = Uri::from_static("http://service.test/");
    client.get(uri).await.unwrap();
    assert_eq!(alive.requests(), 1);
    assert_eq!(registry.status(&hole).state, State::Suspect);
}

#[tokio::test]
async fn a_dead_server_is_denied_without_a_dial_and_comes_back_by_probes() {
    let (registry, clock) = registry();
    let (bound, dead) = closed_port();
    let client = client(HealthConnector::new(&registry));
    for _ in 0..3 {
        let error = client.get(uri(dead)).await.unwrap_err();
        assert!(error.is_connect());
        assert!(matches!(account(&error), ConnectError::Unreachable { .. }));
    }
    let error = client.get(uri(dead)).await.unwrap_err();
    let ConnectError::FallDown { addresses } = account(&error) else {
        panic!("{error:?}")
    };
    assert_eq!(addresses[0].last_failure.unwrap().cause, Cause::Refused);

    let server = Server::on(bound.listen(16).unwrap(), FINE);
    client.get(uri(dead)).await.unwrap_err();
    assert_eq!(server.requests(), 0, "its down time lasts");
    clock.advance(registry.status(&dead).retry_in.unwrap());
    for successes in 1..=2 {
        client.get(uri(dead)).await.unwrap();
        assert_eq!(server.requests(), successes);
    }
    assert_eq!(registry.status(&dead).state, State::Up);
}

#[tokio::test]
async fn bodies_and_statuses_of_real_servers_count() {
    for (answer, cause) in [
        (BROKEN, Cause::Reset),
        (MANGLED, Cause::Malformed),
        (OVER, Cause::BadGateway),
    ] {
        let (services, _) = registry();
        let server = Server::new(answer).await;
        let dials = Registry::new(Policy::default());
        let endpoint = services.endpoint(server.address);
        let layer = HealthLayer::new(endpoint).classify(HttpStatus::new());
        let mut service = layer.layer(client(HealthConnector::new(&dials)));
        for _ in 0..3 {
            let ready = service.ready().await.unwrap();
            let response = ready.call(request(server.address)).await.unwrap();
            let body = response.into_body().collect().await;
            assert_eq!(body.is_err(), cause != Cause::BadGateway);
        }
        let status = services.status(&server.address);
        assert_eq!((status.state, status.failures), (State::Down, 3));
        assert_eq!(status.last_failure.unwrap().cause, cause);
        let ready = service.ready().await.unwrap();
        let error = ready.call(request(server.address)).await.unwrap_err();
        let retry_after = Denied::of(&*error).unwrap().retry_after();
        assert!((60..=67).contains(&retry_after.unwrap()));
        assert_eq!(server.requests(), 3);
        assert!(dials.statuses().is_empty(), "it could be reached");
    }
}

#[tokio::test]
async fn a_connect_that_was_told_to_the_registry_is_not_told_twice() {
    let (registry, _) = registry();
    let (_bound, dead) = closed_port();
    let layer = HealthLayer::new(registry.endpoint(dead)).classify(HttpStatus::new());
    let service = layer.layer(client(HealthConnector::new(&registry)));
    service.oneshot(request(dead)).await.unwrap_err();
    assert_eq!(registry.status(&dead).failures, 1);
}

#[tokio::test]
async fn a_server_that_hangs_up_on_a_request_is_blamed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The request is read, so that closing is no reset of what was not.
            stream.read_u8().await.unwrap();
        }
    });
    let (services, _) = registry();
    let dials = Registry::new(Policy::default());
    let layer = HealthLayer::new(services.endpoint(address)).classify(HttpStatus::new());
    let service = layer.layer(client(HealthConnector::new(&dials)));
    service.oneshot(request(address)).await.unwrap_err();
    let last = services.status(&address).last_failure.unwrap();
    assert_eq!(last.cause, Cause::Reset);
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_malformed() {
    let server = Server::new("SSH-2.0-OpenSSH\r\n").await;
    let (services, _) = registry();
    let dials = Registry::new(Policy::default());
    let layer = HealthLayer::new(services.endpoint(server.address)).classify(HttpStatus::new());
    let service = layer.layer(client(HealthConnector::new(&dials)));
    service.oneshot(request(server.address)).await.unwrap_err();
    let last = services.status(&server.address).last_failure.unwrap();
    assert_eq!(last.cause, Cause::Malformed);
}

#[tokio::test]
async fn what_is_no_http_is_refused_unless_somebody_speaks_tls_over_it() {
    let registry = Registry::new(Policy::default());
    let server = Server::new(FINE).await;
    let connector = HealthConnector::new(&registry);
    let secure: Uri = format!("https://{}/", server.address).parse().unwrap();
    let error = connector.clone().oneshot(secure.clone()).await.unwrap_err();
    assert!(matches!(error, HttpConnectError::NotHttp { .. }));
    let error = connector.clone().oneshot(Uri::from_static("/path")).await;
    assert!(matches!(error, Err(HttpConnectError::NotHttp { .. })));
    let wrapped = connector.enforce_http(false);
    wrapped.clone().oneshot(secure).await.unwrap();
    let error = wrapped.oneshot(Uri::from_static("/path")).await;
    assert!(matches!(error, Err(HttpConnectError::NoHost { .. })));
}

/// Tells what it was asked for, and refuses.
#[derive(Clone)]
struct Asked;

impl Resolve for Asked {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Err(io::Error::other(format!("{host} {port}")))
    }
}

#[tokio::test]
async fn ports_are_those_of_the_scheme_and_brackets_are_no_part_of_an_address() {
    let registry = Registry::new(Policy::default());
    let connector = HealthConnector::from(registry.connector().resolver(Asked));
    let connector = connector.enforce_http(false);
    for (uri, asked) in [
        ("http://service.test", "service.test 80"),
        ("https://service.test", "service.test 443"),
        ("https://service.test:8443/path", "service.test 8443"),
    ] {
        let error = connector.clone().oneshot(Uri::from_static(uri)).await;
        let Err(HttpConnectError::Unreached { source, .. }) = error else {
            panic!("{uri}")
        };
        assert_eq!(source.to_string(), format!("name not resolved: {asked}"));
    }
    // An address is not looked up.
    let refusing = |_| async { Err::<TcpStream, _>(io::ErrorKind::ConnectionRefused.into()) };
    let connector = registry.connector().resolver(Asked).dialler(refusing);
    let connector = HealthConnector::from(connector);
    let error = connector.oneshot(Uri::from_static("http://[::1]:9/")).await;
    let Err(HttpConnectError::Unreached { source, .. }) = error else {
        panic!("{error:?}")
    };
    let ConnectError::Unreachable { attempts } = source else {
        panic!("{source}")
    };
    assert_eq!(attempts[0].address, "[::1]:9".parse().unwrap());
}
