//! What is held against servers, by whom, and for how long.

use risefall::{Recovery, State};

use super::*;

fn service(fails: u8) -> Service {
    let policy = Policy::builder()
        .max_fails(fails)
        .min_rises(1)
        .fail_timeout(Duration::from_millis(4))
        .recovery(Recovery::PROBE);
    Service {
        policy: Arc::new(policy.build().unwrap()),
        group: crate::plan::upstream::usual_group(),
        statuses: Vec::new(),
    }
}

fn check() -> Check {
    Check::of(risefall::check::Kind::Connect)
}

fn address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 80))
}

/// Evidence on a clock that moves only when told to.
fn by_hand(fails: u8) -> (Evidence, Arc<risefall::ManualClock>) {
    let clock = Arc::new(risefall::ManualClock::new());
    let made = |policy| {
        let registry = Registry::builder().policy(policy);
        registry.clock(Arc::clone(&clock) as _).build()
    };
    let policy = crate::plan::upstream::usual_group().into_builder();
    let policy = policy.service(traffic_policy(&service(fails).policy));
    let terms = Terms {
        policy: policy.build().unwrap(),
        dials: made(Policy::default()),
        checks: made(check().policy()),
    };
    (Evidence::by(terms, Some(Start::Eligible)), clock)
}

/// The server, there for as long as the other value is kept.
fn server(evidence: &Evidence) -> (ServiceHandle, Presence) {
    let presence = evidence.enter(Found {
        generation: 1,
        servers: Vec::new(),
        addresses: vec![(address(), Called::of("api"))],
        due: None,
    });
    (evidence.handle(address()).unwrap(), presence)
}

fn end(handle: &ServiceHandle, right: Right, outcome: Outcome) {
    handle.end(right, outcome, Duration::ZERO);
}

fn traffic(handle: &ServiceHandle) -> risefall::Status {
    handle.status().service
}

const FAILED: Outcome = Outcome::Failed(Cause::BadGateway);

#[test]
fn after_its_time_one_request_at_a_time_tries_it() {
    let (evidence, clock) = by_hand(2);
    let (handle, _presence) = server(&evidence);
    for _ in 0..2 {
        let right = handle.admit().unwrap();
        end(&handle, right, FAILED);
    }
    assert!(handle.is_down());
    assert!(handle.admit().is_none());
    clock.advance(Duration::from_millis(20));
    assert!(!handle.is_down());
    let probe = handle.admit().unwrap();
    assert!(probe.is_probe());
    assert!(handle.is_down() && handle.admit().is_none());
    // A client that gives up, however late, gives the permit back.
    clock.advance(Duration::from_secs(5));
    drop(probe);
    let probe = handle.admit().unwrap();
    end(&handle, probe, Outcome::Success);
    assert!(!handle.is_down());
    assert!(!handle.admit().unwrap().is_probe());
}

#[test]
fn what_was_under_way_when_it_went_down_changes_nothing() {
    let (evidence, clock) = by_hand(1);
    let (handle, _presence) = server(&evidence);
    let mut rights: Vec<_> = (0..6).map(|_| handle.admit().unwrap()).collect();
    let late = rights.pop().unwrap();
    end(&handle, handle.admit_anyway(), FAILED);
    let status = traffic(&handle);
    assert_eq!((status.state, status.failures), (State::Down, 1));
    for (nth, right) in rights.into_iter().enumerate() {
        let outcome = if nth % 2 == 0 {
            Outcome::Success
        } else {
            FAILED
        };
        end(&handle, right, outcome);
    }
    assert_eq!(traffic(&handle).state, State::Down);
    assert_eq!(traffic(&handle).failures, 1);
    clock.advance(Duration::from_millis(20));
    end(&handle, late, FAILED);
    assert_eq!(traffic(&handle).state, State::ProbeDue);
    // Who was sent there because all are down does count.
    end(&handle, handle.admit_anyway(), Outcome::Success);
    assert_eq!(traffic(&handle).state, State::Up);
}

#[test]
fn each_word_takes_it_down_alone_and_clears_itself_alone() {
    let (evidence, _) = by_hand(3);
    let (handle, _presence) = server(&evidence);
    let checks = evidence.checks().unwrap().endpoint(address());
    for _ in 0..3 {
        checks.record(Outcome::Failed(Cause::ServerError));
    }
    assert!(handle.is_down() && handle.admit().is_none());
    for _ in 0..9 {
        end(&handle, handle.admit_anyway(), Outcome::Success);
    }
    assert!(handle.is_down());
    checks.record(Outcome::Success);
    assert!(handle.is_down());
    checks.record(Outcome::Success);
    assert!(!handle.is_down());
}

#[test]
fn only_checks_bring_back_what_checks_took_down_while_they_go_on() {
    let (evidence, clock) = by_hand(3);
    let checks = evidence.checks().unwrap().endpoint(address());
    for _ in 0..400 {
        checks.record(Outcome::Failed(Cause::TimedOut));
        clock.advance(Duration::from_secs(60));
    }
    assert!(checks.is_fall_down());
    // A success and then a failure: two in a row are what it takes.
    checks.record(Outcome::Success);
    checks.record(Outcome::Failed(Cause::TimedOut));
    checks.record(Outcome::Success);
    assert!(checks.is_fall_down());
    // A checker that has stopped says nothing in the end.
    clock.advance(check().policy().fail_timeout() + Duration::from_secs(1));
    assert!(!checks.is_fall_down());
}

#[test]
fn evidence_stays_through_plans_while_the_name_does() {
    let (evidences, dials) = (Evidences::default(), Registry::new(Policy::default()));
    let get =
        |name, fails, check: Option<&Check>| evidences.get(name, &service(fails), check, &dials);
    let first = get("api", 3, None);
    assert!(Arc::ptr_eq(&first, &get("api", 3, None)));
    let (handle, _presence) = server(&first);
    end(&handle, handle.admit_anyway(), FAILED);
    assert!(first.checks().is_none());
    let strict = get("api", 1, Some(&check()));
    assert_ne!(first, strict);
    let (handle, _presence) = server(&strict);
    assert_eq!(traffic(&handle).failures, 1);
    assert_eq!(strict.checks().unwrap().policy().max_fails(), 3);
    let (other, _presence) = server(&get("web", 3, None));
    assert_eq!(traffic(&other).failures, 0);
    evidences.retain(|name| name == "web");
    let (anew, _presence) = server(&get("api", 1, None));
    assert_eq!(traffic(&anew).failures, 0);
}

#[test]
fn dials_are_asked_by_the_thresholds_of_the_plan() {
    let (evidences, clock) = (Evidences::default(), Arc::new(risefall::ManualClock::new()));
    let dials = Registry::builder().clock(Arc::clone(&clock) as _).build();
    let first = evidences.get("api", &service(3), None, &dials);
    let (handle, _presence) = server(&first);
    for _ in 0..3 {
        dials.record_failure(address(), Cause::Refused);
    }
    assert!(handle.is_down());
    let open = Policy::builder().fail_timeout(Duration::from_secs(1));
    let dials = dials.with_policy(open.build().unwrap());
    let second = evidences.get("api", &service(3), None, &dials);
    assert_ne!(first, second);
    let (handle, _presence) = server(&second);
    clock.advance(Duration::from_secs(2));
    assert!(!handle.is_down());
}
