//! `risefall proxy`: arguments to a plan, a plan to a running proxy, signals to its end.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::TypedValueParser as _;
use ipnet::IpNet;
use risefall::{Policy, PolicyError, Recovery, Registry};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use super::{address, bad_usage, failed, say, summary};
use crate::plan::{Draft, Limits, Plan, Timeouts};
use crate::runtime::{self, Running, Services};
use crate::telemetry::access::{AccessLog, Format, Sink};
use crate::telemetry::log;
use crate::units;

/// Run a forward proxy: HTTP, CONNECT and SOCKS5 on one port.
///
/// Clients are told apart by their first byte. Every connection that is opened for them asks the
/// health registry first: an address that has failed --max-fails times in a row is answered for
/// at once with "health check falldown", and tried again after --fail-timeout.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Proxy {
    /// Address to listen on; may be given more than once. Port 0 lets the system choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090", value_parser = address)]
    listen: Vec<SocketAddr>,

    /// Client ranges that may use the proxy; needed when it listens on more than loopback.
    /// Example: --allow-clients 192.168.1.0/24,10.0.0.7
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', value_parser = range)]
    allow_clients: Vec<IpNet>,

    /// Whether clients may reach loopback, private and link-local addresses [default: true when
    /// listening on loopback only, else false]
    #[arg(long, value_name = "BOOL")]
    allow_private: Option<bool>,

    /// Worker threads; 0 is one for each core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,

    /// Failures in a row that take an address down
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..), help_heading = "Health")]
    max_fails: u8,

    /// Successes in a row that bring it up again
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..), help_heading = "Health")]
    min_rises: u8,

    /// How long a down address is not dialled. Each trip that follows before the earlier ones are
    /// made up for doubles it (--recovery probe)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration, help_heading = "Health")]
    fail_timeout: Duration,

    /// The longest that a trip takes an address down [default: 5m, or --fail-timeout if that is
    /// longer]
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = "Health")]
    max_fail_timeout: Option<Duration>,

    /// What happens at the end of that time: probe lets one client at a time try the address, open
    /// lets all
    #[arg(long, value_name = "HOW", default_value = "probe", value_parser = recovery_parser(), help_heading = "Health")]
    recovery: Recover,

    /// How long one address is dialled before that is a failure
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::duration, help_heading = "Health")]
    connect_timeout: Duration,

    /// Client connections in all; one more is told so (503, SOCKS 01). Split over the threads, each
    /// of which may hold N/threads, rounded up [default: 10000, or fewer if the limit on open
    /// files is low]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_connections: Option<usize>,

    /// Bytes of a request's head; more are refused (431, or 414)
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = units::size, help_heading = "Limits")]
    header_size: u64,

    /// Fields of a request's head; more are refused (431)
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Limits")]
    header_count: usize,

    /// How long a SOCKS handshake may take, and the first bytes of any connection
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration, help_heading = "Limits")]
    handshake_timeout: Duration,

    /// How long the head of a request may take from its first byte
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration, help_heading = "Limits")]
    header_timeout: Duration,

    /// How long a body may stand still
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = units::duration, help_heading = "Limits")]
    body_idle_timeout: Duration,

    /// How long a tunnel may stand still
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = units::duration, help_heading = "Limits")]
    idle_timeout: Duration,

    /// How long an origin may take to begin its answer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration, help_heading = "Limits")]
    answer_timeout: Duration,

    /// How long work in flight may go on after SIGINT or SIGTERM; a second signal ends it at once
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::duration, help_heading = "Limits")]
    drain_timeout: Duration,

    /// Address of the admin API that `risefall status` asks (loopback only), or off
    #[arg(long, value_name = "ADDR|off", default_value = "127.0.0.1:9901", value_parser = Admin::from_str)]
    admin: Admin,

    /// Least level that is logged, to the standard error
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level_parser(), help_heading = "Logs")]
    log_level: LevelFilter,

    /// How logs and access lines look: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = format_parser(), help_heading = "Logs")]
    log_format: Format,

    /// Where access lines go: off, stdout, stderr or a file
    #[arg(long, value_name = "SINK", default_value = "stdout", value_parser = sink, help_heading = "Logs")]
    access_log: Sink,
}

