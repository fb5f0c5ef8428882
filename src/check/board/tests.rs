use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::check::agent::Availability;
use crate::check::definition::{Kind, Timing};
use crate::check::http::{Http, Statuses};
use crate::check::report::{Failure, Verdict, Way};
use crate::clock::ManualClock;
use crate::outcome::Weight;
use crate::policy::{Policy, Recovery};
use crate::snapshot::State;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 80))
}

/// Every 1 000 ms, 100 while changing, 5 000 while down, to the tick.
fn definition() -> Arc<Definition> {
    let timing = Timing::builder()
        .interval(ms(1000))
        .fast_interval(ms(100))
        .down_interval(ms(5000))
        .timeout(ms(500))
        .jitter_percent(0);
    Arc::new(Definition::new(Kind::Connect, None, timing.build().unwrap()).unwrap())
}

fn finding(result: Result<(), Failure>) -> Finding {
    Finding {
        result,
        agent: None,
        way: Way::Connected,
        took: ms(3),
    }
}

fn passed() -> Finding {
    finding(Ok(()))
}

fn failed() -> Finding {
    let expected = Statuses::new([(200, 399)]).unwrap();
    finding(Err(Failure::Status {
        found: 500,
        expected,
    }))
}

fn refused() -> Finding {
    Finding {
        way: Way::Failed(Cause::Refused),
        ..finding(Err(Failure::dial(
            &std::io::ErrorKind::ConnectionRefused.into(),
        )))
    }
}

fn said(words: &str) -> Finding {
    Finding {
        agent: Some(words.parse()),
        ..passed()
    }
}

/// A board on a clock that moves only when told to.
struct World {
    board: Board,
    dials: Registry,
    clock: Arc<ManualClock>,
    now: Duration,
}

impl World {
    fn new(in_flight: usize) -> Self {
        Self::with_dials(in_flight, Policy::default())
    }

    fn with_dials(in_flight: usize, policy: Policy) -> Self {
        let clock = Arc::new(ManualClock::new());
        let builder = Registry::builder().policy(policy);
        let dials = builder.clock(Arc::clone(&clock) as _).build();
        Self {
            board: Board::new(dials.clone(), in_flight, 7),
            dials,
            clock,
            now: Duration::ZERO,
        }
    }

    /// The registry of a group.
    fn group(&self) -> Registry {
        Registry::builder()
            .clock(Arc::clone(&self.clock) as _)
            .build()
    }

    fn subscribe(&mut self, host: u8, group: &Registry, thresholds: Thresholds) -> SubscriberId {
        let (address, now) = (address(host), self.now);
        let subscribed = self
            .board
            .subscribe(address, definition(), group, thresholds, now);
        subscribed.unwrap()
    }

    /// Goes on to when there is something to do, and begins one check.
    fn begin(&mut self) -> Job {
        let due = self.board.next_due().unwrap().max(self.now);
        self.clock.advance(due - self.now);
        self.now = due;
        match self.board.poll(self.now).unwrap() {
            Step::Begin(job) => job,
            Step::Drop(turn) => panic!("{turn:?} is dropped"),
        }
    }

    /// Goes on to the next check and tells what it found. When it began.
    fn check(&mut self, finding: &Finding) -> Duration {
        let job = self.begin();
        assert!(self.board.handle_finding(job.turn, finding, self.now));
        self.now
    }

    fn verdict(&self, id: SubscriberId) -> Verdict {
        self.board.report(id).unwrap().verdict
    }
}

fn thresholds(fall: u8, rise: u8) -> Thresholds {
    Thresholds {
        fall,
        rise,
        start: Start::Eligible,
    }
}

#[test]
fn checks_come_soon_while_a_verdict_changes_and_late_while_it_is_down() {
    let mut world = World::new(4);
    let group = world.group();
    let id = world.subscribe(1, &group, thresholds(3, 2));
    let mut began = Vec::new();
    for finding in [
        passed(), // the first
        passed(),
        failed(), // changing
        passed(), // a slip: back to the usual
        failed(),
        failed(),
        failed(), // down
        failed(),
        passed(), // changing
        failed(), // a slip
        passed(),
        passed(), // up
        passed(),
    ] {
        began.push(world.check(&finding));
    }
    let between: Vec<_> = began
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_millis())
        .collect();
    assert_eq!(
        between,
        [
            1000, 1000, 100, 1000, 100, 100, 5000, 5000, 100, 5000, 100, 1000
        ]
    );
    assert_eq!(world.verdict(id), Verdict::Up);
}

