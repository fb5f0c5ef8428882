//! A group of servers as one worker has it: their addresses, how each stands, which is next.
//!
//! A server that is named is looked up when the group is first asked, and again when its answer
//! holds no longer, beside the requests, never in their way. An address that stays keeps its
//! handle, its connections and its times; when a name is not found any more, its last addresses
//! stay: a name server's trouble is not the servers'.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::hash::{Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use risefall::judge::Judge;
use tokio::sync::Notify;

use super::balance::Balance;
use super::budget::Budget;
use super::evidence::{Evidence, Found, Presence};
use super::lookup::{self, Lookups, Spot};
use super::member::{Busy, Member};
use super::members::Members;
use super::opening::Doorway;
use super::queue::Queue;
use super::recent::Recent;
use crate::error::Fault;
use crate::net::guard::{Guard, Verdict};
use crate::net::resolve::Resolver;
use crate::proto::Target;
use crate::telemetry::tally::{Tally, UpstreamCounts};

/// A group, in one worker.
pub struct Group {
    parts: GroupParts,
    began: Instant,
    members: RefCell<Option<Rc<Members>>>,
    /// The members are those of its evidence as well. Until it has any, those are that the group
    /// before it had: what is held against one that stays must not be forgotten in between.
    presence: RefCell<Option<Rc<Presence>>>,
    /// The number of the newest plan that it serves.
    generation: Cell<u64>,
    /// Of the next member that is new.
    next_id: Cell<u32>,
    queue: Rc<Queue>,
    budget: Budget,
    /// Shared with the group that came before it, if that had the same servers.
    names: Rc<Names>,
    /// How many lookups had ended when the members were made.
    heard: Cell<u64>,
}

/// What is known of the servers' names, whichever group has asked.
struct Names {
    lookups: RefCell<Lookups>,
    /// Lookups that have ended, however that was.
    ended: Cell<u64>,
    /// Told of each.
    told: Notify,
}

/// What is known of a group beforehand.
pub struct GroupParts {
    /// Its name in the configuration.
    pub name: String,
    /// Tells its connections from those to the same servers that are spoken to otherwise.
    pub era: u64,
    /// Who belongs to it.
    pub servers: Vec<Server>,
    /// How one is chosen.
    pub balance: Balance,
    /// Who knows how dials to them go.
    pub judge: Arc<dyn Judge>,
    /// Those that this takes for this process itself are left out; an operator may well have
    /// servers in a private network.
    pub guard: Guard,
    /// What they do once they are reached; `None` where dials alone are judged.
    pub service: Option<Arc<Evidence>>,
    /// Whose checks alone are asked, where what the servers answer is not theirs.
    pub checked: Option<Arc<Evidence>>,
    /// How much may go on at one of them; 0 for as much as comes.
    pub max_requests: u32,
    /// How many requests may wait for one of them.
    pub queue_length: usize,
    /// How many requests may be sent again, in percent of all.
    pub budget_percent: u8,
    /// Where it is told of.
    pub tally: Tally,
}

/// One server as it is configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// Where it is; of a service, the host is its name and the port means nothing.
    pub target: Target,
    /// Whether it is a service, whose servers its SRV records tell: those of the first priority
    /// are asked, the others are backups.
    pub is_srv: bool,
    /// Its share; never 0.
    pub weight: u16,
    /// Whether it is asked only when no other is up.
    pub is_backup: bool,
}

impl Group {
    /// A group of `parts`.
    #[must_use]
    pub fn new(parts: GroupParts) -> Self {
        let now = Instant::now();
        Self {
            queue: Rc::new(Queue::new(parts.queue_length)),
            budget: Budget::new(parts.budget_percent),
            names: Rc::new(Names {
                lookups: RefCell::new(Lookups::new(&parts.servers, now)),
                ended: Cell::new(0),
                told: Notify::new(),
            }),
            heard: Cell::new(0),
            parts,
            began: now,
            members: RefCell::new(None),
            presence: RefCell::new(None),
            generation: Cell::new(0),
            next_id: Cell::new(0),
        }
    }

    /// A group that takes the place of `before`. What is known of the servers' names goes on, so that
    /// a reload does not wait for a name server.
    #[must_use]
    pub fn behind(before: &Self, parts: GroupParts) -> Self {
        let is_same = before.parts.servers == parts.servers;
        let mut group = Self::new(parts);
        if is_same {
            group.names = Rc::clone(&before.names);
        }
        group.presence = RefCell::new(before.presence.borrow().clone());
        group
    }

