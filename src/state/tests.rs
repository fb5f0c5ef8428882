mod any_word;
mod apart;
mod counting;
mod probing;

use super::Event::{Failure, Success};
use super::*;
use crate::snapshot::State;
use crate::word::TICK_MASK;

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
