//! What an operator has of a running process: the admin API, its logs, its memory, its supervisor.

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

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use binary::{Running, out, risefall, said};
use configured::{Configured, Origin, PATIENCE, file, get, http, open, until};
use rustix::process::Signal;

const ACT: &str = "X-Risefall-Action: 1\r\nContent-Length: 0\r\n";

#[test]
fn a_token_is_asked_for_where_there_is_one() {
    let text = |token: &str| {
        file("").replace(
            "listen = \"127.0.0.1:0\"\n[f",
            &format!("listen = \"127.0.0.1:0\"\n{token}\n[f"),
        )
    };
    let configured = Configured::start(&text("token = \"hunter2\""));
    let admin = configured.admin();
    let status = |fields: &str| http(admin, "GET", "/status", fields).0;
    assert_eq!(status(""), 401);
    assert_eq!(status("Authorization: Bearer hunter3\r\n"), 401);
    assert_eq!(status("Authorization: Basic hunter2\r\n"), 401);
    assert_eq!(status("Authorization: Bearer hunter2\r\n"), 200);
    for (path, free) in [
        ("/", 200),
        ("/health", 200),
        ("/ready", 200),
        ("/metrics", 401),
    ] {
        assert_eq!(http(admin, "GET", path, "").0, free, "{path}");
    }
    assert_eq!(http(admin, "POST", "/reload", ACT).0, 401);

    let at = admin.to_string();
    let refused = risefall(&["status", "--admin", &at]);
    assert!(
        said(&refused).contains("--token-file"),
        "{}",
        said(&refused)
    );
    let token = configured.folder.path().join("token");
    std::fs::write(&token, "hunter2\n").unwrap();
    let token = token.to_str().unwrap();
    let shown = risefall(&["status", "--admin", &at, "--token-file", token]);
    assert!(
        out(&shown).contains("no failing addresses"),
        "{}",
        said(&shown)
    );
    // Another token is in force as soon as it is loaded, and it may come from a file.
    configured.write(&text("token_file = \"secret\""));
    let missing = risefall(&["reload", "--admin", &at, "--token-file", token]);
    assert!(
        said(&missing).contains("admin.token_file: cannot read"),
        "{}",
        said(&missing)
    );
    std::fs::write(configured.folder.path().join("secret"), "hunter4\n").unwrap();
    let done = risefall(&["reload", "--admin", &at, "--token-file", token]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert_eq!(status("Authorization: Bearer hunter2\r\n"), 401);
    assert_eq!(status("Authorization: Bearer hunter4\r\n"), 200);
}

#[test]
fn the_admin_api_on_a_unix_socket_is_its_owner_s() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let at = format!("unix:{}", socket.display());
    let text = file("").replace(
        "[admin]\nlisten = \"127.0.0.1:0\"",
        &format!("[admin]\nlisten = \"{at}\""),
    );
    let configured = Configured::start(&text);
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let shown = risefall(&["status", "--admin", &at]);
    assert!(
        out(&shown).contains("no failing addresses"),
        "{}",
        said(&shown)
    );
    let done = risefall(&["reload", "--admin", &at]);
    assert!(said(&done).contains("generation 2"), "{}", said(&done));
    configured.running.signal(Signal::TERM);
    configured.running.end();
    assert!(!socket.exists(), "nothing is left behind");
}

#[test]
fn an_admin_address_that_a_file_asks_for_is_needed() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("risefall.toml");
    let text = file("").replacen("127.0.0.1:0", &taken.local_addr().unwrap().to_string(), 1);
    std::fs::write(&path, text).unwrap();
    let refused = risefall(&["run", "-c", path.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("the admin API cannot listen on"),
        "{}",
        said(&refused)
    );
}

