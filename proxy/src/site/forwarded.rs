//! For whom a request is, and what the server is told about that.
//!
//! Anybody can write that a request is for somebody else, so the fields that say so are believed
//! only from peers in `trusted`: proxies of the operator's own in front of this one.
//!
//! - From a trusted peer, `X-Forwarded-For` is continued with the peer's address;
//!   `X-Forwarded-Proto`, `-Host` and `-Port` stay where they are there; `Forwarded` (RFC 7239) is
//!   continued if there is one, and never begun, since servers that read both would have two
//!   accounts to choose from.
//! - From all others, whatever claims to tell the client's address, how it asked, or another path
//!   is dropped, and the `X-Forwarded-*` fields are written anew.
//!
//! The client is found by `X-Forwarded-For` alone, from its end: the last address there that is
//! not a trusted one. Everything before it could be its invention.
//!
//! A field whose name has an underscore is dropped, from whomever: servers that pass fields as
//! variables (RFC 3875 §4.1.18) take `X_Forwarded_For` for `X-Forwarded-For`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::target::Asked;
use crate::serve::headers::Seen;

/// Who is at the other end of a connection. Made once for each.
#[derive(Clone, Debug)]
pub struct Peer {
    ip: IpAddr,
    /// The address as text.
    said: HeaderValue,
}

impl Peer {
    /// The peer at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let ip = address.ip().to_canonical();
        let said = HeaderValue::try_from(ip.to_string());
        Self {
            ip,
            // No address has what a field may not hold.
            said: said.unwrap_or(HeaderValue::from_static("unknown")),
        }
    }

    /// Its address; an IPv4 one is never mapped into IPv6.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Whether it is believed.
    #[must_use]
    pub fn is_in(&self, trusted: &[IpNet]) -> bool {
        is_in(trusted, self.ip)
    }

    /// For whom a request with these fields is: the peer, or the one for whom it asks if it is
    /// trusted. Of all who are named, at most the last 32 are looked at.
    #[must_use]
    pub fn client(&self, trusted: &[IpNet], headers: &HeaderMap) -> IpAddr {
        let mut client = self.ip;
        if !self.is_in(trusted) {
            return client;
        }
        let fields = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let named = fields.flat_map(|field| field.as_bytes().rsplit(|&byte| byte == b','));
        for name in named.take(HOPS_MOST) {
            // Behind what cannot be read, nobody knows who wrote it.
            let Some(ip) = read_ip(name) else { break };
            client = ip;
            if !is_in(trusted, ip) {
                break;
            }
        }
        client
    }

    /// Makes the fields of a request tell the server for whom it is, and drops what must not be
    /// believed. To be called once routes have seen the fields, and behind the removal of what
    /// belongs to the connection: else a client would name in `Connection` what is written here.
    pub fn announce(&self, trusted: &[IpNet], asked: &Asked, headers: &mut HeaderMap) {
        self.announce_seen(trusted, asked, Seen::of(headers), headers);
    }

    /// The same where it is known which fields there are.
    pub(super) fn announce_seen(
        &self,
        trusted: &[IpNet],
        asked: &Asked,
        seen: Seen,
        headers: &mut HeaderMap,
    ) {
        let is_trusted = self.is_in(trusted);
        if seen.has(Seen::UNDERSCORE) || !is_trusted && seen.has(Seen::CLAIM) {
            drop_fields(headers, |name| {
                has_underscore(name) || !is_trusted && is_claim(name.as_str())
            });
        }
        if is_trusted {
            self.continue_forwarded(asked, headers);
            self.continue_forwarded_for(headers);
        } else {
            headers.append(X_FORWARDED_FOR, self.said.clone());
        }
        // What others had said is gone by now, so that nothing has to be replaced.
        let is_open =
            |headers: &HeaderMap, name: HeaderName| !is_trusted || !headers.contains_key(name);
        if is_open(headers, X_FORWARDED_PROTO) {
            let scheme = HeaderValue::from_static(asked.scheme());
            headers.append(X_FORWARDED_PROTO, scheme);
        }
        if let Some(authority) = asked.authority()
            && is_open(headers, X_FORWARDED_HOST)
        {
            headers.append(X_FORWARDED_HOST, authority.clone());
        }
    }

    /// All that was said becomes one field, because some servers read only one.
    fn continue_forwarded_for(&self, headers: &mut HeaderMap) {
        let joined = match joined(headers, &X_FORWARDED_FOR) {
            Some(before) => field([before.as_slice(), self.said.as_bytes()].join(&b", "[..])),
            None => None,
        };
        headers.insert(X_FORWARDED_FOR, joined.unwrap_or_else(|| self.said.clone()));
    }

    fn continue_forwarded(&self, asked: &Asked, headers: &mut HeaderMap) {
        let Some(mut forwarded) = joined(headers, &FORWARDED) else {
            return;
        };
        let node = match self.ip {
            IpAddr::V4(ip) => ip.to_string(),
            // A colon or a bracket has to be quoted (RFC 7239 §6).
            IpAddr::V6(ip) => format!("\"[{ip}]\""),
        };
        let scheme = asked.scheme();
        forwarded.extend_from_slice(format!(", for={node};proto={scheme}").as_bytes());
        if let Some(authority) = asked.authority() {
            // Of what may be in a host, nothing has to be escaped between quotes.
            forwarded.extend_from_slice(b";host=\"");
            forwarded.extend_from_slice(authority.as_bytes());
            forwarded.push(b'"');
        }
        match field(forwarded) {
            Some(value) => headers.insert(FORWARDED, value),
            None => headers.remove(FORWARDED),
        };
    }
}

