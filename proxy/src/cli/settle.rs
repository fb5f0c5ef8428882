//! From a tree, as a file or flags say it, to settings that can be run, or to all that is wrong.

mod bounds;
mod check;
mod files;
mod group;
mod policy;
mod site;
mod tls;
mod upstream;

use std::path::{Path, PathBuf};
use std::time::Duration;

use risefall::Policy;
use tracing_subscriber::filter::LevelFilter;

use crate::config::scalar;
use crate::config::tree::{self, Tree};
use crate::plan::{
    Admin, Control, Draft, ForwardDraft, Plan, PlanError, PlanFault, Protocols, Token,
};
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

impl Refused {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
            fault: None,
        }
    }
}

impl From<PlanError> for Refused {
    fn from(error: PlanError) -> Self {
        Self {
            message: error.fault.to_string(),
            place: error.place,
            fault: Some(error.fault),
        }
    }
}

/// Makes settings of `tree`.
///
/// # Errors
///
/// All that must not run.
pub(super) fn settle(tree: &Tree) -> Result<Settings, Vec<Refused>> {
    let mut refused = Vec::new();
    let policy = policy::of(&tree.health);
    let policy = policy.unwrap_or_else(|error| {
        refused.push(policy::refuse("health", &error));
        Policy::default()
    });
    if tree.health.max_fail_timeout.is_some() && tree.health.recovery == tree::Recovery::Open {
        let message =
            "is of use with recovery = \"probe\" alone; expected that, or fail_timeout alone";
        refused.push(Refused::new("health.max_fail_timeout", message));
    }
    let draft = Draft {
        forwards: (tree.forward.iter())
            .map(|(name, one)| forward(name, one))
            .collect(),
        sites: (tree.site.iter())
            .map(|(name, one)| site::draft(name, one, &mut refused))
            .collect(),
        upstreams: (tree.upstream.iter())
            .map(|(name, one)| upstream::draft(name, one, &tree.health, &policy, &mut refused))
            .collect(),
        admin: admin(&tree.admin, &mut refused),
        threads: tree.process.threads.into(),
        limits: bounds::limits(&tree.limits),
        timeouts: bounds::timeouts(&tree.limits, tree.process.drain_timeout.0),
    };
    let plan = draft.resolve().map_err(|errors| {
        let told = |error: &PlanError| {
            matches!(error.fault, PlanFault::NoCertificate)
                && refused
                    .iter()
                    .any(|one| one.place.starts_with(&error.place))
        };
        let errors: Vec<_> = errors.into_iter().filter(|error| !told(error)).collect();
        refused.extend(errors.into_iter().map(Refused::from));
    });
    if tree.process.stop_delay.0 > STOP_DELAY_MOST {
        let most = units::show(STOP_DELAY_MOST);
        let found = units::show(tree.process.stop_delay.0);
        let message = format!("found {found}, expected at most {most}");
        refused.push(Refused::new("process.stop_delay", message));
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

fn forward(name: &str, said: &tree::Forward) -> ForwardDraft {
    ForwardDraft {
        name: name.to_owned(),
        listen: said.listen.as_slice().iter().map(|one| one.0).collect(),
        protocols: Protocols {
            http: said.protocols.contains(&tree::Protocol::Http),
            socks5: said.protocols.contains(&tree::Protocol::Socks5),
        },
        clients: said.clients.iter().map(|range| range.0).collect(),
        allow_private: said.allow_private,
        parent: said.parent.clone(),
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
            let message = "there is a token already; expected one of the two";
            refused.push(Refused::new("admin.token_file", message));
            None
        }
        (Some(token), None) => Some(Token::new(token.reveal())),
        (None, Some(file)) => match first_line(&file.0, "token") {
            Ok(token) => Some(Token::new(&token)),
            Err(message) => {
                refused.push(Refused::new("admin.token_file", message));
                None
            }
        },
        (None, None) => None,
    };
    Some(Admin { at, token })
}

/// A secret that a file holds.
fn first_line(path: &Path, what: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!(
            "the first line of {} is empty; expected the {what} there",
            path.display()
        )),
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

const STOP_DELAY_MOST: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests;
