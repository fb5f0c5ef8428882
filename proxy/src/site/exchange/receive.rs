//! What a server has answered, as its client gets it.

use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderValue, SET_COOKIE, UPGRADE};
use hyper::{Response, StatusCode, Version};

use super::{Addressee, Exchange};
use crate::error::{Breach, Fault};
use crate::serve::body::Reply;
use crate::serve::headers::{self as hop, Seen};
use crate::site::rules::Ready;
use crate::site::upgrade::{self, Switched};
use crate::site::{headers, rewrite, sticky};
use crate::upstream::judge::MALFORMED;
use crate::upstream::pool::Lease;
use crate::upstream::send::{Answer, Story};
use crate::upstream::upload::trim_values;

impl Exchange<'_> {
    /// Makes the client's response of what a server has answered.
    pub(super) fn receive(
        &self,
        to: &Addressee<'_>,
        sent: Result<(), Fault>,
        answer: Option<Answer>,
        mut story: Story,
    ) -> Result<Response<Reply>, Fault> {
        let Some(Answer {
            response,
            mut lease,
        }) = answer
        else {
            self.note(&story);
            sent?;
            return Err(Fault::Cut("the answer is lost"));
        };
        if sent.is_err() {
            // What was to better it has failed.
            story.address = Some(lease.address);
        }
        self.note(&story);
        self.session.note_first_byte();
        let (mut parts, body) = response.into_parts();
        let seen = Seen::known(&parts.headers);
        let framed = match seen {
            _ if seen.has(Seen::CODING) => headers::check_response(&parts.headers, parts.version),
            _ if seen.has(Seen::LENGTH) => headers::check_length(&parts.headers),
            _ => Ok(()),
        };
        if let Err(reason) = framed {
            let address = lease.address;
            lease.end(MALFORMED);
            let (how, reason) = (Breach::Protocol, reason.into());
            return Err(Fault::Broken {
                address,
                how,
                reason,
            });
        }
        let cookie = to.behind.upstream.sticky.as_ref().and_then(|sticky| {
            let member = lease.busy.as_ref()?.member();
            let is_tls = to.asked.is_tls();
            sticky::write(sticky, self.had, member.number(), is_tls)
        });
        let mut reply = if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            self.switch(to.ready, Response::from_parts(parts, body), lease)?
        } else {
            hop::strip_seen(&mut parts.headers, parts.version, seen);
            if parts.version == Version::HTTP_2 {
                trim_values(&mut parts.headers);
            }
            if parts.status == StatusCode::NO_CONTENT && seen.has(Seen::LENGTH) {
                // It has no body, whatever is said of one (RFC 9110 §8.6); by HTTP/2 that is an
                // error of the stream.
                parts.headers.remove(CONTENT_LENGTH);
            }
            // Which version the server speaks is nobody's business.
            parts.version = Version::HTTP_11;
            hop::keep_reason(&mut parts);
            Response::from_parts(parts, Reply::origin(body, lease, self.session))
        };
        if let Some(cookie) = cookie {
            reply.headers_mut().append(SET_COOKIE, cookie);
        }
        rewrite::edit(&to.ready.route.response_headers, reply.headers_mut());
        Ok(reply)
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

    /// The client's connection becomes a tunnel to the server's, if the client has asked for it.
    fn switch(
        &self,
        ready: &Ready,
        mut response: Response<Incoming>,
        mut lease: Lease,
    ) -> Result<Response<Reply>, Fault> {
        let said = response.headers().get(UPGRADE).cloned();
        let is_asked = |said: &HeaderValue| {
            let asked = self.upgrade.as_ref().map(HeaderValue::as_bytes);
            asked.is_some_and(|asked| said.as_bytes().eq_ignore_ascii_case(asked))
        };
        let Some(said) = said.filter(is_asked) else {
            let address = lease.address;
            lease.end(MALFORMED);
            let how = Breach::Upgrade;
            let reason = "it switched to a protocol that nobody asked for".into();
            return Err(Fault::Broken {
                address,
                how,
                reason,
            });
        };
        lease.end(risefall::Outcome::Success);
        let switched = Switched::new(&mut response, lease, ready.idle);
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
