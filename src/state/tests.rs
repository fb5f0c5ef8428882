use std::time::Duration;

use proptest::prelude::*;

use super::Event::{Failure, Success};
use super::*;
use crate::snapshot::State;
use crate::word::{INCARNATION_MASK, TICK_MASK};

const FAILED: Event = Failure(Weight::Count);

const CLASSIC: Rules = Rules {
    max_fails: 3,
    min_rises: 2,
    fail_timeout: Ticks(15_000),
    probes: None,
    max_fail_timeout: Ticks(75_000),
    forget_after: Ticks(150_000),
};

const PROBING: Rules = Rules {
    probes: Some(Probes {
        permits: 1,
        lease: Ticks(2_500),
    }),
    ..CLASSIC
};

fn tick(bits: u64) -> Tick {
    Tick::from_bits(bits)
}

fn at(rules: &Rules, now: u64) -> Moment<'_> {
    Moment {
        rules,
        now: tick(now),
        salt: 0,
    }
}

/// What the events make of a neutral word, all at one moment.
fn after(rules: &Rules, events: &[Event], now: u64) -> Word {
    let neutral = Word::vacant(tick(now)).claimed().taken();
    let moment = at(rules, now);
    events
        .iter()
        .fold(neutral, |word, &event| step(word, event, &moment))
}

fn state(rules: &Rules, word: Word, now: u64) -> State {
    verdict(word, &at(rules, now)).state
}

fn is_down(rules: &Rules, word: Word, now: u64) -> bool {
    let answer = super::is_down(word, rules, 0, || tick(now));
    assert_eq!(answer, verdict(word, &at(rules, now)).state.is_down());
    answer
}

/// When the word's down time is over, as it tells itself.
fn expiry(rules: &Rules, word: Word) -> u64 {
    word.tick().to_bits() + verdict(word, &at(rules, word.tick().to_bits())).left.0
}

#[test]
fn third_failure_in_a_row_takes_it_down() {
    for rules in [CLASSIC, PROBING] {
        assert!(!is_down(&rules, after(&rules, &[FAILED; 2], 100), 100));
        assert!(is_down(&rules, after(&rules, &[FAILED; 3], 100), 100));
        let interrupted = after(&rules, &[FAILED, FAILED, Success, FAILED], 100);
        assert!(!is_down(&rules, interrupted, 100));
    }
}

#[test]
fn a_failure_that_trips_needs_no_other() {
    let down = after(&CLASSIC, &[Failure(Weight::Trip)], 100);
    assert!(is_down(&CLASSIC, down, 100));
}

#[test]
fn second_success_in_a_row_brings_it_up() {
    let one = after(&CLASSIC, &[FAILED, FAILED, FAILED, Success], 100);
    assert!(is_down(&CLASSIC, one, 100));
    let moment = at(&CLASSIC, 100);
    assert!(step(one, Success, &moment).is_neutral());
    let interrupted = step(step(one, FAILED, &moment), Success, &moment);
    assert!(is_down(&CLASSIC, interrupted, 100));
}

#[test]
fn evidence_ends_one_tick_after_the_timeout() {
    let down = after(&CLASSIC, &[FAILED; 3], 0);
    assert!(is_down(&CLASSIC, down, 14_999));
    assert!(is_down(&CLASSIC, down, 15_000));
    assert!(!is_down(&CLASSIC, down, 15_001));
    assert_eq!(verdict(down, &at(&CLASSIC, 15_000)).left, Ticks(1));
    assert_eq!(verdict(down, &at(&CLASSIC, 15_001)), Verdict::UP);
}

#[test]
fn a_stale_record_is_cleared_before_the_next_one_counts() {
    let two = after(&CLASSIC, &[FAILED; 2], 0);
    let in_time = step(two, FAILED, &at(&CLASSIC, 15_000));
    assert!(is_down(&CLASSIC, in_time, 15_000));
    let later = step(two, FAILED, &at(&CLASSIC, 15_001));
    assert_eq!((later.phase(), later.streak()), (Phase::Up, 1));
    let down = after(&CLASSIC, &[FAILED; 3], 0);
    let moment = at(&CLASSIC, 15_001);
    assert!(lapsed(step(down, Success, &moment), &moment).is_neutral());
}

#[test]
fn a_success_too_few_refreshes_the_time_in_open_recovery_only() {
    for (rules, refreshed) in [(CLASSIC, true), (PROBING, false)] {
        let down = after(&rules, &[FAILED; 3], 0);
        let rising = step(down, Success, &at(&rules, 14_000));
        assert_eq!(rising.phase(), Phase::Rising);
        assert_eq!(is_down(&rules, rising, 29_000), refreshed);
        assert!(!is_down(&rules, rising, 29_001));
    }
}

#[test]
fn an_older_clock_sample_never_moves_time_back() {
    let word = after(&CLASSIC, &[FAILED], 50);
    assert_eq!(step(word, FAILED, &at(&CLASSIC, 40)).tick(), tick(50));
}

