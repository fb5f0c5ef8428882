//! `risefall run`: what a file says, until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::serve;
use super::source::Source;

/// Run what a configuration file says.
///
/// On SIGHUP, `risefall reload` or a change of the file (process.watch) it is read again: listeners
/// come and go by difference, open connections keep what they began with, and a file with a mistake
/// changes nothing.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "risefall.toml")]
    config: PathBuf,
}

impl Run {
    pub(super) fn run(self) -> ExitCode {
        serve::run(Source::File(self.config))
    }
}

const EXAMPLES: &str = "\
Examples:
  risefall check -c risefall.toml && risefall run -c risefall.toml
  risefall reload                  after the file has changed
  kill -HUP PID                    the same";
