//! Requests through the reverse proxy: from a client through a site to an origin and back.
//!
//! `cargo bench -p risefall-proxy --bench reverse`. Client, site (one worker) and origin share this
//! process and its cores, each with a thread of its own, over loopback. Unless a case says
//! otherwise, sixteen connections of clients ask at once, each again when it has its answer, and an
//! element is one request; `direct` is the same client and origin without the site. After each case
//! it prints what the site's worker took for each request: allocations, bytes asked for, and
//! processor time. Neither the client nor the origin is in these.
#![allow(missing_docs)] // criterion's macros
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // a bench fails by panicking

#[path = "../proxy/tests/support/counting.rs"]
mod counting;
mod worker;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use memchr::memmem;
use mimalloc::MiMalloc;
use risefall::{Policy, Registry};
use risefall_proxy::net::tls::Identity;
use risefall_proxy::plan::site::PathRule;
use risefall_proxy::plan::{
    ActionDraft, Draft, RouteDraft, Server, SiteDraft, SiteTlsDraft, UpstreamDraft,
};
use risefall_proxy::proto::Target;
use risefall_proxy::runtime::{self, Running, Services};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use counting::Counting;

/// The program's allocator.
#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting(MiMalloc);

/// What is asked, and how many bytes of a body the answer has.
#[derive(Clone, Copy)]
struct Ask {
    head: &'static str,
    /// Bytes of the request's own body.
    upload: usize,
    answer: usize,
}

const SMALL: Ask = Ask {
    head: "GET / HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n",
    upload: 0,
    answer: SMALL_BODY,
};

const POST: Ask = Ask {
    head: "POST / HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\
        Content-Type: application/octet-stream\r\nContent-Length: 1024\r\n\r\n",
    upload: UPLOAD,
    answer: SMALL_BODY,
};

const LARGE: Ask = Ask {
    head: "GET /large HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n",
    upload: 0,
    answer: LARGE_BODY,
};

/// One side of an HTTP/1.1 connection that speaks as simply as may be.
struct Talker<S> {
    stream: S,
    bytes: Vec<u8>,
}

impl Talker<TcpStream> {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        Self::over(stream)
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        let bytes = Vec::new();
        Self { stream, bytes }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talker<S> {
    /// Reads a head and the body that `len` expects behind it; false if nothing comes any more.
    async fn hear(&mut self, len: impl Fn(&[u8]) -> usize) -> bool {
        self.bytes.clear();
        let mut whole = None;
        while whole.is_none_or(|whole| self.bytes.len() < whole) {
            self.bytes.reserve(HEAD_ROOM);
            if self.stream.read_buf(&mut self.bytes).await.unwrap() == 0 {
                return false;
            }
            if whole.is_none() {
                let end = memmem::find(&self.bytes, b"\r\n\r\n");
                whole = end.map(|end| end + 4 + len(&self.bytes));
                self.bytes.reserve(whole.unwrap_or(0));
            }
        }
        assert_eq!(Some(self.bytes.len()), whole, "nobody speaks ahead");
        true
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// One request and its answer.
    async fn ask(&mut self, ask: Ask, request: &[u8]) {
        self.say(request).await;
        assert!(self.hear(|_| ask.answer).await, "an answer");
        assert!(self.bytes.starts_with(b"HTTP/1.1 200"));
    }

    /// Answers for as long as somebody asks.
    async fn serve(mut self, small: Bytes, large: Bytes) {
        let upload = |head: &[u8]| usize::from(head.starts_with(b"POST")) * UPLOAD;
        while self.hear(upload).await {
            let is_large = self.bytes.starts_with(b"GET /large");
            self.say(if is_large { &large } else { &small }).await;
        }
    }
}

impl Ask {
    fn request(&self) -> Bytes {
        [self.head.as_bytes(), &vec![b'u'; self.upload]]
            .concat()
            .into()
    }
}

/// An origin on a thread of its own for as long as the process lasts.
fn origin() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let answer = |len: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
        Bytes::from([head.as_bytes(), &vec![b'd'; len]].concat())
    };
    let (small, large) = (answer(SMALL_BODY), answer(LARGE_BODY));
    std::thread::spawn(move || {
        counting::leave_out_this_thread();
        one_thread().block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(Talker::over(stream).serve(small.clone(), large.clone()));
            }
        });
    });
    address
}

