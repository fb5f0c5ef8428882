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
mod tests;
