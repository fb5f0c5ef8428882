//! A network of named hosts that do as they are told, and a registry that judges them.
//!
//! `a` to `z` are IPv4 hosts, `A` to `Z` IPv6 ones.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::{Dial, DialEnd, Options, race};
use crate::judge::{Judge, Standing, Ticket};
use crate::{
    Admission, Cause, Clock, ConnectError, DialFault, Outcome, Policy, PolicyBuilder, Recovery,
    Registry, Status,
};

/// What a host does with a dial.
#[derive(Clone, Copy, Debug)]
pub(super) enum Host {
    /// Accepts after so many ms.
    Answers(u64),
    /// Refuses after so many ms.
    Refuses(u64),
    /// Cannot be dialled, by a fault of our own.
    NoRoute,
    Silent,
}
pub(super) use Host::{Answers, NoRoute, Refuses, Silent};

pub(super) struct World {
    pub(super) judge: Arc<Spy>,
    pub(super) options: Options,
    net: Arc<Net>,
}

struct Net {
    began: Instant,
    hosts: Mutex<HashMap<SocketAddr, Host>>,
    dials: Mutex<Vec<(u64, char)>>,
    ends: Mutex<Vec<String>>,
    open: Arc<AtomicUsize>,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Stream(Arc<AtomicUsize>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The registry, and what it was told.
pub(super) struct Spy {
    pub(super) registry: Registry,
    told: Mutex<Vec<String>>,
}

/// Tokio's time, paused as that is.
#[derive(Debug)]
struct Paused(Instant);

impl Clock for Paused {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

impl World {
    pub(super) fn new(hosts: &[(char, Host)]) -> Self {
        Self::with(Policy::builder(), hosts)
    }

    /// A `World` whose down hosts are probed.
    pub(super) fn probing(hosts: &[(char, Host)]) -> Self {
        Self::with(Policy::builder().recovery(Recovery::PROBE), hosts)
    }

    pub(super) fn with(policy: PolicyBuilder, hosts: &[(char, Host)]) -> Self {
        let policy = policy.build().unwrap();
        let began = Instant::now();
        let hosts = hosts.iter().map(|&(name, host)| (address(name), host));
        let registry = Registry::builder().policy(policy.clone());
        Self {
            judge: Arc::new(Spy {
                registry: registry.clock(Arc::new(Paused(began))).build(),
                told: Mutex::default(),
            }),
            options: Options::of(&policy),
            net: Arc::new(Net {
                began,
                hosts: Mutex::new(hosts.collect()),
                dials: Mutex::default(),
                ends: Mutex::default(),
                open: Arc::default(),
            }),
        }
    }

    /// Dials the hosts in that order; tells who answered.
    pub(super) async fn dial(&self, names: &str) -> Result<char, ConnectError> {
        let addresses: Vec<_> = names.chars().map(address).collect();
        self.dial_at(&addresses).await.map(|(_, name)| name)
    }

    pub(super) async fn dial_at(
        &self,
        addresses: &[SocketAddr],
    ) -> Result<(Stream, char), ConnectError> {
        let (judge, options) = (&self.judge, &self.options);
        let won = race::connect(judge, &self.net, addresses, options, options.deadline()).await;
        won.map(|won| (won.stream, name(&won.address)))
    }

    /// From now on the host does that.
    pub(super) fn becomes(&self, name: char, host: Host) {
        self.net.hosts.lock().unwrap().insert(address(name), host);
    }

    /// Takes the host down, and waits until a probe is due.
    pub(super) async fn make_due(&self, names: &str) {
        self.take_down(names);
        tokio::time::advance(Duration::from_secs(67)).await;
        self.forget();
    }

    pub(super) fn take_down(&self, names: &str) {
        for name in names.chars() {
            for _ in 0..3 {
                let refused = Cause::Refused;
                self.judge.registry.record_failure(address(name), refused);
            }
        }
    }

    pub(super) fn make_suspect(&self, names: &str) {
        for address in names.chars().map(address) {
            let ticket = self.judge.begin(&address);
            self.judge.note_silence(address, ticket);
        }
        self.forget();
    }

    /// Forgets what has been dialled and told so far.
    pub(super) fn forget(&self) {
        self.take_dials();
        self.judge.take_told();
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.net.now_ms()
    }

    /// Who was dialled: `0 a, 30 b`, in ms.
    pub(super) fn take_dials(&self) -> String {
        let dials = std::mem::take(&mut *self.net.dials.lock().unwrap());
        let first = dials.first().map_or(0, |(at, _)| *at);
        let dials = dials
            .iter()
            .map(|(at, name)| format!("{} {name}", at - first));
        dials.collect::<Vec<_>>().join(", ")
    }

    /// How dials ended: `a Answered, b Silent`.
    pub(super) fn take_ends(&self) -> String {
        std::mem::take(&mut *self.net.ends.lock().unwrap()).join(", ")
    }

    pub(super) fn streams_open(&self) -> usize {
        self.net.open.load(Ordering::Relaxed)
    }

    pub(super) fn status(&self, name: char) -> Status {
        self.judge.registry.status(&address(name))
    }

    /// Failures in a row, and the last one's cause.
    pub(super) fn failures(&self, name: char) -> (u8, Option<Cause>) {
        let status = self.status(name);
        (status.failures, status.last_failure.map(|last| last.cause))
    }
}

impl Net {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }
}

impl Dial for Net {
    type Stream = Stream;

    async fn dial(&self, address: SocketAddr) -> io::Result<Stream> {
        let host = self.hosts.lock().unwrap()[&address];
        let dial = (self.now_ms(), name(&address));
        self.dials.lock().unwrap().push(dial);
        match host {
            Answers(ms) => {
                sleep(Duration::from_millis(ms)).await;
                self.open.fetch_add(1, Ordering::Relaxed);
                Ok(Stream(Arc::clone(&self.open)))
            }
            Refuses(ms) => {
                sleep(Duration::from_millis(ms)).await;
                Err(io::ErrorKind::ConnectionRefused.into())
            }
            NoRoute => Err(io::ErrorKind::NetworkUnreachable.into()),
            Silent => std::future::pending().await,
        }
    }

    fn note_end(&self, address: SocketAddr, end: DialEnd<'_>) {
        let end = match end {
            DialEnd::Failed(error) => error.kind().to_string(),
            other => format!("{other:?}"),
        };
        let ended = format!("{} {end}", name(&address));
        self.ends.lock().unwrap().push(ended);
    }
}

pub(super) fn address(name: char) -> SocketAddr {
    let number = u16::try_from(u32::from(name)).unwrap();
    let ip = if name.is_ascii_lowercase() {
        Ipv4Addr::from(0xc000_0200 | u32::from(number)).into()
    } else {
        Ipv6Addr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number]).into()
    };
    SocketAddr::new(ip, 80)
}

