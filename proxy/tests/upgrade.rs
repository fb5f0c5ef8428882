//! A new process in place of a running one: nobody is refused, nothing is forgotten.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "support/binary.rs"]
mod binary;
#[path = "support/configured.rs"]
mod configured;

use std::net::SocketAddr;
use std::process::Command;

use binary::{risefall, said};
use configured::{Configured, Load, Origin, file, get, open, socks5, until};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// A process that somebody else has started; ended when this is dropped.
struct Successor(Pid);

impl Successor {
    fn of(configured: &Configured) -> Self {
        let pid = configured.status()["pid"].as_i64().unwrap();
        Self(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap())
    }

    fn lives(&self) -> bool {
        test_kill_process(self.0).is_ok()
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

fn upgrade(configured: &Configured) -> std::process::Output {
    risefall(&["upgrade", "--admin", &configured.admin().to_string()])
}

/// Takes an address down, and gives it with the socket that keeps it dead.
fn dead(configured: &Configured) -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let refused = configured.running.get(address);
    assert!(refused.starts_with("HTTP/1.1 502 "), "{refused}");
    (socket, address)
}

#[test]
fn a_new_process_takes_over_under_load_without_a_refused_connection() {
    let origin = Origin::start();
    let configured = Configured::start(&file("[health]\nmax_fails = 1\n"));
    let (_dead, address) = dead(&configured);
    let (before, old) = (configured.status(), Successor::of(&configured));
    let load = Load::of_new_connections(configured.running.proxy, origin.address);
    let mut tunnel = open(configured.running.proxy);
    socks5(&mut tunnel, origin.address);
    for _ in 0..20 {
        get(&mut open(configured.running.proxy), origin.address);
    }
    let done = upgrade(&configured);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(said(&done).contains("has taken over"), "{}", said(&done));
    until(|| configured.status()["pid"] != before["pid"]);
    let new = Successor::of(&configured);
    for _ in 0..20 {
        get(&mut open(configured.running.proxy), origin.address);
        configured::echo(&mut tunnel);
    }
    let rounds = load.end();
    assert!(rounds > 50, "hardly any load: {rounds} rounds");
    // What the old process knew, the new one knows.
    assert_eq!(
        configured.status()["health"][0]["address"],
        address.to_string()
    );
    let denied = configured.running.get(address);
    assert!(denied.starts_with("HTTP/1.1 503 "), "{denied}");
    // The old one ends with its last connection, and not before.
    assert!(old.lives() && old.0 != new.0);
    drop(tunnel);
    let mut running = configured.running;
    until(|| running.child.try_wait().unwrap().is_some());
    assert!(new.lives());
}

#[test]
fn a_process_that_does_not_come_to_serving_changes_nothing() {
    let origin = Origin::start();
    let configured = Configured::start(&file(""));
    let before = configured.status();
    configured.write("nonsense");
    let refused = upgrade(&configured);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(
        said(&refused).contains("this one goes on"),
        "{}",
        said(&refused)
    );
    assert_eq!(configured.status()["pid"], before["pid"]);
    get(&mut open(configured.running.proxy), origin.address);
    // And it can be tried again.
    configured.write(&file("[limits]\nlookups = 3\n"));
    let done = upgrade(&configured);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    until(|| configured.status()["pid"] != before["pid"]);
    let _new = Successor::of(&configured);
    get(&mut open(configured.running.proxy), origin.address);
}

/// Runs `risefall` as a service manager does that has opened its socket: as descriptor 3.
#[test]
fn a_socket_of_the_service_manager_is_served() {
    let origin = Origin::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("risefall.toml");
    let text = file("").replace(
        "[forward.office]\nlisten = \"127.0.0.1:0\"",
        &format!("[forward.office]\nlisten = \"{address}\""),
    );
    std::fs::write(&path, text).unwrap();
    // Only the shell knows the process's number before it is the program.
    let mut command = Command::new("sh");
    let script = "exec env LISTEN_PID=$$ LISTEN_FDS=1 \"$0\" run -c \"$1\" 3<&0 </dev/null";
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_risefall")])
        .arg(&path)
        .stdin(std::os::fd::OwnedFd::from(listener));
    let running = binary::Running::launch(command);
    assert_eq!(running.proxy, address);
    for _ in 0..10 {
        get(&mut open(address), origin.address);
    }
}
