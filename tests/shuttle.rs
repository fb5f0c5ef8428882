//! Interleavings at random: more threads and more of the API than loom can go through whole.
//! `.ci/shuttle`.
//!
//! A failing schedule is printed; `shuttle::replay` runs it again.
#![cfg(risefall_shuttle)]
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use risefall::{
    Admission, Cause, Endpoint, Group, GroupPolicy, GroupPolicyBuilder, ManualClock, Member,
    Outcome, Permit, Policy, Recovery, Registry, State,
};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

const LEASE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(4);

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 80))
}

fn registry(capacity: usize, recovery: Recovery) -> (Registry, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let policy = Policy::builder()
        .max_fails(2)
        .min_rises(2)
        .recovery(recovery)
        .build()
        .unwrap();
    let registry = Registry::builder()
        .capacity(capacity)
        .policy(policy)
        .clock(clock.clone())
        .build();
    (registry, clock)
}

fn probing(permits: u8) -> Recovery {
    Recovery::Probe {
        permits,
        lease: LEASE,
    }
}

/// Half of the schedules at random, half by priorities that change at a few points, which finds
/// what needs a rare order of few events. The same ones each time, unless the number is given.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let asked = std::env::var("RISEFALL_SCHEDULES");
    let (schedules, seed) = match asked {
        Ok(text) => (
            text.parse().expect("a number of schedules"),
            u64::from(std::process::id()),
        ),
        Err(_) => (2_000, 1),
    };
    println!("{schedules} schedules from seed {seed}");
    let model = Arc::new(model);
    let random = Arc::clone(&model);
    let scheduler = RandomScheduler::new_from_seed(seed, schedules / 2);
    Runner::new(scheduler, Config::default()).run(move || random());
    let scheduler = PctScheduler::new_from_seed(seed, 3, schedules / 2);
    Runner::new(scheduler, Config::default()).run(move || model());
}

/// Runs all at once and waits for them.
fn together(threads: Vec<Box<dyn FnOnce() + Send>>) {
    let running: Vec<_> = threads.into_iter().map(thread::spawn).collect();
    for thread in running {
        thread.join().unwrap();
    }
}

fn many(
    count: usize,
    work: impl Fn(usize) + Send + Sync + 'static,
) -> Vec<Box<dyn FnOnce() + Send>> {
    let work = Arc::new(work);
    (0..count)
        .map(|n| {
            let work = Arc::clone(&work);
            Box::new(move || work(n)) as Box<dyn FnOnce() + Send>
        })
        .collect()
}

fn take_down(registry: &Registry, address: SocketAddr) {
    (0..2).for_each(|_| registry.add_fall_down(address));
}

fn expire(registry: &Registry, clock: &ManualClock, address: SocketAddr) {
    clock.advance(registry.status(&address).retry_in.unwrap());
    assert_eq!(registry.status(&address).state, State::ProbeDue);
}

/// Everybody asks once; how many got a permit, which they keep.
fn ask_all(registry: &Registry, callers: usize) -> Vec<Permit> {
    let permits = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (kept, asked) = (Arc::clone(&permits), registry.clone());
    together(many(callers, move |_| match asked.try_admit(&address(1)) {
        Admission::Probe(permit) => kept.lock().unwrap().push(permit),
        Admission::Deny { state, .. } => assert_eq!(state, State::Probing),
        Admission::Pass => panic!("nobody passes"),
    }));
    std::mem::take(&mut *permits.lock().unwrap())
}

#[test]
fn the_herd_gets_as_many_permits_as_there_are() {
    for permits in [1, 2] {
        check(move || {
            let (registry, clock) = registry(4, probing(permits));
            take_down(&registry, address(1));
            expire(&registry, &clock, address(1));
            let first = ask_all(&registry, 5);
            assert_eq!(first.len(), usize::from(permits));
            // Lost, and offered again when the lease has ended.
            clock.advance(LEASE + TICK);
            let second = ask_all(&registry, 5);
            assert_eq!(second.len(), usize::from(permits));
            // What was lost turns up beside what is told in time.
            let told = registry.clone();
            let late = first.into_iter().map(|permit| {
                let end = move || permit.end(Outcome::Success);
                Box::new(end) as Box<dyn FnOnce() + Send>
            });
            let in_time = second.into_iter().map(|permit| {
                let end = move || permit.end(Outcome::Failed(Cause::Refused));
                Box::new(end) as Box<dyn FnOnce() + Send>
            });
            together(late.chain(in_time).collect());
            let status = told.status(&address(1));
            assert_eq!((status.state, status.trips), (State::Down, 2));
        });
    }
}

