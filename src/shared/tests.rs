//! A writer frozen in the middle of a membership change holds up nobody who reads.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{ManualClock, Policy, Registry};

/// Where a test can stop a membership change, under the shard's lock.
#[derive(Default)]
pub(super) struct Pause {
    gate: Mutex<Option<Gate>>,
}

struct Gate {
    arrived: Sender<()>,
    go_on: Receiver<()>,
}

impl Pause {
    pub(super) fn here(&self) {
        let gate = self.gate.lock().unwrap().take();
        if let Some(Gate { arrived, go_on }) = gate {
            arrived.send(()).unwrap();
            go_on.recv().unwrap();
        }
    }

    /// Stops the next membership change: the first end tells when it has stopped, the second lets
    /// it go on.
    fn set(&self) -> (Receiver<()>, Sender<()>) {
        let (arrived, has_arrived) = channel();
        let (let_go, go_on) = channel();
        *self.gate.lock().unwrap() = Some(Gate { arrived, go_on });
        (has_arrived, let_go)
    }
}

fn address(host: u32) -> SocketAddr {
    SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + host), 80))
}

/// Reads and successes of every address, and failures of those that have a record.
fn everybody_goes_on(registry: &Registry, addresses: u32) {
    for host in 0..addresses {
        let _ = registry.is_fall_down(&address(host));
        let _ = registry.status(&address(host));
        registry.add_rise_up(address(host));
    }
}

/// Freezes `write` in the middle of its membership change, and expects the others to go on.
fn goes_on_beside_frozen(registry: &Registry, write: impl FnOnce() + Send) {
    let (arrived, let_go) = registry.shared().pause.set();
    let (done, is_done) = channel();
    std::thread::scope(|scope| {
        let frozen = scope.spawn(write);
        arrived.recv().unwrap();
        scope.spawn(move || {
            everybody_goes_on(registry, 2_000);
            done.send(()).unwrap();
        });
        // Whatever happens, the writer is let go, so that a failure is one and not a hang.
        let went_on = is_done.recv_timeout(Duration::from_secs(20));
        assert!(!frozen.is_finished());
        let_go.send(()).unwrap();
        went_on.expect("reads and successes wait for the frozen writer");
    });
}

#[test]
fn a_writer_frozen_while_it_enters_holds_up_no_read_and_no_success() {
    let registry = Registry::builder().capacity(64).build();
    for host in 0..32 {
        registry.add_fall_down(address(host));
    }
    goes_on_beside_frozen(&registry, || registry.add_fall_down(address(3_000)));
    assert_eq!(registry.status(&address(3_000)).failures, 1);
}

#[test]
fn a_writer_frozen_while_it_evicts_holds_up_no_read_and_no_success() {
    let clock = Arc::new(ManualClock::new());
    let policy = Policy::builder().max_fails(1).build().unwrap();
    let registry = Registry::builder()
        .capacity(8)
        .clock(clock.clone())
        .policy(policy)
        .build();
    for host in 0..8 {
        registry.add_fall_down(address(host));
    }
    clock.advance(Duration::from_secs(61));
    goes_on_beside_frozen(&registry, || registry.add_fall_down(address(3_000)));
    assert!(registry.is_fall_down(&address(3_000)));
    assert!(registry.len() <= 8);
}

#[test]
fn a_registry_with_a_very_long_chain_is_dropped_without_recursion() {
    let drop_it = || {
        let registry = Registry::builder().capacity(1).build();
        let pins: Vec<_> = (0..1_500)
            .map(|host| registry.endpoint(address(host)))
            .collect();
        drop((registry, pins));
    };
    // A stack that dropping each record by the one before it would overflow.
    std::thread::Builder::new()
        .stack_size(96 * 1024)
        .spawn(drop_it)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn pinning_a_member_evicts_nobody() {
    let registry = Registry::builder().capacity(4).build();
    // Members that nobody holds and nothing speaks against.
    drop([0, 1, 2, 3].map(|host| registry.endpoint(address(host))));
    for _ in 0..10 {
        drop(registry.endpoint(address(0)));
    }
    assert_eq!(registry.len(), 4);
    registry.sweep();
    assert_eq!(registry.len(), 0);
}
