use std::cell::Cell;
use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

thread_local! {
    static COMPARISONS: Cell<u64> = const { Cell::new(0) };
}

/// What the queues do, counted.
pub(super) fn count_comparison() {
    COMPARISONS.set(COMPARISONS.get() + 1);
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn pace(interval: Duration) -> Pace {
    let jitter_percent = 10;
    Pace {
        interval,
        jitter_percent,
    }
}

fn steady(interval: Duration) -> Pace {
    let jitter_percent = 0;
    Pace {
        interval,
        jitter_percent,
    }
}

const LEASE: Duration = Duration::from_secs(3);

fn begun(schedule: &mut Schedule<u32>, now: Duration) -> Vec<(u32, Turn)> {
    std::iter::from_fn(|| schedule.begin(now)).collect()
}

#[test]
fn the_first_is_at_once_and_the_rest_once_a_pace() {
    let mut schedule = Schedule::new(64, 7);
    schedule.insert(1, LEASE, ms(500));
    let mut times = Vec::new();
    while times.len() < 100 {
        let now = schedule.next_due().unwrap();
        let (key, turn) = schedule.begin(now).unwrap();
        assert_eq!(schedule.begin(now), None);
        times.push(now);
        schedule.end(key, turn, pace(ms(1000)), now + ms(20));
    }
    assert_eq!(times[0], ms(500));
    assert!(times[1] - times[0] <= ms(1000));
    for pair in times[1..].windows(2) {
        let between = pair[1] - pair[0];
        assert!(between >= ms(900) && between <= ms(1100), "{between:?}");
    }
    let distinct: HashSet<_> = times[1..]
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    assert!(distinct.len() > 90);
}

#[test]
fn without_jitter_the_pace_is_kept_to_the_tick() {
    let mut schedule = Schedule::new(64, 7);
    schedule.insert(1, LEASE, ms(0));
    for (interval, at) in [(1000, 0), (100, 1000), (5000, 1100), (1, 6100), (1, 6120)] {
        assert_eq!(schedule.next_due(), Some(ms(at)));
        let (key, turn) = schedule.begin(ms(at)).unwrap();
        // It takes 20 ms; the next is never before that.
        schedule.end(key, turn, steady(ms(interval)), ms(at + 20));
    }
    assert_eq!(schedule.next_due(), Some(ms(6140)));
}

#[test]
fn the_same_seed_gives_the_same_times_and_another_gives_others() {
    let times = |seed| {
        let mut schedule = Schedule::new(64, seed);
        schedule.insert(1, LEASE, ms(0));
        let times = (0..20).map(|_| {
            let now = schedule.next_due().unwrap();
            let (key, turn) = schedule.begin(now).unwrap();
            schedule.end(key, turn, pace(ms(1000)), now);
            now
        });
        times.collect::<Vec<_>>()
    };
    assert_eq!(times(7), times(7));
    assert_ne!(times(7), times(8));
}

#[test]
fn those_that_came_together_part() {
    let mut schedule = Schedule::new(64, 7);
    (0..60).for_each(|key| schedule.insert(key, LEASE, ms(0)));
    for (key, turn) in begun(&mut schedule, ms(0)) {
        schedule.end(key, turn, pace(ms(1000)), ms(1));
    }
    for tenth in 1..=10 {
        let due = begun(&mut schedule, ms(100 * tenth));
        assert!((1..=15).contains(&due.len()), "{}", due.len());
        for (key, turn) in due {
            schedule.end(key, turn, steady(ms(2000)), ms(100 * tenth));
        }
    }
}

#[test]
fn who_waits_longest_goes_first_when_there_is_room() {
    let mut schedule = Schedule::new(2, 7);
    for key in 0..6 {
        schedule.insert(key, LEASE, ms(u64::from(key)));
    }
    let mut order = Vec::new();
    let mut flying = begun(&mut schedule, ms(10));
    assert_eq!((flying.len(), schedule.begin(ms(10))), (2, None));
    // Full: there is nothing to do before a lease ends.
    assert_eq!(schedule.next_due(), Some(ms(10) + LEASE));
    while order.len() < 12 {
        let (key, turn) = flying.remove(0);
        order.push(key);
        // It wants to go again at once, and stands behind those who have waited.
        schedule.end(key, turn, steady(ms(0)), ms(10 + u64::from(key)));
        flying.extend(begun(&mut schedule, ms(1000)));
    }
    assert_eq!(order, [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_check_longer_than_its_pace_is_not_doubled() {
    let mut schedule = Schedule::new(64, 7);
    schedule.insert(1, LEASE, ms(0));
    let (key, turn) = schedule.begin(ms(0)).unwrap();
    assert_eq!(schedule.begin(ms(2500)), None);
    schedule.end(key, turn, steady(ms(100)), ms(2500));
    assert_eq!(schedule.next_due(), Some(ms(2500)));
}

#[test]
fn what_is_removed_is_told_if_it_is_under_way_and_takes_no_room() {
    let mut schedule = Schedule::new(1, 7);
    schedule.insert(1, LEASE, ms(0));
    schedule.insert(2, LEASE, ms(0));
    let (key, turn) = schedule.begin(ms(0)).unwrap();
    assert_eq!((key, schedule.begin(ms(0))), (1, None));
    assert_eq!(schedule.remove(1), Some(turn));
    assert_eq!(schedule.remove(1), None);
    let (key, second) = schedule.begin(ms(0)).unwrap();
    assert_eq!(key, 2);
    // It comes again: another turn, which what is late does not end.
    schedule.insert(1, LEASE, ms(1));
    schedule.end(1, turn, steady(ms(0)), ms(1));
    assert!(!schedule.is_flying(1, turn));
    schedule.end(2, second, steady(ms(1000)), ms(1));
    let (key, again) = schedule.begin(ms(1)).unwrap();
    assert_eq!(key, 1);
    schedule.end(1, turn, steady(ms(0)), ms(2));
    assert!(schedule.is_flying(1, again));
    assert_eq!(schedule.remove(2), None);
    assert_eq!(schedule.next_due(), Some(ms(1) + LEASE));
}

#[test]
fn a_lease_ends_by_itself_and_frees_its_place() {
    let mut schedule = Schedule::new(1, 7);
    schedule.insert(1, LEASE, ms(0));
    schedule.insert(2, LEASE, ms(0));
    let (key, turn) = schedule.begin(ms(0)).unwrap();
    assert_eq!(schedule.lapsed(LEASE - ms(1)), None);
    assert_eq!(schedule.lapsed(LEASE), Some((key, turn)));
    schedule.end(key, turn, steady(ms(1000)), LEASE);
    assert_eq!(schedule.lapsed(LEASE), None);
    assert_eq!(schedule.begin(LEASE).unwrap().0, 2);
}

#[test]
fn haste_brings_forward_what_waits_and_repeats_what_is_under_way() {
    let mut schedule = Schedule::new(64, 7);
    schedule.insert(1, LEASE, ms(0));
    let (key, turn) = schedule.begin(ms(0)).unwrap();
    schedule.hasten(1, ms(5));
    assert_eq!(schedule.begin(ms(5)), None);
    schedule.end(key, turn, steady(ms(1000)), ms(10));
    assert_eq!(schedule.next_due(), Some(ms(10)));
    let (key, turn) = schedule.begin(ms(10)).unwrap();
    schedule.end(key, turn, steady(ms(1000)), ms(20));
    schedule.hasten(1, ms(30));
    assert_eq!(schedule.next_due(), Some(ms(30)));
    schedule.hasten(1, ms(40));
    assert_eq!(schedule.next_due(), Some(ms(30)));
    schedule.hasten(9, ms(40));
}

/// What the queues do grows with the logarithm of the number of checks.
#[test]
fn a_thousand_checks_a_second_cost_their_logarithm() {
    let comparisons_per_check = |servers: u32| {
        let mut schedule = Schedule::new(64, 7);
        (0..servers).for_each(|key| schedule.insert(key, LEASE, ms(0)));
        COMPARISONS.set(0);
        let mut checks = 0;
        // Ten seconds, each server once a second.
        while let Some(now) = schedule.next_due().filter(|&now| now < ms(10_000)) {
            while let Some((key, turn)) = schedule.begin(now) {
                checks += 1;
                schedule.end(key, turn, pace(ms(1000)), now);
            }
        }
        let least = u64::from(servers) * 9;
        assert!(
            (least..=least + 3 * u64::from(servers)).contains(&checks),
            "{checks}"
        );
        COMPARISONS.get() / checks
    };
    // Four changes of a queue, each a search down a tree of wide nodes.
    let thousand = comparisons_per_check(1_000);
    assert!(thousand <= 100, "{thousand}");
    let sixteen_thousand = comparisons_per_check(16_000);
    assert!(
        sixteen_thousand <= thousand * 2,
        "{sixteen_thousand} after {thousand}"
    );
}

proptest! {
    /// Whatever comes and goes: never twice at a time, never more than there is room for, first
    /// come first served, and nobody is forgotten.
    #[test]
    fn every_key_is_in_one_place(
        most in 1_usize..5,
        calls in prop::collection::vec((0_u8..6, 0_u32..8, 0_u64..400), 1..200),
    ) {
        let mut schedule = Schedule::new(most, 7);
        let mut wanted: HashSet<u32> = HashSet::new();
        let mut flying: Vec<(u32, Turn)> = Vec::new();
        let mut now = ms(0);
        for (call, key, time) in calls {
            match call {
                0 => {
                    wanted.insert(key);
                    schedule.insert(key, LEASE, now);
                }
                1 => {
                    wanted.remove(&key);
                    let was = flying.iter().position(|(other, _)| *other == key);
                    let was = was.map(|at| flying.remove(at).1);
                    prop_assert_eq!(schedule.remove(key), was);
                }
                2 => now += ms(time),
                3 => {
                    let longest = schedule.waiting.first_key_value().map(|(slot, _)| slot.at);
                    match schedule.begin(now) {
                        Some((key, turn)) => {
                            prop_assert!(longest <= Some(now));
                            prop_assert!(wanted.contains(&key));
                            prop_assert!(flying.iter().all(|(other, _)| *other != key));
                            flying.push((key, turn));
                        }
                        None => prop_assert!(
                            flying.len() == most || longest.is_none_or(|at| at > now)
                        ),
                    }
                }
                4 => {
                    if let Some(at) = flying.iter().position(|(other, _)| *other == key) {
                        let (key, turn) = flying.remove(at);
                        schedule.end(key, turn, pace(ms(time)), now);
                    }
                }
                _ => schedule.hasten(key, now),
            }
            prop_assert!(flying.len() <= most);
            prop_assert_eq!(schedule.flying.len(), flying.len());
            prop_assert_eq!(schedule.waiting.len() + flying.len(), wanted.len());
            prop_assert_eq!(schedule.places.len(), wanted.len());
            for &(key, turn) in &flying {
                prop_assert!(schedule.is_flying(key, turn));
            }
        }
    }
}

#[test]
fn room_that_is_made_or_taken_away_counts_from_the_next_that_begins() {
    let mut schedule = Schedule::new(1, 7);
    for key in 0..4_u32 {
        schedule.insert(key, ms(1000), ms(0));
    }
    let begun = |schedule: &mut Schedule<u32>| {
        std::iter::from_fn(|| schedule.begin(ms(0))).collect::<Vec<_>>()
    };
    let first = begun(&mut schedule);
    assert_eq!(first.len(), 1);
    schedule.set_most(3);
    assert_eq!(schedule.next_due(), Some(ms(0)));
    assert_eq!(begun(&mut schedule).len(), 2);
    schedule.set_most(0);
    schedule.end(first[0].0, first[0].1, steady(ms(1000)), ms(0));
    assert!(begun(&mut schedule).is_empty(), "two are under way still");
}
