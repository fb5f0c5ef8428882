//! The log: what an operator should know, on the standard error.
//!
//! A thread of its own writes it. If whoever reads it is slower than what there is to tell, or stops,
//! lines are lost and counted; requests never wait for a log.

use std::fmt::Display;
use std::io::{IsTerminal, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use risefall::{Effect, Outlier, Rule, State, Transition};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;

use super::access::{Flush, Format};

/// Spares the log a trouble that goes on: a full table of files would fill the log as well.
#[derive(Clone, Copy, Debug, Default)]
pub struct Complaints {
    last: Option<Instant>,
}

impl Complaints {
    /// Whether the trouble at `now` is worth a line: once a second is.
    pub fn may_be_heard(&mut self, now: Instant) -> bool {
        let is_due = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= COMPLAINT_PAUSE);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

/// Sets the level of the process's log.
#[derive(Clone)]
pub struct Levels {
    set: Arc<dyn Fn(LevelFilter) + Send + Sync>,
    queue: NonBlocking,
}

impl Levels {
    /// From now on `level` is the least that is logged.
    pub fn set(&self, level: LevelFilter) {
        (self.set)(level);
    }

    /// How many lines have been lost so far.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.queue.error_counter().dropped_lines()
    }

    /// Says a line that is for whoever has started the process, whatever the level; behind what was
    /// logged before.
    pub fn say(&self, line: impl Display) {
        // In one piece: each that is written is a line of its own to the queue, which always takes
        // it or loses it.
        let _ = self.queue.clone().write_all(format!("{line}\n").as_bytes());
    }
}

/// Sends the process's log to the standard error. Called once; someone who has set a log of their
/// own before keeps it, and sets its level.
pub fn start(level: LevelFilter, format: Format) -> (Levels, Flush) {
    let (queue, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(QUEUE_LINES)
        .thread_name("risefall-log")
        .finish(std::io::stderr());
    let (filter, handle) = reload::Layer::new(who_may_speak(level));
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        // It would tell of a failed write by `eprintln!`, which panics when nobody reads any more.
        .log_internal_errors(false)
        .with_writer(queue.clone());
    let log = tracing_subscriber::registry().with(filter);
    let set = match format {
        Format::Text => tracing::subscriber::set_global_default(log.with(lines)),
        Format::Json => tracing::subscriber::set_global_default(log.with(lines.json())),
    };
    if set.is_err() {
        tracing::debug!("a log was set before");
    }
    // Without a log there is nobody to tell that its level cannot be set.
    let set = Arc::new(move |level| drop(handle.reload(who_may_speak(level))));
    (Levels { set, queue }, Flush::of(guard))
}

/// What is logged at `level`. Libraries speak to whoever looks into them: they know no client and no
/// remedy, and any client can have them say something.
fn who_may_speak(level: LevelFilter) -> Targets {
    let libraries = match level {
        LevelFilter::DEBUG | LevelFilter::TRACE => level,
        _ => level.min(LevelFilter::ERROR),
    };
    Targets::new()
        .with_default(libraries)
        .with_target("risefall", level)
}

/// Logs a change of an address's health.
pub fn transition(change: &Transition) {
    let address = change.address;
    let cause = change.cause.map(|cause| cause.to_string());
    match change.to {
        State::Down if change.from == State::Probing => {
            tracing::info!(%address, cause, "address is still down: its probe failed");
        }
        State::Down => {
            tracing::warn!(%address, cause, failures = change.evidence, "address is down");
        }
        State::Probing => tracing::info!(%address, "address is probed"),
        State::Up => tracing::info!(%address, "address is up"),
        state => tracing::info!(%address, "address is {state}"),
    }
}

/// Logs a change of what `by` (traffic or checks) says of a server of `upstream`; the `reason` in
/// words, if there are any, and how many `failures` in a row it was, if it was that.
pub fn service_transition(
    upstream: &str,
    by: &str,
    change: &Transition,
    reason: Option<&str>,
    failures: Option<u8>,
) {
    let server = change.address;
    let cause = change.cause.map(|cause| cause.to_string());
    match change.to {
        State::Down if change.from == State::Probing => {
            tracing::info!(upstream, %server, by, cause, "server is still down: its probe failed");
        }
        State::Down => {
            tracing::warn!(upstream, %server, by, cause, failures, reason, "server is down");
        }
        State::Probing => tracing::info!(upstream, %server, by, "server is probed"),
        State::Up => tracing::info!(upstream, %server, by, "server is up"),
        state => tracing::info!(upstream, %server, by, reason, "server is {state}"),
    }
}

/// Tells who does worse than may be.
pub fn outlier(upstream: &str, outlier: &Outlier) {
    let (server, calls) = (outlier.address, outlier.calls);
    // What the configuration calls it, and what it looked at.
    let (rule, said) = match outlier.rule {
        Rule::FailurePercent => ("failures", "failed"),
        Rule::SuccessRate => ("deviations_milli", "succeeded"),
        _ => ("slow", "slow"),
    };
    let (percent, limit) = (outlier.percent.round(), outlier.limit.round());
    match outlier.effect {
        Effect::Ejected => {
            tracing::warn!(upstream, %server, rule, said, percent, limit, calls, "an outlier is ejected");
        }
        Effect::Observed => {
            tracing::warn!(upstream, %server, rule, said, percent, limit, calls, "an outlier is observed");
        }
        // Told again at each look.
        _ => {
            tracing::debug!(upstream, %server, rule, said, percent, limit, calls, "an outlier is spared");
        }
    }
}

/// What may wait to be written.
const QUEUE_LINES: usize = 8 * 1024;
const COMPLAINT_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_are_heard_by_who_looks_into_them() {
        let info = who_may_speak(LevelFilter::INFO);
        for (target, level, is_heard) in [
            ("risefall", Level::INFO, true),
            ("risefall_proxy::site::h2", Level::INFO, true),
            ("risefall_proxy::site::h2", Level::DEBUG, false),
            ("h2::proto::streams", Level::WARN, false),
            ("h2::proto::streams", Level::ERROR, true),
        ] {
            assert_eq!(
                info.would_enable(target, &level),
                is_heard,
                "{target} {level}"
            );
        }
        let debug = who_may_speak(LevelFilter::DEBUG);
        assert!(debug.would_enable("h2::proto::streams", &Level::DEBUG));
        let off = who_may_speak(LevelFilter::OFF);
        assert!(!off.would_enable("h2::proto::streams", &Level::ERROR));
    }

    #[test]
    fn a_trouble_that_goes_on_is_told_once_a_second() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let heard: Vec<_> = [0, 100, 999, 1000, 1100, 2500]
            .map(|ms| complaints.may_be_heard(start + Duration::from_millis(ms)))
            .into();
        assert_eq!(heard, [true, false, false, true, false, true]);
    }
}
