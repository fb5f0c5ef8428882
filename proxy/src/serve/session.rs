//! One client connection: what it waits for, and what is told of it when it is over.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use hyper::{Method, Uri};

use crate::bounds;
use crate::error::{Fault, NoStream};
use crate::net::relay::Moved;
use crate::proto::Target;
use crate::proto::screen::{Limits, Screen};
use crate::serve::context::{Context, Place, Terms};
use crate::serve::outgoing::Outgoing;
use crate::telemetry::access::{AccessWriter, Line};
use crate::telemetry::counters::Protocol;
use crate::telemetry::tally::Service;
use crate::upstream::dial::{Effort, Errand};
use crate::upstream::upload::{Flow, Progress, Unread};

/// One client connection.
pub(crate) struct Session {
    pub(crate) context: Rc<Context>,
    pub(crate) terms: Rc<Terms>,
    pub(crate) client: SocketAddr,
    pub(crate) flow: Rc<Flow>,
    pub(crate) phase: Cell<Phase>,
    /// Sees every byte of an HTTP client before the engine does.
    pub(crate) screen: RefCell<Screen>,
    /// Responses that the engine was given.
    pub(crate) responses: Cell<u64>,
    /// Exchanges that are over.
    pub(crate) answered: Cell<u64>,
    /// Whether the connection leaves HTTP behind the response that is being written.
    pub(crate) has_left: Cell<bool>,
    /// Whether bytes of the client may still be on their way that nobody will read.
    pub(crate) has_unread: Cell<bool>,
    /// What is left of a stream's body, to be read after its answer.
    pub(crate) unread: Cell<Option<Unread>>,
    /// Whether the end of the connection is the end of the response that is being written.
    pub(crate) ends_with_it: Cell<bool>,
    /// Parts of files that go to the socket past the engine.
    pub(crate) outgoing: Outgoing,
    /// How long the exchange may take in all, if that is its own.
    pub(crate) request_time: Cell<Option<Duration>>,
    /// Whether it is one of several exchanges at a time of one connection.
    is_stream: bool,
    record: RefCell<Option<Record>>,
    place: Rc<Place>,
}

/// What the connection waits for, and so what its deadline means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
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
    /// Which of the services behind the listener it was, once that is known.
    service: Option<Rc<Service>>,
    /// How many times it was sent to a server, where it may be sent again.
    tries: u32,
    /// Which host was asked for, where the target does not tell.
    host: Option<HeaderValue>,
    /// The number by which servers and error pages know the request.
    request_id: Option<Box<str>>,
    /// Who asked, where that had to be said.
    user: Option<Box<str>>,
}

pub(crate) enum What {
    Http {
        is_connect: bool,
        /// The request line, unless nobody is told of it.
        line: Option<(Method, Uri)>,
    },
    /// A request that could not be read.
    Unread,
    Socks5(Target),
}

impl Session {
    pub(crate) fn new(place: Place, terms: Rc<Terms>, client: SocketAddr) -> Self {
        Self::make(Rc::new(place), terms, client, false)
    }

    /// A session for one of several exchanges at a time of `connection`.
    pub(crate) fn of_stream(connection: &Self) -> Self {
        let (place, terms) = (Rc::clone(&connection.place), Rc::clone(&connection.terms));
        Self::make(place, terms, connection.client, true)
    }

