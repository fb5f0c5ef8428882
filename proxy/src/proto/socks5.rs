//! SOCKS5 (RFC 1928), both ends.
//!
//! A conversation: the client greets with the methods it knows, the server picks one, the client
//! asks for a target, the server answers, and the connection becomes the client's. Nothing here
//! remembers where a conversation stands: each function reads one message from its start. A
//! [`NeedMore`](Parsed::NeedMore) ends for certain, since no greeting passes [`GREETING_LIMIT`]
//! bytes and no request [`REQUEST_LIMIT`].
//!
//! What a client gets wrong has a decided outcome, told by `answer` of each error:
//!
//! | found | sent before closing |
//! |---|---|
//! | another version in the greeting | nothing: it is another protocol |
//! | no methods, or none that the server takes | method `0xFF` |
//! | an unknown command | reply 07 |
//! | an unknown address type | reply 08 |
//! | another version in the request, a bad host, port 0 for `CONNECT` | reply 01 |
//!
//! The reserved byte of a request is not looked at: the RFC fixes it at zero, some clients do not,
//! and nothing hangs on it. A name that is an address in text is taken as that address.
//!
//! Whatever comes first in a message is judged first, without waiting for the rest. A caller that
//! closes after an answer should read what still arrives, or a reset may overtake the answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    Parsed, Reader,
    target::{Host, HostError, Target},
};

/// The longest greeting: version, count and 255 methods.
pub const GREETING_LIMIT: usize = 2 + 255;

/// The longest request: four bytes of head, a name of 255 bytes with its length, the port.
pub const REQUEST_LIMIT: usize = 4 + 1 + 255 + 2;

/// The address to put into a reply that has none to tell.
pub const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A way to prove who the client is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// No proof (`0x00`).
    NoAuth,
}

impl Method {
    const fn code(self) -> u8 {
        match self {
            Self::NoAuth => 0x00,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0x00 => Some(Self::NoAuth),
            _ => None,
        }
    }
}

/// A client's first message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Greeting<'a> {
    /// Never empty. Codes that this module does not know stand here too.
    methods: &'a [u8],
}

impl<'a> Greeting<'a> {
    /// The codes of the methods on offer, as sent.
    pub fn methods(&self) -> &'a [u8] {
        self.methods
    }

    /// Picks the first of `accepted` that the client offers; the server's order decides.
    pub fn choose(&self, accepted: &[Method]) -> Option<Method> {
        accepted
            .iter()
            .copied()
            .find(|method| self.methods.contains(&method.code()))
    }
}

/// What a client asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// Connect to the target and join the two streams.
    Connect(Target),
    /// Wait for a connection from the target; `None` when the client left the port zero.
    Bind(Option<Target>),
    /// Relay datagrams that come from the target, which is the client's own end; `None` when the
    /// client left the port zero, as it must when it does not know it yet (RFC 1928 §7).
    UdpAssociate(Option<Target>),
}

impl Request {
    /// The message as a client sends it.
    pub fn encode(&self) -> Vec<u8> {
        let (command, target) = match self {
            Self::Connect(target) => (CONNECT, Some(target)),
            Self::Bind(target) => (BIND, target.as_ref()),
            Self::UdpAssociate(target) => (UDP_ASSOCIATE, target.as_ref()),
        };
        let mut out = vec![VERSION, command, RESERVED];
        match target {
            None => put_address(&mut out, NO_ADDRESS),
            Some(target) => put_target(&mut out, target),
        }
        out
    }
}

/// What a server answers to a request (RFC 1928 §6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Reply {
    /// The stream is the client's from here on.
    Succeeded = 0x00,
    /// Something else went wrong.
    GeneralFailure = 0x01,
    /// A rule forbids it.
    NotAllowed = 0x02,
    /// No route to the network.
    NetworkUnreachable = 0x03,
    /// No such host, or no answer known from it.
    HostUnreachable = 0x04,
    /// The host refused.
    ConnectionRefused = 0x05,
    /// The host did not answer in time.
    TtlExpired = 0x06,
    /// The command is not served here.
    CommandNotSupported = 0x07,
    /// The address type is not served here.
    AddressTypeNotSupported = 0x08,
}

