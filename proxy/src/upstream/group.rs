//! A group of servers as one worker has it: their addresses, how each stands, which is next.
//!
//! A server that is named is looked up when the group is first asked, and again every
//! half minute beside the requests, never in their way. An address that stays keeps its
//! handle, its connections and its times; when a name is not found any more, its last addresses
//! stay: a name server's trouble is not the servers'.

use std::cell::{Cell, RefCell};
use std::hash::{Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use risefall::Endpoint;
use risefall::judge::Judge;

use super::balance::{Balance, Balancer, Candidate, Recent};
use crate::error::Fault;
use crate::net::guard::{Guard, Verdict};
use crate::net::resolve::Resolver;
use crate::proto::Target;

/// What is known of a group beforehand.
pub struct Group {
    name: String,
    servers: Vec<Server>,
    balance: Balance,
    judge: Arc<dyn Judge>,
    guard: Guard,
    began: Instant,
    members: RefCell<Option<Rc<Members>>>,
    looked_up: Cell<Instant>,
    is_looking: Cell<bool>,
}

/// One server as it is configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// Where it is.
    pub target: Target,
    /// Its share; never 0.
    pub weight: u16,
    /// Whether it is asked only when no other is up.
    pub is_backup: bool,
}

/// The addresses of a group at one time.
pub struct Members {
    usual: Set,
    backup: Set,
    /// One that was left out because it leads back here.
    own: Option<SocketAddr>,
}

struct Set {
    members: Vec<Rc<Member>>,
    balancer: Balancer,
}

/// One address of a group.
pub struct Member {
    /// Which.
    pub address: SocketAddr,
    /// What its connections are pooled by.
    pub key: Rc<str>,
    server: usize,
    weight: u16,
    name: u64,
    handle: Handle,
    in_flight: Cell<u32>,
    recent: Recent,
}

enum Handle {
    /// One load to ask.
    Pinned(Endpoint),
    /// A registry of another kind, for benches.
    Asked(Arc<dyn Judge>),
}

/// Something that goes on at a member; over when it is dropped.
pub struct Busy {
    member: Rc<Member>,
    began: Instant,
}

impl Group {
    /// A group of `servers`, whose health `judge` knows. Those that `guard` takes for this process
    /// itself are left out; an operator may well have servers in a private network.
    #[must_use]
    pub fn new(
        name: &str,
        servers: Vec<Server>,
        balance: Balance,
        judge: Arc<dyn Judge>,
        guard: Guard,
    ) -> Self {
        let now = Instant::now();
        Self {
            name: name.to_owned(),
            servers,
            balance,
            judge,
            guard,
            began: now,
            members: RefCell::new(None),
            looked_up: Cell::new(now),
            is_looking: Cell::new(false),
        }
    }

    /// Who judges its servers.
    #[must_use]
    pub fn judge(&self) -> &Arc<dyn Judge> {
        &self.judge
    }

    /// Its addresses. Waits for a lookup only when nothing is known yet.
    ///
    /// # Errors
    ///
    /// No server of it is found.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost; the next one asks again.
    pub async fn members(self: &Rc<Self>, resolver: &Rc<Resolver>) -> Result<Rc<Members>, Fault> {
        let known = self.members.borrow().clone();
        let Some(known) = known else {
            return self.look_up(resolver).await;
        };
        let is_named = self
            .servers
            .iter()
            .any(|one| one.target.address().is_none());
        let is_old = self.looked_up.get().elapsed() >= LOOK_UP_EVERY;
        if is_named && is_old && !self.is_looking.replace(true) {
            let (group, resolver) = (Rc::clone(self), Rc::clone(resolver));
            tokio::task::spawn_local(async move {
                if let Err(fault) = group.look_up(&resolver).await {
                    tracing::debug!(upstream = group.name, %fault, "no server is found");
                }
                group.is_looking.set(false);
            });
        }
        Ok(known)
    }

