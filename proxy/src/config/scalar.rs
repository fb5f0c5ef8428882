//! Values that are written as text with a form of their own: times, sizes, addresses.
//!
//! Each form is one type: how it is read, how it is written, and what the schema says of it.

mod file;
mod http;
mod name;
mod octets;
mod secret;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use glob::Pattern;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use crate::bounds::Memory;
use crate::units;
pub use file::{ErrorStatus, Extension, FileName, FilePath, MediaType, Origin, TryFile};
pub use http::{Location, OwnField, Percent, RequestPath, RoutePath, Statuses};
pub use name::{Authority, CertName, CookieName, HashBy, Parameter, Service, SiteHost, UserName};
pub use octets::{BodyPattern, Octets};
pub use secret::{Fields, Secret};
pub(in crate::config) use secret::{HIDDEN, holds_credentials};

/// A form of text.
pub trait Form: Sized {
    /// Its name in the schema.
    const NAME: &'static str;
    /// What is expected, behind that word.
    const EXPECTED: &'static str;
    /// One that is right.
    const EXAMPLE: &'static str;

    /// Reads it.
    ///
    /// # Errors
    ///
    /// What was found and what was expected, in one sentence.
    fn read(text: &str) -> Result<Self, String>;

    /// Writes it so that [`Form::read`] takes it back.
    fn show(&self) -> String;
}

/// A value in its form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Said<T>(pub T);

impl<T: Form> Serialize for Said<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0.show())
    }
}

impl<'de, T: Form> Deserialize<'de> for Said<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        T::read(&text).map(Self).map_err(de::Error::custom)
    }
}

impl<T: Form> JsonSchema for Said<T> {
    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": T::NAME,
            "x-expected": T::EXPECTED,
            "examples": [T::EXAMPLE],
        })
    }
}

/// Whether `text` has the form of that name; `None` if there is no such form.
pub(super) fn hold(name: &str, text: &str) -> Option<Result<(), String>> {
    fn read<T: Form>(text: &str) -> Result<(), String> {
        T::read(text).map(|_| ())
    }
    let reads: [(&str, Read); 36] = [
        (Duration::NAME, read::<Duration>),
        (Patience::NAME, read::<Patience>),
        (Bytes::NAME, read::<Bytes>),
        (Memory::NAME, read::<Memory>),
        (SocketAddr::NAME, read::<SocketAddr>),
        (Control::NAME, read::<Control>),
        (IpNet::NAME, read::<IpNet>),
        (Server::NAME, read::<Server>),
        (Access::NAME, read::<Access>),
        (HeaderName::NAME, read::<HeaderName>),
        (OwnField::NAME, read::<OwnField>),
        (HeaderValue::NAME, read::<HeaderValue>),
        (Method::NAME, read::<Method>),
        (RoutePath::NAME, read::<RoutePath>),
        (RequestPath::NAME, read::<RequestPath>),
        (Location::NAME, read::<Location>),
        (Statuses::NAME, read::<Statuses>),
        (Percent::NAME, read::<Percent>),
        (SiteHost::NAME, read::<SiteHost>),
        (HashBy::NAME, read::<HashBy>),
        (CookieName::NAME, read::<CookieName>),
        (Service::NAME, read::<Service>),
        (Authority::NAME, read::<Authority>),
        (CertName::NAME, read::<CertName>),
        (Parameter::NAME, read::<Parameter>),
        (Octets::NAME, read::<Octets>),
        (BodyPattern::NAME, read::<BodyPattern>),
        (UserName::NAME, read::<UserName>),
        (FileName::NAME, read::<FileName>),
        (FilePath::NAME, read::<FilePath>),
        (TryFile::NAME, read::<TryFile>),
        (Pattern::NAME, read::<Pattern>),
        (Extension::NAME, read::<Extension>),
        (MediaType::NAME, read::<MediaType>),
        (ErrorStatus::NAME, read::<ErrorStatus>),
        (Origin::NAME, read::<Origin>),
    ];
    if name == PATH {
        return Some(read::<PathBuf>(text));
    }
    let (_, read) = reads.into_iter().find(|(known, _)| *known == name)?;
    Some(read(text))
}

/// Tries to read a text.
type Read = fn(&str) -> Result<(), String>;

/// The form whose relative values are relative to the file that says them.
pub(super) const PATH: &str = <PathBuf as Form>::NAME;

impl Form for Duration {
    const NAME: &'static str = "time";
    const EXPECTED: &'static str = "a time such as 250ms, 60s or 10m";
    const EXAMPLE: &'static str = "60s";

    fn read(text: &str) -> Result<Self, String> {
        units::duration(text).map_err(|error| error.to_string())
    }

    fn show(&self) -> String {
        units::show(*self)
    }
}

/// A time that may be without an end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Patience(pub Option<Duration>);

impl Form for Patience {
    const NAME: &'static str = "time-or-off";
    const EXPECTED: &'static str = "a time such as 10m, or off";
    const EXAMPLE: &'static str = "1h";

    fn read(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let time = units::duration(text).map_err(|error| format!("{error}, or off"))?;
        Ok(Self(Some(time)))
    }

    fn show(&self) -> String {
        self.0.map_or_else(|| "off".to_owned(), units::show)
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bytes(pub u64);

impl Form for Bytes {
    const NAME: &'static str = "size";
    const EXPECTED: &'static str = "a size such as 64KiB or 1GiB";
    const EXAMPLE: &'static str = "64KiB";

    fn read(text: &str) -> Result<Self, String> {
        units::size(text)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    fn show(&self) -> String {
        units::show_size(self.0)
    }
}

impl Form for Memory {
    const NAME: &'static str = "memory";
    const EXPECTED: &'static str = "auto, off, or a size such as 512MiB";
    const EXAMPLE: &'static str = "auto";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            text => match units::size(text) {
                Ok(bytes) => Ok(Self::Bytes(bytes)),
                Err(error) => Err(format!("{error}, or auto, or off")),
            },
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Off => "off".to_owned(),
            Self::Bytes(bytes) => units::show_size(*bytes),
        }
    }
}