#[test]
fn permits_in_use_never_exceed_the_policy() {
    check(|| {
        let (registry, clock) = registry(4, probing(2));
        take_down(&registry, address(1));
        expire(&registry, &clock, address(1));
        let in_use = Arc::new(AtomicUsize::new(0));
        together(many(5, move |n| match registry.try_admit(&address(1)) {
            Admission::Probe(permit) => {
                assert!(in_use.fetch_add(1, Ordering::SeqCst) < 2);
                thread::yield_now();
                in_use.fetch_sub(1, Ordering::SeqCst);
                match n {
                    0 => permit.end(Outcome::Success),
                    1 => permit.end(Outcome::Cancelled),
                    _ => drop(permit),
                }
            }
            Admission::Deny { .. } => {}
            Admission::Pass => {
                assert_eq!(registry.status(&address(1)).state, State::Up);
            }
        }));
    });
}

#[test]
fn what_is_told_alternates_and_ends_as_it_is() {
    check(|| {
        let (registry, _) = registry(4, Recovery::Open);
        let transitions = registry.subscribe(64);
        let observed = registry.clone();
        together(many(5, move |n| {
            for _ in 0..3 {
                if n < 3 {
                    registry.add_fall_down(address(1));
                } else {
                    registry.add_rise_up(address(1));
                }
            }
        }));
        let mut was = State::Up;
        for transition in transitions {
            assert_eq!(transition.from, was, "{transition:?}");
            assert_ne!(transition.to, was);
            was = transition.to;
        }
        assert_eq!(observed.status(&address(1)).state, was);
    });
}

#[test]
fn records_change_hands_under_everybody() {
    check(|| {
        let (registry, clock) = registry(2, probing(1));
        take_down(&registry, address(1));
        expire(&registry, &clock, address(1));
        let pinned: Endpoint = registry.endpoint(address(9));
        let observed = registry.clone();
        let threads = many(5, move |n| match n {
            // Comes up and may go.
            0 => {
                (0..4).for_each(|_| registry.add_rise_up(address(1)));
                registry.reset(address(1));
            }
            1 => drop(registry.try_admit(&address(1))),
            2 => take_down(&registry, address(2)),
            3 => {
                take_down(&registry, address(3));
                registry.sweep();
            }
            _ => {
                pinned.add_fall_down();
                assert_eq!(pinned.status().failures, 1);
                pinned.attempt().end(Outcome::Success);
                assert_eq!(registry.status(&address(9)).failures, 0);
            }
        });
        together(threads);
        assert!(observed.len() <= 3);
        for host in [2, 3] {
            let status = observed.status(&address(host));
            let is_tracked = status.state == State::Down;
            assert!(is_tracked || observed.overflow() > 0, "{status:?}");
        }
    });
}

#[test]
fn an_operators_word_stands_and_its_end_is_clean() {
    check(|| {
        let (registry, _) = registry(4, Recovery::Open);
        let observed = registry.clone();
        together(many(5, move |n| match n {
            0 => registry.force_down(address(1)),
            1 | 2 => registry.add_fall_down(address(1)),
            3 => registry.add_rise_up(address(1)),
            _ => {
                let rate_limited = Outcome::RateLimited { retry_after: LEASE };
                registry.record(address(1), rate_limited);
            }
        }));
        assert_eq!(observed.status(&address(1)).state, State::ForcedDown);
        observed.release(address(1));
        let status = observed.status(&address(1));
        assert_eq!((status.state, status.failures), (State::Up, 0));
    });
}

#[test]
fn an_import_beside_everything_else_takes_over_only_what_is_newer() {
    check(|| {
        let (old, _) = registry(8, Recovery::Open);
        take_down(&old, address(1));
        take_down(&old, address(2));
        let snapshot = Arc::new(old.export());
        let (registry, clock) = registry(8, Recovery::Open);
        clock.advance(Duration::from_secs(1_000));
        let observed = registry.clone();
        together(many(4, move |n| match n {
            0 | 1 => {
                let imported = registry.import_aged(&snapshot, LEASE).unwrap();
                assert_eq!(imported.refused, 0);
            }
            2 => {
                registry.add_fall_down(address(1));
                (0..2).for_each(|_| registry.add_rise_up(address(1)));
            }
            _ => {
                let exported = registry.export();
                assert!(exported.entries.len() <= 2);
            }
        }));
        // Nobody knew better about the second one.
        assert_eq!(observed.status(&address(2)).state, State::Down);
    });
}