    async fn look_up(&self, resolver: &Resolver) -> Result<Rc<Members>, Fault> {
        let mut first = None;
        let mut found: Vec<(usize, SocketAddr)> = Vec::new();
        for (nth, server) in self.servers.iter().enumerate() {
            let addresses = match resolver.resolve(&server.target).await {
                Ok(addresses) => addresses,
                Err(fault) => {
                    tracing::warn!(upstream = self.name, server = %server.target, %fault,
                        "a server is not found; its last addresses stay");
                    first.get_or_insert(fault);
                    self.last_of(nth)
                }
            };
            for address in addresses {
                // Two names for one server are one server.
                if found.iter().all(|(_, known)| *known != address) {
                    found.push((nth, address));
                }
            }
        }
        self.looked_up.set(Instant::now());
        if found.is_empty() {
            return Err(first.unwrap_or(Fault::Cut("a group without servers")));
        }
        // Once for each lookup: to know may take a system call.
        let is_own =
            |(_, address): &(usize, SocketAddr)| self.guard.judge(*address) == Verdict::Own;
        let own = found.iter().find(|one| is_own(one)).map(|one| one.1);
        found.retain(|one| !is_own(one));
        let members: Vec<_> = found
            .into_iter()
            .filter_map(|(nth, address)| self.member(nth, address))
            .collect();
        let set = |is_backup| {
            let is_meant = |member: &&Rc<Member>| {
                let server = self.servers.get(member.server);
                server.is_some_and(|one| one.is_backup == is_backup)
            };
            let members: Vec<_> = members.iter().filter(is_meant).cloned().collect();
            let balancer = Balancer::new(self.balance, &members, fastrand::u64(..));
            Set { members, balancer }
        };
        let members = Rc::new(Members {
            usual: set(false),
            backup: set(true),
            own,
        });
        self.members.replace(Some(Rc::clone(&members)));
        Ok(members)
    }

    fn last_of(&self, nth: usize) -> Vec<SocketAddr> {
        let members = self.members.borrow();
        let all = members.iter().flat_map(|members| members.all());
        let meant = all.filter(|member| member.server == nth);
        meant.map(|member| member.address).collect()
    }

    /// The member that was there before, or a new one.
    fn member(&self, server: usize, address: SocketAddr) -> Option<Rc<Member>> {
        let members = self.members.borrow();
        let mut known = members.iter().flat_map(|members| members.all());
        let known = known.find(|one| one.address == address && one.server == server);
        if let Some(known) = known {
            return Some(Rc::clone(known));
        }
        Some(Rc::new(Member {
            address,
            key: format!("upstream {} {address}", self.name).into(),
            server,
            weight: self.servers.get(server)?.weight.max(1),
            name: hash_of(address.to_string().as_bytes()),
            handle: match self.judge.registry() {
                Some(registry) => Handle::Pinned(registry.endpoint(address)),
                None => Handle::Asked(Arc::clone(&self.judge)),
            },
            in_flight: Cell::new(0),
            recent: Recent::default(),
        }))
    }

    /// Begins something at `member`.
    #[must_use]
    pub fn busy(member: &Rc<Member>) -> Busy {
        member.in_flight.set(member.in_flight.get() + 1);
        Busy {
            member: Rc::clone(member),
            began: Instant::now(),
        }
    }

    /// Notes how long `busy` has taken until its first answer.
    pub fn note(&self, busy: &Busy) {
        let now = self.began.elapsed();
        busy.member.recent.note(busy.began.elapsed(), now);
    }
}

impl Members {
    /// Who is to be tried, the choice first, then the others that are up; backups when none is.
    /// When all are down, all are given: the dial tells until when.
    #[must_use]
    pub fn candidates(&self, key: u64) -> Vec<Rc<Member>> {
        for set in [&self.usual, &self.backup] {
            let candidates = set.candidates(key);
            if !candidates.is_empty() {
                return candidates;
            }
        }
        self.all().take(CANDIDATES_MOST).cloned().collect()
    }

    /// Every backup that is up: for when those that were up could not be had.
    #[must_use]
    pub fn backups(&self, key: u64) -> Vec<Rc<Member>> {
        self.backup.candidates(key)
    }

    /// A server that was left out because it leads back here, if there is one.
    #[must_use]
    pub fn own(&self) -> Option<SocketAddr> {
        self.own
    }

    fn all(&self) -> impl Iterator<Item = &Rc<Member>> {
        self.usual.members.iter().chain(&self.backup.members)
    }
}

impl Set {
    fn candidates(&self, key: u64) -> Vec<Rc<Member>> {
        let Some(first) = self.balancer.choose(&self.members, key) else {
            return Vec::new();
        };
        let (before, from) = self.members.split_at(first.min(self.members.len()));
        let turned = from.iter().chain(before);
        let up = turned.filter(|member| !member.is_down());
        up.take(CANDIDATES_MOST).cloned().collect()
    }
}

impl Candidate for Rc<Member> {
    fn is_down(&self) -> bool {
        match &self.handle {
            Handle::Pinned(endpoint) => endpoint.is_fall_down(),
            Handle::Asked(judge) => judge.is_fall_down(&self.address),
        }
    }

    fn weight(&self) -> u16 {
        self.weight
    }

    fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    fn cost(&self) -> u64 {
        self.recent.nanos()
    }

    fn name(&self) -> u64 {
        self.name
    }
}

impl Busy {
    /// Where it goes on.
    #[must_use]
    pub fn member(&self) -> &Rc<Member> {
        &self.member
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let in_flight = &self.member.in_flight;
        in_flight.set(in_flight.get().saturating_sub(1));
    }
}

