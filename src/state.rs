//! The rules: what a word says of an address, and what an event makes of it.
//!
//! Plain arithmetic on the word: whoever holds it (`record.rs`) loads, asks [`step`] and exchanges.
//! The picture of the states is in `docs/states.md`.
//!
//! Time changes no word. What a word means at a moment is what [`lapsed`] makes of it there
//! (`state/reading.rs`), and every rule, for readers and for events, begins with that.

mod reading;

pub(crate) use self::reading::{
    Verdict, is_down, is_up_at_any_time, kept_for, lapsed, lapsed_for, longest, span_code, span_of,
    verdict,
};
use self::reading::{cleared, is_expired, is_leased};
use crate::outcome::Weight;
use crate::word::{Phase, Tick, Ticks, Word};

/// What a policy decides by, in ticks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rules {
    /// At least 1.
    pub(crate) max_fails: u8,
    /// At least 1.
    pub(crate) min_rises: u8,
    pub(crate) fail_timeout: Ticks,
    /// `None`: at expiry everybody may try again.
    pub(crate) probes: Option<Probes>,
    /// At least `fail_timeout`.
    pub(crate) max_fail_timeout: Ticks,
    pub(crate) forget_after: Ticks,
}

/// How an address is tried again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Probes {
    /// From 1 to 7, which is what the word has room for.
    pub(crate) permits: u8,
    pub(crate) lease: Ticks,
}

/// What rules apply, to whom, when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) now: Tick,
    /// The address's keyed hash, from which it gets its own jitter.
    pub(crate) salt: u64,
}

