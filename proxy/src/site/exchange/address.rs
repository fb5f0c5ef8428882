//! A request that a server answers: which upstream is asked, and what it is sent.

use std::net::IpAddr;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Version};

use super::{Decision, Exchange};
use crate::error::Fault;
use crate::plan::Balance;
use crate::plan::upstream::HttpVersion;
use crate::serve::forwards::Forwards;
use crate::serve::headers::{self as hop, Seen};
use crate::site::forwarded::{self, RequestId};
use crate::site::rules::{Behind, Ready};
use crate::site::target::Asked;
use crate::site::{answer, headers, key, rewrite, sticky, upgrade};
use crate::upstream::send::Courier;
use crate::upstream::upload::{Tape, Unread};

/// Who is asked, and for what.
pub(super) struct Addressee<'a> {
    pub(super) ready: &'a Ready,
    pub(super) behind: &'a Behind,
    pub(super) asked: Asked,
    /// What the server is asked for, if it is not what the client asks for.
    pub(super) path: Option<PathAndQuery>,
    /// Whether the client has said its host in a field, and nothing takes that away.
    is_host_said: bool,
}

/// What is sent beside the head.
pub(super) struct Load {
    pub(super) body: Option<Rc<Tape>>,
    /// What a server is chosen by.
    pub(super) key: u64,
}

impl<'a> Exchange<'a> {
    /// Finds out what is sent to a server.
    pub(super) fn address(
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
            let allowed = &ready.route.matches().methods;
            let (method, asked) = (&parts.method, &self.questioner);
            let response = answer::unsent(method, allowed, asked, self.session);
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
    pub(super) fn dress(&self, to: &Addressee<'_>, headers: &mut HeaderMap) {
        let (route, asked, trusted) = (&to.ready.route, &to.asked, &to.ready.site.trusted);
        // At once, where the engine has made no room for more than there was.
        headers.reserve(OWN_FIELDS);
        self.forwards.write(headers);
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

    pub(super) fn courier(&self, to: &Addressee<'a>) -> Courier<'a> {
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
}

/// Fields that are added to a request, most of the time.
const OWN_FIELDS: usize = 6;
