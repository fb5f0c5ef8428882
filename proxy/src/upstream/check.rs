//! Servers are asked whether they work before clients do: by the library's checks, one set of them
//! for the process.
//!
//! What is found is a word of the group's own ([`Evidence::checks`]), where all workers read it.
//! That a check connected, or could not, is told to whoever judges the group's dials. Groups that
//! check one address alike share the check, and each judges by thresholds of its own.
//!
//! Who is checked follows the plan and what names lead to ([`Checks::set`]). Of a server that stays
//! the verdict does, whatever else has changed: it is subscribed to anew before the old
//! subscription ends. Of one that has gone nothing is kept.

mod way;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use risefall::Registry;
use risefall::check::{Checker, Definition, Report, Runner, Subscription, Thresholds, Tls};

use self::way::{Profiles, Way};
use super::evidence::Evidence;
use crate::net::tls::ClientTls;

/// All checks of a process.
#[derive(Debug)]
pub struct Checks {
    checker: Checker,
    /// Taken by whoever runs them.
    runner: Mutex<Option<Runner<Way>>>,
    profiles: Arc<Profiles>,
    watch: Mutex<Watch>,
}

/// Who is checked, and what there was of those who are no more.
#[derive(Debug, Default)]
struct Watch {
    all: HashMap<Key, Watched>,
    /// What addresses that have left have counted, by the group and the server whose they were: what
    /// is told of a server must not fall when its name leads elsewhere.
    left: HashMap<(Arc<str>, Arc<str>), Counted>,
}

/// Checks that have ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counted {
    /// All.
    pub checks: u64,
    /// Those of them that the server did not pass.
    pub failed: u64,
}

/// A server that is to be checked.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Whose it is: its group's name.
    pub upstream: Arc<str>,
    /// What the plan calls it.
    pub server: Arc<str>,
    /// Where it is.
    pub address: SocketAddr,
    /// How it is checked.
    pub definition: Arc<Definition>,
    /// How many results it takes.
    pub thresholds: Thresholds,
    /// Where they are told. Its group is one that is checked.
    pub evidence: Arc<Evidence>,
    /// Where dials are judged, by the group's policy.
    pub dials: Registry,
}

/// What is known of a server by its checks.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its verdict, and what the last check found.
    pub report: Report,
    /// How long ago the last check ended; `None` before the first has.
    pub age: Option<Duration>,
    /// Checks that have ended since it has been in the plan.
    pub checks: u64,
    /// Those of them that it did not pass.
    pub failed: u64,
}

/// One address of two groups is two servers.
type Key = (Arc<str>, SocketAddr);

#[derive(Debug)]
struct Watched {
    checked: Checked,
    subscription: Subscription,
    /// What subscriptions before this one have counted.
    before: Counted,
}

impl Checks {
    /// Nothing is checked yet. At most `in_flight` checks go at once.
    #[must_use]
    pub fn new(in_flight: usize) -> Self {
        let profiles = Arc::<Profiles>::default();
        // Each server says by which dials it is judged; these are nobody's.
        let nobodys = Registry::builder().capacity(1).build();
        let (checker, runner) = Checker::builder(&nobodys)
            .in_flight(in_flight)
            .connector(Way::new(Arc::clone(&profiles)))
            .build();
        Self {
            checker,
            runner: Mutex::new(Some(runner)),
            profiles,
            watch: Mutex::default(),
        }
    }

    /// Makes the checks, on the runtime that polls this, for as long as it is polled. Whoever asks
    /// for it a second time has nothing to do.
    ///
    /// # Cancel safety
    ///
    /// Checks under way are dropped and say nothing, and none is made any more.
    pub async fn run(&self) {
        let runner = {
            let mut runner = self.runner.lock().unwrap_or_else(PoisonError::into_inner);
            runner.take()
        };
        if let Some(runner) = runner {
            runner.run().await;
        }
    }

    /// At most so many go at once from now on.
    pub fn set_in_flight(&self, checks: usize) {
        self.checker.set_in_flight(checks);
    }

    /// How a server is spoken to by TLS in checks: by the settings of its group, with the name that
    /// its certificate must hold. `None` if that is no name.
    #[must_use]
    pub fn tls(&self, tls: &Arc<ClientTls>, host: &str) -> Option<Tls> {
        let name = tls.server_name(host).ok()?;
        let profile = self.profiles.name_of(tls);
        Some(Tls::new(name.to_str()).ok()?.profile(profile))
    }