#[test]
fn fall_and_rise_are_what_they_say_and_the_first_check_is_the_first_verdict() {
    let mut world = World::new(4);
    let group = world.group();
    let well = world.subscribe(1, &group, thresholds(3, 2));
    assert_eq!(world.verdict(well), Verdict::Pending);
    for (finding, verdict) in [
        (passed(), Verdict::Up),
        (failed(), Verdict::Up),
        (failed(), Verdict::Up),
        (failed(), Verdict::Down),
        (passed(), Verdict::Down),
        (passed(), Verdict::Up),
    ] {
        world.check(&finding);
        assert_eq!(world.verdict(well), verdict);
        assert_eq!(
            group.endpoint(address(1)).is_fall_down(),
            verdict == Verdict::Down
        );
    }
    world.board.unsubscribe(well);
    let ill = world.subscribe(2, &group, thresholds(3, 2));
    assert!(!group.is_fall_down(&address(2)));
    for (finding, verdict) in [
        (failed(), Verdict::Down),
        (passed(), Verdict::Down),
        (passed(), Verdict::Up),
        (failed(), Verdict::Up),
    ] {
        world.check(&finding);
        assert_eq!(world.verdict(ill), verdict);
    }
}

#[test]
fn who_wants_proof_first_is_not_eligible_until_the_first_check_has_passed() {
    for (finding, verdict) in [(passed(), Verdict::Up), (failed(), Verdict::Down)] {
        let mut world = World::new(4);
        let group = world.group();
        let wanted = Thresholds {
            start: Start::NotEligible,
            ..thresholds(3, 2)
        };
        let id = world.subscribe(1, &group, wanted);
        assert!(group.is_fall_down(&address(1)));
        assert_eq!(world.verdict(id), Verdict::Pending);
        // What is our own fault is no verdict.
        world.check(&finding_of(Failure::Local("no room".to_owned())));
        assert_eq!(world.verdict(id), Verdict::Pending);
        world.check(&finding);
        assert_eq!(world.verdict(id), verdict);
        assert_eq!(group.is_fall_down(&address(1)), verdict == Verdict::Down);
    }
}

#[test]
fn one_that_was_held_before_it_is_subscribed_to_is_judged_by_its_first_check_all_the_same() {
    let mut world = World::new(4);
    let group = world.group();
    let policy = group.policy().clone().into_builder();
    let policy = policy.weight(Cause::Reported, Weight::Trip);
    let holder = group.with_policy(policy.build().unwrap());
    let hold = || {
        holder.record_failure(address(1), Cause::Reported);
        assert!(group.is_fall_down(&address(1)));
    };
    hold();
    let wanted = Thresholds {
        start: Start::NotEligible,
        ..thresholds(3, 2)
    };
    let id = world.subscribe(1, &group, wanted);
    assert_eq!(world.verdict(id), Verdict::Pending);
    world.check(&passed());
    assert_eq!(world.verdict(id), Verdict::Up);
    assert!(!group.is_fall_down(&address(1)));
    // It was away for a moment, and nobody has told the board.
    hold();
    world.check(&passed());
    assert_eq!(world.verdict(id), Verdict::Up);
    // One that has failed since needs all of its passes.
    hold();
    world.check(&failed());
    world.check(&passed());
    assert_eq!(world.verdict(id), Verdict::Down);
}

fn finding_of(failure: Failure) -> Finding {
    Finding {
        way: Way::Unknown,
        ..finding(Err(failure))
    }
}

