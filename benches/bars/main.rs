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

use std::time::Duration;

use self::figure::Series;
use self::probes::PROBES;
use self::table::print_table;
use self::world::World;

mod figure;
mod probes;
#[path = "../rivals/mod.rs"]
mod rivals;
mod side_by_side;
mod table;
mod world;

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
