//! A server, and a connection to it.

use std::net::SocketAddr;
use std::rc::Rc;

use risefall::Outcome;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Courier, Story};
use crate::error::{Fault, NoStream};
use crate::net::stream::Stream;
use crate::plan::upstream::HttpVersion;
use crate::telemetry::tally::{Failure, UpstreamCounts};
use crate::upstream::evidence::Right;
use crate::upstream::group::Group;
use crate::upstream::judge::{broken, judge_fault};
use crate::upstream::letter::Letter;
use crate::upstream::member::{Busy, Member, Tried};
use crate::upstream::members::{Choice, Members};
use crate::upstream::opening::{Ended, Opening, Turn};
use crate::upstream::pool::Lease;

/// A server that is to have a request, and is busy with it from now on.
pub(super) struct Chosen {
    right: Right,
    busy: Busy,
}

impl Chosen {
    pub(super) fn new(member: &Rc<Member>, right: Right) -> Self {
        Self {
            right,
            busy: Group::busy(member),
        }
    }

    pub(super) fn member(&self) -> &Rc<Member> {
        self.busy.member()
    }

    /// Makes `lease` its connection.
    pub(super) fn on(self, mut lease: Lease) -> Lease {
        if !lease.is_reused {
            self.busy.note_connection();
        }
        lease.busy = Some(self.busy);
        lease.right = Some(self.right);
        lease
    }

    /// What `lease` was made for, if it was.
    pub(super) fn of(lease: &mut Lease) -> Option<Self> {
        Some(Self {
            busy: lease.busy.take()?,
            right: lease.right.take()?,
        })
    }

    /// Tells how it went.
    pub(super) fn end(self, outcome: Outcome) {
        self.busy.end(self.right, outcome);
    }
}

/// What a request has behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Past {
    /// Nothing, or a wait in line: all servers are before it.
    Nothing,
    /// Servers that have had nothing of it.
    Unsent,
    /// A server that may have had it.
    Sent,
}

/// How a request stands to the line of those that wait for a server.
#[derive(Default)]
pub(super) struct Line {
    /// Whether a server may have had it: then it waits no more.
    pub(super) is_sent: bool,
    /// When its wait is over, once it has been in line.
    until: Option<Instant>,
}

impl Line {
    pub(super) fn past(&self, has_failed: bool) -> Past {
        match (has_failed, self.is_sent) {
            (false, _) => Past::Nothing,
            (true, false) => Past::Unsent,
            (true, true) => Past::Sent,
        }
    }
}

