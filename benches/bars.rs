//! The figures that the registry promises, beside the classic design and a control loop.
//!
//! ```text
//! cargo bench --bench bars
//! ```
//!
//! Seven rounds, each of which measures everything once, in turn, so that what the machine does
//! meanwhile meets all alike; odd rounds go backwards. The table gives medians and extremes of
//! the seven. Each measurement counts operations in a fixed window of time; where there are two
//! threads both have the same window. *Net* is less the loop, measured in the same round: a loop
//! over the same targets that only hands each to `black_box`. A processor overlaps the loop with
//! what is in it, so net figures flatter a little; the loop is shown.
//!
//! Scaling is a ratio of ratios: what two threads do on one shared address, relative to one
//! thread, over the same for two threads that share nothing (each its own registry). A virtual
//! machine seldom gives two threads twice of one; the second ratio says what it gives.
//!
//! It measures and reports; whether a bar holds changes no exit code. `--test` does one short round.
// A bench fails by panicking.
#![allow(clippy::expect_used)]

use std::fmt;
use std::hint::{black_box, spin_loop};
use std::net::SocketAddr;
use std::ops::{Div, Sub};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use risefall::{CachedClock, Clock, Endpoint, MonotonicClock, Outcome, Registry};

use crate::rivals::classic::Classic;
use crate::rivals::{Contender, ipv4, ipv6, storms, traffic};

mod rivals;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let asked = |name: &str| arguments.iter().any(|argument| argument == name);
    // Without `--bench` it was started as a test.
    let (rounds, window) = if asked("--test") || !asked("--bench") {
        (1, Duration::from_millis(1))
    } else {
        (7, Duration::from_millis(100))
    };
    let world = World::new();
    let mut measured: Vec<Vec<f64>> = PROBES.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let mut order: Vec<_> = PROBES.iter().zip(&mut measured).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for ((_, probe), figures) in order {
            figures.push(probe(&world, window));
        }
    }
    let find = |name: &str| {
        let at = PROBES.iter().position(|probe| probe.0 == name);
        let figures = at.and_then(|at| measured.get(at));
        Series(figures.expect("the figure is measured").clone())
    };
    println!("{rounds} rounds, windows of {} ms", window.as_millis());
    println!();
    print_table(find);
}

/// Prepared registries: everything that is measured, so that a window holds nothing else.
struct World {
    v4: Vec<SocketAddr>,
    v6: Vec<SocketAddr>,
    ours: Registry,
    classic: Classic,
    handles: Vec<Endpoint>,
    /// All of `v4` is down.
    down: Registry,
    /// The same with a cached clock.
    down_cached: Registry,
    classic_down: Classic,
    system_clock: Arc<dyn Clock>,
    cached_clock: Arc<dyn Clock>,
    /// Chains full of vacated records.
    vacated: Registry,
    /// Every address of `v4` is pinned and healthy.
    pinned: (Registry, Vec<Endpoint>),
    failing: Registry,
    classic_failing: Classic,
    /// One for each of two threads.
    private: [Registry; 2],
    private_down: [Registry; 2],
    private_classic: [Classic; 2],
}

impl World {
    fn new() -> Self {
        let (v4, v6) = (ipv4(1024), ipv6(1024));
        let ours = Registry::fresh(CAPACITY);
        let classic = Classic::fresh(CAPACITY);
        traffic(&classic, &v4, 0);
        traffic(&classic, &v6, 0);
        // Handles of another registry: a pin costs those who ask by address.
        let held = Registry::fresh(CAPACITY);
        let handles = v4.iter().map(|&address| held.endpoint(address)).collect();
        let cached_clock = Arc::new(CachedClock::new());
        cached_clock.update();
        let down_cached = Registry::builder().clock(cached_clock.clone()).build();
        traffic(&down_cached, &v4, 100);
        let vacated = Registry::fresh(v4.len());
        storms(&vacated, 1024);
        let pinned = Registry::fresh(CAPACITY);
        let pins = v4.iter().map(|&address| pinned.endpoint(address)).collect();
        Self {
            down: all_down(&v4),
            down_cached,
            classic_down: all_down(&v4),
            system_clock: Arc::new(MonotonicClock::new()),
            cached_clock,
            vacated,
            pinned: (pinned, pins),
            failing: all_down(&v4),
            classic_failing: all_down(&v4),
            private: [(); 2].map(|()| Registry::fresh(CAPACITY)),
            private_down: [(); 2].map(|()| all_down(&v4)),
            private_classic: [(); 2].map(|()| {
                let classic = Classic::fresh(CAPACITY);
                traffic(&classic, &v4, 0);
                classic
            }),
            ours,
            classic,
            handles,
            v4,
            v6,
        }
    }
}