    /// From now on it serves the plan of that number.
    pub fn serve(&self, generation: u64) {
        let before = self.generation.replace(generation);
        // One that is of the group before it is none of its own.
        if before != 0 && before != generation {
            self.confirm();
        }
    }

    /// Who judges its servers.
    #[must_use]
    pub fn judge(&self) -> &Arc<dyn Judge> {
        &self.parts.judge
    }

    /// How many requests may be sent again.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What it has had so far.
    #[must_use]
    pub fn counts(&self) -> &UpstreamCounts {
        &self.parts.tally.counts
    }

    /// Those who wait for one of its servers.
    #[must_use]
    pub fn queue(&self) -> &Rc<Queue> {
        &self.queue
    }

    /// Its addresses. Waits for lookups only when nothing is known yet; to be called in a
    /// `LocalSet`, where those of servers that are due go on.
    ///
    /// # Errors
    ///
    /// No server of it is found.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost; the lookups go on.
    pub async fn members(self: &Rc<Self>, resolver: &Rc<Resolver>) -> Result<Rc<Members>, Fault> {
        loop {
            if let Some(known) = self.known(resolver) {
                return Ok(known);
            }
            let is_enough = {
                let lookups = self.names.lookups.borrow();
                // What failed before says nothing of a lookup that goes on now.
                !lookups.is_looking() || lookups.is_settled() && !lookups.spots().is_empty()
            };
            if is_enough {
                break;
            }
            self.names.told.notified().await;
        }
        // Without a name there was nothing to wait for.
        self.refresh();
        let known = self.members.borrow().clone();
        known.ok_or_else(|| self.names.lookups.borrow().fault())
    }

    /// Its addresses, if any are known already. What is due is looked up beside, as by
    /// [`members`](Self::members).
    #[must_use]
    pub fn known(self: &Rc<Self>, resolver: &Rc<Resolver>) -> Option<Rc<Members>> {
        self.start_lookups(resolver);
        // Another group may have asked for what is shared.
        let ended = self.names.ended.get();
        if self.heard.replace(ended) != ended && self.names.lookups.borrow().is_settled() {
            self.refresh();
        }
        self.members.borrow().clone()
    }

    /// One at a time for each server.
    fn start_lookups(self: &Rc<Self>, resolver: &Rc<Resolver>) {
        let Some(due) = self.names.lookups.borrow().next() else {
            return;
        };
        let now = Instant::now();
        if due > now {
            return;
        }
        let started = self.names.lookups.borrow_mut().start(now);
        for (nth, server) in started {
            let (group, resolver) = (Rc::clone(self), Rc::clone(resolver));
            tokio::task::spawn_local(async move { group.look_up(nth, &server, &resolver).await });
        }
    }

    async fn look_up(&self, nth: usize, server: &Server, resolver: &Resolver) {
        let answer = lookup::ask(server, resolver).await;
        let said = answer.as_ref().err().map(ToString::to_string);
        let said = said.unwrap_or_default();
        let failures = self
            .names
            .lookups
            .borrow_mut()
            .note(nth, answer, Instant::now());
        match failures {
            None => tracing::debug!(upstream = self.parts.name, %server, "a server is found"),
            Some(1) => tracing::warn!(upstream = self.parts.name, %server, said,
                "a server is not found; its last addresses stay"),
            Some(failures) => tracing::debug!(upstream = self.parts.name, %server, said, failures,
                "a server is still not found"),
        }
        let ended = self.names.ended.get() + 1;
        self.names.ended.set(ended);
        if self.names.lookups.borrow().is_settled() {
            self.heard.set(ended);
            self.refresh();
        }
        self.names.told.notify_waiters();
    }

    /// Makes the members what the lookups say, unless they are that.
    fn refresh(&self) {
        let mut spots = self.names.lookups.borrow().spots();
        if spots.is_empty() {
            return;
        }
        // Once for each lookup: to know may take a system call.
        let is_own = |spot: &Spot| self.parts.guard.judge(spot.address) == Verdict::Own;
        let own = spots.iter().find(|spot| is_own(spot));
        let own = own.map(|spot| spot.address);
        spots.retain(|spot| !is_own(spot));
        let is_known = |known: &Rc<Members>| known.is_of(&spots, own);
        if self.members.borrow().as_ref().is_some_and(is_known) {
            self.confirm();
            return;
        }
        self.parts
            .tally
            .found
            .tell(self.names.lookups.borrow().found());
        if let Some(evidence) = &self.parts.service {
            let presence = Rc::new(evidence.enter(Found {
                generation: self.generation.get(),
                servers: self.parts.servers.clone(),
                addresses: self.hosts(&spots),
                due: self.names.lookups.borrow().next(),
            }));
            self.presence.replace(Some(presence));
        }
        let set = |is_backup| {
            let meant = spots.iter().filter(|spot| spot.is_backup == is_backup);
            meant.map(|spot| self.member(spot)).collect()
        };
        let fails_open = self.parts.judge.policy().fail_open();
        let sets = [set(false), set(true)];
        let members = Members::new(sets, spots, self.parts.balance, own, fails_open);
        self.members.replace(Some(Rc::new(members)));
        self.queue.call();
    }

