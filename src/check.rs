//! Active checks: servers are asked whether they work before clients find out.
//!
//! ```
//! use std::time::Duration;
//!
//! use risefall::check::{Checker, Definition, Http, Kind, Thresholds, Timing};
//! use risefall::{Policy, Registry};
//!
//! # fn group() -> Result<(), Box<dyn std::error::Error>> {
//! let dials = Registry::new(Policy::default()); // how dials go, one for the process
//! let evidence = Registry::new(Policy::default()); // what checks find, one for each group
//! let (checker, runner) = Checker::new(&dials);
//!
//! let timing = Timing::builder().interval(Duration::from_secs(5)).build()?;
//! let health = Definition::new(Kind::Http(Http::new("/health")?), None, timing)?;
//! let server = checker.subscribe(
//!     "192.0.2.7:80".parse()?,
//!     health,
//!     &evidence,
//!     Thresholds::default(), // 3 failures take it down, 2 passes bring it up
//! )?;
//!
//! # if false {
//! tokio::spawn(runner.run());
//! # }
//! assert!(server.is_eligible()); // two loads; it has not been checked yet
//! # Ok(()) }
//! # tokio::runtime::Runtime::new().unwrap().block_on(async { group().unwrap() });
//! ```
//!
//! # What a check says, and of what
//!
//! A check has a **word of its own**, in a registry that nothing else records in, judged by the same
//! rules as dials and by its own `fall` and `rise`. A server is eligible when no word says down:
//! not that of its dials, not that of its checks. A check clears its own word and no other, so an
//! answer on a health page does not excuse what clients meet.
//!
//! But to ask, a check **connects**, and that is a dial like any other. One that fails is told to
//! whoever judges dials while dials may be made (a check every few seconds must not prolong a
//! verdict that would let clients try); one that is answered, while the address is held for down.
//! So a server comes back after as many checks as dials ask for: no client pays for the trial, and
//! none waits for a pause that has grown with its absence. A check whose time was over before a dial
//! that long is a failure ([`stall_after`](crate::Policy::stall_after)) says nothing to dials, and
//! datagrams are none.
//!
//! **Before the first verdict** a server is eligible, or is not, as its subscriber wants
//! ([`Start`]). Its first check is made at once and is its first verdict, whatever the thresholds.
//! What is this host's own fault (no file left, no TLS configured) is no verdict at all.
//!
//! # When checks are made
//!
//! Every `interval`; every `fast_interval` while a verdict is changing or there is none yet; every
//! `down_interval` while the server is down. From the beginning of one to that of the next, never
//! two at a time, with jitter that is the same for the same seed. At most so many at once as the
//! checker has room for: those that are due wait, and who waits longest goes first. Equal
//! definitions of one address are **one check**, whose findings all subscribers are told; it is made
//! at the pace of the one that needs it soonest. Each costs the logarithm of their number, and one
//! task; nothing on the way of a request waits for any of it.
//!
//! [`Board`] holds these rules without I/O and without a clock; [`Checker`] and [`Runner`] drive one
//! with tokio.
//!
//! # What is asked
//!
//! | kind | passes when |
//! |---|---|
//! | [`Kind::Connect`] | it is connected to, and by TLS if that is given, shakes hands |
//! | [`Kind::Http`] | the status is right, and the body if that is asked for; HTTP/1.1 or HTTP/2 |
//! | [`Kind::Grpc`] | `grpc.health.v1` says `SERVING` |
//! | [`Kind::Exchange`] | it answers what it should to what it is sent (TCP, TLS) |
//! | [`Kind::Datagram`] | the same with one datagram each way (UDP) |
//!
//! A server can say more beside an answer by HTTP: its weight, that it wants no new work, that it is
//! down ([`AgentReport`], [`Http::agent_header`]). While it wants no new work its word is drained,
//! which is down for whoever asks; once it is ready it is judged anew.
//!
//! HTTP/2 is the `h2` crate's. HTTP/1.1 is read here ([`codec`]), on `httparse`, and not by an HTTP
//! engine: a check sends one request over a connection of its own and wants a status, one field and
//! the beginning of a body. That is a page of rules as a plain function, which is tested at every
//! split of its input and refuses what two readers would frame differently; an engine would bring
//! its executor, its body types and an adapter to tokio's streams, which is more than it saves, and
//! would know things (pools, upgrades, trailers) that a check must not do. gRPC is one message of
//! one field each way, so it needs no code generator either.
//!
//! TLS comes from the caller, by [`Connect`]. The feature `checks-rustls` has a connector for
//! rustls.

#[cfg(feature = "checks-rustls")]
mod rustls;

mod agent;
mod ask;
mod board;
mod connect;
mod definition;
mod error;
mod exchange;
mod grpc;
mod http;
mod http1;
mod report;
mod run;
mod schedule;
mod standing;

pub use agent::{AgentError, AgentReport, Availability};
pub use board::{Board, Job, Start, Step, SubscriberId, Thresholds};
pub use connect::{Connect, Direct, Protocols, dial};
pub use definition::{Definition, Kind, Timing, TimingBuilder, Tls};
pub use error::{DefinitionError, PaceError};
pub use exchange::{Exchange, Expect, Matched, unescape};
pub use grpc::Serving;
pub use http::{BodyMatch, Grpc, Http, Pattern, Statuses, Version};
pub use report::{Failure, Finding, LastCheck, Report, Verdict, Way};
pub use run::{Checker, CheckerBuilder, Runner, Subscription};
#[cfg(feature = "checks-rustls")]
pub use rustls::{Rustls, TlsProfile};
pub use schedule::Turn;

/// The bytes of requests and answers, as plain functions: for fuzzing and for other transports.
pub mod codec {
    pub use super::grpc::{GrpcError, answer as grpc_answer, request as grpc_request};
    pub use super::http1::{Answer, AnswerError, Decoder, request as http1_request};
}
