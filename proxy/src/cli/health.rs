//! `risefall health`: overrides what the running proxy holds against an address.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::ask::{self, Door};
use super::{address, failed, say};

/// Override the health of an address in the running proxy.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Health {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Up, whatever happens, until released
    Up(Which),
    /// Down, whatever happens, until released
    Down(Which),
    /// No new connections until released; open ones go on
    Drain(Which),
    /// Take an override back: up, with nothing held against it
    Release(Which),
    /// Forget all that is held against it: failures, trips, overrides
    Reset(Which),
}

#[derive(Args, Debug)]
struct Which {
    /// The address. Example: 192.0.2.7:443
    #[arg(value_name = "ADDR", value_parser = address)]
    address: SocketAddr,

    #[command(flatten)]
    door: Door,
}

impl Health {
    pub(super) fn run(self) -> ExitCode {
        let (name, which) = match self.action {
            Action::Up(which) => ("up", which),
            Action::Down(which) => ("down", which),
            Action::Drain(which) => ("drain", which),
            Action::Release(which) => ("release", which),
            Action::Reset(which) => ("reset", which),
        };
        let path = format!("/endpoints/{}/{name}", which.address);
        match ask::post(&which.door, &path) {
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
  risefall health drain 192.0.2.7:443      before its server is worked on
  risefall health release 192.0.2.7:443    afterwards
  risefall health down --help";
