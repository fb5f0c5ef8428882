//! Dials inside the full proxy: thousands at a time, by CONNECT and SOCKS5, to live, refusing and
//! down targets, with the registry and with the classic design in its place.
//!
//! `cargo bench -p risefall-proxy --bench proxy`. Each element is one dial asked of the proxy over
//! a connection of its own, answered, and closed. Of ten, eight go to a live server, one to an
//! address that refuses (a new one each time, so that it is really dialled), one to an address that
//! is down. Clients, proxy (one worker) and servers share this process and its cores. After the
//! cases it prints what share of its worker's processor time the proxy spent in the registry.
#![allow(missing_docs)] // criterion's macros
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)] // a bench fails by panicking

#[path = "rivals/classic.rs"]
mod classic;
mod worker;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use risefall::judge::{Judge, Standing, Ticket};
use risefall::{Admission, Cause, Outcome, Policy, Registry, Status};
use risefall_proxy::plan::{Draft, ForwardDraft};
use risefall_proxy::runtime::{self, Running, Services};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Dials in the air at once. Each holds up to four sockets of this process.
const AT_ONCE: usize = 2_000;

#[derive(Clone, Copy, Debug)]
enum Mode {
    Connect,
    Socks5,
}

/// Counts the time spent in the judge it wraps.
struct Timed<J> {
    judge: J,
    nanos: AtomicU64,
    calls: AtomicU64,
}

impl<J: Judge> Timed<J> {
    fn new(judge: J) -> Self {
        Self {
            judge,
            nanos: AtomicU64::new(0),
            calls: AtomicU64::new(0),
        }
    }

    fn time<T>(&self, call: impl FnOnce(&J) -> T) -> T {
        let began = Instant::now();
        let answer = call(&self.judge);
        self.nanos
            .fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        answer
    }
}

impl<J: Judge> Judge for Timed<J> {
    fn is_fall_down(&self, address: &SocketAddr) -> bool {
        self.time(|judge| judge.is_fall_down(address))
    }

    fn record_success(&self, address: SocketAddr) {
        self.time(|judge| judge.record_success(address));
    }

    fn record_failure(&self, address: SocketAddr, cause: Cause) {
        self.time(|judge| judge.record_failure(address, cause));
    }

    fn status(&self, address: &SocketAddr) -> Status {
        self.judge.status(address)
    }

    fn statuses(&self) -> Vec<Status> {
        self.judge.statuses()
    }

    fn overflow(&self) -> u64 {
        self.judge.overflow()
    }

    fn policy(&self) -> &Policy {
        self.judge.policy()
    }

    fn standing(&self, address: &SocketAddr) -> Standing {
        self.time(|judge| judge.standing(address))
    }

    fn try_admit(&self, address: &SocketAddr) -> Admission {
        self.time(|judge| judge.try_admit(address))
    }

    fn begin(&self, address: &SocketAddr) -> Ticket {
        self.time(|judge| judge.begin(address))
    }

    fn end(&self, address: SocketAddr, ticket: Ticket, outcome: Outcome, took: Duration) {
        self.time(|judge| judge.end(address, ticket, outcome, took));
    }

    fn note_silence(&self, address: SocketAddr, ticket: Ticket) {
        self.time(|judge| judge.note_silence(address, ticket));
    }

    fn claim_race(&self, address: &SocketAddr) -> bool {
        self.time(|judge| judge.claim_race(address))
    }
}

/// Where dials go.
struct Targets {
    live: SocketAddr,
    down: SocketAddr,
    /// Counts through 127.1.0.0/16 on a port where nothing listens.
    refusing: AtomicU32,
    closed_port: u16,
    _reserved: std::net::TcpListener,
}

impl Targets {
    /// Live servers run on a thread of their own for as long as the process does.
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let live = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || serve(listener));
        let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed_port = reserved.local_addr().unwrap().port();
        let down = SocketAddr::from((Ipv4Addr::new(127, 2, 0, 1), closed_port));
        Self {
            live,
            down,
            refusing: AtomicU32::new(0),
            closed_port,
            _reserved: reserved,
        }
    }

    fn pick(&self, turn: usize) -> SocketAddr {
        match turn % 10 {
            0 => self.down,
            5 => {
                let host = self.refusing.fetch_add(1, Ordering::Relaxed) & 0xffff;
                let ip = Ipv4Addr::from(0x7f01_0000 | host);
                SocketAddr::from((ip, self.closed_port))
            }
            _ => self.live,
        }
    }
}

