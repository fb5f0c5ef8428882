//! The command line, and its checks: text becomes a plan that cannot hold a contradiction.

mod run;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use self::run::{DeadKind, RunArgs, RunPlan, Supply};
use crate::error::UsageError;

/// Puts load on a proxy and tells live targets from dead ones in everything it reports.
#[derive(Debug, Parser)]
#[command(name = "risefall-load", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sends units of work through a proxy and reports rate, latency and outcomes
    #[command(after_help = run::EXAMPLES)]
    Run(RunArgs),
    /// Opens many tunnels, keeps them idle and reports the proxy's memory per tunnel
    #[command(after_help = HOLD_EXAMPLES)]
    Hold(HoldArgs),
    /// Serves a fixed HTTP body, or echoes when the first byte is not an HTTP method
    Origin(OriginArgs),
    /// Forwards HTTP with the bare engine and no feature at all: the floor to measure proxies by
    Bare(BareArgs),
}

/// How the loader speaks to the proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Mode {
    /// One GET in absolute form, on kept-alive connections to the proxy
    Http,
    /// A new connection, CONNECT, one small exchange through the tunnel, close
    Connect,
    /// A new connection, SOCKS5 without authentication, one small exchange, close
    Socks5,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Connect => "connect",
            Self::Socks5 => "socks5",
        }
    }
}

/// The modes that leave a tunnel open.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum TunnelMode {
    /// HTTP CONNECT
    Connect,
    /// SOCKS5 without authentication
    Socks5,
}

impl From<TunnelMode> for Mode {
    fn from(mode: TunnelMode) -> Self {
        match mode {
            TunnelMode::Connect => Self::Connect,
            TunnelMode::Socks5 => Self::Socks5,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct HoldArgs {
    /// The proxy, as IP:PORT
    #[arg(long, value_name = "ADDR")]
    proxy: SocketAddr,
    /// How to open a tunnel
    #[arg(long, value_enum)]
    mode: TunnelMode,
    /// Where every tunnel leads
    #[arg(long, value_name = "ADDR", required_unless_present = "self_contained")]
    live: Option<SocketAddr>,
    /// Start the live target in this process
    #[arg(long, conflicts_with = "live")]
    self_contained: bool,
    /// How many tunnels (at most 20000)
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = count_parser())]
    tunnels: u32,
    /// How long they stay open and idle (at most 10m)
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    duration: Duration,
    /// Before idling, send this many bytes through each tunnel and read them back (at most 16384);
    /// the live target must echo
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=16_384))]
    ping: Option<u32>,
    /// The proxy's process, whose VmRSS is read before, during and after
    #[arg(long)]
    pid: Option<u32>,
    /// How long opening one tunnel may take (at most 10m)
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    timeout: Duration,
    /// Print one JSON object in place of the text
    #[arg(long)]
    json: bool,
    /// Accept addresses that are not loopback. Never point this at what is not yours
    #[arg(long)]
    allow_remote: bool,
}

/// A hold whose flags agree with each other.
#[derive(Debug)]
pub(crate) struct HoldPlan {
    pub(crate) proxy: SocketAddr,
    pub(crate) mode: Mode,
    /// `None`: start the target in this process.
    pub(crate) live: Option<SocketAddr>,
    pub(crate) tunnels: usize,
    pub(crate) duration: Duration,
    pub(crate) timeout: Duration,
    pub(crate) ping: Option<u32>,
    pub(crate) pid: Option<u32>,
    pub(crate) json: bool,
}

impl HoldArgs {
    /// # Errors
    ///
    /// An address that is not loopback without `--allow-remote`.
    pub(crate) fn check(self) -> Result<HoldPlan, UsageError> {
        check_loopback("--proxy", &[self.proxy], self.allow_remote)?;
        check_loopback("--live", self.live.as_slice(), self.allow_remote)?;
        Ok(HoldPlan {
            proxy: self.proxy,
            mode: self.mode.into(),
            live: self.live,
            tunnels: self.tunnels as usize,
            duration: self.duration,
            timeout: self.timeout,
            ping: self.ping,
            pid: self.pid,
            json: self.json,
        })
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct OriginArgs {
    /// Where to listen; port 0 lets the system choose, and the address is printed
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Bytes in the body of every answer (at most 67108864)
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=67_108_864))]
    size: u32,
    /// Accept an address that is not loopback
    #[arg(long)]
    allow_remote: bool,
}

