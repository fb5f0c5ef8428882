//! Another configuration while sites are at work: what goes on through them goes on.

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
#[path = "support/h2.rs"]
mod h2_support;
mod support;

use std::net::SocketAddr;

use configured::{Configured, Load, expect, head, http, open};
use h2_support::{H2, get};
use support::{Client, Origin, field, within};
use tokio::sync::watch;

/// Reloads that are done; as many are refused in between.
const TURNS: usize = 100;

/// How many parts of the lasting answers may be sent.
type Allowed = watch::Receiver<usize>;

/// A server with a WebSocket that sends back what it gets, an answer that lasts as long as the
/// test, and a short one.
async fn origin(allowed: &Allowed) -> Origin {
    let allowed = allowed.clone();
    Origin::start(move |client: Client| serve(client, allowed.clone())).await
}

async fn serve(mut client: Client, mut allowed: Allowed) {
    while !client.bytes.is_empty() || client.more().await > 0 {
        let head = client.head().await;
        if field(&head, "upgrade").is_some() {
            client.send(SWITCHING).await;
            while client.more().await > 0 {
                let said = std::mem::take(&mut client.bytes);
                client.send(said).await;
            }
            return;
        }
        if !head.starts_with("GET /lasting ") {
            client.send(HELLO).await;
            continue;
        }
        client.send(CHUNKED).await;
        for turn in 0..=TURNS {
            if allowed.wait_for(|allowed| *allowed > turn).await.is_err() {
                return;
            }
            let part = part(turn);
            let chunk = format!("{:x}\r\n{part}\r\n", part.len());
            client.send(chunk).await;
        }
        client.send("0\r\n\r\n").await;
    }
}

/// Of the lasting answer: too much to lie in one buffer, and no two are alike.
fn part(turn: usize) -> String {
    format!("{turn:04}").repeat(4000)
}

/// One upstream and two ways to it, and a plan that is another one each time.
fn plan(turn: usize, origins: &[SocketAddr; 2]) -> String {
    let [first, second] = origins;
    let limits = format!("[limits]\nidle_origins = {}\n", 50 + turn);
    let (of_site, of_route, of_upstream, more) = match turn % 5 {
        // Servers, how they are chosen and judged, routes, fields, listeners and bounds change.
        0 => ("", "", "sticky = { cookie = \"at\" }\n", ""),
        1 => (
            "hosts = [\"shop.example\"]\n",
            "idle_timeout = \"9m\"\n",
            "http = \"h1\"\n",
            "",
        ),
        2 => (
            "trusted = [\"10.0.0.0/8\"]\n",
            "response_headers = { set = { x-turn = \"2\" } }\n",
            "balance = \"p2c\"\n",
            "[health]\nmax_fails = 7\n",
        ),
        3 => (
            "",
            "methods = [\"GET\"]\n",
            "queue = { length = 9 }\nmax_requests = 90\n",
            "[forward.lab]\nlisten = \"127.0.0.1:0\"\n",
        ),
        _ => ("", "", "max_fails = 9\n", LAB),
    };
    let servers = match turn % 3 {
        0 => format!("\"{first}\""),
        1 => format!("\"{first}\", \"{second}\""),
        _ => format!("\"{second}\""),
    };
    format!(
        "[process]\nthreads = 2\n[log]\naccess = \"off\"\nlevel = \"off\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         {limits}\
         [upstream.app]\nservers = [{servers}]\n{of_upstream}\
         [site.shop]\nlisten = \"127.0.0.1:0\"\nh2c = true\n{of_site}\
         [[site.shop.route]]\nupstream = \"app\"\n{of_route}{more}"
    )
}

/// The lasting answers as they come, over HTTP/1 and HTTP/2.
struct Lasting {
    by_h1: Client,
    by_h2: h2::RecvStream,
    /// Read of the second, and not taken yet.
    bytes: Vec<u8>,
    _connection: H2,
}

impl Lasting {
    async fn begin(proxy: SocketAddr) -> Self {
        let mut by_h1 = Client::connect(proxy).await;
        by_h1.send(asked("/lasting", "")).await;
        assert!(by_h1.head().await.starts_with("HTTP/1.1 200 "));
        let connection = H2::connect(proxy).await;
        let (response, _) = connection.begin(get("/lasting"), true).await;
        let response = within(response).await.unwrap();
        assert_eq!(response.status(), 200);
        Self {
            by_h1,
            by_h2: response.into_body(),
            bytes: Vec::new(),
            _connection: connection,
        }
    }

