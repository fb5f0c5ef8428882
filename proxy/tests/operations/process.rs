//! What outlives the process, what it hears, and what its supervisor is told.

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use rustix::process::Signal;

use super::binary::Running;
use super::configured::{Configured, Origin, PATIENCE, file, get, http, open, until};

#[test]
fn health_outlives_the_process_in_its_file() {
    let text = file("[health]\nmax_fails = 1\n")
        .replace("threads = 2", "threads = 2\nstate_file = \"health.json\"");
    let mut configured = Configured::start(&text);
    let dead = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    dead.bind(&any.into()).unwrap();
    let dead_at = dead.local_addr().unwrap().as_socket().unwrap();
    assert!(configured.running.get(dead_at).starts_with("HTTP/1.1 502 "));
    configured.running.signal(Signal::TERM);
    let file = configured.file();
    until(|| configured.running.child.try_wait().unwrap().is_some());
    configured.running = Running::run(&file);
    assert!(configured.running.get(dead_at).starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_balancer_is_given_time_to_notice_that_it_stops() {
    let origin = Origin::start();
    let text = file("").replace("threads = 2", "threads = 2\nstop_delay = \"1h\"");
    let configured = Configured::start(&text);
    let ready = || http(configured.admin(), "GET", "/ready", "").0;
    assert_eq!(ready(), 200);
    configured.running.signal(Signal::TERM);
    until(|| ready() == 503);
    get(&mut open(configured.running.proxy), origin.address);
    configured.running.signal(Signal::TERM);
    configured.running.end();
}

#[test]
fn a_rotated_access_log_is_opened_anew_on_a_signal() {
    let origin = Origin::start();
    let configured = Configured::start(&file("").replace("\"off\"", "\"access.log\""));
    let path = |name: &str| configured.folder.path().join(name);
    let lines = |name: &str| {
        std::fs::read_to_string(path(name))
            .unwrap_or_default()
            .lines()
            .count()
    };
    get(&mut open(configured.running.proxy), origin.address);
    until(|| lines("access.log") == 1);
    std::fs::rename(path("access.log"), path("access.log.1")).unwrap();
    configured.running.signal(Signal::USR1);
    until(|| path("access.log").exists());
    get(&mut open(configured.running.proxy), origin.address);
    until(|| lines("access.log") == 1);
    assert_eq!(lines("access.log.1"), 1);
    // Another name is taken over by a reload.
    configured.write(&file("").replace("\"off\"", "\"other.log\""));
    assert_eq!(configured.reload().status.code(), Some(0));
    get(&mut open(configured.running.proxy), origin.address);
    until(|| lines("other.log") == 1);
}

#[test]
fn the_service_manager_is_told_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut told = [0; 256];
        let len = manager.recv(&mut told).unwrap();
        String::from_utf8_lossy(&told[..len]).into_owned()
    };
    let text = folder.path().join("risefall.toml");
    std::fs::write(&text, file("")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_risefall"));
    command.arg("run").arg("-c").arg(&text);
    command
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "200000");
    let running = Running::launch(command);
    assert_eq!(next(), "READY=1\n");
    while next() != "WATCHDOG=1\n" {}
    running.signal(Signal::HUP);
    let until_told = |wanted: &str| {
        loop {
            let told = next();
            if told.starts_with(wanted) {
                break told;
            }
            assert_eq!(told, "WATCHDOG=1\n");
        }
    };
    assert!(until_told("RELOADING=1\n").contains("MONOTONIC_USEC="));
    until_told("READY=1\n");
    running.signal(Signal::TERM);
    until_told("STOPPING=1\n");
    running.end();
}
