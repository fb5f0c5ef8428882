//! Operations in a window of time, on one thread or on several that share it.

use std::hint::{black_box, spin_loop};
use std::thread;
use std::time::{Duration, Instant};

/// Nanoseconds per target of `op` on one thread.
pub(crate) fn cost<T: Sync>(window: Duration, targets: &[T], op: impl Fn(&T) + Sync) -> f64 {
    together(window, vec![|| turn(targets, &op)])
}

/// One turn through the targets; how many they were.
pub(crate) fn turn<T>(targets: &[T], op: impl Fn(&T)) -> u64 {
    for target in targets {
        // Nothing about the target, nor about the memory behind it, is known in the next turn:
        // neither the answer nor a load can be moved out of the loop.
        op(black_box(target));
    }
    targets.len() as u64
}

/// Nanoseconds per operation of all workers together, which work side by side for `window`. A
/// worker is called again and again and says how many operations each call was.
pub(crate) fn together<W: FnMut() -> u64 + Send>(window: Duration, workers: Vec<W>) -> f64 {
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

/// From the making of the threads to their common start.
const LEAD: Duration = Duration::from_millis(2);