impl Courier<'_> {
    /// Who is asked next; `None` if it has to be [waited for](Self::wait) in line, as the operator
    /// has it.
    pub(super) fn choose(
        &self,
        members: &Members,
        key: u64,
        sticky: Option<u64>,
        tried: &Tried,
        past: Past,
    ) -> Option<Result<Chosen, Fault>> {
        // Who has failed somewhere tries those that are left before it waits.
        if past == Past::Nothing && !self.group.queue().is_empty() {
            return None;
        }
        if let Some((member, right)) = sticky.and_then(|name| members.by_name(name, tried)) {
            return Some(Ok(Chosen::new(&member, right)));
        }
        match members.choose(key, tried) {
            Choice::Member(member, right) => Some(Ok(Chosen::new(&member, right))),
            _ if self.may_wait(members, past) => None,
            other => Some(Err(self.nobody(members, &other))),
        }
    }

    /// Whether a request that finds nobody waits in line. One that has failed does while nothing of
    /// it was sent and everybody is down or full: where one is up still, it would be given those
    /// again that it has tried.
    pub(super) fn may_wait(&self, members: &Members, past: Past) -> bool {
        self.upstream.queue.length > 0
            && match past {
                Past::Nothing => true,
                Past::Unsent => members.is_waited_for(),
                Past::Sent => false,
            }
    }

    /// Waits in line for a server: at its end, or at its head once it has been there and the server
    /// that it got refused it. In all no longer than a request may.
    pub(super) async fn wait(
        &self,
        key: u64,
        tried: &mut Tried,
        line: &mut Line,
    ) -> Result<Chosen, Fault> {
        let counts = self.group.counts();
        let queue = self.group.queue();
        let (mut place, until) = match line.until {
            Some(until) => (queue.enter_again(), until),
            None => {
                let place = queue.enter().map_err(|full| {
                    counts.queue_full.bump();
                    Fault::QueueFull {
                        upstream: self.upstream.name().into(),
                        limit: full.limit,
                    }
                })?;
                counts.queued.bump();
                (place, Instant::now() + self.upstream.queue.timeout)
            }
        };
        line.until = Some(until);
        let _waiting = Waiting::begin(counts);
        let mut retry_in = None;
        loop {
            let waited = place.wait(until, retry_in);
            let waited = self
                .flow
                .watch
                .guard(waited)
                .await
                .ok_or_else(|| self.overlong())?;
            let members = self.group.members(self.dialler.resolver()).await?;
            tried.clear();
            match members.choose(key, tried) {
                Choice::Member(member, right) => {
                    // Before the place is dropped, which calls the next.
                    return Ok(Chosen::new(&member, right));
                }
                other => {
                    waited.map_err(|_| {
                        counts.queue_timeouts.bump();
                        self.nobody(&members, &other)
                    })?;
                    if let Choice::AllDown { retry_in: time } = other {
                        retry_in = time;
                    }
                }
            }
        }
    }

    fn nobody(&self, members: &Members, choice: &Choice) -> Fault {
        let upstream = self.upstream.name().into();
        match (choice, members.own()) {
            (Choice::None, Some(address)) => Fault::Loop { address },
            (Choice::AllFull, _) => Fault::Full { upstream },
            (Choice::AllDown { retry_in }, _) => Fault::NoServer {
                upstream,
                retry_in: *retry_in,
            },
            _ => Fault::NoServer {
                upstream,
                retry_in: None,
            },
        }
    }

    /// An open connection to the server that was chosen, or to another if dials to that one are
    /// under suspicion; gives the choice back if there is none.
    pub(super) fn open(
        &self,
        members: &Members,
        chosen: Chosen,
        tried: &mut Tried,
        letter: &Letter<'_>,
        story: &mut Story,
    ) -> Result<Lease, Chosen> {
        let member = chosen.member();
        story.address = Some(member.address);
        story.is_pooled = true;
        if let Some(lease) = self.pooled(member, letter) {
            return Ok(chosen.on(lease));
        }
        if let Some(lease) = self.open_elsewhere(members, member, tried, letter) {
            story.address = Some(lease.address);
            return Ok(lease);
        }
        story.is_pooled = false;
        Err(chosen)
    }

    /// A new connection to the server that was chosen, or to another if that is sooner to be had;
    /// or one that another request opens meanwhile, if it can be shared.
    pub(super) async fn dial(
        &self,
        members: &Members,
        mut chosen: Chosen,
        tried: &mut Tried,
        letter: &Letter<'_>,
        story: &mut Story,
    ) -> Result<Lease, Fault> {
        let opening = loop {
            let waiting = match self.turn(chosen.member(), letter) {
                Some(Turn::Others(waiting)) => waiting,
                Some(Turn::Mine(opening)) => break Some(opening),
                None => break None,
            };
            let ended = self.in_time(async { Ok(waiting.ended().await) }).await?;
            chosen = match self.open(members, chosen, tried, letter, story) {
                Ok(lease) => return Ok(lease),
                Err(chosen) => chosen,
            };
            if ended == Ended::Failed {
                break None;
            }
        };
        let member = Rc::clone(chosen.member());
        let others = members.others(letter.key, tried);
        let dial = self.dialler.dial_server(self.group, &member, &others);
        let dialled = self.in_time(dial).await;
        note(opening.as_ref(), Ended::Failed);
        let dialled = dialled.inspect_err(|fault| {
            others.iter().for_each(|one| tried.add(one));
            self.note_dial(fault);
        })?;
        story.address = Some(dialled.address);
        story.effort = dialled.effort;
        let other = others.iter().find(|one| one.address == dialled.address);
        let chosen = match other.filter(|_| dialled.address != member.address) {
            Some(other) => {
                tried.add(other);
                Chosen::new(other, other.admit().unwrap_or_else(|| other.admit_anyway()))
            }
            None => chosen,
        };
        let adopted = self.adopt(chosen.member(), dialled.stream, letter).await;
        match adopted {
            Ok(lease) => {
                if dialled.address == member.address {
                    opened(&member, opening.as_ref(), &lease);
                }
                Ok(chosen.on(lease))
            }
            Err((fault, outcome)) => {
                chosen.end(outcome);
                Err(fault)
            }
        }
    }

    fn pooled(&self, member: &Member, letter: &Letter) -> Option<Lease> {
        match letter.is_upgrade() {
            true => self.pool.take_single_from(member.shelf(self.pool)),
            false => self.pool.take_from(member.shelf(self.pool)),
        }
    }

    /// An open connection to another server than `member`, if dials to that one are under
    /// suspicion: a dial would turn to the others first, and open what is open already.
    fn open_elsewhere(
        &self,
        members: &Members,
        member: &Member,
        tried: &mut Tried,
        letter: &Letter<'_>,
    ) -> Option<Lease> {
        if !member.is_suspect() {
            return None;
        }
        let others = members.others(letter.key, tried);
        let (chosen, lease) = others.iter().find_map(|other| {
            let right = other.admit()?;
            let lease = self.pooled(other, letter)?;
            Some((Chosen::new(other, right), lease))
        })?;
        tried.add(chosen.member());
        Some(chosen.on(lease))
    }

    /// Makes a fresh socket speak what the group speaks.
    async fn adopt(
        &self,
        member: &Rc<Member>,
        socket: TcpStream,
        letter: &Letter<'_>,
    ) -> Result<Lease, (Fault, Outcome)> {
        let address = member.address;
        let stream = match self.secure {
            None => Stream::Plain(socket),
            Some(secure) => {
                let host = &member.host;
                let opened = secure.connect(socket, address, host, letter.is_upgrade());
                let opened = self.flow.watch.guard(opened).await;
                opened.ok_or_else(|| (self.overlong(), Outcome::Cancelled))??
            }
        };
        let is_h2 = match self.upstream.http {
            HttpVersion::H1 => false,
            HttpVersion::H2 => !letter.is_upgrade(),
            HttpVersion::Auto => stream.is_h2(),
        };
        let adopted = match is_h2 {
            true => self.pool.adopt_h2(&member.key, stream, address).await,
            false => self.pool.adopt(&member.key, stream, address).await,
        };
        adopted.map_err(|error| {
            let fault = broken(address, &error);
            let outcome = judge_fault(&fault);
            (fault, outcome)
        })
    }

    /// Another connection to the same server.
    pub(super) async fn renew(
        &self,
        member: &Rc<Member>,
        address: SocketAddr,
        letter: &Letter<'_>,
        story: &mut Story,
    ) -> Result<Lease, (Fault, Outcome)> {
        let opening = loop {
            if !letter.is_upgrade()
                && let Some(lease) = self.pool.take_from(member.shelf(self.pool))
            {
                return Ok(lease);
            }
            let waiting = match self.turn(member, letter) {
                Some(Turn::Others(waiting)) => waiting,
                Some(Turn::Mine(opening)) => break Some(opening),
                None => break None,
            };
            let waited = self.in_time(async { Ok(waiting.ended().await) }).await;
            if waited.map_err(|fault| (fault, Outcome::Cancelled))? == Ended::Failed {
                break None;
            }
        };
        let dial = self.dialler.dial_server(self.group, member, &[]);
        let dialled = self.in_time(dial).await;
        note(opening.as_ref(), Ended::Failed);
        // The dial has told its own.
        let dialled = dialled.map_err(|fault| {
            self.note_dial(&fault);
            (fault, Outcome::Cancelled)
        })?;
        story.effort = dialled.effort;
        story.address = Some(address);
        story.is_pooled = false;
        let adopted = self.adopt(member, dialled.stream, letter).await;
        adopted.inspect(|lease| opened(member, opening.as_ref(), lease))
    }

    /// Whose turn it is to open a connection, where the next may well be shared.
    fn turn(&self, member: &Member, letter: &Letter) -> Option<Turn> {
        let may_share = match self.upstream.http {
            HttpVersion::H1 => false,
            HttpVersion::H2 => true,
            HttpVersion::Auto => self.secure.is_some() && !member.doorway.is_single(),
        };
        (may_share && !letter.is_upgrade()).then(|| member.doorway.enter())
    }

    /// Counts a dial that has failed; one that health denied was none.
    fn note_dial(&self, fault: &Fault) {
        if let Fault::Connect { how, .. } = fault
            && *how != NoStream::Down
        {
            self.group.counts().note_failure(Failure::Connect);
        }
    }
}

/// Tells those who waited for it that a connection to `member` is open.
fn opened(member: &Member, opening: Option<&Opening>, lease: &Lease) {
    member.doorway.note_choice(lease.is_h2());
    if lease.is_h2() {
        note(opening, Ended::Open);
    }
}

fn note(opening: Option<&Opening>, end: Ended) {
    if let Some(opening) = opening {
        opening.note(end);
    }
}

/// A request that waits in line; counted until it is dropped.
struct Waiting<'a>(&'a UpstreamCounts);

impl<'a> Waiting<'a> {
    fn begin(counts: &'a UpstreamCounts) -> Self {
        counts.waiting.bump();
        Self(counts)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.drop_one();
    }
}
