//! A request that a file answers: at once, or when that has been found.
//!
//! What goes wrong on the way is answered here as well: who may read the files may read that.

use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Response};

use super::{Decision, Exchange};
use crate::error::Fault;
use crate::serve::body::Reply;
use crate::site::files::{Ask, Folder, Step, Wait};
use crate::site::rewrite;
use crate::site::rules::Ready;
use crate::site::target::Asked;

/// A file that is looked for, and for whom.
pub(super) struct Search<'a> {
    ready: &'a Ready,
    folder: &'a Folder,
    asked: Asked,
    /// What is looked for, if it is not what the client asks for.
    path: Option<PathAndQuery>,
    /// What has to be waited for; taken when that begins.
    wait: Option<Box<Wait>>,
}

impl<'a> Exchange<'a> {
    /// Answers with a file, or finds out what has to be waited for.
    pub(super) fn show(
        &mut self,
        ready: &'a Ready,
        asked: Asked,
        parts: &Parts,
    ) -> Result<Decision<'a>, Fault> {
        let folder = ready.folder.as_deref().ok_or(Fault::NoRoute)?;
        self.session.has_unread.set(self.has_body);
        let (method, headers) = (&parts.method, &parts.headers);
        let begun = rewrite::target(&ready.route.rewrite, asked.target()).and_then(|path| {
            let search = Search {
                ready,
                folder,
                asked,
                path,
                wait: None,
            };
            let step = folder.answer(&self.ask(method, headers, &search))?;
            Ok((search, step))
        });
        Ok(match begun {
            Ok((_, Step::Done(mut response))) => {
                rewrite::edit(&ready.route.response_headers, response.headers_mut());
                Decision::Answer(response)
            }
            Ok((mut search, Step::Wait(wait))) => {
                search.wait = Some(wait);
                Decision::Wait(Box::new(search))
            }
            Err(fault) => Decision::Answer(self.deny(&fault, folder, method, headers)),
        })
    }

    /// Waits for a file.
    pub(super) async fn search(
        &self,
        method: &Method,
        headers: &HeaderMap,
        search: Box<Search<'a>>,
    ) -> Response<Reply> {
        let folder = search.folder;
        let found = self.find(method, headers, search).await;
        found.unwrap_or_else(|fault| self.deny(&fault, folder, method, headers))
    }

    async fn find(
        &self,
        method: &Method,
        headers: &HeaderMap,
        mut search: Box<Search<'a>>,
    ) -> Result<Response<Reply>, Fault> {
        let wait = search.wait.take().ok_or(Fault::NoRoute)?;
        let ask = self.ask(method, headers, &search);
        let session = self.session;
        let (span, after) = search.ready.times.answer;
        session.flow.watch.arm(span);
        let found = session.flow.watch.guard(search.folder.wait(&ask, wait));
        let mut response = match found.await {
            Some(found) => found?,
            None => {
                let what = "search for a file";
                return Err((session.overlong()).unwrap_or(Fault::Overlong { what, after }));
            }
        };
        let edits = &search.ready.route.response_headers;
        rewrite::edit(edits, response.headers_mut());
        Ok(response)
    }

    /// Tells the client why there is no file; a page of another origin that may read the files, too.
    fn deny(
        &self,
        fault: &Fault,
        folder: &Folder,
        method: &Method,
        headers: &HeaderMap,
    ) -> Response<Reply> {
        let mut response = self.refuse(fault);
        folder.allow_origin(method, headers, &mut response);
        response
    }

    fn ask<'b>(
        &'b self,
        method: &'b Method,
        headers: &'b HeaderMap,
        search: &'b Search<'_>,
    ) -> Ask<'b> {
        let path = search.path.as_ref().map(PathAndQuery::path);
        Ask {
            method,
            headers,
            seen: self.seen,
            asked: &search.asked,
            path: path.unwrap_or(search.asked.path()),
            questioner: &self.questioner,
            session: self.session,
        }
    }
}
