//! Dialling over real sockets on 127.0.0.1.
#![cfg(feature = "tokio")]
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use risefall::{Cause, ConnectError, DialFault, HealthCheck, Policy, Registry, Resolve, State};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// An address on which nothing listens: its port is bound, so that nobody else is given it.
struct ClosedPort {
    address: SocketAddr,
    _bound: TcpSocket,
}

impl ClosedPort {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self {
            address: socket.local_addr().unwrap(),
            _bound: socket,
        }
    }
}

/// A listener that answers no dial: its backlog is full and nobody accepts.
struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    _fillers: Vec<TcpStream>,
}

impl BlackHole {
    async fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut fillers = Vec::new();
        while let Ok(Ok(filler)) =
            tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(address)).await
        {
            fillers.push(filler);
        }
        Self {
            address,
            _listener: listener,
            _fillers: fillers,
        }
    }
}

fn registry(connect_timeout: u64, stall_after: u64) -> Registry {
    let policy = Policy::builder()
        .connect_timeout(Duration::from_millis(connect_timeout))
        .stall_after(Duration::from_millis(stall_after))
        .fail_timeout(Duration::from_secs(600));
    Registry::new(policy.build().unwrap())
}

#[tokio::test]
async fn the_fourth_dial_to_a_closed_port_is_answered_without_a_dial() {
    let registry = Registry::new(Policy::default());
    let closed = ClosedPort::new();
    let target = closed.address;
    for _ in 0..3 {
        let error = registry.connect(target).await.unwrap_err();
        let ConnectError::Unreachable { attempts } = &error else {
            panic!("{error:?}")
        };
        let DialFault::Io(cause) = &attempts[0].fault else {
            panic!("{error:?}")
        };
        assert_eq!(cause.kind(), io::ErrorKind::ConnectionRefused);
    }
    let error = registry.connect(target).await.unwrap_err();
    let ConnectError::FallDown { addresses } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(addresses[0].last_failure.unwrap().cause, Cause::Refused);
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("health check falldown: {target} down")),
        "{text}"
    );
    assert!(
        text.contains("tried again in 59.") || text.contains("tried again in 60."),
        "{text}"
    );
}

#[tokio::test]
async fn down_addresses_are_skipped_and_the_others_dialled() {
    let registry = Registry::new(Policy::default());
    let closed = ClosedPort::new();
    let dead = closed.address;
    let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let targets = [dead, alive.local_addr().unwrap()];
    for _ in 0..5 {
        let stream = registry.connect(&targets[..]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), targets[1]);
    }
    assert_eq!(
        registry.status(&dead).failures,
        3,
        "down after three, then left alone"
    );
}

#[tokio::test]
async fn a_dial_that_times_out_is_a_failure() {
    let hole = BlackHole::new().await;
    let registry = registry(50, 1_000);
    for _ in 0..3 {
        let error = registry.connect(hole.address).await.unwrap_err();
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
    }
    let status = registry.status(&hole.address);
    assert_eq!((status.state, status.failures), (State::Down, 3));
    assert_eq!(status.last_failure.unwrap().cause, Cause::TimedOut);
}

#[tokio::test]
async fn a_timeout_without_end_is_none() {
    let registry = Registry::new(Policy::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    registry
        .connect_timeout(target, Duration::MAX)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_dial_dropped_after_it_stalled_is_a_failure() {
    let hole = BlackHole::new().await;
    let registry = registry(10_000, 50);
    for _ in 0..3 {
        let dial = registry.connect(hole.address);
        tokio::time::timeout(Duration::from_millis(100), dial)
            .await
            .unwrap_err();
    }
    let status = registry.status(&hole.address);
    assert_eq!((status.state, status.failures), (State::Down, 3));
    assert_eq!(status.last_failure.unwrap().cause, Cause::Stalled);
}

#[tokio::test]
async fn a_dial_given_up_early_blames_nobody() {
    let hole = BlackHole::new().await;
    let registry = registry(10_000, 5_000);
    for _ in 0..3 {
        let dial = registry.connect(hole.address);
        tokio::time::timeout(Duration::from_millis(10), dial)
            .await
            .unwrap_err();
    }
    assert!(registry.is_empty());
}

#[tokio::test]
async fn a_fault_of_this_host_blames_nobody() {
    let registry = Registry::new(Policy::default());
    // A broadcast address needs a permission that a plain socket has not: EACCES or ENETUNREACH.
    let target: SocketAddr = "255.255.255.255:9".parse().unwrap();
    for _ in 0..4 {
        let error = registry.connect(target).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Unreachable { .. }),
            "{error:?}"
        );
    }
    assert!(registry.is_empty());
}

