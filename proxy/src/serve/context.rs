//! What the connections of one worker share.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use slab::Slab;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tracing::Level;

use crate::bounds::Timeouts;
use crate::error::Fault;
use crate::net::ticks::{Span, Ticks};
use crate::plan::Plan;
use crate::serve::http1::builder;
use crate::telemetry::access::AccessWriter;
use crate::telemetry::counters::{Counters, ListenerCounts};
use crate::telemetry::log::Complaints;
use crate::upstream::dial::Dialler;
use crate::upstream::groups::Groups;
use crate::upstream::pool::Pool;

/// One worker's means. Lives as long as the worker, across plans.
pub struct Context {
    /// The deadlines of all connections.
    pub ticks: Ticks,
    /// The way out.
    pub dialler: Dialler,
    /// Idle connections to origins.
    pub pool: Pool,
    /// Where access lines go; `None` when the log is off.
    pub access: Option<AccessWriter>,
    /// Groups of servers.
    pub groups: Groups,
    /// What has happened.
    pub counters: Arc<Counters>,
    /// Set once: no new work is taken.
    pub draining: Cell<bool>,
    /// Set while memory is short: whoever has no request in flight goes.
    pub tight: Cell<bool>,
    /// The tasks of the client connections that are open.
    pub connections: RefCell<Slab<Seat>>,
    /// The tick of the last loud line in the log.
    pub last_loud: Cell<Option<u64>>,
    /// Of files that cannot be opened.
    pub complaints: Cell<Complaints>,
    /// Told when a connection has ended and when draining begins.
    pub changed: Notify,
}

/// One listener of one worker.
pub struct Gate {
    /// Set once, when a plan has none of it any more: no new work is taken.
    pub draining: Cell<bool>,
    /// How many of its connections are open.
    pub live: Cell<usize>,
    /// What it has had so far.
    pub counts: Counts,
}

/// One worker's part of what a listener counts.
#[derive(Clone)]
pub struct Counts {
    /// Those of every worker.
    pub all: Arc<[ListenerCounts]>,
    /// Which of them is meant.
    pub worker: usize,
}

/// Where an open connection's task is.
pub struct Seat {
    gate: Rc<Gate>,
    /// `None` until it has been spawned.
    task: Option<AbortHandle>,
}

/// What the plan says of every connection of one listener, made ready for one worker. A connection
/// keeps the terms it began with.
pub struct Terms {
    /// The plan itself.
    pub plan: Arc<Plan>,
    /// What it is called in access lines: a kind, as the configuration has it, and a name.
    pub engine: &'static str,
    /// The name.
    pub name: String,
    /// The plan's deadlines in ticks.
    pub spans: Spans,
    /// How HTTP/1 is served.
    pub http1: http1::Builder,
}

/// Deadlines in ticks; see [`crate::plan::Timeouts`].
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    pub(crate) handshake: Span,
    pub(crate) header: Span,
    pub(crate) keep_alive: Span,
    /// How long a connection without a request keeps the room for one, and how long it may stay
    /// without a request behind that; `None` if it ends before.
    pub(crate) rest: Option<(Span, Span)>,
    pub(crate) answer: Span,
    pub(crate) body_idle: Span,
    pub(crate) idle: Span,
    /// How long a tunnel of which one side has ended may stand still.
    pub(crate) one_way: Span,
    /// How long a connection without a request is still listened to when draining.
    pub(crate) grace: Span,
    /// How long a peer's last bytes are waited for after an error was answered.
    pub(crate) linger: Span,
    pub(crate) request: Option<Span>,
    pub(crate) tunnel: Option<Span>,
}

/// One of the worker's places for connections; free again when dropped.
pub struct Place {
    pub(crate) context: Rc<Context>,
    pub(crate) gate: Rc<Gate>,
    seat: usize,
}

impl Context {
    /// Takes a place for a connection that came through `gate`.
    #[must_use]
    pub fn enter(self: &Rc<Self>, gate: &Rc<Gate>) -> Place {
        gate.live.set(gate.live.get() + 1);
        gate.counts.of_worker(|counts| counts.open.bump());
        let seat = Seat {
            gate: Rc::clone(gate),
            task: None,
        };
        let seat = self.connections.borrow_mut().insert(seat);
        self.counters.connections.bump();
        Place {
            context: Rc::clone(self),
            gate: Rc::clone(gate),
            seat,
        }
    }

    /// Remembers the task of a connection, so that it can be cut.
    pub fn seat(&self, seat: usize, task: AbortHandle) {
        if let Some(seat) = self.connections.borrow_mut().get_mut(seat) {
            seat.task = Some(task);
        }
    }

