//! What sets an address apart without counting: a rate limit, silence, an operator's word.

use std::time::Duration;

use super::*;

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
