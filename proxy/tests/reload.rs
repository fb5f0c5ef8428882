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

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use binary::Running;

const PATIENCE: Duration = Duration::from_secs(10);

/// A file in a folder of its own, and the process that runs it.
struct Configured {
    folder: tempfile::TempDir,
    running: Running,
}

impl Configured {
    fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("risefall.toml"), text).unwrap();
        let running = Running::run(&folder.path().join("risefall.toml"));
        Self { folder, running }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("risefall.toml")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    fn admin(&self) -> SocketAddr {
        self.running.admin.unwrap()
    }

    fn reload(&self) -> Output {
        risefall(&["reload", "--admin", &self.admin().to_string()])
    }

    fn status(&self) -> serde_json::Value {
        let (_, body) = http(self.admin(), "GET", "/status", "");
        serde_json::from_str(&body).unwrap()
    }
}

fn risefall(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_risefall"))
        .args(arguments)
        .output()
        .unwrap()
}

fn said(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Status and body of an answer of the admin API.
fn http(admin: SocketAddr, method: &str, path: &str, fields: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n{fields}\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "took too long");
        std::thread::yield_now();
    }
}

/// An origin that answers requests on kept connections, and echoes lines that are none.
struct Origin {
    address: SocketAddr,
}

impl Origin {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || while answer(&mut stream).is_some() {});
            }
        });
        Self { address }
    }
}

fn answer(stream: &mut TcpStream) -> Option<()> {
    let mut text = Vec::new();
    let is_request = |text: &[u8]| text.starts_with(b"GET ");
    loop {
        let end: &[u8] = if is_request(&text) {
            b"\r\n\r\n"
        } else {
            b"\n"
        };
        if text.ends_with(end) {
            break;
        }
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        text.push(byte[0]);
    }
    if is_request(&text) {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            .ok()
    } else {
        stream.write_all(&text).ok()
    }
}

fn expect(stream: &mut TcpStream, wanted: &[u8]) {
    let mut found = vec![0; wanted.len()];
    stream.read_exact(&mut found).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&found),
        String::from_utf8_lossy(wanted)
    );
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn get(stream: &mut TcpStream, origin: SocketAddr) {
    write!(
        stream,
        "GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\n\r\n"
    )
    .unwrap();
    let head = head(stream);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(!head.contains("close"), "{head}");
    expect(stream, b"hello");
}

fn connect(stream: &mut TcpStream, origin: SocketAddr) {
    write!(
        stream,
        "CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n"
    )
    .unwrap();
    let head = head(stream);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

fn socks5(stream: &mut TcpStream, origin: SocketAddr) {
    stream.write_all(&[5, 1, 0]).unwrap();
    expect(stream, &[5, 0]);
    let SocketAddr::V4(origin) = origin else {
        panic!("an IPv4 origin")
    };
    let mut request = vec![5, 1, 0, 1];
    request.extend(origin.ip().octets());
    request.extend(origin.port().to_be_bytes());
    stream.write_all(&request).unwrap();
    let mut reply = [0; 10];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply[1], 0);
}

fn echo(stream: &mut TcpStream) {
    stream.write_all(b"still here\n").unwrap();
    expect(stream, b"still here\n");
}

fn open(proxy: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(proxy).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Clients that go on until they are told to stop; each panics at the first thing that goes wrong.
struct Load {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(proxy: SocketAddr, origin: SocketAddr) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            rounds: Arc::default(),
            clients: Vec::new(),
        };
        // Kept for the whole test, and new ones all the time.
        let mut kept = open(proxy);
        load.client(move || get(&mut kept, origin));
        load.client(move || get(&mut open(proxy), origin));
        let mut tunnel = open(proxy);
        connect(&mut tunnel, origin);
        load.client(move || echo(&mut tunnel));
        load.client(move || {
            let mut tunnel = open(proxy);
            connect(&mut tunnel, origin);
            echo(&mut tunnel);
        });
        let mut socks = open(proxy);
        socks5(&mut socks, origin);
        load.client(move || echo(&mut socks));
        load.client(move || {
            let mut socks = open(proxy);
            socks5(&mut socks, origin);
            echo(&mut socks);
        });
        load
    }

    fn client(&mut self, mut round: impl FnMut() + Send + 'static) {
        let (stop, rounds) = (Arc::clone(&self.stop), Arc::clone(&self.rounds));
        self.clients.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                round();
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }

    /// Ends it; the number of rounds that went well.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client
                .join()
                .expect("a client was cut, or its request failed");
        }
        self.rounds.load(Ordering::Relaxed)
    }
}

/// Two workers, a forward proxy that stays, and what else is said.
fn file(more: &str) -> String {
    format!(
        "[process]\nthreads = 2\n[log]\naccess = \"off\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [forward.office]\nlisten = \"127.0.0.1:0\"\n{more}"
    )
}

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
