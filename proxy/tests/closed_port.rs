//! The story of a dead server: who pays for it, for how long, and how it comes back.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use risefall::{ManualClock, Policy, Registry};
use risefall_proxy::net::resolve::SystemNames;
use support::{DeadPort, Origin, Proxy, connect, echo_heads, socks5, socks5_address};

/// A proxy whose verdicts last for a minute: no test takes that long.
fn start() -> Proxy {
    Proxy::with(Policy::default(), |_| ())
}

#[tokio::test]
async fn three_requests_pay_for_the_dial_and_the_fourth_is_answered_at_once() {
    let proxy = start();
    let port = DeadPort::new();
    let dead = port.address();
    for _ in 0..3 {
        let response = proxy.get(dead, "/").await;
        assert_eq!(response.status(), 502);
        assert!(
            response
                .field("proxy-status")
                .contains("error=connection_refused")
        );
    }
    let down = proxy.get(dead, "/").await;
    assert_eq!(down.status(), 503);
    assert!(
        down.text().starts_with("health check falldown"),
        "{}",
        down.text()
    );
    assert!(down.text().contains(&dead.to_string()), "{}", down.text());
    assert!(
        down.field("proxy-status")
            .contains("error=destination_unavailable")
    );
    assert!(
        down.field("proxy-status")
            .contains("details=\"health check falldown")
    );
    // A minute, rounded up; a test that took seconds to get here is forgiven.
    let retry_after: u64 = down.field("retry-after").parse().unwrap();
    assert!((50..=61).contains(&retry_after), "{retry_after}");
}

#[tokio::test]
async fn a_down_address_is_not_dialled_even_if_it_has_come_back() {
    let proxy = start();
    let port = DeadPort::new();
    let address = port.address();
    for _ in 0..3 {
        assert_eq!(proxy.get(address, "/").await.status(), 502);
    }
    let origin = Origin::revive(port, echo_heads);
    assert_eq!(proxy.get(address, "/").await.status(), 503);
    assert_eq!(proxy.ask(connect(address)).await.status(), 503);
    let mut client = proxy.connect().await;
    assert_eq!(socks5(&mut client, &socks5_address(address)).await.0, 4);
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn after_the_fail_timeout_the_address_is_tried_again() {
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder().clock(Arc::clone(&clock) as _).build();
    let fail_timeout = registry.policy().fail_timeout();
    let proxy = Proxy::by(registry, Arc::new(SystemNames), |_| ());
    let port = DeadPort::new();
    let address = port.address();
    for _ in 0..3 {
        assert_eq!(proxy.get(address, "/").await.status(), 502);
    }
    assert_eq!(proxy.get(address, "/").await.status(), 503);
    let origin = Origin::revive(port, echo_heads);
    let second = Duration::from_secs(1);
    clock.advance(fail_timeout - second);
    assert_eq!(proxy.get(address, "/").await.status(), 503);
    clock.advance(2 * second);
    assert_eq!(proxy.get(address, "/").await.status(), 200);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn every_protocol_learns_from_the_others() {
    let proxy = start();
    let port = DeadPort::new();
    let dead = port.address();
    assert_eq!(proxy.get(dead, "/").await.status(), 502);
    assert_eq!(proxy.ask(connect(dead)).await.status(), 502);
    let mut client = proxy.connect().await;
    assert_eq!(socks5(&mut client, &socks5_address(dead)).await.0, 5);
    assert_eq!(proxy.get(dead, "/").await.status(), 503);
}
