//! The one way out: every connection that this process opens for a client is opened here.
//!
//! A dial resolves the target, judges each address by the listener's rules, and asks the health
//! registry, which dials what is not down and remembers how that went.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use risefall::judge::{self, Judge, Won};
use risefall::{Dial, DialEnd, TcpDialler};
use tokio::net::TcpStream;

use crate::error::{Fault, NoStream};
use crate::net::guard::{Guard, Verdict};
use crate::net::resolve::Resolver;
use crate::proto::Target;
use crate::telemetry::counters::Counters;
use crate::upstream::group::Group;
use crate::upstream::member::{Busy, Member};
use crate::upstream::parent::Parent;

/// Dials for the clients of one worker.
pub struct Dialler {
    resolver: Rc<Resolver>,
    sockets: Sockets,
}

/// Opens sockets, and counts how each dial ended, those too that lost to another or went on alone:
/// all on the thread of the worker whose counters these are.
#[derive(Clone, Debug)]
struct Sockets {
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
    /// The server of a group that it leads to, which is busy as long as this lives.
    pub busy: Option<Busy>,
}

/// What a server of a group is chosen for.
#[derive(Clone, Copy, Debug)]
pub struct Errand<'a> {
    /// Who asks.
    pub client: IpAddr,
    /// For what.
    pub target: &'a Target,
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
        Self {
            resolver: Rc::new(resolver),
            sockets: Sockets { counters },
        }
    }

    /// Where names are looked up.
    #[must_use]
    pub fn resolver(&self) -> &Rc<Resolver> {
        &self.resolver
    }

    /// Opens a connection to `member` of `group`, or to one of the `others` that are up if it fails
    /// or falls silent.
    ///
    /// # Errors
    ///
    /// None of them answers; the fault tells which it was.
    ///
    /// # Cancel safety
    ///
    /// That of [`Dialler::dial`].
    pub async fn dial_server(
        &self,
        group: &Group,
        member: &Member,
        others: &[Rc<Member>],
    ) -> Result<Dialled, Fault> {
        let dialled = if others.is_empty() {
            self.sockets
                .connect_in_order(group.judge(), &[member.address])
                .await
        } else {
            let others = others.iter().map(|one| one.address);
            let addresses: Vec<_> = std::iter::once(member.address).chain(others).collect();
            self.sockets
                .connect_in_order(group.judge(), &addresses)
                .await
        };
        self.counted(dialled)
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
    pub async fn dial(&self, errand: Errand<'_>, way: &Way) -> Result<Dialled, Fault> {
        let Some(parent) = &way.parent else {
            return self.dial_hop(errand, way, Vec::new()).await;
        };
        parent.check(&way.guard, errand.target)?;
        let candidates = self.candidates(errand, parent).await?;
        let mut dialled = self.dial_hop(errand, way, candidates).await?;
        let asked = Instant::now();
        parent.lead(&mut dialled, errand.target).await?;
        let connect = dialled.effort.connect.unwrap_or_default();
        dialled.effort.connect = Some(connect + asked.elapsed());
        Ok(dialled)
    }

    /// The servers of the parent that may be asked, the choice first.
    ///
    /// # Errors
    ///
    /// None is found, or all lead back here.
    pub async fn candidates(
        &self,
        errand: Errand<'_>,
        parent: &Parent,
    ) -> Result<Vec<Rc<Member>>, Fault> {
        let members = parent.group.members(&self.resolver).await?;
        let key = parent.key(errand.client, errand.target);
        let candidates = members.candidates(key);
        match members.own() {
            Some(address) if candidates.is_empty() => Err(Fault::Loop { address }),
            _ => Ok(candidates),
        }
    }

    /// Opens a connection that takes requests for the target: to itself, or to one of the parent's
    /// `candidates`; to a backup if none of these can be had.
    ///
    /// # Errors
    ///
    /// Those of [`Dialler::dial`].
    pub async fn dial_hop(
        &self,
        errand: Errand<'_>,
        way: &Way,
        candidates: Vec<Rc<Member>>,
    ) -> Result<Dialled, Fault> {
        let dialled = match &way.parent {
            None => {
                let target = errand.target;
                self.dial_target(target, &way.judge, &way.guard).await
            }
            Some(parent) => match self.dial_members(parent, &candidates).await {
                Ok(dialled) => Ok(dialled),
                Err(fault) => match self.backups(errand, parent).await {
                    backups if backups.is_empty() => Err(fault),
                    // What was said first is what is wrong.
                    backups => {
                        let dialled = self.dial_members(parent, &backups).await;
                        dialled.map_err(|_| fault)
                    }
                },
            },
        };
        self.counted(dialled)
    }

    async fn backups(&self, errand: Errand<'_>, parent: &Parent) -> Vec<Rc<Member>> {
        match parent.group.members(&self.resolver).await {
            Ok(members) => members.backups(parent.key(errand.client, errand.target)),
            Err(_) => Vec::new(),
        }
    }

    /// Counts what came to no dial; each dial is counted where it ends.
    fn counted(&self, dialled: Result<Dialled, Fault>) -> Result<Dialled, Fault> {
        if let Err(fault) = &dialled
            && fault.dials() == 0
        {
            self.sockets.counters.note_failed_dial(fault.token());
        }
        dialled
    }

    /// Dials servers of a group; the first that answers is busy from now on.
    async fn dial_members(
        &self,
        parent: &Parent,
        members: &[Rc<Member>],
    ) -> Result<Dialled, Fault> {
        let addresses: Vec<_> = members.iter().map(|member| member.address).collect();
        let judge = parent.group.judge();
        let mut dialled = self.sockets.connect_in_order(judge, &addresses).await?;
        let member = members.iter().find(|one| one.address == dialled.address);
        dialled.busy = member.map(Group::busy);
        parent.group.counts().requests.bump();
        Ok(dialled)
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
                return self.sockets.connect(judge, &[address], None).await;
            }
            None => {
                let asked = Instant::now();
                let found = self.resolver.resolve(target).await?;
                (allowed(guard, found)?, asked.elapsed())
            }
        };
        self.sockets.connect(judge, &addresses, Some(resolve)).await
    }
}

