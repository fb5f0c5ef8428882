//! Probes and their leases; trips that follow each other, and how they are made up for.

use super::*;

#[test]
fn a_probe_is_due_at_the_end_of_the_down_time_and_one_is_admitted_for_each_lease() {
    let down = after(&PROBING, &[FAILED; 3], 0);
    let due = expiry(&PROBING, down);
    assert!((15_001..=16_501).contains(&due), "{due}");
    assert_eq!(step(down, Event::Admit, &at(&PROBING, due - 1)), down);
    assert_eq!(state(&PROBING, down, due), State::ProbeDue);
    let probing = step(down, Event::Admit, &at(&PROBING, due));
    assert_eq!(state(&PROBING, probing, due), State::Probing);
    assert!(is_down(&PROBING, probing, due + 2_500));
    for now in [due, due + 2_500] {
        assert_eq!(step(probing, Event::Admit, &at(&PROBING, now)), probing);
    }
    assert_eq!(state(&PROBING, probing, due + 2_501), State::ProbeDue);
    let again = step(probing, Event::Admit, &at(&PROBING, due + 2_501));
    assert_eq!(state(&PROBING, again, due + 2_501), State::Probing);
    assert_eq!(again.generation(), probing.generation());
}

/// A word on probation, its probe admitted at the tick.
fn on_probation(rules: &Rules) -> (Word, u64) {
    let down = after(rules, &[FAILED; 3], 0);
    let due = expiry(rules, down);
    (step(down, Event::Admit, &at(rules, due)), due)
}

#[test]
fn as_many_probes_as_there_are_permits_share_a_lease() {
    let rules = Rules {
        probes: Some(Probes {
            permits: 2,
            lease: Ticks(2_500),
        }),
        ..CLASSIC
    };
    let (one, due) = on_probation(&rules);
    assert_eq!(state(&rules, one, due), State::ProbeDue);
    let two = step(one, Event::Admit, &at(&rules, due + 5));
    assert_eq!((two.permits(), two.tick()), (2, one.tick()));
    assert_eq!(state(&rules, two, due + 5), State::Probing);
    let first = step(
        two,
        Event::Settle(one.tick(), Settled::Success),
        &at(&rules, due + 9),
    );
    assert_eq!(
        (first.permits(), first.streak(), first.tick()),
        (1, 1, one.tick())
    );
    let second = step(
        first,
        Event::Settle(one.tick(), Settled::Success),
        &at(&rules, due + 9),
    );
    assert_eq!((second.phase(), second.permits()), (Phase::Up, 0));
}

#[test]
fn min_rises_probes_bring_it_up_with_its_trips_remembered() {
    let (probing, due) = on_probation(&PROBING);
    let settle = |word: Word, now| {
        step(
            word,
            Event::Settle(word.tick(), Settled::Success),
            &at(&PROBING, now),
        )
    };
    let one = settle(probing, due + 1);
    assert_eq!(state(&PROBING, one, due + 1), State::ProbeDue);
    let up = settle(step(one, Event::Admit, &at(&PROBING, due + 2)), due + 3);
    assert_eq!(state(&PROBING, up, due + 3), State::Up);
    assert_eq!(up.trips(), 1);
    assert!(!up.is_neutral());
}

#[test]
fn a_failed_probe_takes_it_down_for_twice_as_long_up_to_the_cap() {
    let mut word = after(&PROBING, &[FAILED; 3], 0);
    let mut lengths = Vec::new();
    for _ in 0..9 {
        let due = expiry(&PROBING, word);
        lengths.push(due - word.tick().to_bits() - 1);
        word = step(word, Event::Admit, &at(&PROBING, due));
        let failed = Event::Settle(word.tick(), Settled::Failure);
        word = step(word, failed, &at(&PROBING, due + 1));
        assert_eq!(state(&PROBING, word, due + 1), State::Down);
    }
    for (length, base) in lengths.iter().zip([15_000, 30_000, 60_000]) {
        assert!((base..=base + base / 10).contains(length), "{lengths:?}");
    }
    for length in &lengths[3..] {
        assert!((67_500..=75_000).contains(length), "{lengths:?}");
    }
}

#[test]
fn jitter_differs_between_addresses_and_trips_and_not_between_readers() {
    let length = |salt: u64, trips: u8| {
        let word = after(&PROBING, &[FAILED; 3], 0).with_trips(trips);
        let moment = Moment {
            salt,
            ..at(&PROBING, 0)
        };
        verdict(word, &moment).left
    };
    let salts = [1, 0x9e37_79b9, 0xdead_beef_0000_0000, u64::MAX];
    let different: std::collections::HashSet<_> =
        salts.iter().map(|&salt| length(salt, 1).0).collect();
    assert_eq!(different.len(), salts.len());
    assert_eq!(length(7, 1), length(7, 1));
    assert_ne!(length(7, 2).0, length(7, 1).0 * 2);
}

#[test]
fn a_permit_settles_its_own_lease_and_nothing_else() {
    let (probing, due) = on_probation(&PROBING);
    let moment = at(&PROBING, due + 2_600);
    let again = step(probing, Event::Admit, &moment);
    for settled in [Settled::Success, Settled::Failure, Settled::Nothing] {
        let late = Event::Settle(probing.tick(), settled);
        assert_eq!(step(again, late, &moment), again, "{settled:?}");
    }
    let given_back = step(
        again,
        Event::Settle(again.tick(), Settled::Nothing),
        &moment,
    );
    assert_eq!(state(&PROBING, given_back, due + 2_600), State::ProbeDue);
    assert_eq!(given_back.generation(), again.generation());
}

#[test]
fn one_trip_is_made_up_for_by_each_fail_timeout_that_ends_in_a_success() {
    let mut word = after(&PROBING, &[FAILED, FAILED, FAILED, Success, Success], 0).with_trips(2);
    assert_eq!(state(&PROBING, word, 0), State::Up);
    assert_eq!(step(word, Success, &at(&PROBING, 14_999)), word);
    word = step(word, Success, &at(&PROBING, 15_000));
    assert_eq!(word.trips(), 1);
    // Silence makes up for nothing until it is forgotten altogether.
    assert_eq!(lapsed(word, &at(&PROBING, 15_000 + 150_000)).trips(), 1);
    assert!(lapsed(word, &at(&PROBING, 15_000 + 150_001)).is_neutral());
    word = step(word, Success, &at(&PROBING, 100_000));
    assert!(word.is_neutral());
}

#[test]
fn a_second_trip_before_that_lasts_longer() {
    let up = after(&PROBING, &[FAILED, FAILED, FAILED, Success, Success], 0);
    let again = [FAILED; 3]
        .iter()
        .fold(up, |word, &event| step(word, event, &at(&PROBING, 9)));
    assert_eq!(again.trips(), 2);
    assert!(expiry(&PROBING, again) > 9 + 30_000);
}