    fn hosts(&self, spots: &[Spot]) -> Vec<(SocketAddr, Arc<str>)> {
        let lookups = self.names.lookups.borrow();
        let spots = spots.iter().map(|spot| spot.address);
        spots
            .map(|address| (address, lookups.host_of(address).into()))
            .collect()
    }

    /// Tells the evidence that the servers are those that they were.
    fn confirm(&self) {
        let is_own = self.members.borrow().is_some();
        if let Some(presence) = self.presence.borrow().as_ref().filter(|_| is_own) {
            let due = self.names.lookups.borrow().next();
            presence.confirm(self.generation.get(), due);
        }
    }

    /// The member that was there before, or a new one.
    fn member(&self, spot: &Spot) -> Rc<Member> {
        let address = spot.address;
        let members = self.members.borrow();
        let mut known = members.iter().flat_map(|members| members.all());
        if let Some(known) = known.find(|one| one.address == address) {
            known.weight.set(spot.weight);
            return Rc::clone(known);
        }
        let service = self.parts.service.as_ref();
        Rc::new(Member {
            address,
            host: self.names.lookups.borrow().host_of(address).into(),
            key: format!("upstream {}#{} {address}", self.parts.name, self.parts.era).into(),
            id: self.next_id.replace(self.next_id.get().wrapping_add(1)),
            weight: Cell::new(spot.weight),
            name: hash_of(address.to_string().as_bytes()),
            dials: Member::dials(&self.parts.judge, address),
            service: service.and_then(|evidence| evidence.handle(address)),
            checks: (self.parts.checked.as_ref())
                .and_then(|evidence| Some(evidence.checks()?.endpoint(address))),
            max_requests: self.parts.max_requests,
            queue: Rc::clone(&self.queue),
            in_flight: Cell::new(0),
            counts: Arc::clone(&self.parts.tally.counts),
            recent: Recent::default(),
            doorway: Doorway::default(),
            shelf: OnceCell::new(),
        })
    }

    /// Begins something at `member`.
    #[must_use]
    pub fn busy(member: &Rc<Member>) -> Busy {
        Busy::begin(member)
    }

    /// Notes how long `busy` has taken until its first answer.
    pub fn note(&self, busy: &Busy) {
        let now = Instant::now();
        let age = now.saturating_duration_since(self.began);
        busy.member().recent.note(busy.note_answer(now), age);
    }
}

