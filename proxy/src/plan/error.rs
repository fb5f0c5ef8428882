//! Why a draft must not run.

use std::fmt;
use std::net::SocketAddr;

/// One mistake, and where it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlanError {
    /// The place in words of the configuration, such as `forward.office.listen[0]`.
    pub place: String,
    /// What is wrong there.
    pub fault: PlanFault,
}

/// What can be wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanFault {
    /// A plan without a listener.
    #[error(
        "nothing to serve; expected at least one table [forward.NAME] or [site.NAME] with a listen \
         address"
    )]
    Nothing,
    /// A forward proxy or a site that nobody can reach.
    #[error("no address to listen on; expected at least one, such as 127.0.0.1:8090")]
    NoListener,
    /// One that speaks nothing.
    #[error("no protocol; expected http, socks5 or both")]
    NoProtocol,
    /// An open proxy.
    #[error(
        "{listener} can be reached from other machines, so anybody could use this proxy to hide \
         behind it; say who may (clients = [\"192.0.2.0/24\"]), or listen on 127.0.0.1:{}",
        .listener.port()
    )]
    OpenProxy {
        /// The listener that is not on loopback.
        listener: SocketAddr,
    },
    /// The admin API has no users, so only this machine may ask it.
    #[error("the admin address {admin} is not on loopback; expected one such as 127.0.0.1:9901")]
    AdminInTheOpen {
        /// What was given.
        admin: SocketAddr,
    },
    /// Two listeners on one address.
    #[error("{address} is taken already: {other} listens on {other_address}{}", overlap(.address, .other_address))]
    ClaimedTwice {
        /// The address.
        address: SocketAddr,
        /// The place of the other.
        other: String,
        /// Its address, which may be the wildcard.
        other_address: SocketAddr,
    },
    /// Two sites on one address that is to be spoken to in two manners.
    #[error(
        "here {address} {here}, but by {other} it {there}; all sites of one address have to agree"
    )]
    SpokenOtherwise {
        /// The address.
        address: SocketAddr,
        /// How by this one.
        here: Manner,
        /// How by the other.
        there: Manner,
        /// The place of the other.
        other: String,
    },
    /// A host of two sites on one address.
    #[error("{host} is taken on {address} already by {other}")]
    HostTaken {
        /// The host.
        host: String,
        /// The address.
        address: SocketAddr,
        /// The place of the other.
        other: String,
    },
    /// Two sites for every host on one address.
    #[error(
        "every host that no other site has is taken on {address} already by {other}; say the \
         hosts of one of them"
    )]
    AllHostsTaken {
        /// The address.
        address: SocketAddr,
        /// The place of the other.
        other: String,
    },
    /// TLS with nothing to show.
    #[error("no certificate; expected cert and key, or certificates")]
    NoCertificate,
    /// A redirect from nowhere.
    #[error("there is no plain listener to redirect from; expected listen beside tls.listen")]
    NothingToRedirect,
    /// A site that answers nothing.
    #[error("no routes; expected at least one table [[site.NAME.route]]")]
    NoRoute,
    /// A route that leads nowhere.
    #[error(
        "nothing is said of what becomes of these requests; expected one of upstream, root, \
         redirect, respond"
    )]
    NoAction,
    /// Two routes of which one would never be taken.
    #[error("{other} is for the very same requests")]
    SameRoute {
        /// The place of the other.
        other: String,
    },
    /// A prefix to strip that is not always there.
    #[error(
        "found {prefix:?}, expected whole segments that {path:?}, the path of this route, begins \
         with"
    )]
    NoSuchPrefix {
        /// The prefix.
        prefix: String,
        /// The path.
        path: String,
    },
    /// Something to tell to a server where none is asked.
    #[error("is of use beside upstream alone")]
    NotSent,
    /// A change of the path where none is looked for.
    #[error("is of use beside upstream or root alone")]
    NotAsked,
    /// A folder for requests of which it answers none.
    #[error(
        "files are read alone, so each of these requests would be answered with 405; expected GET, \
         HEAD or OPTIONS among them, or no methods"
    )]
    NotRead,
    /// A parent that would be asked without the TLS that it is meant to speak.
    #[error("the servers of {name} are spoken to by TLS, which a parent cannot be")]
    ParentTls {
        /// The upstream.
        name: String,
    },
    /// A reference to nothing.
    #[error("there is no upstream {name:?}; expected one of [upstream.NAME]{}", known(.upstreams))]
    UnknownUpstream {
        /// What was referred to.
        name: String,
        /// What there is.
        upstreams: Vec<String>,
    },
    /// A server that is in its group already.
    #[error("{server} is in this group already")]
    SameServer {
        /// Which.
        server: String,
    },
    /// A group of nobody.
    #[error("no servers; expected at least one, such as \"10.0.0.11:8080\"")]
    NoServer,
    /// A group of substitutes for nobody.
    #[error("every server is a backup; expected at least one that is not")]
    OnlyBackups,
    /// A bound or a deadline out of range.
    #[error("found {found}, expected {expected}")]
    OutOfRange {
        /// What was given.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
}

/// How an address is spoken to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Manner {
    /// Without TLS.
    Plain,
    /// Without TLS, by HTTP/2 as well.
    PlainH2,
    /// By TLS.
    Tls,
    /// By TLS 1.3 alone.
    Tls13,
}

impl fmt::Display for Manner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Plain => "speaks plain HTTP/1.1",
            Self::PlainH2 => "speaks plain HTTP/1.1 and HTTP/2 (h2c)",
            Self::Tls => "speaks TLS",
            Self::Tls13 => "speaks TLS 1.3 alone",
        })
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.fault)
    }
}

impl std::error::Error for PlanError {}

fn overlap(address: &SocketAddr, other: &SocketAddr) -> &'static str {
    if address == other {
        "; each listener needs an address of its own"
    } else {
        ", which includes it; each listener needs an address of its own"
    }
}

fn known(upstreams: &[String]) -> String {
    if upstreams.is_empty() {
        return ", and there is none".to_owned();
    }
    format!(": {}", upstreams.join(", "))
}
