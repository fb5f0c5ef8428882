//! Dials an address five times and says what the registry made of it.
//!
//! `cargo run --example dial -- 127.0.0.1:9`

use std::env;
use std::time::Instant;

use risefall::{Policy, Registry};

#[tokio::main]
async fn main() {
    let target = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:9".to_owned());
    let registry = Registry::new(Policy::default());
    let transitions = registry.subscribe(16);
    for _ in 0..5 {
        let began = Instant::now();
        match registry.connect(&target).await {
            Ok(_) => println!("connected in {:?}", began.elapsed()),
            Err(error) => println!("{error} (after {:?})", began.elapsed()),
        }
    }
    for change in transitions {
        println!(
            "{} went from {} to {}",
            change.address, change.from, change.to
        );
    }
}
