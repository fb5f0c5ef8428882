//! The binary as people use it: help, a proxy on the command line, its status, its end.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "support/binary.rs"]
mod binary;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use binary::{Running, assert_says_the_same, out, risefall, said};

/// A port that is taken and refuses connections for as long as the socket lives.
fn dead_port() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[test]
fn without_arguments_it_says_what_it_can_do() {
    let output = risefall(&[]);
    assert_eq!(output.status.code(), Some(0));
    let out = out(&output);
    for start in ["risefall proxy", "risefall status", "--allow-clients"] {
        assert!(out.contains(start), "{out}");
    }
}

#[test]
fn every_help_has_defaults_and_an_example() {
    for (command, words) in [
        (
            "proxy",
            &["127.0.0.1:8090", "60s", "Examples:", "curl -x"][..],
        ),
        (
            "reverse",
            &["127.0.0.1:8080", "60s", "Examples:", "https://"],
        ),
        ("status", &["127.0.0.1:9901", "Examples:", "--json"]),
    ] {
        let output = risefall(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0));
        for word in words {
            assert!(out(&output).contains(word), "{command} --help lacks {word}");
        }
    }
}

#[test]
fn bad_usage_exits_with_2_and_says_what_would_be_right() {
    for (arguments, hint) in [
        (
            &["proxy", "--fail-timeout", "60"][..],
            "such as 60s or 60ms",
        ),
        (&["proxy", "--listen", "0.0.0.0:0"], "--allow-clients"),
        (&["proxy", "--admin", "192.0.2.1:9901"], "not on loopback"),
        (&["proxy", "--max-fails", "0"], "1..=255"),
        (&["reverse"], "--to <ADDR>"),
        (&["reverse", "--to", "a"], "such as 10.0.0.11:8080"),
        (
            &["reverse", "--to", "a:1", "--to", "A:1"],
            "--to: a:1 is in",
        ),
        (&["reverse", "--to", "a:1", "--to", "https://b"], "https://"),
        (&["reverse", "--to", "a:1", "--host", "*"], "*.example.com"),
        (&["reverse", "--to", "a:1", "--tls-cert", "x"], "--tls-key"),
        (
            &[
                "reverse",
                "--to",
                "a:1",
                "--tls-cert",
                "/no",
                "--tls-key",
                "/no",
            ],
            "--tls-cert: /no",
        ),
        (&["proxy", "--allow-clients", "nonsense"], "192.168.1.0/24"),
        (
            &["proxy", "--max-connections", "18446744073709551615"],
            "number too large to fit",
        ),
        (&["proxy", "--threads", "5000"], "5000 is not in 0..=1024"),
        (
            &["proxy", "--connect-timeout", "0s"],
            "--connect-timeout: found 0ms, expected from 1ms to 24h",
        ),
        (
            &["proxy", "--listen", "localhost:80"],
            "such as 127.0.0.1:8090",
        ),
        (
            &["status", "--admin", "localhost"],
            "an address such as 127.0.0.1:9901",
        ),
        (&["prxy"], "proxy"),
    ] {
        let output = risefall(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = said(&output);
        assert!(said.contains(hint), "{arguments:?}: {said}");
    }
}

#[test]
fn a_one_line_start_prints_a_file_that_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("printed.toml");
    for arguments in [
        &["proxy", "--listen", "127.0.0.1:0"][..],
        &["reverse", "--to", "10.0.0.1:80", "--to", "10.0.0.2:80"],
        &[
            "reverse",
            "--to",
            "https://api.internal",
            "--check",
            "/healthz?full",
            "--host",
            "*.example.com",
            "--trusted",
            "10.0.0.0/8",
            "--balance",
            "p2c",
            "--h2c",
        ],
    ] {
        let printed = risefall(&[arguments, &["--print-config"]].concat());
        assert_eq!(printed.status.code(), Some(0), "{}", said(&printed));
        std::fs::write(&path, &printed.stdout).unwrap();
        assert_says_the_same(&path, out(&printed));
    }
}