#[test]
fn ages_survive_the_turn_of_the_tick() {
    let down = after(&CLASSIC, &[FAILED; 3], TICK_MASK);
    assert!(is_down(&CLASSIC, down, 14_999));
    assert!(!is_down(&CLASSIC, down, 15_000));
}

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

#[test]
fn set_aside_lasts_as_long_as_asked_and_hides_no_trip() {
    let span = span_code(Duration::from_secs(10));
    let limited = Event::RateLimited(span);
    let aside = after(&CLASSIC, &[FAILED, limited], 0);
    assert!(is_down(&CLASSIC, aside, 2_500));
    assert!(is_down(&CLASSIC, aside, span_of(span).0));
    assert!(!is_down(&CLASSIC, aside, span_of(span).0 + 1));
    assert!(lapsed(aside, &at(&CLASSIC, span_of(span).0 + 1)).is_neutral());
    // What is on its way from before says nothing new.
    for event in [FAILED, Success] {
        assert_eq!(step(aside, event, &at(&CLASSIC, 9)), aside);
    }
    let shorter = Event::RateLimited(span_code(Duration::from_secs(1)));
    assert_eq!(step(aside, shorter, &at(&CLASSIC, 9)), aside);
    assert_eq!(
        state(
            &CLASSIC,
            after(&CLASSIC, &[FAILED, FAILED, FAILED, limited], 0),
            0
        ),
        State::Down
    );
}

#[test]
fn spans_are_never_shorter_than_asked_and_a_sixteenth_longer_at_most() {
    for millis in [1, 64, 65, 1_000, 9_999, 60_000, 3_600_000] {
        let time = Duration::from_millis(millis);
        let kept = span_of(span_code(time)).time();
        assert!(kept >= time, "{millis}");
        let most = (time + time / 16).max(Duration::from_millis(64)) + Duration::from_millis(4);
        assert!(kept <= most, "{millis}: {kept:?}");
    }
    assert_eq!(span_code(Duration::MAX), u8::MAX);
}

#[test]
fn silence_makes_it_suspect_and_any_answer_clears_that() {
    let suspect = after(&CLASSIC, &[FAILED, Event::Silence], 0);
    assert_eq!(state(&CLASSIC, suspect, 0), State::Suspect);
    assert_eq!(suspect.generation(), 0);
    assert!(!is_down(&CLASSIC, suspect, 0));
    assert!(step(suspect, Success, &at(&CLASSIC, 5)).is_neutral());
    // Failures go on counting.
    let down = after(&CLASSIC, &[FAILED, Event::Silence, FAILED, FAILED], 0);
    assert!(is_down(&CLASSIC, down, 0));
    let down = after(&CLASSIC, &[FAILED; 3], 0);
    assert_eq!(step(down, Event::Silence, &at(&CLASSIC, 0)), down);
}

#[test]
fn a_suspect_is_raced_at_once_and_then_once_a_second() {
    let suspect = after(&CLASSIC, &[Event::Silence], 0);
    let race = |word, now| step(word, Event::Race, &at(&CLASSIC, now));
    let raced = race(suspect, 3);
    assert_ne!(raced, suspect);
    assert_eq!(race(raced, 3 + 250), raced);
    assert_ne!(race(raced, 3 + 251), raced);
}

#[test]
fn an_operators_word_hides_all_evidence_until_it_is_taken_back() {
    for (phase, down) in [
        (Phase::ForcedUp, false),
        (Phase::ForcedDown, true),
        (Phase::Drained, true),
    ] {
        let forced = after(&PROBING, &[FAILED, FAILED, FAILED, Event::Force(phase)], 0);
        for event in [
            FAILED,
            Success,
            Event::Silence,
            Event::Admit,
            Event::RateLimited(9),
        ] {
            assert_eq!(step(forced, event, &at(&PROBING, 99_999)), forced);
        }
        assert_eq!(is_down(&PROBING, forced, TICK_MASK / 2), down);
        let released = step(forced, Event::Release, &at(&PROBING, 99_999));
        assert!(released.is_neutral());
        assert_ne!(released.generation(), forced.generation());
    }
}

#[test]
fn a_lenient_reader_passes_what_a_strict_one_does_not() {
    let strict = Rules {
        max_fails: 1,
        ..CLASSIC
    };
    let lenient = Rules {
        max_fails: 5,
        fail_timeout: Ticks(100),
        ..CLASSIC
    };
    let one = after(&CLASSIC, &[FAILED], 0);
    assert!(is_down(&strict, one, 0));
    assert!(!is_down(&CLASSIC, one, 0));
    let three = after(&CLASSIC, &[FAILED; 3], 0);
    assert!(!is_down(&lenient, three, 0));
    let five = after(&CLASSIC, &[FAILED; 5], 0);
    assert!(is_down(&lenient, five, 100));
    assert!(!is_down(&lenient, five, 101));
    assert!(is_down(&CLASSIC, five, 101));
}