fn group(members: u8, policy: GroupPolicyBuilder) -> (Group, Arc<ManualClock>) {
    let (dials, clock) = registry(4, Recovery::Open);
    let service = Policy::builder()
        .max_fails(1)
        .min_rises(1)
        .recovery(probing(1))
        .build()
        .unwrap();
    let policy = policy.service(service).build().unwrap();
    let group = Group::builder(&dials).policy(policy).capacity(4).build();
    group.set((1..=members).map(|host| (address(host), 1)));
    (group, clock)
}

const REFUSED: Outcome = Outcome::Failed(Cause::Refused);

fn tell(member: &Member, outcome: Outcome) {
    member.end(member.admit_anyway(), outcome, Duration::ZERO);
}

/// Down by evidence: what holds a slot.
fn is_ejected(member: &Member) -> bool {
    let state = member.status().service.state;
    matches!(state, State::Down | State::ProbeDue | State::Probing)
}

#[test]
fn the_cap_holds_while_members_fail_recover_come_and_go() {
    check(|| {
        let (group, clock) = group(6, GroupPolicy::builder().max_ejected_percent(34));
        let members = group.members();
        for member in members.iter().take(2) {
            tell(member, REFUSED);
        }
        clock.advance(Duration::from_secs(70));
        let (racing, list) = (group.clone(), Arc::clone(&members));
        together(many(7, move |n| match n {
            0 | 1 => {
                let member = list.get(n).unwrap();
                if let Ok(right) = member.admit() {
                    member.end(right, Outcome::Success, Duration::ZERO);
                }
            }
            2 => racing.remove(&address(3)),
            3 => {
                let _ = racing.sweep(racing.now());
            }
            4 => {
                // The list is from before anybody left.
                tell(list.get(2).unwrap(), REFUSED);
                let counts = racing.counts();
                assert!(counts.ejected <= 2, "{counts:?}");
            }
            n => tell(list.get(n - 1).unwrap(), REFUSED),
        }));
        let _ = group.sweep(group.now());
        let (left, counts) = (group.members(), group.counts());
        let ejected = left.iter().filter(|member| is_ejected(member)).count();
        assert_eq!(counts.ejected as usize, ejected);
        assert_eq!((counts.members, counts.most_ejected), (5, 1));
    });
}

#[test]
fn one_of_many_that_choose_at_once_is_given_the_probe_and_the_others_go_elsewhere() {
    check(|| {
        let (group, clock) = group(2, GroupPolicy::builder());
        let members = group.members();
        let first = Arc::clone(members.get(0).unwrap());
        tell(&first, REFUSED);
        clock.advance(Duration::from_secs(70));
        let probes = Arc::new(AtomicUsize::new(0));
        let (list, seen) = (Arc::clone(&members), Arc::clone(&probes));
        together(many(5, move |n| {
            let (member, right) = list.admit(n as u64).expect("one is up");
            let in_use = if right.is_probe() {
                seen.fetch_add(1, Ordering::Relaxed)
            } else {
                assert_eq!(member.address(), address(2));
                0
            };
            assert_eq!(in_use, 0, "one at a time");
            // Long enough for the others to choose.
            thread::yield_now();
            if right.is_probe() {
                seen.fetch_sub(1, Ordering::Relaxed);
            }
            drop(right);
        }));
        assert_eq!(first.status().service.state, State::ProbeDue, "given back");
        assert_eq!(group.counts().ejected, 1);
    });
}

/// Checks under random schedules: what is told late, by whom, beside whom. `.ci/shuttle` builds them.
#[cfg(feature = "checks")]
mod checks {
    use risefall::check::{
        Board, Definition, Failure, Finding, Job, Kind, Step, Thresholds, Timing, Verdict, Way,
    };
    use shuttle::sync::Mutex;

    use super::*;

    fn found(is_passed: bool) -> Finding {
        let (result, way) = match is_passed {
            true => (Ok(()), Way::Connected),
            false => (Err(Failure::Closed), Way::Failed(Cause::Reset)),
        };
        Finding {
            result,
            agent: None,
            way,
            took: Duration::ZERO,
        }
    }

