//! A request to a group of servers: which one, over which connection, and what if that fails.
//!
//! A server is chosen, an open connection to it is taken or a new one dialled, and the request sent.
//! What fails before a byte of the request has left costs the client nothing: the next server is
//! tried. What fails behind that is tried again only if the method is idempotent or the operator
//! allows it (RFC 9110 §9.2.2), the body is still here, and the group's budget has room. Each end is
//! told to the server's evidence; a client that leaves is none.

mod attempt;
mod open;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Response};

use self::attempt::Lost;
use self::open::Line;
use crate::error::{Breach, Fault, Side};
use crate::net::ticks::Span;
use crate::plan::Upstream;
use crate::upstream::dial::{Dialler, Effort};
use crate::upstream::group::Group;
use crate::upstream::letter::Letter;
use crate::upstream::member::Tried;
use crate::upstream::members::Members;
use crate::upstream::pool::{Lease, Pool};
use crate::upstream::secure::Secure;
use crate::upstream::upload::{Flow, Progress, Tape};

/// What the requests of one exchange are sent by.
pub struct Courier<'a> {
    /// Opens connections.
    pub dialler: &'a Dialler,
    /// Keeps them.
    pub pool: &'a Pool,
    /// Who is asked.
    pub group: &'a Rc<Group>,
    /// How they are asked.
    pub upstream: &'a Upstream,
    /// By what TLS, if by any.
    pub secure: Option<&'a Secure>,
    /// The exchange's deadline and bodies.
    pub flow: &'a Rc<Flow>,
    /// How long it may take.
    pub times: Times,
}

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From the last byte of the request to the head of the answer.
    pub answer: (Span, Duration),
    /// How long a body may stand still.
    pub body_idle: (Span, Duration),
    /// In all, if that is bounded.
    pub request: Option<Duration>,
}

/// A request that is to be sent.
pub struct Parcel<'p> {
    /// Its method, and the fields that the client has sent.
    pub parts: &'p mut Parts,
    /// Makes of these the ones that a server is sent, as for HTTP/1.1; `Host` among them. Asked for
    /// each time it is sent, since they are fewer to be kept before.
    pub dress: &'p dyn Fn(&mut HeaderMap),
    /// Its path and query.
    pub path: &'p PathAndQuery,
    /// Its body, if it has one.
    pub body: Option<Rc<Tape>>,
    /// What a server is chosen by.
    pub key: u64,
    /// The server that the client had last, if it says so.
    pub sticky: Option<u64>,
    /// Whether it asks to leave HTTP.
    pub is_upgrade: bool,
}

/// What a server has answered, and the connection by which the rest of it comes.
pub struct Answer {
    /// The answer.
    pub response: Response<Incoming>,
    /// The connection.
    pub lease: Lease,
}

/// What became of a request on its way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Story {
    /// Whom it was sent to last, or who was dialled for it.
    pub address: Option<SocketAddr>,
    /// What the last dial took.
    pub effort: Effort,
    /// Whether an open connection was used.
    pub is_pooled: bool,
    /// How many times it was sent.
    pub tries: u32,
    /// How many of these were retries: of what a server may have had, and paid for. Another
    /// connection in place of one that was closed is none.
    pub retries: u32,
}

