use std::sync::atomic::{AtomicUsize, Ordering};

use risefall::check::{Http, Kind, Start, Timing, Verdict};
use risefall::{Policy, State, Transitions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::plan::Check;
use crate::plan::upstream::Service;
use crate::proto::Target;
use crate::upstream::evidence::{Called, Evidences, Found};

fn check(path: &str) -> Check {
    let timing = Timing::builder()
        .interval(Duration::from_millis(20))
        .timeout(Duration::from_secs(60));
    Check {
        timing: timing.build().unwrap(),
        ..Check::of(Kind::Http(Http::new(path).unwrap()))
    }
}

/// Groups, and what is known of them.
#[derive(Default)]
struct World {
    evidences: Evidences,
    dials: Option<Registry>,
}

impl World {
    fn checked(&self, upstream: &str, address: SocketAddr, check: &Check) -> Checked {
        let service = Service::by(Policy::default());
        let target = Target::parse("app.internal:80").unwrap();
        let dials = (self.dials.clone()).unwrap_or_else(|| Registry::new(Policy::default()));
        Checked {
            upstream: upstream.into(),
            server: "app.internal:80".into(),
            address,
            definition: Arc::new(check.definition(&target, None).unwrap()),
            thresholds: check.thresholds,
            evidence: self.evidences.get(upstream, &service, Some(check), &dials),
            dials,
        }
    }

    fn changes(&self, upstream: &str) -> Transitions {
        let evidence = self.evidences.find(upstream).unwrap();
        evidence.checks().unwrap().subscribe(8)
    }
}

async fn next(changes: &mut Transitions) -> risefall::Transition {
    let told = tokio::time::timeout(Duration::from_secs(10), changes.recv());
    told.await.expect("nothing changed")
}

fn running() -> Arc<Checks> {
    let checks = Arc::new(Checks::new(64));
    let run = Arc::clone(&checks);
    tokio::spawn(async move { run.run().await });
    checks
}

/// A server that answers with the statuses, one for each connection, the last one for ever; and
/// how many connections it has had.
async fn serve(statuses: &'static [u16]) -> (SocketAddr, Arc<AtomicUsize>) {
    serve_at("127.0.0.1:0".parse().unwrap(), statuses).await
}

async fn serve_at(address: SocketAddr, statuses: &'static [u16]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let had = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&had);
    tokio::spawn(async move {
        let last = statuses.iter().rev().take(1).cycle();
        for status in statuses.iter().chain(last) {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = stream.read(&mut [0; 1024]).await.unwrap();
            let said = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(said.as_bytes()).await.unwrap();
        }
    });
    (address, had)
}

#[tokio::test]
async fn groups_that_check_one_address_alike_share_the_check_and_judge_for_themselves() {
    let (address, had) = serve(&[200, 500, 500, 200]).await;
    let world = World::default();
    let (mut strict, lenient) = (check("/"), check("/"));
    strict.thresholds.fall = 2;
    let both = [("strict", &strict), ("lenient", &lenient)];
    let wanted = both.map(|(name, check)| world.checked(name, address, check));
    let [mut strict, mut lenient] = both.map(|(name, _)| world.changes(name));
    let checks = running();
    checks.set(wanted.to_vec(), |_, _| true);
    assert_eq!(checks.counts().0, 1);
    assert_eq!(next(&mut strict).await.to, State::Down);
    assert_eq!(next(&mut strict).await.to, State::Up);
    assert_eq!(lenient.next(), None, "two failures are not enough for it");
    let seen = checks.seen("lenient", address).unwrap();
    let had = had.load(Ordering::Relaxed) as u64;
    assert!((had - 1..=had).contains(&seen.checks), "{had} {seen:?}");
    assert_eq!((seen.failed, seen.report.verdict), (2, Verdict::Up));
}

#[tokio::test]
async fn a_server_that_stays_keeps_its_verdict_and_one_that_has_gone_has_nothing_against_it() {
    let (address, _) = serve(&[500]).await;
    let world = World::default();
    let usual = world.checked("api", address, &check("/"));
    let mut changes = world.changes("api");
    let checks = running();
    checks.set(vec![usual.clone()], |_, _| true);
    assert_eq!(next(&mut changes).await.to, State::Down);
    let made = checks.seen("api", address).unwrap().checks;
    // The same again, another path, another threshold: nothing is forgotten.
    let mut patient = check("/other");
    patient.thresholds.rise = 9;
    for wanted in [&check("/"), &check("/other"), &patient] {
        checks.set(vec![world.checked("api", address, wanted)], |_, _| true);
        let seen = checks.seen("api", address).unwrap();
        assert_eq!(seen.report.verdict, Verdict::Down);
        assert!(seen.checks >= made && seen.failed >= made, "{seen:?}");
    }
    assert_eq!(changes.next(), None);
    checks.set(Vec::new(), |_, _| true);
    assert_eq!(next(&mut changes).await.to, State::Up);
    assert!(checks.seen("api", address).is_none());
    assert_eq!(checks.counts(), (0, 0));
}

#[tokio::test]
async fn a_server_that_starts_down_is_used_once_a_check_has_passed() {
    let (address, _) = serve(&[200]).await;
    let world = World::default();
    let mut check = check("/");
    check.thresholds.start = Start::NotEligible;
    let wanted = world.checked("api", address, &check);
    let mut changes = world.changes("api");
    let _presence = wanted.evidence.enter(Found {
        generation: 1,
        servers: Vec::new(),
        addresses: vec![(address, Called::of("app.internal"))],
        due: None,
    });
    let handle = wanted.evidence.handle(address).unwrap();
    // From the moment when it joins, and by the first check that it passes no more.
    assert!(handle.is_down() && handle.admit().is_none());
    assert_eq!(next(&mut changes).await.to, State::Down);
    let checks = Arc::new(Checks::new(1));
    checks.set(vec![wanted], |_, _| true);
    assert!(handle.is_down() && handle.admit().is_none());
    let seen = checks.seen("api", address).unwrap();
    assert_eq!(seen.report.verdict, Verdict::Pending);
    tokio::spawn(async move { checks.run().await });
    assert_eq!(next(&mut changes).await.to, State::Up);
    assert!(!handle.is_down());
}

#[tokio::test]
async fn what_a_check_meets_on_its_way_is_told_to_the_dials_of_its_group() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let policy = Policy::builder().max_fails(7).build().unwrap();
    let dials = Registry::new(Policy::default()).with_policy(policy);
    let mut changes = dials.subscribe(8);
    let world = World {
        dials: Some(dials.clone()),
        ..World::default()
    };
    let checks = running();
    checks.set(vec![world.checked("api", address, &check("/"))], |_, _| {
        true
    });
    let change = next(&mut changes).await;
    assert_eq!((change.to, change.evidence), (State::Down, 7));
    // It is back, and no client has to try it.
    serve_at(address, &[200]).await;
    assert_eq!(next(&mut changes).await.to, State::Up);
}

