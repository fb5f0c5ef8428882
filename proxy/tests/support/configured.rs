//! A process that runs a file, and clients that go on while it is changed.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::binary::{Running, risefall};

pub const PATIENCE: Duration = Duration::from_secs(10);

/// A file in a folder of its own, and the process that runs it.
pub struct Configured {
    pub folder: tempfile::TempDir,
    pub running: Running,
}

impl Configured {
    pub fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("risefall.toml"), text).unwrap();
        let running = Running::run(&folder.path().join("risefall.toml"));
        Self { folder, running }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("risefall.toml")
    }

    pub fn write(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    pub fn admin(&self) -> SocketAddr {
        self.running.admin.unwrap()
    }

    pub fn reload(&self) -> Output {
        risefall(&["reload", "--admin", &self.admin().to_string()])
    }

    pub fn status(&self) -> serde_json::Value {
        let (_, body) = http(self.admin(), "GET", "/status", "");
        serde_json::from_str(&body).unwrap()
    }
}

/// Status and body of an answer of the admin API.
pub fn http(admin: SocketAddr, method: &str, path: &str, fields: &str) -> (u16, String) {
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

pub fn until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "took too long");
        std::thread::yield_now();
    }
}

/// An origin that answers requests on kept connections, and echoes lines that are none.
pub struct Origin {
    pub address: SocketAddr,
}

impl Origin {
    pub fn start() -> Self {
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

pub fn answer(stream: &mut TcpStream) -> Option<()> {
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

pub fn expect(stream: &mut TcpStream, wanted: &[u8]) {
    let mut found = vec![0; wanted.len()];
    stream.read_exact(&mut found).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&found),
        String::from_utf8_lossy(wanted)
    );
}

pub fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

pub fn get(stream: &mut TcpStream, origin: SocketAddr) {
    let head = get_once(stream, origin);
    assert!(!head.contains("close"), "{head}");
}

/// As [`get`]; the proxy may say that it closes. Gives the head.
pub fn get_once(stream: &mut TcpStream, origin: SocketAddr) -> String {
    let head = take(stream, &format!("GET http://{origin}/"), origin);
    expect(stream, b"hello");
    head
}

pub fn connect(stream: &mut TcpStream, origin: SocketAddr) {
    take(stream, &format!("CONNECT {origin}"), origin);
}

/// Asks, and gives the head of the answer, which is 200.
fn take(stream: &mut TcpStream, asked: &str, origin: SocketAddr) -> String {
    write!(stream, "{asked} HTTP/1.1\r\nHost: {origin}\r\n\r\n").unwrap();
    let head = head(stream);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    head
}

pub fn socks5(stream: &mut TcpStream, origin: SocketAddr) {
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

pub fn echo(stream: &mut TcpStream) {
    stream.write_all(b"still here\n").unwrap();
    expect(stream, b"still here\n");
}

pub fn open(proxy: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(proxy).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Clients that go on until they are told to stop; each panics at the first thing that goes wrong.
pub struct Load {
    pub stop: Arc<AtomicBool>,
    pub rounds: Arc<AtomicUsize>,
    pub clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// No clients yet.
    pub fn idle() -> Self {
        Self {
            stop: Arc::default(),
            rounds: Arc::default(),
            clients: Vec::new(),
        }
    }

    pub fn start(proxy: SocketAddr, origin: SocketAddr) -> Self {
        let mut load = Self::idle();
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

    /// Clients of which each connects anew for each round.
    pub fn of_new_connections(proxy: SocketAddr, origin: SocketAddr) -> Self {
        let mut load = Self::idle();
        load.client(move || drop(get_once(&mut open(proxy), origin)));
        load.client(move || {
            let mut tunnel = open(proxy);
            connect(&mut tunnel, origin);
            echo(&mut tunnel);
        });
        load.client(move || {
            let mut socks = open(proxy);
            socks5(&mut socks, origin);
            echo(&mut socks);
        });
        load
    }

    pub fn client(&mut self, mut round: impl FnMut() + Send + 'static) {
        let (stop, rounds) = (Arc::clone(&self.stop), Arc::clone(&self.rounds));
        self.clients.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                round();
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }

    /// Ends it; the number of rounds that went well.
    pub fn end(self) -> usize {
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
pub fn file(more: &str) -> String {
    format!(
        "[process]\nthreads = 2\n[log]\naccess = \"off\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [forward.office]\nlisten = \"127.0.0.1:0\"\n{more}"
    )
}
