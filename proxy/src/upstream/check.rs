//! Servers are asked whether they work before clients do.
//!
//! One task of the process checks for all workers ([`Checker`]): what it finds is in the group's
//! evidence, where they read it. `check/schedule.rs` says when, `check/ask.rs` is one check.
//!
//! A check says something of the service, in a word of its own, and clears that word alone. But to
//! ask it connects, and that is a dial like any other: one that fails is told to whoever judges
//! dials while that holds the server for up (a check every few seconds must not prolong a verdict
//! that would let clients try again), and one that is answered while it holds the server for down.
//! So a server that returns is dialled again after as many checks as dials ask for, and not after a
//! pause that has grown with its absence.

mod ask;
pub mod schedule;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use risefall::judge::Judge;
use risefall::{Endpoint, Outcome};
use rustls::pki_types::ServerName;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::ask::{Failed, ask};
use self::schedule::{Schedule, Turn};
use super::evidence::Evidence;
use crate::plan::upstream::Check;
use crate::proto::Target;

/// A server that is checked.
#[derive(Clone)]
pub struct Checked {
    /// Whose it is: its group's name.
    pub upstream: Arc<str>,
    /// Where it is.
    pub address: SocketAddr,
    /// As it is configured, which is what it is asked by.
    pub target: Target,
    /// How it is checked.
    pub check: Check,
    /// How it speaks TLS; `None` if it does not.
    pub tls: Option<CheckTls>,
    /// Where it is told. Its group is one that is checked.
    pub evidence: Arc<Evidence>,
    /// Who judges dials.
    pub dials: Arc<dyn Judge>,
}

/// How a server is asked by TLS.
#[derive(Clone)]
pub struct CheckTls {
    /// With which settings; without protocols, or with HTTP/1.1 alone.
    pub config: Arc<rustls::ClientConfig>,
    /// The name that its certificate must hold.
    pub name: ServerName<'static>,
}

/// Checks all servers of the process, on one thread.
pub struct Checker {
    state: RefCell<State>,
    changed: Notify,
    began: Instant,
}

struct State {
    schedule: Schedule<Key>,
    servers: HashMap<Key, Rc<Server>>,
}

/// One address of two groups is two servers.
type Key = (Arc<str>, SocketAddr);

struct Server {
    checked: Checked,
    /// Pinned, so that its evidence stays while it is checked.
    word: Option<Endpoint>,
}

/// A check under way. Over when it is dropped, whatever became of it.
struct Flight {
    checker: Rc<Checker>,
    key: Key,
    turn: Turn,
}

impl Checker {
    /// One that has nothing to check.
    #[must_use]
    pub fn new() -> Rc<Self> {
        let state = State {
            schedule: Schedule::new(fastrand::u64(..)),
            servers: HashMap::new(),
        };
        Rc::new(Self {
            state: RefCell::new(state),
            changed: Notify::new(),
            began: Instant::now(),
        })
    }

    /// Checks these from now on. Those that were checked before, with the same name of their group
    /// and the same address, go on as they were; of those that have gone the evidence is cleared,
    /// so that nothing old is held against one that comes again.
    pub fn set(&self, wanted: Vec<Checked>) {
        let mut state = self.state.borrow_mut();
        let intervals = wanted.iter().map(|one| (one.key(), one.check.interval));
        let gone = state.schedule.set(intervals, self.began.elapsed());
        for key in gone {
            let word = state.servers.remove(&key).and_then(|one| one.word.clone());
            if let Some(word) = word {
                word.reset();
            }
        }
        for checked in wanted {
            let checks = checked.evidence.checks();
            let word = checks.map(|checks| checks.endpoint(checked.address));
            let key = checked.key();
            state.servers.insert(key, Rc::new(Server { checked, word }));
        }
        self.changed.notify_one();
    }

