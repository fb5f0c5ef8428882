//! A pool that picks its servers by asking handles: one load each, no lock, no hash.
//!
//! `cargo run --example own_pool`

use std::net::SocketAddr;

use risefall::{Endpoint, Policy, Registry};

/// Servers in turn, those that are down left out.
struct Pool {
    servers: Vec<Endpoint>,
    turn: usize,
}

impl Pool {
    fn pick(&mut self) -> Option<&Endpoint> {
        self.turn += 1;
        let later = self.servers.iter().cycle().skip(self.turn);
        later
            .take(self.servers.len())
            .find(|server| !server.is_fall_down())
    }
}

fn main() {
    let registry = Registry::new(Policy::default());
    let servers =
        (1..=3u8).map(|host| registry.endpoint(SocketAddr::from(([192, 0, 2, host], 80))));
    let mut pool = Pool {
        servers: servers.collect(),
        turn: 0,
    };

    // The second server fails three times in a row: by address or by handle is the same.
    for _ in 0..3 {
        registry.add_fall_down(SocketAddr::from(([192, 0, 2, 2], 80)));
    }
    for _ in 0..4 {
        match pool.pick() {
            Some(server) => println!("dial {}", server.address()),
            None => println!("all servers are down"),
        }
    }
}
