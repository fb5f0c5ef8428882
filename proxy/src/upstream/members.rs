//! The addresses of a group at one time, and the choice among them.
//!
//! A choice asks handles and counts: no lock, no allocation. Only when nobody is to be had is it
//! found out why, which asks for the time.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::balance::{Balance, Balancer, Candidate};
use super::evidence::Right;
use super::lookup::Spot;
use super::member::{Down, Member, Tried};

/// The addresses of a group at one time.
pub struct Members {
    usual: Set,
    backup: Set,
    /// By name, in its order.
    names: Box<[(u64, Rc<Member>)]>,
    /// What they were made of.
    spots: Vec<Spot>,
    /// One that was left out because it leads back here.
    own: Option<SocketAddr>,
    /// Whether one is asked when all are down.
    fails_open: bool,
}

/// Who is to be tried next.
#[derive(Debug)]
#[must_use = "a right that is dropped is given back"]
pub enum Choice {
    /// This one. Its request is to count ([`Group::busy`](super::group::Group::busy)) before
    /// anything is waited for.
    Member(Rc<Member>, Right),
    /// Those that are left are down.
    AllDown {
        /// When the first of them may be tried again; `None` if no time is known.
        retry_in: Option<Duration>,
    },
    /// Of those that are left the ones that are up have all the requests they may.
    AllFull,
    /// Nobody is left: all were tried, or there are none.
    None,
}

struct Set {
    members: Vec<Rc<Member>>,
    balancer: Balancer,
}

impl Members {
    /// `usual` and `backup` servers, less one that is this process's `own`.
    pub(super) fn new(
        [usual, backup]: [Vec<Rc<Member>>; 2],
        spots: Vec<Spot>,
        balance: Balance,
        own: Option<SocketAddr>,
        fails_open: bool,
    ) -> Self {
        let all = usual.iter().chain(&backup);
        let mut names: Vec<_> = all.map(|one| (one.name(), Rc::clone(one))).collect();
        names.sort_unstable_by_key(|one| one.0);
        let set = |members: Vec<_>| {
            let balancer = Balancer::new(balance, &members, fastrand::u64(..));
            Set { members, balancer }
        };
        Self {
            usual: set(usual),
            backup: set(backup),
            names: names.into(),
            spots,
            own,
            fails_open,
        }
    }

    /// Whether they are made of just that.
    pub(super) fn is_of(&self, spots: &[Spot], own: Option<SocketAddr>) -> bool {
        self.spots == spots && self.own == own
    }

    /// Who is to be tried next, of those that were not `tried`: of the usual ones that are up and
    /// have room, else of the backups. When all are down and the policy fails open, the one that is
    /// due first.
    pub fn choose(&self, key: u64, tried: &Tried) -> Choice {
        for set in [&self.usual, &self.backup] {
            // One of several that ask for a probe at once is given it; the others look again, and
            // find it down.
            for _ in 0..LOOKS_MOST {
                let Some(member) = set.choose_by_share(key, tried) else {
                    break;
                };
                if let Some(right) = member.admit() {
                    return Choice::Member(Rc::clone(member), right);
                }
            }
        }
        self.without(tried)
    }

    /// The member of that name, if it may be tried now: for clients that keep their server.
    #[must_use]
    pub fn by_name(&self, name: u64, tried: &Tried) -> Option<(Rc<Member>, Right)> {
        let place = self.names.binary_search_by_key(&name, |one| one.0).ok()?;
        let (_, member) = self.names.get(place)?;
        let mut usual = self.usual.members.iter();
        let is_backup = self
            .backup
            .members
            .iter()
            .any(|one| Rc::ptr_eq(one, member));
        // Nobody keeps a backup longer than it is needed, or a server that wants no more.
        if !may(member, tried)
            || !member.wants_any()
            || is_backup && usual.any(|one| may(one, tried))
        {
            return None;
        }
        Some((Rc::clone(member), member.admit()?))
    }

    /// Why there is nobody to be had.
    #[cold]
    fn without(&self, tried: &Tried) -> Choice {
        let (mut is_left, mut is_any_up, mut is_any_full) = (false, false, false);
        let mut retry_in: Option<Duration> = None;
        let mut next: Option<(Duration, &Rc<Member>)> = None;
        for member in self.all() {
            let down = member.down();
            is_any_up |= down.is_none();
            if tried.has(member) {
                continue;
            }
            is_left = true;
            let Some(Down {
                retry_in: after,
                is_forced,
            }) = down
            else {
                is_any_full |= member.is_full();
                continue;
            };
            retry_in = after
                .map(|time| retry_in.map_or(time, |one| one.min(time)))
                .or(retry_in);
            let after = after.unwrap_or(Duration::MAX);
            let is_sooner = next.is_none_or(|(soonest, _)| after < soonest);
            if is_sooner && !is_forced && !member.is_full() {
                next = Some((after, member));
            }
        }
        match next {
            _ if !is_left => Choice::None,
            Some((_, member)) if self.fails_open && !is_any_up => {
                Choice::Member(Rc::clone(member), member.admit_anyway())
            }
            _ if is_any_full => Choice::AllFull,
            _ => Choice::AllDown { retry_in },
        }
    }

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

