//! What of a folder would be looked for, and what the disk says to that now.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};

use crate::plan::files::Files;
use crate::proto::coding::Coding;
use crate::site::files::foresee::{Foreseen, SentAs, foresee};

/// A GET that a folder answers.
#[derive(Clone)]
pub(super) struct Search {
    pub(super) files: Arc<Files>,
    /// The path that was routed.
    pub(super) asked: String,
    /// What is left of it below the root.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
}

impl Search {
    /// What it would be answered with now, in words.
    ///
    /// # Cancel safety
    ///
    /// What is under way ends by itself, and nobody has it.
    pub(super) async fn outcome(self) -> String {
        let searched = tokio::task::spawn_blocking(move || self.search());
        match tokio::time::timeout(DISK_PATIENCE, searched).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => format!("what is there now is not known: {error}"),
            Err(_) => "what is there now is not known: the disk does not answer".to_owned(),
        }
    }

    fn search(mut self) -> String {
        let plain = match self.foresee() {
            Ok(foreseen) => foreseen,
            Err(told) => return told,
        };
        let mut told = self.in_words(&plain);
        if matches!(plain, Foreseen::File(_, SentAs::Plain))
            && !self.headers.contains_key(ACCEPT_ENCODING)
        {
            self.headers.insert(ACCEPT_ENCODING, all_codings());
            match self.foresee() {
                Ok(Foreseen::File(name, SentAs::Sibling(coding))) => {
                    let (token, suffix) = (coding.token(), coding.suffix());
                    told = format!("{told}; who takes {token} is sent /{name}.{suffix}");
                }
                Ok(Foreseen::File(_, SentAs::Compressed(_))) => {
                    told = format!("{told}; who takes codings is sent it compressed");
                }
                _ => {}
            }
        }
        told
    }

    fn foresee(&self) -> Result<Foreseen, String> {
        let foreseen = foresee(&self.files, &self.asked, &self.path, &self.headers);
        foreseen.map_err(|fault| format!("now that fails: {fault} ({})", fault.status()))
    }

    fn in_words(&self, foreseen: &Foreseen) -> String {
        match foreseen {
            Foreseen::File(name, SentAs::Plain) => format!("now /{name} is sent (200)"),
            Foreseen::File(name, SentAs::Sibling(coding)) => {
                format!(
                    "now /{name} is sent as /{name}.{} has it (200)",
                    coding.suffix()
                )
            }
            Foreseen::File(name, SentAs::Compressed(coding)) => {
                format!(
                    "now /{name} is sent, compressed to {} (200)",
                    coding.token()
                )
            }
            Foreseen::Slash => {
                format!("now it is a folder: redirected to {}/ (308)", self.asked)
            }
            Foreseen::Listing(name) if name.is_empty() => {
                "now the folder / is listed (200)".to_owned()
            }
            Foreseen::Listing(name) => format!("now the folder /{name}/ is listed (200)"),
            Foreseen::Nothing(status, page) => {
                let why = match status.as_u16() {
                    403 => "now one is there that may not be read (403)",
                    _ => "now there is none (404)",
                };
                let page = page.as_ref().map(|page| format!(", with the page /{page}"));
                format!("{why}{}", page.unwrap_or_default())
            }
        }
    }
}

fn all_codings() -> HeaderValue {
    let all = [Coding::Br, Coding::Zstd, Coding::Gzip].map(Coding::token);
    HeaderValue::from_str(&all.join(", ")).unwrap_or(HeaderValue::from_static("gzip"))
}

/// The files that would be looked for, in words; `asked` is the path that was routed, `path` what is
/// left of it below the root.
///
/// # Errors
///
/// Why none is.
pub(super) fn looked_for(files: &Files, asked: &str, path: &str) -> Result<String, String> {
    if ["//", "%2F", "%5C"].iter().any(|one| asked.contains(one)) {
        return Err(
            "no file has an empty segment or an escaped separator in its path (404)".into(),
        );
    }
    let root = files.root.display();
    let candidates = candidates(files, path);
    let seen = candidates.iter().filter(|one| is_seen(files, one));
    let seen: Vec<_> = seen.map(String::as_str).collect();
    match &seen[..] {
        [] => Err("names that begin with a dot are hidden (404)".into()),
        [one] => Ok(format!("{one} of {root} is looked for (else 404)")),
        all => Ok(format!(
            "the first that is there of {} of {root} (else 404)",
            all.join(", ")
        )),
    }
}

/// Paths below the root, each once.
fn candidates(files: &Files, path: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |path: String| {
        if !all.contains(&path) {
            all.push(path);
        }
    };
    let wanted = files.try_files.iter().filter_map(|one| one.wanted(path));
    for path in wanted {
        if !path.ends_with('/') {
            add(path.into_owned());
            continue;
        }
        for index in &files.index {
            add(format!("{path}{index}"));
        }
        if files.listing {
            add(path.into_owned());
        }
    }
    all
}

fn is_seen(files: &Files, path: &str) -> bool {
    let path = path.strip_prefix("/.well-known").unwrap_or(path);
    files.hidden || !path.contains("/.")
}

/// How long a disk may take.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::files::Candidate;

    fn files(change: impl FnOnce(&mut Files)) -> Files {
        let mut files = Files::of("/srv".into());
        change(&mut files);
        files
    }

    #[test]
    fn what_is_looked_for_follows_from_the_path() {
        let page = files(|files| {
            let (before, behind) = (String::new(), ".html".to_owned());
            files.try_files.push(Candidate::Asked { before, behind });
            files
                .try_files
                .push(Candidate::Fixed("/app.html".to_owned()));
        });
        for (path, all) in [
            ("/", &["/index.html", "/app.html"][..]),
            ("/a/", &["/a/index.html", "/a.html", "/app.html"]),
            ("/a", &["/a", "/a.html", "/app.html"]),
            ("/a/b.png", &["/a/b.png", "/a/b.png.html"]),
        ] {
            assert_eq!(candidates(&page, path), all, "{path}");
        }
        let listed = files(|files| files.listing = true);
        assert_eq!(candidates(&listed, "/a/"), ["/a/index.html", "/a/"]);
    }

    #[test]
    fn what_is_never_found_is_told() {
        let usual = files(|_| {});
        for path in ["/a//b", "/a%2Fb", "/.env", "/a/.git/config", "/a/.b/"] {
            let told = looked_for(&usual, path, path);
            assert!(told.unwrap_err().contains("404"), "{path}");
        }
        for path in ["/a.b/c", "/.well-known/acme"] {
            assert!(looked_for(&usual, path, path).is_ok(), "{path}");
        }
        let shown = files(|files| files.hidden = true);
        let told = looked_for(&shown, "/.env", "/.env").unwrap();
        assert_eq!(told, "/.env of /srv is looked for (else 404)");
    }
}
