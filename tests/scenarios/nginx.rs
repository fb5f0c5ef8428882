//! nginx's rules for a list of servers, with its defaults.
//!
//! One failure (`max_fails=1`) leaves a server out for ten seconds (`fail_timeout=10s`); when they
//! are over, the next request tries it, and so does one every ten seconds until one is answered. The
//! seconds are those of the wall clock. A request that met an error or a timeout goes on to the next
//! server (`proxy_next_upstream error timeout`), to each of them at the most; a connect may take a
//! minute (`proxy_connect_timeout 60s`), an answer as well (`proxy_read_timeout 60s`). What a server
//! answers is no failure. Without a server that may be asked it answers 502.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::timeout;

use crate::chance::Chance;
use crate::run::Model;
use crate::world::{SERVERS, Who, World};

pub(crate) struct Nginx {
    world: Arc<World>,
    peers: Mutex<[Peer; SERVERS]>,
    chance: Chance,
}

#[derive(Clone, Copy, Default)]
struct Peer {
    fails: u32,
    /// Of the last failure, in seconds of the wall clock.
    accessed: i64,
    /// Of the last failure or trial.
    checked: i64,
}

impl Nginx {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            peers: Mutex::default(),
            chance: Chance::new(SEED),
        }
    }

    /// One of those that may be asked and were not tried.
    fn choose(&self, tried: &[bool]) -> Option<usize> {
        let now = self.world.wall_seconds();
        let mut peers = self.peers.lock().unwrap();
        let is_out = |peer: &Peer| peer.fails >= MAX_FAILS && now - peer.checked <= FAIL_TIMEOUT;
        let may: Vec<_> = (0..SERVERS)
            .filter(|server| !tried[*server] && !is_out(&peers[*server]))
            .collect();
        if may.is_empty() {
            return None;
        }
        let chosen = may[self.chance.below(may.len())];
        let peer = &mut peers[chosen];
        if now - peer.checked > FAIL_TIMEOUT {
            peer.checked = now;
        }
        Some(chosen)
    }

    fn note(&self, server: usize, is_failed: bool) {
        let now = self.world.wall_seconds();
        let peer = &mut self.peers.lock().unwrap()[server];
        if is_failed {
            peer.fails += 1;
            (peer.accessed, peer.checked) = (now, now);
        } else if peer.accessed < peer.checked {
            peer.fails = 0;
        }
    }

    async fn answer(&self, server: usize) -> Option<u16> {
        timeout(CONNECT_TIMEOUT, self.world.dial(server, Who::Client))
            .await
            .ok()?
            .ok()?;
        timeout(READ_TIMEOUT, self.world.send(server))
            .await
            .ok()?
            .ok()
    }
}

impl Model for Nginx {
    async fn ask(&self) -> bool {
        let mut tried = [false; SERVERS];
        while let Some(server) = self.choose(&tried) {
            tried[server] = true;
            let answer = self.answer(server).await;
            self.note(server, answer.is_none());
            if let Some(status) = answer {
                return status == 200;
            }
        }
        false
    }

    fn uses(&self, server: usize) -> bool {
        self.peers.lock().unwrap()[server].fails < MAX_FAILS
    }
}

const MAX_FAILS: u32 = 1;
const FAIL_TIMEOUT: i64 = 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const SEED: u64 = 1;
