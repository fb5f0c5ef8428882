//! Slow start, and choices that follow weights.

use std::time::Duration;

use risefall::Outcome;

use super::world::*;

fn shares(world: &World, host: u8, steps: &[(Duration, u32)]) {
    let began = world.group.now();
    for &(after, expected) in steps {
        world.clock.advance(began + after - world.group.now());
        let weight = world.member(host).weight(world.group.now());
        assert_eq!(weight, expected, "{after:?} after its return");
    }
}

#[test]
fn a_member_that_comes_back_by_answers_or_by_dials_warms_up() {
    let steps = [
        (Duration::ZERO, 256),
        (SECOND, 448),
        (SECOND * 2, 640),
        (Duration::from_millis(3_996), 1023),
        (SECOND * 4, 1024),
    ];
    let world = world(4, policy().slow_start(SECOND * 4, 25));
    assert_eq!(world.member(1).weight(world.group.now()), 1024);
    world.calls(1, FAILED, 1);
    world.expire(1);
    let right = world.member(1).admit().unwrap();
    world.member(1).end(right, Outcome::Success, MILLI);
    shares(&world, 1, &steps);
    // A failure meanwhile does not begin it anew.
    world.dials.add_fall_down(address(2));
    world.clock.advance(SECOND);
    world.dials.add_rise_up(address(2));
    shares(&world, 2, &steps);
    // An operator took it out for work on it.
    world.dials.drain(address(3));
    world.clock.advance(SECOND);
    world.dials.release(address(3));
    shares(&world, 3, &steps);
    assert_eq!(world.member(4).weight(world.group.now()), 1024);
}

#[test]
fn a_member_that_time_brings_back_warms_up_from_then_on() {
    let world = world(2, policy().slow_start(SECOND * 4, 25));
    // The dial registry has the classic recovery: at expiry nothing is written.
    world.dials.add_fall_down(address(1));
    world.clock.advance(SECOND * 61);
    assert_eq!(world.member(1).weight(world.group.now()), 448);
    // Nor by what comes next.
    world.dials.add_rise_up(address(1));
    world.clock.advance(SECOND);
    assert_eq!(world.member(1).weight(world.group.now()), 640);
    let _ = world.sweep();
    world.clock.advance(SECOND * 2);
    assert_eq!(world.member(1).weight(world.group.now()), 1024);
}

#[test]
fn who_joins_later_warms_up_and_the_first_do_not() {
    let world = world(2, policy().slow_start(SECOND * 4, 25));
    world.group.add(address(3), 2);
    let weights = || {
        let (members, now) = (world.group.members(), world.group.now());
        members
            .iter()
            .map(|one| one.weight(now))
            .collect::<Vec<_>>()
    };
    assert_eq!(weights(), [1024, 1024, 512]);
    world.group.remove(&address(1));
    world.clock.advance(SECOND * 4);
    world.group.add(address(1), 1);
    assert_eq!(weights(), [1024, 2048, 256]);
}

#[test]
fn choices_follow_weights_and_shares() {
    let world = world(0, policy().slow_start(SECOND * 4, 25));
    world
        .group
        .set([(address(1), 1), (address(2), 3), (address(3), 4)]);
    let chosen = || {
        let members = world.group.members();
        let mut counts = [0; 4];
        for seed in 0..8000 {
            counts[usize::from(host_of(members.choose(seed).unwrap()))] += 1;
        }
        counts
    };
    let near = |counts: [i32; 4], expected: [i32; 4]| {
        for (count, expected) in counts.iter().zip(expected) {
            assert!((count - expected).abs() < 200, "{counts:?}");
        }
    };
    near(chosen(), [0, 1000, 3000, 4000]);
    world.dials.add_fall_down(address(3));
    world.clock.advance(SECOND);
    near(chosen(), [0, 2000, 6000, 0]);
    world.dials.add_rise_up(address(3));
    // A quarter of 4.
    near(chosen(), [0, 1600, 4800, 1600]);
}

#[test]
fn what_those_who_are_down_do_not_take_is_spread_over_all_others() {
    for (weights, up, due) in [
        // They stand at both ends of those who are down.
        (&[1; 64][..], &[1, 64][..], &[2000, 2000][..]),
        (&[1; 64], &[9], &[4000]),
        (&[1; 40], &[1, 2, 20, 40], &[1000, 1000, 1000, 1000]),
        (&[250, 1, 3, 250], &[2, 3], &[1000, 3000]),
    ] {
        let world = world(0, policy());
        let hosts = (1..).map(address);
        world.group.set(hosts.zip(weights.iter().copied()));
        let all = 1..=u8::try_from(weights.len()).unwrap();
        for host in all.filter(|host| !up.contains(host)) {
            world.dials.add_fall_down(address(host));
        }
        let members = world.group.members();
        let mut counts = vec![0_i32; up.len()];
        for seed in 0..4000 {
            let host = host_of(members.choose(seed).unwrap());
            counts[up.iter().position(|&one| one == host).unwrap()] += 1;
        }
        for (count, due) in counts.iter().zip(due) {
            assert!((count - due).abs() < 150, "{up:?} {counts:?}");
        }
    }
}

#[test]
fn who_warms_up_beside_those_who_are_down_has_its_share() {
    let world = world(64, policy().slow_start(SECOND * 4, 25));
    for host in 1..=64 {
        world.dials.add_fall_down(address(host));
    }
    world.clock.advance(SECOND);
    world.dials.add_rise_up(address(1));
    world.clock.advance(SECOND * 4);
    world.dials.add_rise_up(address(64));
    let members = world.group.members();
    let first = |seed: &u64| host_of(members.choose(*seed).unwrap()) == 1;
    let count = (0..5000).filter(first).count();
    // A quarter goes to the one beside a whole.
    assert!((3850..4150).contains(&count), "{count}");
}
