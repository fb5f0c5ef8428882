//! What can go wrong with a client's wish, by cause.
//!
//! A [`Fault`] answers four questions by method, so that no caller reads its text: whose fault it
//! is, when another try could end better, what the client sees (an HTTP status with a
//! `Proxy-Status` error type of RFC 9209 §2.3, or a SOCKS reply), and how loud the log is.

mod system;
mod told;

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use risefall::ConnectError;

use crate::proto::TargetError;
use crate::proto::screen::Violation;

use system::remedy;
pub(crate) use system::{is_exhausted, is_out_of_files, leads_nowhere};

/// Why a request or a tunnel did not get what it asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The request cannot be served as it is written; the text tells the client what to write.
    #[error("{0}")]
    BadRequest(Cow<'static, str>),
    /// The request breaks a rule on which its framing hangs.
    #[error("bad request: {0}")]
    Screened(#[from] Violation),
    /// The target's authority is wrong.
    #[error("bad target: {0}")]
    BadTarget(#[from] TargetError),
    /// The method is not one this proxy answers for itself.
    #[error("{0}")]
    Method(&'static str),
    /// The client's address is in none of the ranges that may use the listener.
    #[error("{client} is in none of the ranges that may use this proxy")]
    Stranger {
        /// The client.
        client: IpAddr,
    },
    /// The target is one of this proxy's own listeners.
    #[error("{address} is a listener of this proxy itself")]
    Loop {
        /// The address that was about to be dialled.
        address: SocketAddr,
    },
    /// The target is in a range that this listener's clients may not reach.
    #[error("{address} is not a public address, and this listener does not allow private ones")]
    Prohibited {
        /// The address that was about to be dialled.
        address: SocketAddr,
    },
    /// The name could not be resolved.
    #[error("name {name} not resolved: {error}")]
    Name {
        /// The name.
        name: Box<str>,
        /// What the resolver said.
        error: io::Error,
    },
    /// The resolver did not answer in time.
    #[error("name {name} not resolved within {after:?}")]
    NameTimedOut {
        /// The name.
        name: Box<str>,
        /// How long it was waited for.
        after: Duration,
    },
    /// No connection: the health registry or the dials say why.
    #[error("{error}")]
    Connect {
        /// The most telling of the reasons.
        how: NoStream,
        /// All of them.
        error: ConnectError,
    },
    /// The origin did not begin its answer in time.
    #[error("{address} did not begin its answer within {after:?}")]
    HeadTimedOut {
        /// The origin.
        address: SocketAddr,
        /// How long it was waited for.
        after: Duration,
    },
    /// The origin closed, or broke the protocol, before its answer was whole.
    #[error("{address} gave no usable answer: {reason}")]
    Broken {
        /// The origin.
        address: SocketAddr,
        /// Which kind of wrong it was.
        how: Breach,
        /// What was wrong.
        reason: Box<str>,
    },
    /// A bound of this proxy is reached.
    #[error("too many {what}; the limit is {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// There is hardly any memory left.
    #[error("memory is short")]
    Memory,
    /// There is no descriptor or no memory left to open a file with.
    #[error("a file cannot be opened: {0}; {remedy}", remedy = remedy(.0))]
    Exhausted(#[source] io::Error),
    /// The parent proxy would not open a tunnel.
    #[error("the parent {address} answered {status}")]
    Parent {
        /// The parent.
        address: SocketAddr,
        /// What it answered.
        status: u16,
    },
    /// TLS with the server failed.
    #[error("{address}: no TLS: {reason}")]
    Tls {
        /// The server.
        address: SocketAddr,
        /// What was wrong.
        reason: Box<str>,
        /// Whether its certificate was.
        is_certificate: bool,
    },
    /// Every server of a group is down.
    #[error("no server of upstream {upstream} is up")]
    NoServer {
        /// The group.
        upstream: Box<str>,
        /// When the first of them may be tried again, if time alone brings it back.
        retry_in: Option<Duration>,
    },
    /// Every server of a group that is up has all the requests it may.
    #[error("every server of upstream {upstream} is busy")]
    Full {
        /// The group.
        upstream: Box<str>,
    },
    /// So many requests wait for a server of a group that one more may not.
    #[error("the queue of upstream {upstream} is full: {limit} requests wait")]
    QueueFull {
        /// The group.
        upstream: Box<str>,
        /// How many may.
        limit: usize,
    },
    /// Nobody here serves that host.
    #[error("no site is for this host")]
    UnknownHost,
    /// The site has no route for that path.
    #[error("no route is for this request")]
    NoRoute,
    /// The certificate that was shown is not for that host.
    #[error("the host is not one of the certificate's that the connection was made with")]
    Misdirected,
    /// The request's body is longer than it may be.
    #[error("the request's body is too large")]
    TooLarge,
    /// It took longer than it may in all.
    #[error("the {what} took longer than {after:?}")]
    Overlong {
        /// What did.
        what: &'static str,
        /// How long it may take.
        after: Duration,
    },
    /// Nothing moved for too long.
    #[error("nothing moved for {after:?}")]
    Idle {
        /// How long.
        after: Duration,
    },
    /// The connection was cut: by a peer in the middle of it, or by the end of draining.
    #[error("cut: {0}")]
    Cut(&'static str),
    /// A file was changed while it was sent: the rest of what was promised is not there any more.
    #[error("a response was cut: its file was changed while it was sent")]
    Changed,
    /// This process or its host failed.
    #[error("the proxy itself failed: {0}")]
    Internal(#[from] io::Error),
}

/// The most telling reason why no stream came of a dial.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum NoStream {
    /// The registry says every address is down; nothing was dialled.
    Down,
    /// The name has no addresses.
    NoAddress,
    /// This host is out of something.
    Ours,
    /// This host has no way there, or forbids it.
    NoRoute,
    /// The network says that the host cannot be reached.
    HostUnreachable,
    /// No answer in time.
    TimedOut,
    /// The host cut the handshake.
    Reset,
    /// Nothing listens there.
    Refused,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The client asked for what it may not or cannot have.
    Client,
    /// The target failed.
    Upstream,
    /// The operator's bound or rule is in the way.
    Operator,
    /// This process or its host failed.
    Us,
}

/// What is wrong with an answer that cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Breach {
    /// It ended, or its connection did, before it was whole.
    Incomplete,
    /// It broke the protocol, or can be read in two ways.
    Protocol,
    /// Its head is larger than is taken.
    Head,
    /// TLS broke off behind its handshake: a record that cannot be read, or the server's alert.
    Tls,
    /// It left HTTP unasked, or for something else than was asked for.
    Upgrade,
}

impl Fault {
    /// A file could not be had because of `error`.
    #[must_use]
    pub fn of_file(error: io::Error) -> Self {
        match is_exhausted(&error) {
            true => Self::Exhausted(error),
            false => Self::Internal(error),
        }
    }
}

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        let how = match &error {
            ConnectError::FallDown { .. } => NoStream::Down,
            ConnectError::Unreachable { attempts } => attempts
                .iter()
                .map(|attempt| NoStream::of(&attempt.fault))
                .max()
                .unwrap_or(NoStream::NoAddress),
            _ => NoStream::NoAddress,
        };
        Self::Connect { how, error }
    }
}