#[test]
fn the_same_check_is_made_once_and_each_judges_for_itself() {
    let mut world = World::new(4);
    let (one, other) = (world.group(), world.group());
    let strict = world.subscribe(1, &one, thresholds(1, 3));
    let lenient = world.subscribe(1, &other, thresholds(3, 1));
    assert_eq!(world.board.len(), 1);
    let mut verdicts = Vec::new();
    let mut began = Vec::new();
    for finding in [
        passed(),
        failed(),
        failed(),
        failed(),
        passed(),
        passed(),
        passed(),
    ] {
        began.push(world.check(&finding).as_millis());
        verdicts.push((world.verdict(strict), world.verdict(lenient)));
    }
    use Verdict::{Down, Up};
    assert_eq!(
        verdicts,
        [
            (Up, Up),
            (Down, Up),
            (Down, Up),
            (Down, Down),
            (Down, Up),
            (Down, Up),
            (Up, Up)
        ]
    );
    // Soon while one of them is changing, late only when both are down.
    assert_eq!(began, [0, 1000, 1100, 1200, 6200, 6300, 6400]);
    // Another definition is another check.
    let timing = Timing::default();
    let also = Definition::new(Kind::Connect, None, timing).unwrap();
    let now = world.now;
    let also = world
        .board
        .subscribe(address(1), also, &one, thresholds(3, 2), now);
    assert!(also.is_ok());
    assert_eq!(world.board.len(), 2);
}

#[test]
fn one_that_joins_a_shared_check_does_not_wait_for_its_next_turn() {
    let mut world = World::new(4);
    let (one, other) = (world.group(), world.group());
    world.subscribe(1, &one, thresholds(3, 2));
    world.check(&passed());
    let late = world.subscribe(1, &other, thresholds(3, 2));
    assert_eq!(world.check(&passed()), Duration::ZERO);
    assert_eq!(world.verdict(late), Verdict::Up);
}

#[test]
fn a_new_plan_keeps_the_verdict_of_who_stays() {
    let mut world = World::new(4);
    let group = world.group();
    let old = world.subscribe(1, &group, thresholds(2, 2));
    for finding in [passed(), failed(), failed(), said("50%")] {
        world.check(&finding);
    }
    let new = world.subscribe(1, &group, thresholds(2, 3));
    world.board.unsubscribe(old);
    assert_eq!(world.board.report(old), None);
    let report = world.board.report(new).unwrap();
    assert_eq!((report.verdict, report.weight_percent), (Verdict::Down, 50));
    assert_eq!(report.successes, 1);
    // While both were there, one finding counted once; now the new thresholds hold.
    for (finding, verdict) in [(passed(), Verdict::Down), (passed(), Verdict::Up)] {
        world.check(&finding);
        assert_eq!(world.verdict(new), verdict);
    }
    // With the last one goes what was held against it.
    world.check(&failed());
    world.check(&failed());
    assert_eq!(world.verdict(new), Verdict::Down);
    assert_eq!(group.status(&address(1)).failures, 2);
    world.board.unsubscribe(new);
    assert_eq!(group.status(&address(1)).failures, 0);
    assert!(world.board.is_empty());
    assert_eq!(world.board.next_due(), None);
}

#[test]
fn two_with_one_word_count_a_finding_once() {
    let mut world = World::new(4);
    let group = world.group();
    let old = world.subscribe(1, &group, thresholds(3, 2));
    let new = world.subscribe(1, &group, thresholds(2, 2));
    world.check(&passed());
    world.check(&failed());
    assert_eq!(world.board.report(new).unwrap().failures, 1);
    world.check(&failed());
    // Two are what the newer asks for, and too few for whoever reads by three.
    assert_eq!(world.verdict(new), Verdict::Down);
    assert_eq!(world.verdict(old), Verdict::Up);
}

