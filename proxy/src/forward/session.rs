//! One client connection: what it waits for, and what is told of it when it is over.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::{Method, Uri};

use crate::bounds;
use crate::error::{Fault, NoStream};
use crate::forward::context::{Context, Place, Rules};
use crate::net::relay::Moved;
use crate::net::ticks::{Span, Watch};
use crate::proto::Target;
use crate::proto::screen::{Limits, Screen};
use crate::telemetry::access::Line;
use crate::telemetry::counters::Protocol;
use crate::upstream::dial::{Dialled, Effort, Errand};

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
    place: Place,
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
    effort: Effort,
    first_byte: Option<Duration>,
}

pub(super) enum What {
    Http(Method, Uri),
    /// A request that could not be read.
    Unread,
    Socks5(Target),
}

impl Session {
    pub(super) fn new(place: Place, rules: Rc<Rules>, client: SocketAddr) -> Self {
        let context = Rc::clone(&place.context);
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
            place,
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        let context = &self.context;
        context.draining.get() || self.place.gate.draining.get() || context.tight.get()
    }

    /// What a server is chosen for, when one has to be.
    pub(super) fn errand<'a>(&self, target: &'a Target) -> Errand<'a> {
        Errand {
            client: self.client.ip(),
            target,
        }
    }

    /// Begins an exchange or a tunnel; the access line tells its end.
    pub(super) fn begin(&self, what: impl FnOnce() -> What) {
        self.flow.moved.up.set(0);
        self.flow.moved.down.set(0);
        self.flow.upload.set(Progress::Whole);
        let record = Record {
            started: Instant::now(),
            what: what(),
            status: 0,
            address: None,
            health: "-",
            fault: None,
            effort: Effort::default(),
            first_byte: None,
        };
        if self.record.borrow_mut().replace(record).is_none() {
            self.context.counters.in_flight.bump();
        }
    }

    /// Whether the request has taken longer than it may in all.
    pub(super) fn overlong(&self) -> Option<Fault> {
        let after = self.rules.plan.timeouts.request?;
        let what = "request";
        (self.flow.watch.is_over()).then_some(Fault::Overlong { what, after })
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

    /// Notes what was dialled for the exchange, and what that took.
    pub(super) fn note_dialled(&self, address: SocketAddr, effort: Effort) {
        self.note_address(address, "up");
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.effort = effort;
        }
    }

    /// Notes that the origin has begun its answer.
    pub(super) fn note_first_byte(&self) {
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.first_byte = Some(record.started.elapsed());
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
        self.context.counters.note_fault(fault.token());
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.fault = Some(fault.token());
            record.effort.dials = record.effort.dials.max(fault.dials());
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
        self.flow.watch.bound(None);
        let took = record.started.elapsed();
        let counters = &self.context.counters;
        counters.in_flight.drop_one();
        counters.bytes_in.add(self.flow.moved.up.get());
        counters.bytes_out.add(self.flow.moved.down.get());
        counters.note_end(record.what.protocol(), record.status, took);
        let Some(access) = &self.context.access else {
            return;
        };
        let (method, target) = match &record.what {
            What::Http(method, uri) => (method.as_str(), uri.to_string()),
            What::Unread => ("-", "-".to_owned()),
            What::Socks5(target) => ("CONNECT", target.to_string()),
        };
        access.write(&Line {
            client: self.client,
            protocol: record.what.protocol().name(),
            method,
            target: &target,
            status: record.status,
            bytes_in: self.flow.moved.up.get(),
            bytes_out: self.flow.moved.down.get(),
            took,
            address: record.address,
            health: record.health,
            fault: record.fault,
            forward: &self.rules.forward.name,
            id: access.next_id(),
            dials: record.effort.dials,
            resolve: record.effort.resolve,
            connect: record.effort.connect,
            first_byte: record.first_byte,
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

impl What {
    fn protocol(&self) -> Protocol {
        match self {
            Self::Http(Method::CONNECT, _) => Protocol::Connect,
            Self::Http(..) | Self::Unread => Protocol::Http,
            Self::Socks5(_) => Protocol::Socks5,
        }
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
