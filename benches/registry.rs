//! The registry beside its rivals: the same work for each, case by case, on 1, 2, 4 and 8 threads.
//!
//! ```text
//! cargo bench --bench registry                     # all of it, two to three minutes
//! cargo bench --bench registry -- 'dial, IPv4'     # one group
//! ```
//!
//! One element is one operation of one thread, the loop around it included (about 1 ns; `bars`
//! measures it). Each thread goes through a list of its own, in an order of its own, and is timed
//! from the moment all are ready; the time of a sample is from the first start to the last end.
//! The time shown is for one operation of *every* thread, so twice the threads at the same time is
//! twice the work. With more threads than cores the machine's scheduler is part of the figure.
//!
//! While all is well the modern rivals' maps are empty, as ours is: an empty `HashMap` does not even
//! hash. The classic map holds every address that was ever dialled.
// A bench fails by panicking.
#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use risefall::{Endpoint, Registry};

use crate::rivals::arc_swap_map::Copied;
use crate::rivals::classic::Classic;
use crate::rivals::dash_map::Dash;
use crate::rivals::papaya_map::Papaya;
use crate::rivals::{Contender, ipv4, ipv6, newcomer, storms, take_down, traffic};

mod rivals;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// A state of the world and what is done in it.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    percent_down: u64,
    /// One address for all instead of a list.
    hot: bool,
    work: Work,
}

#[derive(Clone, Copy)]
enum Work {
    Read,
    /// A read and a success: what every dial of a healthy address costs.
    Dial,
    Failure,
    /// A failure and a success of an address that nobody has seen before.
    Churn,
}

const CASES: [Case; 7] = [
    Case::list("all healthy", 0, Work::Read),
    Case::list("1 % down", 1, Work::Read),
    Case::list("10 % down", 10, Work::Read),
    Case {
        hot: true,
        ..Case::list("one hot down address", 100, Work::Read)
    },
    Case::list("dial", 0, Work::Dial),
    Case::list("failure storm", 100, Work::Failure),
    Case::list("insertion churn", 0, Work::Churn),
];

impl Case {
    const fn list(name: &'static str, percent_down: u64, work: Work) -> Self {
        Self {
            name,
            percent_down,
            hot: false,
            work,
        }
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(450))
        .nresamples(1001)
        .configure_from_args();
    for case in CASES {
        let mut group = criterion.benchmark_group(format!("{}, IPv4", case.name));
        let addresses = ipv4(ADDRESSES);
        by_address::<Registry>(&mut group, case, &addresses);
        by_handle(&mut group, case, &addresses);
        by_address::<Classic>(&mut group, case, &addresses);
        by_address::<Dash>(&mut group, case, &addresses);
        by_address::<Papaya>(&mut group, case, &addresses);
        by_address::<Copied>(&mut group, case, &addresses);
        group.finish();
    }
    // Newcomers are IPv4: the churn has been seen.
    for case in CASES
        .iter()
        .filter(|case| !matches!(case.work, Work::Churn))
    {
        let mut group = criterion.benchmark_group(format!("{}, IPv6", case.name));
        let addresses = ipv6(ADDRESSES);
        by_address::<Registry>(&mut group, *case, &addresses);
        by_address::<Classic>(&mut group, *case, &addresses);
        group.finish();
    }
    vacated(&mut criterion);
    flood(&mut criterion);
    criterion.final_summary();
}

fn by_address<C: Contender>(group: &mut Group<'_>, case: Case, addresses: &[SocketAddr]) {
    if let Work::Churn = case.work {
        return churn::<C>(group);
    }
    let contender = C::fresh(CAPACITY);
    traffic(&contender, addresses, case.percent_down);
    let targets = targets(case, addresses);
    match case.work {
        Work::Read => measure(group, C::NAME, &targets, |address| {
            black_box(contender.is_down(address));
        }),
        Work::Dial => measure(group, C::NAME, &targets, |address| {
            black_box(contender.is_down(address));
            contender.success(*address);
        }),
        Work::Failure | Work::Churn => measure(group, C::NAME, &targets, |address| {
            contender.failure(*address);
        }),
    }
}

/// Handles, one per address, asked by whoever holds them.
fn by_handle(group: &mut Group<'_>, case: Case, addresses: &[SocketAddr]) {
    let registry = Registry::fresh(CAPACITY);
    traffic(&registry, addresses, case.percent_down);
    let handles: Vec<_> = targets(case, addresses)
        .into_iter()
        .map(|address| registry.endpoint(address))
        .collect();
    match case.work {
        Work::Read => measure(group, HANDLE, &handles, |handle| {
            black_box(handle.is_fall_down());
        }),
        Work::Dial => measure(group, HANDLE, &handles, |handle| {
            black_box(handle.is_fall_down());
            handle.add_rise_up();
        }),
        Work::Failure => measure(group, HANDLE, &handles, Endpoint::add_fall_down),
        // A handle to a newcomer is a pin: not what handles are for.
        Work::Churn => {}
    }
}

