//! A process that serves: its start, what it is told while it runs, its end.

mod control;
mod events;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use risefall::Registry;
use tokio::sync::mpsc;
use tracing_subscriber::filter::LevelFilter;

use self::control::Control;
use self::events::{Events, Signals};
use super::settle::Settings;
use super::source::Source;
use super::supervisor::Supervisor;
use super::upgrade::{self, Predecessor, Program};
use super::watch::Watch;
use super::{failed, say, state, summary};
use crate::admin::operator::{Operator, Request};
use crate::net::inherit::Inherited;
use crate::plan::Plan;
use crate::runtime::{self, Services};
use crate::telemetry::access::{AccessLog, Sink};
use crate::telemetry::log::{self, Levels};

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
        let signals = Signals::new()?;
        let registry = Registry::new(settings.policy.clone());
        let (inherited, predecessor) = take_over(&registry, settings.state_file.as_deref())?;
        let transitions = registry.subscribe(TRANSITIONS);
        let (operator, requests) = operator(&levels);
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
        let mut events = Events::new(signals, requests, transitions);
        control.run(&mut events).await;
        control.end(&mut events.close()).await;
        Ok(())
    })
}

/// What there is of a process before this one: its health and its listeners, or what was saved and
/// what a supervisor has opened.
fn take_over(
    registry: &Registry,
    state_file: Option<&Path>,
) -> Result<(Inherited, Option<Predecessor>), String> {
    let heritage = upgrade::inherit()
        .map_err(|error| format!("cannot take over from the process before: {error}"))?;
    let Some(heritage) = heritage else {
        if let Some(path) = state_file {
            state::restore(registry, path);
        }
        return Ok((upgrade::activated(), None));
    };
    state::take_over(registry, &heritage.health);
    Ok((heritage.inherited, Some(heritage.predecessor)))
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

const TRANSITIONS: usize = 1024;
