//! The response with a file: its fields, conditions, ranges, and what of it is sent.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Method, Response, StatusCode};

use super::choose::Form;
use super::fetch::{Memo, Need, Stop, Thing, View};
use super::listing::{self, Order};
use super::open::Look;
use super::packing::Packing;
use super::shelf::{Content, Item, bare};
use super::{Ask, Folder, cache_rule, kind};
use crate::plan::files::Files;
use crate::proto::byteranges::Multipart;
use crate::proto::coding::{Accepted, Coding};
use crate::proto::precondition::{self, Validators, Verdict};
use crate::proto::range::{self, Ranges, Span};
use crate::serve::body::Reply;
use crate::serve::file::Stamp;
use crate::serve::headers::Seen;
use crate::serve::parts::{Part, Parts};

impl Folder {
    /// Answers with `item`, in the form that the client likes best.
    pub(super) fn present(
        &self,
        ask: &Ask<'_>,
        name: &[u8],
        item: &Rc<Item>,
        memo: &mut Memo,
        now: Instant,
    ) -> Result<Response<Reply>, Stop> {
        match self.form(ask.wish(), name, item, memo, now)? {
            Form::Plain => self.send(item, ask, memo, now),
            Form::Item(form) => self.send(&form, ask, memo, now),
            Form::Stream(coding) => self.stream(item, coding, ask, memo, now),
        }
    }

    fn send(
        &self,
        item: &Rc<Item>,
        ask: &Ask<'_>,
        memo: &mut Memo,
        now: Instant,
    ) -> Result<Response<Reply>, Stop> {
        let is_ranged = match judge(item, &item.etag, ask) {
            Verdict::Go { is_ranged } => is_ranged,
            Verdict::NotModified => return Ok(not_modified(item.bare.clone(), ask)),
            Verdict::Failed => {
                return self.refuse(StatusCode::PRECONDITION_FAILED, ask, memo, now);
            }
        };
        let range = ask
            .headers
            .get(RANGE)
            .filter(|_| is_ranged && item.len() > 0);
        let ranges = range.map_or(Ranges::Whole, |value| {
            range::read(value.as_bytes(), item.len())
        });
        match ranges {
            // Parts of what has no lasting form are of no use to anybody, and who undoes a coding
            // would take the frames of several for a part of it.
            Ranges::Parts(spans)
                if item.fields.contains_key(ACCEPT_RANGES)
                    && (spans.len() == 1 || !item.fields.contains_key(CONTENT_ENCODING)) =>
            {
                Ok(partial(item, &spans, ask))
            }
            Ranges::Unsatisfiable if item.fields.contains_key(ACCEPT_RANGES) => {
                let status = StatusCode::RANGE_NOT_SATISFIABLE;
                let mut response = self.refuse(status, ask, memo, now)?;
                let headers = response.headers_mut();
                headers.insert(CONTENT_RANGE, range::unsatisfied(item.len()));
                Ok(response)
            }
            _ => Ok(whole(item, ask)),
        }
    }

    /// Compresses `item` while it is sent; nobody knows how long that is.
    fn stream(
        &self,
        item: &Rc<Item>,
        coding: Coding,
        ask: &Ask<'_>,
        memo: &mut Memo,
        now: Instant,
    ) -> Result<Response<Reply>, Stop> {
        let etag = weak(&item.etag);
        let mut fields = coded(item, coding, &etag);
        fields.remove(ACCEPT_RANGES);
        match judge(item, &etag, ask) {
            Verdict::NotModified => return Ok(not_modified(bare(&fields), ask)),
            Verdict::Failed => {
                return self.refuse(StatusCode::PRECONDITION_FAILED, ask, memo, now);
            }
            Verdict::Go { .. } => {}
        }
        let body = match &item.content {
            Content::File(file) if *ask.method == Method::GET => {
                let packing = Packing::new(Arc::clone(file), coding, &self.packings);
                Some(Reply::feed(packing.map_err(Stop::Failed)?, ask.session))
            }
            _ => None,
        };
        Ok(response(StatusCode::OK, fields, body, None, ask))
    }

