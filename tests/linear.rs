//! Histories of concurrent calls, recorded and checked: whatever threads are told of an address
//! must be what the model tells somebody who does the same calls one after another, each at some
//! moment between its beginning and its end.
//!
//! Three addresses share a registry with room for one to four, so records are evicted and reused
//! all the time; nobody may notice. Time stands still while threads are calling. Quick unless
//! `RISEFALL_LONG` is set, to how many times as long it shall take.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "linear/checker.rs"]
#[allow(unreachable_pub)]
mod checker;
#[allow(dead_code, unreachable_pub, reason = "each test uses its part")]
mod model;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use risefall::{Admission, Cause, ManualClock, Outcome, Permit, Registry, State};

use self::checker::{Call, Event, World, after_round};
use self::model::{News, Override, Probes, Rules, ticks};

const ADDRESSES: usize = 3;
const ROUNDS: usize = 160;
const CALLS: usize = 8;
/// The first face of the die that asks for admission.
const ADMIT: u64 = 53;

fn rules(probes: Option<Probes>) -> Rules {
    Rules {
        id: 0,
        max_fails: 2,
        min_rises: 2,
        // Too short for jitter, which is a tenth at most.
        fail_timeout: 3,
        max_fail_timeout: 9,
        forget_after: 7,
        stall_after: 1,
        probes,
    }
}

fn address(n: usize) -> SocketAddr {
    format!("192.0.2.{n}:80").parse().unwrap()
}

/// Xorshift: what a thread does must not depend on anybody else.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % n
    }
}

/// Where threads wait for each other without going to sleep, so that they leave together.
struct Gate {
    threads: usize,
    arrived: AtomicUsize,
    opened: AtomicUsize,
}