#[derive(Clone, Copy, Debug)]
enum Recover {
    Open,
    Probe,
}

#[derive(Clone, Copy, Debug)]
struct Admin(Option<SocketAddr>);

impl Proxy {
    pub(super) fn run(self) -> ExitCode {
        log::start(self.log_level, self.log_format);
        let (policy, plan) = match (self.policy(), self.plan()) {
            (Ok(policy), Ok(plan)) => (policy, plan),
            (policy, plan) => {
                let policy = policy.err().map(|error| refused(&error));
                let plan = plan
                    .err()
                    .into_iter()
                    .flatten()
                    .map(|error| error.to_string());
                let errors: Vec<_> = policy.into_iter().chain(plan).collect();
                return bad_usage(errors.join("\nrisefall: "));
            }
        };
        let plan = self.within_files(plan);
        let access = match AccessLog::open(&self.access_log, self.log_format) {
            Ok(access) => access,
            Err(error) => {
                let log = match &self.access_log {
                    Sink::File(path) => format!("access log {}", path.display()),
                    _ => "access log".to_owned(),
                };
                return failed(format_args!("cannot open the {log}: {error}"));
            }
        };
        let (access, flush) = access.unzip();
        let served = serve(&plan, policy, access, self.drain_timeout);
        drop(flush);
        match served {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(error),
        }
    }

    /// Raises the process's own bound on open files as far as it may. If that is not enough, a
    /// default gives way, and what was asked for stands.
    fn within_files(&self, plan: Plan) -> Plan {
        let Some(files) = raise_file_limit() else {
            return plan;
        };
        if self.max_connections.is_none() {
            return plan.within(files);
        }
        if files < plan.files() {
            tracing::warn!(
                files,
                needed = plan.files(),
                "the limit on open files is lower than --max-connections may need (ulimit -n)"
            );
        }
        plan
    }

    fn policy(&self) -> Result<Policy, PolicyError> {
        let builder = Policy::builder()
            .max_fails(self.max_fails)
            .min_rises(self.min_rises)
            .fail_timeout(self.fail_timeout)
            .connect_timeout(self.connect_timeout)
            // Two addresses that do not answer, one after the other, are waited for in full; and a
            // probe that takes as long as it may is not given up for lost.
            .dial_timeout(
                DIAL_TIMEOUT
                    .max(self.connect_timeout.saturating_mul(2))
                    .min(DAY),
            )
            .recovery(match self.recovery {
                Recover::Open => Recovery::Open,
                Recover::Probe => Recovery::Probe {
                    permits: 1,
                    lease: DIAL_TIMEOUT
                        .max(self.connect_timeout.saturating_mul(2))
                        .min(DAY),
                },
            });
        match self.max_fail_timeout {
            Some(time) => builder.max_fail_timeout(time),
            None => builder,
        }
        .build()
    }

    fn plan(&self) -> Result<Plan, Vec<crate::plan::PlanError>> {
        let default = Limits::default();
        let draft = Draft {
            listen: self.listen.clone(),
            clients: self.allow_clients.clone(),
            allow_private: self.allow_private,
            admin: self.admin.0,
            threads: self.threads,
            limits: Limits {
                connections: self.max_connections.unwrap_or(default.connections),
                header_size: usize::try_from(self.header_size).unwrap_or(usize::MAX),
                header_count: self.header_count,
                ..default
            },
            timeouts: Timeouts {
                handshake: self.handshake_timeout,
                header: self.header_timeout,
                body_idle: self.body_idle_timeout,
                idle: self.idle_timeout,
                answer: self.answer_timeout,
                drain: self.drain_timeout,
                ..Timeouts::default()
            },
        };
        draft.resolve()
    }
}

