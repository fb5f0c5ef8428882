//! Verdicts beside a plain count, whatever happens.

use std::collections::HashSet;

use proptest::prelude::*;

use super::world::*;
use crate::check::board::{Job, Step, SubscriberId};
use crate::check::report::Verdict;

/// A subscriber as a plain model: a verdict, and how many speak against it in a row.
#[derive(Clone, Copy, Debug)]
struct Model {
    fall: u8,
    rise: u8,
    verdict: Verdict,
    against: u8,
}

impl Model {
    fn take(&mut self, is_passed: bool) {
        let (changes, next, threshold) = match self.verdict {
            Verdict::Pending => (
                true,
                if is_passed {
                    Verdict::Up
                } else {
                    Verdict::Down
                },
                1,
            ),
            Verdict::Up => (!is_passed, Verdict::Down, self.fall),
            Verdict::Down => (is_passed, Verdict::Up, self.rise),
        };
        self.against = if changes { self.against + 1 } else { 0 };
        if self.against >= threshold {
            self.verdict = next;
            self.against = 0;
        }
    }
}

proptest! {
    /// Subscribers of shared checks come and go, checks pass, fail and are lost; each one's verdict
    /// is what a plain count says, and no check is made for nobody.
    #[test]
    fn every_subscriber_s_verdict_is_what_its_own_count_says(
        in_flight in 1_usize..4,
        calls in prop::collection::vec((0_u8..8, 1_u8..4, 1_u8..4), 1..120),
    ) {
        let mut world = World::new(in_flight);
        let mut known: Vec<(SubscriberId, u8, Model)> = Vec::new();
        let mut flying: Vec<Job> = Vec::new();
        for (call, host, number) in calls {
            match call {
                0 => {
                    let (fall, rise) = (number, 4 - number);
                    let group = world.group();
                    let id = world.subscribe(host, &group, thresholds(fall, rise));
                    let (verdict, against) = (Verdict::Pending, 0);
                    known.push((id, host, Model { fall, rise, verdict, against }));
                }
                1 if !known.is_empty() => {
                    let (id, ..) = known.remove(usize::from(number) % known.len());
                    world.board.unsubscribe(id);
                }
                2..4 => match world.board.poll(world.now) {
                    Some(Step::Begin(job)) => flying.push(job),
                    Some(Step::Drop(turn)) => flying.retain(|job| job.turn != turn),
                    None => {
                        // Short of any lease.
                        let due = world.board.next_due().unwrap_or_default();
                        let is_lease = flying.len() == in_flight;
                        if due > world.now && !is_lease && flying.is_empty() {
                            world.now = due;
                        }
                    }
                },
                _ if !flying.is_empty() => {
                    let job = flying.remove(usize::from(number) % flying.len());
                    let is_passed = call < 6;
                    let finding = if is_passed { passed() } else { failed() };
                    let is_wanted = world.board.handle_finding(job.turn, &finding, world.now);
                    let of = known.iter_mut().filter(|(_, host, _)| address(*host) == job.address);
                    let mut is_known = false;
                    for (_, _, model) in of {
                        is_known = true;
                        if is_wanted {
                            model.take(is_passed);
                        }
                    }
                    prop_assert!(is_known || !is_wanted);
                }
                _ => {}
            }
            for &(id, _, model) in &known {
                prop_assert_eq!(world.verdict(id), model.verdict);
            }
            let hosts: HashSet<u8> = known.iter().map(|(_, host, _)| *host).collect();
            prop_assert_eq!(world.board.len(), hosts.len());
            prop_assert!(world.board.in_flight() <= in_flight);
        }
    }
}