impl Gate {
    /// Meets for the `round`th time. The last to come does `last` and lets the others go.
    fn meet(&self, round: usize, last: impl FnOnce()) {
        let arrived = self.arrived.fetch_add(1, Ordering::SeqCst) + 1;
        if arrived == self.threads * (round + 1) {
            last();
            self.opened.store(round + 1, Ordering::SeqCst);
        }
        let mut looks = 0;
        while self.opened.load(Ordering::SeqCst) <= round {
            looks += 1;
            // At first it waits until there is a core for each, if there are so many.
            if round > 0 && looks % 64 == 0 {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

/// What happened to which address in which round.
type History = Vec<(usize, usize, Event)>;

struct Caller<'a> {
    registry: &'a Registry,
    /// Stamps beginnings and ends.
    stamps: &'a AtomicU64,
    dice: Dice,
    permits: Vec<(usize, u64, Permit)>,
    history: History,
}

impl Caller<'_> {
    fn call(&mut self, round: usize, turn: usize) {
        let registry = self.registry;
        // Most calls go to the address of the hour.
        let n = match self.dice.below(10) {
            0..7 => round / 8 % ADDRESSES,
            any => any as usize % ADDRESSES,
        };
        let at = address(n);
        // Half of them begin a round together, in which something may just have ended.
        let kind = match turn {
            0 if self.dice.below(2) == 0 => ADMIT,
            _ => self.dice.below(100),
        };
        let began = self.stamps.fetch_add(1, Ordering::SeqCst);
        let (n, call) = match kind {
            0..28 => {
                let overflow = registry.overflow();
                registry.add_fall_down(at);
                let maybe_refused = registry.overflow() != overflow;
                (n, Call::Fail { maybe_refused })
            }
            28..37 => {
                registry.add_rise_up(at);
                (n, Call::Success)
            }
            37..45 => (n, Call::IsDown(registry.is_fall_down(&at))),
            45..ADMIT => (n, Call::State(registry.status(&at).state)),
            ADMIT..75 => match registry.try_admit(&at) {
                Admission::Pass => (n, Call::Pass),
                Admission::Deny { state, .. } => (n, Call::Deny(state)),
                Admission::Probe(permit) => {
                    self.permits.push((n, began, permit));
                    (n, Call::Probe)
                }
            },
            75..91 if !self.permits.is_empty() => self.settle(),
            91..92 => {
                registry.force_down(at);
                (n, Call::Force(Override::Down))
            }
            92..95 => {
                registry.release(at);
                (n, Call::Release)
            }
            95..97 => {
                registry.reset(at);
                (n, Call::Reset)
            }
            // Changes nothing that anybody may notice.
            _ => return registry.sweep(),
        };
        let ended = self.stamps.fetch_add(1, Ordering::SeqCst);
        self.history.push((round, n, Event { began, ended, call }));
    }

    fn settle(&mut self) -> (usize, Call) {
        let any = self.dice.below(self.permits.len() as u64) as usize;
        let (n, id, permit) = self.permits.swap_remove(any);
        let outcome = match self.dice.below(4) {
            0 => Outcome::Failed(Cause::Refused),
            1 => Outcome::Cancelled,
            _ => Outcome::Success,
        };
        permit.end(outcome);
        (n, Call::Settle(id, News::of(outcome)))
    }
}

/// Lets threads loose on a registry, and returns the time of each round and what happened.
fn play(rules: &Rules, threads: usize, capacity: usize, seed: u64) -> (Vec<u64>, History) {
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder()
        .policy(rules.policy())
        .capacity(capacity)
        .clock(clock.clone())
        .build();
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut now = 0;
    let times: Vec<u64> = (0..ROUNDS)
        .map(|_| {
            // Onto, across and between the ends of down times, leases and memories.
            now += [0, 0, 1, 3, 4, 4, 5, 7, 10, 20][dice.below(10) as usize];
            now
        })
        .collect();
    let stamps = AtomicU64::new(0);
    let gate = Gate {
        threads,
        arrived: AtomicUsize::new(0),
        opened: AtomicUsize::new(0),
    };
    let play_one = |seed: u64| {
        let mut caller = Caller {
            registry: &registry,
            stamps: &stamps,
            dice: Dice(seed.wrapping_mul(0xd6e8_feb8_6659_fd93) | 1),
            permits: Vec::new(),
            history: Vec::new(),
        };
        let mut time = 0;
        for (round, &next) in times.iter().enumerate() {
            gate.meet(round, || clock.advance(ticks(next - time)));
            time = next;
            for turn in 0..CALLS {
                caller.call(round, turn);
            }
        }
        // Permits that are out stay out as long as anybody calls: a drop would be one more call.
        (caller.history, caller.permits)
    };
    let history = thread::scope(|scope| {
        let callers: Vec<_> = (0..threads as u64)
            .map(|i| {
                let play_one = &play_one;
                scope.spawn(move || play_one(seed * 8 + i + 1))
            })
            .collect();
        let callers: Vec<_> = callers.into_iter().map(|c| c.join().unwrap()).collect();
        callers
            .into_iter()
            .flat_map(|(history, _)| history)
            .collect()
    });
    (times, history)
}

fn check(rules: &Rules, times: &[u64], history: &History) -> Result<(), String> {
    for n in 0..ADDRESSES {
        let mut before = HashSet::from([World::default()]);
        for (round, &now) in times.iter().enumerate() {
            let here = |&&(r, of, _): &&(usize, usize, Event)| (r, of) == (round, n);
            let events: Vec<_> = history
                .iter()
                .filter(here)
                .map(|(.., event)| event.clone())
                .collect();
            let after = after_round(&before, &events, rules, now);
            if after.is_empty() {
                let mut events = events;
                events.sort_by_key(|event| event.began);
                return Err(format!(
                    "address {n}, round {round} at {now}: from {before:#?} no order explains \
                     {events:#?}"
                ));
            }
            before = after;
        }
    }
    Ok(())
}

/// One test, so that the threads of the next do not take the cores from those of this one.
#[test]
fn what_threads_are_told_is_linearizable() {
    let times_as_long = std::env::var("RISEFALL_LONG")
        .map_or(1, |times| times.parse().expect("RISEFALL_LONG is a number"));
    let lease = 4;
    let policies = [
        None,
        Some(Probes { permits: 1, lease }),
        Some(Probes { permits: 2, lease }),
    ];
    for game in 0..GAMES * times_as_long {
        let rules = rules(policies[game % 3]);
        let (threads, capacity) = (2 + game / 3 % 3, 1 + game / 9 % 4);
        let (times, history) = play(&rules, threads, capacity, game as u64 + 1);
        if let Err(fault) = check(&rules, &times, &history) {
            panic!("{threads} threads, room for {capacity}, game {game}: {fault}");
        }
    }
}

const GAMES: usize = 54;

/// Whether some order explains the calls on one address, `(began, ended, call)`, at one moment,
/// after those before it, `(moment, call)`.
fn is_explained(before: &[(u64, Call)], calls: &[(u64, u64, Call)], now: u64) -> bool {
    let rules = rules(Some(Probes {
        permits: 1,
        lease: 4,
    }));
    let mut worlds = HashSet::from([World::default()]);
    for (began, (at, call)) in (FIRST..).zip(before) {
        let event = Event {
            began,
            ended: began,
            call: call.clone(),
        };
        worlds = after_round(&worlds, &[event], &rules, *at);
        assert!(!worlds.is_empty(), "{call:?} at {at}");
    }
    let events: Vec<_> = calls
        .iter()
        .map(|&(began, ended, ref call)| Event {
            began,
            ended,
            call: call.clone(),
        })
        .collect();
    !after_round(&worlds, &events, &rules, now).is_empty()
}

/// The id of the first of the calls before.
const FIRST: u64 = 100;

const FAIL: Call = Call::Fail {
    maybe_refused: false,
};

#[test]
fn a_lost_failure_is_noticed() {
    let two = [(1, 4, FAIL), (2, 3, FAIL)];
    let read = |began, is_down| (began, began + 1, Call::IsDown(is_down));
    let with = |last| [two[0].clone(), two[1].clone(), last];
    assert!(is_explained(&[], &with(read(5, true)), 0));
    assert!(!is_explained(&[], &with(read(5, false)), 0));
    // A reader beside them may come first, or last.
    let beside = |is_down| (2, 9, Call::IsDown(is_down));
    assert!(is_explained(&[], &with(beside(true)), 0));
    assert!(is_explained(&[], &with(beside(false)), 0));
}

#[test]
fn only_a_refused_first_failure_may_be_lost() {
    let maybe = Call::Fail {
        maybe_refused: true,
    };
    let up = (5, 6, Call::State(State::Up));
    let first = [(1, 2, maybe.clone()), (3, 4, FAIL), up.clone()];
    assert!(is_explained(&[], &first, 0));
    let second = [(1, 2, FAIL), (3, 4, maybe), up];
    assert!(!is_explained(&[], &second, 0));
}

#[test]
fn a_stale_read_is_noticed() {
    let read = |began, is_down| (began, began + 1, Call::IsDown(is_down));
    let down = [(0, FAIL)];
    let forward = [(1, 9, FAIL), read(2, false), read(4, true), read(6, true)];
    assert!(is_explained(&down, &forward, 0));
    let back = [(1, 9, FAIL), read(2, false), read(4, true), read(6, false)];
    assert!(!is_explained(&down, &back, 0));
}

#[test]
fn two_probes_at_once_are_noticed() {
    let down = [(0, FAIL), (0, FAIL)];
    let denied = Call::Deny(State::Probing);
    let one = [(1, 4, Call::Probe), (2, 3, denied.clone())];
    assert!(is_explained(&down, &one, 4));
    assert!(!is_explained(&down, &one, 3), "its down time lasts");
    let two = [(1, 4, Call::Probe), (2, 3, Call::Probe)];
    assert!(!is_explained(&down, &two, 4));
    // Unless one was over before the other began.
    let given_back = (2, 5, Call::Settle(1, News::Nothing));
    let in_turn = [(1, 4, Call::Probe), given_back, (3, 6, Call::Probe)];
    assert!(is_explained(&down, &in_turn[..2], 4));
    assert!(is_explained(&down, &in_turn, 4));
}

#[test]
fn passing_while_a_probe_is_due_is_noticed() {
    let down = [(0, FAIL), (0, FAIL)];
    let given_back = (2, 5, Call::Settle(1, News::Nothing));
    let passed = [(1, 2, Call::Probe), given_back, (1, 6, Call::Pass)];
    assert!(!is_explained(&down, &passed, 4));
}

#[test]
fn a_probe_that_ends_after_its_lease_must_change_nothing() {
    let before = |late| {
        vec![
            (0, FAIL),
            (0, FAIL),
            (4, Call::Probe),
            (9, late),
            (9, Call::State(State::Probing)),
        ]
    };
    let failed = (1, 2, Call::Settle(FIRST + 2, News::Fail));
    let reads = |state| (3, 4, Call::State(state));
    let late = before(Call::Probe);
    assert!(is_explained(
        &late,
        &[failed.clone(), reads(State::Probing)],
        9
    ));
    assert!(!is_explained(&late, &[failed, reads(State::Down)], 9));
}

/// Whoever loses the race for a permit that is given back at once may take the next one, or be
/// denied, but never be let through.
#[test]
fn nobody_passes_while_permits_go_back_and_forth() {
    let rules = rules(Some(Probes {
        permits: 1,
        lease: 4,
    }));
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder()
        .policy(rules.policy())
        .clock(clock.clone())
        .build();
    for _ in 0..rules.max_fails {
        registry.add_fall_down(address(0));
    }
    clock.advance(ticks(rules.fail_timeout + 1));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    match registry.try_admit(&address(0)) {
                        Admission::Pass => panic!("passed"),
                        Admission::Probe(permit) => permit.end(Outcome::Cancelled),
                        Admission::Deny { state, .. } => assert_eq!(state, State::Probing),
                    }
                }
            });
        }
    });
}
