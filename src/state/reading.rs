//! What a word means at a moment, and what readers are told.

use std::time::Duration;

use super::{Moment, Rules};
use crate::snapshot::State;
use crate::word::{Phase, Tick, Ticks, Word, whole_ticks};

/// What `word` means at the moment: what time alone has undone is gone.
///
/// Keeps the tick. A neutral result is as good as no record.
pub(crate) fn lapsed(word: Word, moment: &Moment<'_>) -> Word {
    let Moment { rules, now, .. } = *moment;
    let age = now.since(word.tick());
    let up = word.with(Phase::Up, 0).with_permits(0);
    let unless = |limit: Ticks, otherwise: Word| if age > limit { otherwise } else { word };
    match word.phase() {
        Phase::Up | Phase::Suspect | Phase::Raced => {
            if age > rules.fail_timeout.max(rules.forget_after) {
                up.with_trips(0)
            } else {
                unless(rules.fail_timeout, up)
            }
        }
        Phase::SetAside => {
            let span = span_of(word.streak());
            if age > span.and(rules.forget_after) {
                up.with_trips(0)
            } else {
                unless(span, up)
            }
        }
        _ => match down_until(word, moment) {
            Some(limit) => unless(limit, cleared(word)),
            None => word,
        },
    }
}

/// The age at which a word that was taken down is up by time alone; `None` of any other.
fn down_until(word: Word, moment: &Moment<'_>) -> Option<Ticks> {
    let rules = moment.rules;
    let tried_for = match (word.phase(), rules.probes) {
        (Phase::Down | Phase::Rising | Phase::Probing, None) => return Some(rules.fail_timeout),
        (Phase::Down | Phase::Rising, Some(_)) => down_for(word, moment),
        (Phase::Probing, Some(probes)) => probes.lease,
        _ => return None,
    };
    Some(tried_for.and(rules.forget_after))
}

/// How long ago time alone has brought up a word that was taken down; `None` if it has not.
pub(crate) fn lapsed_for(word: Word, moment: &Moment<'_>) -> Option<Ticks> {
    let (age, limit) = (moment.now.since(word.tick()), down_until(word, moment)?);
    (age > limit).then(|| Ticks(age.0 - limit.0))
}

/// What a reader is told, and for how long it will be told that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) state: State,
    /// How long until it may be tried; zero when it may, or when only an operator can say.
    pub(crate) left: Ticks,
}

impl Verdict {
    /// Of an address that nothing is held against.
    pub(crate) const UP: Self = Self {
        state: State::Up,
        left: Ticks(0),
    };
}

/// The longest that evidence can matter by these rules.
pub(crate) fn longest(rules: &Rules) -> Ticks {
    let Some(probes) = rules.probes else {
        return rules.fail_timeout;
    };
    rules
        .max_fail_timeout
        .max(probes.lease)
        .and(rules.forget_after)
}

/// How long `word` may matter to somebody by whose policy evidence does for `keep`: that counts from
/// the end of a set-aside.
pub(crate) fn kept_for(word: Word, keep: Ticks) -> Ticks {
    match word.phase() {
        Phase::SetAside => keep.and(span_of(word.streak())),
        _ => keep,
    }
}

/// The verdict on `word`, by the reader's own thresholds.
pub(crate) fn verdict(word: Word, moment: &Moment<'_>) -> Verdict {
    let Moment { rules, now, .. } = *moment;
    let now = now.max(word.tick());
    let moment = &Moment { now, ..*moment };
    let word = lapsed(word, moment);
    let age = now.since(word.tick());
    // The age may equal the limit and the verdict still hold, hence one tick more.
    let left = |limit: Ticks| Ticks((limit.0 + 1).saturating_sub(age.0));
    let now_is = |state| Verdict {
        state,
        left: Ticks(0),
    };
    match word.phase() {
        Phase::Up | Phase::Suspect | Phase::Raced if word.streak() >= rules.max_fails => Verdict {
            state: State::Down,
            left: left(rules.fail_timeout),
        },
        Phase::Suspect | Phase::Raced => now_is(State::Suspect),
        // Too few for this reader, whoever took it down; unless it is down for everybody.
        Phase::Down if word.streak() < rules.max_fails && word.permits() == 0 => Verdict::UP,
        Phase::Rising if word.streak() >= rules.min_rises => Verdict::UP,
        Phase::Down | Phase::Rising if is_expired(word, moment) => now_is(State::ProbeDue),
        Phase::Down | Phase::Rising => Verdict {
            state: State::Down,
            left: left(down_for(word, moment)),
        },
        Phase::Probing => match rules.probes {
            Some(probes) if word.permits() >= probes.permits && is_leased(word, moment) => {
                Verdict {
                    state: State::Probing,
                    left: left(probes.lease),
                }
            }
            Some(_) => now_is(State::ProbeDue),
            // Tried by those who probe; for the others its time is over.
            None => Verdict::UP,
        },
        Phase::SetAside => Verdict {
            state: State::SetAside,
            left: left(span_of(word.streak())),
        },
        Phase::ForcedUp => now_is(State::ForcedUp),
        Phase::ForcedDown => now_is(State::ForcedDown),
        Phase::Drained => now_is(State::Drained),
        Phase::Up | Phase::Vacant | Phase::Claimed => Verdict::UP,
    }
}