/// The number by which servers and error pages know a request.
#[derive(Clone, Debug)]
pub enum RequestId {
    /// Made here: hexadecimal digits.
    Made([u8; 32]),
    /// It came with the request.
    Said(HeaderValue),
}

impl RequestId {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Made(digits) => std::str::from_utf8(digits).unwrap_or_default(),
            Self::Said(said) => said.to_str().unwrap_or_default(),
        }
    }

    /// The one that a request came with if `is_trusted` and it is a plain word, else a new one.
    pub(super) fn of(headers: &HeaderMap, is_trusted: bool, random: &mut fastrand::Rng) -> Self {
        if is_trusted {
            let mut said = headers.get_all(X_REQUEST_ID).iter();
            if let (Some(id), None) = (said.next(), said.next())
                && is_plain_id(id.as_bytes())
            {
                return Self::Said(id.clone());
            }
        }
        Self::new(random)
    }

    /// Tells it to a server.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        // Digits are always a value.
        if let Self::Made(digits) = self
            && let Ok(value) = HeaderValue::from_bytes(digits)
        {
            headers.insert(X_REQUEST_ID, value);
        }
    }

    fn new(random: &mut fastrand::Rng) -> Self {
        let mut digits = [0; 32];
        let (eights, _) = digits.as_chunks_mut::<8>();
        for eight in eights {
            *eight = hexadecimal(random.u32(..));
        }
        Self::Made(digits)
    }
}

/// Makes sure that a request has an id, and tells it. One that came with it stays if `is_trusted`
/// and it is a plain word.
pub fn request_id(
    headers: &mut HeaderMap,
    is_trusted: bool,
    random: &mut fastrand::Rng,
) -> RequestId {
    let id = RequestId::of(headers, is_trusted, random);
    id.write(headers);
    id
}

/// The digits of a number, the lowest first: all eight at once.
fn hexadecimal(number: u32) -> [u8; 8] {
    let spread = u64::from(number);
    let spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    let spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // One in each byte that is above nine: no sum reaches the next byte.
    let letters = (spread + 0x0606_0606_0606_0606) >> 4 & ONES;
    let ascii = spread + ONES * u64::from(b'0') + letters * u64::from(b'a' - b'0' - 10);
    ascii.to_le_bytes()
}

fn is_plain_id(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=ID_LIMIT).contains(&id.len()) && id.iter().all(is_plain)
}

