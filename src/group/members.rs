//! The members of a group at one time, and the choice among them.
//!
//! The list never changes; a group that changes makes another. So a choice takes no lock and
//! allocates nothing: it draws a place and loads the words of who stands there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::member::{Core, Member, Right};
use super::policy::{GroupPolicy, WHOLE};
use crate::snapshot::State;

/// The members of a group at one time, in the order in which they were given.
///
/// Balancers of their own walk it by place ([`get`](Self::get), [`iter`](Self::iter)) and ask
/// each member whether it [is eligible](Member::is_eligible) and what it [weighs](Member::weight).
/// [`admit`](Self::admit) is one for those who have none.
pub struct Members {
    list: Box<[Arc<Member>]>,
    /// Sums of the weights up to each member; empty when all weigh the same.
    sums: Box<[u64]>,
    pub(super) version: u64,
    pub(super) policy: Arc<GroupPolicy>,
    core: Arc<Core>,
}

impl Members {
    pub(super) fn new(
        list: Vec<Arc<Member>>,
        version: u64,
        policy: Arc<GroupPolicy>,
        core: Arc<Core>,
    ) -> Self {
        let weights = list.iter().map(|member| u64::from(member.given_weight()));
        let first = weights.clone().next();
        let are_equal = weights.clone().all(|weight| Some(weight) == first);
        let sums = weights.scan(0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self {
            sums: if are_equal {
                Box::default()
            } else {
                sums.collect()
            },
            list: list.into(),
            version,
            policy,
            core,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The member at `place`.
    #[inline]
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&Arc<Member>> {
        self.list.get(place)
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<Member>> {
        self.list.iter()
    }

    /// The member of that address.
    #[must_use]
    pub fn find(&self, address: &SocketAddr) -> Option<&Arc<Member>> {
        let address = crate::address::Key::of(address).address();
        self.iter().find(|member| member.address() == address)
    }

    /// The policy that they are judged by.
    #[must_use]
    pub fn policy(&self) -> &GroupPolicy {
        &self.policy
    }

    /// A member that is eligible, by chance and weight: `seed` is the chance, a new number for each
    /// choice, and need not be a good one. `None` if nobody is eligible.
    ///
    /// Draws until it meets one, at most as many times as there are members and a few; then it looks at
    /// all. So each has its share of what the others do not take: nobody gets that of who stands
    /// beside it.
    ///
    /// # Progress
    ///
    /// Wait-free. Reads the clock only for members that warm up, or are down.
    #[must_use]
    pub fn choose(&self, seed: u64) -> Option<&Arc<Member>> {
        match self.draw(DRAWS, seed) {
            Ok(member) => Some(member),
            Err(chance) => self.draw_on(chance),
        }
    }

    /// A member and the right to ask it: one that is eligible, else, if the policy lets the group
    /// fail open, the one whose dials are due first. `None` if there is nobody, or nobody may be
    /// asked.
    ///
    /// # Progress
    ///
    /// Wait-free while those chosen are up, lock-free otherwise.
    #[must_use]
    pub fn admit(&self, seed: u64) -> Option<(&Arc<Member>, Right)> {
        let mut chance = seed;
        // Of several who ask for one probe at once one is given it; the others look again, and
        // find it down.
        for _ in 0..LOOKS {
            let Some(member) = self.choose(chance) else {
                break;
            };
            if let Ok(right) = member.admit() {
                return Some((member, right));
            }
            chance = mixed(chance ^ seed);
        }
        let member = self.last_resort()?;
        Some((member, member.admit_anyway()))
    }

    /// When no member's dials are up and the policy lets the group fail open, the one that is due
    /// first of those that no operator has taken out.
    #[cold]
    #[must_use]
    pub fn last_resort(&self) -> Option<&Arc<Member>> {
        if !self.policy.may_fail_open() || self.iter().any(|member| member.is_eligible()) {
            return None;
        }
        let dials = self.iter().map(|member| (member, member.dial().status()));
        let is_forced = |state| matches!(state, State::ForcedDown | State::Drained);
        let may = dials.filter(|(_, dial)| !is_forced(dial.state));
        let first = may.min_by_key(|(_, dial)| dial.retry_in.unwrap_or_default());
        first.map(|(member, _)| member)
    }

    /// Counts who is down by other words than those that are counted as they change. A list that is
    /// in force no more says nothing of those that are.
    pub(super) fn count_unreachable(&self) {
        if self.core.version.load(Ordering::Relaxed) == self.version {
            self.count_beforehand();
        }
    }

    /// The same for a list that is about to be in force.
    pub(super) fn count_beforehand(&self) {
        let down = self.iter().filter(|member| member.is_unreachable()).count();
        let down = u32::try_from(down).unwrap_or(u32::MAX);
        self.core.unreachable.store(down, Ordering::Relaxed);
    }

    /// The first of so many draws that may be had and is taken; else the chance to go on with.
    #[inline]
    fn draw(&self, times: usize, mut chance: u64) -> Result<&Arc<Member>, u64> {
        for _ in 0..times {
            chance = mixed(chance);
            if let Some(member) = self.list.get(self.place_of(chance))
                && member.is_eligible()
                && self.is_taken(member, chance)
            {
                return Ok(member);
            }
        }
        Err(chance)
    }

    /// By weight: the upper half of the chance.
    #[inline]
    fn place_of(&self, chance: u64) -> usize {
        let scaled = |whole: u64| ((u128::from(chance >> 32) * u128::from(whole)) >> 32) as u64;
        match self.sums.last() {
            None => scaled(self.list.len() as u64) as usize,
            Some(&sum) => {
                let point = scaled(sum);
                self.sums.partition_point(|&sum| sum <= point)
            }
        }
    }

    /// Whether who is drawn is taken, by its share: the lower half of the chance.
    #[inline]
    fn is_taken(&self, member: &Member, chance: u64) -> bool {
        let share = member.share();
        share >= WHOLE || ((chance & LOWER) * u64::from(WHOLE)) >> 32 < share.into()
    }

    /// Where one of ten is eligible, ten more draws find it: a look at all costs as much as one for
    /// each member.
    #[cold]
    fn draw_on(&self, chance: u64) -> Option<&Arc<Member>> {
        let chance = match self.draw(self.list.len(), chance) {
            Ok(member) => return Some(member),
            Err(chance) => chance,
        };
        self.draw_of_all(chance).or_else(|| {
            // Nobody at all: by now that may be enough to fail open.
            self.count_unreachable();
            self.draw_of_all(chance)
        })
    }

    /// Each takes the place of those before it as often as its weight is of theirs and its own.
    fn draw_of_all(&self, mut chance: u64) -> Option<&Arc<Member>> {
        let (mut drawn, mut sum) = (None, 0_u64);
        for member in self.iter().filter(|member| member.is_eligible()) {
            let weight = u64::from(member.given_weight()) * u64::from(member.share().max(1));
            sum += weight;
            chance = mixed(chance);
            if (u128::from(chance) * u128::from(sum)) >> 64 < weight.into() {
                drawn = Some(member);
            }
        }
        drawn
    }
}

impl<'a> IntoIterator for &'a Members {
    type Item = &'a Arc<Member>;
    type IntoIter = std::slice::Iter<'a, Arc<Member>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.list).finish()
    }
}

/// Spreads the bits of a number (the finalizer of `SplitMix64`).
#[inline]
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The half of a chance that no place is drawn by.
const LOWER: u64 = u32::MAX as u64;
/// Places drawn at once: with half of the members down one choice in 256 goes on.
const DRAWS: usize = 8;
/// How often one choice asks for a probe that is given to others.
const LOOKS: usize = 8;
