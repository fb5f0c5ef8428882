//! Who joins, leaves and stays.

use std::sync::Arc;

use risefall::State;

use super::world::*;

#[test]
fn who_leaves_frees_its_slot_and_what_comes_late_changes_nothing() {
    let world = world(4, policy());
    let mut told = world.group.subscribe(8);
    let gone = world.member(1);
    world.calls(1, FAILED, 1);
    world.calls(2, FAILED, 1);
    let held = gone.admit_anyway();
    world.group.remove(&address(1));
    let counts = world.group.counts();
    assert_eq!(
        (counts.members, counts.ejected, counts.most_ejected),
        (3, 1, 1)
    );
    gone.end(held, FAILED, MILLI);
    gone.end(gone.admit_anyway(), FAILED, MILLI);
    assert_eq!(world.group.counts().ejected, 1);
    assert!(gone.is_eligible(), "nothing is held against it any more");
    let states: Vec<_> = std::iter::from_fn(|| told.next())
        .map(|one| one.to)
        .collect();
    assert_eq!(states, [State::Down, State::Down, State::Drained]);
    // Back again, with nothing held against it, though the old handle is still about.
    world.group.add(address(1), 1);
    assert_eq!(world.state(1), State::Up);
    assert_eq!(world.group.counts().most_ejected, 2);
    world.calls(1, FAILED, 1);
    assert_eq!(world.group.counts().ejected, 2);
    world.group.remove(&address(1));
    drop(gone);
    let _ = world.sweep();
    world.group.add(address(1), 1);
    assert!(world.member(1).is_eligible());
}

#[test]
fn who_stays_keeps_its_health_through_changes_of_members_weights_and_policies() {
    let world = world(4, policy());
    let mut members = world.group.members();
    assert!(!world.group.refresh(&mut members));
    world.calls(1, FAILED, 1);
    let same = world.member(2);
    world.group.add(address(5), 3);
    assert!(world.group.refresh(&mut members) && !world.group.refresh(&mut members));
    assert_eq!(members.len(), 5);
    assert!(
        Arc::ptr_eq(&same, &world.member(2)),
        "not even the handle changes"
    );
    world.group.set([
        (address(5), 3),
        (address(1), 7),
        (address(1), 9),
        (address(2), 0),
    ]);
    assert_eq!(world.member(1).given_weight(), 7, "the first counts");
    assert_eq!(world.member(2).given_weight(), 1, "nobody weighs nothing");
    assert_eq!(world.eligible(), [5, 2]);
    world
        .group
        .set_policy(policy().max_ejected_percent(100).build().unwrap());
    assert_eq!(world.group.counts().most_ejected, 3);
    assert_eq!(world.state(1), State::Down);
    assert_eq!(world.group.counts().ejected, 1);
}

#[test]
fn a_reset_forgets_what_the_group_holds_against_a_member() {
    let world = world(2, policy());
    world.calls(1, FAILED, 1);
    world.group.reset(&address(1));
    assert_eq!(
        (world.eligible(), world.group.counts().ejected),
        (vec![1, 2], 0)
    );
    world.group.reset(&address(77));
}

#[test]
fn a_group_without_members_chooses_nobody() {
    let world = world(0, policy());
    let members = world.group.members();
    assert!(members.is_empty() && members.choose(1).is_none() && members.admit(1).is_none());
    let _ = world.sweep();
    assert!(!world.group.counts().is_failing_open);
}