    /// Goes on for as long as it is polled, on a `LocalSet`.
    ///
    /// # Cancel safety
    ///
    /// Checks under way are dropped and say nothing.
    pub async fn run(self: Rc<Self>) {
        let mut flights = JoinSet::new();
        loop {
            while let Some(flight) = self.next_flight() {
                flights.spawn_local(flight.go());
            }
            let due = self.state.borrow().schedule.next_due();
            let due = async {
                match due {
                    Some(due) => sleep_until(self.began + due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.changed.notified() => {}
                Some(_) = flights.join_next() => {}
            }
        }
    }

    fn next_flight(self: &Rc<Self>) -> Option<Flight> {
        let mut state = self.state.borrow_mut();
        let (key, turn) = state.schedule.take_due(self.began.elapsed())?;
        Some(Flight {
            checker: Rc::clone(self),
            key,
            turn,
        })
    }
}

impl Checked {
    fn key(&self) -> Key {
        (Arc::clone(&self.upstream), self.address)
    }
}

impl Flight {
    async fn go(self) {
        let server = self.server();
        if let Some(server) = server {
            let found = ask(&server.checked).await;
            // By now there may be other settings, or none.
            if let Some(server) = self.server() {
                server.tell(found);
            }
        }
    }

    fn server(&self) -> Option<Rc<Server>> {
        let state = self.checker.state.borrow();
        let server = state.servers.get(&self.key);
        let is_wanted = state.schedule.is_wanted(&self.key, self.turn);
        server.filter(|_| is_wanted).map(Rc::clone)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let now = self.checker.began.elapsed();
        let mut state = self.checker.state.borrow_mut();
        state.schedule.done(&self.key, self.turn, now);
    }
}

impl Server {
    fn tell(&self, found: Result<(), Failed>) {
        let outcome = match found {
            Ok(()) => {
                self.tell_answered();
                Outcome::Success
            }
            Err(failed) => {
                let Checked {
                    upstream, address, ..
                } = &self.checked;
                tracing::debug!(%upstream, server = %address, reason = %failed, "a check failed");
                self.tell_dials(&failed);
                failed.outcome()
            }
        };
        if let Some(word) = &self.word {
            word.record(outcome);
        }
    }

    fn tell_dials(&self, failed: &Failed) {
        let Checked { address, dials, .. } = &self.checked;
        match failed.of_dial() {
            Some(cause) if !dials.is_fall_down(address) => dials.record_failure(*address, cause),
            None if failed.is_connected() => self.tell_answered(),
            _ => {}
        }
    }

    fn tell_answered(&self) {
        let Checked { address, dials, .. } = &self.checked;
        if dials.is_fall_down(address) {
            dials.record_success(*address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use risefall::{Policy, Registry, State as Verdict, Transition};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::*;
    use crate::plan::upstream::{CheckKind, Service};
    use crate::upstream::evidence::Evidences;

    pub(super) fn http(path: &str) -> Check {
        Check {
            kind: CheckKind::Http {
                path: path.to_owned(),
                method: hyper::Method::GET,
                host: None,
                headers: Vec::new(),
                expect: vec![(200, 399)],
            },
            interval: Duration::from_millis(20),
            timeout: Duration::from_secs(60),
            fall: 2,
            rise: 2,
        }
    }

    pub(super) fn checked(address: SocketAddr, check: Check) -> Checked {
        let service = Service {
            policy: Arc::default(),
            group: crate::plan::upstream::usual_group(),
            statuses: Vec::new(),
        };
        let dials = Registry::new(Policy::default());
        Checked {
            upstream: "api".into(),
            address,
            target: Target::parse("app.internal:80").unwrap(),
            evidence: Evidences::default().get("api", &service, Some(&check), &dials),
            check,
            tls: None,
            dials: Arc::new(dials),
        }
    }

    /// A server that answers with the statuses, one for each connection, the last one for ever.
    async fn serve(statuses: &'static [u16]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            let last = statuses.iter().rev().take(1).cycle();
            for status in statuses.iter().chain(last) {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut heard = [0; 1024];
                let _ = stream.read(&mut heard).await.unwrap();
                let said = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(said.as_bytes()).await.unwrap();
            }
        });
        address
    }

    fn verdicts(transitions: &[Transition]) -> Vec<Verdict> {
        transitions.iter().map(|one| one.to).collect()
    }

    #[tokio::test]
    async fn checks_take_a_server_down_and_bring_it_back() {
        let local = LocalSet::new();
        let work = async {
            let address = serve(&[200, 500, 200, 500, 500, 500, 200, 500, 200, 200]).await;
            let server = checked(address, http("/"));
            let mut seen = server.evidence.checks().unwrap().subscribe(8);
            let checker = Checker::new();
            let runs = tokio::task::spawn_local(Rc::clone(&checker).run());
            checker.set(vec![server.clone()]);
            let transitions = [seen.recv().await, seen.recv().await];
            assert_eq!(verdicts(&transitions), [Verdict::Down, Verdict::Up]);
            assert_eq!(transitions[0].evidence, 2);
            assert!(!server.dials.is_fall_down(&address));
            runs.abort();
        };
        local.run_until(work).await;
    }

    #[tokio::test]
    async fn a_server_that_is_not_checked_any_more_has_nothing_against_it() {
        let local = LocalSet::new();
        let work = async {
            let address = serve(&[500]).await;
            let server = checked(address, http("/"));
            let mut seen = server.evidence.checks().unwrap().subscribe(8);
            let checker = Checker::new();
            let runs = tokio::task::spawn_local(Rc::clone(&checker).run());
            checker.set(vec![server.clone()]);
            assert_eq!(seen.recv().await.to, Verdict::Down);
            // A plan with the same server changes nothing.
            checker.set(vec![server.clone()]);
            assert_eq!(seen.next(), None);
            checker.set(Vec::new());
            assert_eq!(seen.recv().await.to, Verdict::Up);
            runs.abort();
        };
        local.run_until(work).await;
    }

    #[tokio::test]
    async fn a_server_that_cannot_be_reached_is_told_to_whoever_judges_dials_until_it_is_down() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let server = Server {
            word: None,
            checked: checked(address, http("/")),
        };
        for _ in 0..9 {
            server.tell(ask(&server.checked).await);
        }
        let status = server.checked.dials.status(&address);
        assert_eq!((status.state, status.failures), (Verdict::Down, 3));
    }

    #[tokio::test]
    async fn a_server_that_returns_is_dialled_again_after_as_many_checks_as_dials_ask_for() {
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        let server = Server {
            word: None,
            checked: checked(address, http("/")),
        };
        let dials = &server.checked.dials;
        for _ in 0..3 {
            dials.record_failure(address, risefall::Cause::TimedOut);
        }
        assert!(dials.is_fall_down(&address));
        server.tell(Ok(()));
        assert!(dials.is_fall_down(&address));
        // One that fails behind the connect counts as well: of the way there it says the same.
        server.tell(Err(Failed::TimedOut(Duration::from_secs(2))));
        assert!(!dials.is_fall_down(&address));
    }
}