fn all_down<C: Contender>(addresses: &[SocketAddr]) -> C {
    let contender = C::fresh(CAPACITY);
    traffic(&contender, addresses, 100);
    contender
}

type Probe = (&'static str, fn(&World, Duration) -> f64);

/// Everything that is measured in a round: nanoseconds per operation, or a ratio.
const PROBES: &[Probe] = &[
    ("loop", |world, window| cost(window, &world.v4, |_| ())),
    ("loop v6", |world, window| cost(window, &world.v6, |_| ())),
    ("loop handles", |world, window| {
        cost(window, &world.handles, |_| ())
    }),
    ("v4", |world, window| read(window, &world.ours, &world.v4)),
    ("v4 classic", |world, window| {
        read(window, &world.classic, &world.v4)
    }),
    ("v6", |world, window| read(window, &world.ours, &world.v6)),
    ("v6 classic", |world, window| {
        read(window, &world.classic, &world.v6)
    }),
    ("handle", |world, window| {
        cost(window, &world.handles, |handle| {
            black_box(handle.is_fall_down());
        })
    }),
    ("admit", |world, window| {
        cost(window, &world.v4, |address| {
            let _ = black_box(world.ours.try_admit(address));
        })
    }),
    ("attempt", |world, window| {
        cost(window, &world.v4, |address| {
            world.ours.attempt(address).end(Outcome::Success);
        })
    }),
    ("attempt, handle", |world, window| {
        cost(window, &world.handles, |handle| {
            handle.attempt().end(Outcome::Success);
        })
    }),
    ("down, cached clock", |world, window| {
        read(window, &world.down_cached, &world.v4)
    }),
    ("down", |world, window| read(window, &world.down, &world.v4)),
    ("down classic", |world, window| {
        read(window, &world.classic_down, &world.v4)
    }),
    ("cached clock", |world, window| {
        clock(window, &*world.cached_clock)
    }),
    ("system clock", |world, window| {
        clock(window, &*world.system_clock)
    }),
    ("dial", |world, window| dial(window, &world.ours, world, 1)),
    ("dial classic", |world, window| {
        dial(window, &world.classic, world, 1)
    }),
    ("dial, 2 threads", |world, window| {
        dial(window, &world.ours, world, 2)
    }),
    ("dial classic, 2 threads", |world, window| {
        dial(window, &world.classic, world, 2)
    }),
    ("hot up 1", |world, window| {
        hot(window, world, [&world.ours; 1])
    }),
    ("hot up 2", |world, window| {
        hot(window, world, [&world.ours; 2])
    }),
    ("own up 1", |world, window| {
        hot(window, world, [&world.private[0]])
    }),
    ("own up 2", |world, window| {
        hot(window, world, world.private.each_ref())
    }),
    ("hot down 1", |world, window| {
        hot(window, world, [&world.down; 1])
    }),
    ("hot down 2", |world, window| {
        hot(window, world, [&world.down; 2])
    }),
    ("own down 1", |world, window| {
        hot(window, world, [&world.private_down[0]])
    }),
    ("own down 2", |world, window| {
        hot(window, world, world.private_down.each_ref())
    }),
    ("hot classic 1", |world, window| {
        hot(window, world, [&world.classic; 1])
    }),
    ("hot classic 2", |world, window| {
        hot(window, world, [&world.classic; 2])
    }),
    ("own classic 1", |world, window| {
        hot(window, world, [&world.private_classic[0]])
    }),
    ("own classic 2", |world, window| {
        hot(window, world, world.private_classic.each_ref())
    }),
    ("vacated", |world, window| {
        read(window, &world.vacated, &world.v4)
    }),
    ("pinned", |world, window| {
        read(window, &world.pinned.0, &world.v4)
    }),
    ("failure", |world, window| {
        fail(window, &world.failing, &world.v4)
    }),
    ("failure classic", |world, window| {
        fail(window, &world.classic_failing, &world.v4)
    }),
];

fn print_table(find: impl Fn(&str) -> Series) {
    let v4 = find("loop");
    let net = |name: &str| find(name) - &v4;
    let clock = |name: &str| find(name) - &v4;
    let scaling = |of: &str| find(&format!("hot {of} 1")) / &find(&format!("hot {of} 2"));
    let control = |of: &str| find(&format!("own {of} 1")) / &find(&format!("own {of} 2"));
    let relative = |of: &str| scaling(of) / &control(of);
    let dials = find("dial classic") / &find("dial");
    let dials_2 = find("dial classic, 2 threads") / &find("dial, 2 threads");
    println!("| figure | bar | aim | median (min..max) | classic | holds |");
    println!("|---|---|---|---|---|---|");
    row("loop, ns", Bar::None, &v4, None);
    row(
        "healthy IPv4, net ns",
        Bar::AtMost(4.0),
        &net("v4"),
        Some(net("v4 classic")),
    );
    let v6 = |name| find(name) - &find("loop v6");
    row(
        "healthy IPv6, net ns",
        Bar::AtMost(6.0),
        &v6("v6"),
        Some(v6("v6 classic")),
    );
    let handle = find("handle") - &find("loop handles");
    row("healthy handle, net ns", Bar::AtMost(1.5), &handle, None);
    let admit = find("admit") - &find("v4");
    row(
        "try_admit, healthy, less the read, ns",
        Bar::AtMost(2.0),
        &admit,
        None,
    );
    row(
        "attempt begun and ended, its clock included, net ns",
        Bar::AtMost(100.0),
        &net("attempt"),
        None,
    );
    let attempt = find("attempt, handle") - &find("loop handles");
    row(
        "attempt by handle, both clocks included, net ns",
        Bar::AtMost(100.0),
        &attempt,
        None,
    );
    row(
        "clock alone, cached, net ns",
        Bar::None,
        &clock("cached clock"),
        None,
    );
    row(
        "clock alone, system's, net ns",
        Bar::None,
        &clock("system clock"),
        None,
    );
    let cached = net("down, cached clock") - &clock("cached clock");
    row(
        "down, cached clock, less the clock, net ns",
        Bar::AtMost(15.0),
        &cached,
        None,
    );
    let system = net("down") - &clock("system clock");
    row(
        "down, system's clock, less the clock, net ns",
        Bar::AtMost(15.0),
        &system,
        None,
    );
    row(
        "down, system's clock, net ns",
        Bar::None,
        &net("down"),
        Some(net("down classic")),
    );
    row(
        "dial (read + success), ns",
        Bar::None,
        &find("dial"),
        Some(find("dial classic")),
    );
    row(
        "dial, times the classic",
        Bar::AtLeast(20.0, Some(28.0)),
        &dials,
        None,
    );
    let both = (find("dial, 2 threads"), find("dial classic, 2 threads"));
    row(
        "dial, 2 threads, ns of both together",
        Bar::None,
        &both.0,
        Some(both.1),
    );
    row(
        "dial, 2 threads, times the classic",
        Bar::AtLeast(30.0, Some(70.0)),
        &dials_2,
        None,
    );
    row(
        "2 threads over 1, hot healthy",
        Bar::None,
        &scaling("up"),
        Some(scaling("classic")),
    );
    row(
        "2 threads over 1, private healthy",
        Bar::None,
        &control("up"),
        Some(control("classic")),
    );
    let healthy = relative("up");
    row(
        "hot over private, healthy",
        Bar::AtLeast(0.9, None),
        &healthy,
        Some(relative("classic")),
    );
    row(
        "2 threads over 1, hot down",
        Bar::None,
        &scaling("down"),
        None,
    );
    row(
        "2 threads over 1, private down",
        Bar::None,
        &control("down"),
        None,
    );
    row(
        "hot over private, down",
        Bar::AtLeast(0.9, None),
        &relative("down"),
        None,
    );
    row(
        "healthy, chains full of vacated records, net ns",
        Bar::None,
        &net("vacated"),
        None,
    );
    row(
        "healthy but pinned, by address, net ns",
        Bar::None,
        &net("pinned"),
        None,
    );
    let failures = (net("failure"), net("failure classic"));
    row(
        "failure, uncontended, its clock included, net ns",
        Bar::AtMost(60.0),
        &failures.0,
        Some(failures.1),
    );
}

fn row(figure: &str, bar: Bar, measured: &Series, classic: Option<Series>) {
    let classic = classic.map_or("-".into(), |classic| format!("{:.2}", classic.median()));
    let holds = bar.holds(measured.median());
    println!("| {figure} | {bar} | {measured} | {classic} | {holds} |");
}

/// What a figure has to reach.
#[derive(Clone, Copy)]
enum Bar {
    None,
    AtMost(f64),
    /// The bar, and what is aimed at beyond it.
    AtLeast(f64, Option<f64>),
}

impl Bar {
    fn holds(self, median: f64) -> &'static str {
        let holds = match self {
            Self::None => return "-",
            Self::AtMost(most) => median <= most,
            Self::AtLeast(least, _) => median >= least,
        };
        if holds { "yes" } else { "NO" }
    }
}