    fn make(place: Rc<Place>, terms: Rc<Terms>, client: SocketAddr, is_stream: bool) -> Self {
        let context = Rc::clone(&place.context);
        let watch = context.ticks.watch();
        watch.arm(terms.spans.handshake);
        let screen = Screen::new(screened(terms.plan.limits()));
        let flow = Rc::new(Flow {
            watch,
            moved: Moved::default(),
            upload: Cell::new(Progress::Whole),
            behind_upload: Cell::new(terms.spans.answer),
            sent_to: Cell::new(None),
        });
        Self {
            context,
            terms,
            client,
            flow,
            phase: Cell::new(Phase::Head),
            screen: RefCell::new(screen),
            responses: Cell::new(0),
            answered: Cell::new(0),
            has_left: Cell::new(false),
            has_unread: Cell::new(false),
            unread: Cell::new(None),
            ends_with_it: Cell::new(false),
            outgoing: Outgoing::default(),
            request_time: Cell::new(None),
            is_stream,
            record: RefCell::new(None),
            place,
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        let context = &self.context;
        context.draining.get() || self.place.gate.draining.get() || context.tight.get()
    }

    /// What a server is chosen for, when one has to be.
    pub(crate) fn errand<'a>(&self, target: &'a Target) -> Errand<'a> {
        Errand {
            client: self.client.ip(),
            target,
        }
    }

    /// Begins an exchange or a tunnel; the access line tells its end.
    pub(crate) fn begin(&self, what: What) {
        self.flow.moved.up.set(0);
        self.flow.moved.down.set(0);
        self.flow.upload.set(Progress::Whole);
        self.flow.sent_to.set(None);
        let mut record = self.record.borrow_mut();
        if record.is_none() {
            self.context.counters.in_flight.bump();
        }
        *record = Some(Record {
            started: Instant::now(),
            what,
            status: 0,
            address: None,
            health: "-",
            fault: None,
            effort: Effort::default(),
            first_byte: None,
            service: None,
            tries: 0,
            host: None,
            request_id: None,
            user: None,
        });
    }

    /// Begins an exchange that an HTTP client asks for by `method` and `uri`.
    pub(crate) fn begin_http(&self, method: &Method, uri: &Uri) {
        self.begin(What::Http {
            is_connect: method == Method::CONNECT,
            // What is not logged need not be kept.
            line: (self.is_logged()).then(|| (method.clone(), uri.clone())),
        });
    }

    /// Whether the request has taken longer than it may in all.
    pub(crate) fn overlong(&self) -> Option<Fault> {
        let own = self.request_time.get();
        let after = own.or(self.terms.plan.timeouts.request)?;
        let what = "request";
        (self.flow.watch.is_over()).then_some(Fault::Overlong { what, after })
    }

    /// Whether an access line will be written: what it alone tells is not kept otherwise.
    pub(crate) fn is_logged(&self) -> bool {
        self.context.access.is_some()
    }

    /// Whether there is an exchange or a tunnel that the access log waits for.
    pub(crate) fn has_begun(&self) -> bool {
        self.record.borrow().is_some()
    }

    /// Notes where the exchange goes and what the registry said to that.
    pub(crate) fn note_address(&self, address: SocketAddr, health: &'static str) {
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.address = Some(address);
            record.health = health;
        }
    }

    /// Notes what was dialled for the exchange, and what that took.
    pub(crate) fn note_dialled(&self, address: SocketAddr, effort: Effort) {
        self.note_address(address, "up");
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.effort = effort;
        }
    }

    /// Notes that the origin has begun its answer.
    pub(crate) fn note_first_byte(&self) {
        if self.is_logged()
            && let Some(record) = &mut *self.record.borrow_mut()
        {
            record.first_byte = Some(record.started.elapsed());
        }
    }

    /// Notes by which number servers and error pages know the request.
    pub(crate) fn note_request_id<'a>(&self, id: impl FnOnce() -> &'a str) {
        if self.is_logged()
            && let Some(record) = &mut *self.record.borrow_mut()
        {
            record.request_id = Some(id().into());
        }
    }

    /// Notes which user asked.
    pub(crate) fn note_user(&self, name: &str) {
        if self.is_logged()
            && let Some(record) = &mut *self.record.borrow_mut()
        {
            record.user = Some(name.into());
        }
    }

    /// Notes how many times a request was sent.
    pub(crate) fn note_tries(&self, tries: u32) {
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.tries = tries;
        }
    }

    /// Notes which service of the listener the exchange is with, and which host was asked for.
    pub(crate) fn note_service(&self, service: Option<&Rc<Service>>, host: Option<&HeaderValue>) {
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.service = service.cloned();
            record.host = host.filter(|_| self.is_logged()).cloned();
        }
    }

    /// Notes what was answered.
    pub(crate) fn note_status(&self, status: u16) {
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.status = status;
        }
    }

    /// Notes and logs what went wrong.
    pub(crate) fn note_fault(&self, fault: &Fault) {
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
    pub(crate) fn note_cut(&self) {
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
    pub(crate) fn upload_fault(&self) -> Fault {
        match self.screen.borrow().violation() {
            Some(violation) => Fault::from(violation),
            None => Fault::BadRequest("the request's body broke off before its end".into()),
        }
    }

    /// Ends the exchange or tunnel with its access line.
    pub(crate) fn finish(&self) {
        let mut ended = self.record.borrow_mut();
        let Some(record) = &*ended else {
            return;
        };
        self.flow.watch.bound(None);
        let took = record.started.elapsed();
        let counters = &self.context.counters;
        counters.in_flight.drop_one();
        counters.bytes_in.add(self.flow.moved.up.get());
        counters.bytes_out.add(self.flow.moved.down.get());
        counters.note_end(record.what.protocol(), record.status, took);
        if let Some(service) = &record.service {
            service.counts.note_end(record.status);
        }
        if let Some(access) = &self.context.access {
            self.log(record, took, access);
        }
        *ended = None;
    }

    fn log(&self, record: &Record, took: Duration, access: &AccessWriter) {
        let (method, target) = match &record.what {
            What::Http {
                line: Some((method, uri)),
                ..
            } => (method.as_str(), with_host(uri, record.host.as_ref())),
            What::Http { .. } | What::Unread => ("-", "-".to_owned()),
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
            // Of a client that has left meanwhile nobody has noted it.
            address: record.address.or(self.flow.sent_to.get()),
            health: record.health,
            fault: record.fault,
            engine: self.terms.engine,
            service: (record.service.as_ref()).map_or(&self.terms.name, |service| &service.name),
            id: access.next_id(),
            dials: record.effort.dials,
            tries: record.tries,
            request: record.request_id.as_deref(),
            user: record.user.as_deref(),
            resolve: record.effort.resolve,
            connect: record.effort.connect,
            first_byte: record.first_byte,
        });
    }

    /// The response is whole in the engine's hands; the exchange ends when the socket has it.
    pub(crate) fn end_response(&self) {
        self.phase.set(Phase::Flush);
        if self.is_stream {
            // The engine writes for all streams; nobody is told when it has.
            self.finish();
        }
    }

    /// The socket has taken bytes of the client's.
    pub(crate) fn note_written(&self) {
        if matches!(self.phase.get(), Phase::Body | Phase::Flush) {
            self.flow.watch.arm(self.terms.spans.body_idle);
        }
    }

    /// The socket has taken all there was: if that ended a response, the exchange is over and the
    /// connection waits for the next request.
    pub(crate) fn note_flushed(&self) {
        if self.phase.get() != Phase::Flush {
            return;
        }
        self.finish();
        self.answered.set(self.answered.get() + 1);
        // The next head may have begun in the same read as the last request.
        let (phase, span) = if self.screen.borrow().is_between_requests() {
            let spans = &self.terms.spans;
            let rest = spans.rest.map(|(after, _)| after);
            (Phase::Waiting, rest.unwrap_or(spans.keep_alive))
        } else {
            (Phase::Head, self.terms.spans.header)
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
            Self::Http {
                is_connect: true, ..
            } => Protocol::Connect,
            Self::Http { .. } | Self::Unread => Protocol::Http,
            Self::Socks5(_) => Protocol::Socks5,
        }
    }
}

/// A target as it is logged: with the host, which is not in it if it came as a path.
fn with_host(uri: &Uri, host: Option<&HeaderValue>) -> String {
    match host.and_then(|host| host.to_str().ok()) {
        Some(host) if uri.authority().is_none() => format!("{host}{uri}"),
        _ => uri.to_string(),
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
