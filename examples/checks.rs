//! Checks the servers it is given every second, and says what it finds until it is interrupted.
//!
//! `cargo run --features checks --example checks -- 127.0.0.1:8080 127.0.0.1:8081`

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use risefall::check::{Checker, Definition, Http, Kind, Thresholds, Timing};
use risefall::{Policy, Registry};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for argument in env::args().skip(1) {
        addresses.push(argument.parse()?);
    }
    if addresses.is_empty() {
        addresses.push(SocketAddr::from(([127, 0, 0, 1], 8080)));
    }

    let dials = Registry::new(Policy::default());
    let evidence = Registry::new(Policy::default());
    let (checker, runner) = Checker::new(&dials);
    tokio::spawn(runner.run());

    let timing = Timing::builder().interval(Duration::from_secs(1)).build()?;
    let health = Http::new("/")?.agent_header("x-agent")?;
    let health = Definition::new(Kind::Http(health), None, timing)?;
    let mut changes = evidence.subscribe(64);
    let mut servers = Vec::new();
    for address in addresses {
        let thresholds = Thresholds::default();
        servers.push(checker.subscribe(address, health.clone(), &evidence, thresholds)?);
    }
    for server in &servers {
        println!("{}", server.wait_for_checks(1).await);
    }
    loop {
        let change = changes.recv().await;
        for server in &servers {
            if server.word().address() == change.address {
                println!("{}", server.report());
            }
        }
    }
}
