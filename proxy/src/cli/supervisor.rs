//! What the service manager is told (systemd's `sd_notify`), and how often something is due.
//!
//! Without a service manager nothing is told, and nothing fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::telemetry::counters::Counters;

pub(super) struct Supervisor {
    /// Half of the time after which the manager takes the process for hung, if it does.
    pause: Option<Duration>,
    told: Instant,
    beats: Vec<u64>,
    saved: Instant,
}

impl Supervisor {
    pub(super) fn new() -> Self {
        Self {
            pause: sd_notify::watchdog_enabled().map(|time| time / 2),
            told: Instant::now(),
            beats: Vec::new(),
            saved: Instant::now(),
        }
    }

    /// It serves.
    pub(super) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// It reads its configuration again.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "the service manager is not told of a reload"),
        }
    }

    /// Another process is the one to watch.
    pub(super) fn succeeded(&mut self, pid: u32) {
        self.pause = None;
        tell(&[NotifyState::MainPid(pid)]);
    }

    /// It is about to end.
    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Tells that all is well, if it is: every worker has gone round since the last time.
    pub(super) fn alive(&mut self, workers: &[Arc<Counters>]) {
        let Some(pause) = self.pause else { return };
        if self.told.elapsed() < pause {
            return;
        }
        let beats: Vec<_> = workers.iter().map(|worker| worker.beats.get()).collect();
        let is_stuck = beats.iter().zip(&self.beats).any(|(now, then)| now == then);
        if is_stuck {
            tracing::error!(
                "a worker does not go round any more; the service manager is not told \
                             that all is well"
            );
            return;
        }
        self.beats = beats;
        self.told = Instant::now();
        tell(&[NotifyState::Watchdog]);
    }

    /// Whether the state file should be written again.
    pub(super) fn is_save_due(&mut self) -> bool {
        let is_due = self.saved.elapsed() >= SAVE_PAUSE;
        if is_due {
            self.saved = Instant::now();
        }
        is_due
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

const SAVE_PAUSE: Duration = Duration::from_secs(30);
