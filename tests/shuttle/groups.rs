//! The cap, and the one probe among many that choose.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use risefall::{
    Cause, Group, GroupPolicy, GroupPolicyBuilder, ManualClock, Member, Outcome, Policy, Recovery,
    State,
};
use shuttle::thread;

use super::world::*;

const REFUSED: Outcome = Outcome::Failed(Cause::Refused);

fn group(members: u8, policy: GroupPolicyBuilder) -> (Group, Arc<ManualClock>) {
    let (dials, clock) = registry(4, Recovery::Open);
    let service = Policy::builder()
        .max_fails(1)
        .min_rises(1)
        .recovery(probing(1))
        .build()
        .unwrap();
    let policy = policy.service(service).build().unwrap();
    let group = Group::builder(&dials).policy(policy).capacity(4).build();
    group.set((1..=members).map(|host| (address(host), 1)));
    (group, clock)
}

fn tell(member: &Member, outcome: Outcome) {
    member.end(member.admit_anyway(), outcome, Duration::ZERO);
}

/// Down by evidence: what holds a slot.
fn is_ejected(member: &Member) -> bool {
    let state = member.status().service.state;
    matches!(state, State::Down | State::ProbeDue | State::Probing)
}

#[test]
fn the_cap_holds_while_members_fail_recover_come_and_go() {
    check(|| {
        let (group, clock) = group(6, GroupPolicy::builder().max_ejected_percent(34));
        let members = group.members();
        for member in members.iter().take(2) {
            tell(member, REFUSED);
        }
        clock.advance(Duration::from_secs(70));
        let (racing, list) = (group.clone(), Arc::clone(&members));
        together(many(7, move |n| match n {
            0 | 1 => {
                let member = list.get(n).unwrap();
                if let Ok(right) = member.admit() {
                    member.end(right, Outcome::Success, Duration::ZERO);
                }
            }
            2 => racing.remove(&address(3)),
            3 => {
                let _ = racing.sweep(racing.now());
            }
            4 => {
                // The list is from before anybody left.
                tell(list.get(2).unwrap(), REFUSED);
                let counts = racing.counts();
                assert!(counts.ejected <= 2, "{counts:?}");
            }
            n => tell(list.get(n - 1).unwrap(), REFUSED),
        }));
        let _ = group.sweep(group.now());
        let (left, counts) = (group.members(), group.counts());
        let ejected = left.iter().filter(|member| is_ejected(member)).count();
        assert_eq!(counts.ejected as usize, ejected);
        assert_eq!((counts.members, counts.most_ejected), (5, 1));
    });
}

#[test]
fn one_of_many_that_choose_at_once_is_given_the_probe_and_the_others_go_elsewhere() {
    check(|| {
        let (group, clock) = group(2, GroupPolicy::builder());
        let members = group.members();
        let first = Arc::clone(members.get(0).unwrap());
        tell(&first, REFUSED);
        clock.advance(Duration::from_secs(70));
        let probes = Arc::new(AtomicUsize::new(0));
        let (list, seen) = (Arc::clone(&members), Arc::clone(&probes));
        together(many(5, move |n| {
            let (member, right) = list.admit(n as u64).expect("one is up");
            let in_use = if right.is_probe() {
                seen.fetch_add(1, Ordering::Relaxed)
            } else {
                assert_eq!(member.address(), address(2));
                0
            };
            assert_eq!(in_use, 0, "one at a time");
            // Long enough for the others to choose.
            thread::yield_now();
            if right.is_probe() {
                seen.fetch_sub(1, Ordering::Relaxed);
            }
            drop(right);
        }));
        assert_eq!(first.status().service.state, State::ProbeDue, "given back");
        assert_eq!(group.counts().ejected, 1);
    });
}
