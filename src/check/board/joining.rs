//! Who shares which check and which word: subscribers join both and leave both.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::judging::{Word, at_once};
use super::{Board, Check, CheckId, GRACE, Handle, Start, Subscriber, SubscriberId, Thresholds};
use crate::check::definition::Definition;
use crate::check::standing::Standing;
use crate::endpoint::Endpoint;
use crate::error::PolicyError;
use crate::outcome::Cause;
use crate::registry::Registry;

impl Board {
    pub(in crate::check) fn enter(
        &mut self,
        address: SocketAddr,
        dial: Endpoint,
        definition: Arc<Definition>,
        evidence: &Registry,
        thresholds: Thresholds,
        now: Duration,
    ) -> Result<Handle, PolicyError> {
        let timing = definition.timing();
        let policy = timing.policy(thresholds.fall, thresholds.rise)?;
        let at_once = at_once(&policy)?;
        let word = evidence.endpoint(address).with_policy(policy);
        let at_once = word.with_policy(at_once);
        let heard = definition.kind().agent_field();
        let standing = self.join_word(&word, &at_once, thresholds.start, heard);
        let id = SubscriberId(self.next_id());
        let check = self.join_check(id, address, definition, now);
        let handle = Handle {
            id,
            word: word.clone(),
            standing,
        };
        let subscriber = Subscriber {
            check,
            word,
            at_once,
            dial,
            last: None,
            checks: 0,
            failed: 0,
        };
        self.subscribers.insert(id, subscriber);
        Ok(handle)
    }

    fn join_check(
        &mut self,
        subscriber: SubscriberId,
        address: SocketAddr,
        definition: Arc<Definition>,
        now: Duration,
    ) -> CheckId {
        let key = (address, definition);
        if let Some(&id) = self.ids.get(&key)
            && let Some(check) = self.checks.get_mut(&id)
        {
            check.subscribers.push(subscriber);
            self.schedule.hasten(id, now);
            return id;
        }
        let id = CheckId(self.next_id());
        let lease = key.1.timing().timeout() + GRACE;
        *self.paces.entry(key.1.timing().shortest()).or_default() += 1;
        self.schedule.insert(id, lease, now);
        let check = Check {
            address,
            definition: Arc::clone(&key.1),
            subscribers: vec![subscriber],
        };
        self.checks.insert(id, check);
        self.ids.insert(key, id);
        id
    }

    pub(super) fn leave_check(&mut self, subscriber: SubscriberId, id: CheckId) {
        let Some(check) = self.checks.get_mut(&id) else {
            return;
        };
        check.subscribers.retain(|other| *other != subscriber);
        if !check.subscribers.is_empty() {
            return;
        }
        if let Some(check) = self.checks.remove(&id) {
            let pace = check.definition.timing().shortest();
            if let Some(count) = self.paces.get_mut(&pace) {
                *count -= 1;
                if *count == 0 {
                    self.paces.remove(&pace);
                }
            }
            self.ids.remove(&(check.address, check.definition));
        }
        if let Some(turn) = self.schedule.remove(id) {
            self.flying.remove(&turn);
            self.dropped.push_back(turn);
        }
    }

    fn join_word(
        &mut self,
        word: &Endpoint,
        at_once: &Endpoint,
        start: Start,
        heard: Option<&HeaderName>,
    ) -> Arc<Standing> {
        let known = self.words.entry(word.id()).or_insert_with(|| {
            let is_down = word.status().state.is_down();
            if !is_down && start == Start::NotEligible {
                at_once.record_failure(Cause::Reported);
            }
            Word {
                users: 0,
                is_pending: !is_down,
                start,
                standing: Arc::default(),
                heard: heard.cloned(),
            }
        });
        known.start = start;
        known.is_pending |= known.is_held(word);
        if known.heard.as_ref() != heard {
            known.hear_by(heard.cloned(), word);
        }
        known.users += 1;
        Arc::clone(&known.standing)
    }

    pub(super) fn leave_word(&mut self, word: &Endpoint) {
        let Some(known) = self.words.get_mut(&word.id()) else {
            return;
        };
        known.users = known.users.saturating_sub(1);
        if known.users == 0 {
            self.words.remove(&word.id());
            word.reset();
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}