#[test]
fn a_check_that_outlives_its_subscriber_is_dropped_and_tells_nobody() {
    let mut world = World::new(1);
    let group = world.group();
    let first = world.subscribe(1, &group, thresholds(1, 1));
    let job = world.begin();
    world.subscribe(2, &group, thresholds(1, 1));
    assert_eq!(world.board.poll(world.now), None);
    world.board.unsubscribe(first);
    assert_eq!(world.board.next_due(), Some(Duration::ZERO));
    assert_eq!(world.board.poll(world.now), Some(Step::Drop(job.turn)));
    // Its place is free, and the same server again is another check.
    let again = world.subscribe(1, &group, thresholds(1, 1));
    assert_eq!(world.begin().address, address(2));
    assert!(!world.board.handle_finding(job.turn, &refused(), world.now));
    assert_eq!(world.verdict(again), Verdict::Pending);
    assert_eq!(world.dials.status(&address(1)).failures, 0);
    assert_eq!(world.board.in_flight(), 1);
}

#[test]
fn one_that_nobody_tells_of_blames_nobody_and_gives_its_place_back() {
    let mut world = World::new(1);
    let group = world.group();
    let id = world.subscribe(1, &group, thresholds(1, 1));
    world.subscribe(2, &group, thresholds(1, 1));
    let job = world.begin();
    world.now += ms(500) + GRACE;
    assert_eq!(world.board.next_due(), Some(world.now));
    assert_eq!(world.board.poll(world.now), Some(Step::Drop(job.turn)));
    assert_eq!(world.verdict(id), Verdict::Pending);
    assert!(!world.board.handle_finding(job.turn, &failed(), world.now));
    assert_eq!(world.begin().address, address(2));
}

#[test]
fn a_check_clears_its_own_word_alone() {
    let mut world = World::new(4);
    let group = world.group();
    let id = world.subscribe(1, &group, thresholds(2, 1));
    world.dials.add_fall_down(address(1));
    for _ in 0..9 {
        world.check(&passed());
    }
    // Failures in a row that clients met are theirs.
    assert_eq!(world.dials.status(&address(1)).failures, 1);
    world.check(&failed());
    world.check(&failed());
    // And a service that fails is no dial that does.
    assert_eq!(world.verdict(id), Verdict::Down);
    assert!(!world.dials.is_fall_down(&address(1)));
}

#[test]
fn one_that_cannot_connect_is_evidence_for_dials_until_they_are_down() {
    let mut world = World::new(4);
    let group = world.group();
    world.subscribe(1, &group, thresholds(3, 2));
    for _ in 0..9 {
        world.check(&refused());
    }
    let status = world.dials.status(&address(1));
    assert_eq!((status.state, status.failures), (State::Down, 3));
    assert_eq!(status.last_failure.unwrap().cause, Cause::Refused);
}

#[test]
fn one_that_gives_up_early_is_none() {
    let timed_out = |took| Finding {
        way: Way::Failed(Cause::TimedOut),
        took,
        ..finding(Err(Failure::DialTimedOut(took)))
    };
    let mut world = World::new(4);
    let group = world.group();
    let id = world.subscribe(1, &group, thresholds(3, 2));
    let stalls = world.dials.policy().stall_after();
    for (took, failures) in [(ms(20), 0), (stalls - ms(1), 0), (stalls, 1), (ms(1500), 2)] {
        world.check(&timed_out(took));
        assert_eq!(
            world.dials.status(&address(1)).failures,
            failures,
            "{took:?}"
        );
    }
    assert_eq!(world.verdict(id), Verdict::Down, "it has not passed");
}

#[test]
fn a_server_comes_back_without_a_client_who_pays_for_the_trial() {
    for recovery in [Recovery::Open, Recovery::PROBE] {
        let policy = Policy::builder().recovery(recovery).build().unwrap();
        let mut world = World::with_dials(4, policy);
        let group = world.group();
        let id = world.subscribe(1, &group, thresholds(3, 2));
        for _ in 0..40 {
            world.check(&refused());
        }
        let is_eligible = |world: &World| {
            !world.dials.is_fall_down(&address(1)) && !group.is_fall_down(&address(1))
        };
        world.check(&passed());
        assert!(!is_eligible(&world), "{recovery:?}");
        world.check(&passed());
        assert!(is_eligible(&world), "{recovery:?}");
        assert_eq!(world.dials.status(&address(1)).state, State::Up);
        assert_eq!(world.verdict(id), Verdict::Up);
    }
}

