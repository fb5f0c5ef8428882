//! The registry beside two circuit breakers, on the work that they share: may I call, and how it
//! went.
//!
//! ```text
//! cargo bench --bench breakers
//! ```
//!
//! A breaker stands for one service and knows no addresses, so each of 1 024 has one of its own
//! and the registry is asked by handle. All trip after consecutive failures or what comes nearest:
//! failsafe after 3 in a row, recloser at half of the last 10. One element is one call of one
//! thread, the loop around it included (about 1 ns); on two threads both go through the same list.
// A bench fails by panicking.
#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use failsafe::backoff::{Constant, constant};
use failsafe::failure_policy::{ConsecutiveFailures, consecutive_failures};
use failsafe::{Config, StateMachine};
use recloser::Recloser;
use risefall::{Admission, Cause, Endpoint, Outcome, Policy, Recovery, Registry};

type Failsafe = StateMachine<ConsecutiveFailures<Constant>, ()>;

/// Something that says whether to call, and is told how that went.
trait Breaker: Sync {
    const NAME: &str;

    fn fresh() -> Vec<Self>
    where
        Self: Sized;

    /// One call, which succeeds. False if it was not let through.
    fn call(&self) -> bool;
    /// One call, which fails.
    fn fail(&self) -> bool;
}

/// Admission and outcome: the registry's shortest way.
struct Admit(Endpoint);

/// Admission, an attempt with its clock and its drop, and outcome.
struct Attempted(Endpoint);

fn endpoints() -> Vec<Endpoint> {
    let policy = Policy::builder().recovery(Recovery::PROBE).build();
    let registry = Registry::new(policy.expect("the policy is valid"));
    let address = |n: u16| std::net::SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 80));
    (0..BREAKERS)
        .map(|n| registry.endpoint(address(n)))
        .collect()
}

impl Breaker for Admit {
    const NAME: &str = "risefall, try_admit and record";

    fn fresh() -> Vec<Self> {
        endpoints().into_iter().map(Self).collect()
    }

    fn call(&self) -> bool {
        let passes = matches!(self.0.try_admit(), Admission::Pass);
        if passes {
            self.0.add_rise_up();
        }
        passes
    }

    fn fail(&self) -> bool {
        let passes = matches!(self.0.try_admit(), Admission::Pass);
        if passes {
            self.0.record_failure(Cause::Refused);
        }
        passes
    }
}

impl Breaker for Attempted {
    const NAME: &str = "risefall, try_admit and attempt";

    fn fresh() -> Vec<Self> {
        endpoints().into_iter().map(Self).collect()
    }

    fn call(&self) -> bool {
        let passes = matches!(self.0.try_admit(), Admission::Pass);
        if passes {
            self.0.attempt().end(Outcome::Success);
        }
        passes
    }

    fn fail(&self) -> bool {
        let passes = matches!(self.0.try_admit(), Admission::Pass);
        if passes {
            self.0.attempt().end(Outcome::Failed(Cause::Refused));
        }
        passes
    }
}

impl Breaker for Failsafe {
    const NAME: &str = "failsafe 1.3";

    fn fresh() -> Vec<Self> {
        let policy = || consecutive_failures(3, constant(Duration::from_secs(60)));
        let breaker = |_| Config::new().failure_policy(policy()).build();
        (0..BREAKERS).map(breaker).collect()
    }

    fn call(&self) -> bool {
        let passes = self.is_call_permitted();
        if passes {
            self.on_success();
        }
        passes
    }

    fn fail(&self) -> bool {
        let passes = self.is_call_permitted();
        if passes {
            self.on_error();
        }
        passes
    }
}

impl Breaker for Recloser {
    const NAME: &str = "recloser 1.4";

    fn fresh() -> Vec<Self> {
        let breaker = |_| {
            Recloser::custom()
                .error_rate(0.5)
                .closed_len(10)
                .open_wait(Duration::from_secs(60))
                .build()
        };
        (0..BREAKERS).map(breaker).collect()
    }

    fn call(&self) -> bool {
        Recloser::call(self, || Ok::<_, ()>(())).is_ok()
    }

    fn fail(&self) -> bool {
        // Refused calls are errors as well.
        matches!(
            Recloser::call(self, || Err::<(), _>(())),
            Err(recloser::Error::Inner(()))
        )
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(450))
        .nresamples(1001)
        .configure_from_args();
    all::<Admit>(&mut criterion);
    all::<Attempted>(&mut criterion);
    all::<Failsafe>(&mut criterion);
    all::<Recloser>(&mut criterion);
    criterion.final_summary();
}

fn all<B: Breaker + Send>(criterion: &mut Criterion) {
    let healthy = B::fresh();
    measure(criterion, "a call that succeeds", &healthy, |breaker| {
        black_box(breaker.call());
    });
    let open = B::fresh();
    for breaker in &open {
        while breaker.fail() {}
    }
    measure(criterion, "a call that is refused", &open, |breaker| {
        black_box(breaker.call());
    });
    measure(
        criterion,
        "a success after a failure",
        &healthy,
        |breaker| {
            breaker.fail();
            black_box(breaker.call());
        },
    );
}

fn measure<B: Breaker>(
    criterion: &mut Criterion,
    name: &str,
    breakers: &[B],
    op: impl Fn(&B) + Sync,
) {
    let mut group = criterion.benchmark_group(name);
    for threads in [1, 2] {
        group.throughput(Throughput::Elements(threads as u64));
        group.bench_function(BenchmarkId::new(B::NAME, threads), |bencher| {
            bencher.iter_custom(|calls| together(threads, || turns(breakers, calls, &op)));
        });
    }
    group.finish();
}

fn turns<B>(breakers: &[B], calls: u64, op: impl Fn(&B)) {
    let calls = usize::try_from(calls).expect("as many as can be counted");
    breakers
        .iter()
        .cycle()
        .take(calls)
        .for_each(|breaker| op(black_box(breaker)));
}

/// From when all threads are ready to the end of the last.
fn together(threads: usize, work: impl Fn() + Sync) -> Duration {
    let ready = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    ready.wait();
                    work();
                })
            })
            .collect();
        ready.wait();
        let start = Instant::now();
        for thread in running {
            thread.join().expect("no worker panics");
        }
        start.elapsed()
    })
}

const BREAKERS: u16 = 1024;
