//! The classic design: one map behind one lock, as the passive health checks of earlier proxies
//! keep it. Written from a description of its behaviour, flaws included:
//!
//! - a check takes the read lock, every success and every failure the write lock, healthy or not;
//! - a key is looked up twice, first to see whether it is there;
//! - the clock is read for every address that is known, up or down;
//! - the first failure of an address is counted without a look at the threshold;
//! - every address that was ever dialled keeps an entry.
//!
//! This file stands alone: a bench of another package can include it by `#[path]` and put
//! [`Classic`] in the registry's place.
#![allow(clippy::map_entry)] // the double look-up is the design's

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use risefall::judge::Judge;
use risefall::{Cause, Policy, Registry, State, Status};

/// Health of addresses behind one lock.
pub(crate) struct Classic {
    map: RwLock<HashMap<SocketAddr, Health>>,
    policy: Policy,
    /// Always empty: it makes the statuses that only the crate can make.
    blank: Registry,
}

/// What is known of one address. One of the two counts is zero.
struct Health {
    fall_times: usize,
    rise_times: usize,
    last_record: Instant,
    failed: bool,
}

impl Classic {
    pub(crate) fn is_fall_down(&self, address: &SocketAddr) -> bool {
        let Ok(map) = self.map.read() else {
            return false;
        };
        if !map.contains_key(address) {
            return false;
        }
        map.get(address)
            .is_some_and(|health| !health.is_stale(Instant::now()) && health.failed)
    }

    pub(crate) fn add_rise_up(&self, address: SocketAddr) {
        let Ok(mut map) = self.map.write() else {
            return;
        };
        let now = Instant::now();
        if !map.contains_key(&address) {
            map.insert(address, Health::first(0, 1, now));
        } else if let Some(health) = map.get_mut(&address) {
            health.date(now);
            health.fall_times = 0;
            health.rise_times += 1;
            if health.rise_times >= MIN_RISES {
                health.failed = false;
            }
        }
    }

    pub(crate) fn add_fall_down(&self, address: SocketAddr) {
        let Ok(mut map) = self.map.write() else {
            return;
        };
        let now = Instant::now();
        if !map.contains_key(&address) {
            map.insert(address, Health::first(1, 0, now));
        } else if let Some(health) = map.get_mut(&address) {
            health.date(now);
            health.rise_times = 0;
            health.fall_times += 1;
            if health.fall_times >= MAX_FAILS {
                health.failed = true;
            }
        }
    }
}

impl Default for Classic {
    fn default() -> Self {
        Self {
            map: RwLock::default(),
            policy: Policy::default(),
            blank: Registry::builder().capacity(1).build(),
        }
    }
}

impl Health {
    fn first(fall_times: usize, rise_times: usize, now: Instant) -> Self {
        Self {
            fall_times,
            rise_times,
            last_record: now,
            failed: false,
        }
    }

    fn is_stale(&self, now: Instant) -> bool {
        now.duration_since(self.last_record) > FAIL_TIMEOUT
    }

    /// Clears what is stale, and dates the record that comes.
    fn date(&mut self, now: Instant) {
        if self.is_stale(now) {
            *self = Self::first(0, 0, now);
        }
        self.last_record = now;
    }

    fn status(&self, unknown: Status, now: Instant) -> Status {
        let count = |times| u8::try_from(times).unwrap_or(u8::MAX);
        let mut status = unknown;
        if self.is_stale(now) {
            return status;
        }
        status.failures = count(self.fall_times);
        if self.failed {
            status.state = State::Down;
            status.successes = count(self.rise_times);
            status.retry_in = Some(FAIL_TIMEOUT - now.duration_since(self.last_record));
        }
        status
    }
}

impl Judge for Classic {
    fn is_fall_down(&self, address: &SocketAddr) -> bool {
        Self::is_fall_down(self, address)
    }

    fn record_success(&self, address: SocketAddr) {
        self.add_rise_up(address);
    }

    fn record_failure(&self, address: SocketAddr, _: Cause) {
        self.add_fall_down(address);
    }

    fn status(&self, address: &SocketAddr) -> Status {
        let unknown = self.blank.status(address);
        let Ok(map) = self.map.read() else {
            return unknown;
        };
        match map.get(address) {
            Some(health) => health.status(unknown, Instant::now()),
            None => unknown,
        }
    }

    fn statuses(&self) -> Vec<Status> {
        let Ok(map) = self.map.read() else {
            return Vec::new();
        };
        let now = Instant::now();
        map.iter()
            .map(|(address, health)| health.status(self.blank.status(address), now))
            .filter(|status| status.failures > 0 || status.state == State::Down)
            .collect()
    }

    fn overflow(&self) -> u64 {
        0
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }
}

const MAX_FAILS: usize = 3;
const MIN_RISES: usize = 2;
const FAIL_TIMEOUT: Duration = Duration::from_secs(60);