#[tokio::test]
async fn what_a_server_has_counted_does_not_fall_when_its_name_leads_elsewhere() {
    let [(one, _), (other, _)] = [serve(&[200]).await, serve(&[200]).await];
    let world = World::default();
    let check = check("/");
    let checks = running();
    assert_eq!(checks.counted("api", "app.internal:80"), None);
    let mut last = Counted::default();
    for address in [one, other, one] {
        checks.set(vec![world.checked("api", address, &check)], |_, _| true);
        let at_least = last.checks + 2;
        while last.checks < at_least {
            let now = checks.counted("api", "app.internal:80").unwrap();
            assert!(now.checks >= last.checks, "{now:?} after {last:?}");
            last = now;
            tokio::task::yield_now().await;
        }
    }
    // An address of another server counts for that.
    let moved = Checked {
        server: "new.internal:80".into(),
        ..world.checked("api", one, &check)
    };
    checks.set(vec![moved], |_, _| true);
    assert!(checks.counted("api", "app.internal:80").unwrap().checks >= last.checks);
    assert!(checks.counted("api", "new.internal:80").unwrap().checks < last.checks);
    // What is planned no more is forgotten.
    checks.set(Vec::new(), |_, server| server == "new.internal:80");
    assert_eq!(checks.counted("api", "app.internal:80"), None);
    assert!(checks.counted("api", "new.internal:80").is_some());
}