/// What happened to an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    not(any(feature = "tokio", test)),
    expect(dead_code, reason = "only dials are silent and race")
)]
pub(crate) enum Event {
    /// Weighs [`Weight::Count`] or [`Weight::Trip`].
    Failure(Weight),
    Success,
    /// It wants to be left alone for a span of this code.
    RateLimited(u8),
    /// A dial has been silent for longer than usual.
    Silence,
    /// Somebody would race the suspect against another.
    Race,
    /// Somebody would probe it.
    Admit,
    /// The probe under the lease that began at the tick has ended.
    Settle(Tick, Settled),
    /// An operator's word: one of the forced phases.
    Force(Phase),
    /// The operator takes the word back.
    Release,
    /// Forget everything.
    Reset,
    /// Evidence from elsewhere, as it was there; its incarnation means nothing here.
    Restore(Word),
    /// What time has undone is to be written down, for whoever counts words that are down.
    Lapse,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Settled {
    Success,
    Failure,
    RateLimited(u8),
    /// Without a verdict: the permit is given back.
    Nothing,
}

/// What `event` makes of `word`.
///
/// Equal words mean that there is nothing to write. A vacant or claimed word is returned as it is:
/// it is nobody's.
pub(crate) fn step(word: Word, event: Event, moment: &Moment<'_>) -> Word {
    if !word.is_taken() || word.is_neutral() && event == Event::Success {
        return word;
    }
    let now = moment.now.max(word.tick());
    let moment = &Moment { now, ..*moment };
    let current = lapsed(word, moment);
    let next = match event {
        Event::Force(phase) => forced(current, phase, now),
        Event::Release if word.phase().is_forced() => cleared(current).next_generation().at(now),
        Event::Reset => return reset(word, current, now),
        _ if word.phase().is_forced() => return word,
        Event::Failure(weight) => failed(current, weight, moment),
        Event::Success => succeeded(current, moment),
        Event::RateLimited(span) => set_aside(current, span, moment),
        Event::Silence => silent(current, now),
        Event::Race => raced(current, now),
        Event::Admit => admitted(current, moment),
        Event::Settle(lease, settled) => settle(current, lease, settled, moment),
        Event::Restore(other) => restored(current, word.tick(), other, moment),
        Event::Lapse if is_taken_down(word) && !is_taken_down(current) => return current,
        Event::Release | Event::Lapse => return word,
    };
    // What had lapsed is written down only by what changes something.
    if next == current { word } else { next }
}

fn failed(word: Word, weight: Weight, moment: &Moment<'_>) -> Word {
    let Moment { rules, now, .. } = *moment;
    let trips_at_once = weight == Weight::Trip;
    match word.phase() {
        Phase::Up | Phase::Suspect | Phase::Raced => {
            let streak = word.streak().saturating_add(1);
            if trips_at_once || streak >= rules.max_fails {
                return tripped(word, streak.max(rules.max_fails), moment).with_permits(0);
            }
            word.with(word.phase(), streak).at(now)
        }
        Phase::SetAside if trips_at_once => tripped(word, rules.max_fails, moment).with_permits(0),
        Phase::Probing => tripped(word, rules.max_fails, moment),
        Phase::Down | Phase::Rising if is_expired(word, moment) => {
            tripped(word, rules.max_fails, moment)
        }
        Phase::Down => word
            .with(Phase::Down, word.streak().saturating_add(1))
            .at(now),
        Phase::Rising => {
            // A probe's failure stands for a whole run of them; the classic counts from one.
            let streak = rules.probes.map_or(1, |_| rules.max_fails);
            relapsed(word.with(Phase::Down, streak)).at(now)
        }
        _ => word,
    }
}

/// Taken down, and marked as one that was down before.
fn tripped(word: Word, streak: u8, moment: &Moment<'_>) -> Word {
    let trips = match moment.rules.probes {
        Some(_) => word.trips().saturating_add(1),
        None => word.trips(),
    };
    relapsed(word.with(Phase::Down, streak))
        .with_trips(trips)
        .next_generation()
        .at(moment.now)
}

/// Down for every reader, whatever its thresholds: the streak that took it down is not in the word
/// any more. Only a word that is probing has permits, so the mark is kept in their place.
fn relapsed(word: Word) -> Word {
    word.with_permits(1)
}

fn succeeded(word: Word, moment: &Moment<'_>) -> Word {
    let Moment { rules, now, .. } = *moment;
    match word.phase() {
        Phase::Up if word.streak() > 0 => word.with(Phase::Up, 0).at(now),
        // One trip is made up for by each `fail_timeout` that ends in a success: silence makes up
        // for nothing, and heavy traffic not for all at once.
        Phase::Up if word.trips() > 0 && now.since(word.tick()) >= rules.fail_timeout => {
            word.with_trips(word.trips() - 1).at(now)
        }
        Phase::Suspect | Phase::Raced => word.with(Phase::Up, 0).at(now),
        Phase::Down | Phase::Rising | Phase::Probing => {
            let rises = rises(word).saturating_add(1);
            if rises >= rules.min_rises {
                return recovered(word, now);
            }
            match (word.phase(), rules.probes) {
                (Phase::Probing, _) => word.with(Phase::Probing, rises),
                (_, Some(_)) => word.with(Phase::Rising, rises).with_permits(0),
                (_, None) => word.with(Phase::Rising, rises).with_permits(0).at(now),
            }
        }
        _ => word,
    }
}

fn rises(word: Word) -> u8 {
    match word.phase() {
        Phase::Rising | Phase::Probing => word.streak(),
        _ => 0,
    }
}

/// Up, with its trips still remembered.
fn recovered(word: Word, now: Tick) -> Word {
    word.with(Phase::Up, 0)
        .with_permits(0)
        .next_generation()
        .at(now)
}

fn set_aside(word: Word, span: u8, moment: &Moment<'_>) -> Word {
    match word.phase() {
        Phase::Up | Phase::Suspect | Phase::Raced => aside(word, span, moment.now),
        Phase::SetAside => {
            let left = span_of(word.streak()).0 - moment.now.since(word.tick()).0;
            if span_of(span).0 > left {
                word.with(Phase::SetAside, span).at(moment.now)
            } else {
                word
            }
        }
        _ => word,
    }
}

fn aside(word: Word, span: u8, now: Tick) -> Word {
    word.with(Phase::SetAside, span)
        .with_permits(0)
        .next_generation()
        .at(now)
}

fn silent(word: Word, now: Tick) -> Word {
    match word.phase() {
        Phase::Up => word.with(Phase::Suspect, word.streak()).at(now),
        _ => word,
    }
}

fn raced(word: Word, now: Tick) -> Word {
    let is_due = match word.phase() {
        Phase::Suspect => true,
        Phase::Raced => now.since(word.tick()) > RACE_LEASE,
        _ => false,
    };
    if is_due {
        word.with(Phase::Raced, word.streak()).at(now)
    } else {
        word
    }
}

fn admitted(word: Word, moment: &Moment<'_>) -> Word {
    let Moment { rules, now, .. } = *moment;
    let Some(probes) = rules.probes else {
        return word;
    };
    match word.phase() {
        Phase::Down | Phase::Rising if is_expired(word, moment) => word
            .with(Phase::Probing, rises(word))
            .with_permits(1)
            .next_generation()
            .at(now),
        Phase::Probing if word.permits() == 0 || !is_leased(word, moment) => {
            word.with_permits(1).at(now)
        }
        Phase::Probing if word.permits() < probes.permits => word.with_permits(word.permits() + 1),
        _ => word,
    }
}

fn settle(word: Word, lease: Tick, settled: Settled, moment: &Moment<'_>) -> Word {
    if word.phase() != Phase::Probing || word.tick() != lease || word.permits() == 0 {
        return word;
    }
    let given_back = word.with_permits(word.permits() - 1);
    match settled {
        Settled::Nothing => given_back,
        Settled::Failure => tripped(word, moment.rules.max_fails, moment),
        Settled::RateLimited(span) => aside(word, span, moment.now),
        Settled::Success => {
            let rises = word.streak().saturating_add(1);
            if rises >= moment.rules.min_rises {
                return recovered(word, moment.now);
            }
            let rising = given_back.with(Phase::Probing, rises);
            if rising.permits() == 0 {
                rising.at(moment.now)
            } else {
                rising
            }
        }
    }
}

fn forced(word: Word, phase: Phase, now: Tick) -> Word {
    if word.phase() == phase {
        return word;
    }
    word.with(phase, 0)
        .with_permits(0)
        .next_generation()
        .at(now)
}

/// Clears what has lapsed as well: by another handle's policy it may not have.
fn reset(word: Word, current: Word, now: Tick) -> Word {
    let next = cleared(word);
    if next == word {
        return word;
    }
    let is_told = told(current) != told(next);
    let next = if is_told {
        next.next_generation()
    } else {
        next
    };
    next.at(now)
}

/// Takes over evidence from elsewhere, unless what is known here is as new, or it has lapsed.
///
/// A neutral word of the first generation knows nothing: its tick is that of a handle, or of
/// whoever had the record before.
fn restored(word: Word, known: Tick, other: Word, moment: &Moment<'_>) -> Word {
    let age = moment.now.since(other.tick());
    let is_unknown = word.is_neutral() && word.generation() == 0;
    if !is_unknown && age >= moment.now.since(known) {
        return word;
    }
    let next = word
        .with(other.phase(), other.streak())
        .with_trips(other.trips())
        .with_permits(0)
        .at(other.tick());
    if lapsed(next, moment).is_neutral() {
        return word;
    }
    let is_told = told(word) != told(next);
    if is_told {
        next.next_generation()
    } else {
        next
    }
}

/// Down by evidence: not by an operator's word, and not set aside by its own wish.
#[inline]
pub(crate) fn is_taken_down(word: Word) -> bool {
    matches!(word.phase(), Phase::Down | Phase::Rising | Phase::Probing)
}

/// Whether it is not to be used until somebody has written otherwise, or time has: by evidence, or
/// by an operator's word.
pub(crate) fn is_out(word: Word) -> bool {
    is_taken_down(word) || matches!(word.phase(), Phase::ForcedDown | Phase::Drained)
}

/// What is made of a word whose trip may not happen: one failure short of it, so that the next one
/// asks again.
pub(crate) fn spared(word: Word, moment: &Moment<'_>) -> Word {
    let now = moment.now.max(word.tick());
    let current = lapsed(word, &Moment { now, ..*moment });
    match current.phase() {
        Phase::Up | Phase::Suspect | Phase::Raced => current
            .with(current.phase(), moment.rules.max_fails.saturating_sub(1))
            .at(now),
        _ => word,
    }
}

/// The verdicts whose change is a transition. Suspicion is not one: it decides nothing alone.
pub(crate) fn told(word: Word) -> Phase {
    match word.phase() {
        Phase::Suspect | Phase::Raced => Phase::Up,
        Phase::Rising => Phase::Down,
        phase => phase,
    }
}

/// How often callers race a suspect against another address.
const RACE_LEASE: Ticks = Ticks(250);

#[cfg(test)]
mod tests;
