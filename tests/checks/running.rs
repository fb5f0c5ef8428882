//! How checks are made: one after another, so many at once, for whoever subscribes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use risefall::check::{
    Checker, Connect, Definition, Direct, Exchange, Expect, Kind, Protocols, Start, Thresholds,
    Timing, Tls, Verdict,
};
use risefall::{Cause, Policy, Registry, State};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::servers::{NEVER, definition, http, nobody, runs, serve};

#[tokio::test]
async fn checks_take_a_server_down_and_bring_it_back() {
    let statuses = Arc::new(AtomicUsize::new(0));
    const SAID: [u16; 10] = [200, 500, 200, 500, 500, 500, 200, 500, 200, 200];
    let address = serve(move |mut stream| {
        let turn = statuses.fetch_add(1, Ordering::Relaxed);
        async move {
            let _ = stream.read(&mut [0; 1024]).await?;
            let status = SAID.get(turn).unwrap_or(&200);
            let said = format!("HTTP/1.1 {status} X\r\n\r\n");
            stream.write_all(said.as_bytes()).await
        }
    })
    .await;
    let dials = Registry::new(Policy::default());
    let evidence = Registry::new(Policy::default());
    let mut changes = evidence.subscribe(8);
    let (checker, runner) = Checker::new(&dials);
    let timing = Timing::builder().interval(Duration::from_millis(10));
    let timing = timing.timeout(NEVER).build().unwrap();
    let wanted = Definition::new(Kind::Http(http()), None, timing).unwrap();
    let thresholds = Thresholds {
        fall: 2,
        ..Thresholds::default()
    };
    let server = checker.subscribe(address, wanted, &evidence, thresholds);
    let server = server.unwrap();
    runs(runner);
    let change = changes.recv().await;
    assert_eq!((change.to, change.evidence), (State::Down, 2));
    let change = changes.recv().await;
    assert_eq!(change.to, State::Up);
    assert!(server.wait_for_checks(10).await.checks >= 10);
    assert!(server.is_eligible());
}

/// A server in memory that keeps its connections open, and counts them.
struct Held {
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    dialled: Arc<Notify>,
    closed: Arc<Notify>,
}

/// One connection of it.
struct Counted {
    stream: DuplexStream,
    _peer: DuplexStream,
    open: Arc<AtomicUsize>,
    closed: Arc<Notify>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.closed.notify_one();
    }
}

impl tokio::io::AsyncRead for Counted {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl tokio::io::AsyncWrite for Counted {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

impl Connect for Held {
    type Plain = Counted;
    type Secure = Counted;

    async fn dial(&self, _: SocketAddr) -> io::Result<Counted> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(open, Ordering::Relaxed);
        self.dialled.notify_one();
        let (stream, peer) = tokio::io::duplex(64);
        Ok(Counted {
            stream,
            _peer: peer,
            open: Arc::clone(&self.open),
            closed: Arc::clone(&self.closed),
        })
    }

    async fn secure(&self, plain: Counted, _: &Tls, _: Protocols) -> io::Result<Counted> {
        Ok(plain)
    }
}

fn held() -> Held {
    Held {
        open: Arc::default(),
        most: Arc::default(),
        dialled: Arc::default(),
        closed: Arc::default(),
    }
}

fn host(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 80))
}

/// A greeting that never comes.
fn waits(timeout: Duration) -> Definition {
    let greeting = Exchange::new("").expect(Expect::prefix("220")).unwrap();
    definition(Kind::Exchange(greeting), timeout)
}

