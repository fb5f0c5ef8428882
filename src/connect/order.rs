//! Which addresses of a target are dialled, and in which order: RFC 8305 §4, with health before
//! preference.

use std::net::SocketAddr;
use std::time::Duration;

use crate::address::Key;
use crate::judge::Standing;
use crate::snapshot::State;

/// An address that may be dialled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Candidate {
    pub(super) address: SocketAddr,
    /// How long a connect usually takes, where that is known.
    pub(super) usual: Option<Duration>,
    /// It was silent lately.
    pub(super) is_suspect: bool,
}

/// The addresses of a target by what is known of them. Each stands in one list.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Arranged {
    /// To be dialled in this order.
    pub(super) good: Vec<Candidate>,
    /// To be dialled after them; empty when there is nothing better, for then they are good.
    pub(super) suspects: Vec<Candidate>,
    /// Due for a probe, as far as one may be had.
    pub(super) due: Vec<Candidate>,
    /// Not to be dialled.
    pub(super) down: Vec<SocketAddr>,
}

/// Arranges the addresses, and leaves each list in the order in which they come. One that comes
/// twice counts once, however it is spelled.
pub(super) fn arrange(standings: impl Iterator<Item = (SocketAddr, Standing)>) -> Arranged {
    let mut arranged = Arranged::default();
    for (address, standing) in standings {
        if arranged.has(address) {
            continue;
        }
        let candidate = Candidate {
            address,
            usual: standing.usual,
            is_suspect: standing.state == State::Suspect,
        };
        match standing.state {
            State::Up | State::ForcedUp => arranged.good.push(candidate),
            State::Suspect => arranged.suspects.push(candidate),
            State::ProbeDue => arranged.due.push(candidate),
            _ => arranged.down.push(address),
        }
    }
    if arranged.good.is_empty() {
        // If all are suspect, none is.
        arranged.good = std::mem::take(&mut arranged.suspects);
    }
    arranged
}

impl Arranged {
    /// Puts what is to be dialled in the order that is best for a target whose addresses are as good
    /// as each other, and came in the resolver's order.
    pub(super) fn prefer(&mut self) {
        self.good = interleaved(far_ones_last(std::mem::take(&mut self.good)));
    }

    fn has(&self, address: SocketAddr) -> bool {
        let candidates = self.good.iter().chain(&self.suspects).chain(&self.due);
        let key = Key::of(&address);
        candidates
            .map(|candidate| candidate.address)
            .chain(self.down.iter().copied())
            .any(|other| Key::of(&other) == key)
    }
}

/// Puts those behind that are known to take more than twice as long as the fastest, the farther
/// the later. The others keep the resolver's order: smaller differences are noise.
fn far_ones_last(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let fastest = candidates
        .iter()
        .filter_map(|candidate| candidate.usual)
        .min();
    let is_far = |candidate: &Candidate| {
        let usual = candidate.usual.zip(fastest);
        usual.is_some_and(|(usual, fastest)| usual > fastest.saturating_mul(2))
    };
    let (mut far, mut near): (Vec<_>, Vec<_>) = candidates.into_iter().partition(is_far);
    far.sort_by_key(|candidate| candidate.usual);
    near.append(&mut far);
    near
}

/// Alternates the families, the first one's first, so that one family without a route costs one
/// attempt and not all (RFC 8305 §4, First Address Family Count 1).
fn interleaved(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let Some(first) = candidates.first() else {
        return candidates;
    };
    let is_v6 = first.address.is_ipv6();
    let mut alternating = Vec::with_capacity(candidates.len());
    let (same, other): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .partition(|candidate| candidate.address.is_ipv6() == is_v6);
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    loop {
        let pair = [same.next(), other.next()];
        if pair == [None, None] {
            return alternating;
        }
        alternating.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn arranged(lines: &[(&str, State, u64)]) -> Arranged {
        arrange(lines.iter().map(|&(text, state, millis)| {
            let usual = (millis > 0).then(|| Duration::from_millis(millis));
            (address(text), Standing { state, usual })
        }))
    }

    /// Arranges `address state usual-ms` lines by preference and gives the lists, each joined by
    /// spaces.
    fn lists(lines: &[(&str, State, u64)]) -> [String; 4] {
        let mut arranged = arranged(lines);
        arranged.prefer();
        let join = |candidates: &[Candidate]| {
            let texts = candidates.iter().map(|one| one.address.to_string());
            texts.collect::<Vec<_>>().join(" ")
        };
        let down: Vec<_> = arranged.down.iter().map(ToString::to_string).collect();
        [
            join(&arranged.good),
            join(&arranged.suspects),
            join(&arranged.due),
            down.join(" "),
        ]
    }

    const A4: &str = "192.0.2.1:80";
    const B4: &str = "192.0.2.2:80";
    const C4: &str = "192.0.2.3:80";
    const A6: &str = "[2001:db8::1]:80";
    const B6: &str = "[2001:db8::2]:80";

    #[test]
    fn families_alternate_and_the_first_keeps_its_place() {
        use State::Up;
        let [good, ..] = lists(&[
            (A6, Up, 0),
            (B6, Up, 0),
            (A4, Up, 0),
            (B4, Up, 0),
            (C4, Up, 0),
        ]);
        assert_eq!(good, [A6, A4, B6, B4, C4].join(" "));
        let [good, ..] = lists(&[(A4, Up, 0), (B4, Up, 0), (A6, Up, 0)]);
        assert_eq!(good, [A4, A6, B4].join(" "));
    }

    #[test]
    fn what_takes_more_than_twice_as_long_goes_behind() {
        use State::Up;
        let [good, ..] = lists(&[(A4, Up, 90), (B4, Up, 30), (C4, Up, 10)]);
        assert_eq!(good, [C4, B4, A4].join(" "));
        let [good, ..] = lists(&[(A4, Up, 20), (B4, Up, 0), (C4, Up, 10)]);
        assert_eq!(
            good,
            [A4, B4, C4].join(" "),
            "noise and the unknown change nothing"
        );
    }

    #[test]
    fn without_preference_the_order_is_the_caller_s() {
        use State::{Suspect, Up};
        let lines = [
            (A4, Up, 90),
            (B4, Suspect, 1),
            (A6, Up, 10),
            (C4, Up, 1),
            (B6, Up, 0),
        ];
        let good = arranged(&lines).good;
        let good: Vec<_> = good.iter().map(|one| one.address.to_string()).collect();
        assert_eq!(good, [A4, A6, C4, B6]);
    }

    #[test]
    fn health_comes_before_preference() {
        let [good, suspects, due, down] = lists(&[
            (A6, State::Suspect, 0),
            (B6, State::Down, 0),
            (A4, State::ProbeDue, 0),
            (B4, State::Up, 0),
            (C4, State::ForcedUp, 0),
        ]);
        assert_eq!([good, suspects], [[B4, C4].join(" "), A6.to_owned()]);
        assert_eq!([due, down], [A4, B6]);
    }

    #[test]
    fn if_all_are_suspect_none_is() {
        let [good, suspects, ..] = lists(&[
            (A4, State::Suspect, 0),
            (B4, State::Suspect, 0),
            (C4, State::Drained, 0),
        ]);
        assert_eq!([good, suspects], [[A4, B4].join(" "), String::new()]);
    }

    #[test]
    fn an_address_that_comes_twice_is_dialled_once() {
        let [good, _, _, down] = lists(&[
            (A4, State::Up, 0),
            (A4, State::Up, 0),
            (B4, State::Down, 0),
            (B4, State::Down, 0),
        ]);
        assert_eq!([good, down], [A4, B4]);
    }
}
