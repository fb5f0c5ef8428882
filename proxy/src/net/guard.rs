//! Which addresses may be dialled for a client.
//!
//! The rules look at the address of each attempt, after the name has been resolved: a name is
//! whatever its owner's server says today (DNS rebinding). An address is judged by what a packet
//! to it would reach, so an IPv4 address inside an IPv6 one is looked at as itself.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::error::leads_nowhere;

/// The rules of one listener.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Addresses this process listens on. Wildcards stand for every address of this host.
    own: Vec<SocketAddr>,
    allow_private: bool,
}

/// What the rules say about one address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It may be dialled.
    Allowed,
    /// A dial would come back to this process.
    Own,
    /// It is not for this listener's clients.
    Private,
}

impl Guard {
    /// Rules for a process that listens on `own`.
    #[must_use]
    pub fn new(own: Vec<SocketAddr>, allow_private: bool) -> Self {
        let own = own.into_iter().map(canonical).collect();
        Self { own, allow_private }
    }

    /// Judges one resolved address.
    #[must_use]
    pub fn judge(&self, address: SocketAddr) -> Verdict {
        let address = canonical(address);
        if self.is_own(address, is_this_host) {
            Verdict::Own
        } else if !self.allow_private && is_private(address.ip()) {
            Verdict::Private
        } else {
            Verdict::Allowed
        }
    }

    /// `is_this_host` is asked only when the port is that of a wildcard listener.
    fn is_own(&self, address: SocketAddr, is_this_host: impl Fn(IpAddr) -> bool) -> bool {
        let ip = dialled(address.ip());
        self.own.iter().any(|own| {
            own.port() == address.port()
                && (own.ip() == ip || (own.ip().is_unspecified() && is_this_host(ip)))
        })
    }
}

/// Whether `ip` is loopback, private, link-local, shared, or otherwise not a public host.
#[must_use]
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => is_private_v6(ip),
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_loopback()
        || ip.is_private()
        // Cloud metadata lives at 169.254.169.254.
        || ip.is_link_local()
        || ip.is_multicast()
        // "This network" (RFC 791 §3.2): Linux dials 0.0.0.0 as loopback.
        || a == 0
        // Shared with carriers (RFC 6598); a metadata service lives at 100.100.100.200.
        || (a == 100 && (64..128).contains(&b))
        // Protocol assignments (RFC 6890), benchmarks (RFC 2544).
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        // Reserved (RFC 1112 §4), broadcast included.
        || a >= 240
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    let [first, second, ..] = segments;
    let embedded = match segments {
        // NAT64 (RFC 6052 §2.1) and its local prefix (RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some((high, low)),
        // 6to4 (RFC 3056 §2).
        [0x2002, high, low, ..] => Some((high, low)),
        // IPv4-compatible (RFC 4291 §2.5.5.1): `::` and `::1` are in here too.
        [0, 0, 0, 0, 0, 0, high, low] => Some((high, low)),
        _ => None,
    };
    if let Some((high, low)) = embedded {
        let bits = (u32::from(high) << 16) | u32::from(low);
        return is_private_v4(Ipv4Addr::from_bits(bits));
    }
    ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_multicast()
        // Unique local (RFC 4193), with the metadata address fd00:ec2::254.
        || (first & 0xfe00) == 0xfc00
        // Link-local, and site-local as it once was.
        || (first & 0xff80) == 0xfe80
        // The local NAT64 prefix (RFC 8215): what it embeds, and where, is up to its owner.
        || (first == 0x64 && second == 0xff9b)
        // Teredo (RFC 4380) hides an IPv4 address in a form of its own.
        || (first == 0x2001 && second == 0)
}

/// One spelling for one place: a mapped address is the IPv4 one.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Linux dials the unspecified address as loopback.
fn dialled(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// Whether a packet to `ip` stays on this host. Sends nothing: connecting a datagram socket only
/// asks the kernel for the route, and a route to oneself starts and ends at the same address.
fn is_this_host(ip: IpAddr) -> bool {
    if ip.is_loopback() {
        return true;
    }
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    is_source(source, ip)
}

/// Whether the route's `source` is `ip`. Without an answer it has to be taken for that, or whoever
/// uses up the files turns the rule off; unless the dial cannot succeed either.
fn is_source(source: io::Result<SocketAddr>, ip: IpAddr) -> bool {
    match source {
        Ok(source) => source.ip() == ip,
        Err(error) => !leads_nowhere(&error),
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn addresses_that_are_not_public_are_private() {
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "2001::1",
        ] {
            assert!(is_private(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn public_addresses_are_not_private() {
        for ip in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
            "2001:4860::8888",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_private(ip.parse().unwrap()), "{ip}");
        }
    }

    fn verdict(own: &str, dialled: &str) -> Verdict {
        Guard::new(vec![own.parse().unwrap()], true).judge(dialled.parse().unwrap())
    }

    #[test]
    fn own_listeners_are_recognised_in_every_spelling() {
        for (own, dialled) in [
            ("127.0.0.1:8090", "127.0.0.1:8090"),
            ("127.0.0.1:8090", "[::ffff:127.0.0.1]:8090"),
            ("127.0.0.1:8090", "0.0.0.0:8090"),
            ("[::1]:8090", "[::]:8090"),
            ("0.0.0.0:8090", "127.0.0.1:8090"),
            ("0.0.0.0:8090", "127.7.7.7:8090"),
            ("[::]:8090", "127.0.0.1:8090"),
            ("[::]:8090", "[::1]:8090"),
            ("0.0.0.0:8090", "0.0.0.0:8090"),
        ] {
            assert_eq!(verdict(own, dialled), Verdict::Own, "{own} {dialled}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_checked_is_own_unless_it_leads_nowhere() {
        let ip = IpAddr::from([192, 0, 2, 1]);
        for (errno, is_own) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOBUFS, true),
            (Errno::NETUNREACH, false),
            (Errno::AFNOSUPPORT, false),
        ] {
            assert_eq!(is_source(Err(errno.into()), ip), is_own, "{errno}");
        }
    }

    #[test]
    fn other_ports_and_other_hosts_are_not_own() {
        for (own, dialled) in [
            ("127.0.0.1:8090", "127.0.0.1:8091"),
            ("127.0.0.1:8090", "127.0.0.2:8090"),
            ("192.0.2.1:8090", "0.0.0.0:8090"),
        ] {
            assert_eq!(verdict(own, dialled), Verdict::Allowed, "{own} {dialled}");
        }
    }
}
