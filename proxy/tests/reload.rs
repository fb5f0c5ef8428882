//! Another configuration in a running process: nobody is cut, nothing is half applied.

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

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use binary::{Running, risefall, said};
use configured::{Configured, Load, Origin, connect, echo, file, get, http, open, until};

#[test]
fn two_hundred_reloads_under_load_fail_no_request_and_cut_no_connection() {
    let origin = Origin::start();
    let configured = Configured::start(&file(""));
    let load = Load::start(configured.running.proxy, origin.address);
    let reload = "X-Risefall-Action: 1\r\nContent-Length: 0\r\n";
    for turn in 0..100 {
        // Listeners come and go, bounds and rules change, the policy changes.
        let more = match turn % 4 {
            0 => "[forward.lab]\nlisten = [\"127.0.0.1:0\", \"[::1]:0\"]\n",
            1 => "protocols = [\"http\", \"socks5\"]\n[limits]\nhandshake_timeout = \"300ms\"\n",
            2 => "clients = [\"127.0.0.0/8\"]\nallow_private = true\n[health]\nmax_fails = 7\n",
            _ => {
                "[limits]\nconnections = 500\nconnections_per_client = 400\nlookups = 3\n\
                  idle_origins = 2\n[forward.lab]\nlisten = \"127.0.0.1:0\"\n"
            }
        };
        configured.write(&file(more));
        let (status, body) = http(configured.admin(), "POST", "/reload", reload);
        assert_eq!(status, 200, "{body}");
        configured.write(&file("listen = 3\n[forward.lab]\nlisten = \"nowhere\"\n"));
        let (status, body) = http(configured.admin(), "POST", "/reload", reload);
        assert_eq!(status, 409, "{body}");
    }
    let status = configured.status();
    assert_eq!(status["generation"], 101);
    assert_eq!(status["last_reload"]["ok"], false);
    let rounds = load.end();
    assert!(rounds > 200, "hardly any load: {rounds} rounds");
    let status = configured.status();
    assert_eq!(status["traffic"]["failed"], 0);
    assert!(status["traffic"]["requests"].as_u64().unwrap() > 200);
}

#[test]
fn a_reload_tells_what_has_changed_or_why_nothing_has() {
    let configured = Configured::start(&file(""));
    let done = configured.reload();
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(said(&done).contains("generation 2"), "{}", said(&done));
    assert!(
        said(&done).contains("the same listeners"),
        "{}",
        said(&done)
    );

    configured.write(&file("[forward.lab]\nlisten = \"127.0.0.1:0\"\n"));
    let done = configured.reload();
    assert!(
        said(&done).contains("listening on 127.0.0.1:"),
        "{}",
        said(&done)
    );

    for (text, words) in [
        (
            file("clients = [\"nonsense\"]\n"),
            &["risefall.toml:9:12", "192.168.1.0/24"][..],
        ),
        (
            file("parent = \"hop\"\n"),
            &["9:10", "there is no upstream \"hop\""],
        ),
        (
            file("[health]\nfail_timeout = \"0s\"\n"),
            &["10:16", "found 0ms"],
        ),
        (
            file("").replace("threads = 2", "threads = 1"),
            &["process.threads", "restart"],
        ),
        (
            file("").replace("\"off\"", "\"stdout\""),
            &["log.access", "restart"],
        ),
        (
            file("").replace("127.0.0.1:0\"\n[f", "127.0.0.1:9\"\n[f"),
            &["admin.listen"],
        ),
        (String::new(), &["nothing to serve"]),
    ] {
        configured.write(&text);
        let refused = configured.reload();
        assert_eq!(refused.status.code(), Some(1), "{text}: {}", said(&refused));
        for word in words {
            assert!(said(&refused).contains(word), "{word}: {}", said(&refused));
        }
    }
    assert_eq!(configured.status()["generation"], 3, "nothing half applied");
    // All mistakes are told of, by who refused it and later.
    configured.write(&file(
        "clients = [\"nonsense\"]\nprotocols = [3]\n[limits]\nchecks = 0\nlookups = 0\nthings = 1\n",
    ));
    configured.reload();
    let status = risefall(&["status", "--admin", &configured.admin().to_string()]);
    let status = String::from_utf8(status.stdout).unwrap();
    for words in [
        " ago: 5 mistakes\n  ",
        "risefall.toml:",
        "  and 2 more: `risefall check -c FILE` shows all\n",
    ] {
        assert!(status.contains(words), "{words}: {status}");
    }
}