/// Whether nothing but an event can take it down: time need not be asked.
#[inline]
pub(crate) fn is_up_at_any_time(word: Word, rules: &Rules) -> bool {
    let is_up = matches!(word.phase(), Phase::Up | Phase::Suspect | Phase::Raced);
    is_up && word.streak() < rules.max_fails
}

/// Whether the address must not be dialled: what the verdict's state says, for those who ask on
/// every dial. The clock is asked only if the answer depends on it.
#[inline]
pub(crate) fn is_down(word: Word, rules: &Rules, salt: u64, now: impl FnOnce() -> Tick) -> bool {
    let is_low = word.streak() < rules.max_fails;
    let lasts = |limit: Ticks| now().since(word.tick()) <= limit;
    let down_time = || {
        let now = word.tick();
        down_for(word, &Moment { rules, now, salt })
    };
    match word.phase() {
        Phase::Vacant | Phase::Claimed | Phase::ForcedUp => false,
        Phase::ForcedDown | Phase::Drained => true,
        Phase::Up | Phase::Suspect | Phase::Raced => !is_low && lasts(rules.fail_timeout),
        Phase::Down => (!is_low || word.permits() > 0) && lasts(down_time()),
        Phase::Rising => word.streak() < rules.min_rises && lasts(down_time()),
        Phase::Probing => rules
            .probes
            .is_some_and(|probes| word.permits() >= probes.permits && lasts(probes.lease)),
        Phase::SetAside => lasts(span_of(word.streak())),
    }
}

/// Whether the down time is over and a probe may be sent. Never of a lapsed word in
/// `Recovery::Open`: there it has lapsed.
pub(super) fn is_expired(word: Word, moment: &Moment<'_>) -> bool {
    moment.now.since(word.tick()) > down_for(word, moment)
}

pub(super) fn is_leased(word: Word, moment: &Moment<'_>) -> bool {
    let lease = moment.rules.probes.map_or(Ticks(0), |probes| probes.lease);
    moment.now.since(word.tick()) <= lease
}

/// How long this trip takes the address down: doubling with each, up to the cap, and a tenth of
/// jitter that is the same for everybody who asks.
fn down_for(word: Word, moment: &Moment<'_>) -> Ticks {
    let rules = moment.rules;
    if rules.probes.is_none() {
        return rules.fail_timeout;
    }
    let (shortest, longest) = (rules.fail_timeout.0, rules.max_fail_timeout.0);
    let base = (shortest << u32::from(word.trips().saturating_sub(1))).min(longest);
    let jitter = (base / 10 * u64::from(mixed(moment.salt, word))) >> 16;
    Ticks(if base < longest {
        (base + jitter).min(longest)
    } else {
        // At the cap as well, or everything would come back at once.
        (base - jitter).max(shortest)
    })
}

/// 16 bits from the address, the process's seed (both in the salt) and the trip.
fn mixed(salt: u64, word: Word) -> u16 {
    let trip = u64::from(word.generation()) << 3 | u64::from(word.trips());
    let mixed =
        (salt ^ trip.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed >> 48) as u16
}

/// The code of the shortest span that is not shorter than `ticks`: four bits of exponent, four of
/// mantissa.
pub(crate) fn span_code(time: Duration) -> u8 {
    let ticks = whole_ticks(time);
    (0..=u8::MAX)
        .find(|&code| span_of(code) >= ticks)
        .unwrap_or(u8::MAX)
}

/// (16 + m) << e ticks: from 64 ms to 67 minutes.
pub(crate) fn span_of(code: u8) -> Ticks {
    Ticks((16 + u64::from(code & 0xf)) << (code >> 4))
}

impl Ticks {
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

/// Nothing is held against it any more.
pub(super) fn cleared(word: Word) -> Word {
    word.with(Phase::Up, 0).with_trips(0).with_permits(0)
}
