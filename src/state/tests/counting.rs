//! Failures and successes in a row, and how long they count.

use super::*;

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