impl Sockets {
    async fn connect(
        &self,
        judge: &Arc<dyn Judge>,
        addresses: &[SocketAddr],
        resolve: Option<Duration>,
    ) -> Result<Dialled, Fault> {
        let began = Instant::now();
        let won = judge::connect(judge, self, addresses).await?;
        Ok(finished(won, began, resolve))
    }

    /// The same for addresses whose order is a choice.
    async fn connect_in_order(
        &self,
        judge: &Arc<dyn Judge>,
        addresses: &[SocketAddr],
    ) -> Result<Dialled, Fault> {
        let began = Instant::now();
        let won = judge::connect_in_order(judge, self, addresses).await?;
        Ok(finished(won, began, None))
    }
}

impl Dial for Sockets {
    type Stream = TcpStream;

    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        TcpDialler::new().nodelay(true).dial(address).await
    }

    fn note_end(&self, _: SocketAddr, end: DialEnd<'_>) {
        let how = match end {
            DialEnd::Answered => return self.counters.dials.bump(),
            DialEnd::Abandoned => return self.counters.abandoned_dials.bump(),
            DialEnd::Failed(error) => NoStream::by(error),
            _ => NoStream::TimedOut,
        };
        self.counters.note_failed_dial(how.token());
    }
}

fn finished(won: Won<TcpStream>, began: Instant, resolve: Option<Duration>) -> Dialled {
    Dialled {
        stream: won.stream,
        address: won.address,
        effort: Effort {
            resolve,
            connect: Some(began.elapsed()),
            dials: won.dials,
        },
        busy: None,
    }
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use risefall::{Policy, Registry};

    use super::*;
    use crate::telemetry::counters::{Count, FAULTS};

    #[tokio::test]
    async fn a_dial_that_failed_beside_one_that_was_answered_is_counted() {
        let live = TcpListener::bind("127.0.0.1:0").unwrap();
        let live = live.local_addr().unwrap();
        // Nobody can listen on port 0.
        let dead: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let judge: Arc<dyn Judge> = Arc::new(Registry::new(Policy::default()));
        let counters = Arc::<Counters>::default();
        let sockets = Sockets {
            counters: Arc::clone(&counters),
        };
        let failed = || {
            let counts = counters.failed_dials.iter().map(Count::get);
            counts.sum::<u64>()
        };
        let dialled = sockets
            .connect_in_order(&judge, &[dead, live])
            .await
            .unwrap();
        assert_eq!((dialled.address, dialled.effort.dials), (live, 2));
        assert_eq!((counters.dials.get(), failed()), (1, 1));
        // Each that fails is one.
        let all = [dead, "127.0.0.2:0".parse().unwrap()];
        sockets.connect_in_order(&judge, &all).await.unwrap_err();
        assert_eq!((counters.dials.get(), failed()), (1, 3));
        assert_eq!(counters.abandoned_dials.get(), 0);
    }

    #[test]
    fn each_end_has_its_count() {
        let counters = Arc::<Counters>::default();
        let sockets = Sockets {
            counters: Arc::clone(&counters),
        };
        let address = SocketAddr::from(([10, 0, 0, 1], 80));
        let refused = io::ErrorKind::ConnectionRefused.into();
        for end in [
            DialEnd::Answered,
            DialEnd::Failed(&refused),
            DialEnd::Silent,
            DialEnd::Silent,
            DialEnd::Abandoned,
        ] {
            sockets.note_end(address, end);
        }
        let failed = |named: &str| {
            let nth = FAULTS.iter().position(|&name| name == named).unwrap();
            counters.failed_dials[nth].get()
        };
        assert_eq!(
            (counters.dials.get(), counters.abandoned_dials.get()),
            (1, 1)
        );
        assert_eq!(failed("connection_refused"), 1);
        assert_eq!(failed("connection_timeout"), 2);
    }
}
