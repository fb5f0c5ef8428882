//! The loader as its users start it, through a proxy simple enough to be trusted.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do, by panicking"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

#[test]
fn every_mode_tells_live_from_dead() {
    let proxy = Stub::start();
    for (mode, dead_outcome) in [
        ("http", "status_502"),
        ("connect", "status_502"),
        ("socks5", "socks_05"),
    ] {
        let flags = "--connections 4 --threads 2 --duration 200ms --dead-share 20 --self-contained";
        let report = report(&format!("run --proxy {proxy} --mode {mode} {flags} --json"));
        assert_only_outcome(&report["live"], "ok", mode);
        assert_only_outcome(&report["dead"], dead_outcome, mode);
        let units = count(&report["live"]["units"]) + count(&report["dead"]["units"]);
        let dead_percent = 100.0 * count(&report["dead"]["units"]) as f64 / units as f64;
        assert!(units > 20, "{mode}: {report}");
        assert!((3.0..50.0).contains(&dead_percent), "{mode}: {report}");
        assert_ordered(&report["live"]["latency_us"], mode);
        assert_ordered(&report["dead"]["latency_us"], mode);
    }
}

#[test]
fn a_black_hole_is_answered_by_the_proxys_own_timeout() {
    let proxy = Stub::start();
    let flags = "--connections 2 --duration 150ms --dead-share 50 --dead-kind blackhole";
    let line = format!("run --proxy {proxy} --mode connect {flags} --self-contained --json");
    let report = report(&line);
    assert_only_outcome(&report["live"], "ok", "blackhole");
    assert_only_outcome(&report["dead"], "status_504", "blackhole");
    let waited_us = u128::from(count(&report["dead"]["latency_us"]["p50"]));
    assert!(waited_us >= DIAL_TIMEOUT.as_micros() * 9 / 10, "{report}");
}

#[test]
fn a_unit_that_takes_too_long_counts_as_timed_out() {
    let proxy = Stub::start();
    let flags = "--connections 2 --duration 50ms --timeout 10ms --dead-share 100";
    let staged = "--self-contained --dead-kind blackhole --json";
    let report = report(&format!(
        "run --proxy {proxy} --mode socks5 {flags} {staged}"
    ));
    assert_only_outcome(&report["dead"], "timeout", "dead");
    assert_eq!(report["live"]["units"], 0);
}

#[test]
fn an_open_loop_starts_what_is_due_and_no_more() {
    let proxy = Stub::start();
    let flags = "--rate 100 --duration 200ms --dead-share 0 --self-contained --json";
    let report = report(&format!("run --proxy {proxy} --mode http {flags}"));
    let started = count(&report["live"]["units"]);
    assert_eq!(started + count(&report["not_started"]), 20, "{report}");
    assert!(started > 0, "{report}");
}

#[test]
fn one_tunnel_can_carry_many_units() {
    let (proxy, origin) = (Stub::start(), Origin::start());
    let address = origin.address;
    let flags = "--requests-per-connection 5 --connections 2 --duration 100ms --ping 100 --json";
    for mode in ["connect", "socks5"] {
        let line = format!("run --proxy {proxy} --mode {mode} --live {address} {flags}");
        let report = report(&line);
        assert_only_outcome(&report["live"], "ok", mode);
        assert_eq!(report["dead"]["units"], 0, "{report}");
        assert_eq!(report["dead_share_percent"], 0, "{report}");
    }
}

#[test]
fn held_tunnels_are_counted_and_weighed() {
    let proxy = Stub::start();
    // The stub lives in this process, so this process is the proxy.
    let pid = std::process::id();
    let flags = "--tunnels 20 --duration 50ms --ping 1 --self-contained --json";
    let line = format!("hold --proxy {proxy} --mode connect --pid {pid} {flags}");
    let report = report(&line);
    assert_eq!(report["open"], 20, "{report}");
    assert_eq!(report["still_open"], 20, "{report}");
    assert!(count(&report["memory"]["idle"]) > 0, "{report}");
}

#[test]
fn the_table_is_for_people() {
    let proxy = Stub::start();
    let flags = "--connections 2 --duration 100ms --self-contained";
    let output = load(&format!("run --proxy {proxy} --mode connect {flags}"));
    let table = String::from_utf8(output.stdout).unwrap();
    for part in ["connect through 127.0.0.1:", "p99.9", "\nlive ", "  ok\n"] {
        assert!(table.contains(part), "{part:?} in\n{table}");
    }
}

#[test]
fn exit_codes_tell_bad_usage_from_failure() {
    let table = [
        (
            "run --proxy 192.0.2.1:80 --mode http --self-contained",
            2,
            "--allow-remote",
        ),
        ("run --proxy 127.0.0.1:1 --mode http", 2, "--live"),
        (
            "run --proxy 127.0.0.1:1 --mode http --duration 11m --self-contained",
            2,
            "--duration",
        ),
        (
            "run --proxy 127.0.0.1:1 --mode http --connections 20001",
            2,
            "--connections",
        ),
        ("bare --to 192.0.2.1:80", 2, "--to"),
        ("bare --to 127.0.0.1:1 --cert none", 2, "--key"),
        (
            "bare --to 127.0.0.1:1 --cert /nowhere --key /nowhere",
            1,
            "/nowhere",
        ),
        (
            &format!("run --proxy {NOBODY} --mode http --self-contained"),
            1,
            "--proxy",
        ),
        (
            &format!("hold --proxy {NOBODY} --mode connect --self-contained"),
            1,
            "--proxy",
        ),
    ];
    for (line, code, part) in table {
        let output = load(line);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {message}");
        assert!(message.contains(part), "{line}: {message}");
    }
}

