//! What may happen, and by which rules: at random.

use std::time::Duration;

use proptest::prelude::*;
use risefall::{Cause, Outcome};

use crate::ADDRESSES;
use crate::model::{Override, POLICIES, Probes, Rules};

/// Longer than any evidence counts, whatever the policy.
const AGES: u64 = 1_100_000;

#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Record(usize, usize, Outcome),
    Admit(usize, usize),
    /// `None`: the permit is dropped.
    EndPermit(usize, Option<Outcome>),
    Begin(usize, usize),
    EndAttempt(usize, Option<Outcome>),
    Force(usize, usize, Override),
    Release(usize, usize),
    Reset(usize, usize),
    Pin(usize),
    Unpin(usize),
    Sweep,
    Advance(u64),
    /// To one of the address's boundaries by some policy: one tick before, on it, one after.
    AdvanceTo(usize, usize, usize, u64),
    /// Takes it down, waits for the end of that, and asks for a probe.
    Probe(usize, usize),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        8 => Just(Outcome::Failed(Cause::Reported)),
        3 => Just(Outcome::Failed(Cause::Refused)),
        2 => Just(Outcome::Failed(Cause::Tls)),
        1 => Just(Outcome::Failed(Cause::Malformed)),
        1 => Just(Outcome::Failed(Cause::Slow)),
        8 => Just(Outcome::Success),
        1 => (0..3_000_u64).prop_map(|ms| Outcome::RateLimited {
            retry_after: Duration::from_millis(ms)
        }),
        1 => Just(Outcome::Cancelled),
        1 => Just(Outcome::LocalFault),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    // Most of it happens to two of them, or little would follow from what went before.
    let n = || prop_oneof![2 => 0..2_usize, 1 => 0..ADDRESSES];
    let h = 0..POLICIES;
    let any = 0..64_usize;
    let ending = || prop::option::weighted(0.8, outcome());
    let forced = prop_oneof![
        Just(Override::Up),
        Just(Override::Down),
        Just(Override::Drained)
    ];
    prop_oneof![
        30 => (h.clone(), n(), outcome()).prop_map(|(h, n, o)| Op::Record(h, n, o)),
        20 => (h.clone(), n()).prop_map(|(h, n)| Op::Admit(h, n)),
        14 => (any.clone(), ending()).prop_map(|(i, o)| Op::EndPermit(i, o)),
        6 => (h.clone(), n()).prop_map(|(h, n)| Op::Begin(h, n)),
        6 => (any.clone(), ending()).prop_map(|(i, o)| Op::EndAttempt(i, o)),
        1 => (h.clone(), n(), forced).prop_map(|(h, n, to)| Op::Force(h, n, to)),
        4 => (h.clone(), n()).prop_map(|(h, n)| Op::Release(h, n)),
        1 => (h.clone(), n()).prop_map(|(h, n)| Op::Reset(h, n)),
        1 => n().prop_map(Op::Pin),
        1 => n().prop_map(Op::Unpin),
        1 => Just(Op::Sweep),
        8 => prop_oneof![6 => 0..4_u64, 6 => 0..60_u64, 1 => Just(AGES)].prop_map(Op::Advance),
        14 => (n(), h.clone(), any, 0..3_u64).prop_map(|(n, h, i, by)| Op::AdvanceTo(n, h, i, by)),
        8 => (h, n()).prop_map(|(h, n)| Op::Probe(h, n)),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let probes = prop::option::weighted(
        0.8,
        (1..=3_u8, 1..30_u64).prop_map(|(permits, lease)| Probes { permits, lease }),
    );
    let thresholds = (1..=4_u8, 1..=3_u8);
    let times = (2..40_u64, 1..12_u64, 0..20_u64, 1..120_u64, 1..20_u64);
    (thresholds, times, probes).prop_map(|((max_fails, min_rises), times, probes)| {
        let (fail_timeout, factor, more, forget_after, stall_after) = times;
        Rules {
            id: 0,
            max_fails,
            min_rises,
            fail_timeout,
            max_fail_timeout: fail_timeout * factor + more,
            forget_after,
            stall_after,
            probes,
        }
    })
}

#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) rules: Vec<Rules>,
    pub(super) capacity: usize,
    pub(super) ops: Vec<Op>,
}

pub(super) fn run() -> impl Strategy<Value = Run> {
    let rules = prop::collection::vec(rules(), 1..=POLICIES);
    let ops = prop::collection::vec(op(), 1..200);
    (rules, 1..=12_usize, ops).prop_map(|(mut rules, capacity, ops)| {
        for (id, rules) in rules.iter_mut().enumerate() {
            rules.id = id;
        }
        Run {
            rules,
            capacity,
            ops,
        }
    })
}