    /// Answers with what is in a folder.
    pub(super) fn list(
        &self,
        ask: &Ask<'_>,
        name: &[u8],
        memo: &mut Memo,
        now: Instant,
    ) -> Result<Response<Reply>, Stop> {
        let view = View {
            path: ask.asked.path().into(),
            order: Order::of(ask.asked.query()),
            is_json: listing::is_json_wanted(ask.headers),
        };
        let key = view.key();
        let kept = || self.shelf.find(&key).filter(|item| item.is_fresh(now));
        let page = match memo.find(&key).or_else(|| kept().map(Thing::File)) {
            Some(Thing::File(page)) => page,
            Some(Thing::Denied) => return self.refuse(StatusCode::FORBIDDEN, ask, memo, now),
            Some(_) => return self.refuse(StatusCode::NOT_FOUND, ask, memo, now),
            None => {
                let (root, files) = (self.root(now)?, Arc::clone(&self.files));
                return Err(Stop::Need(Need::Listing(root, name.into(), files, view)));
            }
        };
        let Some(accepted) = self.accepted(ask.wish()) else {
            return Ok(whole(&page, ask));
        };
        Ok(
            match self.compressed((ask.wish(), accepted), &key, &page, memo)? {
                Form::Item(form) => whole(&form, ask),
                Form::Plain | Form::Stream(_) => whole(&page, ask),
            },
        )
    }

    /// Keeps what was in a folder at the time `as_of`, as it is shown.
    pub(super) fn keep_listing(
        &self,
        view: &View,
        shown: Result<String, Look>,
        memo: &mut Memo,
        as_of: Instant,
    ) {
        let key = view.key();
        let thing = match shown {
            Ok(text) => {
                // Whoever still takes the same page shares it.
                let kept = self
                    .shelf
                    .find(&key)
                    .filter(|item| item.is(text.as_bytes()));
                let item = kept.unwrap_or_else(|| Rc::new(self.page_of(view, text, as_of)));
                item.refresh(as_of);
                self.shelf.put(&key, Rc::clone(&item));
                Thing::File(item)
            }
            Err(Look::Denied) => Thing::Denied,
            Err(_) => Thing::Missing,
        };
        memo.put(key.into(), thing);
    }

    /// A folder as it is shown.
    fn page_of(&self, view: &View, text: String, as_of: Instant) -> Item {
        let kind = if view.is_json { JSON } else { HTML };
        let by = if self.files.compress {
            BY_KIND_AND_CODING
        } else {
            BY_KIND
        };
        let mut fields = HeaderMap::with_capacity(FIELDS);
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        fields.insert(VARY, HeaderValue::from_static(by));
        let policy = HeaderValue::from_static(listing::CONTENT_SECURITY_POLICY);
        fields.insert(CONTENT_SECURITY_POLICY, policy);
        let none = HeaderValue::from_static("");
        // A number of its own, by which its compressed form is told from that of the page before.
        let number = self.pages.get().wrapping_add(1);
        self.pages.set(number);
        let stamp = Stamp::new(text.len() as u64, (0, 0), (0, 0), (0, number));
        let content = Content::Bytes(text.into());
        let mut page = Item::new(stamp, content, fields, (none.clone(), none), as_of);
        page.is_compressible = true;
        page
    }
}