    fn definition() -> Arc<Definition> {
        Arc::new(Definition::new(Kind::Connect, None, Timing::default()).unwrap())
    }

    fn thresholds() -> Thresholds {
        let mut thresholds = Thresholds::default();
        (thresholds.fall, thresholds.rise) = (2, 1);
        thresholds
    }

    /// The check that is to be made now, what is to be dropped left out.
    fn begin(board: &Mutex<Board>, now: Duration) -> Option<Job> {
        loop {
            match board.lock().unwrap().poll(now)? {
                Step::Begin(job) => return Some(job),
                Step::Drop(_) => {}
            }
        }
    }

    #[test]
    fn what_is_told_after_the_last_has_left_stains_nobody() {
        check(|| {
            let (dials, _) = registry(4, Recovery::Open);
            let (group, _) = registry(4, Recovery::Open);
            let board = Arc::new(Mutex::new(Board::new(dials.clone(), 1, 7)));
            let subscribe = |board: &mut Board| {
                let now = Duration::ZERO;
                let subscribed =
                    board.subscribe(address(1), definition(), &group, thresholds(), now);
                subscribed.unwrap()
            };
            let id = subscribe(&mut board.lock().unwrap());
            let endpoint = group.endpoint(address(1));
            let (telling, leaving) = (Arc::clone(&board), Arc::clone(&board));
            together(vec![
                Box::new(move || {
                    if let Some(job) = begin(&telling, Duration::ZERO) {
                        thread::yield_now();
                        let mut board = telling.lock().unwrap();
                        board.handle_finding(job.turn, &found(false), Duration::ZERO);
                    }
                }),
                Box::new(move || leaving.lock().unwrap().unsubscribe(id)),
                Box::new(move || {
                    let _ = endpoint.is_fall_down();
                }),
                Box::new(move || dials.add_rise_up(address(1))),
            ]);
            let mut board = board.lock().unwrap();
            let status = group.status(&address(1));
            assert_eq!((status.state, status.failures), (State::Up, 0));
            assert_eq!((board.len(), board.in_flight()), (0, 0));
            // It comes again with nothing held against it, and is checked at once.
            let again = subscribe(&mut board);
            assert_eq!(board.report(again).unwrap().verdict, Verdict::Pending);
            while let Some(Step::Drop(_)) = board.poll(Duration::ZERO) {}
            assert_eq!(board.in_flight(), 1);
        });
    }

    #[test]
    fn who_takes_over_has_the_verdict_whenever_the_other_leaves() {
        check(|| {
            let (dials, _) = registry(4, Recovery::Open);
            let (group, _) = registry(4, Recovery::Open);
            let board = Arc::new(Mutex::new(Board::new(dials, 1, 7)));
            let (joined, now) = (group.clone(), Duration::ZERO);
            let join = move |board: &Mutex<Board>| {
                let mut board = board.lock().unwrap();
                let subscribed =
                    board.subscribe(address(1), definition(), &joined, thresholds(), now);
                subscribed.unwrap()
            };
            let old = join(&board);
            let job = begin(&board, now).unwrap();
            board
                .lock()
                .unwrap()
                .handle_finding(job.turn, &found(true), now);
            let new = Arc::new(std::sync::Mutex::new(None));
            let (told, handed, kept) = (Arc::clone(&board), Arc::clone(&board), Arc::clone(&new));
            together(vec![
                Box::new(move || {
                    let mut later = now;
                    for _ in 0..2 {
                        later += Duration::from_secs(6);
                        if let Some(job) = begin(&told, later) {
                            let mut board = told.lock().unwrap();
                            board.handle_finding(job.turn, &found(false), later);
                        }
                    }
                }),
                Box::new(move || {
                    let new = join(&handed);
                    handed.lock().unwrap().unsubscribe(old);
                    *kept.lock().unwrap() = Some(new);
                }),
            ]);
            let new = new.lock().unwrap().unwrap();
            let board = board.lock().unwrap();
            // The first check was the first verdict, so two failures it takes, and two there were.
            let report = board.report(new).unwrap();
            assert_eq!(report.verdict, Verdict::Down, "{report}");
            assert_eq!((board.len(), board.in_flight()), (1, 0));
        });
    }
}
