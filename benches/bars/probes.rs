//! Everything that is measured in a round.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use risefall::{Clock, Outcome};

use crate::rivals::Contender;
use crate::side_by_side::{cost, together, turn};
use crate::world::World;

pub(crate) type Probe = (&'static str, fn(&World, Duration) -> f64);

/// Nanoseconds per operation, or a ratio.
pub(crate) const PROBES: &[Probe] = &[
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
