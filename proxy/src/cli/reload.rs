//! `risefall reload` and `risefall upgrade`: what the running proxy is asked to do as a whole.

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
        match ask::post_patiently(&self.door, "/reload") {
            Ok(done) => {
                say(done.trim_end());
                ExitCode::SUCCESS
            }
            Err(error) => failed(error),
        }
    }
}

/// Have a new process take over from the running proxy.
///
/// The program's file is started anew, with the same arguments. It gets the listening sockets, so
/// that nobody who connects is refused, and all that is held against addresses. When it serves, the
/// old process ends what it has begun, within process.drain_timeout. If it does not come so far,
/// the old one goes on, and the exit code is 1. The same by SIGUSR2.
#[derive(Args, Debug)]
#[command(after_help = UPGRADE_EXAMPLES)]
pub(super) struct Upgrade {
    #[command(flatten)]
    door: Door,
}

impl Upgrade {
    pub(super) fn run(self) -> ExitCode {
        match ask::post_patiently(&self.door, "/upgrade") {
            Ok(done) => {
                say(done.trim_end());
                ExitCode::SUCCESS
            }
            Err(error) => failed(error),
        }
    }
}

const UPGRADE_EXAMPLES: &str = "\
Examples:
  install risefall-new /usr/local/bin/risefall && risefall upgrade
  kill -USR2 PID                   the same";
const EXAMPLES: &str = "\
Examples:
  risefall check -c risefall.toml && risefall reload
  risefall reload --admin unix:/run/risefall.sock";