#[test]
fn evidence_from_elsewhere_yields_to_what_is_as_new() {
    let elsewhere = after(&PROBING, &[FAILED; 3], 1_000);
    let restore = |word, now| step(word, Event::Restore(elsewhere), &at(&PROBING, now));
    let unknown = Word::vacant(tick(2_000)).claimed().taken();
    let taken = restore(unknown, 2_000);
    assert_eq!(state(&PROBING, taken, 2_000), State::Down);
    assert_eq!(taken.tick(), tick(1_000));
    assert_eq!(
        restore(taken, 3_000),
        taken,
        "a second time changes nothing"
    );
    let newer = step(taken, Event::Reset, &at(&PROBING, 2_500));
    assert_eq!(
        restore(newer, 3_000),
        newer,
        "an old down does not undo a newer up"
    );
    let old = after(&PROBING, &[FAILED], 500);
    assert_ne!(restore(old, 3_000), old);
    assert_eq!(
        restore(unknown, 400_000),
        unknown,
        "what has run out is nothing"
    );
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(FAILED),
        Just(Failure(Weight::Trip)),
        Just(Success),
        any::<u8>().prop_map(Event::RateLimited),
        Just(Event::Silence),
        Just(Event::Race),
        Just(Event::Admit),
        (0..=TICK_MASK).prop_map(|lease| Event::Settle(tick(lease), Settled::Success)),
        (0..=TICK_MASK).prop_map(|lease| Event::Settle(tick(lease), Settled::Failure)),
        Just(Event::Force(Phase::Drained)),
        Just(Event::Release),
        Just(Event::Reset),
        any::<u64>()
            .prop_map(Word::from_bits)
            .prop_filter("taken", |word| word.is_taken())
            .prop_map(Event::Restore),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let probes = prop::option::of((1u8..=7, 1u64..1 << 24));
    (
        1u8..,
        1u8..,
        1u64..1 << 24,
        0u64..1 << 24,
        1u64..1 << 24,
        probes,
    )
        .prop_map(
            |(max_fails, min_rises, timeout, more, forget, probes)| Rules {
                max_fails,
                min_rises,
                fail_timeout: Ticks(timeout),
                probes: probes.map(|(permits, lease)| Probes {
                    permits,
                    lease: Ticks(lease),
                }),
                max_fail_timeout: Ticks(timeout + more),
                forget_after: Ticks(forget),
            },
        )
}

proptest! {
    #[test]
    fn no_word_and_no_event_panics_or_leaves_the_rules(
        bits in any::<u64>(), now in 0..=TICK_MASK, event in event(), rules in rules(),
        salt in any::<u64>(),
    ) {
        let moment = Moment { rules: &rules, now: tick(now), salt };
        let word = Word::from_bits(bits);
        let next = step(word, event, &moment);
        prop_assert_eq!(next.incarnation(), word.incarnation());
        prop_assert_eq!(next.is_taken(), word.is_taken());
        let (was, is) = (verdict(word, &moment), verdict(next, &moment));
        if next.is_taken() && next.generation() != word.generation() {
            prop_assert_ne!(told(next), Phase::Vacant);
        }
        // A success never takes down what was up; a failure never brings up what was down.
        if event == Success {
            prop_assert!(was.state.is_down() || !is.state.is_down());
        }
        if matches!(event, Failure(_)) {
            prop_assert!(!was.state.is_down() || is.state.is_down());
        }
        if rules.probes.is_none() {
            prop_assert!(is.state != State::ProbeDue && is.state != State::Probing);
        }
        prop_assert!(is.left <= longest(&rules).max(span_of(u8::MAX)).and(Ticks(1)));
        prop_assert!(!is_up_at_any_time(next, &rules) || !is.state.is_down());
        let quick = super::is_down(next, &rules, salt, || tick(now));
        prop_assert_eq!(quick, is.state.is_down(), "{:?}", next);
        prop_assert_eq!(INCARNATION_MASK & next.incarnation(), next.incarnation());
    }

    #[test]
    fn a_change_of_what_is_told_and_only_that_is_a_new_generation(
        events in prop::collection::vec((event(), 0u64..40_000), 1..60), rules in rules(),
    ) {
        let mut now = 0;
        let mut word = Word::vacant(tick(now)).claimed().taken();
        for (event, wait) in events {
            now += wait;
            let moment = Moment { rules: &rules, now: tick(now), salt: 3 };
            let next = step(word, event, &moment);
            let is_new = next.generation() != word.generation();
            let changed = told(lapsed(word, &moment)) != told(next);
            // A trip while it is down already is told as well: a probe has failed.
            let again = told(next) == Phase::Down && next.trips() >= lapsed(word, &moment).trips();
            if next != word {
                prop_assert!(is_new == changed || is_new && again, "{:?} {:?} {:?}", event, word, next);
            }
            word = next;
        }
    }
}
