//! What needs more than one address: how many may be left out at once, what to do when too few are
//! left, who is worse than the others, and how much those get who come back.
//!
//! A group is a list of servers that do the same thing. Each has the **dial** word of its address,
//! which the whole process shares, and a **service** word of the group's own, which says what the
//! server answered here: two groups that name one address share what dials say of it and judge its
//! answers each by thresholds of its own. A member is used when no word says down.
//!
//! What the group adds to that is in force before anything happens, not repaired after it:
//!
//! - A service word goes down only for a slot of the group's cap, reserved by one exchange before
//!   the trip (`gate.rs`): no race takes out more than may be out.
//! - A choice loads words from a list that never changes. What has to look at everybody, the rates
//!   and the count of who is down by dials, is done by [`Group::sweep`], which whoever owns the
//!   group calls now and then, with the time.
//! - Nothing here starts a thread, sleeps or reads a clock but the registry's.

mod builder;
mod change;
mod member;
mod members;
mod outlier;
mod policy;
mod sweep;
mod window;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

pub use self::builder::GroupBuilder;
use self::member::Core;
pub use self::member::{Denied, Member, MemberStatus, Right};
pub use self::members::Members;
pub use self::outlier::Rule;
pub use self::policy::{GroupPolicy, GroupPolicyBuilder, Mode};
pub use self::sweep::{Effect, Outlier, Sweep};
use self::sweep::{Roster, Words};
use crate::address::Key;
use crate::event::Transitions;
use crate::registry::Registry;
use crate::sync::Mutex;

/// Servers that do the same thing, judged together.
///
/// Cloning gives another handle to the same group. A member costs about half a KiB, and one KiB more
/// from its first call on if rates are judged.
///
/// ```
/// use std::time::Duration;
/// use risefall::{Cause, Group, GroupPolicy, Outcome, Policy, Registry};
///
/// let dials = Registry::new(Policy::default());
/// let group = Group::new(&dials, GroupPolicy::default());
/// group.set((1..=3u8).map(|host| (([192, 0, 2, host], 80).into(), 1)));
///
/// let mut members = group.members(); // kept by whoever chooses
/// for request in 0..9 {
///     group.refresh(&mut members); // one load, unless members have changed
///     let Some((server, right)) = members.admit(request) else { break };
///     let answer = Outcome::Failed(Cause::BadGateway); // ... of server.address()
///     server.end(right, answer, Duration::from_millis(3));
/// }
/// // All three fail; one of three may be ejected.
/// let _ = group.sweep(group.now());
/// assert!(group.counts().ejected <= 1);
/// ```
#[derive(Clone)]
pub struct Group {
    shared: Arc<Shared>,
}

struct Shared {
    /// Of this group's members alone, all of which have handles.
    service: Registry,
    core: Arc<Core>,
    /// Swapped whole by `change`, which the roster's lock keeps to one at a time.
    members: ArcSwap<Members>,
    roster: Mutex<Roster>,
}

/// What a group counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct GroupCounts {
    /// Its members.
    pub members: u32,
    /// Those that no word was against, when it was last counted: at a sweep for dials and checks,
    /// at once for answers.
    pub live: u32,
    /// Those that are ejected: by answers, until they have come back.
    pub ejected: u32,
    /// How many may be at once.
    pub most_ejected: u32,
    /// How often one was, since the start.
    pub ejections: u64,
    /// How often one would have been, but for the cap, since the start.
    pub spared: u64,
    /// Whether so few are live that answers and checks are passed over.
    pub is_failing_open: bool,
}

impl Group {
    /// A group without members, whose dials are those of the registry, by the policy of that handle.
    #[must_use]
    pub fn new(dials: &Registry, policy: GroupPolicy) -> Self {
        Self::builder(dials).policy(policy).build()
    }

    /// For checks or another size.
    pub fn builder(dials: &Registry) -> GroupBuilder {
        GroupBuilder::new(dials)
    }

    /// The members as they are now. Whoever chooses keeps the list and [refreshes](Self::refresh)
    /// it.
    ///
    /// # Progress
    ///
    /// Lock-free.
    #[must_use]
    pub fn members(&self) -> Arc<Members> {
        self.shared.members.load_full()
    }

    /// Makes `members` the list as it is now. Whether it was another.
    ///
    /// # Progress
    ///
    /// Wait-free and one load while nothing has changed, lock-free otherwise.
    #[inline]
    pub fn refresh(&self, members: &mut Arc<Members>) -> bool {
        if members.version == self.shared.core.version.load(Ordering::Relaxed) {
            return false;
        }
        *members = self.members();
        true
    }