fn targets(case: Case, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    match addresses.first() {
        Some(&hot) if case.hot => vec![hot; addresses.len()],
        _ => addresses.to_vec(),
    }
}

/// New addresses fail once and then answer, in a registry that is full: half with addresses that
/// are down and stay, half with such newcomers. Ours makes room for each by evicting an earlier
/// one. The rivals are not bounded; the modern ones forget a newcomer when it answers, the classic
/// one never does, so newcomers come round after 2^18 to keep it from eating the machine.
fn churn<C: Contender>(group: &mut Group<'_>) {
    let contender = C::fresh(ADDRESSES as usize);
    for &address in &ipv4(ADDRESSES / 2) {
        take_down(&contender, address);
    }
    let next = AtomicU32::new(0);
    let failed_and_answered = |n: u32| {
        let address = newcomer(n % (1 << 18) + ADDRESSES);
        contender.failure(address);
        contender.success(address);
    };
    (0..ADDRESSES).for_each(|_| failed_and_answered(next.fetch_add(1, Ordering::Relaxed)));
    newcomers(group, C::NAME, &next, failed_and_answered);
}

/// Healthy reads while chains are as long as several times of being full made them and every
/// record in them is vacant: what storms leave behind.
fn vacated(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("healthy, all chains vacated, IPv4");
    let registry = Registry::fresh(ADDRESSES as usize);
    let addresses = ipv4(ADDRESSES);
    storms(&registry, ADDRESSES);
    measure(&mut group, Registry::NAME, &addresses, |address| {
        black_box(registry.is_down(address));
    });
    group.finish();
}

/// New addresses fail in a registry that is full of live evidence: each is refused after a look
/// for something to evict. Only ours refuses.
fn flood(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flood, full of live evidence, IPv4");
    let registry = Registry::fresh(ADDRESSES as usize);
    for &address in &ipv4(ADDRESSES) {
        take_down(&registry, address);
    }
    let next = AtomicU32::new(ADDRESSES);
    newcomers(&mut group, Registry::NAME, &next, |n| {
        registry.failure(newcomer(n));
    });
    group.finish();
}

/// Does `op` on a list of targets, on each number of threads.
fn measure<T: Clone + Send>(
    group: &mut Group<'_>,
    name: &str,
    targets: &[T],
    op: impl Fn(&T) + Sync,
) {
    for threads in THREADS {
        group.throughput(Throughput::Elements(threads as u64));
        group.bench_function(BenchmarkId::new(name, threads), |bencher| {
            bencher.iter_custom(|operations| {
                together(threads, |thread| {
                    let mut own = targets.to_vec();
                    own.rotate_left(thread * targets.len() / threads);
                    let op = &op;
                    move || repeat(&own, operations, op)
                })
            });
        });
    }
}

/// Does `op` on ever new numbers, on each number of threads.
fn newcomers(group: &mut Group<'_>, name: &str, next: &AtomicU32, op: impl Fn(u32) + Sync) {
    for threads in THREADS {
        group.throughput(Throughput::Elements(threads as u64));
        group.bench_function(BenchmarkId::new(name, threads), |bencher| {
            bencher.iter_custom(|operations| {
                together(threads, |_| {
                    let from = next.fetch_add(operations as u32, Ordering::Relaxed);
                    let op = &op;
                    move || (0..operations as u32).for_each(|n| op(from.wrapping_add(n)))
                })
            });
        });
    }
}

fn repeat<T>(targets: &[T], operations: u64, op: impl Fn(&T)) {
    let mut left = operations as usize;
    while left > 0 {
        let turn = left.min(targets.len());
        for target in targets.iter().take(turn) {
            op(black_box(target));
        }
        left -= turn;
    }
}

/// From the first thread's start to the last one's end; all start when all are ready.
fn together<W: FnOnce() + Send>(threads: usize, worker: impl Fn(usize) -> W) -> Duration {
    let ready = Barrier::new(threads);
    let spans: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let (work, ready) = (worker(thread), &ready);
                scope.spawn(move || {
                    ready.wait();
                    let start = Instant::now();
                    work();
                    (start, Instant::now())
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("no worker panics"))
            .collect()
    });
    let first = spans.iter().map(|span| span.0).min();
    let last = spans.iter().map(|span| span.1).max();
    first
        .zip(last)
        .map_or(Duration::ZERO, |(first, last)| last - first)
}

const ADDRESSES: u32 = 1024;
/// The registry's default.
const CAPACITY: usize = 16_384;
const THREADS: [usize; 4] = [1, 2, 4, 8];
const HANDLE: &str = "risefall, handle";