fn name(address: &SocketAddr) -> char {
    let number = match address {
        SocketAddr::V4(v4) => v4.ip().octets()[3],
        SocketAddr::V6(v6) => v6.ip().octets()[15],
    };
    char::from(number)
}

/// `b refused`, one by one.
pub(super) fn faults(error: &ConnectError) -> String {
    let ConnectError::Unreachable { attempts } = error else {
        return error.to_string();
    };
    let faults = attempts.iter().map(|attempt| {
        let fault = match &attempt.fault {
            DialFault::Down(status) => status.state.to_string(),
            DialFault::Io(error) => error.kind().to_string(),
            DialFault::TimedOut(limit) => format!("silent for {limit:?}"),
        };
        format!("{} {fault}", name(&attempt.address))
    });
    faults.collect::<Vec<_>>().join(", ")
}

impl Spy {
    pub(super) fn take_told(&self) -> String {
        std::mem::take(&mut *self.told.lock().unwrap()).join(", ")
    }

    fn note(&self, address: &SocketAddr, news: &str) {
        let news = format!("{} {news}", name(address));
        self.told.lock().unwrap().push(news);
    }
}

impl Judge for Spy {
    fn is_fall_down(&self, address: &SocketAddr) -> bool {
        self.registry.is_fall_down(address)
    }

    fn record_success(&self, _: SocketAddr) {
        unreachable!("a dial ends by its ticket");
    }

    fn record_failure(&self, _: SocketAddr, _: Cause) {
        unreachable!("a dial ends by its ticket");
    }

    fn status(&self, address: &SocketAddr) -> Status {
        self.registry.status(address)
    }

    fn statuses(&self) -> Vec<Status> {
        self.registry.statuses()
    }

    fn overflow(&self) -> u64 {
        self.registry.overflow()
    }

    fn policy(&self) -> &Policy {
        self.registry.policy()
    }

    fn standing(&self, address: &SocketAddr) -> Standing {
        self.registry.standing(address)
    }

    fn try_admit(&self, address: &SocketAddr) -> Admission {
        self.registry.try_admit(address)
    }

    fn begin(&self, address: &SocketAddr) -> Ticket {
        self.registry.begin(address)
    }

    fn end(&self, address: SocketAddr, ticket: Ticket, outcome: Outcome, took: Duration) {
        self.note(&address, &format!("{outcome:?} in {took:?}"));
        self.registry.end(address, ticket, outcome, took);
    }

    fn note_silence(&self, address: SocketAddr, ticket: Ticket) {
        self.note(&address, "is silent");
        self.registry.note_silence(address, ticket);
    }

    fn claim_race(&self, address: &SocketAddr) -> bool {
        let is_ours = self.registry.claim_race(address);
        self.note(address, if is_ours { "is raced" } else { "is not raced" });
        is_ours
    }
}
