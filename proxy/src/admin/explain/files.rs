//! What of a folder would be looked for; the disk itself is not asked.

use crate::plan::files::Files;

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