impl std::fmt::Debug for Busy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Busy({})", self.member.address)
    }
}

/// A client as a key: its address, whichever form it comes in.
#[must_use]
pub fn key_of_client(ip: IpAddr) -> u64 {
    hash_of(ip.to_canonical().to_string().as_bytes())
}

/// A target as a key: its host.
#[must_use]
pub fn key_of_target(target: &Target) -> u64 {
    hash_of(target.host().to_string().as_bytes())
}

/// The same in every worker and in every process of this program: a key keeps its server.
fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// How often names are looked up again.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);
/// How many addresses one dial tries.
const CANDIDATES_MOST: usize = 8;

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use risefall::{Policy, Registry};

    use super::*;
    use crate::net::resolve::Names;

    /// Names whose addresses change.
    #[derive(Default)]
    struct Fake(Mutex<Vec<SocketAddr>>);

    impl Names for Fake {
        fn look_up(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            let known = self.0.lock().unwrap().clone();
            match known.is_empty() {
                true => Err(io::Error::other("no such name")),
                false => Ok(known),
            }
        }
    }

    fn server(text: &str, is_backup: bool) -> Server {
        Server {
            target: Target::parse(text).unwrap(),
            weight: 1,
            is_backup,
        }
    }

    fn group(servers: Vec<Server>) -> (Rc<Group>, Registry) {
        let registry = Registry::new(Policy::default());
        let judge: Arc<dyn Judge> = Arc::new(registry.clone());
        let own = vec!["127.0.0.1:8090".parse().unwrap()];
        let guard = Guard::new(own, false);
        let group = Group::new("hub", servers, Balance::RoundRobin, judge, guard);
        (Rc::new(group), registry)
    }

    fn resolver(names: &Arc<Fake>) -> Rc<Resolver> {
        let names = Arc::clone(names) as Arc<dyn Names>;
        Rc::new(Resolver::new(names, 4, Duration::from_secs(5)))
    }

    fn addresses(members: &[Rc<Member>]) -> Vec<u16> {
        members.iter().map(|member| member.address.port()).collect()
    }

    #[tokio::test]
    async fn each_in_turn_then_the_others_and_backups_when_none_is_up() {
        let servers = ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3"].map(|text| server(text, false));
        let mut servers = servers.to_vec();
        servers.push(server("10.0.0.1:9", true));
        let (group, registry) = group(servers);
        let resolver = resolver(&Arc::default());
        let members = group.members(&resolver).await.unwrap();
        let mut firsts: Vec<_> = (0..3)
            .map(|_| {
                let candidates = addresses(&members.candidates(0));
                assert_eq!(candidates.len(), 3);
                candidates[0]
            })
            .collect();
        firsts.sort_unstable();
        assert_eq!(firsts, [1, 2, 3]);
        for port in 1..=3 {
            registry.force_down(SocketAddr::from(([10, 0, 0, 1], port)));
        }
        assert_eq!(addresses(&members.candidates(0)), [9]);
        registry.force_down(SocketAddr::from(([10, 0, 0, 1], 9)));
        assert_eq!(members.candidates(0).len(), 4, "the dial tells until when");
    }

    #[tokio::test]
    async fn a_server_that_leads_back_here_is_none() {
        let (group, _) = group(vec![server("127.0.0.1:8090", false)]);
        let members = group.members(&resolver(&Arc::default())).await.unwrap();
        assert!(members.candidates(0).is_empty());
        assert_eq!(members.own(), Some("127.0.0.1:8090".parse().unwrap()));
    }

    #[tokio::test]
    async fn what_stays_is_kept_and_a_name_that_is_lost_keeps_its_addresses() {
        let names = Arc::new(Fake::default());
        let resolver = resolver(&names);
        let (group, _) = group(vec![server("app.internal:80", false)]);
        assert!(group.members(&resolver).await.is_err());
        let [one, two, three] = [1, 2, 3].map(|last| SocketAddr::from(([10, 0, 0, last], 80)));
        *names.0.lock().unwrap() = vec![one, two];
        let first = group.members(&resolver).await.unwrap();
        let busy = Group::busy(first.all().next().unwrap());
        assert_eq!(busy.member().address, one);
        *names.0.lock().unwrap() = vec![three, one];
        let second = group.look_up(&resolver).await.unwrap();
        let kept = second.all().find(|member| member.address == one).unwrap();
        assert_eq!(kept.in_flight(), 1);
        assert!(second.all().all(|member| member.address != two));
        drop(busy);
        assert_eq!(kept.in_flight(), 0);
        names.0.lock().unwrap().clear();
        let third = group.look_up(&resolver).await.unwrap();
        assert_eq!(third.all().count(), 2);
    }
}