impl Reply {
    /// The byte that stands for it.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The reply that a byte stands for.
    pub fn from_code(code: u8) -> Option<Self> {
        REPLIES.get(usize::from(code)).copied()
    }

    /// The message as a server sends it, with the address the server bound or [`NO_ADDRESS`].
    pub fn encode(self, bound: SocketAddr) -> Vec<u8> {
        let mut out = vec![VERSION, self.code(), RESERVED];
        put_address(&mut out, bound);
        out
    }
}

/// A server's answer as the client reads it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// What became of the request.
    pub reply: Reply,
    /// The address the server bound for it; `None` when it sent a name, which no rule asks of it.
    pub bound: Option<SocketAddr>,
}

/// Why a greeting is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GreetingError {
    /// Not this protocol.
    #[error("found socks version {0}, expected 5")]
    Version(u8),
    /// Nothing to choose from.
    #[error("found a greeting without methods, expected at least one")]
    NoMethods,
}

impl GreetingError {
    /// What to send before closing, if anything.
    pub fn answer(&self) -> Option<[u8; 2]> {
        match self {
            Self::Version(_) => None,
            Self::NoMethods => Some(encode_method(None)),
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The greeting was version 5, this is not.
    #[error("found version {0} in a socks5 request, expected 5")]
    Version(u8),
    /// None of the three commands.
    #[error("found socks5 command {0}, expected 1 (connect), 2 (bind) or 3 (udp associate)")]
    Command(u8),
    /// None of the three address types.
    #[error("found socks5 address type {0}, expected 1 (ipv4), 3 (name) or 4 (ipv6)")]
    AddressType(u8),
    /// The name is not one.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A connection to port 0 is no connection.
    #[error("found port 0 in a socks5 connect, expected 1 to 65535")]
    ZeroPort,
}

impl RequestError {
    /// What to send before closing.
    pub fn answer(&self) -> Reply {
        match self {
            Self::Command(_) => Reply::CommandNotSupported,
            Self::AddressType(_) => Reply::AddressTypeNotSupported,
            Self::Version(_) | Self::Host(_) | Self::ZeroPort => Reply::GeneralFailure,
        }
    }
}

/// Why a client gives up on a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Not this protocol.
    #[error("found socks version {0} from the server, expected 5")]
    Version(u8),
    /// A method that this module does not know, so that the client did not offer it.
    #[error("found socks5 method {0} from the server, expected one that was offered")]
    Method(u8),
    /// A reply that the RFC does not name.
    #[error("found socks5 reply {0} from the server, expected 0 to 8")]
    Reply(u8),
    /// None of the three address types.
    #[error("found socks5 address type {0} from the server, expected 1, 3 or 4")]
    AddressType(u8),
}

/// Reads a client's greeting.
///
/// # Errors
///
/// Another version, or no methods at all.
pub fn parse_greeting(bytes: &[u8]) -> Result<Parsed<Greeting<'_>>, GreetingError> {
    Reader::parse(bytes, |reader| {
        let version = reader.byte()?;
        if version != VERSION {
            return Some(Err(GreetingError::Version(version)));
        }
        let count = reader.byte()?;
        if count == 0 {
            return Some(Err(GreetingError::NoMethods));
        }
        let methods = reader.slice(count)?;
        Some(Ok(Greeting { methods }))
    })
}

/// The server's answer to a greeting; without a method it is to close behind it.
pub fn encode_method(chosen: Option<Method>) -> [u8; 2] {
    [VERSION, chosen.map_or(NO_METHOD, Method::code)]
}

