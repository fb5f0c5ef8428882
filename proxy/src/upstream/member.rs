//! One server of a group, as one worker has it: how it stands, and what goes on there.

use std::cell::{Cell, OnceCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use risefall::judge::Judge;
use risefall::{Cause, Endpoint, Outcome, State, Status};

use super::balance::Candidate;
use super::evidence::{Right, ServiceHandle};
use super::opening::Doorway;
use super::pool::{Pool, Shelf};
use super::queue::Queue;
use super::recent::Recent;
use crate::proto::Target;
use crate::telemetry::tally::{Failure, UpstreamCounts};

/// One address of a group.
pub struct Member {
    /// Which.
    pub address: SocketAddr,
    /// What its connections are pooled by.
    pub key: Rc<str>,
    /// What the configuration calls the server, without its port.
    pub host: Rc<str>,
    /// Which member of the group this is, however often its names are looked up.
    pub(super) id: u32,
    /// A name server may change it.
    pub(super) weight: Cell<u16>,
    pub(super) name: u64,
    pub(super) dials: Dials,
    /// `None` where dials alone are judged.
    pub(super) service: Option<ServiceHandle>,
    /// What checks found, where the service is not judged otherwise.
    pub(super) checks: Option<Endpoint>,
    /// How much may go on there; 0 for as much as comes.
    pub(super) max_requests: u32,
    /// Those who wait until something has ended here.
    pub(super) queue: Rc<Queue>,
    pub(super) in_flight: Cell<u32>,
    /// Those of its group.
    pub(super) counts: Arc<UpstreamCounts>,
    pub(super) recent: Recent,
    pub(super) doorway: Doorway,
    /// Where its open connections are, once somebody has asked.
    pub(super) shelf: OnceCell<Rc<Shelf>>,
}

/// How the dials to a member go.
pub(super) enum Dials {
    /// One load to ask.
    Pinned(Endpoint),
    /// A registry of another kind, for benches.
    Asked(Arc<dyn Judge>),
}

/// Something that goes on at a member; over when it is dropped.
pub struct Busy {
    member: Rc<Member>,
    began: Instant,
    /// How long it was until there was a connection, in milliseconds.
    waited_ms: Cell<u32>,
    /// How long its first answer took to begin then, in milliseconds, rounded up; 0 before that.
    took_ms: Cell<u32>,
}

/// The members that one request has tried: the first [`TRIED_MOST`] of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    ids: [u32; TRIED_MOST],
    len: usize,
}

/// Why a member is down, and until when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Down {
    /// `None` where time alone does not bring it back.
    pub(super) retry_in: Option<Duration>,
    /// An operator took it out.
    pub(super) is_forced: bool,
}

impl Member {
    pub(super) fn dials(judge: &Arc<dyn Judge>, address: SocketAddr) -> Dials {
        match judge.registry() {
            Some(registry) => Dials::Pinned(registry.endpoint(address)),
            None => Dials::Asked(Arc::clone(judge)),
        }
    }

    /// Its connections in `pool`, which is the only one that a worker has.
    pub(super) fn shelf(&self, pool: &Pool) -> &Rc<Shelf> {
        self.shelf.get_or_init(|| pool.shelf(&self.key))
    }

