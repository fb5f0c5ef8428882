//! Linkerd's rules for a service with `failure-accrual: consecutive`, with its defaults.
//!
//! Seven failures in a row (5xx, or no answer) shut an endpoint. After a second, twice as long each
//! time and a minute at the most, with up to half of that more, one request tries it: a success opens
//! it. The balancer draws two of those that are open and takes the one whose load is less: its recent
//! time to answer, which jumps to each slower one and decays over ten seconds, times the requests it
//! has. A connect may take a second, an answer as long as it takes; nothing is tried again. While all
//! are shut requests wait; after three seconds they are refused at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::run::Model;
use crate::world::{SERVERS, Who, World};

pub(crate) struct Linkerd {
    world: Arc<World>,
    endpoints: Mutex<[Endpoint; SERVERS]>,
    /// Since when none has been open.
    shut_since: Mutex<Option<Duration>>,
    chance: Chance,
}

#[derive(Clone, Copy)]
struct Endpoint {
    gate: Gate,
    /// Requests under way.
    pending: u32,
    /// The recent time to answer in seconds, and when it was that.
    estimate: f64,
    at: Duration,
}

#[derive(Clone, Copy)]
enum Gate {
    Open {
        failures: u32,
    },
    Shut {
        until: Duration,
        backoff: Duration,
    },
    /// One may try.
    Limited {
        is_taken: bool,
        backoff: Duration,
    },
}

impl Linkerd {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        let endpoint = Endpoint {
            gate: Gate::Open { failures: 0 },
            pending: 0,
            estimate: FIRST_ESTIMATE.as_secs_f64(),
            at: Duration::ZERO,
        };
        Self {
            world: Arc::clone(world),
            endpoints: Mutex::new([endpoint; SERVERS]),
            shut_since: Mutex::default(),
            chance: Chance::new(SEED),
        }
    }

    /// The better of two, whose gate it passes.
    fn choose(&self) -> Option<usize> {
        let now = self.world.now();
        let mut endpoints = self.endpoints.lock().unwrap();
        let ready: Vec<_> = (0..SERVERS)
            .filter(|server| endpoints[*server].is_ready(now))
            .collect();
        if ready.is_empty() {
            return None;
        }
        let first = self.chance.below(ready.len());
        let second = (first + 1 + self.chance.below(ready.len().max(2) - 1)) % ready.len();
        let (first, second) = (ready[first], ready[second]);
        let loads = [first, second].map(|server| endpoints[server].load(now));
        let chosen = if loads[0] <= loads[1] { first } else { second };
        if let Gate::Limited { is_taken, .. } = &mut endpoints[chosen].gate {
            *is_taken = true;
        }
        endpoints[chosen].pending += 1;
        Some(chosen)
    }

    /// The same, waiting for one while that is worth it.
    async fn ready(&self) -> Option<usize> {
        loop {
            if let Some(chosen) = self.choose() {
                *self.shut_since.lock().unwrap() = None;
                return Some(chosen);
            }
            let now = self.world.now();
            let since = *self.shut_since.lock().unwrap().get_or_insert(now);
            if now - since >= FAILFAST {
                return None;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn note(&self, server: usize, began: Duration, is_well: bool) {
        let now = self.world.now();
        let jitter = self.chance.share() * JITTER;
        let endpoint = &mut self.endpoints.lock().unwrap()[server];
        endpoint.pending -= 1;
        endpoint.measure((now - began).as_secs_f64(), now);
        endpoint.gate = match endpoint.gate {
            Gate::Open { .. } | Gate::Limited { .. } if is_well => Gate::Open { failures: 0 },
            Gate::Open { failures } if failures + 1 < MAX_FAILURES => Gate::Open {
                failures: failures + 1,
            },
            Gate::Open { .. } => shut(now, MIN_PENALTY, jitter),
            Gate::Limited { backoff, .. } => shut(now, (backoff * 2).min(MAX_PENALTY), jitter),
            // Stragglers are not heard.
            shut @ Gate::Shut { .. } => shut,
        };
    }
}

fn shut(now: Duration, backoff: Duration, jitter: f64) -> Gate {
    let until = now + backoff.mul_f64(1.0 + jitter).min(MAX_PENALTY);
    Gate::Shut { until, backoff }
}

impl Endpoint {
    fn is_ready(&mut self, now: Duration) -> bool {
        if let Gate::Shut { until, backoff } = self.gate
            && now >= until
        {
            self.gate = Gate::Limited {
                is_taken: false,
                backoff,
            };
        }
        match self.gate {
            Gate::Open { .. } => true,
            Gate::Limited { is_taken, .. } => !is_taken,
            Gate::Shut { .. } => false,
        }
    }

    fn load(&mut self, now: Duration) -> f64 {
        self.measure(0.0, now);
        self.estimate * f64::from(self.pending + 1)
    }

    fn measure(&mut self, took: f64, now: Duration) {
        let age = (now - self.at).as_secs_f64();
        let keep = decayed(age / DECAY.as_secs_f64());
        self.estimate = took.max(took * (1.0 - keep) + self.estimate * keep);
        self.at = now;
    }
}

/// `exp(-x)` to three digits, by arithmetic that is the same on every machine.
fn decayed(x: f64) -> f64 {
    let step = 1.0 / (1.0 + x / 1024.0);
    (0..10).fold(step, |power, _| power * power)
}

impl Model for Linkerd {
    async fn ask(&self) -> bool {
        let Some(server) = self.ready().await else {
            return false;
        };
        let began = self.world.now();
        let answer = async {
            let dial = self.world.dial(server, Who::Client);
            timeout(CONNECT_TIMEOUT, dial).await.ok()?.ok()?;
            self.world.send(server).await.ok()
        };
        let is_well = answer.await == Some(200);
        self.note(server, began, is_well);
        is_well
    }

    fn uses(&self, server: usize) -> bool {
        matches!(
            self.endpoints.lock().unwrap()[server].gate,
            Gate::Open { .. }
        )
    }
}

const MAX_FAILURES: u32 = 7;
const MIN_PENALTY: Duration = Duration::from_secs(1);
const MAX_PENALTY: Duration = Duration::from_secs(60);
const JITTER: f64 = 0.5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const FAILFAST: Duration = Duration::from_secs(3);
const FIRST_ESTIMATE: Duration = Duration::from_millis(30);
const DECAY: Duration = Duration::from_secs(10);
const SEED: u64 = 1;