#[test]
fn a_port_that_cannot_be_had_changes_nothing() {
    let configured = Configured::start(&file(""));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!(
        "[forward.new]\nlisten = [\"127.0.0.1:0\", \"{}\"]\n",
        taken.local_addr().unwrap()
    );
    configured.write(&file(&more));
    let refused = configured.reload();
    assert!(
        said(&refused).contains("another program listens there"),
        "{}",
        said(&refused)
    );
    let status = configured.status();
    assert_eq!(status["generation"], 1);
    assert_eq!(status["listeners"].as_array().unwrap().len(), 1);
}

#[test]
fn a_removed_listener_drains_and_is_cut_in_the_end() {
    let origin = Origin::start();
    let lab = "[forward.lab]\nlisten = \"127.0.0.1:0\"\n";
    let drain = |time: &str, more: &str| {
        file(more).replace(
            "threads = 2",
            &format!("threads = 2\ndrain_timeout = \"{time}\""),
        )
    };
    let configured = Configured::start(&drain("150ms", lab));
    let listeners = configured.status()["listeners"].clone();
    let lab_at = listeners
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "lab");
    let lab_at: SocketAddr = lab_at.unwrap()["address"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let mut idle = open(lab_at);
    get(&mut idle, origin.address);
    let mut tunnel = open(lab_at);
    connect(&mut tunnel, origin.address);
    configured.write(&drain("150ms", ""));
    let done = configured.reload();
    assert!(
        said(&done).contains(&format!("draining {lab_at}")),
        "{}",
        said(&done)
    );
    // Nobody listens there any more, and the address can be had again at once.
    assert!(TcpStream::connect(lab_at).is_err());
    assert_eq!(
        idle.read(&mut [0]).unwrap(),
        0,
        "an idle connection ends politely"
    );
    echo(&mut tunnel);
    let mut rest = Vec::new();
    let _ = tunnel.read_to_end(&mut rest);
    assert!(rest.is_empty(), "cut at the end of the time to drain");
    drop(TcpListener::bind(lab_at).unwrap());
}

#[test]
fn sighup_loads_the_file_and_health_survives() {
    let configured = Configured::start(&file("[health]\nmax_fails = 1\n"));
    let dead = {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket
    };
    let address = dead.local_addr().unwrap().as_socket().unwrap();
    assert!(configured.running.get(address).starts_with("HTTP/1.1 502 "));
    assert!(configured.running.get(address).starts_with("HTTP/1.1 503 "));
    configured.write(&file("[health]\nmax_fails = 1\nfail_timeout = \"2m\"\n"));
    configured.running.signal(rustix::process::Signal::HUP);
    until(|| configured.status()["generation"] == 2);
    let status = configured.status();
    assert_eq!(status["policy"]["fail_timeout_ms"], 120_000);
    assert_eq!(status["health"][0]["address"], address.to_string());
    assert!(configured.running.get(address).starts_with("HTTP/1.1 503 "));
}

#[test]
fn the_file_is_watched_when_asked_to_through_renames_and_links() {
    let watched = |more: &str| file(more).replace("threads = 2", "threads = 2\nwatch = true");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("one")).unwrap();
    std::fs::create_dir(path("two")).unwrap();
    std::fs::write(path("one").join("risefall.toml"), watched("")).unwrap();
    let limits = "[limits]\nlookups = 9\n";
    std::fs::write(path("two").join("risefall.toml"), watched(limits)).unwrap();
    // As a container's configuration comes: a link to a link that is exchanged.
    link("one", &path("now"));
    link("now/risefall.toml", &path("risefall.toml"));
    let running = Running::run(&path("risefall.toml"));
    let configured = Configured { folder, running };
    link("two", &configured.folder.path().join("next"));
    std::fs::rename(
        configured.folder.path().join("next"),
        configured.folder.path().join("now"),
    )
    .unwrap();
    until(|| configured.status()["generation"] == 2);
    // As an editor writes: a new file, renamed over the old one; a broken one first.
    let file = configured.folder.path().join("two/risefall.toml");
    for (text, is_done) in [("[nonsense", false), (&*watched(""), true)] {
        let next = configured.folder.path().join("two/.swap");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(&next, &file).unwrap();
        until(|| configured.status()["last_reload"]["ok"] == is_done);
    }
    until(|| configured.status()["generation"] == 3);
}

fn link(to: &str, path: &Path) {
    std::os::unix::fs::symlink(to, path).unwrap();
}