    /// Whether as much goes on there as may.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.max_requests > 0 && self.in_flight.get() >= self.max_requests
    }

    /// Whether a word says down: that of its dials, of its traffic or of its checks.
    #[must_use]
    pub fn is_down(&self) -> bool {
        match (&self.dials, &self.service) {
            // It asks the same dial word.
            (Dials::Pinned(_), Some(service)) => service.is_down(),
            (dials, service) => {
                dials.is_down(&self.address)
                    || service.as_ref().is_some_and(ServiceHandle::is_down)
                    || self.checks.as_ref().is_some_and(Endpoint::is_fall_down)
            }
        }
    }

    /// Whether dials to it have failed or fallen silent of late. Reads the clock.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.dials.status(&self.address).state == State::Suspect
    }

    /// Asks to send one request there, as far as its service is concerned: a dial asks for itself.
    pub fn admit(&self) -> Option<Right> {
        match &self.service {
            Some(service) => service.admit(),
            None => Some(Right::DIALS),
        }
    }

    /// The right to send one whatever is held against it; its outcome counts.
    pub fn admit_anyway(&self) -> Right {
        let service = self.service.as_ref();
        service.map_or(Right::DIALS, ServiceHandle::admit_anyway)
    }

    /// Whether a request that a balancer would give it is to go there: less often than usual while it
    /// warms up.
    #[inline]
    #[must_use]
    pub fn takes_its_share(&self) -> bool {
        let service = self.service.as_ref();
        service.is_none_or(ServiceHandle::takes_its_share)
    }

    /// Whether it wants any requests at all, by its own account.
    #[must_use]
    pub fn wants_any(&self) -> bool {
        let service = self.service.as_ref();
        service.is_none_or(ServiceHandle::wants_any)
    }

    /// Tells how a request went that was sent by `right`, and took so long until its answer began:
    /// see [`ServiceHandle::end`].
    pub fn end(&self, right: Right, outcome: Outcome, took: Duration) {
        if let Some(failure) = failure_of(outcome) {
            self.counts.note_failure(failure);
        }
        if let Some(service) = &self.service {
            service.end(right, outcome, took);
        }
    }

    /// How its service is judged, if it is.
    #[must_use]
    pub fn service(&self) -> Option<&ServiceHandle> {
        self.service.as_ref()
    }

    /// Its number on the hash ring, the same in every process.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.name
    }

    /// Why it is down, if it is. Reads the clock.
    pub(super) fn down(&self) -> Option<Down> {
        if !self.is_down() {
            // Words may be passed over.
            return None;
        }
        let service = self.service.as_ref().map(ServiceHandle::status);
        let (traffic, checks) = service.map_or((None, None), |status| {
            // Its time says when the checks' evidence lapses: nobody waits for that.
            let checks = status.checks.and_then(Down::of).map(Down::for_good);
            (Down::of(status.service), checks)
        });
        let own = self.checks.as_ref();
        let own = own.and_then(|checks| Down::of(checks.status()));
        let checks = checks.or(own.map(Down::for_good));
        let all = [Down::of(self.dials.status(&self.address)), traffic, checks];
        all.into_iter().flatten().reduce(Down::and)
    }
}

/// A server as the configuration calls it, and its port.
#[must_use]
pub fn target_of(host: &str, port: u16) -> Option<Target> {
    match host.parse() {
        Ok(ip) => Target::parse(&SocketAddr::new(ip, port).to_string()).ok(),
        Err(_) => Target::parse(&format!("{host}:{port}")).ok(),
    }
}

/// How a request that was sent has failed, if it has by the server's fault.
fn failure_of(outcome: Outcome) -> Option<Failure> {
    let Outcome::Failed(cause) = outcome else {
        return None;
    };
    match cause {
        Cause::BadGateway | Cause::ServerError => Some(Failure::Status),
        Cause::TimedOut => Some(Failure::Timeout),
        Cause::Tls => Some(Failure::Tls),
        Cause::Malformed => Some(Failure::Malformed),
        _ => Some(Failure::Reset),
    }
}

impl Dials {
    fn is_down(&self, address: &SocketAddr) -> bool {
        match self {
            Self::Pinned(endpoint) => endpoint.is_fall_down(),
            Self::Asked(judge) => judge.is_fall_down(address),
        }
    }

    fn status(&self, address: &SocketAddr) -> Status {
        match self {
            Self::Pinned(endpoint) => endpoint.status(),
            Self::Asked(judge) => judge.status(address),
        }
    }
}

