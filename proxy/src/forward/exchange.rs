//! One HTTP request: answered here, sent to its origin, or made into a tunnel.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, PathAndQuery};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};

use crate::error::{Breach, Fault};
use crate::forward::Visit;
use crate::net::stream::Stream;
use crate::proto::Target;
use crate::serve::body::Reply;
use crate::serve::forwards::Forwards;
use crate::serve::session::{Phase, Session};
use crate::serve::{answer, headers};
use crate::upstream::dial::Dialled;
use crate::upstream::group::Group;
use crate::upstream::judge::broken;
use crate::upstream::pool::Lease;
use crate::upstream::upload::{Progress, Upload};

/// Serves one request.
pub(super) async fn serve(
    visit: Rc<Visit>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Infallible> {
    let session = &visit.session;
    // The engine may be here before the socket has the end of the last response.
    session.note_flushed();
    session.phase.set(Phase::Busy);
    session.flow.watch.disarm();
    session.begin_http(request.method(), request.uri());
    session.flow.watch.bound(session.terms.spans.request);
    let is_connect = request.method() == Method::CONNECT;
    let has_body = !request.body().is_end_stream();
    let answered = match request.method() {
        &Method::CONNECT => connect(&visit, &request).await,
        _ => {
            if request.headers().contains_key(UPGRADE) && request.version() == Version::HTTP_11 {
                // This hop never switches, so what follows is the next request.
                session.screen.borrow_mut().stay();
            }
            forward(&visit, request).await
        }
    };
    let mut response = answered.unwrap_or_else(|fault| {
        session.note_fault(&fault);
        session.has_unread.set(has_body || is_connect);
        answer::fault(&fault, session)
    });
    // Bytes for a tunnel that never was may be on their way still, and whoever chose them (a page
    // in a browser, say) must not get them read as a request of the client. Nothing tells them
    // from a next request, so there is none.
    // Behind a body that broke off there is none either.
    let is_broken = session.flow.upload.get() == Progress::Broken;
    let is_last = is_connect || is_broken || session.is_draining();
    if is_last && !response.body().is_tunnel() {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    session.note_status(response.status().as_u16());
    session.responses.set(session.responses.get() + 1);
    session.phase.set(Phase::Body);
    session.flow.watch.arm(session.terms.spans.body_idle);
    Ok(response)
}

/// Dials for a tunnel; the connection's task takes it from the session when 200 has been written.
async fn connect(visit: &Visit, request: &Request<Incoming>) -> Result<Response<Reply>, Fault> {
    let session = &visit.session;
    let dialled = dial_tunnel(visit, request).await;
    // A fault leaves the screen undecided: nothing behind the CONNECT is ever let through.
    let dialled = dialled?;
    session.screen.borrow_mut().tunnel();
    session.note_dialled(dialled.address, dialled.effort);
    session.has_left.set(true);
    visit.tunnel.set(Some(dialled));
    Ok(Response::new(Reply::tunnel()))
}

async fn dial_tunnel(visit: &Visit, request: &Request<Incoming>) -> Result<Dialled, Fault> {
    let session = &visit.session;
    let authority = request.uri().authority().map_or("", Authority::as_str);
    let target = Target::parse(authority)?;
    let dialler = &session.context.dialler;
    let errand = session.errand(&target);
    in_time(session, dialler.dial(errand, &visit.rules.way)).await
}

/// A dial has deadlines of its own; the request may have a shorter one.
async fn in_time(
    session: &Session,
    dial: impl Future<Output = Result<Dialled, Fault>>,
) -> Result<Dialled, Fault> {
    match session.terms.spans.request {
        None => dial.await,
        Some(_) => match session.flow.watch.guard(dial).await {
            Some(dialled) => dialled,
            None => Err(session
                .overlong()
                .unwrap_or(Fault::Cut("the request took too long"))),
        },
    }
}

async fn forward(visit: &Visit, request: Request<Incoming>) -> Result<Response<Reply>, Fault> {
    let session = &visit.session;
    let (mut parts, body) = request.into_parts();
    if parts.uri.authority().is_none() {
        return for_ourselves(session, &parts);
    }
    check_uri(&parts.uri)?;
    let forwards = Forwards::of(&parts.method, &parts.headers)?;
    if forwards == Forwards::Over {
        return match parts.method {
            Method::OPTIONS => Ok(answer::options(answer::METHODS, session)),
            _ => Err(Fault::Method("this proxy does not answer TRACE itself")),
        };
    }
    forwards.write(&mut parts.headers);
    headers::to_origin(&mut parts.headers, parts.version, &parts.uri);
    parts.version = Version::HTTP_11;
    // Holds what the engine would need to switch protocols; this hop does not.
    parts.extensions.clear();
    let authority = std::mem::take(&mut parts.uri);
    parts.uri = match visit.rules.way.parent {
        None => origin_form(&authority),
        // A proxy is asked for the whole (RFC 9112 §3.2.2).
        Some(_) => authority.clone(),
    };
    let authority = authority
        .authority()
        .map_or("", |authority| authority.as_str());
    let request = Request::from_parts(
        parts,
        Upload::new(body, &session.flow, session.terms.spans.body_idle),
    );
    let (response, lease) = send(visit, authority, request).await?;
    reply(session, response, lease)
}

/// A connection that is open already, for `request`.
async fn take_open(visit: &Visit, key: &str, request: &Request<Upload>) -> Option<Lease> {
    let pool = &visit.session.context.pool;
    let take = || {
        let lease = pool.take(key)?;
        // Another listener's clients, or those of an earlier plan, may have been allowed more.
        if visit.rules.way.allows(lease.address) {
            return Some(lease);
        }
        lease.give_back();
        None
    };
    let mut lease = take()?;
    if !is_harmless(request) {
        // It cannot be sent again, so a server that has closed should be known of first: the event
        // loop goes round once, and the connection's task sees what has come.
        tokio::task::yield_now().await;
        while !lease.is_ready() {
            lease = take()?;
        }
    }
    Some(lease)
}

/// Sends over a connection that is open already, or else over a new one.
async fn send(
    visit: &Visit,
    authority: &str,
    mut request: Request<Upload>,
) -> Result<(Response<Incoming>, Lease), Fault> {
    let (session, way) = (&visit.session, &visit.rules.way);
    let target = Target::parse_or_port(authority, HTTP_PORT)?;
    let errand = session.errand(&target);
    let dialler = &session.context.dialler;
    let candidates = match &way.parent {
        Some(parent) => {
            // Its connections lead anywhere, so an open one proves nothing about this target.
            parent.check(&way.guard, &target)?;
            dialler.candidates(errand, parent).await?
        }
        None => Vec::new(),
    };
    let key = candidates.first().map_or(authority, |member| &*member.key);
    if let Some(mut lease) = take_open(visit, key, &request).await {
        session.context.counters.reused.bump();
        lease.busy = candidates.first().map(Group::busy);
        if let Some(parent) = &way.parent {
            parent.group.counts().requests.bump();
        }
        session.note_address(lease.address, "pooled");
        let spare = SpareHead::of(&request);
        request = match try_send(visit, &mut lease, request).await {
            Ok(response) => return Ok((response, lease)),
            Err(Unsent::Whole(request)) => *request,
            // The server closed its idle connection while the request was on its way there.
            Err(Unsent::Lost(fault)) => match spare {
                Some(head) => head.into_request(session),
                None => return Err(fault),
            },
            Err(Unsent::Failed(fault)) => return Err(fault),
        };
    }
    let dial = dialler.dial_hop(errand, way, candidates);
    let dialled = in_time(session, dial).await?;
    let busy = dialled.busy;
    let address = dialled.address;
    session.note_dialled(address, dialled.effort);
    let key = busy.as_ref().map_or(authority, |busy| &*busy.member().key);
    let adopted = session
        .context
        .pool
        .adopt(key, Stream::Plain(dialled.stream), address);
    let mut lease = adopted.await.map_err(|error| broken(address, &error))?;
    lease.busy = busy;
    match try_send(visit, &mut lease, request).await {
        Ok(response) => Ok((response, lease)),
        Err(Unsent::Lost(fault) | Unsent::Failed(fault)) => Err(fault),
        Err(Unsent::Whole(_)) => {
            let how = Breach::Incomplete;
            let reason = "it closed the connection before the request".into();
            Err(Fault::Broken {
                address,
                how,
                reason,
            })
        }
    }
}

/// Why there is no response.
enum Unsent {
    /// Nothing of the request was sent; here it is.
    Whole(Box<Request<Upload>>),
    /// The connection ended without a byte of a response.
    Lost(Fault),
    /// Anything else.
    Failed(Fault),
}

async fn try_send(
    visit: &Visit,
    lease: &mut Lease,
    request: Request<Upload>,
) -> Result<Response<Incoming>, Unsent> {
    let session = &visit.session;
    let address = lease.address;
    let flow = &session.flow;
    let spans = session.terms.spans;
    if request.body().is_end_stream() {
        flow.upload.set(Progress::Whole);
        flow.watch.arm(spans.answer);
        // Hop-by-hop fields are gone: nothing asks to leave HTTP.
        lease.attend();
    } else {
        flow.upload.set(Progress::Moving);
        flow.watch.arm(spans.body_idle);
    }
    flow.behind_upload.set(spans.answer);
    let sent = lease.send(&flow.watch, || request).await;
    session.flow.watch.disarm();
    flow.behind_upload.set(spans.body_idle);
    if let Some(Ok(_)) = &sent {
        session.note_first_byte();
        if let (Some(parent), Some(busy)) = (&visit.rules.way.parent, &lease.busy) {
            parent.group.note(busy);
        }
    }
    let Some(sent) = sent else {
        return Err(Unsent::Failed(timed_out(session, address)));
    };
    let is_broken = flow.upload.get() == Progress::Broken;
    sent.map_err(|mut error| match error.take_message() {
        Some(request) => Unsent::Whole(Box::new(request)),
        None if is_broken => Unsent::Failed(session.upload_fault()),
        None => {
            let error = error.into_error();
            let fault = broken(address, &error);
            if is_lost(&error) {
                Unsent::Lost(fault)
            } else {
                Unsent::Failed(fault)
            }
        }
    })
}

/// Who was waited for: the client if its body stood still, else the origin.
fn timed_out(session: &Session, address: SocketAddr) -> Fault {
    if let Some(fault) = session.overlong() {
        return fault;
    }
    let timeouts = &session.terms.plan.timeouts;
    match session.flow.upload.get() {
        Progress::Waiting => Fault::Idle {
            after: timeouts.body_idle,
        },
        Progress::Moving => Fault::HeadTimedOut {
            address,
            after: timeouts.body_idle,
        },
        Progress::Whole | Progress::Broken | Progress::TooLarge => Fault::HeadTimedOut {
            address,
            after: timeouts.answer,
        },
    }
}

fn reply(
    session: &Rc<Session>,
    response: Response<Incoming>,
    lease: Lease,
) -> Result<Response<Reply>, Fault> {
    let (mut parts, body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        let reason = "it switched to a protocol that nobody asked for".into();
        return Err(Fault::Broken {
            address: lease.address,
            how: Breach::Upgrade,
            reason,
        });
    }
    headers::to_client(&mut parts.headers, parts.version);
    headers::keep_reason(&mut parts);
    parts.version = Version::HTTP_11;
    Ok(Response::from_parts(
        parts,
        Reply::origin(body, lease, session),
    ))
}

/// A request whose target is this proxy itself.
fn for_ourselves(session: &Rc<Session>, parts: &Parts) -> Result<Response<Reply>, Fault> {
    if parts.method == Method::OPTIONS && parts.uri.path() == "*" {
        return Ok(answer::options(answer::METHODS, session));
    }
    Err(bad_request(
        "this is a forward proxy, not a web server: set it as the proxy of your client, \
         for example curl -x http://HOST:PORT http://example.com/",
    ))
}

fn check_uri(uri: &Uri) -> Result<(), Fault> {
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err(bad_request(
                "for https:// a proxy is asked with CONNECT host:443",
            ));
        }
        _ => return Err(bad_request("only http:// targets are forwarded")),
    }
    // Checked here too, because a pooled connection is found by the authority's text.
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(bad_request(
            "a target does not hold a user name; use an Authorization field",
        ));
    }
    Ok(())
}

/// What follows the authority (RFC 9112 §3.2.1).
fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}

/// Whether a request may be sent twice: an idempotent method (RFC 9110 §9.2.2), no body.
fn is_harmless(request: &Request<Upload>) -> bool {
    request.method().is_idempotent() && request.body().is_end_stream()
}

/// What it takes to ask again, if that is harmless.
struct SpareHead {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl SpareHead {
    fn of(request: &Request<Upload>) -> Option<Self> {
        is_harmless(request).then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    fn into_request(self, session: &Rc<Session>) -> Request<Upload> {
        let mut request = Request::new(Upload::empty(&session.flow, session.terms.spans.body_idle));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}

/// Whether the connection ended before a byte of the response.
fn is_lost(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_canceled() || is_io(error)
}

fn is_io(error: &hyper::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

fn bad_request(hint: &'static str) -> Fault {
    Fault::BadRequest(Cow::Borrowed(hint))
}

const HTTP_PORT: u16 = 80;