/// Reads a client's request.
///
/// # Errors
///
/// See the table of this module; the error knows its answer.
pub fn parse_request(bytes: &[u8]) -> Result<Parsed<Request>, RequestError> {
    Reader::parse(bytes, |reader| {
        let version = reader.byte()?;
        if version != VERSION {
            return Some(Err(RequestError::Version(version)));
        }
        let command = reader.byte()?;
        if !(CONNECT..=UDP_ASSOCIATE).contains(&command) {
            return Some(Err(RequestError::Command(command)));
        }
        let _reserved = reader.byte()?;
        let host = match take_host(reader)? {
            Ok(host) => host,
            Err(error) => return Some(Err(error)),
        };
        let target = Target::new(host, u16::from_be_bytes(reader.array()?)).ok();
        Some(match (command, target) {
            (BIND, target) => Ok(Request::Bind(target)),
            (UDP_ASSOCIATE, target) => Ok(Request::UdpAssociate(target)),
            (_, Some(target)) => Ok(Request::Connect(target)),
            (_, None) => Err(RequestError::ZeroPort),
        })
    })
}

/// A client's greeting; `None` without methods, or with more than a greeting can hold.
pub fn encode_greeting(methods: &[Method]) -> Option<Vec<u8>> {
    let count = u8::try_from(methods.len())
        .ok()
        .filter(|&count| count != 0)?;
    let codes = methods.iter().copied().map(Method::code);
    Some([VERSION, count].into_iter().chain(codes).collect())
}

/// Reads the server's answer to a greeting; `None` says that no method suits it.
///
/// # Errors
///
/// Another version, or a method that nobody offered.
pub fn parse_method(bytes: &[u8]) -> Result<Parsed<Option<Method>>, ServerError> {
    Reader::parse(bytes, |reader| {
        let version = reader.byte()?;
        if version != VERSION {
            return Some(Err(ServerError::Version(version)));
        }
        Some(match reader.byte()? {
            NO_METHOD => Ok(None),
            code => Method::from_code(code)
                .map(Some)
                .ok_or(ServerError::Method(code)),
        })
    })
}

/// Reads the server's answer to a request.
///
/// # Errors
///
/// What RFC 1928 does not know. A refusal is not an error here but an [`Answer`].
pub fn parse_reply(bytes: &[u8]) -> Result<Parsed<Answer>, ServerError> {
    Reader::parse(bytes, |reader| {
        let version = reader.byte()?;
        if version != VERSION {
            return Some(Err(ServerError::Version(version)));
        }
        let code = reader.byte()?;
        let Some(reply) = Reply::from_code(code) else {
            return Some(Err(ServerError::Reply(code)));
        };
        let _reserved = reader.byte()?;
        let ip = match reader.byte()? {
            IPV4 => Some(IpAddr::from(reader.array::<4>()?)),
            IPV6 => Some(IpAddr::from(reader.array::<16>()?)),
            NAME => {
                let len = reader.byte()?;
                reader.slice(len)?;
                None
            }
            kind => return Some(Err(ServerError::AddressType(kind))),
        };
        let port = u16::from_be_bytes(reader.array()?);
        let bound = ip.map(|ip| SocketAddr::new(ip.to_canonical(), port));
        Some(Ok(Answer { reply, bound }))
    })
}

fn take_host(reader: &mut Reader<'_>) -> Option<Result<Host, RequestError>> {
    Some(match reader.byte()? {
        IPV4 => Ok(Host::Ip(Ipv4Addr::from(reader.array::<4>()?).into())),
        IPV6 => Ok(Host::Ip(Ipv6Addr::from(reader.array::<16>()?).into())),
        NAME => {
            let len = reader.byte()?;
            Host::parse(reader.slice(len)?).map_err(RequestError::Host)
        }
        kind => Err(RequestError::AddressType(kind)),
    })
}

