//! The admin API: who may use it, and what it explains and sets.

use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use super::binary::{out, risefall, said};
use super::configured::{Configured, file, http, until};

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

const ACT: &str = "X-Risefall-Action: 1\r\nContent-Length: 0\r\n";
