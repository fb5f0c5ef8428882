//! Where a client wants to go: a host and a port, checked once and then carried inward.
//!
//! A [`Target`] comes from a stranger and ends in a name lookup, a rule, a log line and a dial, so
//! it holds one spelling only. Names are lower case without a final dot. An address written as
//! text is an address. An IPv4 address mapped into IPv6 is the IPv4 address: the kernel dials the
//! same host for both, so a rule or a health record must not take them for two.
//!
//! A name whose last label is a number (`127.1`, `0x7f000001`, `1.2.3.04`) is refused. No such
//! name exists in the DNS, yet system resolvers read them as addresses in ways of their own, past
//! any rule that was written for addresses (WHATWG URL, "ends in a number").

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    str::FromStr,
};

/// A host and a port that a client asked for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Target {
    /// Never an IPv4 address mapped into IPv6.
    host: Host,
    port: NonZeroU16,
}

impl Target {
    /// Joins a host and a port.
    ///
    /// # Errors
    ///
    /// Port 0 names no service.
    pub fn new(host: Host, port: u16) -> Result<Self, TargetError> {
        let Some(port) = NonZeroU16::new(port) else {
            return Err(TargetError::bad_port("0"));
        };
        let host = match host {
            Host::Ip(ip) => Host::Ip(ip.to_canonical()),
            name => name,
        };
        Ok(Self { host, port })
    }

    /// Reads an HTTP authority that has to name its port: `host:port` or `[v6]:port`.
    ///
    /// # Errors
    ///
    /// Anything else, user information included; the error tells what was found.
    pub fn parse(authority: &str) -> Result<Self, TargetError> {
        let (host, port) = split_authority(authority)?;
        let port = port.ok_or(TargetError::MissingPort)?;
        Self::new(host, parse_port(port)?)
    }

    /// Reads an HTTP authority whose port may be left out, as in `http://host/`.
    ///
    /// # Errors
    ///
    /// As [`Target::parse`], but for a missing port. A colon with nothing behind it is not a
    /// missing port.
    pub fn parse_or_port(authority: &str, default_port: u16) -> Result<Self, TargetError> {
        let (host, port) = split_authority(authority)?;
        let port = port.map_or(Ok(default_port), parse_port)?;
        Self::new(host, port)
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port; never 0.
    pub fn port(&self) -> u16 {
        self.port.get()
    }

    /// The address to dial, when no name has to be looked up for it.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port())),
            Host::Name(_) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(authority: &str) -> Result<Self, TargetError> {
        Self::parse(authority)
    }
}

/// An address or a name.
///
/// Displayed as an authority has it: an IPv6 address stands in brackets.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name to look up.
    Name(Name),
}

