//! The page for people: three files, and nothing from anywhere else.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use hyper::{Response, StatusCode};

use super::routes::response;

/// A file of the page: its kind and its text.
#[derive(Clone, Copy)]
pub(super) struct Part(&'static str, &'static str);

/// The part that `path` names.
pub(super) fn part(path: &str) -> Option<Part> {
    match path {
        "/" => Some(Part(
            "text/html; charset=utf-8",
            include_str!("page/index.html"),
        )),
        "/page.css" => Some(Part(
            "text/css; charset=utf-8",
            include_str!("page/page.css"),
        )),
        "/page.js" => Some(Part(
            "text/javascript; charset=utf-8",
            include_str!("page/page.js"),
        )),
        _ => None,
    }
}

pub(super) fn serve(part: Part) -> Response<Full<Bytes>> {
    let Part(kind, text) = part;
    let mut response = response(StatusCode::OK, kind, text);
    for (name, value) in GUARDED {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// Nothing of elsewhere is loaded, and nobody frames it to have its buttons pressed.
const GUARDED: [(HeaderName, &str); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
];
