//! Health that travels: export, import, and what time does in between.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use risefall::{
    Admission, Cause, Imported, ManualClock, Outcome, Policy, Recovery, Registry, State, Status,
};

fn address(host: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + host), 80))
}

fn registry(capacity: usize) -> (Registry, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let policy = Policy::builder().recovery(Recovery::PROBE).build().unwrap();
    let registry = Registry::builder()
        .policy(policy)
        .capacity(capacity)
        .clock(clock.clone())
        .build();
    (registry, clock)
}

/// One whose clock has run for so many seconds.
fn registry_at(time: u64) -> (Registry, Arc<ManualClock>) {
    let (registry, clock) = registry(64);
    clock.advance(seconds(time));
    (registry, clock)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn take_down(registry: &Registry, address: SocketAddr) {
    (0..3).for_each(|_| registry.record_failure(address, Cause::Refused));
}

/// Takes it down and fails its probe `times` times.
fn back_off(registry: &Registry, clock: &ManualClock, address: SocketAddr, times: u8) {
    take_down(registry, address);
    for _ in 0..times {
        clock.advance(registry.status(&address).retry_in.unwrap());
        let Admission::Probe(permit) = registry.try_admit(&address) else {
            panic!("a probe is due")
        };
        permit.end(Outcome::Failed(Cause::TimedOut));
    }
}

/// What is to be the same here and there.
fn essence(status: &Status) -> (State, u8, u8, u8, Option<Cause>) {
    let cause = status.last_failure.map(|last| last.cause);
    (
        status.state,
        status.failures,
        status.successes,
        status.trips,
        cause,
    )
}

fn imported(taken: usize, left: usize, refused: usize) -> [usize; 3] {
    [taken, left, refused]
}

fn counts(imported: Imported) -> [usize; 3] {
    [imported.taken, imported.left, imported.refused]
}

#[test]
fn every_state_arrives_as_it_left() {
    let (old, clock) = registry_at(1000);
    back_off(&old, &clock, address(1), 2);
    take_down(&old, address(2));
    old.record_failure(address(3), Cause::Reset);
    let retry_after = seconds(90);
    old.record(address(4), Outcome::RateLimited { retry_after });
    old.force_down(address(5));
    old.drain(address(6));
    take_down(&old, address(7));
    old.add_rise_up(address(7));
    // Up again, its trip remembered.
    take_down(&old, address(8));
    (0..2).for_each(|_| old.add_rise_up(address(8)));

    let snapshot = old.export();
    assert_eq!(snapshot.entries.len(), 8);
    let (new, _) = registry_at(5000);
    let answer = new.import_aged(&snapshot, Duration::ZERO).unwrap();
    assert_eq!(counts(answer), imported(8, 0, 0));
    for host in 1..=8 {
        let [there, here] = [&old, &new].map(|registry| registry.status(&address(host)));
        assert_eq!(essence(&here), essence(&there), "{host}");
    }
    // The jitter is each process's own, the rest of the time is the same.
    for host in [2, 4] {
        let [there, here] =
            [&old, &new].map(|registry| registry.status(&address(host)).retry_in.unwrap());
        let longest = there + there / 5;
        assert!(
            here >= there - there / 5 && here <= longest,
            "{there:?} {here:?}"
        );
    }
}

#[test]
fn a_second_import_changes_nothing() {
    let (old, _) = registry_at(1000);
    take_down(&old, address(1));
    old.force_up(address(2));
    let snapshot = old.export();
    let (new, _) = registry_at(5000);
    for expected in [imported(2, 0, 0), imported(0, 2, 0)] {
        let answer = new.import_aged(&snapshot, seconds(10)).unwrap();
        assert_eq!(counts(answer), expected);
        assert_eq!(new.status(&address(1)).state, State::Down);
    }
}

#[test]
fn evidence_grows_older_on_its_way_and_runs_out() {
    let (old, _) = registry_at(1000);
    take_down(&old, address(1));
    old.record_failure(address(2), Cause::Reset);
    let snapshot = old.export();
    for (age, state) in [
        (seconds(30), State::Down),
        (seconds(70), State::ProbeDue),
        (seconds(2000), State::Up),
    ] {
        let (new, _) = registry_at(5000);
        new.import_aged(&snapshot, age).unwrap();
        assert_eq!(new.status(&address(1)).state, state, "{age:?}");
        assert_eq!(
            new.status(&address(2)).failures,
            u8::from(age < seconds(60))
        );
    }
    // So old that no clock of ours knows it.
    let (new, _) = registry(64);
    let answer = new.import_aged(&snapshot, Duration::MAX).unwrap();
    assert_eq!(counts(answer), imported(0, 2, 0));
}

#[test]
fn the_newer_evidence_stands() {
    let (old, _) = registry_at(1000);
    take_down(&old, address(1));
    old.record_failure(address(2), Cause::Reset);
    let snapshot = old.export();

    let (new, _) = registry_at(5000);
    // It went down, and came up, after the snapshot was taken.
    take_down(&new, address(1));
    (0..2).for_each(|_| new.add_rise_up(address(1)));
    // It is down here; an older single failure from there must not bring it up.
    take_down(&new, address(2));
    let answer = new.import_aged(&snapshot, seconds(20)).unwrap();
    assert_eq!(counts(answer), imported(0, 2, 0));
    assert_eq!(new.status(&address(1)).state, State::Up);
    assert_eq!(new.status(&address(2)).state, State::Down);

    // Here it is the older one.
    let (older, clock) = registry_at(5000);
    older.record_failure(address(1), Cause::Reset);
    clock.advance(seconds(30));
    let answer = older.import_aged(&snapshot, seconds(5)).unwrap();
    assert_eq!(counts(answer), imported(2, 0, 0));
    assert_eq!(older.status(&address(1)).state, State::Down);
}

#[test]
fn a_handle_made_before_the_import_sees_it() {
    let (old, _) = registry_at(1000);
    take_down(&old, address(1));
    let snapshot = old.export();
    let (new, _) = registry_at(5000);
    let endpoint = new.endpoint(address(1));
    let mut told = new.subscribe(4);
    new.import_aged(&snapshot, seconds(1)).unwrap();
    assert!(endpoint.is_fall_down());
    let change = told.next().unwrap();
    assert_eq!(
        (change.to, change.cause),
        (State::Down, Some(Cause::Refused))
    );
}

#[test]
fn another_version_is_refused_whole() {
    let (old, _) = registry(64);
    take_down(&old, address(1));
    let mut snapshot = old.export();
    snapshot.version = 2;
    let (new, _) = registry(64);
    let error = new.import(&snapshot).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the snapshot is of version 2, expected 1"
    );
    assert!(new.is_empty());
}