impl Host {
    /// Reads a name, or an address written as text without brackets.
    ///
    /// # Errors
    ///
    /// What is neither; the bytes may be any at all.
    pub fn parse(text: &[u8]) -> Result<Self, HostError> {
        if let Some(ip) = parse_ip(text) {
            return Ok(Self::Ip(ip.to_canonical()));
        }
        Name::parse(text).map(Self::Name)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// A host name: letters, digits, `-`, `_` and `.`, in lower case, without a final dot.
///
/// At most 253 bytes, each label 1 to 63 (RFC 1035 §2.3.4), the last one not a number.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(Box<str>);

impl Name {
    /// Reads a name; capitals become small letters, one final dot is dropped.
    ///
    /// # Errors
    ///
    /// What no resolver should be asked for.
    pub fn parse(text: &[u8]) -> Result<Self, HostError> {
        let text = without_final_dot(text);
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.len() > NAME_LIMIT {
            return Err(HostError::TooLong { bytes: text.len() });
        }
        let name = text
            .iter()
            .map(|&byte| name_char(byte))
            .collect::<Result<String, _>>()?;
        for label in name.split('.') {
            check_label(label)?;
        }
        if ends_in_number(&name) {
            return Err(HostError::Number);
        }
        Ok(Self(name.into_boxed_str()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why some text is not a [`Target`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// User information (`user@host`) is how one host is made to look like another.
    #[error("found \"@\", expected host:port without a user name")]
    Userinfo,
    /// A bracket too many or too few, or a bare IPv6 address.
    #[error("found colons or brackets out of place, expected host:port or [ipv6]:port")]
    Brackets,
    /// Brackets around something else than an IPv6 address.
    #[error("found brackets around something else, expected an ipv6 address in them")]
    NotIpv6,
    /// No port, where nothing says which one would be meant.
    #[error("found no port, expected host:port")]
    MissingPort,
    /// The port is zero, too large or not a number.
    #[error("found port {found:?}, expected a whole number from 1 to 65535")]
    Port {
        /// The start of what stood there.
        found: Box<str>,
    },
    /// The host itself is wrong.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl TargetError {
    fn bad_port(found: &str) -> Self {
        Self::Port {
            found: found.chars().take(PORT_SHOWN).collect(),
        }
    }
}

/// Why some text is not a [`Host`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Nothing there, or only a dot.
    #[error("found an empty host, expected a name or an address")]
    Empty,
    /// A byte that no host name has.
    #[error(
        "found \"{}\" in a host name, expected letters, digits, \"-\", \"_\" and \".\"",
        .byte.escape_ascii()
    )]
    Byte {
        /// The first such byte.
        byte: u8,
    },
    /// Longer than the DNS can hold.
    #[error("found a host name of {bytes} bytes, expected at most {NAME_LIMIT}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// A label longer than the DNS can hold.
    #[error("found a label of {bytes} bytes in a host name, expected at most {LABEL_LIMIT}")]
    LabelTooLong {
        /// How long the first such label is.
        bytes: usize,
    },
    /// Two dots in a row, or one in front.
    #[error("found an empty label in a host name, expected something between the dots")]
    EmptyLabel,
    /// Neither a name nor an address that all resolvers read alike.
    #[error("found a host that ends in a number, expected a name or four decimal numbers")]
    Number,
}

fn split_authority(authority: &str) -> Result<(Host, Option<&str>), TargetError> {
    if authority.contains('@') {
        return Err(TargetError::Userinfo);
    }
    if let Some(bracketed) = authority.strip_prefix('[') {
        return split_bracketed(bracketed);
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if authority.contains(['[', ']']) || port.is_some_and(|port| port.contains(':')) {
        return Err(TargetError::Brackets);
    }
    Ok((Host::parse(host.as_bytes())?, port))
}

/// Splits what follows an opening bracket: `v6]` or `v6]:port`.
fn split_bracketed(text: &str) -> Result<(Host, Option<&str>), TargetError> {
    let (ip, rest) = text.split_once(']').ok_or(TargetError::Brackets)?;
    let port = match rest.strip_prefix(':') {
        None if !rest.is_empty() => return Err(TargetError::Brackets),
        port => port,
    };
    let ip = Ipv6Addr::from_str(ip).map_err(|_| TargetError::NotIpv6)?;
    Ok((Host::Ip(ip.to_canonical()), port))
}

fn parse_port(text: &str) -> Result<u16, TargetError> {
    // `u16::from_str` alone would take a plus sign and any number of zeros.
    let is_plain = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = if is_plain { text.parse().ok() } else { None };
    port.filter(|&port| port != 0)
        .ok_or_else(|| TargetError::bad_port(text))
}

fn parse_ip(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if text.contains(':') {
        return text.parse().ok().map(IpAddr::V6);
    }
    // The final dot of a name is dropped, so it must not turn an address into one.
    let text = text.strip_suffix('.').unwrap_or(text);
    text.parse().ok().map(IpAddr::V4)
}

fn without_final_dot(text: &[u8]) -> &[u8] {
    text.strip_suffix(b".").unwrap_or(text)
}

fn name_char(byte: u8) -> Result<char, HostError> {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            Ok(char::from(byte.to_ascii_lowercase()))
        }
        _ => Err(HostError::Byte { byte }),
    }
}

fn check_label(label: &str) -> Result<(), HostError> {
    match label.len() {
        0 => Err(HostError::EmptyLabel),
        bytes if bytes > LABEL_LIMIT => Err(HostError::LabelTooLong { bytes }),
        _ => Ok(()),
    }
}

/// Whether the last label is decimal, or hexadecimal behind `0x`; octal is decimal by its digits.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

const NAME_LIMIT: usize = 253;
const LABEL_LIMIT: usize = 63;
/// How many characters of a bad port an error repeats.
const PORT_SHOWN: usize = 16;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_authority_is_read_and_shown_in_one_spelling() {
        for (text, shown) in [
            ("example.com:80", "example.com:80"),
            ("Example.COM.:443", "example.com:443"),
            ("a_b-c.d1:65535", "a_b-c.d1:65535"),
            ("localhost:1", "localhost:1"),
            ("host:00080", "host:80"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("127.0.0.1.:80", "127.0.0.1:80"),
            ("[::1]:443", "[::1]:443"),
            ("[2001:DB8:0:0::1]:443", "[2001:db8::1]:443"),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
            ("1.2.3.4.example:80", "1.2.3.4.example:80"),
            ("0xcafe.example:80", "0xcafe.example:80"),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!(target.to_string(), shown);
            assert_eq!(Target::parse(shown), Ok(target));
        }
    }

    #[test]
    fn an_authority_with_a_mistake_is_refused_by_its_name() {
        let port = |found: &str| TargetError::Port {
            found: found.into(),
        };
        let byte = |byte| TargetError::Host(HostError::Byte { byte });
        for (text, error) in [
            ("", HostError::Empty.into()),
            (":80", HostError::Empty.into()),
            (".:80", HostError::Empty.into()),
            ("host", TargetError::MissingPort),
            ("[::1]", TargetError::MissingPort),
            ("host:", port("")),
            ("host:0", port("0")),
            ("host:65536", port("65536")),
            ("host:+80", port("+80")),
            ("host:-1", port("-1")),
            ("host:http", port("http")),
            ("host:8 0", port("8 0")),
            ("host:000080", port("000080")),
            ("[::1]:0", port("0")),
            ("user@host:80", TargetError::Userinfo),
            ("good.example:80@evil.example:80", TargetError::Userinfo),
            ("::1:80", TargetError::Brackets),
            ("[::1:80", TargetError::Brackets),
            ("::1]:80", TargetError::Brackets),
            ("[::1]80", TargetError::Brackets),
            ("a[::1]:80", TargetError::Brackets),
            ("[]:80", TargetError::NotIpv6),
            ("[127.0.0.1]:80", TargetError::NotIpv6),
            ("[fe80::1%eth0]:80", TargetError::NotIpv6),
            ("[v1.x]:80", TargetError::NotIpv6),
            ("ho st:80", byte(b' ')),
            ("ho\0st:80", byte(0)),
            ("ho/st:80", byte(b'/')),
            ("ho%2est:80", byte(b'%')),
            ("h\u{f6}st:80", byte(0xC3)),
            ("a..b:80", HostError::EmptyLabel.into()),
            (".a:80", HostError::EmptyLabel.into()),
            ("a..:80", HostError::EmptyLabel.into()),
            ("127.1:80", HostError::Number.into()),
            ("2130706433:80", HostError::Number.into()),
            ("0x7f000001:80", HostError::Number.into()),
            ("0X7F.0x1:80", HostError::Number.into()),
            ("0177.0.0.1:80", HostError::Number.into()),
            ("1.2.3.256:80", HostError::Number.into()),
            ("1.2.3.4.5:80", HostError::Number.into()),
        ] {
            assert_eq!(Target::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_default_port_stands_in_for_a_missing_port_only() {
        let parse = |text| Target::parse_or_port(text, 80).map(|target| target.to_string());
        assert_eq!(parse("host").as_deref(), Ok("host:80"));
        assert_eq!(parse("[::1]").as_deref(), Ok("[::1]:80"));
        assert_eq!(parse("host:8080").as_deref(), Ok("host:8080"));
        assert!(parse("host:").is_err());
        assert!(parse("::1").is_err());
        assert!(Target::parse_or_port("host", 0).is_err());
    }

    #[test]
    fn names_and_labels_may_reach_their_limits_but_not_pass_them() {
        let label = "a".repeat(LABEL_LIMIT);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), NAME_LIMIT);
        for name in [longest.clone(), format!("{longest}.")] {
            assert!(Name::parse(name.as_bytes()).is_ok());
        }
        assert_eq!(
            Name::parse(format!("{longest}a").as_bytes()),
            Err(HostError::TooLong { bytes: 254 })
        );
        assert_eq!(
            Name::parse(format!("{label}a.b").as_bytes()),
            Err(HostError::LabelTooLong { bytes: 64 })
        );
    }

    #[test]
    fn an_address_as_text_is_an_address() {
        let ip = |text: &str| Ok(Host::Ip(text.parse().unwrap()));
        assert_eq!(Host::parse(b"10.0.0.1"), ip("10.0.0.1"));
        assert_eq!(Host::parse(b"::1"), ip("::1"));
        assert_eq!(Host::parse(b"::ffff:10.0.0.1"), ip("10.0.0.1"));
        assert_eq!(Host::parse(b"[::1]"), Err(HostError::Byte { byte: b'[' }));
    }

    #[test]
    fn a_mapped_address_is_the_address_it_maps() {
        let mapped = Host::Ip("::ffff:10.0.0.1".parse().unwrap());
        let target = Target::new(mapped, 80).unwrap();
        assert_eq!(
            target.address(),
            Some(SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 80)))
        );
    }

    #[test]
    fn errors_say_what_was_found_and_what_would_be_right() {
        let text = |authority| Target::parse(authority).unwrap_err().to_string();
        assert_eq!(
            text("host:99999"),
            "found port \"99999\", expected a whole number from 1 to 65535"
        );
        assert_eq!(
            text("h\0:1"),
            "found \"\\x00\" in a host name, expected letters, digits, \"-\", \"_\" and \".\""
        );
        let long = format!("host:{}", "9".repeat(1000));
        assert!(text(&long).len() < 100);
    }
}