#[test]
fn a_server_that_is_due_for_a_probe_is_probed_by_checks() {
    let recovery = Recovery::PROBE;
    let policy = Policy::builder().recovery(recovery).build().unwrap();
    let mut world = World::with_dials(4, policy);
    let group = world.group();
    world.subscribe(1, &group, thresholds(3, 2));
    world.check(&passed());
    (0..3).for_each(|_| world.dials.add_fall_down(address(1)));
    let left = world.dials.status(&address(1)).retry_in.unwrap();
    world.clock.advance(left);
    assert_eq!(world.dials.status(&address(1)).state, State::ProbeDue);
    world.check(&refused());
    assert_eq!(world.dials.status(&address(1)).state, State::Down);
    let left = world.dials.status(&address(1)).retry_in.unwrap();
    world.clock.advance(left);
    world.check(&passed());
    world.check(&passed());
    assert_eq!(world.dials.status(&address(1)).state, State::Up);
}

#[test]
fn one_dial_of_two_who_judge_it_otherwise_is_told_once() {
    let mut world = World::new(4);
    let (lenient, strict) = (world.group(), world.group());
    world.subscribe(1, &lenient, thresholds(9, 2));
    let policy = Policy::builder().max_fails(1).min_rises(1).build().unwrap();
    let dials = world.dials.with_policy(policy);
    let (at, now) = (address(1), world.now);
    let entered = world.board.enter(
        at,
        dials.endpoint(at),
        definition(),
        &strict,
        thresholds(9, 2),
        now,
    );
    entered.unwrap();
    world.check(&refused());
    assert_eq!(world.dials.status(&address(1)).failures, 1);
    assert!(dials.is_fall_down(&address(1)) && !world.dials.is_fall_down(&address(1)));
    // The lenient one may still dial, and what that meets counts.
    world.check(&refused());
    assert_eq!(world.dials.status(&address(1)).failures, 2);
    // For the strict one it is down, so an answer counts, and one is enough.
    world.check(&passed());
    assert!(!dials.is_fall_down(&address(1)));
    assert_eq!(world.dials.status(&address(1)).failures, 0);
}

#[test]
fn checks_may_wait_for_each_other_for_a_part_of_the_shortest_interval() {
    let mut world = World::new(4);
    let group = world.group();
    assert_eq!(world.board.slack(), SLACK_LEAST);
    let id = world.subscribe(1, &group, thresholds(3, 2));
    assert_eq!(
        world.board.slack(),
        ms(2),
        "of 100 ms while a verdict changes"
    );
    let timing = Timing::builder().interval(ms(5000)).build().unwrap();
    let slow = Definition::new(Kind::Connect, None, timing).unwrap();
    let (at, now) = (address(2), world.now);
    let other = world
        .board
        .subscribe(at, slow, &group, thresholds(3, 2), now);
    assert_eq!(world.board.slack(), ms(2));
    world.board.unsubscribe(id);
    assert_eq!(world.board.slack(), ms(20));
    world.board.unsubscribe(other.unwrap());
    assert_eq!(world.board.slack(), SLACK_LEAST);
}

#[test]
fn a_server_speaks_for_itself_and_what_it_does_not_say_stays() {
    use Availability::{Drain, Ready};
    let mut world = World::new(4);
    let group = world.group();
    let id = world.subscribe(1, &group, thresholds(3, 2));
    for (finding, verdict, weight, availability) in [
        (said("75%"), Verdict::Up, 75, Ready),
        (said("drain"), Verdict::Up, 75, Drain),
        (passed(), Verdict::Up, 75, Drain),
        (said("nonsense 10%"), Verdict::Up, 75, Drain),
        (said("ready 100%"), Verdict::Up, 100, Ready),
        // It knows best: no slip, whatever the threshold.
        (said("down"), Verdict::Down, 100, Ready),
        (said("up"), Verdict::Down, 100, Ready),
        (said("up"), Verdict::Up, 100, Ready),
    ] {
        world.check(&finding);
        let is_used = verdict == Verdict::Up && availability == Ready;
        assert_eq!(group.is_fall_down(&address(1)), !is_used, "{finding:?}");
        let report = world.board.report(id).unwrap();
        assert_eq!(
            (report.verdict, report.weight_percent, report.availability),
            (verdict, weight, availability)
        );
        assert_eq!(
            report.last.unwrap().agent_error.is_some(),
            report.checks == 4
        );
    }
}