impl Down {
    fn of(status: Status) -> Option<Self> {
        let is_forced = matches!(status.state, State::ForcedDown | State::Drained);
        status.state.is_down().then_some(Self {
            retry_in: status.retry_in,
            is_forced,
        })
    }

    fn for_good(self) -> Self {
        Self {
            retry_in: None,
            ..self
        }
    }

    /// Down by two words: as long as the longer one.
    fn and(self, other: Self) -> Self {
        let both = self.retry_in.zip(other.retry_in);
        Self {
            retry_in: both.map(|(one, other)| one.max(other)),
            is_forced: self.is_forced || other.is_forced,
        }
    }
}

impl Candidate for Rc<Member> {
    fn is_down(&self) -> bool {
        Member::is_down(self)
    }

    fn weight(&self) -> u16 {
        self.weight.get()
    }

    fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    fn cost(&self) -> u64 {
        self.recent.nanos()
    }

    fn name(&self) -> u64 {
        self.name
    }
}

impl Busy {
    /// Something begins at `member`.
    pub(super) fn begin(member: &Rc<Member>) -> Self {
        member.in_flight.set(member.in_flight.get() + 1);
        member.counts.in_flight.bump();
        Self {
            member: Rc::clone(member),
            began: Instant::now(),
            waited_ms: Cell::new(0),
            took_ms: Cell::new(0),
        }
    }

    /// Where it goes on.
    #[must_use]
    pub fn member(&self) -> &Rc<Member> {
        &self.member
    }

    /// Its first answer begins `now`. How long that took.
    pub(super) fn note_answer(&self, now: Instant) -> Duration {
        let took = now.saturating_duration_since(self.began);
        if self.took_ms.get() != UNKNOWN {
            let took_ms = whole_ms(took).saturating_sub(self.waited_ms.get());
            self.took_ms.set(took_ms.saturating_add(1).min(UNKNOWN - 1));
        }
        took
    }

    /// There is a new connection now: what it took to have it is not the service's doing.
    pub(super) fn note_connection(&self) {
        self.waited_ms.set(whole_ms(self.began.elapsed()));
    }

    /// The client sends a body: how long the answer takes is its doing as well.
    pub(super) fn note_upload(&self) {
        self.took_ms.set(UNKNOWN);
    }

    /// Tells how it went; see [`Member::end`].
    pub fn end(&self, right: Right, outcome: Outcome) {
        self.member.end(right, outcome, self.took());
    }

    /// How long the server has taken to begin its answer, or takes by now; zero if nobody knows.
    pub(super) fn took(&self) -> Duration {
        let took_ms = match self.took_ms.get() {
            UNKNOWN => 0,
            0 => whole_ms(self.began.elapsed()).saturating_sub(self.waited_ms.get()),
            took_ms => took_ms,
        };
        Duration::from_millis(took_ms.into())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Member {
            in_flight,
            queue,
            counts,
            ..
        } = &*self.member;
        in_flight.set(in_flight.get().saturating_sub(1));
        counts.in_flight.drop_one();
        queue.call();
    }
}

impl std::fmt::Debug for Busy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Busy({})", self.member.address)
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Member({})", self.address)
    }
}

impl Tried {
    /// Notes that `member` was tried.
    pub fn add(&mut self, member: &Member) {
        if let Some(place) = self.ids.get_mut(self.len) {
            *place = member.id;
            self.len += 1;
        }
    }

    /// Whether it was.
    #[must_use]
    pub fn has(&self, member: &Member) -> bool {
        let ids = self.ids.iter().take(self.len);
        ids.copied().any(|id| id == member.id)
    }

    /// Whether no more can be remembered: then none is tried any more, or it would never end.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len >= TRIED_MOST
    }

    /// Forgets all: whoever has waited has everything before them.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

fn whole_ms(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// Of no answer is known how long it took.
const UNKNOWN: u32 = u32::MAX;
/// How many servers one request tries.
pub const TRIED_MOST: usize = 16;