#[test]
fn the_bare_engine_forwards_what_it_is_asked() {
    let origin = Origin::start();
    let bare = Origin::start_as(&format!("bare --to {}", origin.address));
    let mut client = TcpStream::connect(bare.address).unwrap();
    for connection in ["keep-alive", "close"] {
        write!(
            client,
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\n\r\n"
        )
        .unwrap();
    }
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    assert_eq!(
        answers.matches("HTTP/1.1 200 OK\r\n").count(),
        2,
        "{answers}"
    );
    assert!(answers.ends_with(&"x".repeat(100)), "{answers}");
}

#[test]
fn a_run_in_which_no_live_unit_succeeds_has_failed() {
    let proxy = Stub::start();
    let flags = "--connections 1 --duration 50ms";
    let output = load(&format!(
        "run --proxy {proxy} --mode connect --live {NOBODY} {flags}"
    ));
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("answered 502"), "{table}");
}

fn load(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_risefall-load"))
        .args(line.split(' '))
        .output()
        .unwrap()
}

fn report(line: &str) -> Value {
    let output = load(line);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn count(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no count"))
}

fn assert_only_outcome(row: &Value, outcome: &str, context: &str) {
    let outcomes = row["outcomes"].as_object().unwrap();
    let names: Vec<_> = outcomes.keys().collect();
    assert_eq!(names, [outcome], "{context}: {row}");
    assert_eq!(outcomes[outcome], row["units"], "{context}: {row}");
}

fn assert_ordered(latency: &Value, context: &str) {
    let values = ["p50", "p90", "p99", "p99_9", "max"].map(|key| count(&latency[key]));
    assert!(values.is_sorted(), "{context}: {latency}");
}

/// The loader's own origin, in a process of its own.
struct Origin {
    child: Child,
    address: SocketAddr,
}

impl Origin {
    fn start() -> Self {
        Self::start_as("origin")
    }

    fn start_as(line: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_risefall-load"))
            .args(line.split(' '))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap();
        let address = address.parse().unwrap();
        Self { child, address }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A proxy with a thread for each connection, and none of a real one's judgement.
struct Stub;

impl Stub {
    fn start() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream));
            }
        });
        address
    }
}

/// `None` once the client breaks off.
fn serve(client: TcpStream) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let mut first = [0];
    if client.peek(&mut first).ok()? == 0 {
        return None;
    }
    if first == [5] {
        return serve_socks(client);
    }
    let mut reader = BufReader::new(client.try_clone().ok()?);
    while let Some(head) = read_head(&mut reader) {
        let mut words = head.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        if method == "CONNECT" {
            return serve_connect(client, target.parse().ok()?);
        }
        forward(&client, target)?;
    }
    None
}

fn read_head(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

fn serve_socks(mut client: TcpStream) -> Option<()> {
    client.read_exact(&mut [0; 3]).ok()?;
    client.write_all(&[5, 0]).ok()?;
    let mut request = [0; 10];
    client.read_exact(&mut request).ok()?;
    let [5, 1, 0, 1, a, b, c, d, high, low] = request else {
        return None;
    };
    let target = SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])));
    match dial(target) {
        Ok(target) => {
            client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
            relay(client, target)
        }
        Err(Dead::Refused) => client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).ok(),
        Err(Dead::Silent) => client.write_all(&[5, 6, 0, 1, 0, 0, 0, 0, 0, 0]).ok(),
    }
}

fn serve_connect(mut client: TcpStream, target: SocketAddr) -> Option<()> {
    match dial(target) {
        Ok(target) => {
            client.write_all(b"HTTP/1.1 200 Established\r\n\r\n").ok()?;
            relay(client, target)
        }
        Err(dead) => client.write_all(dead.http_answer()).ok(),
    }
}

/// Answers in chunks, so that the loader meets them too.
fn forward(mut client: &TcpStream, url: &str) -> Option<()> {
    let (authority, path) = url.strip_prefix("http://")?.split_once('/')?;
    let mut target = match dial(authority.parse().ok()?) {
        Ok(target) => target,
        Err(dead) => return client.write_all(dead.http_answer()).ok(),
    };
    write!(
        target,
        "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    target.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    client.write_all(answer.as_bytes()).ok()
}

fn relay(client: TcpStream, target: TcpStream) -> Option<()> {
    let (mut from_client, mut to_target) = (client.try_clone().ok()?, target.try_clone().ok()?);
    let upward = thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_target);
        let _ = to_target.shutdown(Shutdown::Write);
    });
    let (mut from_target, mut to_client) = (target, client);
    let _ = std::io::copy(&mut from_target, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Write);
    upward.join().ok()
}

enum Dead {
    Refused,
    Silent,
}

impl Dead {
    fn http_answer(&self) -> &'static [u8] {
        match self {
            Self::Refused => b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
            Self::Silent => b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n",
        }
    }
}

fn dial(target: SocketAddr) -> Result<TcpStream, Dead> {
    let dialled = TcpStream::connect_timeout(&target, DIAL_TIMEOUT);
    let stream = dialled.map_err(|error| match error.kind() {
        std::io::ErrorKind::TimedOut => Dead::Silent,
        _ => Dead::Refused,
    })?;
    stream.set_nodelay(true).map_err(|_| Dead::Refused)?;
    Ok(stream)
}

/// Nothing listens there: the port is reserved, and no test uses the address.
const NOBODY: &str = "127.0.0.77:1";
const DIAL_TIMEOUT: Duration = Duration::from_millis(40);
