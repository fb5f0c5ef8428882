//! Diallers of the caller's own: races, silence and health stay the registry's.
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
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use risefall::{
    Cause, ConnectError, Dial, DialFault, Outcome, Policy, Recovery, Registry, State, TcpDialler,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A protocol that has to greet before it is of use, as TLS does. It is made for one name.
#[derive(Clone)]
struct Greeting {
    name: &'static str,
}

impl Dial for Greeting {
    type Stream = TcpStream;

    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = TcpDialler::new().nodelay(true).dial(address).await?;
        let mut name = vec![0; self.name.len()];
        stream.read_exact(&mut name).await?;
        if name != self.name.as_bytes() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "another name"));
        }
        Ok(stream)
    }

    fn outcome(&self, error: &io::Error) -> Outcome {
        match error.kind() {
            io::ErrorKind::InvalidData => Outcome::Failed(Cause::Tls),
            _ => Outcome::of(error),
        }
    }
}

/// A server that accepts and sends that, or accepts and says nothing.
async fn server(greeting: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if let Some(greeting) = greeting {
                stream.write_all(greeting.as_bytes()).await.unwrap();
            }
            open.push(stream);
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_accepts_and_does_not_greet_is_passed_and_suspect() {
    let silent = server(None).await;
    let alive = server(Some("hello")).await;
    let registry = Registry::new(Policy::default());
    let connector = registry.connector().dialler(Greeting { name: "hello" });
    for _ in 0..2 {
        let (stream, address) = connector.connect_to(&[silent, alive]).await.unwrap();
        assert_eq!(address, alive);
        assert!(stream.nodelay().unwrap());
    }
    assert_eq!(registry.status(&silent).state, State::Suspect);
}

#[tokio::test]
async fn a_dialler_says_which_errors_are_the_peer_s() {
    let liar = server(Some("other")).await;
    let registry = Registry::new(Policy::default());
    let connector = registry.connector().dialler(Greeting { name: "hello" });
    for _ in 0..3 {
        let error = connector.connect_to(&[liar]).await.unwrap_err();
        assert!(matches!(error, ConnectError::Unreachable { .. }));
    }
    let error = connector.connect_to(&[liar]).await.unwrap_err();
    let ConnectError::FallDown { addresses } = error else {
        panic!("{error:?}")
    };
    assert_eq!(addresses[0].last_failure.unwrap().cause, Cause::Tls);
    // The default holds what it does not know against nobody.
    let other = Registry::new(Policy::default());
    let by_function = other
        .connector()
        .dialler(|address| async move { Greeting { name: "hello" }.dial(address).await });
    for _ in 0..4 {
        let error = by_function.connect_to(&[liar]).await.unwrap_err();
        let ConnectError::Unreachable { attempts } = error else {
            panic!("{error:?}")
        };
        assert!(matches!(attempts[0].fault, DialFault::Io(_)));
    }
    assert!(other.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dialler_is_given_the_connect_timeout_and_its_silence_counts() {
    let address: SocketAddr = "192.0.2.1:80".parse().unwrap();
    let registry = Registry::new(Policy::default());
    let connector = registry
        .connector()
        .dialler(|_| std::future::pending::<io::Result<()>>());
    for _ in 0..3 {
        let error = connector.connect_to(&[address]).await.unwrap_err();
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
    }
    let status = registry.status(&address);
    assert_eq!((status.state, status.failures), (State::Down, 3));
    assert_eq!(status.last_failure.unwrap().cause, Cause::TimedOut);
}

/// Counts its dials, which fail.
struct Failing(AtomicUsize);

impl Dial for Failing {
    type Stream = ();

    async fn dial(&self, _: SocketAddr) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

#[tokio::test]
async fn a_down_address_is_denied_without_a_dial_and_recovery_is_one_dial() {
    let clock = Arc::new(risefall::ManualClock::new());
    let policy = Policy::builder().recovery(Recovery::PROBE).build().unwrap();
    let registry = Registry::builder().policy(policy).clock(clock.clone());
    let registry = registry.build();
    let address: SocketAddr = "192.0.2.1:80".parse().unwrap();
    let failing = Arc::new(Failing(AtomicUsize::new(0)));
    let connector = registry.connector().dialler(failing.clone());
    for _ in 0..5 {
        connector.connect_to(&[address]).await.unwrap_err();
    }
    assert_eq!(failing.0.load(Ordering::Relaxed), 3);
    clock.advance(registry.status(&address).retry_in.unwrap());
    for _ in 0..5 {
        connector.connect_to(&[address]).await.unwrap_err();
    }
    assert_eq!(failing.0.load(Ordering::Relaxed), 4);
}

#[cfg(unix)]
mod unix {
    use std::collections::HashMap;
    use std::path::PathBuf;

    use tokio::net::{UnixListener, UnixStream};

    use super::*;

    #[derive(Clone)]
    struct Paths(Arc<HashMap<SocketAddr, PathBuf>>);

    impl Dial for Paths {
        type Stream = UnixStream;

        async fn dial(&self, address: SocketAddr) -> io::Result<UnixStream> {
            let path = self.0.get(&address).ok_or(io::ErrorKind::InvalidInput)?;
            UnixStream::connect(path).await
        }
    }

    #[tokio::test]
    async fn unix_sockets_are_judged_by_the_addresses_that_stand_in_for_them() {
        let folder = std::env::temp_dir().join(format!("risefall-dialler-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let paths = ["dead.sock", "alive.sock"].map(|name| folder.join(name));
        // Its file stays when the listener goes, and refuses.
        drop(UnixListener::bind(&paths[0]).unwrap());
        let _alive = UnixListener::bind(&paths[1]).unwrap();
        let stand_ins: [SocketAddr; 2] =
            ["[100::1]:0", "[100::2]:0"].map(|one| one.parse().unwrap());

        let registry = Registry::new(Policy::default());
        let paths = Paths(Arc::new(stand_ins.into_iter().zip(paths).collect()));
        let connector = registry.connector().dialler(paths);
        for _ in 0..5 {
            let (_, address) = connector.connect_to(&stand_ins).await.unwrap();
            assert_eq!(address, stand_ins[1]);
        }
        std::fs::remove_dir_all(&folder).unwrap();
        let status = registry.status(&stand_ins[0]);
        assert_eq!((status.state, status.failures), (State::Down, 3));
        assert_eq!(status.last_failure.unwrap().cause, Cause::Refused);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dial_dropped_after_it_stalled_counts_whoever_dials() {
    let address: SocketAddr = "192.0.2.1:80".parse().unwrap();
    let registry = Registry::new(Policy::default());
    let connector = registry
        .connector()
        .dialler(|_| std::future::pending::<io::Result<()>>());
    for (limit, failures) in [(999, 0), (1_000, 1)] {
        let addresses = [address];
        let dial = connector.connect_to(&addresses);
        let dial = tokio::time::timeout(Duration::from_millis(limit), dial);
        assert!(dial.await.is_err());
        assert_eq!(registry.status(&address).failures, failures);
    }
    let last = registry.status(&address).last_failure.unwrap();
    assert_eq!(last.cause, Cause::Stalled);
}
