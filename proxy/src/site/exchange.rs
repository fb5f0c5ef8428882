//! One request: which site and route it is for, and what becomes of it.
//!
//! What can be decided at once is decided by plain functions, which change the request where it
//! lies. Only what has to wait is a future, so that what is kept while it waits is small.

mod receive;
mod search;

use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};

use super::answer::{self, Questioner};
use super::forwarded::RequestId;
use super::route::{Found, Question};
use super::rules::{Behind, Ready};
use super::target::Asked;
use super::upgrade;
use super::{Visit, forwarded, guard, headers, key, rewrite, sticky};
use crate::error::Fault;
use crate::plan::Balance;
use crate::plan::site::Action;
use crate::plan::upstream::HttpVersion;
use crate::serve::body::Reply;
use crate::serve::forwards::Forwards;
use crate::serve::headers::{self as hop, Seen};
use crate::serve::session::{Phase, Session};
use crate::upstream::send::{Courier, Parcel, Story};
use crate::upstream::upload::{Progress, Tape, Unread};
use search::Search;

/// Serves one request.
pub(super) fn serve(
    visit: Rc<Visit>,
    session: Rc<Session>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Reply>, Infallible>> {
    // Taken apart before the future begins, which else would have room for both.
    let (mut parts, body) = request.into_parts();
    let mut body = Some(body);
    async move {
        let mut exchange = Exchange::begin(&visit, &session, &parts, body.as_ref());
        let decided = exchange.decide(&parts, &mut body);
        exchange.leave(body);
        let (to, load) = match decided {
            Ok(Decision::Send(to, load)) => (to, load),
            Ok(Decision::Answer(response)) => return Ok(exchange.end(response)),
            Ok(Decision::Wait(search)) => {
                // In a box: hardly any request has to wait for a disk.
                let found = Box::pin(exchange.search(&parts.method, &parts.headers, search));
                return Ok(exchange.end(found.await));
            }
            Err(fault) => return Ok(exchange.end(exchange.refuse(&fault))),
        };
        let dress = |headers: &mut HeaderMap| exchange.dress(&to, headers);
        let parcel = Parcel {
            parts: &mut parts,
            dress: &dress,
            path: to.path.as_ref().unwrap_or(to.asked.target()),
            body: load.body,
            key: load.key,
            sticky: exchange.had,
            is_upgrade: exchange.upgrade.is_some(),
        };
        let (mut story, mut answer) = (Story::default(), None);
        let courier = exchange.courier(&to);
        let sent = courier.send(parcel, &mut story, &mut answer).await;
        let received = exchange.receive(&to, sent, answer, story);
        Ok(exchange.end(received.unwrap_or_else(|fault| exchange.refuse(&fault))))
    }
}

/// One request, and what is found out about it by and by.
struct Exchange<'a> {
    visit: &'a Visit,
    session: &'a Rc<Session>,
    version: Version,
    /// Which fields the client has sent.
    seen: Seen,
    has_body: bool,
    is_connect: bool,
    is_head: bool,
    /// What it asks to leave HTTP for.
    upgrade: Option<HeaderValue>,
    questioner: Questioner,
    /// The server that the client had last, if it says so.
    had: Option<u64>,
    forwards: Forwards,
}

/// What becomes of a request.
enum Decision<'a> {
    /// It has its answer.
    Answer(Response<Reply>),
    /// A server is asked.
    Send(Addressee<'a>, Load),
    /// A file is looked for.
    Wait(Box<Search<'a>>),
}

/// Who is asked, and for what.
struct Addressee<'a> {
    ready: &'a Ready,
    behind: &'a Behind,
    asked: Asked,
    /// What the server is asked for, if it is not what the client asks for.
    path: Option<PathAndQuery>,
    /// Whether the client has said its host in a field, and nothing takes that away.
    is_host_said: bool,
}

/// What is sent beside the head.
struct Load {
    body: Option<Rc<Tape>>,
    /// What a server is chosen by.
    key: u64,
}

