//! A process that serves: its start, what it is told while it runs, its end.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use risefall::{Registry, Transition};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::filter::LevelFilter;

use super::settle::{Log, Settings};
use super::source::Source;
use super::state;
use super::supervisor::Supervisor;
use super::upgrade::{self, Program};
use super::watch::Watch;
use super::{failed, say, summary};
use crate::admin::operator::{Operator, Request, Wish};
use crate::plan::Plan;
use crate::runtime::{self, Running, Services};
use crate::telemetry::access::{AccessLog, Sink};
use crate::telemetry::log::{self, Levels};
use crate::units;

/// Serves what `source` says until told to stop.
pub(super) fn run(source: Source) -> ExitCode {
    let (mut settings, fingerprint, warnings) = match source.read() {
        Ok(said) => (said.settings, said.fingerprint, said.warnings),
        Err(mistakes) => {
            match source {
                Source::File(_) => say(mistakes.trim_end()),
                Source::Flags(_) => say(format_args!("risefall: {mistakes}")),
            }
            return ExitCode::from(2);
        }
    };
    let (levels, log_flush) = log::start(settings.log.level, settings.log.format);
    settings.plan = fit(settings.plan, settings.is_connections_said);
    let access = match AccessLog::open(&settings.log.access, settings.log.format) {
        Ok(access) => access,
        Err(error) => {
            return failed(format_args!(
                "cannot open {}: {error}",
                name_of(&settings.log.access)
            ));
        }
    };
    let (access, flush) = access.unzip();
    let served = serve(source, settings, (fingerprint, &warnings), access, levels);
    drop(flush);
    // What is said last stands last.
    drop(log_flush);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error),
    }
}

fn name_of(sink: &Sink) -> String {
    match sink {
        Sink::File(path) => format!("the access log {}", path.display()),
        _ => "the access log".to_owned(),
    }
}

/// Raises the process's own bound on open files as far as it may. If that is not enough, a default
/// gives way, and what was asked for stands.
fn fit(plan: Plan, is_connections_said: bool) -> Plan {
    let Some(files) = raise_file_limit() else {
        return plan;
    };
    if !is_connections_said {
        return plan.within(files);
    }
    if files < plan.files() {
        tracing::warn!(
            files,
            needed = plan.files(),
            "the limit on open files is lower than limits.connections may need (ulimit -n)"
        );
    }
    plan
}

/// The bound on open files, raised as far as it may be; `None` if there is none.
fn raise_file_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// What the process waits for.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    reopen: Signal,
    upgrade: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What has happened.
enum Event {
    Stop,
    Hangup,
    Reopen,
    Upgrade,
    Asked(Request),
    Changed,
    Health(Transition),
    Tick,
}

/// One process, and the means to change it.
struct Control {
    source: Source,
    log: Log,
    state_file: Option<std::path::PathBuf>,
    threads: usize,
    drain: Duration,
    stop_delay: Duration,
    registry: Registry,
    running: Running,
    access: Option<AccessLog>,
    levels: Levels,
    operator: Arc<Operator>,
    watch: Watch,
    supervisor: Supervisor,
    program: Program,
    /// Whether another process serves now, and this one is to end.
    has_successor: bool,
    lost_lines: usize,
    lost_log_lines: usize,
}

fn serve(
    source: Source,
    settings: Settings,
    (fingerprint, warnings): (u64, &[String]),
    access: Option<AccessLog>,
    levels: Levels,
) -> Result<(), Box<dyn std::error::Error>> {
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    control.block_on(async {
        // Before anything can be asked of this process, so that no signal is missed.
        let mut signals = Signals::new()?;
        let registry = Registry::new(settings.policy.clone());
        let heritage = upgrade::inherit()
            .map_err(|error| format!("cannot take over from the process before: {error}"))?;
        match (&heritage, &settings.state_file) {
            (Some(heritage), _) => state::take_over(&registry, &heritage.health),
            (None, Some(path)) => state::restore(&registry, path),
            (None, None) => {}
        }
        let (inherited, predecessor) = match heritage {
            Some(heritage) => (heritage.inherited, Some(heritage.predecessor)),
            None => (upgrade::activated(), None),
        };
        let mut transitions = registry.subscribe(TRANSITIONS);
        let (operator, mut requests) = operator(&levels);
        let services = Services {
            access: access.clone(),
            operator: Some(Arc::clone(&operator)),
            // A one-line start goes on without an admin API that it was not asked for.
            is_admin_needed: matches!(source, Source::File(_)),
            ..Services::new(Arc::new(registry.clone()))
        };
        let running = runtime::start_with(settings.plan.clone(), services, inherited)?;
        // Before anybody is told that it runs, so that no change is missed either.
        let watch = Watch::new(&source, settings.watch, fingerprint);
        // Behind what was logged on the way.
        levels.say(summary::of(&settings, &running, warnings).trim_end());
        let mut control = Control {
            watch,
            source,
            log: settings.log,
            state_file: settings.state_file,
            threads: settings.plan.threads(),
            drain: settings.plan.timeouts().drain,
            stop_delay: settings.stop_delay,
            registry,
            running,
            access,
            levels,
            operator,
            supervisor: Supervisor::new(),
            program: Program::this(),
            has_successor: false,
            lost_lines: 0,
            lost_log_lines: 0,
        };
        control.supervisor.ready();
        if let Some(predecessor) = predecessor {
            predecessor.relieve();
        }
        let mut tick = tokio::time::interval(TICK);
        loop {
            let event = next(
                &mut signals,
                &mut requests,
                &mut control.watch,
                async { transitions.recv().await },
                &mut tick,
            );
            match event.await {
                Event::Stop => break,
                // A terminal that is closed ends what was started in it; a file can be read again.
                Event::Hangup if matches!(control.source, Source::Flags(_)) => break,
                event => control.handle(event).await,
            }
            if control.has_successor {
                break;
            }
        }
        // Whoever asks for something now is told that it is too late.
        drop(requests);
        control.end(&mut signals).await;
        Ok(())
    })
}

fn operator(levels: &Levels) -> (Arc<Operator>, mpsc::Receiver<Request>) {
    let levels = levels.clone();
    let (operator, requests) = Operator::new(move |level| {
        let level: LevelFilter = level.parse().map_err(|_| {
            format!("found the level {level:?}, expected off, error, warn, info, debug or trace\n")
        })?;
        levels.set(level);
        Ok(())
    });
    (Arc::new(operator), requests)
}

async fn next(
    signals: &mut Signals,
    requests: &mut mpsc::Receiver<Request>,
    watch: &mut Watch,
    transition: impl Future<Output = Transition>,
    tick: &mut tokio::time::Interval,
) -> Event {
    tokio::select! {
        _ = signals.interrupt.recv() => Event::Stop,
        _ = signals.terminate.recv() => Event::Stop,
        _ = signals.hangup.recv() => Event::Hangup,
        _ = signals.reopen.recv() => Event::Reopen,
        _ = signals.upgrade.recv() => Event::Upgrade,
        Some(done) = requests.recv() => Event::Asked(done),
        () = watch.settled() => Event::Changed,
        change = transition => Event::Health(change),
        _ = tick.tick() => Event::Tick,
    }
}

impl Control {
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

    async fn end(mut self, signals: &mut Signals) {
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
}

impl Control {
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

const TRANSITIONS: usize = 1024;
const TICK: Duration = Duration::from_secs(1);
