//! From a tree, as a file or flags say it, to settings that can be run, or to all that is wrong.

use std::path::PathBuf;
use std::time::Duration;

use risefall::{Policy, PolicyError, Recovery};
use tracing_subscriber::filter::LevelFilter;

use crate::bounds::{Limits, Timeouts};
use crate::config::scalar;
use crate::config::tree::{self, Member, OneOrMany, Tree};
use crate::plan::{
    Admin, Balance, Control, Draft, ForwardDraft, KeyBy, Plan, PlanFault, Protocols, Server, Token,
    UpstreamDraft,
};
use crate::proto::Target;
use crate::telemetry::access::{Format, Sink};
use crate::units;

/// All that a process is told at its start and at a reload.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) plan: Plan,
    pub(super) policy: Policy,
    pub(super) log: Log,
    pub(super) stop_delay: Duration,
    pub(super) state_file: Option<PathBuf>,
    pub(super) watch: bool,
    /// Whether somebody asked for a number of connections, or the default may give way.
    pub(super) is_connections_said: bool,
}

/// What is logged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Log {
    pub(super) level: LevelFilter,
    pub(super) format: Format,
    pub(super) access: Sink,
}

/// One thing that must not run.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    /// In words of the configuration, such as `forward.office.listen[0]`.
    pub(super) place: String,
    pub(super) message: String,
    /// What it was, if the plan refused it.
    pub(super) fault: Option<PlanFault>,
}

/// Makes settings of `tree`.
///
/// # Errors
///
/// All that must not run.
pub(super) fn settle(tree: &Tree) -> Result<Settings, Vec<Refused>> {
    let mut refused = Vec::new();
    let policy = builder(&tree.health).build();
    let policy = policy.unwrap_or_else(|error| {
        refused.push(refuse_policy("health", &error));
        Policy::default()
    });
    let draft = Draft {
        forwards: (tree.forward.iter())
            .map(|(name, one)| forward(name, one))
            .collect(),
        upstreams: (tree.upstream.iter())
            .map(|(name, one)| upstream(name, one, tree, &mut refused))
            .collect(),
        admin: admin(&tree.admin, &mut refused),
        threads: tree.process.threads.into(),
        limits: limits(&tree.limits),
        timeouts: timeouts(&tree.limits, tree.process.drain_timeout.0),
    };
    let plan = draft.resolve().map_err(|errors| {
        refused.extend(errors.into_iter().map(|error| Refused {
            message: error.fault.to_string(),
            place: error.place,
            fault: Some(error.fault),
        }));
    });
    if tree.process.stop_delay.0 > STOP_DELAY_MOST {
        let most = units::show(STOP_DELAY_MOST);
        let found = units::show(tree.process.stop_delay.0);
        refused.push(Refused {
            place: "process.stop_delay".to_owned(),
            message: format!("found {found}, expected at most {most}"),
            fault: None,
        });
    }
    match plan {
        Ok(plan) if refused.is_empty() => Ok(Settings {
            plan,
            policy,
            log: log(&tree.log),
            stop_delay: tree.process.stop_delay.0,
            state_file: tree.process.state_file.as_ref().map(|said| said.0.clone()),
            watch: tree.process.watch,
            is_connections_said: tree.limits.connections.is_some(),
        }),
        _ => Err(refused),
    }
}

fn builder(health: &tree::Health) -> risefall::PolicyBuilder {
    // Two addresses that do not answer, one after the other, are waited for in full; and a probe
    // that takes as long as it may is not given up for lost.
    let connect = health.connect_timeout.0;
    let dial = DIAL_TIMEOUT.max(connect.saturating_mul(2)).min(DAY);
    let builder = Policy::builder()
        .max_fails(health.max_fails)
        .min_rises(health.min_rises)
        .fail_timeout(health.fail_timeout.0)
        .connect_timeout(connect)
        .dial_timeout(dial)
        .recovery(match health.recovery {
            tree::Recovery::Open => Recovery::Open,
            tree::Recovery::Probe => Recovery::Probe {
                permits: 1,
                lease: dial,
            },
        });
    match &health.max_fail_timeout {
        Some(time) => builder.max_fail_timeout(time.0),
        None => builder,
    }
}

fn refuse_policy(table: &str, error: &PolicyError) -> Refused {
    let (field, message) = match error {
        PolicyError::TimeOutOfRange {
            field,
            time,
            least,
            most,
        } => {
            let found = units::show(*time);
            let (least, most) = (units::show(*least), units::show(*most));
            let message = format!("found {found}, expected from {least} to {most}");
            (*field, message)
        }
        PolicyError::ZeroThreshold { field } => (*field, "found 0, expected at least 1".to_owned()),
        other => ("recovery", other.to_string()),
    };
    Refused {
        place: format!("{table}.{field}"),
        message,
        fault: None,
    }
}

fn forward(name: &str, said: &tree::Forward) -> ForwardDraft {
    let listen = match &said.listen {
        OneOrMany::One(one) => vec![one.0],
        OneOrMany::Many(many) => many.iter().map(|one| one.0).collect(),
    };
    ForwardDraft {
        name: name.to_owned(),
        listen,
        protocols: Protocols {
            http: said.protocols.contains(&tree::Protocol::Http),
            socks5: said.protocols.contains(&tree::Protocol::Socks5),
        },
        clients: said.clients.iter().map(|range| range.0).collect(),
        allow_private: said.allow_private,
        parent: said.parent.clone(),
    }
}

