//! What the registry costs in memory: nothing per read or success, little per failing address.
//!
//! One test in this file: it counts what the whole process asks of the allocator.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use risefall::{Cause, Group, GroupPolicy, Outcome, Registry};

/// The system's allocator, counting.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to `System` with the arguments it came with; counting touches no memory
// but two atomics.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `place` came from `System.alloc` with this layout.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn v4(host: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + host), 80))
}

fn v6(host: u32) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(host)), 80))
}

/// Runs in a thread of its own, so that what a first use in a thread might allocate is counted.
fn allocations(work: impl FnOnce() + Send) -> usize {
    let mut during = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let before = CALLS.load(Ordering::Relaxed);
            work();
            during = CALLS.load(Ordering::Relaxed) - before;
        });
    });
    during
}

fn reads_and_successes_allocate_nothing() {
    let registry = Registry::builder().capacity(1_000).build();
    for host in 0..400 {
        for _ in 0..3 {
            registry.add_fall_down(v4(host));
            registry.add_fall_down(v6(host));
        }
    }
    let healthy = registry.endpoint(v4(9_999));
    let count = allocations(|| {
        for host in 0..2_000 {
            for address in [v4(host), v6(host)] {
                let _ = registry.is_fall_down(&address);
                let _ = registry.status(&address);
                let _ = healthy.is_fall_down();
                healthy.add_rise_up();
            }
        }
    });
    assert_eq!(count, 0, "reads");
    let count = allocations(|| {
        for host in 0..2_000 {
            for _ in 0..3 {
                registry.add_rise_up(v4(host));
                registry.add_rise_up(v6(host));
            }
        }
    });
    assert_eq!(
        count, 0,
        "successes, among them those that bring 800 addresses up"
    );
    let count = allocations(|| (0..400).for_each(|host| registry.add_fall_down(v4(host))));
    assert_eq!(count, 0, "failures of addresses that have a record");
}

/// Everything the registry holds, index included, by the number of failing addresses.
fn a_failing_address_costs_at_most_160_bytes_at_any_fill() {
    for fill in [1_000u32, 2_000, 4_000, 7_000, 8_000, 16_000, 16_384, 50_000] {
        let before = BYTES.load(Ordering::Relaxed);
        let registry = Registry::builder().capacity(fill as usize).build();
        (0..fill).for_each(|host| registry.add_fall_down(v6(host)));
        let each = (BYTES.load(Ordering::Relaxed) - before) as f64 / f64::from(fill);
        assert!(
            registry.len() as f64 >= f64::from(fill) * 0.999,
            "{} kept",
            registry.len()
        );
        println!("{fill} failing addresses: {each:.1} bytes each");
        assert!(each <= 160.0, "{each:.1} bytes for each of {fill}");
    }
}

/// Endless new addresses: the records stay below four times the capacity.
fn churn_is_bounded() {
    let capacity = 1_024u32;
    let clock = std::sync::Arc::new(risefall::ManualClock::new());
    let registry = Registry::builder()
        .capacity(capacity as usize)
        .clock(clock.clone())
        .build();
    let before = BYTES.load(Ordering::Relaxed);
    for generation in 0..200 {
        (0..capacity).for_each(|host| registry.add_fall_down(v4(generation * capacity + host)));
        clock.advance(std::time::Duration::from_secs(61));
    }
    let each = (BYTES.load(Ordering::Relaxed) - before) as f64 / f64::from(capacity);
    println!("after 200 generations: {each:.1} bytes for each address of the capacity");
    assert!(each <= 4.0 * 72.0 + 80.0, "{each:.1}");
    assert!(registry.len() <= capacity as usize);
}

/// Whatever state the members are in, and for whoever tells as well.
fn choosing_among_a_group_allocates_nothing() {
    let registry = Registry::builder().capacity(1_000).build();
    let policy = GroupPolicy::builder().slow_start(std::time::Duration::from_secs(60), 10);
    let group = Group::new(&registry, policy.build().unwrap());
    group.set((0..100u16).map(|host| (v4(host.into()), 1 + host % 3)));
    let failed = Outcome::Failed(Cause::BadGateway);
    let told = std::time::Duration::from_millis(1);
    let mut members = group.members();
    for (nth, member) in members.iter().enumerate() {
        // A third ejected, a third down by dials and up again, the rest well.
        match nth % 3 {
            0 => (0..3).for_each(|_| member.end(member.admit_anyway(), failed, told)),
            1 => {
                (0..3).for_each(|_| member.dial().add_fall_down());
                (0..2).for_each(|_| member.dial().add_rise_up());
            }
            _ => member.end(member.admit_anyway(), Outcome::Success, told),
        }
    }
    assert!(group.counts().ejected > 30);
    let count = allocations(|| {
        for seed in 0..10_000 {
            group.refresh(&mut members);
            assert!(members.choose(seed).is_some());
            let now = group.now();
            for member in members.iter() {
                let _ = member.is_eligible();
                let _ = member.weight(now);
            }
            let (member, right) = members.admit(seed).unwrap();
            member.end(right, Outcome::Success, told);
        }
    });
    assert!(
        count <= members.len(),
        "{count}: at most each member's first count"
    );
    let again = allocations(|| {
        for seed in 0..10_000 {
            let (member, right) = members.admit(seed).unwrap();
            member.end(right, Outcome::Success, told);
        }
    });
    assert_eq!(again, 0, "choices and successes");
    members.iter().for_each(|member| member.dial().force_down());
    let none = allocations(|| (0..100).for_each(|seed| assert!(members.admit(seed).is_none())));
    assert_eq!(none, 0, "when nobody is to be had");
}

#[test]
fn costs() {
    choosing_among_a_group_allocates_nothing();
    reads_and_successes_allocate_nothing();
    a_failing_address_costs_at_most_160_bytes_at_any_fill();
    churn_is_bounded();
}