impl Courier<'_> {
    /// Sends the request to a server, to another if that fails and it may be. The `answer` is put
    /// where it is to lie; one that another was to better stays there if that one fails.
    ///
    /// # Errors
    ///
    /// What went wrong at last.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the request up; no server is blamed for that.
    pub async fn send(
        &self,
        parcel: Parcel<'_>,
        story: &mut Story,
        answer: &mut Option<Answer>,
    ) -> Result<(), Fault> {
        let resolver = self.dialler.resolver();
        let members = match self.group.known(resolver) {
            Some(known) => known,
            // What hardly a request needs is in a box, or each would carry the room for it.
            None => Box::pin(self.in_time(self.group.members(resolver))).await?,
        };
        let mut sticky = parcel.sticky;
        let mut letter = Letter::new(parcel, self.upstream);
        let mut tried = Tried::default();
        let mut last = None;
        let mut line = Line::default();
        self.group.budget().deposit(self.flow.watch.clock());
        self.group.counts().requests.bump();
        loop {
            let past = line.past(last.is_some());
            let chosen = match self.choose(&members, letter.key, sticky.take(), &tried, past) {
                Some(chosen) => chosen,
                None => {
                    // What it waits for is another beginning.
                    last = None;
                    Box::pin(self.wait(letter.key, &mut tried, &mut line)).await
                }
            };
            let chosen = match (chosen, last) {
                (Ok(chosen), _) => chosen,
                // What went wrong first says more than that nobody is left.
                (Err(_), Some(fault)) | (Err(fault), None) => return Err(fault),
            };
            tried.add(chosen.member());
            let leased = match self.open(&members, chosen, &mut tried, &letter, story) {
                Ok(lease) => Ok(lease),
                Err(chosen) => {
                    let dial = self.dial(&members, chosen, &mut tried, &letter, story);
                    Box::pin(dial).await
                }
            };
            let lease = match leased {
                Ok(lease) => lease,
                Err(fault) if self.is_final(&fault, &members, &tried, &line) => return Err(fault),
                Err(fault) => {
                    last = Some(fault);
                    continue;
                }
            };
            last = match self.try_on(lease, &mut letter, story, answer).await {
                Ok(()) => {
                    line.is_sent = true;
                    let is_left = || members.has_others(&tried);
                    let better = self.may_better(answer, &letter, story, is_left);
                    if better.is_none() {
                        return Ok(());
                    }
                    better
                }
                Err(lost) => {
                    line.is_sent |= matches!(lost, Lost::Sent(_));
                    let may = self.may_go_on(&lost, &members, &tried, &letter, story, &line);
                    let (Lost::Unsent(fault) | Lost::Sent(fault)) = lost;
                    if !may {
                        return Err(fault);
                    }
                    Some(fault)
                }
            };
        }
    }

    /// Whether no other server is tried after one that could not be reached.
    fn is_final(&self, fault: &Fault, members: &Members, tried: &Tried, line: &Line) -> bool {
        let is_last = || tried.is_full() && !self.may_wait(members, line.past(true));
        fault.side() == Side::Us || self.flow.watch.is_over() || is_last()
    }

    /// Whether another server is tried after one was `lost`; if so, that is paid for.
    fn may_go_on(
        &self,
        lost: &Lost,
        members: &Members,
        tried: &Tried,
        letter: &Letter<'_>,
        story: &mut Story,
        line: &Line,
    ) -> bool {
        match lost {
            Lost::Unsent(_) => {
                self.may_write_again(story)
                    && (!tried.is_full() || self.may_wait(members, line.past(true)))
            }
            Lost::Sent(fault) => {
                self.may_try_again(fault, letter, story, || members.has_others(tried))
            }
        }
    }

    /// Whether another server is asked although there is an answer, because of its status; if so,
    /// why. The answer is kept meanwhile.
    fn may_better(
        &self,
        answer: &mut Option<Answer>,
        letter: &Letter<'_>,
        story: &mut Story,
        is_left: impl Fn() -> bool,
    ) -> Option<Fault> {
        let Answer { response, lease } = answer.as_ref()?;
        let status = response.status();
        let is_meant = self.upstream.retries.statuses.contains(&status);
        if !is_meant || !self.may_repeat(letter, story, is_left) {
            return None;
        }
        let address = lease.address;
        if self.flow.upload.get() != Progress::Whole {
            // One that came before all of the request did breaks as that goes elsewhere.
            *answer = None;
        }
        let reason = format!("it answered {status}").into();
        let how = Breach::Incomplete;
        Some(Fault::Broken {
            address,
            how,
            reason,
        })
    }

    fn may_try_again(
        &self,
        fault: &Fault,
        letter: &Letter<'_>,
        story: &mut Story,
        is_left: impl Fn() -> bool,
    ) -> bool {
        let is_servers = matches!(fault, Fault::Broken { .. } | Fault::HeadTimedOut { .. });
        is_servers && self.may_repeat(letter, story, is_left)
    }

    /// A server that has had nothing of the request has done nothing: that is no second try, and
    /// costs what a dial that fails costs. Bounded all the same.
    fn may_write_again(&self, story: &Story) -> bool {
        story.tries < UNSENT_MOST && !self.flow.watch.is_over()
    }

    /// Whether another try is allowed; if so, it is paid for. Not where no server `is_left` that has
    /// not had the request: that would be none.
    fn may_repeat(
        &self,
        letter: &Letter<'_>,
        story: &mut Story,
        is_left: impl Fn() -> bool,
    ) -> bool {
        let may = story.retries < u32::from(self.upstream.retries.attempts)
            && story.tries < UNSENT_MOST
            && letter.may_be_repeated()
            && !self.flow.watch.is_over()
            && is_left()
            && self.may_pay();
        story.retries += u32::from(may);
        may
    }

    /// Whether the budget has room for another try; if so, that is one.
    fn may_pay(&self) -> bool {
        let counts = self.group.counts();
        let may = self.group.budget().withdraw(self.flow.watch.clock());
        match may {
            true => counts.retries.bump(),
            false => counts.retries_refused.bump(),
        }
        may
    }

    pub(super) fn overlong(&self) -> Fault {
        Fault::Overlong {
            what: "request",
            after: self.times.request.unwrap_or_default(),
        }
    }

    /// What has deadlines of its own may have a shorter one.
    pub(super) async fn in_time<T>(
        &self,
        future: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        if self.times.request.is_none() {
            return future.await;
        }
        match self.flow.watch.guard(future).await {
            Some(done) => done,
            None => Err(self.overlong()),
        }
    }
}

/// How often one request may be written to connections that turn out to be closed.
const UNSENT_MOST: u32 = 16;
