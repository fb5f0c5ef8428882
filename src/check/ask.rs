//! One check: a connection, and what is asked over it.

mod exchange;
mod http1;
mod http2;

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::agent::{AgentError, AgentReport};
use super::board::Job;
use super::connect::{Connect, Protocols};
use super::definition::{Kind, Tls};
use super::http::{Http, Version};
use super::http1::Answer;
use super::report::{Failure, Finding, Way};
use crate::outcome::Cause;

/// What was heard of a server that answered.
struct Heard {
    result: Result<(), Failure>,
    agent: Option<Result<AgentReport, AgentError>>,
}

/// Makes a check, for no longer than it may take.
///
/// # Cancel safety
///
/// Its connection is closed; nothing is recorded here.
pub(super) async fn ask<C: Connect>(connector: &C, job: &Job) -> Finding {
    let began = Instant::now();
    let most = job.definition.timing().timeout();
    let deadline = began + most;
    let (heard, way) = match job.definition.kind() {
        Kind::Datagram(exchange) => {
            let heard = timeout_at(deadline, exchange::datagram(exchange, job.address)).await;
            (
                heard.unwrap_or(Err(Failure::TimedOut(most))).into(),
                Way::Unknown,
            )
        }
        kind => match timeout_at(deadline, connector.dial(job.address)).await {
            Err(_) => {
                let failure = Failure::DialTimedOut(most);
                (Err(failure).into(), Way::Failed(Cause::TimedOut))
            }
            Ok(Err(error)) => {
                let way = Cause::of(&error).map_or(Way::Unknown, Way::Failed);
                (Err(Failure::dial(&error)).into(), way)
            }
            Ok(Ok(plain)) => {
                let heard = timeout_at(deadline, reach(connector, job, kind, plain)).await;
                let heard = heard.unwrap_or_else(|_| Err(Failure::TimedOut(most)).into());
                (heard, Way::Connected)
            }
        },
    };
    Finding {
        result: heard.result,
        agent: heard.agent,
        way,
        took: began.elapsed(),
    }
}

async fn reach<C: Connect>(connector: &C, job: &Job, kind: &Kind, plain: C::Plain) -> Heard {
    match job.definition.tls() {
        None => talk(kind, plain, &job.address.to_string(), false).await,
        // Large, and not to be moved about with checks that speak no TLS.
        Some(tls) => Box::pin(shake(connector, job, tls, plain)).await,
    }
}

async fn shake<C: Connect>(connector: &C, job: &Job, tls: &Tls, plain: C::Plain) -> Heard {
    let kind = job.definition.kind();
    match connector.secure(plain, tls, protocols(kind)).await {
        Ok(secure) => talk(kind, secure, &host_of(tls, job.address), true).await,
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            Err(Failure::Local(error.to_string())).into()
        }
        Err(error) => Err(Failure::Tls(error.to_string())).into(),
    }
}

/// Asks over a connection. `host` is where the server is, unless the check says otherwise.
async fn talk<S>(kind: &Kind, stream: S, host: &str, is_secure: bool) -> Heard
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    match kind {
        Kind::Connect | Kind::Datagram(_) => Ok(()).into(),
        Kind::Exchange(exchange) => exchange::over(exchange, stream).await.into(),
        Kind::Grpc(grpc) => {
            let host = grpc.asked_authority().unwrap_or(host);
            // Large, and not to be moved about with checks of other kinds.
            let health = Box::pin(http2::health(grpc, stream, host, is_secure));
            health.await.into()
        }
        Kind::Http(http) => {
            let host = http.asked_host().unwrap_or(host);
            let answer = match http.asked_version() {
                Version::Http1 => http1::answer(http, stream, host).await,
                Version::Http2 => Box::pin(http2::answer(http, stream, host, is_secure)).await,
            };
            answer.map_or_else(|failure| Err(failure).into(), |answer| judge(http, &answer))
        }
    }
}

/// What an answer is worth.
fn judge(http: &Http, answer: &Answer) -> Heard {
    let agent = answer.agent.as_deref().map(String::from_utf8_lossy);
    let agent = agent.map(|words| words.parse::<AgentReport>());
    let is_right = http.right_statuses().has(answer.status);
    let result = match (&agent, http.right_body()) {
        (Some(Ok(report)), _) if report.is_down == Some(true) => {
            Err(Failure::Agent(report.reason.clone()))
        }
        _ if !is_right => Err(Failure::Status {
            found: answer.status,
            expected: http.right_statuses().clone(),
        }),
        (_, Some(body)) if !body.is_match(&answer.body) => Err(Failure::Body {
            expected: body.to_string(),
            read_bytes: answer.body.len(),
        }),
        _ => Ok(()),
    };
    Heard { result, agent }
}

fn protocols(kind: &Kind) -> Protocols {
    match kind {
        Kind::Grpc(_) => Protocols::Http2,
        Kind::Http(http) => match http.asked_version() {
            Version::Http1 => Protocols::Http1,
            Version::Http2 => Protocols::Http2,
        },
        Kind::Connect | Kind::Exchange(_) | Kind::Datagram(_) => Protocols::None,
    }
}

/// The name of TLS, with the port where it is not the usual one. An IPv6 address is in brackets.
fn host_of(tls: &Tls, address: SocketAddr) -> String {
    let name = match tls.name().parse() {
        Ok(std::net::Ipv6Addr { .. }) => format!("[{}]", tls.name()),
        Err(_) => tls.name().to_owned(),
    };
    match address.port() {
        443 => name,
        port => format!("{name}:{port}"),
    }
}

impl From<Result<(), Failure>> for Heard {
    fn from(result: Result<(), Failure>) -> Self {
        let agent = None;
        Self { result, agent }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::check::board::{Board, Step, Thresholds};
    use crate::check::connect::Direct;
    use crate::check::definition::{Definition, Timing};
    use crate::policy::Policy;
    use crate::registry::Registry;

    #[test]
    fn a_check_is_small_enough_to_be_made_a_thousand_times_a_second() {
        let registry = || Registry::new(Policy::default());
        let (mut board, evidence) = (Board::new(registry(), 1, 7), registry());
        let kind = Kind::Http(Http::new("/").unwrap());
        let asks = Arc::new(Definition::new(kind, None, Timing::default()).unwrap());
        let address = SocketAddr::from(([192, 0, 2, 1], 80));
        let now = Duration::ZERO;
        let subscribed = board.subscribe(address, asks, &evidence, Thresholds::default(), now);
        subscribed.unwrap();
        let Some(Step::Begin(job)) = board.poll(now) else {
            panic!("it is due");
        };
        // It is moved into its task, and some of it is cleared before each use.
        let size = size_of_val(&ask(&Direct, &job));
        assert!(size <= 4096, "{size} bytes");
    }
}
