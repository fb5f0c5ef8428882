//! How a dead server comes back, one probe at a time, and how a silent one is gone around.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use risefall::{ManualClock, Policy, Recovery, Registry, State};
use risefall_proxy::net::resolve::{Names, SystemNames};
use support::{DeadPort, Origin, Proxy, black_hole, connect, echo_heads, until};

/// Every name has these addresses.
struct Table(Vec<SocketAddr>);

impl Names for Table {
    fn look_up(&self, _name: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(self.0.clone())
    }
}

/// A proxy that probes, on a clock that the test moves.
fn probing(connect_timeout: Duration) -> (Proxy, Arc<ManualClock>) {
    let policy = Policy::builder()
        .recovery(Recovery::PROBE)
        .connect_timeout(connect_timeout)
        .build()
        .unwrap();
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder()
        .policy(policy)
        .clock(Arc::clone(&clock) as _)
        .build();
    let proxy = Proxy::by(registry, Arc::new(SystemNames), |_| ());
    (proxy, clock)
}

/// Lets the address's down time pass, and gives it in whole seconds.
fn let_pass(proxy: &Proxy, clock: &ManualClock, address: SocketAddr) -> u64 {
    let left = proxy.registry.status(&address).retry_in.unwrap();
    clock.advance(left);
    assert_eq!(proxy.registry.status(&address).state, State::ProbeDue);
    left.as_secs()
}

#[tokio::test]
async fn a_dead_server_costs_one_request_each_time_and_ever_more_rarely() {
    let (proxy, clock) = probing(Duration::from_secs(5));
    let dead = DeadPort::new();
    let address = dead.address();
    for _ in 0..3 {
        assert_eq!(proxy.get(address, "/").await.status(), 502);
    }
    // In seconds: each twice the last, plus a tenth at most; less a tenth at most at the cap.
    for expected in [60..=66, 120..=132, 240..=264, 270..=300] {
        assert_eq!(proxy.get(address, "/").await.status(), 503);
        let waited = let_pass(&proxy, &clock, address);
        assert!(expected.contains(&waited), "{waited} of {expected:?}");
        assert_eq!(proxy.get(address, "/").await.status(), 502, "the probe");
        assert_eq!(proxy.get(address, "/").await.status(), 503);
    }
    let_pass(&proxy, &clock, address);
    let origin = Origin::revive(dead, echo_heads);
    // Two probes bring it up, each a connection of its own.
    for _ in 0..3 {
        let mut client = proxy.connect().await;
        client.send(connect(address)).await;
        assert!(client.head().await.starts_with("HTTP/1.1 200"));
    }
    let status = proxy.registry.status(&address);
    assert_eq!((status.state, status.trips), (State::Up, 5));
    until(|| origin.connections() == 3).await;
}

#[tokio::test]
async fn while_a_probe_is_on_its_way_the_others_are_answered_at_once() {
    let (proxy, clock) = probing(Duration::from_millis(300));
    let (hole, _filling) = black_hole().await;
    let address = hole.local_addr().unwrap().as_socket().unwrap();
    for _ in 0..3 {
        assert_eq!(proxy.get(address, "/").await.status(), 504);
    }
    let_pass(&proxy, &clock, address);
    let probe = proxy.get(address, "/");
    let others = async {
        until(|| proxy.registry.status(&address).state == State::Probing).await;
        let other = proxy.get(address, "/").await;
        assert_eq!(
            proxy.registry.status(&address).state,
            State::Probing,
            "it still flies"
        );
        other
    };
    let (probe, other) = tokio::join!(probe, others);
    assert_eq!(probe.status(), 504);
    assert_eq!(other.status(), 503);
    assert!(other.text().contains("probing"), "{}", other.text());
    // The lease is what they have to wait for at most.
    assert_eq!(other.field("retry-after"), "11");
    assert_eq!(proxy.registry.status(&address).state, State::Down);
}

#[tokio::test]
async fn with_one_of_two_addresses_black_holed_no_client_is_lost() {
    let (hole, _filling) = black_hole().await;
    let silent = hole.local_addr().unwrap().as_socket().unwrap();
    let live = Origin::start(|client| async move {
        // Open until the client ends.
        let _ = client.stream.readable().await;
    })
    .await;
    let policy = Policy::builder().recovery(Recovery::PROBE).build().unwrap();
    let names = Arc::new(Table(vec![silent, live.address]));
    let proxy = Proxy::by(Registry::new(policy), names, |_| ());
    let begin = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..1_000u64 {
        let address = proxy.address;
        clients.spawn(async move {
            // 500 a second.
            let at = begin + Duration::from_millis(2 * n);
            tokio::time::sleep_until(at.into()).await;
            let mut client = support::Client::connect(address).await;
            let asked = Instant::now();
            client
                .send("CONNECT service.test:80 HTTP/1.1\r\nHost: service.test:80\r\n\r\n")
                .await;
            (client.head().await, asked.elapsed())
        });
    }
    let mut waits = Vec::new();
    while let Some(answer) = clients.join_next().await {
        let (head, waited) = answer.unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        waits.push(waited);
    }
    waits.sort_unstable();
    // A machine that is busy with other things is forgiven much, but not a connect timeout. What
    // is asked for on an idle one is shown on a manual clock (`src/connect/tests.rs`).
    let [p99, max] = [waits[waits.len() * 99 / 100], waits[waits.len() - 1]];
    println!("p99 {p99:?}, max {max:?}");
    assert!(max < policy_timeout(&proxy), "{max:?}");
    assert_ne!(proxy.registry.status(&silent).state, State::Up);
    assert_eq!(proxy.registry.status(&live.address).state, State::Up);
}

fn policy_timeout(proxy: &Proxy) -> Duration {
    proxy.registry.policy().connect_timeout()
}
