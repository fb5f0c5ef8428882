//! What calls to a member came to, over the last stretch of time.
//!
//! Counting is one addition to a counter that only grows, in a stripe of the caller's own thread as
//! far as may be: threads that serve one member do not write one line. Nothing is ever set back, so
//! nothing is lost to a race; the window is a difference between what the counters say now and what
//! they said a window ago, and only whoever sweeps looks at it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;
use once_cell::race::OnceBox;

use super::outlier::Counts;
use crate::record::Ticket;

/// What calls to one member came to since it joined.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Made by the first call, so that a group that counts nothing has none.
    stripes: OnceBox<[CachePadded<Stripe>; STRIPES]>,
}

/// Written by the threads that it falls to, read by whoever sweeps. Ordering: `Relaxed`; each is a
/// count and nothing else, and a call that is half counted in one sweep is whole in the next.
/// std's own in the models too.
#[derive(Debug, Default)]
struct Stripe {
    calls: AtomicU64,
    failures: AtomicU64,
    slow: AtomicU64,
}

/// How one call ended, as far as rates go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ended {
    pub(crate) is_failure: bool,
    pub(crate) is_slow: bool,
}

/// What a member's tally said at the ends of the last stretches, oldest first.
#[derive(Debug)]
pub(crate) struct History {
    /// The verdict under which they were counted: what came before another says nothing of it.
    ticket: Ticket,
    marks: VecDeque<(Duration, Counts)>,
}

impl Tally {
    /// Counts one call. Wait-free but for the first, which allocates.
    #[inline]
    pub(crate) fn note(&self, ended: Ended) {
        let stripes = self.stripes.get_or_init(Box::default);
        if let Some(stripe) = stripes.get(own_stripe()) {
            if ended.is_failure {
                stripe.failures.fetch_add(1, Ordering::Relaxed);
            }
            if ended.is_slow {
                stripe.slow.fetch_add(1, Ordering::Relaxed);
            }
            stripe.calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn total(&self) -> Counts {
        let stripes = self.stripes.get().into_iter().flatten();
        stripes.fold(Counts::default(), |sum, stripe| Counts {
            calls: sum.calls + stripe.calls.load(Ordering::Relaxed),
            failures: sum.failures + stripe.failures.load(Ordering::Relaxed),
            slow: sum.slow + stripe.slow.load(Ordering::Relaxed),
        })
    }
}

impl History {
    /// Begins at `now`, when the tally said `total`.
    pub(crate) fn new(ticket: Ticket, now: Duration, total: Counts) -> Self {
        Self {
            ticket,
            marks: VecDeque::from([(now, total)]),
        }
    }

    /// Whether it was counted under that verdict.
    pub(crate) fn is_of(&self, ticket: Ticket) -> bool {
        self.ticket == ticket
    }

    /// What was counted in the `window` before `now`, at which the tally says `total`: of the
    /// stretches that it has whole.
    pub(crate) fn advance(&mut self, now: Duration, total: Counts, window: Duration) -> Counts {
        let begins = now.saturating_sub(window);
        while self.marks.len() > 1 && self.marks.front().is_some_and(|(at, _)| *at < begins) {
            self.marks.pop_front();
        }
        let counted = match self.marks.front() {
            Some((_, then)) => since(total, *then),
            None => Counts::default(),
        };
        self.marks.push_back((now, total));
        counted
    }
}

fn since(now: Counts, then: Counts) -> Counts {
    let calls = now.calls.saturating_sub(then.calls);
    Counts {
        calls,
        // The parts of a call may be counted before the call is.
        failures: now.failures.saturating_sub(then.failures).min(calls),
        slow: now.slow.saturating_sub(then.slow).min(calls),
    }
}

/// The stripe of the thread that calls: by where its own storage is, which no other's is.
#[inline]
fn own_stripe() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    let place = HERE.with(|here| std::ptr::from_ref(here).addr()) as u64;
    (place.wrapping_mul(GOLDEN) >> (64 - STRIPES.trailing_zeros())) as usize
}

/// Stripes of one member: 1 KiB, from its first call.
const STRIPES: usize = 8;
/// The golden ratio's fraction of a whole number's range.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn calls(calls: u64) -> Counts {
        Counts {
            calls,
            ..Counts::default()
        }
    }

    #[test]
    fn the_window_slides_and_forgets_what_lies_before_it() {
        let window = SECOND * 4;
        let mut history = History::new(Ticket::default(), Duration::ZERO, calls(10));
        // A call a second.
        let counted: Vec<_> = (1..=8)
            .map(|n| {
                history
                    .advance(SECOND * n, calls(10 + u64::from(n)), window)
                    .calls
            })
            .collect();
        assert_eq!(counted, [1, 2, 3, 4, 4, 4, 4, 4]);
        // Nobody swept for a while: only the last mark is left.
        assert_eq!(history.advance(SECOND * 60, calls(30), window).calls, 12);
        assert_eq!(history.advance(SECOND * 61, calls(31), window).calls, 1);
    }

    #[test]
    fn every_thread_s_calls_are_counted() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let tally = &tally;
                scope.spawn(move || {
                    for _ in 0..1000 {
                        tally.note(Ended {
                            is_failure: n % 2 == 0,
                            is_slow: n == 0,
                        });
                    }
                });
            }
        });
        let total = tally.total();
        assert_eq!(
            (total.calls, total.failures, total.slow),
            (8000, 4000, 1000)
        );
    }

    #[test]
    fn a_call_that_is_half_counted_is_none() {
        let half = Counts {
            failures: 1,
            ..calls(0)
        };
        assert_eq!(since(half, calls(0)), calls(0));
    }
}