#[test]
fn a_hundred_thousand_addresses_travel_and_what_finds_no_room_is_counted() {
    let many = 100_000;
    let (old, _) = registry(many as usize);
    (0..many).for_each(|host| take_down(&old, address(host)));
    let begun = Instant::now();
    let snapshot = old.export();
    let exported = begun.elapsed();
    let kept = snapshot.entries.len();
    assert!(kept as f64 > f64::from(many) * 0.999);
    let (new, _) = registry(many as usize);
    let begun = Instant::now();
    let answer = new.import(&snapshot).unwrap();
    println!(
        "{kept} exported in {exported:?}, imported in {:?}",
        begun.elapsed()
    );
    assert_eq!(answer.taken + answer.refused, kept);
    assert!(new.is_fall_down(&snapshot.entries[0].address));
    // One without room says so, and looks for room each time: a part of them will do.
    let (small, _) = registry(1_000);
    let mut part = snapshot;
    part.entries.truncate(3_000);
    let answer = small.import(&part).unwrap();
    assert_eq!(answer.taken, small.len());
    assert_eq!(answer.refused, 3_000 - answer.taken);
}

#[cfg(feature = "serde")]
mod written {
    use super::*;
    use risefall::Snapshot;

    #[test]
    fn a_snapshot_survives_being_written_and_read() {
        let (old, clock) = registry_at(1000);
        back_off(&old, &clock, address(1), 1);
        let retry_after = seconds(90);
        old.record(address(4), Outcome::RateLimited { retry_after });
        let snapshot = old.export();
        let text = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
        assert!(
            text.contains(r#""address":"10.0.0.1:80","state":"down""#),
            "{text}"
        );
    }

    #[test]
    fn what_an_entry_does_not_say_is_nothing_and_nonsense_does_no_harm() {
        let text = r#"{"version":1,"taken_unix_ms":18446744073709551615,"entries":[
            {"address":"10.0.0.1:80","state":"down","failures":3,"age_ms":0},
            {"address":"10.0.0.2:80","state":"up","failures":255,"trips":255,"age_ms":1},
            {"address":"10.0.0.3:80","state":"set_aside","age_ms":1},
            {"address":"10.0.0.4:80","state":"probing","successes":255,"age_ms":1},
            {"address":"10.0.0.5:80","state":"down","age_ms":18446744073709551615},
            {"address":"10.0.0.6:80","state":"suspect","cause":"bad luck","age_ms":5},
            {"address":"10.0.0.7:80","state":"down","age_ms":5}
        ]}"#;
        let snapshot: Snapshot = serde_json::from_str(text).unwrap();
        let (new, _) = registry_at(5000);
        let answer = new.import(&snapshot).unwrap();
        assert_eq!(answer.refused, 0);
        assert_eq!(new.status(&address(1)).state, State::Down);
        assert_eq!(new.status(&address(7)).state, State::Down);
        assert!(new.statuses().len() <= 6);
        for host in 1..=7 {
            (0..9).for_each(|_| new.add_rise_up(address(host)));
            let state = new.status(&address(host)).state;
            assert!(
                matches!(state, State::Up | State::SetAside),
                "{host}: {state}"
            );
        }
    }
}
