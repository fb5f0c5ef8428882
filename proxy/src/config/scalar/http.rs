//! Forms of HTTP: fields, methods, paths, statuses.

use hyper::Method;
use hyper::header::{self, HeaderName, HeaderValue};

use super::{Form, refused};
use crate::proto::path::normal;

impl Form for HeaderName {
    const NAME: &'static str = "field-name";
    const EXPECTED: &'static str = "the name of a field, such as x-version";
    const EXAMPLE: &'static str = "x-version";

    fn read(text: &str) -> Result<Self, String> {
        Self::from_bytes(text.as_bytes()).map_err(|_| refused::<Self>(text))
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

/// The name of a field that may be changed: none that tells where a message ends, or of what is
/// between two neighbours only.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnField(pub HeaderName);

impl Form for OwnField {
    const NAME: &'static str = "own-field-name";
    const EXPECTED: &'static str = "the name of a field, such as x-version";
    const EXAMPLE: &'static str = "x-version";

    fn read(text: &str) -> Result<Self, String> {
        let name = HeaderName::read(text)?;
        if name == header::HOST {
            return Err(format!(
                "found {text:?}, expected another: the key `host` of the route is for that"
            ));
        }
        if NEIGHBOURS.contains(&name.as_str()) {
            return Err(format!(
                "found {text:?}, which belongs to the connection and not to the message; \
                 expected another"
            ));
        }
        Ok(Self(name))
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

impl Form for HeaderValue {
    const NAME: &'static str = "field-value";
    const EXPECTED: &'static str = "the value of a field: printable ASCII, no space at its ends";
    const EXAMPLE: &'static str = "max-age=60";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.trim() != text || !text.is_ascii() {
            return Err(refused::<Self>(text));
        }
        Self::from_str(text).map_err(|_| refused::<Self>(text))
    }

    fn show(&self) -> String {
        // Whatever was read is printable.
        self.to_str().unwrap_or_default().to_owned()
    }
}

impl Form for Method {
    const NAME: &'static str = "method";
    const EXPECTED: &'static str = "a method such as GET or POST, in capitals";
    const EXAMPLE: &'static str = "GET";

    fn read(text: &str) -> Result<Self, String> {
        if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(refused::<Self>(text));
        }
        Self::from_bytes(text.as_bytes()).map_err(|_| refused::<Self>(text))
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

/// Which paths a route is for, or what is taken from or put before them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoutePath(pub String);

impl Form for RoutePath {
    const NAME: &'static str = "route-path";
    const EXPECTED: &'static str = "a path such as /api, without a query, . or .. as a segment, \
                                    and escapes of what needs none";
    const EXAMPLE: &'static str = "/api";

    fn read(text: &str) -> Result<Self, String> {
        // What paths of requests are compared with has their form.
        match normal(text) {
            Ok(normal) if normal == text => Ok(Self(text.to_owned())),
            _ => Err(refused::<Self>(text)),
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// What a server is asked for: a path, and a query if there is one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestPath(pub String);

impl Form for RequestPath {
    const NAME: &'static str = "request-path";
    const EXPECTED: &'static str = "a path that begins with /, such as /healthz or /healthz?full";
    const EXAMPLE: &'static str = "/healthz";

    fn read(text: &str) -> Result<Self, String> {
        let is_right = |byte| is_of_path(byte) || byte == b'?';
        if !text.starts_with('/') || !text.bytes().all(is_right) {
            return Err(refused::<Self>(text));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// Where a redirect leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Location(pub String);

impl Form for Location {
    const NAME: &'static str = "location";
    const EXPECTED: &'static str = "a path, or a URI of http or https, in which {scheme}, {host}, \
                                    {path} and {query} may stand, such as \
                                    https://{host}{path}{query}";
    const EXAMPLE: &'static str = "https://{host}{path}{query}";

    fn read(text: &str) -> Result<Self, String> {
        let authority = ["http://", "https://", "{scheme}://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme));
        let is_right = match authority {
            Some(rest) => !rest.is_empty() && !rest.starts_with(['/', '?', '#']),
            // Two slashes at the start would lead to whatever host the client names.
            None => text.starts_with('/') && !text.starts_with("//"),
        };
        if text.starts_with("/{path}") {
            return Err(format!(
                "found {text:?}: {{path}} begins with a / of its own, and two would name a host; \
                 expected another start"
            ));
        }
        if !is_right || !are_known(text) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused::<Self>(text));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// Whether every brace is one of a name that is known.
fn are_known(text: &str) -> bool {
    let rest = ["{scheme}", "{host}", "{path}", "{query}"]
        .iter()
        .fold(text.to_owned(), |rest, name| rest.replace(name, ""));
    !rest.contains(['{', '}'])
}

/// Statuses from one to another, both included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Statuses(pub u16, pub u16);

impl Statuses {
    /// Those of an answer that is right, unless said otherwise.
    pub const RIGHT: Self = Self(200, 399);
}

impl Form for Statuses {
    const NAME: &'static str = "statuses";
    const EXPECTED: &'static str = "statuses such as 200-399, or one such as 204";
    const EXAMPLE: &'static str = "200-399";

    fn read(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| {
            let is_number = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            let status = is_number.then(|| text.parse::<u16>().ok());
            status
                .flatten()
                .filter(|status| (100..=599).contains(status))
        };
        match (status(least), status(most)) {
            (Some(least), Some(most)) if least <= most => Ok(Self(least, most)),
            _ => Err(refused::<Self>(text)),
        }
    }

    fn show(&self) -> String {
        match self {
            Self(least, most) if least == most => least.to_string(),
            Self(least, most) => format!("{least}-{most}"),
        }
    }
}

/// A part of a hundred.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Percent(pub u8);

impl Form for Percent {
    const NAME: &'static str = "percent";
    const EXPECTED: &'static str = "a part such as 20%, at most 100%";
    const EXAMPLE: &'static str = "20%";

    fn read(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').filter(|number| {
            (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        let number = number.and_then(|number| number.parse().ok());
        number
            .filter(|number| *number <= 100)
            .map(Self)
            .ok_or_else(|| refused::<Self>(text))
    }

    fn show(&self) -> String {
        format!("{}%", self.0)
    }
}

/// RFC 3986 §3.3, and a `%` whatever stands behind it: `pchar` and `/`.
fn is_of_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte)
}

/// Fields that frame a message, or are between two neighbours only (RFC 9110 §7.6.1).
const NEIGHBOURS: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::super::tests::holds;
    use super::*;

    #[test]
    fn fields_that_frame_a_message_are_not_to_be_changed() {
        holds::<OwnField>(
            &["x-a", "X-A", "authorization", "cache-control"],
            &[
                "",
                "Host",
                "Content-Length",
                "transfer-encoding",
                "Connection",
                "x a",
                ":path",
                "x:",
                "é",
            ],
        );
        holds::<HeaderName>(&["host", "X-A"], &["", "a b", "a\r\nb"]);
    }

    #[test]
    fn a_value_is_one_line_of_printable_text() {
        holds::<HeaderValue>(
            &["a", "a b", "\"x\", y"],
            &["", " a", "a ", "a\nb", "a\r\nb: c", "é", "\0"],
        );
    }

    #[test]
    fn a_method_is_in_capitals() {
        holds::<Method>(&["GET", "PROPFIND", "M-SEARCH"], &["", "get", "G T", "Get"]);
    }

    #[test]
    fn a_path_begins_with_a_slash_and_goes_up_nowhere() {
        holds::<RoutePath>(
            &["/", "/api", "/api/", "/a%20b", "/a..b"],
            &[
                "", "api", "/a?b", "/a#b", "/a b", "/../a", "/a/.", "/é", "/a\n", "/..;x", "/%",
                "/%2", "/%2f", "/%41", "/%00",
            ],
        );
        holds::<RequestPath>(&["/", "/a?b=c"], &["", "a", "/a#b", "/a b", "*"]);
    }

    #[test]
    fn a_redirect_leads_to_no_host_that_a_client_could_choose_by_its_path() {
        holds::<Location>(
            &[
                "/",
                "/new{path}",
                "https://{host}{path}{query}",
                "http://a.example:8080/x",
                "https://a.example{path}",
                "{scheme}://www.{host}{path}?{query}",
            ],
            &[
                "",
                "new",
                "{path}",
                "//a.example",
                "/{path}",
                "https://",
                "https:///a",
                "ftp://a",
                "javascript:x",
                "/{paths}",
                "/{",
                "/a}",
                "/a b",
                "/a\r\nb",
            ],
        );
    }

    #[test]
    fn statuses_and_parts_are_in_range() {
        holds::<Statuses>(
            &["200", "200-399", "204-204"],
            &[
                "",
                "20",
                "99",
                "600",
                "399-200",
                "200-",
                "-200",
                "+20",
                "2xx",
                "200-300-400",
            ],
        );
        holds::<Percent>(
            &["0%", "20%", "100%"],
            &["", "%", "20", "101%", "-1%", "+1%", "2.5%"],
        );
    }
}
