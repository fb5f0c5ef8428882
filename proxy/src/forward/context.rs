//! What the connections of one worker share, and what each has for itself.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use hyper::server::conn::http1;
use hyper::{Method, Uri};
use tokio::sync::Notify;
use tracing::Level;

use crate::bounds;
use crate::error::{Fault, NoStream};
use crate::forward::body::Upload;
use crate::net::dial::{Dialled, Dialler};
use crate::net::guard::Guard;
use crate::net::relay::Moved;
use crate::net::ticks::{Span, Ticks, Watch};
use crate::plan::Plan;
use crate::proto::Target;
use crate::proto::screen::{Limits, Screen};
use crate::telemetry::access::{AccessWriter, Line};
use crate::upstream::pool::Pool;

/// One worker's means. Lives as long as the worker, across plans.
pub struct Context {
    /// The deadlines of all connections.
    pub ticks: Ticks,
    /// The way out.
    pub dialler: Dialler,
    /// Idle connections to origins.
    pub pool: Pool<Upload>,
    /// Where access lines go; `None` when the log is off.
    pub access: Option<AccessWriter>,
    /// How HTTP is served.
    pub http: http1::Builder,
    /// Set once: no new work is taken.
    pub draining: Cell<bool>,
    /// How many client connections are open.
    pub live: Cell<usize>,
    /// The tick of the last loud line in the log.
    pub last_loud: Cell<Option<u64>>,
    /// Told when a connection has ended and when draining begins.
    pub changed: Notify,
}

/// What the plan says, made ready for one worker. A connection keeps the rules it began with.
pub struct Rules {
    /// The plan itself.
    pub plan: Arc<Plan>,
    /// Which targets may be dialled.
    pub guard: Guard,
    /// The plan's deadlines in ticks.
    pub spans: Spans,
}

/// Deadlines in ticks; see [`crate::plan::Timeouts`].
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    pub(super) handshake: Span,
    pub(super) header: Span,
    pub(super) keep_alive: Span,
    pub(super) answer: Span,
    pub(super) body_idle: Span,
    pub(super) idle: Span,
    /// How long a tunnel of which one side has ended may stand still.
    pub(super) one_way: Span,
    /// How long a connection without a request is still listened to when draining.
    pub(super) grace: Span,
    /// How long a peer's last bytes are waited for after an error was answered.
    pub(super) linger: Span,
}

/// One client connection.
pub(super) struct Session {
    pub(super) context: Rc<Context>,
    pub(super) rules: Rc<Rules>,
    pub(super) client: SocketAddr,
    pub(super) flow: Rc<Flow>,
    pub(super) phase: Cell<Phase>,
    /// A dialled stream on its way from the CONNECT request to the tunnel.
    pub(super) tunnel: Cell<Option<Dialled>>,
    /// Sees every byte of an HTTP client before the engine does.
    pub(super) screen: RefCell<Screen>,
    /// Responses that the engine was given.
    pub(super) responses: Cell<u64>,
    /// Exchanges that are over.
    pub(super) answered: Cell<u64>,
    /// Whether bytes of the client may still be on their way that nobody will read.
    pub(super) has_unread: Cell<bool>,
    record: RefCell<Option<Record>>,
    _place: Place,
}

/// What a body on its way to an origin has to do with its session.
///
/// Apart from the session because the origin's connection holds it as well, in a task of its own:
/// that one must not keep the client's place.
pub(super) struct Flow {
    pub(super) watch: Watch,
    /// Bytes of the exchange or tunnel that goes on now.
    pub(super) moved: Moved,
    pub(super) upload: Cell<Progress>,
    /// What is waited for, and how long, when the body is whole: the answer, or more of it.
    pub(super) behind_upload: Cell<Span>,
}

/// How far a request's body is on its way to the origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// The origin has to take what there is.
    Moving,
    /// The client has to send more.
    Waiting,
    /// The origin has been given all there is.
    Whole,
    /// The client broke it off, or broke a rule in it.
    Broken,
}

