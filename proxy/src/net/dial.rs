//! The one way out: every connection that this process opens for a client is opened here.
//!
//! A dial resolves the target, judges each address by the listener's rules, and asks the health
//! registry, which dials what is not down and remembers how that went.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use risefall::judge::{self, Judge};
use tokio::net::TcpStream;

use crate::error::Fault;
use crate::net::guard::{Guard, Verdict};
use crate::net::parent::Parent;
use crate::net::resolve::Resolver;
use crate::proto::Target;
use crate::telemetry::counters::Counters;

/// Dials for the clients of one worker.
pub struct Dialler {
    resolver: Resolver,
    counters: Arc<Counters>,
}

/// The way out of one listener: what may be dialled, and who is asked.
pub struct Way {
    /// Asked before each dial, told how it went.
    pub judge: Arc<dyn Judge>,
    /// Which targets may be dialled.
    pub guard: Guard,
    /// Through whom every target is reached, if not directly.
    pub parent: Option<Parent>,
}

/// An open connection.
#[derive(Debug)]
pub struct Dialled {
    /// The connection, with `TCP_NODELAY` set.
    pub stream: TcpStream,
    /// Where it leads: to the target, or to the parent that leads there.
    pub address: SocketAddr,
    /// What it took.
    pub effort: Effort,
}

/// What a dial took.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Effort {
    /// Looking the name up; `None` if there was none.
    pub resolve: Option<Duration>,
    /// From the first dial to the connection, the parent's tunnel included.
    pub connect: Option<Duration>,
    /// How many addresses were dialled.
    pub dials: usize,
}

impl Way {
    /// Whether a connection that is open already, to `address`, may be used.
    #[must_use]
    pub fn allows(&self, address: SocketAddr) -> bool {
        self.parent.is_some() || self.guard.judge(address) == Verdict::Allowed
    }
}

impl Dialler {
    /// Dials what `resolver` finds, and counts that.
    #[must_use]
    pub fn new(resolver: Resolver, counters: Arc<Counters>) -> Self {
        Self { resolver, counters }
    }

    /// Where names are looked up.
    #[must_use]
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Opens a connection to `target`, as far as the way's guard allows; through the parent, if
    /// there is one.
    ///
    /// # Errors
    ///
    /// No address of the target may be dialled, is up, and answers; the fault tells which it was.
    ///
    /// # Cancel safety
    ///
    /// A dial dropped early blames nobody; one dropped after it stalled counts as a failure of the
    /// address.
    pub async fn dial(&self, target: &Target, way: &Way) -> Result<Dialled, Fault> {
        let mut dialled = self.dial_hop(target, way).await?;
        if let Some(parent) = &way.parent {
            let asked = Instant::now();
            parent.lead(&mut dialled, target).await?;
            let connect = dialled.effort.connect.unwrap_or_default();
            dialled.effort.connect = Some(connect + asked.elapsed());
        }
        Ok(dialled)
    }

    /// Opens a connection that takes requests for `target`: to itself, or to the parent.
    ///
    /// # Errors
    ///
    /// Those of [`Dialler::dial`].
    pub async fn dial_hop(&self, target: &Target, way: &Way) -> Result<Dialled, Fault> {
        let dialled = match &way.parent {
            None => self.dial_target(target, &way.judge, &way.guard).await,
            Some(parent) => match parent.check(&way.guard, target) {
                Ok(()) => self.dial_servers(parent, &way.guard).await,
                Err(fault) => Err(fault),
            },
        };
        self.counted(dialled)
    }

    fn counted(&self, dialled: Result<Dialled, Fault>) -> Result<Dialled, Fault> {
        match &dialled {
            Ok(_) => self.counters.dials.bump(),
            Err(fault) => self.counters.note_failed_dial(fault.token()),
        }
        dialled
    }

    async fn dial_target(
        &self,
        target: &Target,
        judge: &Arc<dyn Judge>,
        guard: &Guard,
    ) -> Result<Dialled, Fault> {
        let (addresses, resolve) = match target.address() {
            Some(address) => {
                check(guard, address)?;
                return dialled(judge, &[address], None).await;
            }
            None => {
                let asked = Instant::now();
                let found = self.resolver.resolve(target).await?;
                (allowed(guard, found)?, asked.elapsed())
            }
        };
        dialled(judge, &addresses, Some(resolve)).await
    }

    /// Dials a parent's servers: a backup only when no other can be had. The fault is that of the
    /// first.
    async fn dial_servers(&self, parent: &Parent, guard: &Guard) -> Result<Dialled, Fault> {
        let mut first = None;
        for servers in [&parent.servers, &parent.backups] {
            match self.dial_group(parent, servers, guard).await {
                Ok(Some(dialled)) => return Ok(dialled),
                Ok(None) => {}
                Err(fault) => {
                    first.get_or_insert(fault);
                }
            }
        }
        Err(first.unwrap_or(Fault::Cut("a parent without servers")))
    }

    /// All addresses of all servers are one race, in the order of the servers.
    async fn dial_group(
        &self,
        parent: &Parent,
        servers: &[Target],
        guard: &Guard,
    ) -> Result<Option<Dialled>, Fault> {
        let (mut addresses, mut first) = (Vec::new(), None);
        let asked = Instant::now();
        for server in servers {
            match self.resolver.resolve(server).await {
                Ok(found) => addresses.extend(found),
                Err(fault) => {
                    first.get_or_insert(fault);
                }
            }
        }
        // Loops only: an operator may well have a parent in a private network.
        addresses.retain(|&address| match guard.judge(address) {
            Verdict::Own => {
                first.get_or_insert(Fault::Loop { address });
                false
            }
            Verdict::Allowed | Verdict::Private => true,
        });
        match first {
            Some(fault) if addresses.is_empty() => Err(fault),
            None if addresses.is_empty() => Ok(None),
            _ => {
                let resolve = Some(asked.elapsed());
                dialled(&parent.judge, &addresses, resolve).await.map(Some)
            }
        }
    }
}

async fn dialled(
    judge: &Arc<dyn Judge>,
    addresses: &[SocketAddr],
    resolve: Option<Duration>,
) -> Result<Dialled, Fault> {
    let began = Instant::now();
    let won = judge::connect(judge, addresses).await?;
    won.stream.set_nodelay(true)?;
    Ok(Dialled {
        stream: won.stream,
        address: won.address,
        effort: Effort {
            resolve,
            connect: Some(began.elapsed()),
            dials: won.dials,
        },
    })
}

/// Keeps the addresses that may be dialled; when none may, tells why the first may not.
fn allowed(guard: &Guard, mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Fault> {
    let mut first = None;
    addresses.retain(|&address| match check(guard, address) {
        Ok(()) => true,
        Err(fault) => {
            first.get_or_insert(fault);
            false
        }
    });
    match first {
        Some(fault) if addresses.is_empty() => Err(fault),
        _ => Ok(addresses),
    }
}

pub(super) fn check(guard: &Guard, address: SocketAddr) -> Result<(), Fault> {
    match guard.judge(address) {
        Verdict::Allowed => Ok(()),
        Verdict::Own => Err(Fault::Loop { address }),
        Verdict::Private => Err(Fault::Prohibited { address }),
    }
}