impl Form for SocketAddr {
    const NAME: &'static str = "address";
    const EXPECTED: &'static str = "an IP address and a port, such as 127.0.0.1:8090";
    const EXAMPLE: &'static str = "127.0.0.1:8090";

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("found {text:?}, expected {}", Self::EXPECTED))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Where the admin API listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Control {
    /// Nowhere.
    Off,
    /// On a port.
    Tcp(SocketAddr),
    /// On a socket in the file system.
    Unix(PathBuf),
}

impl Form for Control {
    const NAME: &'static str = "control";
    const EXPECTED: &'static str =
        "an address such as 127.0.0.1:9901, or unix:/run/risefall.sock, or off";
    const EXAMPLE: &'static str = "unix:/run/risefall.sock";

    fn read(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let refused = || format!("found {text:?}, expected {}", Self::EXPECTED);
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(format!(
                "found {text:?}, expected a whole path, such as unix:/run/risefall.sock"
            )),
            None => text.parse().map(Self::Tcp).map_err(|_| refused()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

impl Form for IpNet {
    const NAME: &'static str = "range";
    const EXPECTED: &'static str = "a range such as 192.168.1.0/24, or an address";
    const EXAMPLE: &'static str = "192.168.1.0/24";

    fn read(text: &str) -> Result<Self, String> {
        let single = || text.parse::<std::net::IpAddr>().map(Self::from);
        text.parse()
            .or_else(|_| single())
            .map_err(|_| format!("found {text:?}, expected {}", Self::EXPECTED))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Where a server is: an address or a name, with its port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server(pub String);

impl Form for Server {
    const NAME: &'static str = "server";
    const EXPECTED: &'static str = "HOST:PORT, such as 10.0.0.11:8080 or api.internal:8080";
    const EXAMPLE: &'static str = "10.0.0.11:8080";

    fn read(text: &str) -> Result<Self, String> {
        crate::proto::Target::parse(text)
            .map(|_| Self(text.to_owned()))
            .map_err(|error| format!("found {text:?} ({error}), expected {}", Self::EXPECTED))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// Where access lines go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Access {
    /// Nowhere.
    Off,
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
    /// The end of a file.
    File(PathBuf),
}

impl Form for Access {
    const NAME: &'static str = "sink";
    const EXPECTED: &'static str = "off, stdout, stderr or a file";
    const EXAMPLE: &'static str = "/var/log/risefall/access.log";

    fn read(text: &str) -> Result<Self, String> {
        Ok(match text {
            "" => return Err(format!("found \"\", expected {}", Self::EXPECTED)),
            "off" => Self::Off,
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            path => Self::File(path.into()),
        })
    }

    fn show(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::Stdout => "stdout".to_owned(),
            Self::Stderr => "stderr".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

impl Form for PathBuf {
    const NAME: &'static str = "path";
    const EXPECTED: &'static str = "a path, relative to this file";
    const EXAMPLE: &'static str = "/var/lib/risefall/health.json";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            return Err(format!("found {text:?}, expected {}", Self::EXPECTED));
        }
        Ok(text.into())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

/// What was found, its start at least, and what was expected.
fn refused<T: Form>(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_MOST).collect();
    let end = if cut.len() < text.len() { "…" } else { "" };
    format!("found {:?}, expected {}", cut + end, T::EXPECTED)
}

const SHOWN_MOST: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn holds<T: Form>(right: &[&str], wrong: &[&str]) {
        for text in right {
            assert!(T::read(text).is_ok(), "{}: {text}", T::NAME);
        }
        for text in wrong {
            let error = T::read(text).err().expect(text);
            assert!(
                error.contains("found") && error.contains("expected"),
                "{error}"
            );
        }
    }

    fn reads_back<T: Form>() {
        let text = T::EXAMPLE;
        assert_eq!(T::read(text).unwrap().show(), text.replace("60s", "1m"));
        assert!(hold(T::NAME, text).unwrap().is_ok());
        assert!(hold(T::NAME, "").unwrap().is_err(), "{}", T::NAME);
    }

    #[test]
    fn every_example_is_right_and_reads_back() {
        reads_back::<Duration>();
        reads_back::<Patience>();
        reads_back::<Bytes>();
        reads_back::<Memory>();
        reads_back::<SocketAddr>();
        reads_back::<Control>();
        reads_back::<IpNet>();
        reads_back::<Server>();
        reads_back::<Access>();
        reads_back::<PathBuf>();
        reads_back::<HeaderName>();
        reads_back::<OwnField>();
        reads_back::<HeaderValue>();
        reads_back::<Method>();
        reads_back::<RoutePath>();
        reads_back::<RequestPath>();
        reads_back::<Location>();
        reads_back::<Statuses>();
        reads_back::<Percent>();
        reads_back::<SiteHost>();
        reads_back::<HashBy>();
        reads_back::<CookieName>();
        reads_back::<Service>();
        reads_back::<Authority>();
        reads_back::<CertName>();
        reads_back::<Parameter>();
        reads_back::<Octets>();
        reads_back::<BodyPattern>();
        reads_back::<UserName>();
        reads_back::<FileName>();
        reads_back::<FilePath>();
        reads_back::<TryFile>();
        reads_back::<Pattern>();
        reads_back::<Extension>();
        reads_back::<MediaType>();
        reads_back::<ErrorStatus>();
        reads_back::<Origin>();
    }
}