/// Makes of a file what is kept of it.
pub(super) fn item(
    files: &Files,
    name: &[u8],
    stamp: Stamp,
    content: Content,
    now: Instant,
) -> Item {
    let etag = etag_of(&stamp, None);
    let last_modified = date_of(&stamp);
    let kind = kind::content_type(name, files);
    let is_compressible = kind::is_compressible(&kind);
    let mut fields = HeaderMap::with_capacity(FIELDS);
    fields.insert(CONTENT_TYPE, kind);
    fields.insert(ETAG, etag.clone());
    fields.insert(LAST_MODIFIED, last_modified.clone());
    fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if files.precompressed || files.compress && is_compressible {
        fields.insert(VARY, HeaderValue::from_static(BY_CODING));
    }
    let rule = cache_rule::cache_control(&String::from_utf8_lossy(name), files);
    if let Some(value) = rule {
        fields.insert(CACHE_CONTROL, value.clone());
    }
    let mut item = Item::new(stamp, content, fields, (etag, last_modified), now);
    item.is_compressible = is_compressible;
    item
}

/// `found`, which lies beside `item`, as a form of that.
pub(super) fn sibling(item: &Item, found: &Item, coding: Coding) -> Item {
    let etag = etag_of(&found.stamp, Some(coding));
    let mut fields = coded(item, coding, &etag);
    fields.insert(LAST_MODIFIED, found.last_modified.clone());
    let tags = (etag, found.last_modified.clone());
    Item::new(
        found.stamp,
        found.content.clone(),
        fields,
        tags,
        found.checked(),
    )
}

/// The bytes of `item`, compressed.
pub(super) fn packed(item: &Item, bytes: Bytes, coding: Coding) -> Item {
    let etag = weak(&item.etag);
    let mut fields = coded(item, coding, &etag);
    fields.remove(ACCEPT_RANGES);
    let tags = (etag, item.last_modified.clone());
    Item::new(
        item.stamp,
        Content::Bytes(bytes),
        fields,
        tags,
        item.checked(),
    )
}

/// The fields of `item` in another form.
fn coded(item: &Item, coding: Coding, etag: &HeaderValue) -> HeaderMap {
    let mut fields = item.fields.clone();
    // A page that is made here has none.
    if fields.contains_key(ETAG) {
        fields.insert(ETAG, etag.clone());
    }
    let coding = HeaderValue::from_static(coding.token());
    fields.insert(CONTENT_ENCODING, coding);
    fields
}

/// `item` as the body of an answer that says something else.
pub(super) fn page(status: StatusCode, item: &Rc<Item>, ask: &Ask<'_>) -> Response<Reply> {
    let mut response = whole(item, ask);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for name in [ETAG, LAST_MODIFIED, ACCEPT_RANGES, CACHE_CONTROL, VARY] {
        headers.remove(name);
    }
    response
}

fn judge(item: &Item, etag: &HeaderValue, ask: &Ask<'_>) -> Verdict {
    if !ask.seen.has(Seen::CONDITION) {
        return Verdict::Go { is_ranged: false };
    }
    let validators = Validators {
        etag,
        modified: item.modified,
        last_modified: &item.last_modified,
    };
    match precondition::judge(ask.method, ask.headers, &validators) {
        // Forms of one file have one date: for who takes codings, parts of one might be put behind
        // parts of another.
        Verdict::Go { .. } if item.has_forms() && has_date(ask) => Verdict::Go { is_ranged: false },
        verdict => verdict,
    }
}

/// Whether a range is asked for by a date, by who takes codings.
fn has_date(ask: &Ask<'_>) -> bool {
    let said = ask.headers.get(IF_RANGE).map(HeaderValue::as_bytes);
    let is_date = said.is_some_and(|said| !said.starts_with(b"\"") && !said.starts_with(b"W/"));
    is_date && ask.seen.has(Seen::CODINGS) && Accepted::of(ask.headers).is_any()
}

fn whole(item: &Rc<Item>, ask: &Ask<'_>) -> Response<Reply> {
    let len = item.len();
    let body = (*ask.method != Method::HEAD && len > 0).then(|| match &item.content {
        Content::Bytes(bytes) => Reply::text(bytes.clone(), ask.session),
        Content::File(file) => Reply::feed(Parts::whole(Arc::clone(file)), ask.session),
    });
    response(StatusCode::OK, item.fields.clone(), body, Some(len), ask)
}

