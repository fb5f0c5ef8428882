//! What a server says of itself.

use super::world::*;
use crate::check::agent::Availability;
use crate::check::definition::{Definition, Kind, Timing};
use crate::check::http::Http;
use crate::check::report::{Finding, Verdict};
use crate::snapshot::State;

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
