//! HAProxy's rules for a backend whose servers have `check`, with its defaults.
//!
//! A check every two seconds (`inter 2s`), three failures in a row take a server down (`fall 3`), two
//! passes bring it up (`rise 2`); what clients meet is not looked at (`observe` is off). A connect
//! that fails is tried again three times (`retries 3`), at the same server, after a second if it
//! failed by an error; with `option redispatch` at another one, at once. A request that was sent is
//! not sent again. There is no default for `timeout connect` and `timeout server`: 5 s and 50 s are
//! those of its manual's examples. The check is one of a page (`option httpchk`): without that line it would
//! be a connect, which tells nothing of a server that accepts and does not answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::chance::Chance;
use crate::run::Model;
use crate::world::{SERVERS, Who, World};

pub(crate) struct Haproxy {
    world: Arc<World>,
    redispatches: bool,
    /// From 0: below `rise` down, at `rise + fall - 1` wholly up.
    health: Mutex<[u32; SERVERS]>,
    chance: Chance,
}

impl Haproxy {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            redispatches: false,
            health: Mutex::new([RISE + FALL - 1; SERVERS]),
            chance: Chance::new(SEED),
        }
    }

    /// With `option redispatch`.
    pub(crate) fn redispatching(world: &Arc<World>) -> Self {
        Self {
            redispatches: true,
            ..Self::new(world)
        }
    }

    /// One that is up, another than `last` if there is one.
    fn choose(&self, last: Option<usize>) -> Option<usize> {
        let up: Vec<_> = (0..SERVERS).filter(|server| self.uses(*server)).collect();
        let others: Vec<_> = up
            .iter()
            .copied()
            .filter(|server| Some(*server) != last)
            .collect();
        let may = if others.is_empty() { up } else { others };
        (!may.is_empty()).then(|| may[self.chance.below(may.len())])
    }

    async fn connect(&self) -> Option<usize> {
        let mut server = self.choose(None)?;
        for retry in 0..=RETRIES {
            let dialled = timeout(CONNECT_TIMEOUT, self.world.dial(server, Who::Client)).await;
            let is_error = match dialled {
                Ok(Ok(())) => return Some(server),
                Ok(Err(_)) => true,
                Err(_) => false,
            };
            if retry == RETRIES {
                break;
            }
            let before = server;
            if self.redispatches {
                server = self.choose(Some(server))?;
            }
            if is_error && server == before {
                sleep(TURN_AROUND).await;
            }
        }
        None
    }

    async fn check(&self, server: usize) {
        let passes = timeout(INTER, async {
            self.world.dial(server, Who::Check).await.ok()?;
            self.world
                .send(server)
                .await
                .ok()
                .filter(|status| *status == 200)
        });
        let is_passed = passes.await.ok().flatten().is_some();
        let health = &mut self.health.lock().unwrap()[server];
        *health = match (is_passed, *health >= RISE) {
            (true, true) => RISE + FALL - 1,
            (true, false) if *health + 1 >= RISE => RISE + FALL - 1,
            (true, false) => *health + 1,
            (false, true) if *health > RISE => *health - 1,
            (false, _) => 0,
        };
    }
}

impl Model for Haproxy {
    async fn ask(&self) -> bool {
        let Some(server) = self.connect().await else {
            return false;
        };
        matches!(
            timeout(SERVER_TIMEOUT, self.world.send(server)).await,
            Ok(Ok(200))
        )
    }

    fn uses(&self, server: usize) -> bool {
        self.health.lock().unwrap()[server] >= RISE
    }

    /// The first checks are spread over one interval.
    async fn tend(&self) {
        let all = (0..SERVERS).map(|server| async move {
            let mut next = Instant::now() + INTER * server as u32 / SERVERS as u32;
            loop {
                sleep_until(next).await;
                next += INTER;
                self.check(server).await;
            }
        });
        side_by_side(all.collect()).await;
    }
}

/// All of them, on this task.
async fn side_by_side<F: Future<Output = ()>>(futures: Vec<F>) {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        for future in &mut futures {
            assert!(
                future.as_mut().poll(context).is_pending(),
                "it goes on for ever"
            );
        }
        std::task::Poll::<()>::Pending
    })
    .await;
}

const INTER: Duration = Duration::from_secs(2);
const FALL: u32 = 3;
const RISE: u32 = 2;
const RETRIES: u32 = 3;
/// The less of a second and `timeout connect`.
const TURN_AROUND: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SERVER_TIMEOUT: Duration = Duration::from_secs(50);
const SEED: u64 = 1;