#[test]
fn a_port_in_use_exits_with_1_and_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = risefall(&["proxy", "--listen", &address, "--admin", "off"]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(
        said.contains(&address) && said.contains("another program listens there"),
        "{said}"
    );
}

#[test]
fn an_access_log_that_cannot_be_opened_is_named() {
    let path = "/no/such/folder/access.log";
    let output = risefall(&["proxy", "--access-log", path]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(
        said.contains(&format!("access log {path}: No such")),
        "{said}"
    );
}

#[test]
fn a_default_gives_way_to_the_limit_on_open_files_and_a_wish_is_warned_of() {
    for (arguments, connections, is_warned) in [
        (&["--admin", "off"][..], "up to 345 connections", false),
        (
            &["--admin", "off", "--max-connections", "5000"],
            "up to 5000 connections",
            true,
        ),
    ] {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 1024 && exec \"$0\" \"$@\""]);
        command.arg(env!("CARGO_BIN_EXE_risefall"));
        let running = Running::start_by(command, arguments);
        let summary = &running.summary;
        assert!(summary.contains(connections), "{summary}");
        assert_eq!(
            summary.contains("limit on open files"),
            is_warned,
            "{summary}"
        );
    }
}

#[test]
fn status_says_so_when_nothing_runs_there() {
    let (_port, dead) = dead_port();
    let free = dead.to_string();
    let output = risefall(&["status", "--admin", &free]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(&format!("nothing answers on {free}")));
}

#[test]
fn a_proxy_tells_its_status_and_writes_access_lines_until_it_is_stopped() {
    let running = Running::start(&["--admin", "127.0.0.1:0", "--fail-timeout", "90m"]);
    let admin = running.admin.unwrap().to_string();
    assert!(
        running.summary.contains("3 failures"),
        "{}",
        running.summary
    );

    let quiet = risefall(&["status", "--admin", &admin]);
    assert_eq!(quiet.status.code(), Some(0));
    assert!(out(&quiet).contains("no failing addresses"));

    let (_port, dead) = dead_port();
    for status in ["502", "502", "502", "503"] {
        assert!(
            running
                .get(dead)
                .starts_with(&format!("HTTP/1.1 {status} "))
        );
    }

    let table = risefall(&["status", "--admin", &admin]);
    let table = out(&table);
    let row = table
        .lines()
        .find(|line| line.starts_with(&dead.to_string()))
        .unwrap();
    for word in ["down", "3 failed", "refused", "ago", "in 1h"] {
        assert!(row.contains(word), "{row}");
    }
    let story = risefall(&["status", &dead.to_string(), "--admin", &admin]);
    let story = out(&story);
    let change = story.lines().last().unwrap();
    let words: Vec<_> = change.split_whitespace().collect();
    assert_eq!(
        words[2..],
        ["up", "down", "refused,", "3", "in", "a", "row"],
        "{story}"
    );
    let json = risefall(&["status", "--json", "--admin", &admin]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["health"][0]["state"], "down");
    assert_eq!(json["health"][0]["failures"], 3);
    assert_eq!(json["policy"]["max_fails"], 3);

    running.signal(rustix::process::Signal::TERM);
    let lines = running.end();
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines[0].contains(&format!("http GET http://{dead}/ 502 0 ")),
        "{}",
        lines[0]
    );
    assert!(
        lines[0].contains(" up connection_refused forward=proxy "),
        "{}",
        lines[0]
    );
    assert!(
        lines[3].contains(&format!(" {dead} falldown destination_unavailable ")),
        "{}",
        lines[3]
    );
}

#[test]
fn a_proxy_outlives_the_reader_of_its_log() {
    let mut running = Running::start(&["--admin", "off"]);
    drop(running.child.stderr.take());
    let (_port, dead) = dead_port();
    // The third failure takes the address down, and that is logged to nobody.
    for status in ["502", "502", "502", "503"] {
        let answer = running.get(dead);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.end().lines().count(), 4);
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let running = Running::start(&["--admin", "127.0.0.1:0", "--drain-timeout", "1h"]);
    let admin = running.admin.unwrap().to_string();
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = origin.local_addr().unwrap();
    let mut tunnel = TcpStream::connect(running.proxy).unwrap();
    write!(
        tunnel,
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
    )
    .unwrap();
    let mut head = [0; 12];
    tunnel.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    running.signal(rustix::process::Signal::INT);
    // The listener is closed when the first signal has been seen.
    while TcpStream::connect(running.proxy).is_ok() {}
    let status = risefall(&["status", "--admin", &admin]);
    assert!(status.status.success(), "the status is told while draining");
    running.signal(rustix::process::Signal::INT);
    let lines = running.end();
    assert!(lines.contains("connect CONNECT"), "{lines}");
}

