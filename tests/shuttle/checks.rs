//! Checks: what is told late, by whom, beside whom.

use std::sync::Arc;
use std::time::Duration;

use risefall::check::{
    Board, Definition, Failure, Finding, Job, Kind, Step, Thresholds, Timing, Verdict, Way,
};
use risefall::{Cause, Recovery, State};
use shuttle::sync::Mutex;
use shuttle::thread;

use super::world::*;

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
            let subscribed = board.subscribe(address(1), definition(), &group, thresholds(), now);
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
            let subscribed = board.subscribe(address(1), definition(), &joined, thresholds(), now);
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