    /// The next part of each, whole and in its turn.
    async fn expect(&mut self, turn: usize) {
        let wanted = part(turn).into_bytes();
        let mut by_h1 = Vec::new();
        while by_h1.len() < wanted.len() {
            let line = self.by_h1.line().await;
            let len = usize::from_str_radix(line.trim(), 16).unwrap();
            assert!(len > 0, "ended before part {turn}");
            by_h1.extend(self.by_h1.take(len).await);
            self.by_h1.take(2).await;
        }
        assert!(by_h1 == wanted, "part {turn} is another one");
        while self.bytes.len() < wanted.len() {
            let next = h2_support::next(&mut self.by_h2).await;
            self.bytes.extend(next.expect("it goes on").unwrap());
        }
        let by_h2: Vec<_> = self.bytes.drain(..wanted.len()).collect();
        assert!(by_h2 == wanted, "part {turn} is another one");
    }

    async fn end(mut self) {
        assert_eq!(self.by_h1.take(5).await, b"0\r\n\r\n");
        let (rest, _) = h2_support::drain(&mut self.by_h2).await.unwrap();
        assert!(rest.is_empty() && self.bytes.is_empty());
    }
}

fn asked(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n{more}\r\n")
}

/// Clients that ask on and on, over connections that are kept and over new ones.
fn load(proxy: SocketAddr) -> Load {
    let ask = |stream: &mut std::net::TcpStream| {
        use std::io::Write as _;
        stream.write_all(asked("/", "").as_bytes()).unwrap();
        let head = head(stream);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(field(&head, "connection"), None, "{head}");
        expect(stream, b"hello");
    };
    let mut load = Load::idle();
    let mut kept = open(proxy);
    load.client(move || ask(&mut kept));
    load.client(move || ask(&mut open(proxy)));
    load
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reloads_cut_no_websocket_no_lasting_answer_and_no_request() {
    let (allow, allowed) = watch::channel(0);
    let (one, two) = (origin(&allowed).await, origin(&allowed).await);
    let origins = [one.address, two.address];
    let configured = Configured::start(&plan(0, &origins));
    let proxy = configured.running.proxy;
    let reload = || {
        let fields = "X-Risefall-Action: 1\r\nContent-Length: 0\r\n";
        http(configured.admin(), "POST", "/reload", fields)
    };
    let mut socket = Client::connect(proxy).await;
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\
                   Sec-WebSocket-Version: 13\r\n";
    socket.send(asked("/socket", upgrade)).await;
    let head = socket.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut lasting = Lasting::begin(proxy).await;
    let over_h2 = H2::connect(proxy).await;
    let load = load(proxy);
    for turn in 0..TURNS {
        // On its way while the plan is exchanged.
        allow.send(turn + 1).unwrap();
        let said = format!("said in turn {turn}");
        socket.send(&said).await;
        configured.write(&plan(turn + 1, &origins));
        let (status, body) = reload();
        assert_eq!(status, 200, "{body}");
        assert_eq!(socket.take(said.len()).await, said.as_bytes());
        lasting.expect(turn).await;
        configured.write("[site.shop]\nlisten = 3\n");
        let (status, body) = reload();
        assert_eq!(status, 409, "{body}");
        socket.send("again").await;
        assert_eq!(socket.take(5).await, b"again");
        assert_eq!(over_h2.get("/").await.text(), "hello");
    }
    allow.send(TURNS + 1).unwrap();
    lasting.expect(TURNS).await;
    lasting.end().await;
    socket.end().await;
    assert_eq!(socket.rest().await, b"");
    let rounds = load.end();
    assert!(rounds > TURNS, "hardly any load: {rounds} rounds");
    let status = configured.status();
    assert_eq!(status["generation"], 1 + TURNS);
    assert_eq!(status["traffic"]["failed"], 0);
}

const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const LAB: &str =
    "[site.lab]\nlisten = \"127.0.0.1:0\"\n[[site.lab.route]]\nrespond = { status = 204 }\n";
