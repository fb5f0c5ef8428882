//! A group of servers of which one begins to fail: it is ejected, tried again, and warms up.
//!
//! Time is simulated, so that this is over at once. `cargo run --example group`

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use risefall::{Cause, Group, GroupPolicy, ManualClock, Outcome, PolicyError, Registry};

fn main() -> Result<(), PolicyError> {
    let clock = Arc::new(ManualClock::new());
    let dials = Registry::builder().clock(clock.clone()).build();
    let policy = GroupPolicy::builder()
        .max_ejected_percent(50)
        .slow_start(Duration::from_secs(30), 10)
        .failure_percent(40)
        .build()?;
    let group = Group::new(&dials, policy);
    group.set((1..=4u8).map(|host| (SocketAddr::from(([192, 0, 2, host], 80)), 1)));
    let mut changes = group.subscribe(64);

    let mut members = group.members();
    let mut asked = [0u32; 5];
    for request in 0..24_000u64 {
        clock.advance(Duration::from_millis(5));
        group.refresh(&mut members);
        // Whoever owns the group does this in a task of its own, when `next` says so.
        if request % 200 == 0 {
            let sweep = group.sweep(group.now());
            for outlier in &sweep.outliers {
                println!(
                    "{:5.1}s {} {:?}: {:.0} % of {} calls, {:?}",
                    group.now().as_secs_f64(),
                    outlier.address,
                    outlier.rule,
                    outlier.percent,
                    outlier.calls,
                    outlier.effect,
                );
            }
        }
        let Some((server, right)) = members.admit(request) else {
            continue;
        };
        let host = host_of(server.address());
        let Some(count) = asked.get_mut(host) else {
            continue;
        };
        *count += 1;
        // From the tenth second to the thirtieth every other answer of the second is a failure:
        // never several in a row.
        let is_ill = host == 2 && (10..30).contains(&group.now().as_secs());
        let outcome = if is_ill && *count % 2 == 0 {
            Outcome::Failed(Cause::BadGateway)
        } else {
            Outcome::Success
        };
        server.end(right, outcome, Duration::from_millis(3));
        for change in changes.by_ref() {
            println!(
                "{:5.1}s {} {} -> {}",
                change.at.as_secs_f64(),
                change.address,
                change.from,
                change.to
            );
        }
        if request % 4_000 == 3_999 {
            println!(
                "{:5.1}s asked since then: {:?}",
                group.now().as_secs_f64(),
                &asked[1..]
            );
            asked = [0; 5];
        }
    }
    println!("{:?}", group.counts());
    Ok(())
}

fn host_of(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(v4) => v4.ip().octets()[3].into(),
        SocketAddr::V6(_) => 0,
    }
}