    /// Makes the members what is given, each address with its weight (at least 1), in that order.
    /// Of an address that is given twice the first counts; so do the first 2 097 151 members.
    ///
    /// Who stays keeps all that is known of it. Who leaves is forgotten: its slot of the cap is free
    /// at once, and what comes late from it changes nothing. Who joins a group that had members
    /// begins as one that has come back, with a slow start.
    ///
    /// # Progress
    ///
    /// Waits for other changes of the members and for sweeps; nobody who chooses waits for it.
    pub fn set(&self, servers: impl IntoIterator<Item = (SocketAddr, u16)>) {
        let servers = servers.into_iter().collect();
        self.change(None, |_, policy| (servers, policy));
    }

    /// One more member, or another weight of one. As [`set`](Self::set).
    ///
    /// # Progress
    ///
    /// As [`set`](Self::set).
    pub fn add(&self, address: SocketAddr, weight: u16) {
        let address = Key::of(&address).address();
        self.change(None, |mut servers, policy| {
            match servers.iter_mut().find(|one| one.0 == address) {
                Some(known) => known.1 = weight,
                None => servers.push((address, weight)),
            }
            (servers, policy)
        });
    }

    /// One member less. As [`set`](Self::set).
    ///
    /// # Progress
    ///
    /// As [`set`](Self::set).
    pub fn remove(&self, address: &SocketAddr) {
        let address = Key::of(address).address();
        self.change(None, |mut servers, policy| {
            servers.retain(|one| one.0 != address);
            (servers, policy)
        });
    }

    /// Judges by another policy from now on; all that is known stays. Rights that were given before
    /// are ended by the policy under which they were.
    ///
    /// # Progress
    ///
    /// As [`set`](Self::set).
    pub fn set_policy(&self, policy: GroupPolicy) {
        self.change(None, |servers, _| (servers, Arc::new(policy)));
    }

    /// Asks the dial and check words by these handles from now on, for the policies that they have.
    /// What is known stays as far as they are handles to the registries that there were.
    ///
    /// # Progress
    ///
    /// As [`set`](Self::set).
    pub fn set_registries(&self, dials: &Registry, checks: Option<&Registry>) {
        let words = Words {
            dials: dials.clone(),
            checks: checks.cloned(),
        };
        self.change(Some(words), |servers, policy| (servers, policy));
    }

    /// Does what is due: judges rates, gives back the slots of members that time alone has brought
    /// back, and counts who is down by dials and checks.
    ///
    /// `now` is on the registry's clock ([`now`](Self::now)). To be called at
    /// [`Sweep::next`]; a call that comes too early judges no rates, one that comes late judges those
    /// of a longer time.
    ///
    /// # Progress
    ///
    /// Waits for changes of the members; nobody who chooses or tells waits for it.
    pub fn sweep(&self, now: Duration) -> Sweep {
        let mut roster = self.roster();
        let members = self.members();
        members.iter().for_each(|member| member.tidy());
        let sweep = roster.judge(&members, now);
        members.count_unreachable();
        roster.tidy();
        sweep
    }

    /// The time of the registry's clock.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.core.clock.elapsed()
    }

    /// What it counts, at this moment.
    #[must_use]
    pub fn counts(&self) -> GroupCounts {
        let (core, members) = (&self.shared.core, self.members());
        let seats = core.gate.seats();
        GroupCounts {
            members: seats.members,
            live: core.live(&members.policy, seats),
            ejected: seats.taken,
            most_ejected: seats.most,
            ejections: core.gate.trips(),
            spared: core.gate.refused(),
            is_failing_open: core.fails_open(&members.policy),
        }
    }

    /// Subscribes to what the group changes about its members: ejections and their ends, in
    /// [`Mode::Observe`] as if. A member that leaves is told as drained.
    #[must_use]
    pub fn subscribe(&self, capacity: usize) -> Transitions {
        self.shared.service.subscribe(capacity)
    }

    /// Forgets what the group holds against a member; what dials say is the registry's
    /// ([`Registry::reset`]).
    ///
    /// # Progress
    ///
    /// As [`set`](Self::set).
    pub fn reset(&self, address: &SocketAddr) {
        // Under the lock, so that it is still a member: who has left must stay drained.
        let _roster = self.roster();
        if let Some(member) = self.members().find(address) {
            member.service().reset();
        }
    }

    fn roster(&self) -> impl std::ops::DerefMut<Target = Roster> {
        let roster = self.shared.roster.lock();
        // Whoever panicked left whole facts behind: each is one store.
        roster.unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