    /// How many client connections are open.
    #[must_use]
    pub fn live(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Cuts the connections that came through `gate`; gives how many.
    pub fn cut(&self, gate: &Rc<Gate>) -> usize {
        self.cut_those(usize::MAX, |seat| Rc::ptr_eq(&seat.gate, gate))
    }

    /// Cuts `count` connections, whichever; gives how many there were.
    pub fn shed(&self, count: usize) -> usize {
        self.cut_those(count, |_| true)
    }

    fn cut_those(&self, most: usize, is_meant: impl Fn(&Seat) -> bool) -> usize {
        let connections = self.connections.borrow();
        let meant = connections.iter().filter(|(_, seat)| is_meant(seat));
        let tasks = meant.filter_map(|(_, seat)| seat.task.as_ref()).take(most);
        tasks.map(AbortHandle::abort).count()
    }

    /// Writes a fault into the log. Loud ones at most once a tick: whoever can cause a fault can
    /// cause a million, and a log is slow.
    pub(crate) fn log(&self, fault: &Fault, client: SocketAddr) {
        let (level, token) = (fault.level(), fault.token());
        if let Fault::Exhausted(_) = fault {
            // It goes on for all that come, until somebody does something about it.
            let mut complaints = self.complaints.get();
            if complaints.may_be_heard(Instant::now()) {
                self.complaints.set(complaints);
                tracing::warn!(%client, fault = token, "{fault}");
            }
            return;
        }
        if level == Level::DEBUG {
            tracing::debug!(%client, fault = token, "{fault}");
        } else if self.last_loud.replace(Some(self.ticks.now())) != Some(self.ticks.now()) {
            match level {
                Level::ERROR => tracing::error!(%client, fault = token, "{fault}"),
                _ => tracing::warn!(%client, fault = token, "{fault}"),
            }
        }
    }
}

impl Place {
    /// What [`Context::seat`] knows it by.
    #[must_use]
    pub fn seat(&self) -> usize {
        self.seat
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self {
            context,
            gate,
            seat,
        } = self;
        gate.live.set(gate.live.get() - 1);
        gate.counts.of_worker(|counts| counts.open.drop_one());
        context.connections.borrow_mut().try_remove(*seat);
        context.counters.connections.drop_one();
        context.changed.notify_waiters();
    }
}

impl Gate {
    /// An open one, which counts for one worker.
    #[must_use]
    pub fn new(counts: Counts) -> Self {
        Self {
            draining: Cell::new(false),
            live: Cell::new(0),
            counts,
        }
    }
}

impl Counts {
    /// Tells this worker's counts.
    pub fn of_worker(&self, tell: impl FnOnce(&ListenerCounts)) {
        if let Some(counts) = self.all.get(self.worker) {
            tell(counts);
        }
    }
}

impl Terms {
    /// Makes `plan` ready for connections of `name`, in the worker that `ticks` belong to.
    #[must_use]
    pub fn new(plan: Arc<Plan>, engine: &'static str, name: &str, ticks: &Ticks) -> Self {
        Self {
            spans: Spans::of(&plan.timeouts, ticks),
            http1: builder(&plan.limits),
            engine,
            name: name.to_owned(),
            plan,
        }
    }
}

impl Spans {
    fn of(timeouts: &Timeouts, ticks: &Ticks) -> Self {
        let rest = timeouts.keep_alive.checked_sub(REST_AFTER);
        let rest = rest.filter(|left| !left.is_zero());
        Self {
            handshake: ticks.span(timeouts.handshake),
            header: ticks.span(timeouts.header),
            keep_alive: ticks.span(timeouts.keep_alive),
            rest: rest.map(|left| (ticks.span(REST_AFTER), ticks.span(left))),
            answer: ticks.span(timeouts.answer),
            body_idle: ticks.span(timeouts.body_idle),
            idle: ticks.span(timeouts.idle),
            one_way: ticks.span(timeouts.idle.min(ONE_WAY)),
            grace: ticks.span(timeouts.handshake.min(GRACE)),
            linger: ticks.span(timeouts.handshake.min(LINGER)),
            request: timeouts.request.map(|time| ticks.span(time)),
            tunnel: timeouts.tunnel.map(|time| ticks.span(time)),
        }
    }
}

/// Shorter than the idle timeout, because a side that has ended is gone more often than it waits:
/// a closed socket and one that only has no more to say look the same.
pub(crate) const ONE_WAY: Duration = Duration::from_secs(60);
/// Long enough that clients which ask one thing after the other never wait for that room.
const REST_AFTER: Duration = Duration::from_millis(250);
const GRACE: Duration = Duration::from_secs(1);
const LINGER: Duration = Duration::from_secs(2);
