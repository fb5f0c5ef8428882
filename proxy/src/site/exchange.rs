//! One request: which site and route it is for, and what becomes of it.
//!
//! What can be decided at once is decided by plain functions, which change the request where it
//! lies. Only what has to wait is a future, so that what is kept while it waits is small.

mod address;
mod receive;
mod search;

use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};

use super::answer::{self, Questioner};
use super::route::{Found, Question};
use super::rules::Ready;
use super::target::Asked;
use super::upgrade;
use super::{Visit, guard, headers, rewrite};
use crate::error::Fault;
use crate::plan::site::Action;
use crate::serve::body::Reply;
use crate::serve::forwards::Forwards;
use crate::serve::headers::Seen;
use crate::serve::session::{Phase, Session};
use crate::upstream::send::{Parcel, Story};
use crate::upstream::upload::{Progress, Unread};
use address::{Addressee, Load};
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

    /// What no server is sent of a stream is read until its end, after the answer.
    fn leave(&self, body: Option<Incoming>) {
        if let Some(body) = body
            && self.has_body
            && self.version == Version::HTTP_2
        {
            self.session.unread.set(Some(Unread::Body(body)));
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
