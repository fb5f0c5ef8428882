//! `risefall check`: all that is wrong with a file, without starting anything.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::source::{Said, Source};
use super::{failed, say};
use crate::config::scalar;
use crate::config::tree::{Recovery, Tree};

/// Tell all that is wrong with a configuration file, and start nothing.
///
/// Exit codes: 0 nothing is wrong, 2 something is. A file that is missing and may come later is a
/// warning.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "risefall.toml")]
    config: PathBuf,

    /// Print the whole configuration, with what it includes and all defaults; secrets are hidden
    #[arg(long)]
    print: bool,
}

impl Check {
    pub(super) fn run(self) -> ExitCode {
        let said = match Source::File(self.config.clone()).read() {
            Ok(said) => said,
            Err(mistakes) => {
                say(mistakes.trim_end());
                return ExitCode::from(2);
            }
        };
        for warning in &said.warnings {
            say(format_args!("warning: {warning}\n"));
        }
        if !self.print {
            say(format_args!("{}: nothing is wrong", self.config.display()));
            return ExitCode::SUCCESS;
        }
        print(&effective(said).to_toml())
    }
}

/// The tree with what follows from it where nothing was said.
fn effective(said: Said) -> Tree {
    let Said {
        mut tree, settings, ..
    } = said;
    let connections = settings.plan.limits().connections;
    let connections = u32::try_from(connections).unwrap_or(u32::MAX);
    tree.limits.connections.get_or_insert(connections);
    if tree.health.recovery == Recovery::Probe {
        let most = settings.policy.max_fail_timeout();
        tree.health
            .max_fail_timeout
            .get_or_insert(scalar::Said(most));
    }
    for forward in settings.plan.forwards() {
        if let Some(said) = tree.forward.get_mut(forward.name()) {
            said.allow_private.get_or_insert(forward.allows_private());
        }
    }
    for site in settings.plan.sites() {
        let tls = tree
            .site
            .get_mut(site.name())
            .and_then(|said| said.tls.as_mut());
        if let Some((said, tls)) = tls.zip(site.tls()) {
            said.redirect.get_or_insert(tls.redirects());
        }
    }
    tree
}

/// Writes to the standard output; whoever has read enough of it may go.
pub(super) fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed(error),
        _ => ExitCode::SUCCESS,
    }
}

const EXAMPLES: &str = "\
Examples:
  risefall check -c risefall.toml
  risefall check -c risefall.toml --print | less";
