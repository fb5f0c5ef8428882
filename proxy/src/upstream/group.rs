//! A group of servers as one worker has it: their addresses, how each stands, which is next.
//!
//! A server that is named is looked up when the group is first asked, and again when its answer
//! holds no longer, beside the requests, never in their way: only while no server is known but
//! backups does anybody wait. An address that stays keeps its
//! handle, its connections and its times; when a name is not found any more, its last addresses
//! stay: a name server's trouble is not the servers'.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::hash::{Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use risefall::judge::Judge;
use tokio::sync::Notify;

use super::balance::Balance;
use super::budget::Budget;
use super::evidence::{Called, Evidence, Found, Presence};
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
    /// Whether each name had been looked up once by then.
    is_whole: Cell<bool>,
    /// When a server has answered last, since it began.
    answered: Rc<Cell<Duration>>,
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
            is_whole: Cell::new(false),
            parts,
            began: now,
            members: RefCell::new(None),
            presence: RefCell::new(None),
            generation: Cell::new(0),
            next_id: Cell::new(0),
            answered: Rc::default(),
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
        } else {
            let known = before.names.lookups.borrow();
            let lookups = Lookups::behind(&known, &group.parts.servers, group.began);
            group.names.lookups.replace(lookups);
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

    /// Its addresses, as far as they are known. Waits for lookups only while none is that is no
    /// backup; to be called in a `LocalSet`, where those of servers that are due go on.
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
                !lookups.is_looking() || self.is_ready() && !lookups.spots().is_empty()
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
        if self.heard.replace(ended) != ended && self.is_ready() {
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
        self.tell_found();
        let ended = self.names.ended.get() + 1;
        self.names.ended.set(ended);
        if self.is_ready() {
            self.heard.set(ended);
            self.refresh();
        }
        self.names.told.notify_waiters();
    }

    /// Whether there is enough to go by, without what leads back to this process.
    fn is_ready(&self) -> bool {
        let is_usable = |address| self.parts.guard.judge(address) != Verdict::Own;
        self.names.lookups.borrow().is_ready(is_usable)
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
        let is_whole = self.names.lookups.borrow().is_settled();
        let is_as_whole = self.is_whole.replace(is_whole) == is_whole;
        let is_known = |known: &Rc<Members>| is_as_whole && known.is_of(&spots, own);
        if self.members.borrow().as_ref().is_some_and(is_known) {
            self.confirm();
            return;
        }
        self.tell_found();
        let evidence = self.parts.service.as_ref();
        if let Some(evidence) = evidence.or(self.parts.checked.as_ref()) {
            let presence = Rc::new(evidence.enter(Found {
                generation: self.generation.get(),
                servers: self.parts.servers.clone(),
                addresses: self.present(evidence, &spots, is_whole),
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

    /// Tells whoever looks at the status where the servers are.
    fn tell_found(&self) {
        let found = self.names.lookups.borrow().found();
        self.parts.tally.found.tell(&found);
    }

    /// Who is a member by what this group knows. Until that is the whole, those stay that were: what
    /// is held against one that is about to be found again must not be forgotten.
    fn present(
        &self,
        evidence: &Evidence,
        spots: &[Spot],
        is_whole: bool,
    ) -> Vec<(SocketAddr, Called)> {
        let mut present = match is_whole {
            true => Vec::new(),
            false => evidence.found(),
        };
        present.retain(|(address, _)| spots.iter().all(|spot| spot.address != *address));
        let lookups = self.names.lookups.borrow();
        let spots = spots.iter().map(|spot| spot.address);
        present.extend(spots.map(|address| (address, lookups.called(address))));
        present
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
            host: (*self.names.lookups.borrow().called(address).host).into(),
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
            recent: Recent::beside(&self.answered),
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
mod tests;