impl fmt::Display for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_srv {
            true => self.target.host().fmt(out),
            false => self.target.fmt(out),
        }
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
#[must_use]
pub fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;
    use std::time::Duration;

    use risefall::{Policy, Registry};

    use super::*;
    use crate::net::resolve::Names;

    const SOON: Duration = Duration::from_secs(10);

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
            is_srv: false,
            weight: 1,
            is_backup,
        }
    }

    fn parts(servers: Vec<Server>, registry: &Registry) -> GroupParts {
        let own = vec!["127.0.0.1:8090".parse().unwrap()];
        GroupParts {
            name: "hub".to_owned(),
            era: 0,
            servers,
            balance: Balance::RoundRobin,
            judge: Arc::new(registry.clone()),
            guard: Guard::new(own, false),
            service: None,
            checked: None,
            max_requests: 0,
            queue_length: 0,
            budget_percent: 0,
            tally: Tally::default(),
        }
    }

    fn group(servers: Vec<Server>) -> (Rc<Group>, Registry) {
        let registry = Registry::new(Policy::default());
        let group = Group::new(parts(servers, &registry));
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
        let server = server("app.internal:80", false);
        let (group, _) = group(vec![server.clone()]);
        let [one, two, three] = [1, 2, 3].map(|last| SocketAddr::from(([10, 0, 0, last], 80)));
        let known = |found: &[SocketAddr]| {
            *names.0.lock().unwrap() = found.to_vec();
            let (group, resolver, server) = (&group, &resolver, &server);
            async move {
                let before = group.members.borrow().clone();
                group.look_up(0, server, resolver).await;
                let after = group.members.borrow().clone().unwrap();
                let is_same = before.is_some_and(|before| Rc::ptr_eq(&before, &after));
                (after, !is_same)
            }
        };
        let (first, is_told) = known(&[one, two]).await;
        assert!(is_told);
        let busy = Group::busy(first.all().next().unwrap());
        assert_eq!(busy.member().address, one);
        // Another order is no change.
        assert!(!known(&[two, one]).await.1);
        let (second, is_told) = known(&[three, one]).await;
        assert!(is_told);
        let kept = second.all().find(|member| member.address == one).unwrap();
        assert_eq!(kept.in_flight.get(), 1);
        assert!(second.all().all(|member| member.address != two));
        drop(busy);
        assert_eq!(kept.in_flight.get(), 0);
        let (third, is_told) = known(&[]).await;
        assert!(!is_told);
        assert_eq!(third.all().count(), 2);
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_for_all_that_wait_for_it() {
        let local = tokio::task::LocalSet::new();
        let wait = async {
            let names = Arc::new(Fake::default());
            names.0.lock().unwrap().push(([10, 0, 0, 1], 80).into());
            let resolver = resolver(&names);
            let servers = ["app.internal:80", "10.0.0.2:80"].map(|text| server(text, false));
            let (group, _) = group(servers.to_vec());
            let (one, other) = tokio::join!(group.members(&resolver), group.members(&resolver));
            assert!(Rc::ptr_eq(&one.unwrap(), &other.unwrap()));
            let members = group.members(&resolver).await.unwrap();
            assert_eq!(members.all().count(), 2);
        };
        local.run_until(wait).await;
    }

    #[tokio::test]
    async fn nothing_found_is_told_to_each_until_the_pause_is_over() {
        let local = tokio::task::LocalSet::new();
        let wait = async {
            let resolver = resolver(&Arc::default());
            let (group, _) = group(vec![server("app.internal:80", false)]);
            for _ in 0..2 {
                let fault = group.members(&resolver).await.err().unwrap();
                assert_eq!(fault.token(), "dns_error", "{fault}");
            }
        };
        local.run_until(wait).await;
    }

    #[tokio::test]
    async fn what_one_group_asked_for_is_told_to_the_one_behind_it_and_back() {
        let local = tokio::task::LocalSet::new();
        let wait = async {
            let names = Arc::new(Fake::default());
            let known = |last| names.0.lock().unwrap().push(([10, 0, 0, last], 80).into());
            known(1);
            let resolver = resolver(&names);
            let server = server("app.internal:80", false);
            let (before, registry) = group(vec![server.clone()]);
            // It has asked, and is replaced before it is answered.
            assert!(before.known(&resolver).is_none());
            let behind = Rc::new(Group::behind(
                &before,
                parts(vec![server.clone()], &registry),
            ));
            let found = tokio::time::timeout(SOON, behind.members(&resolver)).await;
            assert_eq!(found.unwrap().unwrap().all().count(), 1);
            for (asking, hearing) in [(&before, &behind), (&behind, &before)] {
                let count = hearing.known(&resolver).unwrap().all().count();
                known(7 + u8::try_from(count).unwrap());
                asking.look_up(0, &server, &resolver).await;
                let heard = hearing.known(&resolver).unwrap();
                assert_eq!(heard.all().count(), count + 1);
            }
        };
        local.run_until(wait).await;
    }

    #[tokio::test]
    async fn a_lookup_that_goes_on_is_waited_for_whatever_failed_before() {
        let local = tokio::task::LocalSet::new();
        let wait = async {
            let names = Arc::new(Fake::default());
            let resolver = resolver(&names);
            let server = server("app.internal:80", false);
            let (group, _) = group(vec![server.clone()]);
            assert!(group.members(&resolver).await.is_err());
            names.0.lock().unwrap().push(([10, 0, 0, 1], 80).into());
            let later = Instant::now() + Duration::from_secs(600);
            assert_eq!(group.names.lookups.borrow_mut().start(later).len(), 1);
            let (found, ()) = tokio::join!(
                tokio::time::timeout(SOON, group.members(&resolver)),
                group.look_up(0, &server, &resolver)
            );
            assert_eq!(found.unwrap().unwrap().all().count(), 1);
        };
        local.run_until(wait).await;
    }
}