#[test]
fn an_operator_overrides_an_address_and_takes_it_back() {
    let running = Running::start(&["--admin", "127.0.0.1:0"]);
    let admin = running.admin.unwrap().to_string();
    let (_dead, dead) = dead_port();
    let health = |action: &str| {
        let address = dead.to_string();
        let output = risefall(&["health", action, &address, "--admin", &admin]);
        assert!(output.status.success(), "{}", said(&output));
        said(&output).to_owned()
    };
    assert!(health("drain").contains("is drained"));
    assert!(running.get(dead).starts_with("HTTP/1.1 503 "));
    let status = risefall(&["status", "--admin", &admin]);
    assert!(out(&status).contains("drained"), "{}", out(&status));
    assert!(health("release").contains("is released"));
    assert!(running.get(dead).starts_with("HTTP/1.1 502 "));
    assert!(health("down").contains("is forced down"));
    assert!(running.get(dead).starts_with("HTTP/1.1 503 "));
    assert!(health("reset").contains("is reset"));
    assert!(running.get(dead).starts_with("HTTP/1.1 502 "));

    // A plain form of a page in the operator's browser has no field of its own.
    let mut stream = TcpStream::connect(running.admin.unwrap()).unwrap();
    write!(
        stream,
        "POST /endpoints/{dead}/down HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(running.get(dead).starts_with("HTTP/1.1 502 "));
}

#[test]
fn the_admin_api_answers_loopback_names_only() {
    let running = Running::start(&["--admin", "127.0.0.1:0"]);
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(running.admin.unwrap()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer[9..12].to_owned()
    };
    let end = "Connection: close\r\n\r\n";
    for (request, status) in [
        ("GET /status HTTP/1.1\r\nHost: localhost:1\r\n", "200"),
        ("GET /status HTTP/1.1\r\nHost: [::1]\r\n", "200"),
        ("GET /status HTTP/1.1\r\nHost: rebound.example\r\n", "403"),
        ("GET /status HTTP/1.1\r\n", "403"),
        (
            "GET /status?address=[::1]:9 HTTP/1.1\r\nHost: localhost\r\n",
            "200",
        ),
        (
            "GET /status?address=nobody HTTP/1.1\r\nHost: localhost\r\n",
            "400",
        ),
        ("POST /status HTTP/1.1\r\nHost: localhost\r\n", "405"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n", "200"),
        ("GET / HTTP/1.1\r\nHost: rebound.example\r\n", "403"),
        ("GET /ready HTTP/1.1\r\nHost: localhost\r\n", "200"),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\n", "200"),
        ("GET /endpoints HTTP/1.1\r\nHost: localhost\r\n", "200"),
        ("POST /reload HTTP/1.1\r\nHost: localhost\r\n", "403"),
        ("GET /reload HTTP/1.1\r\nHost: localhost\r\n", "405"),
        ("GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n", "404"),
    ] {
        assert_eq!(ask(&format!("{request}{end}")), status, "{request}");
    }
}

#[test]
fn cargo_run_at_the_workspace_root_runs_this_program() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline", "--", "--version"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(
        out(&output),
        format!("risefall {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_log_that_nobody_reads_keeps_no_request_waiting() {
    let running = Running::start(&["--log-level", "debug", "--admin", "off"]);
    // More than a pipe holds, of which nobody takes anything.
    for _ in 0..1500 {
        let mut client = TcpStream::connect(running.proxy).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        client.write_all(b"GET nowhere HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 400");
    }
    running.signal(rustix::process::Signal::TERM);
    running.end();
}