#[tokio::test(start_paused = true)]
async fn no_more_go_at_once_than_there_is_room_for() {
    let dials = Registry::new(Policy::default());
    let evidence = Registry::new(Policy::default());
    let server = held();
    let (open, most) = (Arc::clone(&server.open), Arc::clone(&server.most));
    let builder = Checker::builder(&dials).in_flight(3).seed(7);
    let (checker, runner) = builder.connector(server).build();
    let servers: Vec<_> = (0..10)
        .map(|at| {
            let wanted = waits(Duration::from_secs(1));
            let subscribed = checker.subscribe(host(at), wanted, &evidence, Thresholds::default());
            subscribed.unwrap()
        })
        .collect();
    runs(runner);
    for server in &servers {
        let report = server.wait_for_checks(1).await;
        let failure = report.last.unwrap().result.unwrap_err();
        assert_eq!(failure.to_string(), "no answer in 1s");
    }
    assert_eq!(most.load(Ordering::Relaxed), 3);
    drop(servers);
    tokio::task::yield_now().await;
    assert_eq!(checker.in_flight(), 0);
    assert!(checker.is_empty());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(open.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_outlives_its_subscriber_is_dropped() {
    let dials = Registry::new(Policy::default());
    let evidence = Registry::new(Policy::default());
    let server = held();
    let (dialled, closed) = (Arc::clone(&server.dialled), Arc::clone(&server.closed));
    let (checker, runner) = Checker::builder(&dials).connector(server).build();
    let runs = tokio::spawn(runner.run());
    let subscribed = || checker.subscribe(host(1), waits(NEVER), &evidence, Thresholds::default());
    let (one, other) = (subscribed().unwrap(), subscribed().unwrap());
    dialled.notified().await;
    // Of two that share it the first to leave changes nothing.
    drop(one);
    tokio::task::yield_now().await;
    assert_eq!(checker.in_flight(), 1);
    let now = checker.now();
    drop(other);
    closed.notified().await;
    // By its drop, and not by the end of its time.
    assert_eq!(checker.now(), now);
    assert_eq!((checker.in_flight(), checker.len()), (0, 0));
    assert_eq!(evidence.status(&host(1)).failures, 0);
    // And with the last of those who could subscribe it ends.
    drop(checker);
    runs.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_connected_to_in_time_is_told_to_dials() {
    struct Nowhere;

    impl Connect for Nowhere {
        type Plain = TcpStream;
        type Secure = TcpStream;

        async fn dial(&self, _: SocketAddr) -> io::Result<TcpStream> {
            std::future::pending().await
        }

        async fn secure(&self, plain: TcpStream, _: &Tls, _: Protocols) -> io::Result<TcpStream> {
            Ok(plain)
        }
    }

    let dials = Registry::new(Policy::default());
    let evidence = Registry::new(Policy::default());
    let (checker, runner) = Checker::builder(&dials).connector(Nowhere).build();
    runs(runner);
    let wanted = definition(Kind::Connect, Duration::from_secs(1));
    let thresholds = Thresholds {
        start: Start::NotEligible,
        ..Thresholds::default()
    };
    let server = checker.subscribe(host(1), wanted, &evidence, thresholds);
    let server = server.unwrap();
    assert!(!server.is_eligible());
    let report = server.wait_for_checks(1).await;
    let last = report.last.unwrap();
    assert_eq!(last.result.unwrap_err().to_string(), "not connected in 1s");
    assert_eq!(
        (last.at, last.took),
        (checker.now(), Duration::from_secs(1))
    );
    let status = dials.status(&host(1));
    assert_eq!(status.last_failure.unwrap().cause, Cause::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn one_that_panics_blames_nobody_and_gives_its_place_back() {
    struct Broken;

    impl Connect for Broken {
        type Plain = TcpStream;
        type Secure = TcpStream;

        async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
            match address == host(1) {
                true => panic!("a connector of somebody else's"),
                false => Direct.dial(address).await,
            }
        }

        async fn secure(&self, plain: TcpStream, _: &Tls, _: Protocols) -> io::Result<TcpStream> {
            Ok(plain)
        }
    }

    let dials = Registry::new(Policy::default());
    let evidence = Registry::new(Policy::default());
    let builder = Checker::builder(&dials).in_flight(1);
    let (checker, runner) = builder.connector(Broken).build();
    runs(runner);
    let subscribe = |address| {
        let wanted = definition(Kind::Connect, Duration::from_secs(1));
        let subscribed = checker.subscribe(address, wanted, &evidence, Thresholds::default());
        subscribed.unwrap()
    };
    let server = subscribe(host(1));
    let report = server.wait_for_checks(1).await;
    assert_eq!(report.verdict, Verdict::Pending);
    assert_eq!(
        report.last.unwrap().result.unwrap_err().to_string(),
        "not checked: nobody told how it ended"
    );
    let other = subscribe(nobody().await);
    assert_eq!(other.wait_for_checks(1).await.verdict, Verdict::Down);
}