/// What the connection waits for, and so what its deadline means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// The next request's first byte.
    Waiting,
    /// The rest of a head.
    Head,
    /// The service, which keeps its own deadline.
    Busy,
    /// The response's body, or the client that is to take it.
    Body,
    /// The client, to take the end of the response.
    Flush,
}

/// What the access log will say.
struct Record {
    started: Instant,
    what: What,
    status: u16,
    address: Option<SocketAddr>,
    health: &'static str,
    fault: Option<&'static str>,
}

pub(super) enum What {
    Http(Method, Uri),
    /// A request that could not be read.
    Unread,
    Socks5(Target),
}

/// One of the worker's places for connections; free again when dropped.
pub struct Place(Rc<Context>);

impl Context {
    /// Takes a place for a connection.
    #[must_use]
    pub fn enter(self: &Rc<Self>) -> Place {
        self.live.set(self.live.get() + 1);
        Place(Rc::clone(self))
    }

    /// Writes a fault into the log. Loud ones at most once a tick: whoever can cause a fault can
    /// cause a million, and a log is slow.
    pub(super) fn log(&self, fault: &Fault, client: SocketAddr) {
        let (level, token) = (fault.level(), fault.token());
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

impl Drop for Place {
    fn drop(&mut self) {
        self.0.live.set(self.0.live.get() - 1);
        self.0.changed.notify_waiters();
    }
}

impl Rules {
    /// Makes `plan` ready for the worker that `ticks` belong to. `own` are the addresses that the
    /// process listens on.
    #[must_use]
    pub fn new(plan: Arc<Plan>, own: Vec<SocketAddr>, ticks: &Ticks) -> Self {
        let timeouts = plan.timeouts;
        let spans = Spans {
            handshake: ticks.span(timeouts.handshake),
            header: ticks.span(timeouts.header),
            keep_alive: ticks.span(timeouts.keep_alive),
            answer: ticks.span(timeouts.answer),
            body_idle: ticks.span(timeouts.body_idle),
            idle: ticks.span(timeouts.idle),
            one_way: ticks.span(timeouts.idle.min(ONE_WAY)),
            grace: ticks.span(timeouts.handshake.min(GRACE)),
            linger: ticks.span(timeouts.handshake.min(LINGER)),
        };
        Self {
            guard: Guard::new(own, plan.allow_private),
            plan,
            spans,
        }
    }
}

impl Session {
    pub(super) fn new(place: Place, rules: Rc<Rules>, client: SocketAddr) -> Self {
        let context = Rc::clone(&place.0);
        let watch = context.ticks.watch();
        watch.arm(rules.spans.handshake);
        let screen = Screen::new(screened(rules.plan.limits()));
        let flow = Rc::new(Flow {
            watch,
            moved: Moved::default(),
            upload: Cell::new(Progress::Whole),
            behind_upload: Cell::new(rules.spans.answer),
        });
        Self {
            context,
            rules,
            client,
            flow,
            phase: Cell::new(Phase::Head),
            tunnel: Cell::new(None),
            screen: RefCell::new(screen),
            responses: Cell::new(0),
            answered: Cell::new(0),
            has_unread: Cell::new(false),
            record: RefCell::new(None),
            _place: place,
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.context.draining.get()
    }

    /// Begins an exchange or a tunnel; the access line tells its end.
    pub(super) fn begin(&self, what: impl FnOnce() -> What) {
        self.flow.moved.up.set(0);
        self.flow.moved.down.set(0);
        self.flow.upload.set(Progress::Whole);
        if self.context.access.is_some() {
            *self.record.borrow_mut() = Some(Record {
                started: Instant::now(),
                what: what(),
                status: 0,
                address: None,
                health: "-",
                fault: None,
            });
        }
    }

    /// Whether there is an exchange or a tunnel that the access log waits for.
    pub(super) fn has_begun(&self) -> bool {
        self.record.borrow().is_some()
    }

    /// Notes where the exchange goes and what the registry said to that.
    pub(super) fn note_address(&self, address: SocketAddr, health: &'static str) {
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.address = Some(address);
            record.health = health;
        }
    }

    /// Notes what was answered.
    pub(super) fn note_status(&self, status: u16) {
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.status = status;
        }
    }

    /// Notes and logs what went wrong.
    pub(super) fn note_fault(&self, fault: &Fault) {
        self.context.log(fault, self.client);
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.fault = Some(fault.token());
            record.address = fault.address().or(record.address);
            if let Fault::Connect { how, .. } = fault {
                record.health = if *how == NoStream::Down {
                    "falldown"
                } else {
                    "up"
                };
            }
        }
    }