    /// Checks these from now on. Those that were checked before, with the same name of their group
    /// and the same address, keep their verdict; of those that have gone what they have counted is
    /// kept, as long as their server `is_planned`, told by the names of its group and its own.
    pub fn set(&self, wanted: Vec<Checked>, is_planned: impl Fn(&str, &str) -> bool) {
        let mut watch = self.watch();
        let mut old = std::mem::take(&mut watch.all);
        for checked in wanted {
            let key = (Arc::clone(&checked.upstream), checked.address);
            // A group has each address once; of two the first counts.
            if watch.all.contains_key(&key) {
                continue;
            }
            let known = old.get(&key).filter(|known| known.checked.is_as(&checked));
            if known.is_some()
                && let Some(known) = old.remove(&key)
            {
                watch.all.insert(key, known);
                continue;
            }
            if let Some(made) = self.begin(checked, old.get(&key)) {
                watch.all.insert(key, made);
            }
        }
        let named = watch.all.values().filter_map(Watched::profile);
        self.profiles.retain(&named.collect::<Vec<_>>());
        for (key, gone) in &old {
            let server = &gone.checked.server;
            let new = watch.all.get(key);
            if new.is_none() {
                // What it has said of itself it cannot take back any more.
                gone.checked.evidence.note_weight(key.1, 100);
            }
            if new.is_none_or(|new| new.checked.server != *server) {
                let whose = (Arc::clone(&key.0), Arc::clone(server));
                let left = watch.left.entry(whose).or_default();
                *left = left.with(gone.counted());
            }
        }
        (watch.left).retain(|(upstream, server), _| is_planned(upstream, server));
        drop(watch);
        // The old ones end when all of the new have begun: a check that goes on is never without
        // whoever wants it.
        drop(old);
    }

    /// What is known of the server of that group at that address; `None` if it is not checked.
    #[must_use]
    pub fn seen(&self, upstream: &str, address: SocketAddr) -> Option<Seen> {
        let watch = self.watch();
        let one = watch.all.get(&(Arc::from(upstream), address))?;
        let report = one.subscription.report();
        let now = self.checker.now();
        let Counted { checks, failed } = one.before.with(Counted::of(&report));
        Some(Seen {
            age: (report.last.as_ref()).map(|last| now.saturating_sub(last.at)),
            checks,
            failed,
            report,
        })
    }

    /// The checks of that server of the group, at whatever addresses, since it has been in the plan;
    /// `None` if there are none.
    #[must_use]
    pub fn counted(&self, upstream: &str, server: &str) -> Option<Counted> {
        let watch = self.watch();
        let is_its =
            |one: &&Watched| *one.checked.upstream == *upstream && *one.checked.server == *server;
        let now = watch.all.values().filter(is_its).map(Watched::counted);
        let left = watch.left.get(&(Arc::from(upstream), Arc::from(server)));
        now.chain(left.copied()).reduce(Counted::with)
    }

    /// Tells the evidence of each group how much its servers want, by their own account.
    pub fn tell_weights(&self) {
        for (key, one) in &self.watch().all {
            let percent = one.subscription.weight_percent();
            one.checked.evidence.note_weight(key.1, percent);
        }
    }

    /// Different checks that are made, and those that are under way.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.checker.len(), self.checker.in_flight())
    }

    fn begin(&self, checked: Checked, old: Option<&Watched>) -> Option<Watched> {
        let Checked {
            upstream,
            server,
            address,
            definition,
            thresholds,
            evidence,
            dials,
        } = &checked;
        let before = old.filter(|old| old.checked.server == *server);
        let checker = self.checker.with_dials(dials);
        let subscribed = checker.subscribe(
            *address,
            Arc::clone(definition),
            evidence.checks()?,
            *thresholds,
        );
        match subscribed {
            Ok(subscription) => Some(Watched {
                before: before.map_or_else(Counted::default, Watched::counted),
                subscription,
                checked,
            }),
            Err(error) => {
                tracing::error!(%upstream, server = %address, %error, "cannot be checked");
                None
            }
        }
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checked {
    /// Whether it is checked and judged alike.
    fn is_as(&self, other: &Self) -> bool {
        self.server == other.server
            && self.definition == other.definition
            && self.thresholds == other.thresholds
            && self.evidence == other.evidence
            && self.dials.policy() == other.dials.policy()
    }
}

impl Counted {
    fn of(report: &Report) -> Self {
        Self {
            checks: report.checks,
            failed: report.failed,
        }
    }

    fn with(self, other: Self) -> Self {
        Self {
            checks: self.checks.saturating_add(other.checks),
            failed: self.failed.saturating_add(other.failed),
        }
    }
}

impl Watched {
    fn counted(&self) -> Counted {
        let report = self.subscription.report();
        self.before.with(Counted::of(&report))
    }

    fn profile(&self) -> Option<&str> {
        self.checked.definition.tls().map(Tls::profile_name)
    }
}

#[cfg(test)]
mod tests;