fn one_thread() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// A site of one worker whose every request goes to `server`.
fn site(server: SocketAddr, tls: Option<SiteTlsDraft>) -> Running {
    let server = Server {
        target: Target::parse(&server.to_string()).unwrap(),
        weight: 1,
        is_backup: false,
        is_srv: false,
    };
    let action = ActionDraft::Upstream("app".to_owned());
    let routes = vec![RouteDraft::of(PathRule::Prefix("/".to_owned()), action)];
    let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let draft = Draft {
        forwards: Vec::new(),
        sites: vec![SiteDraft {
            tls,
            ..SiteDraft::on("shop", listen, routes)
        }],
        upstreams: vec![UpstreamDraft::of("app", vec![server])],
        admin: None,
        threads: 1,
        ..Draft::default()
    };
    let plan = draft.resolve().expect("a valid plan");
    let judge = Arc::new(Registry::new(Policy::default()));
    runtime::start(plan, Services::new(judge)).expect("the site starts")
}

fn address_of(running: &Running) -> SocketAddr {
    *running.forward_addresses().first().expect("it listens")
}

/// A certificate for the site, and what is to be trusted for it.
struct Certified {
    identity: Arc<Identity>,
    roots: RootCertStore,
}

impl Certified {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
        let (cert, key) = (folder.path().join("crt"), folder.path().join("key"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(&cert).unwrap())
            .unwrap();
        Self {
            identity: Identity::load(&cert, &key).unwrap(),
            roots,
        }
    }

    /// A client's side of a connection on which `protocol` was agreed.
    async fn shake(
        &self,
        address: SocketAddr,
        protocol: &[u8],
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = Talker::connect(address).await.stream;
        let name = "shop.example".try_into().unwrap();
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let stream = shaken.await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
        stream
    }
}

/// Measures `burst`, which makes as many requests as it is told to, and says what the worker took.
fn measure(
    criterion: &mut Criterion,
    name: &str,
    throughput: Throughput,
    mut burst: impl FnMut(u64) -> Duration,
) {
    // Connections to the origin are there from now on.
    burst(CONNECTIONS as u64);
    let (mut asked, counts, nanos) = (0, counting::so_far(), worker::nanos());
    let mut group = criterion.benchmark_group("reverse");
    group
        .sample_size(10)
        .throughput(throughput)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|requests| {
            asked += requests;
            burst(requests)
        });
    });
    group.finish();
    if asked == 0 {
        // Another case was asked for.
        return;
    }
    let (counts, nanos) = (counting::so_far() - counts, worker::nanos() - nanos);
    let each = |all: u64| all as f64 / asked as f64;
    println!(
        "{name}: {:.1} allocations, {:.0} bytes, {:.2} us of the worker for each of {asked}",
        each(counts.calls),
        each(counts.bytes),
        each(nanos) / 1e3,
    );
}

/// The requests of one of several that share `all`.
fn share(all: u64, of: usize, nth: usize) -> u64 {
    let (of, nth) = (of as u64, nth as u64);
    all / of + u64::from(nth < all % of)
}

/// So many requests over connections that stand.
async fn over_kept<S>(talkers: &mut Vec<Talker<S>>, ask: Ask, requests: u64) -> Duration
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let began = Instant::now();
    let (of, request) = (talkers.len(), ask.request());
    let mut asking = JoinSet::new();
    for (nth, mut talker) in talkers.drain(..).enumerate() {
        let request = request.clone();
        asking.spawn(async move {
            for _ in 0..share(requests, of, nth) {
                talker.ask(ask, &request).await;
            }
            talker
        });
    }
    talkers.extend(asking.join_all().await);
    began.elapsed()
}

/// So many requests, each over a connection of its own.
async fn over_new(address: SocketAddr, ask: Ask, requests: u64) -> Duration {
    let began = Instant::now();
    let request = ask.request();
    let mut asking = JoinSet::new();
    for nth in 0..CONNECTIONS {
        let request = request.clone();
        asking.spawn(async move {
            for _ in 0..share(requests, CONNECTIONS, nth) {
                Talker::connect(address).await.ask(ask, &request).await;
            }
        });
    }
    asking.join_all().await;
    began.elapsed()
}