fn is_in(ranges: &[IpNet], ip: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(&ip))
}

/// Reads `ip`, `ip:port` or `[v6]:port` with white space around, as proxies write them.
fn read_ip(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    let bracketed = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        Some(IpAddr::V6(inner.parse::<Ipv6Addr>().ok()?))
    };
    let ip = text.parse().ok().or_else(with_port).or_else(bracketed)?;
    Some(ip.to_canonical())
}

/// All values of a field as one list; `None` if there is nothing.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut joined = Vec::new();
    for value in headers.get_all(name) {
        if value.is_empty() {
            continue;
        }
        if !joined.is_empty() {
            joined.extend_from_slice(b", ");
        }
        joined.extend_from_slice(value.as_bytes());
    }
    (!joined.is_empty()).then_some(joined)
}

fn field(value: Vec<u8>) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from(value)).ok()
}

fn drop_fields(headers: &mut HeaderMap, is_dropped: impl Fn(&HeaderName) -> bool) {
    let dropped: Vec<_> = headers
        .keys()
        .filter(|name| is_dropped(name))
        .cloned()
        .collect();
    for name in dropped {
        headers.remove(name);
    }
}

fn has_underscore(name: &HeaderName) -> bool {
    name.as_str().contains('_')
}

/// Whether a field claims to know the client, how it asked, or what it asked for in truth. Names
/// that proxies and services of all kinds set and servers believe.
fn is_claim(name: &str) -> bool {
    name.starts_with("x-forwarded") || CLAIMS.contains(&name)
}

const CLAIMS: [&str; 22] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "forwarded-for",
    "front-end-https",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-http-host-override",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-url",
    "x-originating-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
];
/// One in each byte of a word.
const ONES: u64 = u64::MAX / 0xff;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How many proxies in a row are looked at.
const HOPS_MOST: usize = 32;
/// Bytes of a request's id.
const ID_LIMIT: usize = 128;

