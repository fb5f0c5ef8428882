//! A board on a clock that moves only when told to, and what its checks may find.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::check::board::{Board, Job, Start, Step, SubscriberId, Thresholds};
use crate::check::definition::{Definition, Kind, Timing};
use crate::check::http::Statuses;
use crate::check::report::{Failure, Finding, Verdict, Way};
use crate::clock::ManualClock;
use crate::outcome::Cause;
use crate::policy::Policy;
use crate::registry::Registry;

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 80))
}

/// Every 1 000 ms, 100 while changing, 5 000 while down, to the tick.
pub(super) fn definition() -> Arc<Definition> {
    let timing = Timing::builder()
        .interval(ms(1000))
        .fast_interval(ms(100))
        .down_interval(ms(5000))
        .timeout(ms(500))
        .jitter_percent(0);
    Arc::new(Definition::new(Kind::Connect, None, timing.build().unwrap()).unwrap())
}

pub(super) fn finding(result: Result<(), Failure>) -> Finding {
    Finding {
        result,
        agent: None,
        way: Way::Connected,
        took: ms(3),
    }
}

pub(super) fn passed() -> Finding {
    finding(Ok(()))
}

pub(super) fn failed() -> Finding {
    let expected = Statuses::new([(200, 399)]).unwrap();
    finding(Err(Failure::Status {
        found: 500,
        expected,
    }))
}

pub(super) fn refused() -> Finding {
    Finding {
        way: Way::Failed(Cause::Refused),
        ..finding(Err(Failure::dial(
            &std::io::ErrorKind::ConnectionRefused.into(),
        )))
    }
}

pub(super) fn said(words: &str) -> Finding {
    Finding {
        agent: Some(words.parse()),
        ..passed()
    }
}

/// A board on a clock that moves only when told to.
pub(super) struct World {
    pub(super) board: Board,
    pub(super) dials: Registry,
    pub(super) clock: Arc<ManualClock>,
    pub(super) now: Duration,
}

impl World {
    pub(super) fn new(in_flight: usize) -> Self {
        Self::with_dials(in_flight, Policy::default())
    }

    pub(super) fn with_dials(in_flight: usize, policy: Policy) -> Self {
        let clock = Arc::new(ManualClock::new());
        let builder = Registry::builder().policy(policy);
        let dials = builder.clock(Arc::clone(&clock) as _).build();
        Self {
            board: Board::new(dials.clone(), in_flight, 7),
            dials,
            clock,
            now: Duration::ZERO,
        }
    }

    /// The registry of a group.
    pub(super) fn group(&self) -> Registry {
        Registry::builder()
            .clock(Arc::clone(&self.clock) as _)
            .build()
    }

    pub(super) fn subscribe(
        &mut self,
        host: u8,
        group: &Registry,
        thresholds: Thresholds,
    ) -> SubscriberId {
        let (address, now) = (address(host), self.now);
        let subscribed = self
            .board
            .subscribe(address, definition(), group, thresholds, now);
        subscribed.unwrap()
    }

    /// Goes on to when there is something to do, and begins one check.
    pub(super) fn begin(&mut self) -> Job {
        let due = self.board.next_due().unwrap().max(self.now);
        self.clock.advance(due - self.now);
        self.now = due;
        match self.board.poll(self.now).unwrap() {
            Step::Begin(job) => job,
            Step::Drop(turn) => panic!("{turn:?} is dropped"),
        }
    }

    /// Goes on to the next check and tells what it found. When it began.
    pub(super) fn check(&mut self, finding: &Finding) -> Duration {
        let job = self.begin();
        assert!(self.board.handle_finding(job.turn, finding, self.now));
        self.now
    }

    pub(super) fn verdict(&self, id: SubscriberId) -> Verdict {
        self.board.report(id).unwrap().verdict
    }
}

pub(super) fn thresholds(fall: u8, rise: u8) -> Thresholds {
    Thresholds {
        fall,
        rise,
        start: Start::Eligible,
    }
}

pub(super) fn finding_of(failure: Failure) -> Finding {
    Finding {
        way: Way::Unknown,
        ..finding(Err(failure))
    }
}