impl<'a> Exchange<'a> {
    fn begin(
        visit: &'a Visit,
        session: &'a Rc<Session>,
        parts: &Parts,
        body: Option<&Incoming>,
    ) -> Self {
        // The engine may be here before the socket has the end of the last response.
        session.note_flushed();
        session.phase.set(Phase::Busy);
        session.flow.watch.disarm();
        session.begin_http(&parts.method, &parts.uri);
        let version = parts.version;
        let seen = Seen::of(&parts.headers);
        let has_body = body.is_some_and(|body| !body.is_end_stream());
        let has_upgrade = version == Version::HTTP_11 && seen.has(Seen::UPGRADE);
        let upgrade = match has_upgrade && !has_body {
            true => upgrade::asked(&parts.headers),
            false => None,
        };
        if has_upgrade && upgrade.is_none() {
            // This hop does not switch to that, so what follows is the next request.
            session.screen.borrow_mut().stay();
        }
        let mut questioner = Questioner::default();
        if seen.has(Seen::CONTENT_TYPE) {
            questioner = Questioner::of(&parts.headers);
        }
        Self {
            visit,
            session,
            version,
            seen,
            has_body,
            is_connect: parts.method == Method::CONNECT,
            is_head: parts.method == Method::HEAD,
            upgrade,
            questioner,
            had: None,
            forwards: Forwards::Unbounded,
        }
    }