#[tokio::test]
async fn a_success_brings_a_failing_address_back_to_neutral() {
    let registry = Registry::new(Policy::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    registry.add_fall_down(target);
    registry.add_fall_down(target);
    registry.connect(target).await.unwrap();
    assert_eq!(registry.status(&target).failures, 0);
}

#[tokio::test]
async fn a_name_without_addresses_and_a_name_that_is_none_are_told_apart() {
    let registry = Registry::new(Policy::default());
    let none: [SocketAddr; 0] = [];
    assert!(matches!(
        registry.connect(&none[..]).await,
        Err(ConnectError::NoAddress)
    ));
    assert!(matches!(
        registry.connect("no port here").await,
        Err(ConnectError::Resolve(_))
    ));
}

#[tokio::test]
async fn resolving_does_not_block_the_async_thread() {
    // One thread drives everything: if the look-up ran on it, the ticks would not go on.
    let registry = Registry::new(Policy::default());
    let dial = registry.connect("localhost:1");
    tokio::pin!(dial);
    let mut polls = 0;
    let error = loop {
        tokio::select! {
            biased;
            result = &mut dial => break result.unwrap_err(),
            () = tokio::task::yield_now() => polls += 1,
        }
    };
    assert!(
        polls > 0,
        "the look-up was answered in the first poll: it ran on this thread"
    );
    assert!(!matches!(error, ConnectError::FallDown { .. }));
}

#[tokio::test]
async fn the_drop_in_keeps_the_kind_and_the_source() {
    let closed = ClosedPort::new();
    let target = closed.address;
    let mut kinds = Vec::new();
    for _ in 0..4 {
        let error = HealthCheck::connect(target).await.unwrap_err();
        kinds.push(error.kind());
        let source = error
            .get_ref()
            .and_then(|source| source.downcast_ref::<ConnectError>());
        assert!(source.is_some());
    }
    assert_eq!(kinds, [io::ErrorKind::ConnectionRefused; 4]);
    let timeout = Duration::from_millis(50);
    let hole = BlackHole::new().await;
    let error = HealthCheck::connect_timeout(hole.address, timeout)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

/// A resolver that knows one answer, for any name.
struct Always(Vec<SocketAddr>);

impl Resolve for Always {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!((host, port), ("service", 7), "asked for what was asked");
        Ok(self.0.clone())
    }
}

/// A resolver that knows nothing, ever.
struct Never;

impl Resolve for Never {
    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_silent_address_is_passed_and_remembered() {
    let hole = BlackHole::new().await;
    let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let targets = [hole.address, alive.local_addr().unwrap()];
    let registry = Registry::new(Policy::default());
    for _ in 0..2 {
        let stream = registry.connect(&targets[..]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), targets[1]);
    }
    let status = registry.status(&hole.address);
    assert_eq!((status.state, status.failures), (State::Suspect, 0));
}

#[tokio::test]
async fn a_connector_asks_the_resolver_it_was_given() {
    let registry = Registry::new(Policy::default());
    let closed = ClosedPort::new();
    let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = vec![closed.address, alive.local_addr().unwrap()];
    let connector = registry.connector().resolver(Always(addresses.clone()));

    let stream = connector.connect("service", 7).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
    let (stream, address) = connector.connect_to(&addresses).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
    assert_eq!(registry.status(&closed.address).failures, 2);

    let nowhere = registry.connector().resolver(Always(Vec::new()));
    assert!(matches!(
        nowhere.connect("service", 7).await,
        Err(ConnectError::NoAddress)
    ));
}

#[tokio::test]
async fn a_connector_takes_an_ip_address_as_it_is() {
    let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = alive.local_addr().unwrap().port();
    let connector = Registry::new(Policy::default()).connector().resolver(Never);
    connector.connect("127.0.0.1", port).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_deadline_includes_the_resolver() {
    let registry = Registry::new(Policy::default());
    let connector = registry
        .connector()
        .resolver(Never)
        .dial_timeout(Duration::from_secs(2));
    let began = tokio::time::Instant::now();
    let error = connector.connect("service", 7).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert!(matches!(&error, ConnectError::Resolve(_)), "{error:?}");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_connector_keeps_its_own_times_and_fails_open_if_told_so() {
    let registry = registry(10_000, 5_000);
    let hole = BlackHole::new().await;
    let brief = registry
        .connector()
        .connect_timeout(Duration::from_millis(50));
    for _ in 0..3 {
        brief.connect_to(&[hole.address]).await.unwrap_err();
    }
    let shut = brief.connect_to(&[hole.address]).await;
    assert!(matches!(shut, Err(ConnectError::FallDown { .. })));
    let open = brief.fail_open(true).connect_to(&[hole.address]).await;
    assert!(matches!(open, Err(ConnectError::Unreachable { .. })));
}
