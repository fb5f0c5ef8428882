//! How long a file may be kept by whoever has it, by its path.

use glob::MatchOptions;
use hyper::header::HeaderValue;

use crate::plan::files::Files;

/// `Cache-Control` of the file at `path`, which is below the root and has no slash in front: that
/// of the first pattern that fits.
///
/// A pattern with a slash in it is one for the whole path, where `*` stays within a segment and
/// `**` does not. One without is for the file's name alone, in whichever folder it is, as in
/// `.gitignore`: `*.html` means every page. Upper case is not lower case, and a dot in front of a
/// name is a character like others.
#[must_use]
pub fn cache_control<'a>(path: &str, files: &'a Files) -> Option<&'a HeaderValue> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let rule = files.cache_control.iter().find(|(pattern, _)| {
        let whole = if pattern.as_str().contains('/') {
            path
        } else {
            name
        };
        pattern.matches_with(whole, OPTIONS)
    });
    rule.map(|(_, value)| value)
}

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use glob::Pattern;

    use super::*;

    fn is_for(pattern: &str, path: &str) -> bool {
        let mut files = Files::of(PathBuf::from("/srv"));
        let value = HeaderValue::from_static("no-cache");
        let pattern = Pattern::new(pattern).unwrap();
        files.cache_control.push((pattern, value));
        cache_control(path, &files).is_some()
    }

    #[test]
    fn a_pattern_without_a_slash_is_for_names_in_every_folder() {
        for path in ["a.html", "b/a.html", "b/c/.html"] {
            assert!(is_for("*.html", path), "{path}");
        }
        for path in ["a.htm", "a.html/b", "a.HTML", "a.html.gz"] {
            assert!(!is_for("*.html", path), "{path}");
        }
        assert!(is_for("sw.js", "sw.js") && is_for("sw.js", "a/sw.js"));
        assert!(is_for("*", "a/b/c") && is_for("**", "a/b/c"));
    }

    #[test]
    fn a_pattern_with_a_slash_is_for_the_whole_path() {
        for (pattern, path, expected) in [
            ("assets/*", "assets/a.js", true),
            ("assets/*", "assets/b/a.js", false),
            ("assets/*", "b/assets/a.js", false),
            ("assets/**", "assets/a.js", true),
            ("assets/**", "assets/b/c/a.js", true),
            ("assets/**", "assets2/a.js", false),
            ("assets/**/*.js", "assets/a.js", true),
            ("assets/**/*.js", "assets/b/c/a.js", true),
            ("assets/**/*.js", "assets/b/a.css", false),
            ("**/assets/*", "assets/a.js", true),
            ("**/assets/*", "b/c/assets/a.js", true),
            ("a/?.js", "a/b.js", true),
            ("a?b", "a/b", false),
            ("a/[bc].js", "a/c.js", true),
            ("a/*", "a/.b", true),
            (".well-known/**", ".well-known/a/b", true),
        ] {
            assert_eq!(is_for(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn the_first_that_fits_is_taken() {
        let mut files = Files::of(PathBuf::from("/srv"));
        for (pattern, value) in [("a/*.js", "one"), ("*.js", "two"), ("**/*", "three")] {
            let pattern = Pattern::new(pattern).unwrap();
            let value = HeaderValue::from_static(value);
            files.cache_control.push((pattern, value));
        }
        let found = |path: &str| cache_control(path, &files).unwrap().to_str().unwrap();
        assert_eq!(found("a/b.js"), "one");
        assert_eq!(found("b.js"), "two");
        assert_eq!(found("a/b/c.js"), "two");
        assert_eq!(found("a/b"), "three");
        files.cache_control.truncate(2);
        assert_eq!(cache_control("a.css", &files), None);
    }
}