fn put_target(out: &mut Vec<u8>, target: &Target) {
    match target.host() {
        Host::Ip(ip) => put_address(out, SocketAddr::new(*ip, target.port())),
        Host::Name(name) => {
            let name = name.as_str().as_bytes();
            // A `Name` has at most 253 bytes.
            out.extend([NAME, name.len() as u8]);
            out.extend(name);
            out.extend(target.port().to_be_bytes());
        }
    }
}

/// A socket bound to both families tells IPv4 peers as mapped; they are sent as what they are.
fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            out.push(IPV4);
            out.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(IPV6);
            out.extend(ip.octets());
        }
    }
    out.extend(address.port().to_be_bytes());
}

const VERSION: u8 = 0x05;
const RESERVED: u8 = 0x00;
const NO_METHOD: u8 = 0xFF;

const CONNECT: u8 = 0x01;
const BIND: u8 = 0x02;
const UDP_ASSOCIATE: u8 = 0x03;

const IPV4: u8 = 0x01;
const NAME: u8 = 0x03;
const IPV6: u8 = 0x04;

/// Each at the place of its code.
const REPLIES: [Reply; 9] = [
    Reply::Succeeded,
    Reply::GeneralFailure,
    Reply::NotAllowed,
    Reply::NetworkUnreachable,
    Reply::HostUnreachable,
    Reply::ConnectionRefused,
    Reply::TtlExpired,
    Reply::CommandNotSupported,
    Reply::AddressTypeNotSupported,
];

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    /// Checks that `bytes` make one whole message, that no shorter part of it is one, and that
    /// what lies behind it changes nothing.
    fn assert_whole<'a, T, E>(
        parse: impl Fn(&'a [u8]) -> Result<Parsed<T>, E>,
        bytes: &'a [u8],
        expected: T,
    ) where
        T: Debug + PartialEq,
        E: Debug + PartialEq,
    {
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(Parsed::NeedMore), "cut at {cut}");
        }
        let longer = [bytes, b"\x05more"].concat().leak();
        let whole = Parsed::Whole {
            value: expected,
            consumed: bytes.len(),
        };
        assert_eq!(parse(bytes).as_ref(), Ok(&whole));
        assert_eq!(parse(longer), Ok(whole));
    }

    /// Checks that `bytes` are refused, and that a shorter part of them is refused alike or asks
    /// for more.
    fn assert_refused<'a, T, E>(
        parse: impl Fn(&'a [u8]) -> Result<Parsed<T>, E>,
        bytes: &'a [u8],
        expected: &E,
    ) where
        T: Debug + PartialEq,
        E: Debug + PartialEq,
    {
        assert_eq!(parse(bytes).as_ref().unwrap_err(), expected);
        for cut in 0..bytes.len() {
            match parse(&bytes[..cut]) {
                Ok(parsed) => assert_eq!(parsed, Parsed::NeedMore, "cut at {cut}"),
                Err(error) => assert_eq!(&error, expected, "cut at {cut}"),
            }
        }
    }

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    fn named(command: u8, name: &[u8], port: u16) -> Vec<u8> {
        let len = u8::try_from(name.len()).unwrap();
        [&[5, command, 0, 3, len], name, &port.to_be_bytes()].concat()
    }

    #[test]
    fn a_greeting_is_whole_with_its_last_method() {
        assert_whole(parse_greeting, &[5, 1, 0], Greeting { methods: &[0] });
        assert_whole(
            parse_greeting,
            &[5, 3, 2, 0, 1],
            Greeting {
                methods: &[2, 0, 1],
            },
        );
        let longest: Vec<u8> = [5, 255].into_iter().chain(0..=254).collect();
        assert_eq!(longest.len(), GREETING_LIMIT);
        assert_whole(
            parse_greeting,
            &longest,
            Greeting {
                methods: &longest[2..],
            },
        );
    }

    #[test]
    fn a_greeting_of_another_version_is_met_with_silence() {
        let error = GreetingError::Version(4);
        assert_refused(parse_greeting, &[4, 1, 0], &error);
        assert_eq!(error.answer(), None);
    }

    #[test]
    fn a_greeting_without_methods_is_told_that_none_fits() {
        assert_refused(parse_greeting, &[5, 0], &GreetingError::NoMethods);
        assert_eq!(GreetingError::NoMethods.answer(), Some([5, 0xFF]));
    }

    #[test]
    fn a_method_is_chosen_only_if_offered_and_accepted() {
        let offer = |methods: &'static [u8]| Greeting { methods };
        assert_eq!(
            offer(&[2, 0]).choose(&[Method::NoAuth]),
            Some(Method::NoAuth)
        );
        assert_eq!(offer(&[2, 1]).choose(&[Method::NoAuth]), None);
        assert_eq!(offer(&[0]).choose(&[]), None);
        assert_eq!(encode_method(Some(Method::NoAuth)), [5, 0]);
        assert_eq!(encode_method(None), [5, 0xFF]);
    }

    #[test]
    fn requests_of_every_kind_are_read_at_every_split_and_written_back() {
        let v6: &[u8] = &[
            5, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 187,
        ];
        let name = "a.".repeat(126) + "b";
        for (bytes, request) in [
            (
                &[5, 1, 0, 1, 10, 0, 0, 1, 0, 80][..],
                Request::Connect(target("10.0.0.1:80")),
            ),
            (v6, Request::Connect(target("[::1]:443"))),
            (
                &named(1, b"example.com", 443),
                Request::Connect(target("example.com:443")),
            ),
            (
                &named(1, name.as_bytes(), 1),
                Request::Connect(target(&format!("{name}:1"))),
            ),
            (
                &[5, 2, 0, 1, 10, 0, 0, 1, 0, 21],
                Request::Bind(Some(target("10.0.0.1:21"))),
            ),
            (&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0], Request::Bind(None)),
            (
                &named(3, b"me.example", 53),
                Request::UdpAssociate(Some(target("me.example:53"))),
            ),
            (&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0], Request::UdpAssociate(None)),
        ] {
            assert_eq!(request.encode(), bytes);
            assert_whole(parse_request, bytes, request);
        }
    }

    #[test]
    fn a_name_that_is_an_address_becomes_the_address() {
        for (name, shown) in [("10.0.0.1", "10.0.0.1:80"), ("::1", "[::1]:80")] {
            let request = Request::Connect(target(shown));
            assert_whole(parse_request, &named(1, name.as_bytes(), 80), request);
        }
        let mapped = [
            &[5, 1, 0, 4][..],
            &[0; 10],
            &[0xFF, 0xFF, 10, 0, 0, 1, 0, 80],
        ]
        .concat();
        assert_whole(
            parse_request,
            &mapped,
            Request::Connect(target("10.0.0.1:80")),
        );
    }

    #[test]
    fn the_reserved_byte_is_not_looked_at() {
        let request = Request::Connect(target("10.0.0.1:80"));
        assert_whole(parse_request, &[5, 1, 0xAA, 1, 10, 0, 0, 1, 0, 80], request);
    }

    #[test]
    fn a_refused_request_knows_its_answer() {
        let byte = |byte| RequestError::Host(HostError::Byte { byte });
        let general = Reply::GeneralFailure;
        for (bytes, error, answer) in [
            (vec![4, 1, 0, 1], RequestError::Version(4), general),
            (
                vec![5, 0, 0, 1],
                RequestError::Command(0),
                Reply::CommandNotSupported,
            ),
            (
                vec![5, 4, 0, 9],
                RequestError::Command(4),
                Reply::CommandNotSupported,
            ),
            (
                vec![5, 1, 0, 2, 1],
                RequestError::AddressType(2),
                Reply::AddressTypeNotSupported,
            ),
            (
                vec![5, 3, 0, 0],
                RequestError::AddressType(0),
                Reply::AddressTypeNotSupported,
            ),
            (
                named(1, b"", 80),
                RequestError::Host(HostError::Empty),
                general,
            ),
            (
                named(3, b"", 0),
                RequestError::Host(HostError::Empty),
                general,
            ),
            (named(1, b"a b", 80), byte(b' '), general),
            (named(1, b"a\0", 80), byte(0), general),
            (named(1, b"a\r\nb", 80), byte(b'\r'), general),
            (named(1, b"\xC3\xB6", 80), byte(0xC3), general),
            (named(1, b"[::1]", 80), byte(b'['), general),
            (named(1, b"a:80", 80), byte(b':'), general),
            (
                named(1, b"127.1", 80),
                RequestError::Host(HostError::Number),
                general,
            ),
            (
                named(1, &[b'a'; 255], 80),
                RequestError::Host(HostError::TooLong { bytes: 255 }),
                general,
            ),
            (named(1, b"host", 0), RequestError::ZeroPort, general),
            (
                vec![5, 1, 0, 1, 10, 0, 0, 1, 0, 0],
                RequestError::ZeroPort,
                general,
            ),
        ] {
            assert_refused(parse_request, &bytes, &error);
            assert_eq!(error.answer(), answer, "{error}");
        }
    }

    #[test]
    fn no_message_asks_for_more_past_its_limit() {
        for first in 0..=255 {
            let greeting = [&[5, first][..], &[first; GREETING_LIMIT - 2]].concat();
            assert_ne!(parse_greeting(&greeting), Ok(Parsed::NeedMore));
            let request = [&[5, 1, 0, 3, first][..], &[b'a'; REQUEST_LIMIT - 5]].concat();
            assert_ne!(parse_request(&request), Ok(Parsed::NeedMore));
        }
    }

    #[test]
    fn a_client_greets_and_reads_the_choice() {
        assert_eq!(encode_greeting(&[Method::NoAuth]), Some(vec![5, 1, 0]));
        assert_eq!(encode_greeting(&[]), None);
        assert_eq!(encode_greeting(&[Method::NoAuth; 256]), None);
        assert_whole(parse_method, &[5, 0], Some(Method::NoAuth));
        assert_whole(parse_method, &[5, 0xFF], None);
        assert_refused(parse_method, &[5, 2], &ServerError::Method(2));
        assert_refused(parse_method, &[0, 0], &ServerError::Version(0));
    }

    #[test]
    fn every_reply_is_written_and_read_back() {
        for bound in [
            NO_ADDRESS,
            "10.0.0.1:80".parse().unwrap(),
            "[::1]:443".parse().unwrap(),
        ] {
            for reply in REPLIES {
                let answer = Answer {
                    reply,
                    bound: Some(bound),
                };
                assert_whole(parse_reply, &reply.encode(bound), answer);
                assert_eq!(Reply::from_code(reply.code()), Some(reply));
            }
        }
        assert_eq!(
            Reply::Succeeded.encode(NO_ADDRESS),
            [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        );
        let mapped = "[::ffff:10.0.0.1]:80".parse().unwrap();
        assert_eq!(
            Reply::Succeeded.encode(mapped),
            [5, 0, 0, 1, 10, 0, 0, 1, 0, 80]
        );
    }

    #[test]
    fn a_reply_with_a_name_has_no_address_and_an_unknown_one_is_refused() {
        let answer = Answer {
            reply: Reply::HostUnreachable,
            bound: None,
        };
        assert_whole(parse_reply, &[5, 4, 0, 3, 2, b'a', b'b', 0, 80], answer);
        assert_whole(parse_reply, &[5, 4, 0, 3, 0, 0, 0], answer);
        assert_refused(parse_reply, &[5, 9, 0, 1], &ServerError::Reply(9));
        assert_refused(parse_reply, &[5, 0, 0, 2], &ServerError::AddressType(2));
        assert_refused(parse_reply, &[1, 0, 0, 1], &ServerError::Version(1));
    }
}
