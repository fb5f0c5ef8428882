//! A process that serves, and what is done with it: reloads, upgrades, its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use risefall::Registry;

use super::events::{Event, Events, Signals};
use super::fit;
use crate::admin::operator::{Operator, Wish};
use crate::cli::settle::Log;
use crate::cli::source::Source;
use crate::cli::state;
use crate::cli::supervisor::Supervisor;
use crate::cli::upgrade::Program;
use crate::cli::watch::Watch;
use crate::runtime::Running;
use crate::telemetry::access::{AccessLog, Sink};
use crate::telemetry::log::{self, Levels};
use crate::units;

/// One process, and the means to change it.
pub(super) struct Control {
    pub(super) source: Source,
    pub(super) log: Log,
    pub(super) state_file: Option<PathBuf>,
    pub(super) threads: usize,
    pub(super) drain: Duration,
    pub(super) stop_delay: Duration,
    pub(super) registry: Registry,
    pub(super) running: Running,
    pub(super) access: Option<AccessLog>,
    pub(super) levels: Levels,
    pub(super) operator: Arc<Operator>,
    pub(super) watch: Watch,
    pub(super) supervisor: Supervisor,
    pub(super) program: Program,
    /// Whether another process serves now, and this one is to end.
    pub(super) has_successor: bool,
    pub(super) lost_lines: usize,
    pub(super) lost_log_lines: usize,
}

impl Control {
    /// Does what it is told until it is to end.
    pub(super) async fn run(&mut self, events: &mut Events) {
        while !self.has_successor {
            match events.next(&mut self.watch).await {
                Event::Stop => break,
                // A terminal that is closed ends what was started in it; a file can be read again.
                Event::Hangup if matches!(self.source, Source::Flags(_)) => break,
                event => self.handle(event).await,
            }
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            // The loop's own.
            Event::Stop => {}
            Event::Hangup => drop(self.reload("SIGHUP").await),
            Event::Reopen => self.reopen(),
            Event::Upgrade => drop(self.upgrade().await),
            Event::Asked((wish, done)) => {
                let result = match wish {
                    Wish::Reload => self.reload("a request").await,
                    Wish::Upgrade => self.upgrade().await,
                };
                // Whoever asked may be gone.
                let _ = done.send(result);
            }
            Event::Changed => {
                if self.watch.has_changed(&self.source) {
                    drop(self.reload("a change of the file").await);
                }
            }
            Event::Health(change) => {
                log::transition(&change);
                self.operator.note_transition(&change);
            }
            Event::Tick => self.tick(),
        }
    }

    /// Reads the source again and puts it in force, whole or not at all.
    async fn reload(&mut self, why: &str) -> Result<String, String> {
        self.supervisor.reloading();
        let result = self.try_reload().await;
        self.supervisor.ready();
        self.operator.note_reload(&result);
        match &result {
            Ok(done) => tracing::info!("configuration loaded by {why}: {}", done.trim_end()),
            Err(refused) => tracing::error!(
                "configuration not loaded by {why}, the one before goes on: {}",
                refused.trim_end()
            ),
        }
        result
    }

    async fn try_reload(&mut self) -> Result<String, String> {
        if matches!(self.source, Source::Flags(_)) {
            let refused = "this proxy was started without a file; there is nothing to load\n";
            return Err(refused.to_owned());
        }
        let said = self.source.read()?;
        let settings = said.settings;
        self.check_log(&settings.log)?;
        let next_log = match (&settings.log.access, &self.access) {
            (Sink::File(path), Some(access)) if settings.log.access != self.log.access => {
                Some((access.clone(), path.clone()))
            }
            _ => None,
        };
        // Opened before anything changes, so that it cannot fail behind the change.
        if let Some((access, path)) = &next_log {
            let opened = access.reopen(path);
            opened.map_err(|error| {
                format!("log.access: cannot open {}: {error}\n", path.display())
            })?;
        }
        // One for each core is as many as there were at the start.
        let plan = match said.tree.process.threads {
            0 => settings.plan.with_threads(self.threads),
            _ => settings.plan,
        };
        let plan = fit(plan, settings.is_connections_said);
        let registry = if *self.registry.policy() == settings.policy {
            self.registry.clone()
        } else {
            self.registry.with_policy(settings.policy)
        };
        let drain = plan.timeouts().drain;
        let reloaded = self.running.reload(plan, Arc::new(registry.clone())).await;
        let changes = match reloaded {
            Ok(changes) => changes,
            Err(error) => {
                if let (Some((access, _)), Sink::File(path)) = (&next_log, &self.log.access) {
                    // As it was. It was open a moment ago.
                    let _ = access.reopen(path);
                }
                return Err(format!("{error}\n"));
            }
        };
        self.registry = registry;
        self.drain = drain;
        self.stop_delay = settings.stop_delay;
        self.state_file = settings.state_file;
        if settings.log.level != self.log.level {
            self.levels.set(settings.log.level);
        }
        self.log = settings.log;
        self.watch
            .follow(&self.source, settings.watch, said.fingerprint);
        for warning in &said.warnings {
            tracing::warn!("{warning}");
        }
        Ok(format!("{changes}\n"))
    }

