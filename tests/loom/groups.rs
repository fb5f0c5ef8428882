//! The cap of a group, and slow start.

use std::sync::Arc;
use std::time::Duration;

use risefall::{
    Cause, Group, GroupPolicy, ManualClock, Member, Outcome, Policy, Recovery, Registry, Right,
    State,
};

use super::world::*;

const LEASE: Duration = Duration::from_secs(10);
const FAILED: Outcome = Outcome::Failed(Cause::BadGateway);

/// Members that one failure ejects and one success of a probe brings back, no more than one at
/// once.
fn group(members: u8, slow_start: Duration) -> (Group, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let dials = Registry::builder()
        .capacity(1)
        .policy(policy(1, 1))
        .clock(clock.clone())
        .build();
    let service = Policy::builder()
        .max_fails(1)
        .min_rises(1)
        .recovery(Recovery::Probe {
            permits: 1,
            lease: LEASE,
        })
        .weight(Cause::BadGateway, risefall::Weight::Count)
        .build()
        .unwrap();
    let policy = GroupPolicy::builder()
        .service(service)
        .max_ejected_percent(0)
        .success_rate(0, 5)
        .failure_percent(0)
        .slow_start(slow_start, 25)
        .build()
        .unwrap();
    let group = Group::builder(&dials).policy(policy).capacity(1).build();
    group.set((1..=members).map(|host| (address(host, 1), 1)));
    (group, clock)
}

fn member(group: &Group, place: usize) -> Arc<Member> {
    Arc::clone(group.members().get(place).unwrap())
}

fn fail(member: &Member) {
    member.end(member.admit_anyway(), FAILED, Duration::ZERO);
}

fn is_down(member: &Member) -> bool {
    member.status().service.state.is_down()
}

/// Two members of which the first is ejected, its time is over, and one request has been let in.
fn probed(slow_start: Duration) -> (Group, Arc<Member>, Right) {
    let (group, clock) = group(2, slow_start);
    let first = member(&group, 0);
    fail(&first);
    clock.advance(Duration::from_secs(70));
    assert_eq!(first.status().service.state, State::ProbeDue);
    let right = first.admit().unwrap();
    (group, first, right)
}

/// Lets the request succeed.
fn succeed(member: &Member, right: Right) {
    member.end(right, Outcome::Success, Duration::ZERO);
}

/// Its request succeeds while it is reset: both would bring it up, and one of them does.
fn recover_beside_reset(slow_start: Duration) -> (Group, Arc<Member>) {
    let (group, first, right) = probed(slow_start);
    let (other, resetting) = (Arc::clone(&first), group.clone());
    let thread = run(move || succeed(&other, right));
    resetting.reset(&address(1, 1));
    thread.join().unwrap();
    (group, first)
}

fn run(work: impl FnOnce() + 'static) -> loom::thread::JoinHandle<()> {
    loom::thread::spawn(work)
}

#[test]
fn of_two_members_that_fail_at_once_one_is_ejected() {
    loom::model(|| {
        let (group, _) = group(2, Duration::ZERO);
        let members = [member(&group, 0), member(&group, 1)];
        let other = Arc::clone(&members[1]);
        let thread = run(move || fail(&other));
        fail(&members[0]);
        thread.join().unwrap();
        let down = members.iter().filter(|member| is_down(member)).count();
        let counts = group.counts();
        assert_eq!((down, counts.ejected, counts.ejections), (1, 1, 1));
        assert_eq!(counts.spared, 1);
    });
}

#[test]
fn two_failures_of_one_member_take_one_slot() {
    loom::model(|| {
        let (group, _) = group(2, Duration::ZERO);
        let first = member(&group, 0);
        let other = Arc::clone(&first);
        let thread = run(move || fail(&other));
        fail(&first);
        thread.join().unwrap();
        let counts = group.counts();
        assert_eq!((counts.ejected, counts.ejections), (1, 1));
        // The one that came second may have been refused while the first had the only slot.
        assert!(is_down(&first));
    });
}

#[test]
fn a_slot_is_given_back_once_whoever_brings_the_member_up() {
    loom::model(|| {
        let (group, first) = recover_beside_reset(Duration::ZERO);
        assert_eq!(group.counts().ejected, 0);
        fail(&first);
        assert_eq!(group.counts().ejected, 1);
    });
}

#[test]
fn a_trip_beside_a_recovery_of_the_same_member_leaves_a_slot_for_a_member_that_is_down() {
    loom::model(|| {
        let (group, first, right) = probed(Duration::ZERO);
        let other = Arc::clone(&first);
        let thread = run(move || succeed(&other, right));
        fail(&first);
        thread.join().unwrap();
        assert_eq!(group.counts().ejected, u32::from(is_down(&first)));
    });
}

#[test]
fn who_leaves_while_it_fails_takes_no_slot_with_it() {
    loom::model(|| {
        let (group, _) = group(3, Duration::ZERO);
        let first = member(&group, 0);
        let thread = run(move || fail(&first));
        group.remove(&address(1, 1));
        thread.join().unwrap();
        assert_eq!(group.counts().ejected, 0);
    });
}

#[test]
fn who_sees_the_next_one_down_sees_the_one_before_it_up() {
    loom::model(|| {
        let (group, first, right) = probed(Duration::ZERO);
        let second = member(&group, 1);
        let (failing, [seen_first, seen_second]) = (
            Arc::clone(&second),
            [Arc::clone(&first), Arc::clone(&second)],
        );
        let trip = run(move || fail(&failing));
        let read = run(move || {
            let is_second_down = !seen_second.is_eligible();
            assert!(!is_second_down || seen_first.is_eligible(), "never both");
        });
        succeed(&first, right);
        trip.join().unwrap();
        read.join().unwrap();
    });
}

#[test]
fn who_sees_it_up_again_weighs_it_from_that_moment() {
    loom::model(|| {
        let (group, first, right) = probed(Duration::from_secs(60));
        let (seen, of) = (Arc::clone(&first), group.clone());
        let read = run(move || {
            if seen.is_eligible() {
                assert_eq!(seen.weight(of.now()), 256);
            }
        });
        succeed(&first, right);
        read.join().unwrap();
        assert_eq!(first.weight(group.now()), 256);
    });
}

#[test]
fn a_late_look_at_the_clock_does_not_end_a_slow_start_early() {
    loom::model(|| {
        // Both note when.
        let (group, first) = recover_beside_reset(Duration::from_secs(60));
        assert_eq!(first.weight(group.now()), 256);
    });
}
