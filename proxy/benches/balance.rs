//! What it costs to choose a server, as the send loop chooses one: of ten and of a thousand, with
//! the words of dials, traffic and checks on each.
//!
//! `cargo bench -p risefall-proxy --bench balance`. Where some are down it is every fourth, by one
//! of the three words in turn: what is said of a server that has failed holds until some time, so
//! passing it over reads the clock. That a choice allocates nothing is held by `tests/cost.rs`.
#![allow(missing_docs)] // criterion's macros

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use risefall_proxy::upstream::member::Tried;
use risefall_proxy::upstream::members::Choice;

#[path = "../tests/support/servers.rs"]
mod servers;

use servers::{Servers, WAYS};

fn choices(criterion: &mut Criterion) {
    for (state, every) in [("all up", None), ("a quarter down", Some(4))] {
        let mut group = criterion.benchmark_group(format!("choose, {state}"));
        for (name, balance) in WAYS {
            for count in [10, 1000] {
                let servers = Servers::new(count, balance, false);
                let busy = servers.work();
                if let Some(nth) = every {
                    servers.take_down_every(nth);
                }
                group.bench_function(format!("{name}/{count}"), |bencher| {
                    let tried = Tried::default();
                    let mut key = 0_u64;
                    bencher.iter(|| {
                        key = key.wrapping_add(1);
                        let choice = servers.members.choose(black_box(key), black_box(&tried));
                        assert!(matches!(choice, Choice::Member(..)));
                        choice
                    });
                });
                drop(busy);
            }
        }
        group.finish();
    }
}

criterion_group!(benches, choices);
criterion_main!(benches);
