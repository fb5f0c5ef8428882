//! Flags that every one-line start takes, and what a file would say in their place.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::check::print;
use super::serve;
use super::source::Source;
use crate::config::scalar::{Access, Bytes, Control, Form, Said};
use crate::config::tree::{self, OneOrMany, Tree};
use crate::units;

#[derive(Args, Debug)]
pub(super) struct Common {
    /// Worker threads; 0 is one for each core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,

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
    #[arg(
        long,
        value_name = "HOW",
        default_value = "probe",
        help_heading = "Health"
    )]
    recovery: Recover,

    /// How long one address is dialled before that is a failure
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::duration, help_heading = "Health")]
    connect_timeout: Duration,

    /// Client connections in all; one more is told so (503, SOCKS 01). Split over the threads, each
    /// of which may hold N/threads, rounded up [default: 10000, or fewer if the limit on open
    /// files is low]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_777_216), help_heading = "Limits")]
    max_connections: Option<u32>,

    /// Bytes of a request's head; more are refused (431, or 414)
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = units::size, help_heading = "Limits")]
    header_size: u64,

    /// Fields of a request's head; more are refused (431)
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000), help_heading = "Limits")]
    header_count: u16,

    /// How long a SOCKS or TLS handshake may take, and the first bytes of any connection
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

    /// Address of the admin API that `risefall status` asks: on loopback, or unix: and the path of
    /// a socket, or off
    #[arg(long, value_name = "ADDR|off", default_value = "127.0.0.1:9901", value_parser = form::<Control>)]
    admin: Control,

    /// Least level that is logged, to the standard error
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        help_heading = "Logs"
    )]
    log_level: Level,

    /// How logs and access lines look: text or json
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Logs"
    )]
    log_format: Format,

    /// Where access lines go: off, stdout, stderr or a file
    #[arg(long, value_name = "SINK", default_value = "stdout", value_parser = form::<Access>, help_heading = "Logs")]
    access_log: Access,

    /// Print the same as a configuration file, and start nothing
    #[arg(long)]
    print_config: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Recover {
    Probe,
    Open,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Common {
    /// Serves `tree` with what these flags say, or prints it.
    pub(super) fn run(self, tree: Tree) -> ExitCode {
        let should_print = self.print_config;
        let source = Source::Flags(Box::new(self.join(tree)));
        if !should_print {
            return serve::run(source);
        }
        match source.read() {
            Ok(said) => print(&said.tree.to_toml()),
            Err(mistakes) => {
                super::say(format_args!("risefall: {mistakes}"));
                ExitCode::from(2)
            }
        }
    }

    /// `tree` with what these flags say.
    pub(super) fn join(self, tree: Tree) -> Tree {
        Tree {
            process: tree::Process {
                threads: self.threads,
                drain_timeout: Said(self.drain_timeout),
                ..tree::Process::default()
            },
            log: tree::Log {
                level: self.log_level.into(),
                format: match self.log_format {
                    Format::Text => tree::Format::Text,
                    Format::Json => tree::Format::Json,
                },
                access: Said(self.access_log),
            },
            health: tree::Health {
                max_fails: self.max_fails,
                min_rises: self.min_rises,
                fail_timeout: Said(self.fail_timeout),
                max_fail_timeout: self.max_fail_timeout.map(Said),
                connect_timeout: Said(self.connect_timeout),
                recovery: match self.recovery {
                    Recover::Probe => tree::Recovery::Probe,
                    Recover::Open => tree::Recovery::Open,
                },
            },
            admin: tree::Admin {
                listen: Said(self.admin),
                ..tree::Admin::default()
            },
            limits: tree::Limits {
                connections: self.max_connections,
                header_size: Said(Bytes(self.header_size)),
                header_count: self.header_count,
                handshake_timeout: Said(self.handshake_timeout),
                header_timeout: Said(self.header_timeout),
                answer_timeout: Said(self.answer_timeout),
                body_idle_timeout: Said(self.body_idle_timeout),
                idle_timeout: Said(self.idle_timeout),
                ..tree::Limits::default()
            },
            ..tree
        }
    }
}

impl From<Level> for tree::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::Off,
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

/// Reads a flag as the file reads its key.
pub(super) fn form<T: Form>(text: &str) -> Result<T, String> {
    T::read(text)
}

/// One address is written without brackets.
pub(super) fn listen(addresses: &[SocketAddr]) -> OneOrMany<Said<SocketAddr>> {
    match *addresses {
        [one] => OneOrMany::One(Said(one)),
        _ => OneOrMany::Many(addresses.iter().copied().map(Said).collect()),
    }
}