    /// Finds the request's route, and what that has in store for it.
    ///
    /// The body is taken by what sends it on, and left by everything else.
    fn decide(
        &mut self,
        parts: &Parts,
        body: &mut Option<Incoming>,
    ) -> Result<Decision<'a>, Fault> {
        let (visit, session) = (self.visit, self.session);
        if self.version == Version::HTTP_2 {
            let count = session.terms.plan.limits().header_count;
            headers::check_h2_seen(&parts.headers, self.seen, count)?;
        }
        if self.is_connect {
            return Err(Fault::BadRequest("CONNECT is for proxies".into()));
        }
        let asked = Asked::of(parts, visit.rules.tls.is_some(), &visit.last_host)?;
        session.note_service(None, asked.authority());
        visit.check_name(&asked)?;
        let routes = visit
            .rules
            .table
            .site(asked.host())
            .ok_or(Fault::UnknownHost)?;
        let question = Question {
            method: &parts.method,
            asked: &asked,
            headers: &parts.headers,
            client: visit.peer.client(&routes.site().trusted, &parts.headers),
        };
        let of_site = || {
            let service = visit.rules.service(routes.site());
            session.note_service(service.as_ref(), asked.authority());
        };
        if !asked.is_tls()
            && let Some(to) = rewrite::tls_location(routes.site(), &asked)?
        {
            of_site();
            let response = answer::redirect(to, StatusCode::PERMANENT_REDIRECT, session);
            return Ok(Decision::Answer(response));
        }
        let ready = match routes.find(&question) {
            Found::Route(ready) => ready,
            Found::NoRoute => {
                of_site();
                return Err(Fault::NoRoute);
            }
            Found::Method(allowed) => {
                of_site();
                let response = answer::method(&allowed, &self.questioner, session);
                return Ok(Decision::Answer(response));
            }
        };
        let client = question.client;
        session.note_service(Some(&ready.service), asked.authority());
        session.flow.watch.bound(ready.request);
        session.request_time.set(ready.times.request);
        if let Some(response) = self.guard(ready, parts) {
            return Ok(Decision::Answer(response));
        }
        self.act(ready, asked, client, parts, body)
    }

    /// Asks who it is, where the route is for users; `None` if that is known, or need not be.
    fn guard(&self, ready: &Ready, parts: &Parts) -> Option<Response<Reply>> {
        let (users, folder) = (&ready.route.users, ready.folder.as_deref());
        let (method, headers) = (&parts.method, &parts.headers);
        if users.is_empty() {
            return None;
        }
        if folder.is_some_and(|folder| folder.answers_preflight(method, headers)) {
            return None;
        }
        if let Some(user) = guard::user(users, headers) {
            self.session.note_user(user);
            return None;
        }
        let mut response = answer::who(ready.site.name(), &self.questioner, self.session);
        if let Some(folder) = folder {
            folder.allow_origin(method, headers, &mut response);
        }
        Some(response)
    }

    /// Does what the route says.
    fn act(
        &mut self,
        ready: &'a Ready,
        asked: Asked,
        client: IpAddr,
        parts: &Parts,
        body: &mut Option<Incoming>,
    ) -> Result<Decision<'a>, Fault> {
        let (route, session) = (&ready.route, self.session);
        let mut response = match (&route.action, &ready.behind) {
            (Action::Redirect { to, status }, _) => {
                answer::redirect(rewrite::location(to, &asked)?, *status, session)
            }
            (
                Action::Respond {
                    status,
                    body,
                    content_type,
                },
                _,
            ) => answer::fixed(*status, body, content_type, session),
            (Action::Upstream(_), Some(behind)) => {
                return self.address((ready, behind), asked, client, parts, body);
            }
            (Action::Files(_), _) => return self.show(ready, asked, parts),
            (Action::Upstream(_), None) => return Err(Fault::NoRoute),
        };
        rewrite::edit(&route.response_headers, response.headers_mut());
        Ok(Decision::Answer(response))
    }

    /// Finds out what is sent to a server.
    fn address(
        &mut self,
        (ready, behind): (&'a Ready, &'a Behind),
        asked: Asked,
        client: IpAddr,
        parts: &Parts,
        body: &mut Option<Incoming>,
    ) -> Result<Decision<'a>, Fault> {
        let headers = &parts.headers;
        self.forwards = Forwards::of(&parts.method, headers)?;
        if self.forwards == Forwards::Over {
            let response = answer::unsent(&parts.method, &self.questioner, self.session);
            return Ok(Decision::Answer(response));
        }
        let sticky = behind.upstream.sticky.as_ref();
        self.had = sticky.and_then(|sticky| sticky::read(sticky, headers));
        let key = match behind.upstream.balance {
            Balance::Hash => key::of(&behind.upstream.by, client, &asked, headers),
            _ => 0,
        };
        let body = self.body(ready, behind, parts, body)?;
        let path = rewrite::target(&ready.route.rewrite, asked.target())?;
        let is_trusted = self.visit.peer.is_in(&ready.site.trusted);
        // What `Connection` names was for this hop alone.
        let is_kept = is_trusted && !hop::names(headers, self.seen, &forwarded::X_REQUEST_ID);
        let id = RequestId::of(headers, is_kept, &mut self.visit.random.borrow_mut());
        self.session.note_request_id(|| id.as_str());
        self.questioner.id = Some(id);
        // Where the target has no host, it was read from the field.
        let is_host_said = self.seen.has(Seen::HOST)
            && !self.seen.has(Seen::CONNECTION)
            && asked.is_authority_as_said()
            && parts.uri.authority().is_none();
        let to = Addressee {
            ready,
            behind,
            asked,
            path,
            is_host_said,
        };
        Ok(Decision::Send(to, Load { body, key }))
    }

    /// Makes a client's fields those of a request of ours.
    fn dress(&self, to: &Addressee<'_>, headers: &mut HeaderMap) {
        let (route, asked, trusted) = (&to.ready.route, &to.asked, &to.ready.site.trusted);
        // At once, where the engine has made no room for more than there was.
        headers.reserve(OWN_FIELDS);
        hop::to_server(headers, self.version, self.seen);
        let peer = &self.visit.peer;
        peer.announce_seen(trusted, asked, self.seen, headers);
        if let Some(id) = &self.questioner.id {
            id.write(headers);
        }
        if self.version == Version::HTTP_2 {
            headers::join_cookies(headers);
            if self.has_body && !self.seen.has(Seen::LENGTH) {
                // The engine sends no body with a GET unless it is told to.
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
        let own = route.rewrite.host.as_ref();
        let host = own.or(asked.authority()).or(to.behind.host.as_ref());
        if let Some(host) = host
            && (own.is_some() || !to.is_host_said)
        {
            headers.insert(HOST, host.clone());
        }
        self.forwards.write(headers);
        if let Some(upgrade) = &self.upgrade {
            upgrade::write(headers, upgrade.clone());
        }
        if !route.users.is_empty() {
            // It was meant for this proxy.
            headers.remove(AUTHORIZATION);
        }
        rewrite::edit(&route.request_headers, headers);
    }

    fn body(
        &self,
        ready: &Ready,
        behind: &Behind,
        parts: &Parts,
        body: &mut Option<Incoming>,
    ) -> Result<Option<Rc<Tape>>, Fault> {
        if !self.has_body {
            return Ok(None);
        }
        let limit = ready.route.body_limit;
        let said = parts.headers.get(CONTENT_LENGTH);
        let said = said.and_then(|said| said.to_str().ok()?.parse::<u64>().ok());
        if said.zip(limit).is_some_and(|(said, limit)| said > limit) {
            return Err(Fault::TooLarge);
        }
        let retries = &behind.upstream.retries;
        let is_repeatable = parts.method.is_idempotent() || retries.non_idempotent;
        let may_retry = is_repeatable && retries.attempts > 0;
        // By HTTP/2 a server can send back what it has not begun.
        let may_come_back = match behind.upstream.http {
            HttpVersion::H1 => false,
            HttpVersion::H2 => true,
            HttpVersion::Auto => behind.secure.is_some(),
        };
        let room = if may_retry || may_come_back {
            retries.body_bytes
        } else {
            0
        };
        let tape = body.take().map(|body| Tape::new(body, room, limit));
        if self.version == Version::HTTP_2
            && let Some(tape) = &tape
        {
            self.session.unread.set(Some(Unread::Tape(Rc::clone(tape))));
        }
        Ok(tape)
    }

    /// What no server is sent of a stream is read until its end, after the answer.
    fn leave(&self, body: Option<Incoming>) {
        if let Some(body) = body
            && self.has_body
            && self.version == Version::HTTP_2
        {
            self.session.unread.set(Some(Unread::Body(body)));
        }
    }

    fn courier(&self, to: &Addressee<'a>) -> Courier<'a> {
        let (session, behind) = (self.session, to.behind);
        Courier {
            dialler: &session.context.dialler,
            pool: &session.context.pool,
            group: &behind.group,
            upstream: &behind.upstream,
            secure: behind.secure.as_ref(),
            flow: &session.flow,
            times: to.ready.times,
        }
    }

    /// Tells the client why there is no other response.
    fn refuse(&self, fault: &Fault) -> Response<Reply> {
        let session = self.session;
        session.note_fault(fault);
        session.has_unread.set(self.has_body || self.is_connect);
        answer::fault(fault, &self.questioner, session)
    }

    /// Hands the response to the engine.
    fn end(&self, mut response: Response<Reply>) -> Response<Reply> {
        let session = self.session;
        let is_tunnel = response.body().is_tunnel();
        // By HTTP/2 the engine would send it, which ends the stream in an error (RFC 9113 §8.1.1).
        if self.is_head
            && let Some(len) = response.body_mut().without_text()
        {
            response.headers_mut().insert(CONTENT_LENGTH, len.into());
        }
        if self.upgrade.is_some() && !is_tunnel {
            session.screen.borrow_mut().stay();
        }
        // Behind a body that broke off there is no next request, nor behind what asked for a tunnel.
        let upload = session.flow.upload.get();
        let is_broken = matches!(upload, Progress::Broken | Progress::TooLarge) || self.is_connect;
        // The engine closes behind an answer to what has not come whole (RFC 9112 §9.6).
        let is_early = self.has_body && {
            let screen = session.screen.borrow();
            // Of this request: what has begun behind it may be another.
            screen.is_in_body() && screen.heads() == session.responses.get() + 1
        };
        let may_close = self.version != Version::HTTP_2 && !is_tunnel;
        session
            .ends_with_it
            .set(self.version == Version::HTTP_10 && response.body().size_hint().exact().is_none());
        if may_close && (is_broken || is_early || session.is_draining()) {
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        session.note_status(response.status().as_u16());
        session.responses.set(session.responses.get() + 1);
        session.phase.set(Phase::Body);
        session.flow.watch.arm(session.terms.spans.body_idle);
        response
    }
}

/// Fields that are added to a request, most of the time.
const OWN_FIELDS: usize = 6;