/// Bar and aim, two cells.
impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::None => write!(f, "- | -"),
            Self::AtMost(most) => write!(f, "<= {most} | -"),
            Self::AtLeast(least, None) => write!(f, ">= {least} | -"),
            Self::AtLeast(least, Some(aim)) => write!(f, ">= {least} | {aim}"),
        }
    }
}

/// One figure in all rounds.
struct Series(Vec<f64>);

impl Series {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    fn median(&self) -> f64 {
        let sorted = self.sorted();
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Round by round.
    fn with(self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        Self(pairs.map(|(&a, &b)| combine(a, b)).collect())
    }
}

impl Sub<&Series> for Series {
    type Output = Self;

    fn sub(self, other: &Self) -> Self {
        self.with(other, |a, b| a - b)
    }
}

impl Div<&Series> for Series {
    type Output = Self;

    fn div(self, other: &Self) -> Self {
        self.with(other, |a, b| a / b)
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorted = self.sorted();
        let least = sorted.first().copied().unwrap_or(f64::NAN);
        let most = sorted.last().copied().unwrap_or(f64::NAN);
        write!(f, "{:.2} ({least:.2}..{most:.2})", self.median())
    }
}

fn read<C: Contender>(window: Duration, contender: &C, addresses: &[SocketAddr]) -> f64 {
    cost(window, addresses, |address| {
        black_box(contender.is_down(address));
    })
}

fn fail<C: Contender>(window: Duration, contender: &C, addresses: &[SocketAddr]) -> f64 {
    cost(window, addresses, |address| contender.failure(*address))
}

fn clock(window: Duration, clock: &dyn Clock) -> f64 {
    cost(window, &[(); 1024], |()| {
        black_box(black_box(clock).elapsed());
    })
}

/// Read and success, on `threads` threads that share the contender.
fn dial<C: Contender>(window: Duration, contender: &C, world: &World, threads: usize) -> f64 {
    let workers = (0..threads).map(|thread| {
        let mut own = world.v4.clone();
        own.rotate_left(thread * world.v4.len() / threads);
        move || {
            turn(&own, |address| {
                black_box(contender.is_down(address));
                contender.success(*address);
            })
        }
    });
    together(window, workers.collect())
}

/// Reads of one address, one thread for each of `contenders`, which may all be the same.
fn hot<C: Contender, const N: usize>(window: Duration, world: &World, contenders: [&C; N]) -> f64 {
    let workers = contenders.map(|contender| {
        let own: Vec<_> = world.v4.first().map_or(Vec::new(), |&hot| vec![hot; 1024]);
        move || {
            turn(&own, |address| {
                black_box(contender.is_down(address));
            })
        }
    });
    together(window, workers.into())
}

/// Nanoseconds per target of `op` on one thread.
fn cost<T: Sync>(window: Duration, targets: &[T], op: impl Fn(&T) + Sync) -> f64 {
    together(window, vec![|| turn(targets, &op)])
}

/// One turn through the targets; how many they were.
fn turn<T>(targets: &[T], op: impl Fn(&T)) -> u64 {
    for target in targets {
        // Nothing about the target, nor about the memory behind it, is known in the next turn:
        // neither the answer nor a load can be moved out of the loop.
        op(black_box(target));
    }
    targets.len() as u64
}

/// Nanoseconds per operation of all workers together, which work side by side for `window`. A
/// worker is called again and again and says how many operations each call was.
fn together<W: FnMut() -> u64 + Send>(window: Duration, workers: Vec<W>) -> f64 {
    let start = Instant::now() + LEAD;
    let rate: f64 = thread::scope(|scope| {
        let running: Vec<_> = workers
            .into_iter()
            .map(|mut work| scope.spawn(move || rate(start, window, &mut work)))
            .collect();
        running
            .into_iter()
            .map(|worker| worker.join().expect("no worker panics"))
            .sum()
    });
    1.0 / rate
}

/// Operations per nanosecond from `start`, for `window` and to the end of the call in hand.
fn rate(start: Instant, window: Duration, work: &mut impl FnMut() -> u64) -> f64 {
    // Warm from the first operation that counts.
    work();
    while Instant::now() < start {
        spin_loop();
    }
    let mut operations = 0;
    loop {
        operations += work();
        let took = start.elapsed();
        if took >= window {
            return operations as f64 / took.as_nanos() as f64;
        }
    }
}

/// The registry's default.
const CAPACITY: usize = 16_384;
/// From the making of the threads to their common start.
const LEAD: Duration = Duration::from_millis(2);
