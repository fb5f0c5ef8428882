//! `risefall reload`: has the running proxy read its configuration again.

use std::process::ExitCode;

use clap::Args;

use super::ask::{self, Door};
use super::{failed, say};

/// Have the running proxy read its configuration file again.
///
/// Says what has changed; or why nothing has, with exit code 1: the proxy goes on as it was.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Reload {
    #[command(flatten)]
    door: Door,
}

impl Reload {
    pub(super) fn run(self) -> ExitCode {
        match ask::post(&self.door, "/reload") {
            Ok(done) => {
                say(done.trim_end());
                ExitCode::SUCCESS
            }
            Err(error) => failed(error),
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  risefall check -c risefall.toml && risefall reload
  risefall reload --admin unix:/run/risefall.sock";
