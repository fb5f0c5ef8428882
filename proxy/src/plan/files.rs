//! Static files: which are shown, and how.

use std::borrow::Cow;
use std::path::PathBuf;

use glob::Pattern;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};

/// What a route shows of a folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Files {
    /// The folder; an absolute path. Nothing above it is shown.
    pub root: PathBuf,
    /// Names of the files that stand for a folder, the first that is there.
    pub index: Vec<String>,
    /// What is looked for, in this order; never empty.
    pub try_files: Vec<Candidate>,
    /// Whether a folder without an index is listed.
    pub listing: bool,
    /// Whether names that begin with a dot are shown; `.well-known` always is.
    pub hidden: bool,
    /// Which symbolic links are followed.
    pub links: Links,
    /// Whether `x.br`, `x.zst` and `x.gz` are sent for `x` to who takes them.
    pub precompressed: bool,
    /// Whether what is worth it is compressed on its way.
    pub compress: bool,
    /// What a file is by its extension (lower case, without a dot), before the usual table.
    pub types: Vec<(String, HeaderValue)>,
    /// `Cache-Control` by the path of the file below the root, without a slash in front; the first
    /// pattern that fits.
    pub cache_control: Vec<(Pattern, HeaderValue)>,
    /// Files below the root that are the body of answers with these statuses; paths in normal form.
    pub error_pages: Vec<(StatusCode, String)>,
    /// Pages of which origins may read the answers.
    pub cors: Cors,
}

/// A path that is looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Candidate {
    /// The path that was asked for, between these two. A final slash means a folder with an index.
    Asked {
        /// Before it; empty, or a path in normal form without a final slash.
        before: String,
        /// Behind it.
        behind: String,
    },
    /// This file, for every path whose last segment has no dot in it: a page of an application that
    /// does its own routing, which must not stand for a picture that is missing. In normal form.
    Fixed(String),
}

/// Which symbolic links are followed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Links {
    /// Those that lead to what is below the root, by a relative path.
    #[default]
    Inside,
    /// All.
    All,
    /// None.
    Off,
}

/// Pages of which origins may read the answers (CORS).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Cors {
    /// Those of the site itself alone.
    #[default]
    Off,
    /// Any.
    Any,
    /// Those of these origins: `https://a.example`.
    Origins(Vec<HeaderValue>),
}

impl Files {
    /// The folder `root`, all else by default.
    #[must_use]
    pub fn of(root: PathBuf) -> Self {
        Self {
            root,
            index: vec!["index.html".to_owned()],
            try_files: vec![Candidate::asked()],
            listing: false,
            hidden: false,
            links: Links::default(),
            precompressed: true,
            compress: true,
            types: Vec::new(),
            cache_control: Vec::new(),
            error_pages: Vec::new(),
            cors: Cors::default(),
        }
    }
}

impl Candidate {
    /// The path that was asked for.
    #[must_use]
    pub fn asked() -> Self {
        Self::Asked {
            before: String::new(),
            behind: String::new(),
        }
    }

    /// The path that is looked for when `asked` is asked for; both in normal form. `None` if none
    /// is.
    #[must_use]
    pub fn wanted<'a>(&'a self, asked: &'a str) -> Option<Cow<'a, str>> {
        match self {
            Self::Asked { before, behind } if before.is_empty() && behind.is_empty() => {
                Some(Cow::Borrowed(asked))
            }
            Self::Asked { before, behind } => {
                let asked = match asked.strip_suffix('/') {
                    // A name goes on behind a slash, and a slash is not said twice.
                    Some(rest) if !behind.is_empty() => rest,
                    _ => asked,
                };
                if asked.is_empty() && !behind.starts_with('/') {
                    return None;
                }
                Some(Cow::Owned(format!("{before}{asked}{behind}")))
            }
            Self::Fixed(path) => (!has_extension(asked)).then_some(Cow::Borrowed(path)),
        }
    }
}

/// What may be done with a file.
pub const METHODS: [Method; 3] = [Method::GET, Method::HEAD, Method::OPTIONS];

/// Whether the last segment has a dot in it, as the name of a file has.
fn has_extension(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or(path);
    last.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_is_a_path_made_of_another() {
        let behind = |behind: &str| Candidate::Asked {
            before: String::new(),
            behind: behind.to_owned(),
        };
        let before = Candidate::Asked {
            before: "/en".to_owned(),
            behind: String::new(),
        };
        let fixed = Candidate::Fixed("/app.html".to_owned());
        for (candidate, asked, wanted) in [
            (&Candidate::asked(), "/a/", Some("/a/")),
            (&behind(".html"), "/a", Some("/a.html")),
            (&behind(".html"), "/a/", Some("/a.html")),
            (&behind(".html"), "/", None),
            (&behind("/"), "/a", Some("/a/")),
            (&behind("/"), "/", Some("/")),
            (&before, "/", Some("/en/")),
            (&before, "/a", Some("/en/a")),
            (&fixed, "/a.b/c", Some("/app.html")),
            (&fixed, "/a/b.png", None),
        ] {
            assert_eq!(candidate.wanted(asked).as_deref(), wanted, "{asked}");
        }
    }
}