fn upstream(
    name: &str,
    said: &tree::Upstream,
    tree: &Tree,
    refused: &mut Vec<Refused>,
) -> UpstreamDraft {
    let servers = said.servers.iter().enumerate().filter_map(|(nth, member)| {
        let (address, weight, is_backup) = match member {
            Member::Plain(address) => (&address.0, 1, false),
            Member::Table(table) => (&table.address.0, table.weight, table.backup),
        };
        match Target::parse(&address.0) {
            Ok(target) => Some(Server {
                target,
                weight,
                is_backup,
            }),
            Err(error) => {
                refused.push(Refused {
                    place: format!("upstream.{name}.servers[{nth}]"),
                    message: error.to_string(),
                    fault: None,
                });
                None
            }
        }
    });
    let servers = servers.collect();
    let is_own = said.fail_open
        || said.max_fails.is_some()
        || said.min_rises.is_some()
        || said.fail_timeout.is_some();
    let policy = is_own.then(|| {
        let health = &tree.health;
        let own = tree::Health {
            max_fails: said.max_fails.unwrap_or(health.max_fails),
            min_rises: said.min_rises.unwrap_or(health.min_rises),
            fail_timeout: said
                .fail_timeout
                .clone()
                .unwrap_or(health.fail_timeout.clone()),
            max_fail_timeout: match said.fail_timeout {
                Some(_) => None,
                None => health.max_fail_timeout.clone(),
            },
            ..health.clone()
        };
        builder(&own).fail_open(said.fail_open).build()
    });
    let policy = match policy {
        Some(Err(error)) => {
            refused.push(refuse_policy(&format!("upstream.{name}"), &error));
            None
        }
        Some(Ok(policy)) => Some(policy),
        None => None,
    };
    UpstreamDraft {
        name: name.to_owned(),
        servers,
        balance: match said.balance {
            tree::Balance::RoundRobin => Balance::RoundRobin,
            tree::Balance::LeastConn => Balance::LeastConn,
            tree::Balance::Random => Balance::Random,
            tree::Balance::P2c => Balance::P2c,
            tree::Balance::Hash => Balance::Hash,
        },
        by: match said.hash_by {
            tree::HashBy::Client => KeyBy::Client,
            tree::HashBy::Target => KeyBy::Target,
        },
        policy,
    }
}

fn admin(said: &tree::Admin, refused: &mut Vec<Refused>) -> Option<Admin> {
    let at = match &said.listen.0 {
        scalar::Control::Off => return None,
        scalar::Control::Tcp(address) => Control::Tcp(*address),
        scalar::Control::Unix(path) => Control::Unix(path.clone()),
    };
    let token = match (&said.token, &said.token_file) {
        (Some(_), Some(_)) => {
            refused.push(Refused {
                place: "admin.token_file".to_owned(),
                message: "there is a token already; expected one of the two".to_owned(),
                fault: None,
            });
            None
        }
        (Some(token), None) => Some(Token::new(token.reveal())),
        (None, Some(file)) => match first_line(&file.0) {
            Ok(token) => Some(Token::new(&token)),
            Err(message) => {
                refused.push(Refused {
                    place: "admin.token_file".to_owned(),
                    message,
                    fault: None,
                });
                None
            }
        },
        (None, None) => None,
    };
    Some(Admin { at, token })
}

fn first_line(path: &std::path::Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!(
            "the first line of {} is empty; expected the token there",
            path.display()
        )),
    }
}

fn limits(said: &tree::Limits) -> Limits {
    let default = Limits::default();
    Limits {
        connections: said.connections.map_or(default.connections, wide),
        per_client: wide(said.connections_per_client),
        accept_rate: said.accept_rate,
        header_size: usize::try_from(said.header_size.0.0).unwrap_or(usize::MAX),
        header_count: said.header_count.into(),
        idle_per_origin: said.idle_per_origin.into(),
        idle_origins: said.idle_origins.into(),
        lookups: said.lookups.into(),
        memory: said.memory.0,
    }
}

fn timeouts(said: &tree::Limits, drain: Duration) -> Timeouts {
    Timeouts {
        handshake: said.handshake_timeout.0,
        header: said.header_timeout.0,
        keep_alive: said.keep_alive_timeout.0,
        resolve: said.resolve_timeout.0,
        answer: said.answer_timeout.0,
        body_idle: said.body_idle_timeout.0,
        idle: said.idle_timeout.0,
        request: said.request_timeout.0.0,
        tunnel: said.tunnel_timeout.0.0,
        pool_idle: said.pool_idle_timeout.0,
        drain,
    }
}

fn log(said: &tree::Log) -> Log {
    Log {
        level: match said.level {
            tree::Level::Off => LevelFilter::OFF,
            tree::Level::Error => LevelFilter::ERROR,
            tree::Level::Warn => LevelFilter::WARN,
            tree::Level::Info => LevelFilter::INFO,
            tree::Level::Debug => LevelFilter::DEBUG,
            tree::Level::Trace => LevelFilter::TRACE,
        },
        format: match said.format {
            tree::Format::Text => Format::Text,
            tree::Format::Json => Format::Json,
        },
        access: match &said.access.0 {
            scalar::Access::Off => Sink::Off,
            scalar::Access::Stdout => Sink::Stdout,
            scalar::Access::Stderr => Sink::Stderr,
            scalar::Access::File(path) => Sink::File(path.clone()),
        },
    }
}

fn wide(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

const STOP_DELAY_MOST: Duration = Duration::from_secs(60 * 60);
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
