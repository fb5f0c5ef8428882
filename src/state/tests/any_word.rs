//! What holds of any word and any event.

use proptest::prelude::*;

use super::*;
use crate::word::INCARNATION_MASK;

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
        let quick = crate::state::is_down(next, &rules, salt, || tick(now));
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
