//! Whether a history of overlapping calls on one address could have happened one after another.
//!
//! The search is that of Wing and Gong: take any call that no other had ended before, see whether
//! the model could have answered it so, go on with the rest. Places that were searched are
//! remembered as the set of the calls taken and the state they led to. A round ends with nobody
//! calling, so the states in which it may have ended are all that the next round needs to know.

use std::collections::HashSet;

use risefall::State;

use super::model::{Address, Admitted, News, Override, Rules};

/// A call, and its answer where it has one.
#[derive(Clone, Debug)]
pub enum Call {
    /// Refused a record, perhaps: somebody was, meanwhile.
    Fail {
        maybe_refused: bool,
    },
    Success,
    IsDown(bool),
    State(State),
    /// Asked for admission, and was given a permit.
    Probe,
    /// Asked, and was let through.
    Pass,
    /// Asked, and was denied.
    Deny(State),
    /// The end of the probe that the call with this id was given.
    Settle(u64, News),
    Force(Override),
    Release,
    Reset,
}

/// One thread's call, by a clock that all threads share.
#[derive(Clone, Debug)]
pub struct Event {
    /// Also its id: no two calls have the same.
    pub began: u64,
    pub ended: u64,
    pub call: Call,
}

/// One address, and the permits that are out: whose they are and when their leases began.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct World {
    address: Address,
    permits: Vec<(u64, u64)>,
}

/// The states in which an address may be after a round, from those before it. None if the
/// round's answers cannot all be right.
pub fn after_round(
    before: &HashSet<World>,
    events: &[Event],
    rules: &Rules,
    now: u64,
) -> HashSet<World> {
    assert!(events.len() <= 64);
    let all = (0..events.len()).fold(0_u64, |all, i| all | 1 << i);
    let mut after = HashSet::new();
    let mut seen: HashSet<(u64, World)> = before.iter().map(|world| (0, world.clone())).collect();
    let mut open: Vec<_> = seen.iter().cloned().collect();
    while let Some((taken, world)) = open.pop() {
        if taken == all {
            after.insert(world);
            continue;
        }
        let left = || (0..events.len()).filter(|i| taken & 1 << i == 0);
        let first_end = left().map(|i| events[i].ended).min().unwrap();
        for i in left().filter(|&i| events[i].began <= first_end) {
            for next in world.after(&events[i], rules, now) {
                let place = (taken | 1 << i, next);
                if seen.insert(place.clone()) {
                    open.push(place);
                }
            }
        }
    }
    after
}

impl World {
    /// What the call may have left, if its answer is right here.
    fn after(&self, event: &Event, rules: &Rules, now: u64) -> Vec<Self> {
        let mut next = self.clone();
        let address = &mut next.address;
        let state = address.read(rules, now).state;
        let is_right = match event.call {
            Call::Fail { maybe_refused } => {
                let may_be_refused = maybe_refused && address.is_neutral(rules, now);
                address.record(News::Fail, rules, now);
                if may_be_refused {
                    return vec![self.clone(), next];
                }
                true
            }
            Call::Success => {
                address.record(News::Success, rules, now);
                true
            }
            Call::IsDown(is_down) => state.is_down() == is_down,
            Call::State(answer) => state == answer,
            Call::Pass => address.admit(rules, now) == Admitted::Pass,
            Call::Deny(answer) => {
                matches!(address.admit(rules, now), Admitted::Deny(state, _) if state == answer)
            }
            Call::Probe => match address.admit(rules, now) {
                Admitted::Probe(lease) => {
                    next.permits.push((event.began, lease));
                    next.permits.sort_unstable();
                    true
                }
                _ => false,
            },
            Call::Settle(id, news) => {
                let Some(place) = next.permits.iter().position(|&(of, _)| of == id) else {
                    return vec![];
                };
                let (_, lease) = next.permits.remove(place);
                address.settle(lease, news, rules, now);
                true
            }
            Call::Force(to) => {
                address.force(to, rules, now);
                true
            }
            Call::Release => {
                address.release(now);
                true
            }
            Call::Reset => {
                address.reset(rules, now);
                true
            }
        };
        // Having no record is the same as having one with nothing in it.
        next.address = next.address.canonical(rules, now);
        if is_right { vec![next] } else { vec![] }
    }
}
