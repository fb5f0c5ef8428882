//! Slots and words that are down are as many, whatever happens.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use risefall::{Member, Outcome, Recovery, State};

use super::world::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    Call(u8, bool),
    Admit(u8, bool),
    Dial(u8, bool),
    Advance(u64),
    Sweep,
    Add(u8),
    Remove(u8),
    Reset(u8),
    Cap(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1u8..7, any::<bool>()).prop_map(|(host, good)| Op::Call(host, good)),
        8 => (1u8..7, any::<bool>()).prop_map(|(host, good)| Op::Admit(host, good)),
        2 => (1u8..7, any::<bool>()).prop_map(|(host, good)| Op::Dial(host, good)),
        3 => (0u64..400_000).prop_map(Op::Advance),
        2 => Just(Op::Sweep),
        2 => (1u8..7).prop_map(Op::Add),
        2 => (1u8..7).prop_map(Op::Remove),
        1 => (1u8..7).prop_map(Op::Reset),
        1 => (0u8..=100).prop_map(Op::Cap),
    ]
}

/// Down by evidence, as the word says: what holds a slot once time has been written down.
fn is_ejected(member: &Member) -> bool {
    let state = member.status().service.state;
    matches!(state, State::Down | State::ProbeDue | State::Probing)
}

proptest! {
    /// Whatever happens: nobody is ejected above the cap of that moment, and the group counts as
    /// ejected just those that are.
    #[test]
    fn slots_are_as_many_as_words_that_are_down(
        ops in prop::collection::vec(op(), 1..120), open in any::<bool>(),
    ) {
        let recovery = if open { Recovery::Open } else { Recovery::PROBE };
        let service = service(recovery).into_builder().max_fails(2).build().unwrap();
        let judged = |percent| policy().service(service.clone()).max_ejected_percent(percent);
        let world = world(5, judged(50));
        // Old handles stay about, as those of requests under way do.
        let mut handles: Vec<Arc<Member>> = Vec::new();
        for op in ops {
            let before = world.group.counts();
            let handle = |host: u8| handles.iter().rev().find(|one| host_of(one) == host).cloned();
            match op {
                Op::Call(host, good) | Op::Admit(host, good) => if let Some(member) = handle(host) {
                    let right = match op {
                        Op::Admit(..) => member.admit().ok(),
                        _ => Some(member.admit_anyway()),
                    };
                    let outcome = if good { Outcome::Success } else { FAILED };
                    right.into_iter().for_each(|right| member.end(right, outcome, MILLI));
                },
                Op::Dial(host, true) => world.dials.add_rise_up(address(host)),
                Op::Dial(host, false) => world.dials.add_fall_down(address(host)),
                Op::Advance(millis) => world.clock.advance(Duration::from_millis(millis)),
                Op::Sweep => drop(world.sweep()),
                Op::Add(host) => world.group.add(address(host), 1),
                Op::Remove(host) => world.group.remove(&address(host)),
                Op::Reset(host) => world.group.reset(&address(host)),
                Op::Cap(percent) => world.group.set_policy(judged(percent).build().unwrap()),
            }
            handles.extend(world.group.members().iter().cloned());
            handles.drain(..handles.len().saturating_sub(40));
            let after = world.group.counts();
            if after.ejected > before.ejected {
                prop_assert!(after.ejected <= before.most_ejected, "{:?} {:?}", op, after);
            }
        }
        let _ = world.sweep();
        let (members, counts) = (world.group.members(), world.group.counts());
        let ejected = members.iter().filter(|one| is_ejected(one)).count();
        prop_assert_eq!(counts.ejected as usize, ejected);
        prop_assert_eq!(counts.members as usize, members.len());
    }
}
