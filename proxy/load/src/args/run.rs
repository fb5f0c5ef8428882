//! The flags of `run`.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use clap::ValueEnum;

use super::{Mode, check_loopback, count_parser, parse_duration};
use crate::{
    error::UsageError,
    targets::{Class, Exchange},
};

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The proxy, as IP:PORT
    #[arg(long, value_name = "ADDR")]
    proxy: SocketAddr,
    /// How to speak to the proxy
    #[arg(long, value_enum)]
    mode: Mode,
    /// Units in flight at once (at most 20000)
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = count_parser())]
    connections: u32,
    /// How long to start new units; those in flight at the end are waited for (at most 10m)
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// A target that answers; may be given many times
    #[arg(long, value_name = "ADDR")]
    live: Vec<SocketAddr>,
    /// A target that does not; may be given many times
    #[arg(long, value_name = "ADDR")]
    dead: Vec<SocketAddr>,
    /// Percent of the units that go to dead targets [default: 10, or 0 without a dead target]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    dead_share: Option<u8>,
    /// Units per second in all, started on schedule (open loop): latency counts from the moment a
    /// unit was due, so a slow proxy cannot hide its queue. Without it each connection starts its
    /// next unit when the last one ends
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Units on one connection before it is closed [default: 1 for connect and socks5, where all
    /// go to the tunnel's one target; no limit for http]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_connection: Option<u32>,
    /// Threads that share the connections (at most 64)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// How long one unit may take before it counts as timed out (at most 10m)
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    timeout: Duration,
    /// The path of every GET
    #[arg(long, default_value = "/")]
    path: String,
    /// Through tunnels, send this many bytes and read them back in place of a GET (at most 16384);
    /// the live target must echo
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=16_384))]
    ping: Option<u32>,
    /// Start a live target and make a dead one in this process. It shares the machine's cores with
    /// the proxy: compare such runs only with each other
    #[arg(long, conflicts_with_all = ["live", "dead"])]
    self_contained: bool,
    /// What the dead target of --self-contained does to a dial
    #[arg(
        long,
        value_enum,
        default_value = "closed",
        requires = "self_contained"
    )]
    dead_kind: DeadKind,
    /// Print one JSON object in place of the table
    #[arg(long)]
    json: bool,
    /// Accept addresses that are not loopback. Never point this at what is not yours
    #[arg(long)]
    allow_remote: bool,
}

/// A run whose flags agree with each other.
#[derive(Debug)]
pub(crate) struct RunPlan {
    pub(crate) proxy: SocketAddr,
    pub(crate) mode: Mode,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) duration: Duration,
    pub(crate) timeout: Duration,
    pub(crate) rate: Option<NonZeroU32>,
    /// `None`: a connection is used until the proxy closes it.
    pub(crate) units_per_connection: Option<NonZeroU32>,
    pub(crate) dead_share: u8,
    pub(crate) supply: Supply,
    pub(crate) exchange: Exchange,
    pub(crate) json: bool,
}

/// Where the targets come from.
#[derive(Debug)]
pub(crate) enum Supply {
    Given(Vec<(Class, SocketAddr)>),
    Staged(DeadKind),
}

impl RunArgs {
    /// # Errors
    ///
    /// The first contradiction among the flags.
    pub(crate) fn check(self) -> Result<RunPlan, UsageError> {
        check_loopback("--proxy", &[self.proxy], self.allow_remote)?;
        check_loopback("--live", &self.live, self.allow_remote)?;
        check_loopback("--dead", &self.dead, self.allow_remote)?;
        let has_dead = self.self_contained || !self.dead.is_empty();
        let dead_share = self.dead_share.unwrap_or(if has_dead { 10 } else { 0 });
        if dead_share > 0 && !has_dead {
            return Err(UsageError::NoDeadTarget { share: dead_share });
        }
        if dead_share < 100 && !self.self_contained && self.live.is_empty() {
            return Err(UsageError::NoLiveTarget);
        }
        if self.mode == Mode::Http && self.ping.is_some() {
            return Err(UsageError::PingWithoutTunnel);
        }
        if self.threads > self.connections {
            return Err(UsageError::IdleThreads {
                threads: self.threads as usize,
                connections: self.connections as usize,
            });
        }
        let default_units = if self.mode == Mode::Http {
            None
        } else {
            Some(1)
        };
        Ok(RunPlan {
            proxy: self.proxy,
            mode: self.mode,
            connections: self.connections as usize,
            threads: self.threads as usize,
            duration: self.duration,
            timeout: self.timeout,
            rate: self.rate.and_then(NonZeroU32::new),
            units_per_connection: self
                .requests_per_connection
                .or(default_units)
                .and_then(NonZeroU32::new),
            dead_share,
            supply: if self.self_contained {
                Supply::Staged(self.dead_kind)
            } else {
                let live = self.live.into_iter().map(|address| (Class::Live, address));
                let dead = self.dead.into_iter().map(|address| (Class::Dead, address));
                Supply::Given(live.chain(dead).collect())
            },
            exchange: exchange(self.ping, self.path)?,
            json: self.json,
        })
    }
}

