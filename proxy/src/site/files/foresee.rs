//! What a GET would be answered with now, for an operator who asks beforehand.
//!
//! It is found by the functions that answer requests, with nothing that was kept, so that no rule is
//! told here in words of its own.

use std::sync::Arc;
use std::time::Instant;

use hyper::{HeaderMap, StatusCode};

use super::choose::{Choice, Form};
use super::fetch::{Memo, Need, Stop};
use super::open::{Look, means};
use super::{Folder, NEEDS_MOST, Wish};
use crate::error::Fault;
use crate::plan::files::Files;
use crate::proto::coding::Coding;
use crate::serve::headers::Seen;

/// What a GET would be answered with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Foreseen {
    /// The file of this name below the root.
    File(String, SentAs),
    /// A redirect to the same path with a slash behind it.
    Slash,
    /// What is in the folder of this name below the root; empty for the root itself.
    Listing(String),
    /// This status, with the page of this name below the root or with a short text.
    Nothing(StatusCode, Option<String>),
}

/// The form in which a file is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SentAs {
    /// As it is.
    Plain,
    /// As it was compressed before, in the file beside it.
    Sibling(Coding),
    /// Compressed here, if that makes it shorter.
    Compressed(Coding),
}

/// What a GET for `asked` would be answered with, of which `path` is what is looked for below the
/// root, if it had these fields; conditions and ranges aside. Waits for the disk.
///
/// # Errors
///
/// The system fails, or the root is gone.
pub fn foresee(
    files: &Arc<Files>,
    asked: &str,
    path: &str,
    headers: &HeaderMap,
) -> Result<Foreseen, Fault> {
    let folder = Folder::new(files, 0);
    let wish = Wish {
        asked,
        path,
        headers,
        seen: Seen::of(headers),
    };
    let mut memo = Memo::default();
    for _ in 0..NEEDS_MOST {
        match folder.foresee(wish, &mut memo) {
            Ok(foreseen) => return Ok(foreseen),
            // Nobody waits for its bytes.
            Err(Stop::Need(Need::Packed(name, _, coding, _))) => {
                return Ok(Foreseen::File(told(&name), SentAs::Compressed(coding)));
            }
            Err(Stop::Need(need)) => {
                let got = need.get_now().map_err(Fault::of_file)?;
                folder.take(got, &mut memo)?;
            }
            Err(Stop::Failed(error)) => return Err(Fault::of_file(error)),
        }
    }
    Err(super::endless())
}

impl Folder {
    fn foresee(&self, wish: Wish<'_>, memo: &mut Memo) -> Result<Foreseen, Stop> {
        let now = Instant::now();
        Ok(match self.choose(wish, memo, now)? {
            Choice::Item(name, item) => {
                let sent = match self.form(wish, &name, &item, memo, now)? {
                    Form::Plain => SentAs::Plain,
                    Form::Stream(coding) => SentAs::Compressed(coding),
                    Form::Item(form) => form.coding().map_or(SentAs::Plain, SentAs::Sibling),
                };
                Foreseen::File(told(&name), sent)
            }
            Choice::Slash => Foreseen::Slash,
            Choice::Listing(name) => match self.root(now)?.open_folder(&name) {
                Ok(_) => Foreseen::Listing(told(&name)),
                Err(error) => match means(&error) {
                    Some(Look::Denied) => self.none(StatusCode::FORBIDDEN, memo, now)?,
                    Some(_) => self.none(StatusCode::NOT_FOUND, memo, now)?,
                    None => return Err(Stop::Failed(error)),
                },
            },
            Choice::Nothing(status) => self.none(status, memo, now)?,
        })
    }

    fn none(&self, status: StatusCode, memo: &mut Memo, now: Instant) -> Result<Foreseen, Stop> {
        let page = self.error_page(status, memo, now)?;
        Ok(Foreseen::Nothing(status, page.map(|(name, _)| told(&name))))
    }
}

fn told(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use hyper::header::{ACCEPT_ENCODING, HeaderValue};
    use tempfile::TempDir;

    use super::*;
    use crate::plan::files::Candidate;

    fn laid_out() -> (TempDir, Files) {
        let root = TempDir::new().unwrap();
        for folder in ["docs", "open", "app"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let text = "text ".repeat(1000);
        for (name, text) in [
            ("a.js", "plain"),
            ("a.js.br", "brotli"),
            ("a.txt", &*text),
            ("docs/index.html", "docs"),
            ("open/x", "x"),
            ("404.html", "none"),
        ] {
            fs::write(root.path().join(name), text).unwrap();
        }
        let files = Files::of(root.path().to_owned());
        (root, files)
    }

    #[test]
    fn what_is_foreseen_is_what_would_be_answered() {
        let (_root, usual) = laid_out();
        let listed = Files {
            listing: true,
            error_pages: vec![(StatusCode::NOT_FOUND, "/404.html".to_owned())],
            try_files: vec![
                Candidate::asked(),
                Candidate::Fixed("/docs/index.html".to_owned()),
            ],
            ..usual.clone()
        };
        let file = |name: &str, sent| Foreseen::File(name.to_owned(), sent);
        let none = |page: Option<&str>| {
            Foreseen::Nothing(StatusCode::NOT_FOUND, page.map(ToOwned::to_owned))
        };
        for (files, path, codings, foreseen) in [
            (&usual, "/a.js", "", file("a.js", SentAs::Plain)),
            (
                &usual,
                "/a.js",
                "gzip, br",
                file("a.js", SentAs::Sibling(Coding::Br)),
            ),
            (&usual, "/a.js", "gzip", file("a.js", SentAs::Plain)),
            (
                &usual,
                "/a.txt",
                "gzip",
                file("a.txt", SentAs::Compressed(Coding::Gzip)),
            ),
            (&usual, "/docs", "", Foreseen::Slash),
            (&usual, "/docs/", "", file("docs/index.html", SentAs::Plain)),
            (&usual, "/open", "", none(None)),
            (&usual, "/open/", "", none(None)),
            (&usual, "/none", "", none(None)),
            (&listed, "/open", "", Foreseen::Slash),
            (&listed, "/open/", "", Foreseen::Listing("open".to_owned())),
            (&listed, "/", "", Foreseen::Listing(String::new())),
            (&listed, "/none", "", file("docs/index.html", SentAs::Plain)),
            (&listed, "/none.png", "", none(Some("404.html"))),
        ] {
            let mut headers = HeaderMap::new();
            if !codings.is_empty() {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(codings));
            }
            let found = foresee(&Arc::new(files.clone()), path, path, &headers);
            assert_eq!(found.unwrap(), foreseen, "{path} {codings}");
        }
        let gone = Files::of("/no/such/folder".into());
        let error = foresee(&Arc::new(gone), "/", "/", &HeaderMap::new()).unwrap_err();
        assert_eq!(error.status(), 500);
    }
}