/// Runs the plan until it is told to stop.
fn serve(
    plan: &Plan,
    policy: Policy,
    access: Option<AccessLog>,
    drain: Duration,
) -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::new(policy);
    let lost = access.as_ref().map(AccessLog::lost);
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    control.block_on(async {
        // Before anything can be asked of this process, so that no signal is missed.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let transitions = registry.subscribe(TRANSITIONS);
        let services = Services {
            access,
            ..Services::new(Arc::new(registry.clone()))
        };
        let running = runtime::start(plan.clone(), services)?;
        say(summary::of(plan, registry.policy(), &running).trim_end());
        tokio::select! {
            _ = stop_signal(&mut interrupt, &mut terminate) => {}
            () = log::transitions(transitions) => {}
            () = report_lost_lines(lost.clone()) => {}
        }
        say(format_args!(
            "risefall: draining for up to {}; a second signal ends it at once",
            units::show(drain)
        ));
        running.drain(drain);
        finish(running, &mut interrupt, &mut terminate).await;
        Ok(())
    })
}

async fn finish(running: Running, interrupt: &mut Signal, terminate: &mut Signal) {
    let cutter = running.cutter();
    let mut stopped = std::pin::pin!(running.stopped());
    let stopped = tokio::select! {
        stopped = &mut stopped => stopped,
        () = stop_signal(interrupt, terminate) => {
            cutter.cut();
            stopped.await
        }
    };
    match stopped.cut {
        0 => say("risefall: stopped; every connection ended by itself"),
        1 => say("risefall: stopped; 1 connection was cut"),
        cut => say(format_args!(
            "risefall: stopped; {cut} connections were cut"
        )),
    }
}

async fn stop_signal(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn report_lost_lines(lost: Option<tracing_appender::non_blocking::ErrorCounter>) {
    let Some(lost) = lost else {
        return pending().await;
    };
    let mut known = 0;
    loop {
        tokio::time::sleep(LOST_LINES_PAUSE).await;
        let now = lost.dropped_lines();
        if now != known {
            tracing::warn!(
                lost = now - known,
                "access lines were lost: their sink is too slow"
            );
            known = now;
        }
    }
}

/// The bound on open files, raised as far as it may be; `None` if there is none.
fn raise_file_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// Says why a policy was refused in the words of the flags.
fn refused(error: &PolicyError) -> String {
    match error {
        PolicyError::TimeOutOfRange {
            field,
            time,
            least,
            most,
        } => format!(
            "--{} is {}, expected from {} to {}",
            field.replace('_', "-"),
            units::show(*time),
            units::show(*least),
            units::show(*most)
        ),
        other => other.to_string(),
    }
}

impl FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let address = text.parse().map_err(|_| {
            format!("found {text:?}, expected an address such as 127.0.0.1:9901, or off")
        })?;
        Ok(Self(Some(address)))
    }
}

fn range(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>();
    let single = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    network.or_else(|_| single()).map_err(|_| {
        format!("found {text:?}, expected a range such as 192.168.1.0/24, or an address")
    })
}

fn sink(text: &str) -> Result<Sink, io::Error> {
    Ok(match text {
        "off" => Sink::Off,
        "stdout" => Sink::Stdout,
        "stderr" => Sink::Stderr,
        path => Sink::File(path.into()),
    })
}

fn level_parser() -> impl clap::builder::TypedValueParser<Value = LevelFilter> {
    clap::builder::PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .try_map(|level| level.parse::<LevelFilter>())
}

fn recovery_parser() -> impl clap::builder::TypedValueParser<Value = Recover> {
    clap::builder::PossibleValuesParser::new(["probe", "open"]).map(|how| {
        if how == "open" {
            Recover::Open
        } else {
            Recover::Probe
        }
    })
}

fn format_parser() -> impl clap::builder::TypedValueParser<Value = Format> {
    clap::builder::PossibleValuesParser::new(["text", "json"]).map(|format| {
        if format == "json" {
            Format::Json
        } else {
            Format::Text
        }
    })
}

const TRANSITIONS: usize = 1024;
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const LOST_LINES_PAUSE: Duration = Duration::from_secs(10);
const EXAMPLES: &str = "\
Examples:
  risefall proxy
  curl -x http://127.0.0.1:8090 http://example.com/
  curl -x socks5h://127.0.0.1:8090 https://example.com/

  risefall proxy --listen 0.0.0.0:8090 --allow-clients 192.168.1.0/24
  risefall proxy --max-fails 2 --fail-timeout 10s --access-log /var/log/risefall.log";
