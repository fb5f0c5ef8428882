//! Forms that name something: hosts, servers, services, cookies, parameters, users.

use std::net::IpAddr;

use hyper::header::HeaderName;

use super::{Form, refused};
use crate::proto::{Host, Target};

/// A host that a site is for: a name, an address, or `*.` and a name. In lower case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SiteHost(pub String);

impl Form for SiteHost {
    const NAME: &'static str = "host";
    const EXPECTED: &'static str = "a host such as shop.example.com, or *.example.com for every \
                                    name one label below, without a port";
    const EXAMPLE: &'static str = "shop.example.com";

    fn read(text: &str) -> Result<Self, String> {
        let refused = || refused::<Self>(text);
        let (start, name) = match text.strip_prefix("*.") {
            Some(name) => ("*.", name),
            None => ("", text),
        };
        let bare = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let host = Host::parse(bare.unwrap_or(name).as_bytes()).map_err(|_| refused())?;
        let is_right = match &host {
            Host::Name(_) => bare.is_none(),
            Host::Ip(IpAddr::V4(_)) => bare.is_none() && start.is_empty(),
            Host::Ip(IpAddr::V6(_)) => start.is_empty(),
        };
        if !is_right {
            return Err(refused());
        }
        Ok(Self(format!("{start}{host}")))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// What of a request a server is chosen by.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum HashBy {
    /// The client's address.
    #[default]
    Client,
    /// The target's host.
    Target,
    /// The path.
    Path,
    /// A field.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
}

impl Form for HashBy {
    const NAME: &'static str = "hash-by";
    const EXPECTED: &'static str = "client, target, path, header:NAME or cookie:NAME";
    const EXAMPLE: &'static str = "cookie:session";

    fn read(text: &str) -> Result<Self, String> {
        let refused = || refused::<Self>(text);
        match (text, text.split_once(':')) {
            ("client", _) => Ok(Self::Client),
            ("target", _) => Ok(Self::Target),
            ("path", _) => Ok(Self::Path),
            (_, Some(("header", name))) => HeaderName::read(name)
                .map(Self::Header)
                .map_err(|_| refused()),
            (_, Some(("cookie", name))) => CookieName::read(name)
                .map(|name| Self::Cookie(name.0))
                .map_err(|_| refused()),
            _ => Err(refused()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Client => "client".to_owned(),
            Self::Target => "target".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Header(name) => format!("header:{name}"),
            Self::Cookie(name) => format!("cookie:{name}"),
        }
    }
}

/// The name of a cookie.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CookieName(pub String);

impl Form for CookieName {
    const NAME: &'static str = "cookie-name";
    const EXPECTED: &'static str = "the name of a cookie, such as session";
    const EXAMPLE: &'static str = "session";

    fn read(text: &str) -> Result<Self, String> {
        // Both are tokens (RFC 6265 §4.1.1), but for capitals, which count here.
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(_) if text.len() <= COOKIE_MOST => Ok(Self(text.to_owned())),
            _ => Err(refused::<Self>(text)),
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// The name of a service whose servers the DNS tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service(pub String);

impl Form for Service {
    const NAME: &'static str = "service";
    const EXPECTED: &'static str =
        "the name of SRV records, without a port, such as _http._tcp.example.com";
    const EXAMPLE: &'static str = "_http._tcp.example.com";

    fn read(text: &str) -> Result<Self, String> {
        match Host::parse(text.as_bytes()) {
            Ok(Host::Name(name)) => Ok(Self(name.as_str().to_owned())),
            _ => Err(refused::<Self>(text)),
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// What a server is told as its host: a host, and a port if there is one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority(pub String);

impl Form for Authority {
    const NAME: &'static str = "authority";
    const EXPECTED: &'static str = "a host, with a port or without, such as api.internal";
    const EXAMPLE: &'static str = "api.internal";

    fn read(text: &str) -> Result<Self, String> {
        match Target::parse_or_port(text, 80) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(refused::<Self>(text)),
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// A name that a certificate holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertName(pub String);

impl Form for CertName {
    const NAME: &'static str = "certificate-name";
    const EXPECTED: &'static str = "a name or an address, without a port, such as api.internal";
    const EXAMPLE: &'static str = "api.internal";

    fn read(text: &str) -> Result<Self, String> {
        match Host::parse(text.as_bytes()) {
            Ok(Host::Name(name)) => Ok(Self(name.as_str().to_owned())),
            Ok(Host::Ip(ip)) => Ok(Self(ip.to_string())),
            Err(_) => Err(refused::<Self>(text)),
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// The name of a parameter of the query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Parameter(pub String);

impl Form for Parameter {
    const NAME: &'static str = "parameter";
    const EXPECTED: &'static str = "the name of a parameter, such as version";
    const EXAMPLE: &'static str = "version";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(refused::<Self>(text));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// The name by which somebody logs in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserName(pub String);

impl Form for UserName {
    const NAME: &'static str = "user-name";
    const EXPECTED: &'static str = "the name of a user, without a colon, such as alice";
    const EXAMPLE: &'static str = "alice";

    fn read(text: &str) -> Result<Self, String> {
        // A colon would end it (RFC 7617 §2).
        let is_wrong = |char: char| char == ':' || char.is_control();
        if text.is_empty() || text.len() > USER_MOST || text.contains(is_wrong) {
            return Err(refused::<Self>(text));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// It stands in every line of the log.
const USER_MOST: usize = 128;
const COOKIE_MOST: usize = 128;

#[cfg(test)]
mod tests {
    use super::super::tests::holds;
    use super::*;

    #[test]
    fn a_wildcard_is_the_leftmost_label_alone() {
        holds::<SiteHost>(
            &[
                "a.example",
                "*.a.example",
                "localhost",
                "192.0.2.1",
                "[::1]",
                "::1",
            ],
            &[
                "",
                "*",
                "*.",
                "a.*.example",
                "*a.example",
                "*.*.a",
                "a.example:80",
                "*.192.0.2.1",
                "[a.example]",
                "a b",
                "a/b",
            ],
        );
        assert_eq!(
            SiteHost::read("*.Shop.Example.").unwrap().0,
            "*.shop.example"
        );
        assert_eq!(SiteHost::read("::1").unwrap().0, "[::1]");
    }

    #[test]
    fn what_names_a_server_or_a_cookie() {
        holds::<HashBy>(
            &[
                "client",
                "target",
                "path",
                "header:x-user",
                "cookie:Session",
            ],
            &[
                "",
                "clients",
                "header",
                "header:",
                "header:a b",
                "cookie:",
                "cookie:a;b",
                "host",
            ],
        );
        assert_eq!(
            HashBy::read("cookie:Session").unwrap().show(),
            "cookie:Session"
        );
        holds::<CookieName>(&["a", "__Host-a"], &["", "a=b", "a;b", "a b"]);
        holds::<Service>(&["_http._tcp.a.example"], &["", "a:80", "192.0.2.1", "a b"]);
        holds::<Authority>(&["a", "a:80", "[::1]:80"], &["", "a:0", "u@a", "a/b", "a:"]);
        holds::<CertName>(&["a", "::1", "192.0.2.1"], &["", "a:80", "*.a"]);
        holds::<Parameter>(&["a", "a b", "é"], &["", "a\n"]);
        holds::<UserName>(&["alice", "a.b@c", "é"], &["", "a:b", "a\n"]);
    }
}
