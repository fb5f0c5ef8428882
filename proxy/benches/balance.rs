//! What it costs to choose a server, for groups of ten and of a thousand.
//!
//! `cargo bench -p risefall-proxy --bench balance`

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, criterion_group, criterion_main};
use risefall::{Endpoint, Policy, Registry};
use risefall_proxy::upstream::balance::{Balance, Balancer, Candidate};

struct Server(Endpoint, u64);

impl Candidate for Server {
    fn is_down(&self) -> bool {
        self.0.is_fall_down()
    }
    fn weight(&self) -> u16 {
        1
    }
    fn in_flight(&self) -> u32 {
        0
    }
    fn cost(&self) -> u64 {
        1000
    }
    fn name(&self) -> u64 {
        self.1
    }
}

fn choices(criterion: &mut Criterion) {
    let registry = Registry::new(Policy::default());
    let mut group = criterion.benchmark_group("choose");
    for count in [10_u16, 1000] {
        let servers: Vec<_> = (0..count)
            .map(|nth| {
                let address = SocketAddr::from(([10, 0, 0, 1], 1 + nth));
                Server(registry.endpoint(address), nth.into())
            })
            .collect();
        for (name, balance) in [
            ("round-robin", Balance::RoundRobin),
            ("least-conn", Balance::LeastConn),
            ("random", Balance::Random),
            ("p2c", Balance::P2c),
            ("hash", Balance::Hash),
        ] {
            let balancer = Balancer::new(balance, &servers, 1);
            group.bench_function(format!("{name}/{count}"), |bencher| {
                let mut key = 0_u64;
                bencher.iter(|| {
                    key = key.wrapping_add(1);
                    balancer.choose(black_box(&servers), key)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, choices);
criterion_main!(benches);