    /// What of the log cannot change while it is written.
    fn check_log(&self, log: &Log) -> Result<(), String> {
        let fixed = |place| {
            Err(format!(
                "{place} cannot change while the process runs; restart it, or take the change back\n"
            ))
        };
        if log.format != self.log.format {
            return fixed("log.format");
        }
        let are_files = |sinks: [&Sink; 2]| sinks.iter().all(|sink| matches!(sink, Sink::File(_)));
        if log.access != self.log.access && !are_files([&log.access, &self.log.access]) {
            return fixed("log.access");
        }
        Ok(())
    }

    /// Has a new process take over. If it does not come to serving, this one goes on.
    async fn upgrade(&mut self) -> Result<String, String> {
        let lent = self.running.lend().await;
        let (program, health) = (self.program.clone(), self.registry.export());
        let succeeded = tokio::task::spawn_blocking(move || program.succeed(&lent, health));
        let succeeded = succeeded.await.map_err(|error| error.to_string());
        match succeeded.and_then(|succeeded| succeeded) {
            Ok(pid) => {
                self.has_successor = true;
                self.supervisor.succeeded(pid);
                tracing::info!(pid, "a new process has taken over");
                Ok(format!(
                    "process {pid} has taken over; this one ends what it has begun\n"
                ))
            }
            Err(error) => {
                tracing::error!("upgrade refused: {error}");
                Err(format!("{error}\n"))
            }
        }
    }

    /// After a rotation the old name leads to a new file.
    fn reopen(&self) {
        let (Sink::File(path), Some(access)) = (&self.log.access, &self.access) else {
            tracing::info!("no log is a file; there is nothing to open anew");
            return;
        };
        match access.reopen(path) {
            Ok(()) => tracing::info!(path = %path.display(), "the access log is opened anew"),
            Err(error) => tracing::error!(
                path = %path.display(), %error,
                "the access log cannot be opened anew; the file before goes on"
            ),
        }
    }

    fn tick(&mut self) {
        self.supervisor.alive(self.running.counters());
        if let Some(lost) = self.access.as_ref().map(AccessLog::lost) {
            let now = lost.dropped_lines();
            if now != self.lost_lines {
                tracing::warn!(
                    lost = now - self.lost_lines,
                    "access lines were lost: their sink is too slow"
                );
                self.lost_lines = now;
            }
        }
        let now = self.levels.lost();
        if now != self.lost_log_lines {
            tracing::warn!(
                lost = now - self.lost_log_lines,
                "lines of the log were lost: whoever reads the standard error is too slow"
            );
            self.lost_log_lines = now;
        }
        if let Some(path) = self.state_file.as_deref()
            && self.supervisor.is_save_due()
        {
            save(&self.registry, path);
        }
    }

    pub(super) async fn end(mut self, signals: &mut Signals) {
        if self.has_successor {
            self.running.leave_admin();
        } else {
            self.supervisor.stopping();
            self.linger(signals).await;
        }
        self.levels.say(format_args!(
            "risefall: draining for up to {}; a second signal ends it at once",
            units::show(self.drain)
        ));
        self.running.drain(self.drain);
        let cutter = self.running.cutter();
        let mut stopped = std::pin::pin!(self.running.stopped());
        let stopped = tokio::select! {
            stopped = &mut stopped => stopped,
            () = signals.stop() => {
                cutter.cut();
                stopped.await
            }
        };
        // What is known is the successor's, and so is the file.
        let state_file = self.state_file.filter(|_| !self.has_successor);
        if let Some(path) = state_file.as_deref() {
            save(&self.registry, path);
        }
        match stopped.cut {
            0 => self
                .levels
                .say("risefall: stopped; every connection ended by itself"),
            1 => self.levels.say("risefall: stopped; 1 connection was cut"),
            cut => self.levels.say(format_args!(
                "risefall: stopped; {cut} connections were cut"
            )),
        }
    }

    /// Goes on for a while, so that a balancer in front can notice that nothing more should come.
    async fn linger(&self, signals: &mut Signals) {
        if self.stop_delay.is_zero() {
            return;
        }
        self.running.unready();
        let delay = units::show(self.stop_delay);
        self.levels.say(format_args!(
            "risefall: not ready any more; draining in {delay}, or at a second signal"
        ));
        tokio::select! {
            () = tokio::time::sleep(self.stop_delay) => {}
            () = signals.stop() => {}
        }
    }
}

fn save(registry: &Registry, path: &Path) {
    if let Err(error) = state::save(registry, path) {
        tracing::error!(path = %path.display(), %error, "the state file could not be written");
    }
}