/// What the dead target of `--self-contained` does to a dial.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum DeadKind {
    /// Nothing listens: the dial is refused at once
    Closed,
    /// A listener whose queue is full: the dial gets no answer at all
    Blackhole,
}

impl DeadKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Blackhole => "blackhole",
        }
    }
}

/// A path goes into the request as it is, so it must not be able to end the request line.
fn exchange(ping: Option<u32>, path: String) -> Result<Exchange, UsageError> {
    if let Some(bytes) = ping {
        return Ok(Exchange::Ping { bytes });
    }
    if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Exchange::Get { path });
    }
    Err(UsageError::Path { path })
}

pub(super) const EXAMPLES: &str = "\
A row's percentiles cover the units that ended as their class should (live: ok, dead: an error \
answer) and those that timed out, with the time they waited. Units that failed fast are counted \
and do not flatter the percentiles. units/s counts what ended within --duration.

Examples:
  # everything in one command: own live target, one unit in ten to a closed port
  risefall-load run --proxy 127.0.0.1:8090 --mode socks5 --self-contained
  # the same with a target that never answers a dial
  risefall-load run --proxy 127.0.0.1:8090 --mode connect --self-contained --dead-kind blackhole
  # a fixed rate on own targets, as JSON
  risefall-load run --proxy 127.0.0.1:8090 --mode http --live 127.0.0.1:9000 --rate 2000 --json";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn run_plan(line: &str) -> Result<RunPlan, UsageError> {
        let words = ["risefall-load", "run"].into_iter().chain(line.split(' '));
        match Args::try_parse_from(words).unwrap().command {
            Command::Run(args) => args.check(),
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn only_loopback_is_accepted_unless_allowed() {
        let line = "--proxy 127.0.0.1:1 --mode http --live 192.0.2.1:80";
        assert_eq!(
            run_plan(line).unwrap_err(),
            UsageError::NotLoopback {
                flag: "--live",
                address: "192.0.2.1:80".parse().unwrap()
            }
        );
        assert!(run_plan(&format!("{line} --allow-remote")).is_ok());
        assert!(run_plan("--proxy [::ffff:127.0.0.1]:1 --mode http --live [::1]:80").is_ok());
    }

    #[test]
    fn the_dead_share_follows_the_targets() {
        let proxy = "--proxy 127.0.0.1:1 --mode connect";
        let share = |rest: &str| run_plan(&format!("{proxy} {rest}")).map(|plan| plan.dead_share);
        assert_eq!(share("--live 127.0.0.1:2"), Ok(0));
        assert_eq!(share("--live 127.0.0.1:2 --dead 127.0.0.1:3"), Ok(10));
        assert_eq!(share("--self-contained"), Ok(10));
        assert_eq!(share("--dead 127.0.0.1:3 --dead-share 100"), Ok(100));
        assert_eq!(
            share("--live 127.0.0.1:2 --dead-share 5"),
            Err(UsageError::NoDeadTarget { share: 5 })
        );
        assert_eq!(share("--dead 127.0.0.1:3"), Err(UsageError::NoLiveTarget));
    }

    #[test]
    fn a_path_cannot_end_the_request_line() {
        for path in ["", "x", "/a b", "/a\r\nb", "/é"] {
            assert!(exchange(None, path.to_owned()).is_err(), "{path:?}");
        }
        assert!(exchange(None, "/a?b=c".to_owned()).is_ok());
    }
}