    /// Who else may be dialled when the one that was chosen is silent or fails, in the order in which
    /// the balance has them: those that are up, have room and were not `tried`; backups only when no
    /// other is left.
    #[must_use]
    pub fn others(&self, key: u64, tried: &Tried) -> Vec<Rc<Member>> {
        for set in [&self.usual, &self.backup] {
            let others = set.others(Vec::new(), key, OTHERS_MOST, |one| may(one, tried));
            if !others.is_empty() {
                return others;
            }
        }
        Vec::new()
    }

    /// Whether there are [others](Self::others).
    #[must_use]
    pub fn has_others(&self, tried: &Tried) -> bool {
        self.all().any(|member| may(member, tried))
    }

    /// Whether all are down or full, whoever was tried: what a request may wait for to change. Not
    /// where one is asked although all are down.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        let none = Tried::default();
        let is_nobody = !self.all().any(|member| may(member, &none));
        is_nobody && !(self.fails_open && self.all().all(Candidate::is_down))
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

    /// Every address, backups last.
    pub fn all(&self) -> impl Iterator<Item = &Rc<Member>> {
        self.usual.members.iter().chain(&self.backup.members)
    }
}

impl Set {
    fn choose(&self, key: u64, tried: &Tried) -> Option<&Rc<Member>> {
        let may = |member: &Rc<Member>| may(member, tried);
        let place = self.balancer.choose_from(&self.members, key, may)?;
        self.members.get(place)
    }

    /// As [`choose`](Self::choose), but one that warms up is passed over more often than not: as
    /// often as its share says.
    fn choose_by_share(&self, key: u64, tried: &Tried) -> Option<&Rc<Member>> {
        let first = self.choose(key, tried)?;
        if first.takes_its_share() {
            return Some(first);
        }
        let mut passed = *tried;
        let mut last = first;
        while !passed.is_full() {
            passed.add(last);
            let Some(next) = self.choose(key, &passed) else {
                break;
            };
            if next.takes_its_share() {
                return Some(next);
            }
            last = next;
        }
        // All of them warm up, or there are more than can be remembered.
        let wants_any = |member: &Rc<Member>| may(member, tried) && member.wants_any();
        let wanted = self.balancer.choose_from(&self.members, key, wants_any);
        wanted
            .and_then(|place| self.members.get(place))
            .or(Some(first))
    }

    fn candidates(&self, key: u64) -> Vec<Rc<Member>> {
        let chosen = self.balancer.choose(&self.members, key);
        let Some(first) = chosen.and_then(|place| self.members.get(place)) else {
            return Vec::new();
        };
        let chosen = vec![Rc::clone(first)];
        self.others(chosen, key, CANDIDATES_MOST, |one| !one.is_down())
    }

    /// Those that are `chosen`, and behind them others that `may` be had; `most` in all.
    ///
    /// Each comes where the balance would turn to if those before it could not be had: whoever is
    /// the first gets all that is not let through to the one that was chosen. One that warms up
    /// comes last more often than not, and so does one that is silent: the dial would put it
    /// there, and it would have the place of one that answers.
    fn others(
        &self,
        mut chosen: Vec<Rc<Member>>,
        key: u64,
        most: usize,
        may: impl Fn(&Member) -> bool,
    ) -> Vec<Rc<Member>> {
        let is_in =
            |list: &[Rc<Member>], one: &Rc<Member>| list.iter().any(|other| Rc::ptr_eq(one, other));
        // No more are asked for than there are, or the balance would look for them at length.
        let left = self
            .members
            .iter()
            .filter(|one| may(one) && !is_in(&chosen, one));
        let left = left.take(OTHERS_ASKED_MOST).count();
        let are_more = chosen.len() + left > most;
        let mut late = Vec::new();
        for _ in 0..left {
            let is_new = |one: &Rc<Member>| may(one) && !is_in(&chosen, one) && !is_in(&late, one);
            let place = self.balancer.choose_aside(&self.members, key, is_new);
            let Some(next) = place.and_then(|place| self.members.get(place)) else {
                break;
            };
            let is_late = !next.takes_its_share() || are_more && next.is_suspect();
            let list = if is_late { &mut late } else { &mut chosen };
            list.push(Rc::clone(next));
            if chosen.len() >= most {
                break;
            }
        }
        chosen.append(&mut late);
        chosen.truncate(most);
        chosen
    }
}

fn may(member: &Member, tried: &Tried) -> bool {
    !member.is_down() && !member.is_full() && !tried.has(member)
}

/// How many others one dial tries beside the one that was chosen.
const OTHERS_MOST: usize = 4;
/// How many may be asked for them: more, since those that are silent come last.
const OTHERS_ASKED_MOST: usize = 16;
/// How many addresses one dial tries.
const CANDIDATES_MOST: usize = 8;
/// How often one choice asks for a probe that is given to others.
const LOOKS_MOST: usize = 8;

#[cfg(test)]
mod tests;
