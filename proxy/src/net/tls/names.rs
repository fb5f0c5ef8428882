//! Which hosts a certificate is for: names and addresses of its subject alternative names.
//!
//! Rules of RFC 9525 (and RFC 6125 before it): a name matches whole and in any case, `*` stands for
//! exactly one label and only as the leftmost one, an address matches an address alone. The common
//! name counts for nothing, as no client looks at it any longer.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// The hosts of one certificate.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Names {
    /// In lower case, without a dot at the end.
    exact: HashSet<Box<str>>,
    /// `*.example.com`, kept as `example.com`.
    below: HashSet<Box<str>>,
    addresses: HashSet<IpAddr>,
    /// Everything above, as the certificate orders it.
    listed: Vec<String>,
}

impl Names {
    /// Whether the certificate is for this host: a name, or an address with or without brackets;
    /// no port.
    #[must_use]
    pub fn cover(&self, host: &str) -> bool {
        if let Some(address) = address(host) {
            return self.addresses.contains(&address);
        }
        let name = plain(host);
        self.exact.contains(&*name)
            || parent(&name).is_some_and(|parent| self.below.contains(parent))
    }

    /// The names and addresses in the order of the certificate, wildcards with their `*`.
    #[must_use]
    pub fn listed(&self) -> &[String] {
        &self.listed
    }

    /// Names that are meant whole.
    pub(super) fn exact(&self) -> impl Iterator<Item = &str> {
        self.exact.iter().map(|name| &**name)
    }

    /// Names of which everything one label below is meant.
    pub(super) fn below(&self) -> impl Iterator<Item = &str> {
        self.below.iter().map(|name| &**name)
    }

    /// Those of a certificate. A broken list of names is no list: the certificate covers nothing.
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut names = Self::default();
        if let Ok(Some(extension)) = certificate.subject_alternative_name() {
            for name in &extension.value.general_names {
                names.add(name);
            }
        }
        names
    }

    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.add_name(name),
            GeneralName::IPAddress(bytes) => self.add_address(bytes),
            _ => {}
        }
    }

    /// A `*` elsewhere than alone in the leftmost label matches nothing, hence is left out.
    fn add_name(&mut self, name: &str) {
        let name = plain(name);
        let new = match name.strip_prefix("*.") {
            Some(parent) if is_name(parent) => self.below.insert(parent.into()),
            None if is_name(&name) => self.exact.insert((&*name).into()),
            _ => false,
        };
        if new {
            self.listed.push(name.into_owned());
        }
    }

    fn add_address(&mut self, bytes: &[u8]) {
        let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        let Ok(address) = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)) else {
            return;
        };
        if self.addresses.insert(address) {
            self.listed.push(address.to_string());
        }
    }
}

/// The first few, as one line of a log has room for.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.listed.is_empty() {
            return f.write_str("no names");
        }
        for (index, name) in self.listed.iter().take(SHOWN_MOST).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}")?;
        }
        match self.listed.len().saturating_sub(SHOWN_MOST) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A name as names are compared: lower case, no dot at the end. Allocates for capitals alone.
pub(super) fn plain(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Borrowed(name)
}

/// What is left of a name without its first label, if that label is one at all.
pub(super) fn parent(name: &str) -> Option<&str> {
    let (label, parent) = name.split_once('.')?;
    (!label.is_empty() && label != "*").then_some(parent)
}

/// The address that a host is, brackets of a URL's or not.
pub(super) fn address(host: &str) -> Option<IpAddr> {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

fn is_name(name: &str) -> bool {
    !name.contains('*') && name.split('.').all(|label| !label.is_empty())
}

/// How many names a line shows.
const SHOWN_MOST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[&str]) -> Names {
        let mut names = Names::default();
        for name in of {
            match name.parse::<IpAddr>() {
                Ok(IpAddr::V4(ip)) => names.add_address(&ip.octets()),
                Ok(IpAddr::V6(ip)) => names.add_address(&ip.octets()),
                Err(_) => names.add_name(name),
            }
        }
        names
    }

    #[test]
    fn a_name_covers_itself_in_any_case_and_with_a_dot_at_the_end() {
        let names = names(&["Shop.Example.com"]);
        for host in ["shop.example.com", "SHOP.example.COM", "shop.example.com."] {
            assert!(names.cover(host), "{host}");
        }
        for host in [
            "example.com",
            "a.shop.example.com",
            "shop.example.com..",
            "",
        ] {
            assert!(!names.cover(host), "{host}");
        }
    }

    #[test]
    fn a_star_stands_for_one_leftmost_label() {
        let names = names(&["*.example.com"]);
        for host in [
            "a.example.com",
            "xn--bcher-kva.example.com",
            "A.EXAMPLE.COM.",
        ] {
            assert!(names.cover(host), "{host}");
        }
        for host in [
            "example.com",
            "a.b.example.com",
            ".example.com",
            "*.example.com",
            "aexample.com",
        ] {
            assert!(!names.cover(host), "{host}");
        }
    }

    #[test]
    fn a_star_anywhere_else_matches_nothing() {
        let names = names(&["*", "f*.example.com", "a.*.com", "*.*.com", "*."]);
        assert!(names.listed().is_empty());
        for host in ["foo.example.com", "a.b.com", "x.y.com", "com", "*"] {
            assert!(!names.cover(host), "{host}");
        }
    }

    #[test]
    fn an_address_is_covered_by_an_address_alone() {
        let names = names(&["192.0.2.7", "2001:db8::1", "*.0.2.8", "192.0.2.9.example"]);
        for host in ["192.0.2.7", "2001:db8::1", "[2001:DB8:0::1]"] {
            assert!(names.cover(host), "{host}");
        }
        for host in ["192.0.2.8", "192.0.2.9", "[::1]", "192.0.2.7."] {
            assert!(!names.cover(host), "{host}");
        }
    }

    #[test]
    fn a_line_shows_a_few_names_and_counts_the_rest() {
        let many: Vec<String> = (0..10).map(|n| format!("n{n}.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(names(&many).to_string().ends_with("n7.example and 2 more"));
        assert_eq!(names(&["a.example", "::1"]).to_string(), "a.example, ::1");
        assert_eq!(Names::default().to_string(), "no names");
    }
}
