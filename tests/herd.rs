//! The herd: a thousand callers at the moment of expiry make one dial.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::net::SocketAddr;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use risefall::{Admission, ManualClock, Outcome, Permit, Policy, Recovery, Registry, State};

const LEASE: Duration = Duration::from_secs(10);
const THREADS: usize = 8;
const CALLERS: usize = 1_000;

fn address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 80))
}

fn registry() -> (Registry, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let recovery = Recovery::Probe {
        permits: 1,
        lease: LEASE,
    };
    let policy = Policy::builder().recovery(recovery).build().unwrap();
    let registry = Registry::builder()
        .policy(policy)
        .clock(clock.clone())
        .build();
    (registry, clock)
}

/// Lets its down time pass, to the tick.
fn expire(registry: &Registry, clock: &ManualClock) {
    let left = registry.status(&address()).retry_in.unwrap();
    clock.advance(left - Duration::from_millis(4));
    assert!(registry.is_fall_down(&address()), "a tick too early");
    clock.advance(Duration::from_millis(4));
    assert_eq!(registry.status(&address()).state, State::ProbeDue);
}

/// All ask at once: the permits that were given, and how many were refused.
fn everybody_asks(registry: &Registry) -> (Vec<Permit>, usize) {
    let permits = Mutex::new(Vec::new());
    let ready = Barrier::new(THREADS);
    let refused = thread::scope(|scope| {
        let callers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    ready.wait();
                    let mut refused = 0;
                    for _ in 0..CALLERS / THREADS {
                        match registry.try_admit(&address()) {
                            Admission::Probe(permit) => permits.lock().unwrap().push(permit),
                            Admission::Deny { state, retry_in } => {
                                assert_eq!(state, State::Probing);
                                assert!(retry_in.unwrap() <= LEASE + Duration::from_millis(4));
                                refused += 1;
                            }
                            Admission::Pass => panic!("nobody passes"),
                        }
                    }
                    refused
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .sum()
    });
    (permits.into_inner().unwrap(), refused)
}

#[test]
fn a_thousand_callers_at_expiry_get_one_permit_each_time() {
    let (registry, clock) = registry();
    (0..3).for_each(|_| registry.add_fall_down(address()));
    for trips in 2..=5 {
        expire(&registry, &clock);
        let (mut permits, refused) = everybody_asks(&registry);
        assert_eq!((permits.len(), refused), (1, CALLERS - 1));
        let outcome = Outcome::Failed(risefall::Cause::Refused);
        permits.pop().unwrap().end(outcome);
        let status = registry.status(&address());
        assert_eq!((status.state, status.trips), (State::Down, trips));
    }
}

#[test]
fn a_lost_permit_is_offered_again_when_its_lease_ends_and_not_before() {
    let (registry, clock) = registry();
    (0..3).for_each(|_| registry.add_fall_down(address()));
    expire(&registry, &clock);
    for _ in 0..4 {
        let (permits, refused) = everybody_asks(&registry);
        assert_eq!((permits.len(), refused), (1, CALLERS - 1));
        permits.into_iter().for_each(std::mem::forget);
        clock.advance(LEASE);
        let (permits, refused) = everybody_asks(&registry);
        assert_eq!(
            (permits.len(), refused),
            (0, CALLERS),
            "its lease still runs"
        );
        clock.advance(Duration::from_millis(4));
    }
    // One that is given back is offered again at once.
    let (permits, _) = everybody_asks(&registry);
    drop(permits);
    let (permits, refused) = everybody_asks(&registry);
    assert_eq!((permits.len(), refused), (1, CALLERS - 1));
}

#[cfg(feature = "tokio")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connects_at_expiry_make_one_dial() {
    use risefall::{ConnectError, DialFault};
    use tokio::net::TcpSocket;

    let (registry, clock) = registry();
    // Bound, so that it is nobody else's, and not listened on.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dead = socket.local_addr().unwrap();
    (0..3).for_each(|_| registry.add_fall_down(dead));
    clock.advance(registry.status(&dead).retry_in.unwrap());
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let registry = registry.clone();
        callers.spawn(async move { registry.connect(dead).await });
    }
    let mut dials = 0;
    while let Some(answer) = callers.join_next().await {
        match answer.unwrap().unwrap_err() {
            ConnectError::FallDown { .. } => {}
            ConnectError::Unreachable { attempts } => {
                assert!(matches!(attempts[0].fault, DialFault::Io(_)));
                dials += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(dials, 1);
}
