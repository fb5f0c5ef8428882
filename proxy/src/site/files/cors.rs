//! Pages of other origins: which of them may read an answer, and what they are told before they ask
//! (Fetch, "CORS protocol").

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Response};

use super::{Folder, METHODS};
use crate::plan::files::Cors;
use crate::serve::body::Reply;

impl Folder {
    /// Whether a page of another origin asks what it may do, and is one that may do something. Such
    /// a request never has credentials (Fetch, "CORS protocol and credentials").
    pub(in crate::site) fn answers_preflight(&self, method: &Method, headers: &HeaderMap) -> bool {
        is_preflight(method, headers) && allowed(&self.files.cors, headers).is_some()
    }

    /// Lets pages of other origins read the answer, if there is such a rule.
    pub(in crate::site) fn allow_origin(
        &self,
        method: &Method,
        headers: &HeaderMap,
        response: &mut Response<Reply>,
    ) {
        let cors = &self.files.cors;
        let fields = response.headers_mut();
        if let Cors::Origins(_) = cors {
            fields.append(VARY, HeaderValue::from(ORIGIN));
        }
        let Some(origin) = allowed(cors, headers) else {
            return;
        };
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if !is_preflight(method, headers) {
            fields.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(EXPOSED),
            );
            return;
        }
        let methods = HeaderValue::from_static(METHODS);
        fields.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        if let Some(asked) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            // A field more changes nothing about a file.
            fields.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        let age = HeaderValue::from_static("86400");
        fields.insert(ACCESS_CONTROL_MAX_AGE, age);
    }
}

/// The pages that may read the answer, as a field says it; `None` if whose page asks is none of them.
fn allowed(cors: &Cors, headers: &HeaderMap) -> Option<HeaderValue> {
    match cors {
        Cors::Off => None,
        Cors::Any => Some(HeaderValue::from_static("*")),
        Cors::Origins(origins) => {
            let origin = headers.get(ORIGIN);
            origin.filter(|origin| origins.contains(origin)).cloned()
        }
    }
}

/// Whether a page of another origin asks what it may do (Fetch, "CORS-preflight request").
fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    let is_there = |name| headers.contains_key(name);
    *method == Method::OPTIONS && is_there(ORIGIN) && is_there(ACCESS_CONTROL_REQUEST_METHOD)
}

const EXPOSED: &str = "Accept-Ranges, Content-Encoding, Content-Range, ETag";
