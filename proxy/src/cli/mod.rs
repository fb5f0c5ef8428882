//! The command line: what can be asked for, and what comes of it.
//!
//! Subcommands become plans here; what a plan must not hold is refused by [`crate::plan`].

mod ask;
mod check;
mod common;
mod explain;
mod files;
mod health;
mod manual;
mod missing;
mod proxy;
mod reload;
mod reverse;
mod run;
mod schema;
mod serve;
mod settle;
mod source;
mod state;
mod status;
mod summary;
mod supervisor;
mod upgrade;
mod watch;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The program's arguments.
#[derive(Debug, Parser)]
#[command(
    name = "risefall",
    version,
    about = "A proxy that remembers which servers are worth dialling",
    after_help = STARTS,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

impl Arguments {
    /// Those of this process; where they are wrong, or ask for help, that ends here.
    #[must_use]
    pub fn of_process() -> Self {
        Self::parse_from(files::joined(std::env::args_os()))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a forward proxy: HTTP, CONNECT and SOCKS5 on one port
    Proxy(Box<proxy::Proxy>),
    /// Run a reverse proxy: HTTP/1.1 and HTTP/2 in front of servers
    Reverse(Box<reverse::Reverse>),
    /// Show the files of a folder: HTTP/1.1 and HTTP/2, ranges, compression, listings
    Serve(Box<files::Serve>),
    /// Run what a configuration file says
    Run(run::Run),
    /// Tell all that is wrong with a configuration file, and start nothing
    Check(check::Check),
    /// Print the JSON Schema of the configuration file
    Schema(schema::Schema),
    /// Have the running proxy read its configuration file again
    Reload(reload::Reload),
    /// Have a new process take over from the running proxy
    Upgrade(reload::Upgrade),
    /// Show which addresses the running proxy holds for failing or down
    Status(status::Status),
    /// Show what would become of a request in the running proxy, and why
    Explain(explain::Explain),
    /// Override the health of an address in the running proxy
    Health(health::Health),
    /// Print the completions of a shell
    Completions(manual::Completions),
    /// Print or write the man pages
    Man(manual::Man),
}

/// Does what the arguments ask for.
///
/// Exit codes: 0 done, 1 failed while running, 2 bad usage or configuration.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    match arguments.command {
        Some(Command::Proxy(proxy)) => proxy.run(),
        Some(Command::Reverse(reverse)) => reverse.run(),
        Some(Command::Serve(serve)) => serve.run(),
        Some(Command::Run(run)) => run.run(),
        Some(Command::Check(check)) => check.run(),
        Some(Command::Schema(schema)) => schema.run(),
        Some(Command::Reload(reload)) => reload.run(),
        Some(Command::Upgrade(upgrade)) => upgrade.run(),
        Some(Command::Status(status)) => status.run(),
        Some(Command::Explain(explain)) => explain.run(),
        Some(Command::Health(health)) => health.run(),
        Some(Command::Completions(completions)) => completions.run(),
        Some(Command::Man(man)) => man.run(),
        None => {
            // Whoever reads it has read enough, if this fails.
            let _ = writeln!(
                io::stdout(),
                "risefall {VERSION}, a proxy that remembers which servers are worth dialling\n\n\
                 {STARTS}\n\nEvery command explains itself: risefall proxy --help"
            );
            ExitCode::SUCCESS
        }
    }
}

fn failed(error: impl Display) -> ExitCode {
    say(format_args!("risefall: {error}"));
    ExitCode::from(1)
}

/// Reads an address with its port.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("found {text:?}, expected an IP address and a port, such as 127.0.0.1:8090")
    })
}

/// Tells the operator, on the standard error. Its reader may be gone (`2>&1 | tee log`, and an
/// interrupt for both), which must not end the proxy.
fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
const STARTS: &str = "\
One-line starts:
  risefall proxy                               a proxy for this machine on 127.0.0.1:8090
  risefall proxy --listen 127.0.0.1:3128       the same on another port
  risefall proxy --listen 0.0.0.0:8090 --allow-clients 192.168.1.0/24
                                               a proxy for a network
  risefall reverse --to 10.0.0.11:8080 --to 10.0.0.12:8080
                                               two servers behind http://127.0.0.1:8080/
  risefall serve DIR                           the files of a folder on http://127.0.0.1:8080/
  risefall status                              which addresses are failing or down
  risefall status --watch                      the same, again and again
  risefall explain http://example.com/         what would become of a request, and why
  risefall health drain 192.0.2.7:443          no new connections to this one

From a configuration file:
  risefall check -c risefall.toml              all that is wrong with it
  risefall run -c risefall.toml                until told to stop
  risefall reload                              when the file has changed

Exit codes: 0 done, 1 failed while running, 2 bad usage.";