#[cfg(test)]
mod tests {
    use hyper::Request;
    use hyper::header::HOST;

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "fd00::/8"]
            .map(|net| net.parse().unwrap())
            .to_vec()
    }

    fn peer(ip: &str) -> Peer {
        Peer::new(SocketAddr::new(ip.parse().unwrap(), 5000))
    }

    fn asked() -> Asked {
        let request = Request::builder().uri("/").header(HOST, "Ex.org:8080");
        Asked::read(&request.body(()).unwrap(), true).unwrap()
    }

    fn announced(ip: &str, fields: &[(&'static str, &str)]) -> Vec<String> {
        let mut headers = headers(fields);
        peer(ip).announce(&trusted(), &asked(), &mut headers);
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        let mut lines: Vec<_> = headers.iter().map(line).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn a_stranger_s_claims_are_replaced() {
        let lines = announced(
            "::ffff:192.0.2.1",
            &[
                ("accept", "*/*"),
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-for", "2.2.2.2"),
                ("x-forwarded-proto", "gopher"),
                ("x-forwarded-host", "evil"),
                ("x-forwarded-port", "1"),
                ("x-forwarded-prefix", "/evil"),
                ("forwarded", "for=1.1.1.1"),
                ("x-real-ip", "1.1.1.1"),
                ("x-original-url", "/admin"),
                ("x_forwarded_for", "1.1.1.1"),
                ("x-a_b", "1"),
            ],
        );
        assert_eq!(
            lines,
            [
                "accept: */*",
                "x-forwarded-for: 192.0.2.1",
                "x-forwarded-host: Ex.org:8080",
                "x-forwarded-proto: https",
            ]
        );
    }

    #[test]
    fn every_claim_is_seen() {
        for name in CLAIMS.into_iter().chain(["x-forwarded-for"]) {
            assert!(is_claim(name) && Seen::of(&headers(&[(name, "1")])).has(Seen::CLAIM));
        }
        let usual = headers(&[("accept", "*/*"), ("user-agent", "x"), ("host", "x")]);
        assert!(!Seen::of(&usual).has(Seen::CLAIM));
    }

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [0, 1, 0x0123_4567, 0x89ab_cdef, 0xa9f0_90fa, u32::MAX] {
            let mut digits = hexadecimal(number);
            digits.reverse();
            assert_eq!(digits, *format!("{number:08x}").as_bytes());
        }
    }

    #[test]
    fn a_trusted_peer_s_account_is_continued() {
        let lines = announced(
            "fd00::1",
            &[
                ("x-forwarded-for", "192.0.2.1"),
                ("x-forwarded-for", "10.0.0.1, 10.0.0.2"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "front"),
                ("x-forwarded-port", "80"),
                ("forwarded", "for=192.0.2.1"),
                ("x-real-ip", "192.0.2.1"),
                ("x_real_ip", "1.1.1.1"),
            ],
        );
        assert_eq!(
            lines,
            [
                "forwarded: for=192.0.2.1, for=\"[fd00::1]\";proto=https;host=\"Ex.org:8080\"",
                "x-forwarded-for: 192.0.2.1, 10.0.0.1, 10.0.0.2, fd00::1",
                "x-forwarded-host: front",
                "x-forwarded-port: 80",
                "x-forwarded-proto: http",
                "x-real-ip: 192.0.2.1",
            ]
        );
    }

    #[test]
    fn a_trusted_peer_that_says_nothing_is_told_of_itself() {
        assert_eq!(
            announced("10.1.2.3", &[("x-forwarded-for", "")]),
            [
                "x-forwarded-for: 10.1.2.3",
                "x-forwarded-host: Ex.org:8080",
                "x-forwarded-proto: https",
            ]
        );
    }

    #[test]
    fn the_client_is_the_last_who_is_not_trusted() {
        for (ip, fields, client) in [
            ("192.0.2.1", &["1.1.1.1"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("::ffff:10.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["1.1.1.1, 192.0.2.1 ,10.0.0.2"], "192.0.2.1"),
            (
                "10.0.0.1",
                &["1.1.1.1", "192.0.2.1", "10.0.0.3,fd00::2"],
                "192.0.2.1",
            ),
            ("10.0.0.1", &["192.0.2.1:4000, 10.0.0.2:80"], "192.0.2.1"),
            ("10.0.0.1", &["[2001:db8::1]:4000"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["1.1.1.1, "], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_str(field).unwrap());
            }
            let found = peer(ip).client(&trusted(), &headers);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{ip} {fields:?}");
        }
    }

    #[test]
    fn the_way_back_to_the_client_is_bounded() {
        let long = format!("192.0.2.1{}", ", 10.0.0.2".repeat(HOPS_MOST));
        let headers = headers(&[("x-forwarded-for", &long)]);
        let found = peer("10.0.0.1").client(&trusted(), &headers);
        assert_eq!(found, "10.0.0.2".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn an_id_is_kept_from_those_who_are_trusted_if_it_is_a_plain_word() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut id = |fields: &[_], is_trusted| {
            let mut headers = headers(fields);
            let id = request_id(&mut headers, is_trusted, &mut random);
            let ids: Vec<_> = headers.get_all(X_REQUEST_ID).iter().collect();
            assert_eq!(ids, [id.as_str()]);
            id.as_str().to_owned()
        };
        let long = "a".repeat(ID_LIMIT);
        for said in ["a", "3f2-A_b.c", &long] {
            assert_eq!(id(&[("x-request-id", said)], true), said);
            assert_ne!(id(&[("x-request-id", said)], false), said);
        }
        let mut made = vec![
            id(&[], true),
            id(&[("x-request-id", "a"), ("x-request-id", "a")], true),
        ];
        for said in ["", "a b", "a\"b", &format!("{long}a")] {
            made.push(id(&[("x-request-id", said)], true));
        }
        let is_made = |id: &String| {
            id.len() == 32
                && id
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        assert!(made.iter().all(is_made), "{made:?}");
        made.sort_unstable();
        made.dedup();
        assert_eq!(made.len(), 6, "no two are the same");
    }
}