/// An origin that may listen where it was told to.
#[derive(Debug)]
pub(crate) struct OriginPlan {
    pub(crate) listen: SocketAddr,
    pub(crate) size: usize,
}

impl OriginArgs {
    /// # Errors
    ///
    /// An address that is not loopback without `--allow-remote`.
    pub(crate) fn check(self) -> Result<OriginPlan, UsageError> {
        check_loopback("--listen", &[self.listen], self.allow_remote)?;
        Ok(OriginPlan {
            listen: self.listen,
            size: self.size as usize,
        })
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct BareArgs {
    /// Where to listen, a loopback address; with port 0 the system chooses and it is printed
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The one server, a loopback address
    #[arg(long, value_name = "ADDR")]
    to: SocketAddr,
    /// Speak TLS, with HTTP/2 to those who offer it, and show this certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

/// A bare proxy that stays on this machine.
#[derive(Debug)]
pub(crate) struct BarePlan {
    pub(crate) listen: SocketAddr,
    pub(crate) to: SocketAddr,
    /// `None`: no TLS.
    pub(crate) cert_and_key: Option<(PathBuf, PathBuf)>,
}

impl BareArgs {
    /// # Errors
    ///
    /// An address that is not loopback.
    pub(crate) fn check(self) -> Result<BarePlan, UsageError> {
        for (flag, address) in [("--listen", self.listen), ("--to", self.to)] {
            if !is_loopback(&address) {
                return Err(UsageError::LoopbackOnly { flag, address });
            }
        }
        Ok(BarePlan {
            listen: self.listen,
            to: self.to,
            cert_and_key: self.cert.zip(self.key),
        })
    }
}

fn check_loopback(
    flag: &'static str,
    addresses: &[SocketAddr],
    allow_remote: bool,
) -> Result<(), UsageError> {
    let stranger = addresses.iter().find(|address| !is_loopback(address));
    match stranger {
        Some(&address) if !allow_remote => Err(UsageError::NotLoopback { flag, address }),
        _ => Ok(()),
    }
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn count_parser() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=20_000)
}

/// `500ms`, `10s` or `2m`; the unit is never guessed. From a millisecond to ten minutes.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(DURATION_FORM.to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| DURATION_FORM.to_owned())?;
    match number.checked_mul(unit_ms) {
        Some(total_ms @ 1..=MAX_DURATION_MS) => Ok(Duration::from_millis(total_ms)),
        _ => Err("expected from 1ms to 10m".to_owned()),
    }
}

const MAX_DURATION_MS: u64 = 600_000;
const DURATION_FORM: &str = "expected a whole number and a unit, such as 500ms, 10s or 2m";

const EXAMPLES: &str = "\
Exit codes: 0 done, 1 failed while running, 2 bad usage.

One command shows everything, given a proxy on 127.0.0.1:8090:
  risefall-load run --proxy 127.0.0.1:8090 --mode connect --self-contained";

const HOLD_EXAMPLES: &str = "\
Bytes per tunnel is the growth of VmRSS between no tunnel and all of them idle. Start from a fresh \
proxy: memory that an earlier run left behind is reused and would not count.

Example:
  risefall-load hold --proxy 127.0.0.1:8090 --mode connect --self-contained --pid $(pidof risefall)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit_and_have_bounds() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        for refused in [
            "",
            "s",
            "10",
            "0s",
            "11m",
            "1h",
            "1.5s",
            "-1s",
            "99999999999999999999s",
        ] {
            assert!(parse_duration(refused).is_err(), "{refused:?}");
        }
    }
}
