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
    #[error("nothing to serve; expected at least one table [forward.NAME] with a listen address")]
    Nothing,
    /// A forward proxy that nobody can reach.
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
