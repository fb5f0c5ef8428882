//! Names in the DNS, with the time that an answer holds, and services (SRV, RFC 2782).
//!
//! The hosts file comes first, as with the system. Each lookup reads the system's files anew, has
//! an event loop of its own on its thread, and leaves nothing behind: lookups are rare, and what
//! an operator changes in `/etc` counts at once. A name that the DNS has not is asked of the
//! system, which may have other sources; so is every name when no name server is configured.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, Record};
use hickory_resolver::system_conf::read_system_conf;
use tracing::dispatcher::{self, Dispatch};

use super::{Found, Names, Offer, Offers, SystemNames};
use crate::proto::{Host, Target};

/// The hosts file, the system's name servers, and the system itself for the rest.
pub struct DnsNames {
    hosts: PathBuf,
    /// Who is asked, read for each lookup.
    servers: Box<dyn Fn() -> Result<Servers, NetError> + Send + Sync>,
    system: Box<dyn Names>,
}

/// Name servers and how they are asked.
type Servers = (ResolverConfig, ResolverOpts);

impl Default for DnsNames {
    fn default() -> Self {
        Self {
            hosts: PathBuf::from("/etc/hosts"),
            servers: Box::new(system_servers),
            system: Box::new(SystemNames),
        }
    }
}

impl Names for DnsNames {
    /// The system's word: it is what a client's target is looked up by.
    fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.system.look_up(name, port)
    }

    fn look_up_with_ttl(&self, name: &str, port: u16) -> io::Result<Found> {
        let known = match name.parse() {
            Ok(ip) => vec![ip],
            Err(_) => in_hosts(&self.hosts, name),
        };
        if !known.is_empty() {
            return Ok(found(known, port, None));
        }
        let Ok(servers) = (self.servers)() else {
            return self.system.look_up_with_ttl(name, port);
        };
        let answer = ask(servers, async |resolver: &TokioResolver| {
            resolver.lookup_ip(name).await
        });
        match answer {
            Ok(answer) => {
                let ttl = least_ttl(answer.as_lookup().answers());
                Ok(found(answer.iter().collect(), port, ttl))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.system.look_up_with_ttl(name, port)
            }
            Err(error) => Err(error),
        }
    }

    fn look_up_srv(&self, service: &str) -> io::Result<Offers> {
        let Ok(servers) = (self.servers)() else {
            return self.system.look_up_srv(service);
        };
        let answer = ask(servers, async |resolver: &TokioResolver| {
            resolver.srv_lookup(service).await
        })?;
        let offers: Vec<_> = answer.answers().iter().filter_map(offer).collect();
        if offers.is_empty() {
            return Err(nothing());
        }
        Ok(Offers {
            offers,
            ttl: least_ttl(answer.answers()),
        })
    }
}

fn system_servers() -> Result<Servers, NetError> {
    let (config, mut options) = read_system_conf()?;
    // A lost packet is asked for again before nobody waits any longer.
    options.timeout = options.timeout.clamp(TRY_LEAST, TRY_MOST);
    options.attempts = options.attempts.min(RETRIES_MOST);
    Ok((config, options))
}

/// Asks on this thread, until there is an answer or the time for one is over.
fn ask<T>(
    (config, mut options): Servers,
    question: impl AsyncFnOnce(&TokioResolver) -> Result<T, NetError>,
) -> io::Result<T> {
    options.use_hosts_file = ResolveHosts::Never;
    // It is asked once.
    options.cache_size = 1;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let asked = async {
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(config, provider);
        let resolver = builder.with_options(options).build()?;
        question(&resolver).await
    };
    let limited = async { tokio::time::timeout(LOOKUP_MOST, asked).await };
    // What the resolver has to say comes with every lookup; what matters is in the error.
    let answer = dispatcher::with_default(&Dispatch::none(), || runtime.block_on(limited));
    match answer {
        Ok(answer) => answer.map_err(|error| said(&error)),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Keeps the system's own errors as such.
fn said(error: &NetError) -> io::Error {
    match error {
        NetError::Io(error) => match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        },
        NetError::Timeout => io::Error::new(io::ErrorKind::TimedOut, "no name server answers"),
        error if error.is_no_records_found() => nothing(),
        error => io::Error::other(error.to_string()),
    }
}

fn nothing() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        "the name servers know no such name",
    )
}

/// A record that names a server; a lone dot says that there is none (RFC 2782).
fn offer(record: &Record) -> Option<Offer> {
    let RData::SRV(srv) = &record.data else {
        return None;
    };
    let host = Host::parse(srv.target.to_ascii().as_bytes()).ok()?;
    Some(Offer {
        target: Target::new(host, srv.port).ok()?,
        priority: srv.priority,
        weight: srv.weight,
    })
}

fn found(ips: Vec<IpAddr>, port: u16, ttl: Option<Duration>) -> Found {
    let addresses = ips.into_iter().map(|ip| SocketAddr::new(ip, port));
    Found {
        addresses: addresses.collect(),
        ttl,
    }
}

/// Aliases on the way count too.
fn least_ttl(answers: &[Record]) -> Option<Duration> {
    let least = answers.iter().map(|record| record.ttl).min();
    least.map(|seconds| Duration::from_secs(seconds.into()))
}

/// What the hosts file says; one that cannot be read says nothing.
fn in_hosts(file: &Path, name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let Ok(file) = File::open(file) else {
        return Vec::new();
    };
    let lines = BufReader::new(file.take(HOSTS_MOST)).split(b'\n');
    let lines = lines.map_while(Result::ok);
    lines.filter_map(|line| named(&line, name)).collect()
}

/// The address of a line that lists `name`.
fn named(line: &[u8], name: &str) -> Option<IpAddr> {
    let line = std::str::from_utf8(line).ok()?;
    let (said, _) = line.split_once('#').unwrap_or((line, ""));
    let mut words = said.split_ascii_whitespace();
    let address = words.next()?.parse().ok()?;
    let is_listed = words.any(|word| word.eq_ignore_ascii_case(name));
    is_listed.then_some(address)
}

/// How long one try of one name takes at least.
const TRY_LEAST: Duration = Duration::from_secs(1);
/// And at most.
const TRY_MOST: Duration = Duration::from_secs(2);
/// How often a name is tried again.
const RETRIES_MOST: usize = 2;
/// How long a lookup takes in all, the search list included: then its place is free again.
const LOOKUP_MOST: Duration = Duration::from_secs(15);
/// How much of the hosts file is read; long lists of blocked names do occur.
const HOSTS_MOST: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests;