#[test]
fn what_a_server_said_is_forgotten_when_it_is_not_listened_to_any_more() {
    let mut world = World::new(4);
    let group = world.group();
    let before = world.subscribe(1, &group, thresholds(3, 2));
    world.check(&said("drain, 30%"));
    // The same again changes nothing.
    let same = world.subscribe(1, &group, thresholds(3, 7));
    assert_eq!(group.status(&address(1)).state, State::Drained);
    let http = Http::new("/").unwrap().agent_header("x-agent").unwrap();
    let other = Definition::new(Kind::Http(http), None, Timing::default()).unwrap();
    let now = world.now;
    let id = world
        .board
        .subscribe(address(1), other, &group, thresholds(3, 2), now)
        .unwrap();
    for old in [before, same] {
        world.board.unsubscribe(old);
    }
    assert_eq!(group.status(&address(1)).state, State::Up);
    let report = world.board.report(id).unwrap();
    assert_eq!(report.availability, Availability::Ready);
    assert_eq!(
        (report.weight_percent, report.verdict),
        (100, Verdict::Pending)
    );
}

#[test]
fn one_that_is_drained_is_judged_anew_when_it_is_ready() {
    let mut world = World::new(4);
    let group = world.group();
    let id = world.subscribe(1, &group, thresholds(3, 2));
    world.check(&said("drain"));
    assert_eq!(group.status(&address(1)).state, State::Drained);
    // It goes, and nobody asks it more often than a server that is down.
    for verdict in [failed(), failed()] {
        world.check(&verdict);
        assert_eq!(world.verdict(id), Verdict::Down);
        assert_eq!(world.board.next_due().unwrap() - world.now, ms(5000));
    }
    world.check(&said("ready"));
    assert_eq!(world.verdict(id), Verdict::Up);
    world.check(&said("maint"));
    let ready_but_ill = Finding {
        agent: said("ready").agent,
        ..failed()
    };
    world.check(&ready_but_ill);
    assert_eq!(world.verdict(id), Verdict::Down);
    assert!(group.is_fall_down(&address(1)));
    // Nothing of it is held against one that comes again.
    world.check(&said("drain"));
    world.board.unsubscribe(id);
    assert!(!group.is_fall_down(&address(1)));
}

#[test]
fn a_verdict_that_was_imported_stays_until_it_is_risen_from() {
    let mut world = World::new(4);
    let before = world.group();
    (0..3).for_each(|_| before.add_fall_down(address(1)));
    let group = world.group();
    group.import(&before.export()).unwrap();
    let id = world.subscribe(1, &group, thresholds(3, 2));
    assert_eq!(world.verdict(id), Verdict::Down);
    world.check(&passed());
    assert_eq!(world.verdict(id), Verdict::Down);
    world.check(&passed());
    assert_eq!(world.verdict(id), Verdict::Up);
}

#[test]
fn a_report_says_word_reason_moment_and_time() {
    let mut world = World::new(4);
    let group = world.group();
    let id = world.subscribe(1, &group, thresholds(3, 2));
    world.check(&passed());
    world.check(&failed());
    let report = world.board.report(id).unwrap();
    assert_eq!(
        report.to_string(),
        "192.0.2.1:80 is up: status 500, expected 200-399 (in 3ms), 1 failed in a row"
    );
    let last = report.last.unwrap();
    assert_eq!((last.at, last.took), (world.now, ms(3)));
    world.check(&finding(Err(Failure::Local("no room".to_owned()))));
    let report = world.board.report(id).unwrap();
    assert_eq!((report.checks, report.failed), (3, 1));
    let zero = world.board.subscribe(
        address(2),
        definition(),
        &group,
        thresholds(0, 1),
        world.now,
    );
    assert_eq!(
        zero.unwrap_err().to_string(),
        "max_fails must be at least 1"
    );
    assert_eq!(world.board.len(), 1);
}

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