#[test]
fn metrics_are_what_the_format_says_and_count_what_happened() {
    let origin = Origin::start();
    let more = format!(
        "[upstream.hub]\nservers = [\"127.0.0.1:9\"]\n[upstream.asked]\nservers = [\"{}\"]\n\
         check = {{ type = \"tcp\", interval = \"1h\" }}\n[site.shop]\nlisten = \"127.0.0.1:0\"\n\
         [[site.shop.route]]\npath = \"/\"\nupstream = \"hub\"\n",
        origin.address
    );
    let configured = Configured::start(&file(&more));
    let checked = format!(
        "risefall_server_checks_total{{upstream=\"asked\",server=\"{}\"}} 1\n",
        origin.address
    );
    until(|| {
        let (_, text) = http(configured.admin(), "GET", "/metrics", "");
        text.contains(&checked)
    });
    for _ in 0..3 {
        get(&mut open(configured.running.proxy), origin.address);
    }
    until(|| configured.status()["traffic"]["connections"] == 0);
    let (status, text) = http(configured.admin(), "GET", "/metrics", "");
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    let value = |series: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let line = line.unwrap_or_else(|| panic!("no {series} in {text}"));
        line.trim().parse::<f64>().unwrap()
    };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("risefall_"), "{line}");
        assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
    }
    for (series, wanted) in [
        (
            "risefall_requests_total{protocol=\"http\",code=\"2xx\"}",
            3.0,
        ),
        (
            "risefall_request_duration_seconds_count{protocol=\"http\"}",
            3.0,
        ),
        (
            "risefall_request_duration_seconds_bucket{le=\"+Inf\",protocol=\"http\"}",
            3.0,
        ),
        ("risefall_sent_bytes_total", 15.0),
        ("risefall_faults_total{error=\"connection_refused\"}", 0.0),
        ("risefall_requests_in_flight", 0.0),
        (
            "risefall_server_up{upstream=\"hub\",server=\"127.0.0.1:9\"}",
            1.0,
        ),
        (
            "risefall_site_requests_total{site=\"shop\",code=\"5xx\"}",
            0.0,
        ),
        ("risefall_upstream_requests_total{upstream=\"hub\"}", 0.0),
        ("risefall_reloads_total{result=\"done\"}", 0.0),
        ("risefall_generation", 1.0),
        ("risefall_ready", 1.0),
        ("risefall_transitions_total{state=\"down\"}", 0.0),
    ] {
        assert!(
            (value(series) - wanted).abs() < 0.1,
            "{series} is {}",
            value(series)
        );
    }
    // The page of the manual names all of them, and no other.
    let manual = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let names = |text: &str| -> std::collections::BTreeSet<String> {
        let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
        let names = words.filter(|word| word.starts_with("risefall_"));
        names.map(str::to_owned).collect()
    };
    let scraped = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for line in scraped {
        let (name, kind) = line.split_once(' ').unwrap();
        let total = if kind == "counter" { "_total" } else { "" };
        let name = format!("{name}{total}");
        assert!(
            names(&manual).contains(&name),
            "{name} is not in the manual"
        );
    }
    let is_scraped = |name: &String| name.contains("memory") || names(&text).contains(name);
    let gone: Vec<_> = names(&manual)
        .into_iter()
        .filter(|name| !name.ends_with("_seconds") && !is_scraped(name))
        .collect();
    assert!(gone.is_empty(), "the manual names {gone:?}");
    let dials = value("risefall_dials_total") + value("risefall_pool_reused_total");
    assert!((dials - 3.0).abs() < 0.1, "{dials}");
}

#[test]
fn an_explanation_tells_each_step_and_its_reason() {
    let more = "allow_private = false\n[forward.lab]\nlisten = \"127.0.0.1:0\"\nclients = [\"10.0.0.0/8\"]\n\
                [forward.via]\nlisten = \"127.0.0.1:0\"\nparent = \"hub\"\nprotocols = [\"socks5\"]\n\
                [upstream.hub]\nservers = [\"127.0.0.1:9\", { address = \"127.0.0.1:7\", backup = true }]\n\
                check = { type = \"udp\", send = \"a\", receive = \"b\", timeout = \"1ms\", interval = \"1h\" }\n";
    let configured = Configured::start(&file(more));
    let admin = configured.admin();
    let at = admin.to_string();
    http(admin, "POST", "/endpoints/127.0.0.1:9/drain", ACT);
    let explain = |arguments: &[&str]| {
        let output = risefall(&[&["explain", "--admin", &at], arguments].concat());
        format!("{}{}", out(&output), said(&output))
    };
    // The parents are checked, and nobody answers there.
    until(|| explain(&["127.0.0.1:9"]).matches("  checked: ").count() == 2);
    until(|| explain(&["127.0.0.1:9"]).contains("checks: down until they succeed: 1 failure"));
    let all = explain(&["127.0.0.1:9", "--client", "192.0.2.1"]);
    for words in [
        "forward office on 127.0.0.1:",
        "this machine: 192.0.2.1 may",
        "no       127.0.0.1:9  not a public address",
        "those in 10.0.0.0/8: 192.0.2.1 may not (403, SOCKS 02)",
        "no       127.0.0.1:9  an operator lets no new connections to it",
        "through upstream hub",
        "no       127.0.0.1:7  backup; checks: down until they succeed: 1 failure",
    ] {
        assert!(all.contains(words), "{words}: {all}");
    }
    // The same of one address, with what its upstream has of it.
    let one = risefall(&["status", "127.0.0.1:7", "--admin", &at]);
    for words in [
        "hub       127.0.0.1:7 (backup)  no    up    up       down   checks: down until ",
        "UPSTREAM  SERVER       WEIGHT  SHARE  EJECTED\n",
        "hub       127.0.0.1:7  1       100 %  no (0 of 1)\n",
        "hub       127.0.0.1:7  ready  1 ",
    ] {
        assert!(out(&one).contains(words), "{words}: {}", out(&one));
    }
    let url = explain(&["http://example.com/", "--forward", "via"]);
    assert!(url.contains("not spoken here"), "{url}");
    let own = explain(&[
        &format!("http://{}/", configured.running.proxy),
        "--forward",
        "lab",
    ]);
    assert!(own.contains("a listener of this proxy itself"), "{own}");
    let unknown = explain(&["a:1", "--forward", "nobody"]);
    assert!(
        unknown.contains("expected one of lab, office, via"),
        "{unknown}"
    );
    assert!(explain(&["nonsense"]).contains("expected a URL or HOST:PORT"));
}