fn partial(item: &Rc<Item>, spans: &[Span], ask: &Ask<'_>) -> Response<Reply> {
    let mut fields = item.fields.clone();
    let (mut parts, mut len) = (VecDeque::new(), 0);
    if let [span] = spans {
        fields.insert(CONTENT_RANGE, range::content_range(*span, item.len()));
        parts.push_back(part(item, *span));
        len = span.len;
    } else if let Some(kind) = fields.get(CONTENT_TYPE) {
        let framed = Multipart::frame(boundary(), kind, spans, item.len());
        fields.insert(CONTENT_TYPE, framed.content_type);
        for (head, span) in framed.heads.into_iter().zip(spans) {
            parts.push_back(Part::Bytes(head));
            parts.push_back(part(item, *span));
        }
        parts.push_back(Part::Bytes(framed.close));
        len = framed.len;
    }
    let body = (*ask.method == Method::GET).then(|| Reply::feed(Parts::new(parts), ask.session));
    response(StatusCode::PARTIAL_CONTENT, fields, body, Some(len), ask)
}

fn part(item: &Item, span: Span) -> Part {
    match &item.content {
        Content::File(file) => Part::File {
            file: Arc::clone(file),
            offset: span.start,
            len: span.len,
        },
        Content::Bytes(bytes) => {
            let start = usize::try_from(span.start).unwrap_or(usize::MAX);
            let end = usize::try_from(span.start.saturating_add(span.len)).unwrap_or(usize::MAX);
            let (start, end) = (start.min(bytes.len()), end.min(bytes.len()));
            Part::Bytes(bytes.slice(start..end))
        }
    }
}

fn not_modified(fields: HeaderMap, ask: &Ask<'_>) -> Response<Reply> {
    response(StatusCode::NOT_MODIFIED, fields, None, None, ask)
}

/// A response of `len` bytes, told even where `body` is not sent.
fn response(
    status: StatusCode,
    mut fields: HeaderMap,
    body: Option<Reply>,
    len: Option<u64>,
    ask: &Ask<'_>,
) -> Response<Reply> {
    if let (None, Some(len)) = (&body, len) {
        fields.insert(CONTENT_LENGTH, len.into());
    }
    let body = body.unwrap_or_else(|| Reply::text("", ask.session));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

fn etag_of(stamp: &Stamp, coding: Option<Coding>) -> HeaderValue {
    let (seconds, nanos) = stamp.modified;
    let time = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let suffix = coding.map(|coding| format!("-{}", coding.suffix()));
    let tag = format!("\"{time:x}-{:x}{}\"", stamp.len, suffix.unwrap_or_default());
    HeaderValue::try_from(tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

fn weak(etag: &HeaderValue) -> HeaderValue {
    let weak = [b"W/", etag.as_bytes()].concat();
    HeaderValue::try_from(weak).unwrap_or_else(|_| etag.clone())
}

/// As a field has it; what is said to be written tomorrow was written now (RFC 9110 §8.8.2.1).
fn date_of(stamp: &Stamp) -> HeaderValue {
    #[expect(
        clippy::disallowed_methods,
        reason = "it is the wall clock that is told"
    )]
    let now = SystemTime::now();
    // The field has no year beyond 9999, and one before 1970 is nobody's.
    let date = httpdate::fmt_http_date(stamp.time().min(now).max(UNIX_EPOCH));
    HeaderValue::try_from(date).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A boundary that the file's writer could not know.
fn boundary() -> u128 {
    fastrand::u128(..)
}

const BY_CODING: &str = "accept-encoding";
const BY_KIND: &str = "accept";
const BY_KIND_AND_CODING: &str = "accept, accept-encoding";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
/// Fields that a response has, most of the time.
const FIELDS: usize = 12;
