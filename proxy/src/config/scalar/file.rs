//! Forms of static files: names, paths, patterns, types, origins.

use glob::Pattern;
use hyper::header::{HeaderName, HeaderValue};

use super::{Form, refused};
use crate::proto::Target;
use crate::proto::path::normal;

/// The name of a file that stands for its folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileName(pub String);

impl Form for FileName {
    const NAME: &'static str = "file-name";
    const EXPECTED: &'static str = "the name of a file, without a folder, such as index.html";
    const EXAMPLE: &'static str = "index.html";

    fn read(text: &str) -> Result<Self, String> {
        let is_dots = matches!(text, "" | "." | "..");
        if is_dots || text.contains('/') || text.chars().any(char::is_control) {
            return Err(refused::<Self>(text));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// A file below a root, as a URL has its path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FilePath(pub String);

impl Form for FilePath {
    const NAME: &'static str = "file-path";
    const EXPECTED: &'static str = "the path of a file below root, such as /404.html, as it stands \
                                    in a URL";
    const EXAMPLE: &'static str = "/404.html";

    fn read(text: &str) -> Result<Self, String> {
        if !is_below(text) || text.ends_with('/') {
            return Err(refused::<Self>(text));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// What is looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TryFile {
    /// The path that was asked for, between these two.
    Asked {
        /// Before it.
        before: String,
        /// Behind it.
        behind: String,
    },
    /// This file.
    Fixed(FilePath),
}

impl TryFile {
    /// The path that was asked for.
    #[must_use]
    pub fn asked() -> Self {
        Self::Asked {
            before: String::new(),
            behind: String::new(),
        }
    }
}

impl Form for TryFile {
    const NAME: &'static str = "try-file";
    const EXPECTED: &'static str = "a path below root that begins with / or {path}, such as \
                                    {path}, {path}.html, {path}/, /old{path} or /index.html";
    const EXAMPLE: &'static str = "{path}.html";

    fn read(text: &str) -> Result<Self, String> {
        let Some((before, behind)) = text.split_once(PATH) else {
            return match FilePath::read(text) {
                Ok(path) if !text.contains(['{', '}']) => Ok(Self::Fixed(path)),
                _ => Err(refused::<Self>(text)),
            };
        };
        if before.ends_with('/') {
            return Err(format!(
                "found {text:?}: {{path}} begins with a / of its own; expected none before it"
            ));
        }
        // What is behind the path of a request ends its last segment, or is below it.
        let behind_all = match behind.starts_with('/') {
            true => behind.to_owned(),
            false => format!("/{behind}"),
        };
        let is_right = !text.replacen(PATH, "", 1).contains(['{', '}'])
            && (before.is_empty() || is_below(before))
            && is_below(&behind_all);
        if !is_right {
            return Err(refused::<Self>(text));
        }
        Ok(Self::Asked {
            before: before.to_owned(),
            behind: behind.to_owned(),
        })
    }

    fn show(&self) -> String {
        match self {
            Self::Asked { before, behind } => format!("{before}{PATH}{behind}"),
            Self::Fixed(path) => path.show(),
        }
    }
}

/// Whether `text` is a path that a request could have and a file as well.
fn is_below(text: &str) -> bool {
    let has_separator = ["%2F", "%5C", "//"].iter().any(|one| text.contains(one));
    !has_separator && normal(text).is_ok_and(|normal| normal == text)
}

impl Form for Pattern {
    const NAME: &'static str = "file-pattern";
    const EXPECTED: &'static str = "a pattern of files below root, without a slash in front, such \
                                    as *.html or assets/**";
    const EXAMPLE: &'static str = "*.html";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.starts_with('/') {
            return Err(refused::<Self>(text));
        }
        Self::new(text).map_err(|error| {
            let (what, at) = (error.msg, error.pos);
            format!(
                "found {text:?} ({what}, character {at}), expected {}",
                Self::EXPECTED
            )
        })
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

/// What a file is called behind its last dot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Extension(pub String);

impl Form for Extension {
    const NAME: &'static str = "extension";
    const EXPECTED: &'static str = "an extension in lower case, without a dot, such as md";
    const EXAMPLE: &'static str = "md";

    fn read(text: &str) -> Result<Self, String> {
        let is_wrong = |char: char| char.is_control() || ['.', '/'].contains(&char);
        if text.is_empty() || text.contains(is_wrong) || text.to_lowercase() != text {
            return Err(refused::<Self>(text));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// What a file is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaType(pub HeaderValue);

impl Form for MediaType {
    const NAME: &'static str = "media-type";
    const EXPECTED: &'static str = "a type such as text/plain, or text/plain; charset=utf-8";
    const EXAMPLE: &'static str = "text/markdown";

    fn read(text: &str) -> Result<Self, String> {
        let refused = || refused::<Self>(text);
        let value = HeaderValue::read(text).map_err(|_| refused())?;
        let essence = text.split(';').next().unwrap_or_default().trim_end();
        // Both sides are tokens (RFC 9110 §8.3.1), as names of fields are.
        let is_token = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
        match essence.split_once('/') {
            Some((kind, of)) if is_token(kind) && is_token(of) => Ok(Self(value)),
            _ => Err(refused()),
        }
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

/// A status with which a folder answers that has no file for a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ErrorStatus(pub u16);

impl Form for ErrorStatus {
    const NAME: &'static str = "error-status";
    const EXPECTED: &'static str = "one of 403, 404, 405, 412 and 416";
    const EXAMPLE: &'static str = "404";

    fn read(text: &str) -> Result<Self, String> {
        let status = PAGED.into_iter().find(|status| status.to_string() == text);
        status.map(Self).ok_or_else(|| refused::<Self>(text))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// Of which pages a browser says that they ask (RFC 6454 §6.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin(pub String);

impl Form for Origin {
    const NAME: &'static str = "origin";
    const EXPECTED: &'static str = "an origin such as https://app.example.com, in lower case and \
                                    without a path; `cors = true` is for all";
    const EXAMPLE: &'static str = "https://app.example.com";

    fn read(text: &str) -> Result<Self, String> {
        let refused = || refused::<Self>(text);
        let (scheme, host) = text.split_once("://").ok_or_else(refused)?;
        let is_scheme = scheme.starts_with(|char: char| char.is_ascii_lowercase())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        if !is_scheme || !is_lower || Target::parse_or_port(host, 80).is_err() {
            return Err(refused());
        }
        let usual = [("http", ":80"), ("https", ":443")];
        if let Some((_, port)) = usual
            .iter()
            .find(|(of, port)| scheme == *of && host.ends_with(port))
        {
            return Err(format!(
                "found {text:?}, expected it without {port}, which no browser says"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// What stands for the path that was asked for.
const PATH: &str = "{path}";

/// Those that there are.
const PAGED: [u16; 5] = [403, 404, 405, 412, 416];

#[cfg(test)]
mod tests {
    use super::super::tests::holds;
    use super::*;

    #[test]
    fn a_name_has_no_folder() {
        holds::<FileName>(
            &["index.html", "README", ".index", "a b", "é"],
            &["", ".", "..", "a/b", "/a", "a\0", "a\n"],
        );
    }

    #[test]
    fn a_path_leads_to_a_file_below_the_root() {
        holds::<FilePath>(
            &["/404.html", "/errors/404.html", "/a%20b"],
            &[
                "", "/", "/a/", "404.html", "/../a", "/a//b", "/a%2Fb", "/a%5Cb", "/%41", "/a b",
                "/a?b", "/%00",
            ],
        );
    }

    #[test]
    fn what_is_looked_for_has_the_path_once_or_not_at_all() {
        holds::<TryFile>(
            &[
                "{path}",
                "{path}.html",
                "{path}/",
                "{path}/index.html",
                "/old{path}",
                "/old{path}.html",
                "/index.html",
            ],
            &[
                "",
                "/",
                "index.html",
                "x{path}",
                "/old/{path}",
                "/{path}",
                "{path}{path}",
                "{path}/../x",
                "{path}..",
                "{path}/{name}",
                "{uri}",
                "/{uri}",
                "/a/",
                "/../a",
                "{path}//",
                "{path}?a",
                "{path}%2Fa",
                "=404",
            ],
        );
        let (before, behind) = ("/old".to_owned(), ".html".to_owned());
        let asked = TryFile::Asked { before, behind };
        assert_eq!(TryFile::read("/old{path}.html").unwrap(), asked);
        assert_eq!(asked.show(), "/old{path}.html");
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_told() {
        holds::<Pattern>(
            &["*.html", "assets/**", "**/*.js", "[ab].css"],
            &["", "/assets/*", "a**", "[a"],
        );
        let error = Pattern::read("a/b**").unwrap_err();
        assert!(error.contains("wildcards") && error.contains("character"));
    }

    #[test]
    fn an_extension_has_no_dot_and_a_type_two_sides() {
        holds::<Extension>(&["md", "7z", "é"], &["", ".md", "MD", "tar.gz", "a/b"]);
        holds::<MediaType>(
            &["text/html", "text/plain; charset=utf-8", "image/svg+xml"],
            &[
                "",
                "html",
                "text/",
                "/html",
                "text/a b",
                "text/html/x",
                " a/b",
            ],
        );
        holds::<ErrorStatus>(
            &["403", "404", "405", "412", "416"],
            &["", "200", "401", "500", "+404", "4xx", "0404"],
        );
    }

    #[test]
    fn an_origin_is_written_as_browsers_do() {
        holds::<Origin>(
            &[
                "https://a.example",
                "http://localhost:3000",
                "http://[::1]:8080",
                "https://a.example:80",
                "capacitor://localhost",
            ],
            &[
                "",
                "*",
                "null",
                "a.example",
                "https://",
                "https://a.example/",
                "https://A.example",
                "HTTPS://a.example",
                "https://a.example:443",
                "http://a.example:80",
                "https://u@a.example",
                "://a",
                "https://*.a.example",
            ],
        );
        assert!(Origin::read("*").unwrap_err().contains("cors = true"));
    }
}
