//! How a list of members becomes another: who stays, who leaves, who joins.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Group;
use super::member::{Member, Seat};
use super::members::Members;
use super::policy::GroupPolicy;
use super::sweep::{Roster, Words};
use super::window::Tally;
use crate::address::Key;
use crate::gate::SEATS_MOST;
use crate::state::is_taken_down;
use crate::word::Ticks;

type Servers = Vec<(SocketAddr, u16)>;

impl Group {
    /// Makes the members and the policy what `to` makes of those that are, and asks by other
    /// `words` if there are any.
    pub(super) fn change(
        &self,
        words: Option<Words>,
        to: impl FnOnce(Servers, Arc<GroupPolicy>) -> (Servers, Arc<GroupPolicy>),
    ) {
        let mut roster = self.roster();
        let are_same_words = words.is_none();
        if let Some(words) = words {
            roster.words = words;
        }
        let before = self.members();
        let servers = before.iter().map(|one| (one.address(), one.given_weight()));
        let (servers, policy) = to(servers.collect(), Arc::clone(&before.policy));
        let mut known: HashMap<_, _> = before.iter().map(|one| (one.address(), one)).collect();
        let is_judged_alike = are_same_words && before.policy == policy;
        let service = Arc::new(policy.service.clone());
        let mut list = Vec::new();
        for (address, weight) in distinct(servers) {
            let stays = known.remove(&address);
            if let Some(stays) = stays
                && is_judged_alike
                && stays.given_weight() == weight.max(1)
            {
                list.push(Arc::clone(stays));
                continue;
            }
            let seat = stays.map_or_else(
                || self.seat(&mut roster, address, &before, &policy),
                |stays| Arc::clone(&stays.seat),
            );
            let words = roster.words.of(address);
            let core = &self.shared.core;
            list.push(Arc::new(Member::new(
                seat, weight, words, &policy, &service, core,
            )));
        }
        let single = match &*list {
            [single] if policy.spares_single => Some(Arc::clone(single)),
            _ => None,
        };
        if !is_judged_alike {
            // What was due by other rules is not what is due by these.
            roster.due = Duration::ZERO;
        }
        self.put_in_force(&before, list, policy, || {
            for gone in known.into_values() {
                gone.service().drain();
                roster.left.push(Arc::clone(&gone.seat));
            }
            // Ejected while there were others, it would be the only one and out.
            if let Some(single) = single
                && is_taken_down(single.service().word())
            {
                single.service().reset();
            }
        });
        roster.tidy();
    }

    /// The cap is the lower of both while members come and go.
    fn put_in_force(
        &self,
        before: &Members,
        list: Vec<Arc<Member>>,
        policy: Arc<GroupPolicy>,
        leave: impl FnOnce(),
    ) {
        let core = &self.shared.core;
        let members = u32::try_from(list.len()).unwrap_or(SEATS_MOST);
        let most = policy.most_ejected(members);
        let version = before.version.wrapping_add(1);
        let next = Arc::new(Members::new(list, version, policy, Arc::clone(core)));
        // Of fewer members, before they are fewer: or so many would seem to be down that it fails
        // open.
        next.count_beforehand();
        core.gate.resize(members, most.min(core.gate.seats().most));
        self.shared.members.store(Arc::clone(&next));
        core.version.store(version, Ordering::Relaxed);
        leave();
        core.gate.resize(members, most);
        next.count_unreachable();
    }

    /// A seat for who joins.
    fn seat(
        &self,
        roster: &mut Roster,
        address: SocketAddr,
        before: &Members,
        policy: &GroupPolicy,
    ) -> Arc<Seat> {
        let seat = roster.take_back(address).unwrap_or_else(|| {
            Arc::new(Seat {
                service: self.shared.service.endpoint(address),
                tally: Tally::default(),
            })
        });
        // Who left was drained.
        seat.service.release();
        if before.is_empty() {
            seat.service.forget_return(Ticks(0));
        } else if policy.has_slow_start() {
            seat.service.begin_return();
        }
        seat
    }
}

/// Each address once, in its canonical form.
fn distinct(servers: Servers) -> impl Iterator<Item = (SocketAddr, u16)> {
    let mut seen = HashSet::new();
    let canonical = servers
        .into_iter()
        .map(|(address, weight)| (Key::of(&address).address(), weight));
    canonical
        .filter(move |(address, _)| seen.insert(*address))
        .take(SEATS_MOST as usize)
}