type Sender = http2::SendRequest<Empty<Bytes>>;

/// So many requests over streams of one connection.
async fn over_streams(sender: &Sender, requests: u64) -> Duration {
    let began = Instant::now();
    let mut asking = JoinSet::new();
    for nth in 0..CONNECTIONS {
        let mut sender = sender.clone();
        asking.spawn(async move {
            for _ in 0..share(requests, CONNECTIONS, nth) {
                let request = Request::get("https://shop.example/").body(Empty::new());
                let answer = sender.send_request(request.unwrap()).await.unwrap();
                assert_eq!(answer.status(), 200);
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body.len(), SMALL_BODY);
            }
        });
    }
    asking.join_all().await;
    began.elapsed()
}

fn plain(criterion: &mut Criterion) {
    counting::leave_out_this_thread();
    let (origin, clients) = (origin(), one_thread());
    let running = site(origin, None);
    let site = address_of(&running);
    for (name, address, connections, ask) in [
        ("GET, direct", origin, CONNECTIONS, SMALL),
        ("GET", site, CONNECTIONS, SMALL),
        ("GET, one at a time, direct", origin, 1, SMALL),
        ("GET, one at a time", site, 1, SMALL),
        ("POST of 1 KiB", site, CONNECTIONS, POST),
        ("GET of 1 MiB, direct", origin, CONNECTIONS, LARGE),
        ("GET of 1 MiB", site, CONNECTIONS, LARGE),
    ] {
        let mut talkers = clients.block_on(kept(address, connections));
        measure(criterion, name, throughput(ask), |requests| {
            clients.block_on(over_kept(&mut talkers, ask, requests))
        });
    }
    for (name, address) in [
        ("GET, new connections, direct", origin),
        ("GET, new connections", site),
    ] {
        measure(criterion, name, throughput(SMALL), |requests| {
            clients.block_on(over_new(address, SMALL, requests))
        });
    }
    end(running);
}

fn secured(criterion: &mut Criterion) {
    counting::leave_out_this_thread();
    let (certified, clients) = (Certified::new(), one_thread());
    let tls = SiteTlsDraft {
        identities: vec![Arc::clone(&certified.identity)],
        ..SiteTlsDraft::default()
    };
    let running = site(origin(), Some(tls));
    let site = address_of(&running);
    for (name, ask) in [("GET, TLS", SMALL), ("GET of 1 MiB, TLS", LARGE)] {
        let mut talkers = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = clients.block_on(certified.shake(site, b"http/1.1"));
            let bytes = Vec::new();
            talkers.push(Talker { stream, bytes });
        }
        measure(criterion, name, throughput(ask), |requests| {
            clients.block_on(over_kept(&mut talkers, ask, requests))
        });
    }
    let sender = clients.block_on(async {
        let stream = TokioIo::new(certified.shake(site, b"h2").await);
        let shaken = http2::handshake(TokioExecutor::new(), stream);
        let (sender, connection) = shaken.await.expect("a handshake");
        tokio::spawn(connection);
        sender
    });
    measure(
        criterion,
        "GET, TLS and HTTP/2",
        throughput(SMALL),
        |requests| clients.block_on(over_streams(&sender, requests)),
    );
    end(running);
}

async fn kept(address: SocketAddr, connections: usize) -> Vec<Talker<TcpStream>> {
    let mut talkers = Vec::new();
    for _ in 0..connections {
        talkers.push(Talker::connect(address).await);
    }
    talkers
}

fn throughput(ask: Ask) -> Throughput {
    match ask.answer {
        LARGE_BODY => Throughput::Bytes(LARGE_BODY as u64),
        _ => Throughput::Elements(1),
    }
}

fn end(running: Running) {
    running.cut();
    running.join();
}

/// Clients at once.
const CONNECTIONS: usize = 16;
const SMALL_BODY: usize = 128;
const UPLOAD: usize = 1024;
const LARGE_BODY: usize = 1024 * 1024;
/// Room to read a head, or a part of a body.
const HEAD_ROOM: usize = 4096;

criterion_group!(benches, plain, secured);
criterion_main!(benches);