/// Accepts, and holds each connection until the other side closes it.
fn serve(listener: std::net::TcpListener) {
    runtime().block_on(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        loop {
            if let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move { stream.read(&mut [0; 16]).await });
            }
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// One dial through the proxy; whether it got through.
async fn dial(proxy: SocketAddr, mode: Mode, target: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(proxy).await.expect("the proxy accepts");
    stream.set_nodelay(true).unwrap();
    match mode {
        Mode::Connect => connect(&mut stream, target).await,
        Mode::Socks5 => socks(&mut stream, target).await,
    }
}

async fn connect(stream: &mut TcpStream, target: SocketAddr) -> bool {
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream
        .read_exact(&mut answer)
        .await
        .expect("an answer's first line");
    match &answer {
        b"HTTP/1.1 200" => true,
        b"HTTP/1.1 502" | b"HTTP/1.1 503" => false,
        other => panic!("answered {}", String::from_utf8_lossy(other)),
    }
}

async fn socks(stream: &mut TcpStream, target: SocketAddr) -> bool {
    let mut request = vec![5, 1, 0];
    request.extend(socks5_request(target));
    stream.write_all(&request).await.unwrap();
    let mut answer = [0; 4];
    stream
        .read_exact(&mut answer)
        .await
        .expect("a method and a reply");
    match answer {
        [5, 0, 5, 0] => true,
        [5, 0, 5, 4 | 5] => false,
        other => panic!("answered {other:?}"),
    }
}

/// RFC 1928 §4, IPv4.
fn socks5_request(target: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(target) = target else {
        panic!("targets are IPv4")
    };
    let mut request = vec![5, 1, 0, 1];
    request.extend(target.ip().octets());
    request.extend(target.port().to_be_bytes());
    request
}

/// As many dials as asked for, `AT_ONCE` in the air, and the time they took.
async fn burst(proxy: SocketAddr, mode: Mode, targets: &Arc<Targets>, dials: usize) -> Duration {
    let began = Instant::now();
    let mut flying = JoinSet::new();
    let mut through = 0;
    for turn in 0..dials {
        if flying.len() >= AT_ONCE {
            through += usize::from(flying.join_next().await.unwrap().unwrap());
        }
        let target = targets.pick(turn);
        flying.spawn(dial(proxy, mode, target));
    }
    while let Some(got_through) = flying.join_next().await {
        through += usize::from(got_through.unwrap());
    }
    let elapsed = began.elapsed();
    let live = (0..dials).filter(|turn| turn % 5 != 0).count();
    assert_eq!(through, live, "every live target was reached, and no other");
    elapsed
}

fn start<J: Judge + 'static>(judge: &Arc<Timed<J>>, targets: &Targets) -> Running {
    for _ in 0..3 {
        judge.record_failure(targets.down, Cause::Refused);
    }
    let draft = Draft {
        forwards: vec![ForwardDraft::on(vec![SocketAddr::from((
            Ipv4Addr::LOCALHOST,
            0,
        ))])],
        admin: None,
        threads: 1,
        ..Draft::default()
    };
    let plan = draft.resolve().expect("a valid plan");
    runtime::start(plan, Services::new(judge.clone())).expect("the proxy starts")
}

fn compare<J: Judge + 'static>(criterion: &mut Criterion, name: &str, judge: J) {
    let targets = Arc::new(Targets::start());
    let judge = Arc::new(Timed::new(judge));
    let running = start(&judge, &targets);
    let proxy = running.forward_addresses()[0];
    let clients = runtime();
    for mode in [Mode::Connect, Mode::Socks5] {
        let mut group = criterion.benchmark_group(format!("dials in the proxy, {mode:?}"));
        group.sample_size(10).throughput(Throughput::Elements(1));
        group
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(5));
        let (nanos, calls) = (
            judge.nanos.load(Ordering::Relaxed),
            judge.calls.load(Ordering::Relaxed),
        );
        let busy = worker::nanos();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|dials| {
                clients.block_on(burst(proxy, mode, &targets, dials as usize))
            });
        });
        group.finish();
        let calls = judge.calls.load(Ordering::Relaxed) - calls;
        let nanos = judge.nanos.load(Ordering::Relaxed) - nanos;
        report(name, mode, nanos, calls, worker::nanos() - busy);
    }
    running.cut();
    running.join();
}

fn report(name: &str, mode: Mode, nanos: u64, calls: u64, busy: u64) {
    let timer = timer_nanos();
    let net = (nanos as f64 - calls as f64 * timer).max(0.0);
    println!(
        "{name}, {mode:?}: {calls} calls, {:.0} ns each, {:.2} % of the worker's {:.2} s",
        net / (calls as f64).max(1.0),
        100.0 * net / (busy as f64).max(1.0),
        busy as f64 / 1e9,
    );
}

/// What an empty measurement of `Timed` shows: to be taken off each call.
fn timer_nanos() -> f64 {
    let rounds = 1_000_000u32;
    let mut shown = Duration::ZERO;
    for _ in 0..rounds {
        let began = Instant::now();
        shown += std::hint::black_box(began).elapsed();
    }
    shown.as_nanos() as f64 / f64::from(rounds)
}

fn dials(criterion: &mut Criterion) {
    compare(criterion, "registry", Registry::new(Policy::default()));
    compare(criterion, "classic", classic::Classic::default());
}

criterion_group!(benches, dials);
criterion_main!(benches);
