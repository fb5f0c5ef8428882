//! Envoy's rules for a cluster with `outlier_detection: {}`, with its defaults.
//!
//! Five failures in a row (`consecutive_5xx: 5`; connects that fail are among them) eject a host, and
//! so does a success rate below the mean of all less 1.9 deviations, found every ten seconds
//! (`interval`) among hosts with 100 requests or more, if they are five or more. It is out for 30 s
//! (`base_ejection_time`) times the number of its ejections, 300 s at the most, until the next look
//! after that, and then has its whole share again. No more than a tenth of the hosts is out
//! (`max_ejection_percent: 10`). A connect may take 5 s (`connect_timeout`), a request 15 s (the
//! route's `timeout`). Nothing is tried again; with `retry_on: 5xx` once (`num_retries: 1`), at whoever
//! is next, and no more than three at a time (`max_retries: 3`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{sleep, sleep_until, timeout};

use crate::chance::Chance;
use crate::run::Model;
use crate::world::{SERVERS, Who, World};

pub(crate) struct Envoy {
    world: Arc<World>,
    retries: bool,
    retrying: AtomicUsize,
    hosts: Mutex<[Host; SERVERS]>,
    chance: Chance,
}

#[derive(Clone, Copy, Default)]
struct Host {
    failures: u32,
    /// When it was ejected, if it is.
    ejected: Option<Duration>,
    /// By how many times the base its next ejection is longer, and when the last one ended.
    multiplier: u32,
    returned: Option<Duration>,
    /// In this interval.
    requests: u32,
    successes: u32,
}

impl Envoy {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            retries: false,
            retrying: AtomicUsize::new(0),
            hosts: Mutex::default(),
            chance: Chance::new(SEED),
        }
    }

    /// With `retry_on: 5xx`.
    pub(crate) fn retrying(world: &Arc<World>) -> Self {
        Self {
            retries: true,
            ..Self::new(world)
        }
    }

    async fn try_once(&self) -> bool {
        let up: Vec<_> = (0..SERVERS).filter(|server| self.uses(*server)).collect();
        let server = up[self.chance.below(up.len())];
        let answer = async {
            let dial = self.world.dial(server, Who::Client);
            timeout(CONNECT_TIMEOUT, dial).await.ok()?.ok()?;
            self.world.send(server).await.ok()
        };
        let is_well = answer.await == Some(200);
        self.note(server, is_well);
        is_well
    }

    fn note(&self, server: usize, is_well: bool) {
        let now = self.world.now();
        let mut hosts = self.hosts.lock().unwrap();
        let host = &mut hosts[server];
        host.requests += 1;
        host.successes += u32::from(is_well);
        host.failures = if is_well { 0 } else { host.failures + 1 };
        if host.failures == CONSECUTIVE {
            host.failures = 0;
            eject(&mut hosts, server, now);
        }
    }

    fn look(&self) {
        let now = self.world.now();
        let mut hosts = self.hosts.lock().unwrap();
        for host in hosts.iter_mut() {
            let longest = (BASE * host.multiplier).min(LONGEST);
            if host.ejected.is_some_and(|at| now - at >= longest) {
                host.ejected = None;
                host.failures = 0;
                host.returned = Some(now);
            }
        }
        let judged: Vec<_> = (0..SERVERS)
            .filter(|server| hosts[*server].ejected.is_none() && hosts[*server].requests >= VOLUME)
            .map(|server| {
                let host = &hosts[server];
                (
                    server,
                    f64::from(host.successes) * 100.0 / f64::from(host.requests),
                )
            })
            .collect();
        if judged.len() >= HOSTS_LEAST {
            let count = judged.len() as f64;
            let mean = judged.iter().map(|one| one.1).sum::<f64>() / count;
            let variance = judged
                .iter()
                .map(|one| (one.1 - mean) * (one.1 - mean))
                .sum::<f64>()
                / count;
            let least = mean - STDEV_FACTOR * variance.sqrt();
            for (server, _) in judged.into_iter().filter(|(_, rate)| *rate < least) {
                eject(&mut hosts, server, now);
            }
        }
        for host in hosts.iter_mut() {
            (host.requests, host.successes) = (0, 0);
            if host.ejected.is_none() && host.returned.is_some_and(|at| now - at >= INTERVAL) {
                host.multiplier = host.multiplier.saturating_sub(1);
            }
        }
    }
}

fn eject(hosts: &mut [Host; SERVERS], server: usize, now: Duration) {
    let ejected = hosts.iter().filter(|host| host.ejected.is_some()).count();
    if hosts[server].ejected.is_some() || (ejected + 1) * 100 > SERVERS * PERCENT_MOST {
        return;
    }
    let host = &mut hosts[server];
    host.ejected = Some(now);
    if BASE * host.multiplier < LONGEST + BASE {
        host.multiplier += 1;
    }
}

impl Model for Envoy {
    async fn ask(&self) -> bool {
        let request = async {
            if self.try_once().await {
                return true;
            }
            if !self.retries || self.retrying.load(Ordering::Relaxed) >= RETRIES_MOST {
                return false;
            }
            self.retrying.fetch_add(1, Ordering::Relaxed);
            sleep(BACK_OFF.mul_f64(self.chance.share())).await;
            let is_well = self.try_once().await;
            self.retrying.fetch_sub(1, Ordering::Relaxed);
            is_well
        };
        timeout(ROUTE_TIMEOUT, request).await.unwrap_or(false)
    }

    fn uses(&self, server: usize) -> bool {
        self.hosts.lock().unwrap()[server].ejected.is_none()
    }

    async fn tend(&self) {
        for turn in 1.. {
            sleep_until(self.world.began() + INTERVAL * turn).await;
            self.look();
        }
    }
}

const CONSECUTIVE: u32 = 5;
const INTERVAL: Duration = Duration::from_secs(10);
const BASE: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(300);
const PERCENT_MOST: usize = 10;
const VOLUME: u32 = 100;
const HOSTS_LEAST: usize = 5;
const STDEV_FACTOR: f64 = 1.9;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ROUTE_TIMEOUT: Duration = Duration::from_secs(15);
const RETRIES_MOST: usize = 3;
/// The first pause before a retry is a random part of this.
const BACK_OFF: Duration = Duration::from_millis(25);
const SEED: u64 = 1;