#[test]
fn the_level_of_the_log_is_set_at_run_time() {
    let configured = Configured::start(&file(""));
    let admin = configured.admin();
    assert_eq!(http(admin, "POST", "/log/debug", ACT).0, 200);
    assert_eq!(http(admin, "POST", "/log/loud", ACT).0, 404);
    assert_eq!(http(admin, "POST", "/log/debug", "").0, 403);
    assert_eq!(http(admin, "GET", "/log/debug", "").0, 405);
}

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

#[test]
fn completions_and_man_pages_know_every_command() {
    let bash = risefall(&["completions", "bash"]);
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(
            risefall(&["completions", shell]).status.success(),
            "{shell}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let done = risefall(&["man", "--write", folder.path().to_str().unwrap()]);
    assert!(done.status.success(), "{}", said(&done));
    for command in [
        "proxy", "run", "check", "schema", "reload", "upgrade", "status", "explain", "health",
    ] {
        assert!(out(&bash).contains(command), "{command}");
        let page = folder.path().join(format!("risefall-{command}.1"));
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains(&format!("risefall\\-{command}")), "{page}");
        assert_eq!(out(&risefall(&["man", command])), page);
    }
}

#[test]
fn a_check_tells_every_mistake_and_prints_what_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let path_text = path.to_str().unwrap();
    std::fs::write(
        &path,
        "[forward.a]\nlisten = \"0.0.0.0:80\"\nclient = []\n[limits]\nheader_count = 0\n",
    )
    .unwrap();
    let refused = risefall(&["check", "-c", path_text]);
    assert_eq!(refused.status.code(), Some(2));
    for words in [
        "a.toml:2:10: forward.a.listen",
        "clients",
        "a.toml:5:16",
        "3 mistakes",
    ] {
        assert!(
            said(&refused).contains(words),
            "{words}: {}",
            said(&refused)
        );
    }
    assert_eq!(risefall(&["run", "-c", path_text]).status.code(), Some(2));
    // A wrong element of a list does not move what is told of the others.
    let servers = "[forward.a]\nlisten = \"127.0.0.1:0\"\n[upstream.b]\nservers = [\"a\", \"b:1\", \"b:1\"]\n";
    std::fs::write(&path, servers).unwrap();
    let refused = risefall(&["check", "-c", path_text]);
    let words = "a.toml:4:24: upstream.b.servers[2]: b:1 is in this group already";
    assert!(said(&refused).contains(words), "{}", said(&refused));
    std::fs::write(&path, b"\xff\xfe\0").unwrap();
    let refused = risefall(&["check", "-c", path_text]);
    assert!(
        said(&refused).contains("no text in UTF-8"),
        "{}",
        said(&refused)
    );
    std::fs::write(
        &path,
        "[forward.a]\nlisten = \"127.0.0.1:0\"\n[admin]\ntoken = \"hunter2\"\n",
    )
    .unwrap();
    let right = risefall(&["check", "-c", path_text]);
    assert_eq!((right.status.code(), out(&right)), (Some(0), ""));
    let printed = risefall(&["check", "--print", "-c", path_text]);
    for words in [
        "connections = 10000",
        "allow_private = true",
        "max_fail_timeout = \"5m\"",
    ] {
        assert!(out(&printed).contains(words), "{words}: {}", out(&printed));
    }
    assert!(!out(&printed).contains("hunter2"));
    let nowhere = risefall(&["check", "-c", "/nowhere/at/all.toml"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(said(&nowhere).contains("cannot read /nowhere/at/all.toml"));
}

#[test]
fn a_one_line_start_prints_itself_as_a_file_that_runs() {
    let flags = [
        "proxy",
        "--listen",
        "127.0.0.1:0",
        "--threads",
        "1",
        "--admin",
        "off",
        "--max-fails",
        "4",
    ];
    let printed = risefall(&[&flags[..], &["--print-config"]].concat());
    assert!(printed.status.success(), "{}", said(&printed));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    std::fs::write(&path, &printed.stdout).unwrap();
    let running = Running::run(&path);
    assert!(
        running.summary.contains("down after 4 failures"),
        "{}",
        running.summary
    );
    assert_eq!(running.admin, None);
}