    /// Notes that the exchange was left in the middle, unless a better reason is known.
    pub(super) fn note_cut(&self) {
        let is_known = self
            .record
            .borrow()
            .as_ref()
            .is_none_or(|record| record.fault.is_some());
        if !is_known {
            self.note_fault(&Fault::Cut("the exchange was left in the middle"));
        }
    }

    /// Why the client's body did not come to its end.
    pub(super) fn upload_fault(&self) -> Fault {
        match self.screen.borrow().violation() {
            Some(violation) => Fault::from(violation),
            None => Fault::BadRequest("the request's body broke off before its end".into()),
        }
    }

    /// Ends the exchange or tunnel with its access line.
    pub(super) fn finish(&self) {
        let Some(record) = self.record.borrow_mut().take() else {
            return;
        };
        let Some(access) = &self.context.access else {
            return;
        };
        let (protocol, method, target) = match &record.what {
            What::Http(Method::CONNECT, uri) => ("connect", "CONNECT", uri.to_string()),
            What::Http(method, uri) => ("http", method.as_str(), uri.to_string()),
            What::Unread => ("http", "-", "-".to_owned()),
            What::Socks5(target) => ("socks5", "CONNECT", target.to_string()),
        };
        access.write(&Line {
            client: self.client,
            protocol,
            method,
            target: &target,
            status: record.status,
            bytes_in: self.flow.moved.up.get(),
            bytes_out: self.flow.moved.down.get(),
            took: record.started.elapsed(),
            address: record.address,
            health: record.health,
            fault: record.fault,
        });
    }

    /// The response is whole in the engine's hands; the exchange ends when the socket has it.
    pub(super) fn end_response(&self) {
        self.phase.set(Phase::Flush);
    }

    /// The socket has taken bytes of the client's.
    pub(super) fn note_written(&self) {
        if matches!(self.phase.get(), Phase::Body | Phase::Flush) {
            self.flow.watch.arm(self.rules.spans.body_idle);
        }
    }

    /// The socket has taken all there was: if that ended a response, the exchange is over and the
    /// connection waits for the next request.
    pub(super) fn note_flushed(&self) {
        if self.phase.get() != Phase::Flush {
            return;
        }
        self.finish();
        self.answered.set(self.answered.get() + 1);
        // The next head may have begun in the same read as the last request.
        let (phase, span) = if self.screen.borrow().is_between_requests() {
            (Phase::Waiting, self.rules.spans.keep_alive)
        } else {
            (Phase::Head, self.rules.spans.header)
        };
        self.phase.set(phase);
        self.flow.watch.arm(span);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.note_cut();
        self.finish();
    }
}

/// What the screen holds a head to.
fn screened(limits: &bounds::Limits) -> Limits {
    Limits {
        request_line_bytes: limits.header_size.min(Limits::default().request_line_bytes),
        field_bytes: limits.header_size,
        field_count: limits.header_count,
    }
}

/// Shorter than the idle timeout, because a side that has ended is gone more often than it waits:
/// a closed socket and one that only has no more to say look the same.
pub(super) const ONE_WAY: std::time::Duration = std::time::Duration::from_secs(60);
const GRACE: std::time::Duration = std::time::Duration::from_secs(1);
const LINGER: std::time::Duration = std::time::Duration::from_secs(2);
