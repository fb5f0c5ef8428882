//! Sites: from what is said of them to what they do.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

use super::{Refused, files, tls};
use crate::config::scalar::{Authority, Bytes, Fields, Said};
use crate::config::tree::site::{Edits, Route, Site};
use crate::plan::site::{self, HostPattern, Match, PathRule, Rewrite, RouteTimeouts};
use crate::plan::{ActionDraft, RouteDraft, SiteDraft};

pub(super) fn draft(name: &str, said: &Site, refused: &mut Vec<Refused>) -> SiteDraft {
    let place = format!("site.{name}");
    SiteDraft {
        name: name.to_owned(),
        listen: said.listen.as_slice().iter().map(|one| one.0).collect(),
        tls: (said.tls.as_ref()).map(|tls| tls::of_site(&format!("{place}.tls"), tls, refused)),
        hosts: said
            .hosts
            .iter()
            .map(|host| host_pattern(&host.0.0))
            .collect(),
        h2c: said.h2c,
        trusted: said.trusted.iter().map(|range| range.0).collect(),
        routes: (said.route.iter().enumerate())
            .map(|(nth, one)| route(&format!("{place}.route[{nth}]"), one, refused))
            .collect(),
    }
}

fn host_pattern(text: &str) -> HostPattern {
    match text.strip_prefix("*.") {
        Some(domain) => HostPattern::Wildcard(domain.to_owned()),
        None => HostPattern::Exact(text.to_owned()),
    }
}

fn route(place: &str, said: &Route, refused: &mut Vec<Refused>) -> RouteDraft {
    if said.path.is_some() && said.exact.is_some() {
        let message = "there is a path already; expected one of the two";
        refused.push(Refused::new(format!("{place}.exact"), message));
    }
    RouteDraft {
        matches: matches(place, said, refused),
        action: action(place, said, refused),
        users: files::users(place, said.users.as_ref(), refused),
        rewrite: Rewrite {
            strip_prefix: said.strip_prefix.as_ref().map(|path| path.0.0.clone()),
            add_prefix: said.add_prefix.as_ref().map(|path| path.0.0.clone()),
            host: said.host.as_ref().and_then(host),
        },
        request_headers: edits(&said.request_headers),
        response_headers: edits(&said.response_headers),
        body_limit: said.body_limit.as_ref().map(|Said(Bytes(bytes))| *bytes),
        timeouts: RouteTimeouts {
            answer: said.answer_timeout.as_ref().map(|time| time.0),
            request: said.request_timeout.as_ref().map(|time| time.0),
            idle: said.idle_timeout.as_ref().map(|time| time.0),
        },
    }
}

fn matches(place: &str, said: &Route, refused: &mut Vec<Refused>) -> Match {
    let path = match (&said.exact, &said.path) {
        (Some(exact), _) => PathRule::Exact(exact.0.0.clone()),
        (None, Some(path)) => PathRule::Prefix(path.0.0.clone()),
        (None, None) => PathRule::Prefix("/".to_owned()),
    };
    let mut headers = Vec::new();
    for (name, wanted) in &said.headers {
        let Some(name) = field(name) else { continue };
        // Two spellings are one field.
        if headers.iter().any(|(known, _)| *known == name) {
            let message = format!("{name} is said twice; one of them has to go");
            refused.push(Refused::new(format!("{place}.headers"), message));
        }
        headers.push((name, wanted.value().map(|value| value.0.clone())));
    }
    let query = said.query.iter();
    Match {
        path,
        methods: said.methods.iter().map(|method| method.0.clone()).collect(),
        headers,
        query: query
            .map(|(name, wanted)| (name.clone(), wanted.value().cloned()))
            .collect(),
        clients: said.clients.iter().map(|range| range.0).collect(),
    }
}

/// What becomes of the requests; the plan tells if nothing does.
fn action(place: &str, said: &Route, refused: &mut Vec<Refused>) -> Option<ActionDraft> {
    let upstream = said.upstream.clone().map(ActionDraft::Upstream);
    let root = files::of_route(place, said, refused).map(ActionDraft::Files);
    let redirect = said.redirect.as_ref().and_then(|redirect| {
        Some(ActionDraft::Redirect {
            to: redirect.to.0.0.clone(),
            status: StatusCode::from_u16(redirect.status.0).ok()?,
        })
    });
    let respond = said.respond.as_ref().and_then(|respond| {
        Some(ActionDraft::Respond {
            status: StatusCode::from_u16(respond.status).ok()?,
            body: respond.body.clone(),
            content_type: respond.content_type.0.clone(),
        })
    });
    let all = [
        ("upstream", upstream),
        ("root", root),
        ("redirect", redirect),
        ("respond", respond),
    ];
    let mut said = all
        .into_iter()
        .filter_map(|(key, action)| Some((key, action?)));
    let (first, action) = said.next()?;
    for (key, _) in said {
        let message = format!("there is {first} already; expected one of the two");
        refused.push(Refused::new(format!("{place}.{key}"), message));
    }
    Some(action)
}

fn edits(said: &Edits) -> site::Edits {
    site::Edits {
        remove: said.remove.iter().map(|name| name.0.0.clone()).collect(),
        set: fields(&said.set),
        add: fields(&said.add),
    }
}

/// Names with their values.
pub(super) fn fields(said: &Fields) -> Vec<(HeaderName, HeaderValue)> {
    let fields = said.0.iter();
    fields
        .filter_map(|(name, value)| Some((field(name)?, value.0.clone())))
        .collect()
}

/// What was read as a `Host` can be sent as one.
pub(super) fn host(said: &Said<Authority>) -> Option<HeaderValue> {
    HeaderValue::from_str(&said.0.0).ok()
}

/// What was read as a name is one.
fn field(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok()
}
