//! What a process that serves waits for.

use std::io;
use std::time::Duration;

use risefall::{Transition, Transitions};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Interval, interval};

use crate::admin::operator::Request;
use crate::cli::watch::Watch;

/// What has happened.
pub(super) enum Event {
    Stop,
    Hangup,
    Reopen,
    Upgrade,
    Asked(Request),
    Changed,
    Health(Transition),
    Tick,
}

/// All that tells of them but the files that are watched.
pub(super) struct Events {
    signals: Signals,
    requests: mpsc::Receiver<Request>,
    transitions: Transitions,
    tick: Interval,
}

impl Events {
    pub(super) fn new(
        signals: Signals,
        requests: mpsc::Receiver<Request>,
        transitions: Transitions,
    ) -> Self {
        Self {
            signals,
            requests,
            transitions,
            tick: interval(TICK),
        }
    }

    /// The next one.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses none.
    pub(super) async fn next(&mut self, watch: &mut Watch) -> Event {
        let signals = &mut self.signals;
        tokio::select! {
            _ = signals.interrupt.recv() => Event::Stop,
            _ = signals.terminate.recv() => Event::Stop,
            _ = signals.hangup.recv() => Event::Hangup,
            _ = signals.reopen.recv() => Event::Reopen,
            _ = signals.upgrade.recv() => Event::Upgrade,
            Some(done) = self.requests.recv() => Event::Asked(done),
            () = watch.settled() => Event::Changed,
            change = self.transitions.recv() => Event::Health(change),
            _ = self.tick.tick() => Event::Tick,
        }
    }

    /// Whoever asks for something from now on is told that it is too late; signals are still heard.
    pub(super) fn close(self) -> Signals {
        self.signals
    }
}

/// The signals that mean something to it.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    reopen: Signal,
    upgrade: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// One that asks for an end.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

const TICK: Duration = Duration::from_secs(1);
