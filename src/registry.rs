//! The public door: the calls on an address. What they rest on is in `shared.rs`.

mod builder;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use self::builder::RegistryBuilder;
use crate::address::Key;
use crate::admit::{Admission, Attempt};
use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::event::Transitions;
use crate::journal::JournalEntry;
use crate::outcome::{Cause, Outcome};
use crate::policy::Policy;
use crate::record::Record;
use crate::shared::{Case, Shared, Subject};
use crate::snapshot::{Imported, Snapshot, SnapshotError, Status};
use crate::state::Event;
use crate::sync::Link;
use crate::word::{Phase, Word};

/// Remembers, per network address, how dials went, and says which are not worth another.
///
/// Cloning gives another handle to the same registry.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    policy: Arc<Policy>,
}

impl Registry {
    /// A registry with the default capacity and the system's clock.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self::builder().policy(policy).build()
    }

    /// For another capacity or clock.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::new()
    }

    /// Another handle to the same evidence, judging by a policy of its own.
    ///
    /// Thresholds are a reading, streaks are facts: a strict policy calls an address down after
    /// one failure that a lenient one still passes. A handle *records* by its own policy too: what
    /// it records takes the address down at its `max_fails`, and brings it up at its `min_rises`.
    #[must_use]
    pub fn with_policy(&self, policy: impl Into<Arc<Policy>>) -> Self {
        let policy = policy.into();
        self.shared.keep_for(&policy);
        Self {
            shared: Arc::clone(&self.shared),
            policy,
        }
    }

    /// Whether the address must not be dialled now. A pure read.
    ///
    /// With [`Recovery::Open`](crate::Recovery::Open): `max_fails` failures in a row, the last
    /// record no longer than `fail_timeout` ago. With
    /// [`Recovery::Probe`](crate::Recovery::Probe): its down time lasts, or all probes that may be
    /// are on their way; when a probe is due it is not down. An unknown address is up.
    ///
    /// # Progress
    ///
    /// Wait-free. An address in a bucket without evidence, the usual case, is answered from one
    /// load. The clock is read only for an address that was taken down.
    #[inline]
    #[must_use]
    pub fn is_fall_down(&self, address: &SocketAddr) -> bool {
        let shared = &*self.shared;
        let subject = shared.subject(Key::of(address));
        shared
            .find(subject)
            .is_some_and(|(_, word)| !word.is_neutral() && shared.is_down(word, self.case(subject)))
    }

    /// Asks to use the address: [`Pass`](Admission::Pass), a permit to probe it if it is due for a
    /// probe, or a refusal with the time left. Of any number of callers at the moment of expiry as
    /// many get a permit as the policy has, one by default; the others are refused until the probe
    /// has ended, or its lease.
    ///
    /// With [`Recovery::Open`](crate::Recovery::Open) nobody is given a permit: it passes
    /// or refuses.
    ///
    /// # Progress
    ///
    /// Wait-free while the address is healthy; lock-free otherwise. Writes only to grant a permit.
    #[inline]
    pub fn try_admit(&self, address: &SocketAddr) -> Admission {
        let shared = &*self.shared;
        let subject = shared.subject(Key::of(address));
        match shared.find(subject) {
            Some((record, word)) if !word.is_neutral() => self.admit(subject, record, word),
            _ => Admission::Pass,
        }
    }

    fn admit(&self, subject: Subject, record: &Link<Record>, word: Word) -> Admission {
        let admitted = self.shared.admit(self.case(subject), record, word);
        Admission::of(admitted, &self.shared, &self.policy)
    }

    /// Begins one use of the address, whose outcome is to be told by [`Attempt::end`].
    ///
    /// # Progress
    ///
    /// Wait-free. Reads the clock.
    pub fn attempt(&self, address: &SocketAddr) -> Attempt<'_> {
        let case = self.case(self.shared.subject(Key::of(address)));
        Attempt::new(&self.shared, case, None)
    }

    /// Records the outcome of a use of the address, by the weights of the policy.
    ///
    /// # Progress
    ///
    /// As [`record_failure`](Self::record_failure), or for a success as
    /// [`add_rise_up`](Self::add_rise_up).
    pub fn record(&self, address: SocketAddr, outcome: Outcome) {
        let case = self.case(self.shared.subject(Key::of(&address)));
        match outcome {
            Outcome::Success => self.add_rise_up(address),
            outcome => self.shared.record(case, None, outcome),
        }
    }

    /// Records a failure without saying why: one more in a row. At `max_fails` the address is
    /// down.
    ///
    /// # Progress
    ///
    /// As [`record_failure`](Self::record_failure).
    pub fn add_fall_down(&self, address: SocketAddr) {
        self.record_failure(address, Cause::Reported);
    }

    /// Records a failure and its cause: one more in a row, the streak of successes ends. A record
    /// older than `fail_timeout` is cleared first. At `max_fails` the address is down.
    ///
    /// When the registry is full of addresses with live evidence, a new one is not tracked: it
    /// counts in [`overflow`](Self::overflow) and reads as up.
    ///
    /// # Progress
    ///
    /// Lock-free for a tracked address. The first failure of an address may take a shard lock, on
    /// which no reader and no success ever waits.
    pub fn record_failure(&self, address: SocketAddr, cause: Cause) {
        self.record(address, Outcome::Failed(cause));
    }

    /// Records a success: one more in a row, the streak of failures ends. A record older than
    /// `fail_timeout` is cleared first. At `min_rises` a down address is up.
    ///
    /// # Progress
    ///
    /// Lock-free. For an address with nothing against it wait-free: it reads, and writes nothing.
    #[inline]
    pub fn add_rise_up(&self, address: SocketAddr) {
        let shared = &*self.shared;
        let subject = shared.subject(Key::of(&address));
        if let Some((record, word)) = shared.find(subject) {
            // A record that is gone had nothing against the address when it went.
            shared.record_success(self.case(subject), record, word);
        }
    }

    /// A handle to the address. It pins the address's record, whatever the capacity.
    ///
    /// # Progress
    ///
    /// Takes a shard lock, on which no reader and no success ever waits.
    #[must_use]
    pub fn endpoint(&self, address: SocketAddr) -> Endpoint {
        Endpoint::new(Key::of(&address), &self.shared, &self.policy)
    }

    /// The address at this moment: verdict, streak, last failure, next try.
    ///
    /// # Progress
    ///
    /// Wait-free.
    #[must_use]
    pub fn status(&self, address: &SocketAddr) -> Status {
        let case = self.case(self.shared.subject(Key::of(address)));
        self.shared.status_of(case)
    }

    /// Every address with live evidence against it, in no order.
    ///
    /// Weakly consistent: each entry is true of some moment of the call.
    ///
    /// # Progress
    ///
    /// Takes one shard lock after another for reading. No reader or success waits on it; first
    /// failures of addresses may.
    #[must_use]
    pub fn statuses(&self) -> Vec<Status> {
        self.shared.statuses(&self.policy)
    }

    /// Why the address is in the state it is in: its last changes, oldest first, 16 at most.
    ///
    /// # Progress
    ///
    /// Wait-free. Allocates its answer.
    #[must_use]
    pub fn journal(&self, address: &SocketAddr) -> Vec<JournalEntry> {
        self.shared
            .journal_of(self.shared.subject(Key::of(address)))
    }

    /// Subscribes to changes of verdict, keeping at most `capacity` unread ones.
    ///
    /// # Progress
    ///
    /// Takes one shard lock after another for reading.
    #[must_use]
    pub fn subscribe(&self, capacity: usize) -> Transitions {
        self.shared.subscribe(capacity)
    }

    /// Overrides all evidence: up, whatever happens, until [`release`](Self::release).
    ///
    /// An override hides the evidence and forgets it; what happens meanwhile is not recorded. It
    /// costs a record, whatever the capacity.
    ///
    /// # Progress
    ///
    /// As [`record_failure`](Self::record_failure).
    pub fn force_up(&self, address: SocketAddr) {
        self.force(address, Phase::ForcedUp);
    }

    /// Overrides all evidence: down, whatever happens, until [`release`](Self::release).
    ///
    /// # Progress
    ///
    /// As [`record_failure`](Self::record_failure).
    pub fn force_down(&self, address: SocketAddr) {
        self.force(address, Phase::ForcedDown);
    }

    /// Overrides all evidence: no new work, until [`release`](Self::release). As
    /// [`force_down`](Self::force_down) to whoever asks; told apart for whoever has connections
    /// open, which may go on.
    ///
    /// # Progress
    ///
    /// As [`record_failure`](Self::record_failure).
    pub fn drain(&self, address: SocketAddr) {
        self.force(address, Phase::Drained);
    }

    /// Takes an override back: the address is up, with nothing held against it.
    ///
    /// # Progress
    ///
    /// Lock-free.
    pub fn release(&self, address: SocketAddr) {
        self.change_known(address, Event::Release);
    }

    /// Forgets all that is held against the address: failures, trips, overrides.
    ///
    /// # Progress
    ///
    /// Lock-free.
    pub fn reset(&self, address: SocketAddr) {
        self.change_known(address, Event::Reset);
    }

    /// All that is held against addresses, in a form that travels: for a process that takes over
    /// from this one, for another machine, for a file.
    ///
    /// # Progress
    ///
    /// As [`statuses`](Self::statuses).
    #[must_use]
    pub fn export(&self) -> Snapshot {
        self.shared.export()
    }

    /// Takes over what a snapshot holds against addresses, older by the time since it was taken
    /// (by the wall clock).
    ///
    /// Evidence yields only to newer evidence, so a second import of the same snapshot changes
    /// nothing, and an old verdict never undoes a newer one. What has run out meanwhile is left
    /// out. A probe that was on its way is due again.
    ///
    /// # Errors
    ///
    /// The snapshot is of another version. Nothing is taken over.
    ///
    /// # Progress
    ///
    /// As [`record_failure`](Self::record_failure), for each entry.
    pub fn import(&self, snapshot: &Snapshot) -> Result<Imported, SnapshotError> {
        self.import_aged(snapshot, snapshot.age())
    }

    /// As [`import`](Self::import), the snapshot being `age` old.
    ///
    /// # Errors
    ///
    /// As [`import`](Self::import).
    pub fn import_aged(
        &self,
        snapshot: &Snapshot,
        age: Duration,
    ) -> Result<Imported, SnapshotError> {
        if snapshot.version != Snapshot::VERSION {
            let found = snapshot.version;
            return Err(SnapshotError::Version { found });
        }
        Ok(self.shared.import(snapshot, age))
    }

    #[inline]
    pub(crate) fn case(&self, subject: Subject) -> Case<'_> {
        let policy = &self.policy;
        Case { policy, subject }
    }

    fn force(&self, address: SocketAddr, phase: Phase) {
        let case = self.case(self.shared.subject(Key::of(&address)));
        self.shared.force(case, phase);
    }

    fn change_known(&self, address: SocketAddr, event: Event) {
        let case = self.case(self.shared.subject(Key::of(&address)));
        self.shared.change_known(case, event);
    }

    /// Evicts every record with nothing, or nothing any more, against its address, except those
    /// that handles pin.
    ///
    /// Never needed: newcomers make their own room. It tidies [`len`](Self::len) after an incident.
    /// The memory of the records is kept for newcomers.
    ///
    /// # Progress
    ///
    /// Takes one shard lock after another. No reader or success waits on it.
    pub fn sweep(&self) {
        self.shared.sweep_all();
    }

    /// The policy by which this handle judges.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The clock that it reads: for other registries whose times are to be compared with its own.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.shared.clock()
    }

    /// Addresses that have a record: failing ones, pinned ones, and those that were and have not
    /// been swept yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Whether no address has a record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// First failures of addresses that found no room, since the start.
    #[must_use]
    pub fn overflow(&self) -> u64 {
        self.shared.overflow()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("policy", self.policy())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
