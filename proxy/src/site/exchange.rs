//! One request: which site and route it is for, and what becomes of it.

use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};

use super::answer::{self, Questioner};
use super::route::{Found, Question};
use super::rules::{Behind, Ready};
use super::target::Asked;
use super::upgrade::{self, Switched};
use super::{Visit, forwarded, headers, key, rewrite, sticky};
use crate::error::Fault;
use crate::plan::Balance;
use crate::plan::site::Action;
use crate::plan::upstream::HttpVersion;
use crate::serve::body::Reply;
use crate::serve::headers::{self as hop, Seen};
use crate::serve::session::{Phase, Session, What};
use crate::upstream::judge::LIED;
use crate::upstream::pool::Lease;
use crate::upstream::send::{Courier, Parcel, Story};
use crate::upstream::upload::{Progress, Tape};

/// Serves one request.
pub(super) async fn serve(
    visit: Rc<Visit>,
    session: Rc<Session>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Infallible> {
    let session = &session;
    // The engine may be here before the socket has the end of the last response.
    session.note_flushed();
    session.phase.set(Phase::Busy);
    session.flow.watch.disarm();
    session.begin(|| {
        // What is not logged need not be kept.
        let uri = session.is_logged().then(|| request.uri().clone());
        What::Http(request.method().clone(), uri.unwrap_or_default())
    });
    let version = request.version();
    let has_body = !request.body().is_end_stream();
    let seen = Seen::of(request.headers());
    let has_upgrade = version == Version::HTTP_11 && seen.has(Seen::UPGRADE);
    let upgrade = has_upgrade.then(|| upgrade::asked(&request)).flatten();
    if has_upgrade && upgrade.is_none() {
        // This hop does not switch to that, so what follows is the next request.
        session.screen.borrow_mut().stay();
    }
    let mut questioner = Questioner::default();
    if seen.has(Seen::CONTENT_TYPE) {
        questioner = Questioner::of(request.headers());
    }
    let is_upgrade = upgrade.is_some();
    let is_connect = request.method() == Method::CONNECT;
    let told = Told { seen, upgrade };
    let answered = answer(&visit, session, request, told, &mut questioner).await;
    let mut response = answered.unwrap_or_else(|fault| {
        session.note_fault(&fault);
        session.has_unread.set(has_body || is_connect);
        answer::fault(&fault, &questioner, session)
    });
    if is_upgrade && !response.body().is_tunnel() {
        session.screen.borrow_mut().stay();
    }
    // Behind a body that broke off there is no next request, nor behind what asked for a tunnel.
    let upload = session.flow.upload.get();
    let is_broken = matches!(upload, Progress::Broken | Progress::TooLarge) || is_connect;
    let may_close = version != Version::HTTP_2 && !response.body().is_tunnel();
    let is_bounded = response.body().size_hint().exact().is_some();
    session
        .ends_with_it
        .set(version == Version::HTTP_10 && !is_bounded);
    if may_close && (is_broken || session.is_draining()) {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    session.note_status(response.status().as_u16());
    session.responses.set(session.responses.get() + 1);
    session.phase.set(Phase::Body);
    session.flow.watch.arm(session.terms.spans.body_idle);
    Ok(response)
}

/// What a request's fields tell, found out once.
struct Told {
    seen: Seen,
    /// What it asks to leave HTTP for.
    upgrade: Option<HeaderValue>,
}

async fn answer(
    visit: &Visit,
    session: &Rc<Session>,
    request: Request<Incoming>,
    told: Told,
    questioner: &mut Questioner,
) -> Result<Response<Reply>, Fault> {
    if request.version() == Version::HTTP_2 {
        headers::check_h2(request.headers(), session.terms.plan.limits().header_count)?;
    }
    if request.method() == Method::CONNECT {
        return Err(Fault::BadRequest("CONNECT is for proxies".into()));
    }
    let asked = Asked::read_after(&request, visit.rules.tls.is_some(), &visit.last_host)?;
    session.note_service(None, asked.authority());
    visit.check_name(&asked)?;
    let (parts, body) = request.into_parts();
    let routes = visit
        .rules
        .table
        .site(asked.host())
        .ok_or(Fault::UnknownHost)?;
    let trusted = &routes.site().trusted;
    let question = Question {
        method: &parts.method,
        asked: &asked,
        headers: &parts.headers,
        client: visit.peer.client(trusted, &parts.headers),
    };
    let of_site = || {
        let service = visit.rules.service(routes.site());
        session.note_service(service.as_ref(), asked.authority());
    };
    if !asked.is_tls()
        && let Some(to) = rewrite::tls_location(routes.site(), &asked)?
    {
        of_site();
        return Ok(answer::redirect(
            to,
            StatusCode::PERMANENT_REDIRECT,
            session,
        ));
    }
    let ready = match routes.find(&question) {
        Found::Route(ready) => ready,
        Found::NoRoute => {
            of_site();
            return Err(Fault::NoRoute);
        }
        Found::Method(allowed) => {
            of_site();
            return Ok(answer::method(&allowed, questioner, session));
        }
    };
    session.note_service(Some(&ready.service), asked.authority());
    session.flow.watch.bound(ready.request);
    session.request_time.set(ready.times.request);
    let client = question.client;
    let wish = Wish {
        visit,
        session,
        ready,
        asked: &asked,
        client,
    };
    wish.serve(parts, body, told, questioner).await
}

/// A request that has found its route.
struct Wish<'a> {
    visit: &'a Visit,
    session: &'a Rc<Session>,
    ready: &'a Ready,
    asked: &'a Asked,
    /// For whom it is.
    client: IpAddr,
}

impl Wish<'_> {
    async fn serve(
        &self,
        parts: Parts,
        body: Incoming,
        told: Told,
        questioner: &mut Questioner,
    ) -> Result<Response<Reply>, Fault> {
        let (route, session) = (&self.ready.route, self.session);
        let mut response = match (&route.action, &self.ready.behind) {
            (Action::Redirect { to, status }, _) => {
                answer::redirect(rewrite::location(to, self.asked)?, *status, session)
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
                let wanted = self.forward(behind, parts, body, told, questioner);
                return wanted.await;
            }
            (Action::Upstream(_), None) => return Err(Fault::NoRoute),
        };
        rewrite::edit(&route.response_headers, response.headers_mut());
        Ok(response)
    }

    async fn forward(
        &self,
        behind: &Behind,
        parts: Parts,
        body: Incoming,
        told: Told,
        questioner: &mut Questioner,
    ) -> Result<Response<Reply>, Fault> {
        let session = self.session;
        let sticky = behind.upstream.sticky.as_ref();
        let had = sticky.and_then(|sticky| sticky::read(sticky, &parts.headers));
        let upgrade = told.upgrade.clone();
        let parcel = self.parcel(behind, parts, body, told, had, questioner)?;
        let courier = Courier {
            dialler: &session.context.dialler,
            pool: &session.context.pool,
            group: &behind.group,
            upstream: &behind.upstream,
            secure: behind.secure.as_ref(),
            flow: &session.flow,
            times: self.ready.times,
        };
        let mut story = Story::default();
        let sent = courier.send(parcel, &mut story).await;
        self.note(&story);
        let (mut response, mut lease) = sent?;
        session.note_first_byte();
        let seen = Seen::of(response.headers());
        let is_framed = seen.has(Seen::CODING) || seen.has(Seen::LENGTH);
        if is_framed
            && let Err(reason) = headers::check_response(response.headers(), response.version())
        {
            let address = lease.address;
            lease.end(LIED);
            let reason = reason.into();
            return Err(Fault::Broken { address, reason });
        }
        let cookie = sticky.and_then(|sticky| {
            let member = lease.busy.as_ref()?.member();
            sticky::write(sticky, had, member.number())
        });
        let mut reply = if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.switch(&mut response, lease, upgrade.as_ref())?
        } else {
            self.reply(response, lease, seen)
        };
        if let Some(cookie) = cookie {
            reply
                .headers_mut()
                .append(hyper::header::SET_COOKIE, cookie);
        }
        rewrite::edit(&self.ready.route.response_headers, reply.headers_mut());
        Ok(reply)
    }

    /// What is sent to a server.
    fn parcel(
        &self,
        behind: &Behind,
        parts: Parts,
        body: Incoming,
        told: Told,
        had: Option<u64>,
        questioner: &mut Questioner,
    ) -> Result<Parcel, Fault> {
        let (route, asked, trusted) = (&self.ready.route, self.asked, &self.ready.site.trusted);
        let key = match behind.upstream.balance {
            Balance::Hash => key::of(&behind.upstream.by, self.client, asked, &parts.headers),
            _ => 0,
        };
        let Parts {
            method,
            version,
            mut headers,
            ..
        } = parts;
        let body = self.body(behind, &method, &headers, body)?;
        let is_trusted = self.visit.peer.is_in(trusted);
        hop::to_server(&mut headers, version, told.seen);
        self.visit.peer.announce(trusted, asked, &mut headers);
        let id = forwarded::request_id(
            &mut headers,
            is_trusted,
            &mut self.visit.random.borrow_mut(),
        );
        self.session.note_request_id(&id);
        questioner.id = Some(id);
        if version == Version::HTTP_2 {
            headers::join_cookies(&mut headers);
            if body.is_some() && !headers.contains_key(CONTENT_LENGTH) {
                // The engine sends no body with a GET unless it is told to.
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
        let host = route.rewrite.host.as_ref().or(asked.authority());
        let host = host.or(behind.host.as_ref());
        if let Some(host) = host
            && (version == Version::HTTP_2 || headers.get(HOST) != Some(host))
        {
            headers.insert(HOST, host.clone());
        }
        let is_upgrade = told.upgrade.is_some();
        if let Some(upgrade) = told.upgrade {
            upgrade::write(&mut headers, upgrade);
        }
        rewrite::edit(&route.request_headers, &mut headers);
        Ok(Parcel {
            path: rewrite::target(&route.rewrite, asked.target())?,
            method,
            headers,
            body,
            key,
            sticky: had,
            is_upgrade,
        })
    }

    fn body(
        &self,
        behind: &Behind,
        method: &Method,
        headers: &hyper::HeaderMap,
        body: Incoming,
    ) -> Result<Option<Rc<Tape>>, Fault> {
        if body.is_end_stream() {
            return Ok(None);
        }
        let limit = self.ready.route.body_limit;
        let said = headers.get(CONTENT_LENGTH);
        let said = said.and_then(|said| said.to_str().ok()?.parse::<u64>().ok());
        if said.zip(limit).is_some_and(|(said, limit)| said > limit) {
            return Err(Fault::TooLarge);
        }
        let retries = &behind.upstream.retries;
        let is_repeatable = method.is_idempotent() || retries.non_idempotent;
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
        Ok(Some(Tape::new(body, room, limit)))
    }

    fn note(&self, story: &Story) {
        let session = self.session;
        match story.address {
            Some(address) if story.is_pooled => {
                session.context.counters.reused.bump();
                session.note_address(address, "pooled");
            }
            Some(address) => session.note_dialled(address, story.effort),
            None => {}
        }
        session.note_tries(story.tries);
    }

    fn reply(&self, response: Response<Incoming>, lease: Lease, seen: Seen) -> Response<Reply> {
        let (mut parts, body) = response.into_parts();
        hop::strip_seen(&mut parts.headers, parts.version, seen);
        // Which version the server speaks is nobody's business.
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        Response::from_parts(parts, Reply::origin(body, lease, self.session))
    }

    /// The client's connection becomes a tunnel to the server's, if the client has asked for it.
    fn switch(
        &self,
        response: &mut Response<Incoming>,
        mut lease: Lease,
        upgrade: Option<&HeaderValue>,
    ) -> Result<Response<Reply>, Fault> {
        let said = response.headers().get(UPGRADE).cloned();
        let is_asked = |said: &HeaderValue| {
            let asked = upgrade.map(HeaderValue::as_bytes);
            asked.is_some_and(|asked| said.as_bytes().eq_ignore_ascii_case(asked))
        };
        let Some(said) = said.filter(is_asked) else {
            let address = lease.address;
            lease.end(LIED);
            let reason = "it switched to a protocol that nobody asked for".into();
            return Err(Fault::Broken { address, reason });
        };
        lease.end(risefall::Outcome::Success);
        let switched = Switched::new(response, lease, self.ready.idle);
        let session = self.session;
        session.screen.borrow_mut().tunnel();
        session.has_left.set(true);
        self.visit.switched.set(Some(switched));
        let mut reply = Response::new(Reply::tunnel());
        *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = reply.headers_mut();
        *headers = std::mem::take(response.headers_mut());
        hop::strip(headers, Version::HTTP_11);
        upgrade::write(headers, said);
        Ok(reply)
    }
}
