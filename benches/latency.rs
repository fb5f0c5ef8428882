//! How long one read takes while others write: p50, p99, p99.9 and the longest.
//!
//! ```text
//! cargo bench --bench latency
//! ```
//!
//! One thread reads 1 024 addresses in turn; 1 or 3 writers take every eighth of them down and up
//! again and let newcomers fail once and answer. Reads are timed one by one, by two looks at the
//! clock around each: a read in a batch would lend its neighbours' speed to the slow one, and it is
//! the slow one that is asked for. Nothing is subtracted. What the two looks cost stands in the
//! first row of each block, the same loop around nothing; a median is therefore mostly the timer's.
//! Clocks tick in steps (10 ns on some virtual machines), which the percentiles show.
//! The column *mean* comes from a second run, over batches of 64 reads, where the timer costs less
//! than a nanosecond a read.
//!
//! With more threads than cores, the longest times are those of a thread that was not running. A
//! slow writer disturbs less, so the table says how much was written during the timed reads: one
//! unit is three failures and two successes of one address, and a newcomer's failure and success.
//!
//! `--test` does one short turn.
// A bench fails by panicking.
#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use risefall::{Endpoint, Registry};

use crate::rivals::arc_swap_map::Copied;
use crate::rivals::classic::Classic;
use crate::rivals::dash_map::Dash;
use crate::rivals::papaya_map::Papaya;
use crate::rivals::{Contender, ipv4, newcomer, take_down, traffic};

mod rivals;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let asked = |name: &str| arguments.iter().any(|argument| argument == name);
    // Without `--bench` it was started as a test.
    let time = if asked("--test") || !asked("--bench") {
        Duration::from_millis(2)
    } else {
        Duration::from_secs(1)
    };
    println!("| writers | contender | mean ns | p50 | p99 | p99.9 | max | units written/s |");
    println!("|--:|---|--:|--:|--:|--:|--:|--:|");
    for writers in [1, 3] {
        let bench = Bench { writers, time };
        bench.run(&Registry::fresh(CAPACITY), "the timer alone", |_, _| false);
        bench.by_address::<Registry>();
        bench.by_handle();
        bench.by_address::<Classic>();
        bench.by_address::<Dash>();
        bench.by_address::<Papaya>();
        bench.by_address::<Copied>();
    }
}

struct Bench {
    writers: u32,
    /// How long each of the two runs reads.
    time: Duration,
}

impl Bench {
    fn by_address<C: Contender>(&self) {
        let contender = C::fresh(CAPACITY);
        self.run(&contender, C::NAME, |_, address| contender.is_down(address));
    }

    fn by_handle(&self) {
        let registry = Registry::fresh(CAPACITY);
        let handles: Vec<_> = ipv4(ADDRESSES)
            .into_iter()
            .map(|address| registry.endpoint(address))
            .collect();
        self.run(&registry, "risefall, handle", |at, _| {
            handles.get(at).is_some_and(Endpoint::is_fall_down)
        });
    }

    /// Reads by place and address while writers churn `contender`.
    fn run<C: Contender>(
        &self,
        contender: &C,
        name: &str,
        read: impl Fn(usize, &SocketAddr) -> bool,
    ) {
        let addresses = ipv4(ADDRESSES);
        traffic(contender, &addresses, 0);
        let (done, written) = (AtomicBool::new(false), AtomicU64::new(0));
        let next = AtomicU32::new(ADDRESSES);
        let figures = thread::scope(|scope| {
            for writer in 0..self.writers {
                let (addresses, done, written, next) = (&addresses, &done, &written, &next);
                scope.spawn(move || {
                    let own = addresses.iter().step_by(8).cycle();
                    let mut own = own.skip(writer as usize * 40);
                    while !done.load(Ordering::Relaxed) {
                        if let Some(&address) = own.next() {
                            write(contender, address, next.fetch_add(1, Ordering::Relaxed));
                        }
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let before = written.load(Ordering::Relaxed);
            let single = self.singly(&addresses, &read);
            let units = written.load(Ordering::Relaxed) - before;
            let mean = self.mean(&addresses, &read);
            done.store(true, Ordering::Relaxed);
            (single, units, mean)
        });
        let (single, units, mean) = figures;
        println!(
            "| {} | {name} | {mean:.1} | {} | {} | {} | {} | {:.0} |",
            self.writers,
            single.value_at_quantile(0.5),
            single.value_at_quantile(0.99),
            single.value_at_quantile(0.999),
            single.max(),
            units as f64 / self.time.as_secs_f64(),
        );
    }

    /// Nanoseconds of each read by itself, the timer's two looks included.
    fn singly(
        &self,
        addresses: &[SocketAddr],
        read: impl Fn(usize, &SocketAddr) -> bool,
    ) -> Histogram<u64> {
        let mut times = Histogram::new_with_bounds(1, 10_000_000_000, 3).expect("valid bounds");
        let began = Instant::now();
        while began.elapsed() < self.time {
            for (at, address) in addresses.iter().enumerate() {
                let start = Instant::now();
                black_box(read(at, black_box(address)));
                times.saturating_record(start.elapsed().as_nanos() as u64);
            }
        }
        times
    }

    /// Nanoseconds of a read on average.
    fn mean(&self, addresses: &[SocketAddr], read: impl Fn(usize, &SocketAddr) -> bool) -> f64 {
        let (mut spent, mut reads) = (Duration::ZERO, 0);
        let began = Instant::now();
        while began.elapsed() < self.time {
            for (batch, chunk) in addresses.chunks(BATCH).enumerate() {
                let start = Instant::now();
                for (at, address) in chunk.iter().enumerate() {
                    black_box(read(batch * BATCH + at, black_box(address)));
                }
                spent += start.elapsed();
                reads += chunk.len();
            }
        }
        spent.as_nanos() as f64 / reads as f64
    }
}

/// One unit of writing. Newcomers come round after 2^18, because the classic design keeps them.
fn write<C: Contender>(contender: &C, address: SocketAddr, n: u32) {
    take_down(contender, address);
    let newcomer = newcomer(n % (1 << 18) + ADDRESSES);
    contender.failure(newcomer);
    contender.success(newcomer);
    contender.success(address);
    contender.success(address);
}

const ADDRESSES: u32 = 1024;
/// The registry's default.
const CAPACITY: usize = 16_384;
const BATCH: usize = 64;
