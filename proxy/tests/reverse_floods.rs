//! HTTP/2 clients that mean harm: their connection ends or what it costs stays bounded, and others
//! are served meanwhile. One process measures itself, so the tests take turns.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "support/h2.rs"]
mod h2_support;
#[path = "support/sites.rs"]
mod sites;
mod support;

use std::time::Duration;

use h2_support::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, H2, HEADERS, PING,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, head, request,
};
use sites::h2c;
use support::{Client, Origin, Proxy, SOON};
use tokio::sync::{Mutex, MutexGuard};

/// Memory is measured by one at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// A site that is flooded, and what the process held before.
struct Flooded {
    proxy: Proxy,
    before_bytes: usize,
    _turn: MutexGuard<'static, ()>,
}

impl Flooded {
    async fn start(origin: &Origin) -> Self {
        let turn = TURN.lock().await;
        let proxy = h2c(origin, |draft| {
            draft.timeouts.handshake = Duration::from_millis(300);
            draft.timeouts.header = Duration::from_millis(300);
            draft.timeouts.keep_alive = Duration::from_millis(300);
        });
        assert_eq!(
            H2::connect(proxy.address).await.get("/").await.status(),
            200
        );
        Self {
            proxy,
            before_bytes: resident_bytes(),
            _turn: turn,
        }
    }

    async fn connect(&self) -> Frames {
        Frames::connect(self.proxy.address, &[]).await
    }

    /// Others are served, and nothing much is held.
    async fn is_well(&self) {
        let served = async {
            let client = H2::connect(self.proxy.address).await;
            assert_eq!(client.get("/").await.status(), 200);
            let answer = self.proxy.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(answer.status(), 200);
        };
        tokio::time::timeout(SOON, served)
            .await
            .expect("nobody is served");
        let grown = resident_bytes().saturating_sub(self.before_bytes);
        assert!(grown < GROWTH_MOST, "{} KiB more than before", grown / 1024);
    }
}

/// The pages of this process that are in memory and in no file (proc(5), `statm`).
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let mut pages = statm.split(' ').map(str::parse::<usize>);
    let (resident, shared) = (pages.nth(1).unwrap(), pages.next().unwrap());
    (resident.unwrap() - shared.unwrap()) * 4096
}

/// Client, proxy and origin are all in this process, so their buffers count as well.
const GROWTH_MOST: usize = 24 << 20;
const CALM: u32 = 11;

/// A server that answers a GET, and nothing else ever.
async fn slow() -> Origin {
    Origin::start(|mut client: Client| async move {
        // A connection may end with a stream that is reset, before its request.
        while !client.bytes.ends_with(b"\r\n\r\n") && client.more().await > 0 {}
        if client.bytes.starts_with(b"GET") {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            client.send(answer).await;
            return;
        }
        std::future::pending::<()>().await;
    })
    .await
}

#[tokio::test]
async fn streams_that_are_reset_at_once() {
    let origin = slow().await;
    let flooded = Flooded::start(&origin).await;
    let mut client = flooded.connect().await;
    let cancel = 8_u32.to_be_bytes();
    let mut bytes = Vec::new();
    for nth in 0..20_000 {
        let stream = 2 * nth + 1;
        bytes.extend(request(stream, "POST", &[], true));
        bytes.extend(frame(RST_STREAM, 0, stream, &cancel));
    }
    client.flood(&bytes).await;
    assert!(matches!(client.goaway().await, Some(CALM) | None));
    assert!(
        origin.connections() < 1000,
        "{} connections",
        origin.connections()
    );
    flooded.is_well().await;
}

#[tokio::test]
async fn a_head_that_is_continued_for_ever() {
    let origin = slow().await;
    let flooded = Flooded::start(&origin).await;
    let mut client = flooded.connect().await;
    client.send(frame(HEADERS, 0, 1, &head("GET", &[]))).await;
    let more = h2_support::block(&[("x", &"y".repeat(16_000))]);
    for _ in 0..2000 {
        if !client.flood(&frame(CONTINUATION, 0, 1, &more)).await {
            break;
        }
    }
    client.goaway().await;
    // Empty ones cost their sender hardly anything.
    let mut client = flooded.connect().await;
    client.send(frame(HEADERS, 0, 1, &head("GET", &[]))).await;
    client
        .flood(&frame(CONTINUATION, 0, 1, &[]).repeat(100_000))
        .await;
    client.goaway().await;
    flooded.is_well().await;
}

#[tokio::test]
async fn frames_that_ask_for_an_answer_which_is_not_read() {
    let origin = slow().await;
    let flooded = Flooded::start(&origin).await;
    for asking in [frame(SETTINGS, 0, 0, &[]), frame(PING, 0, 0, &[0; 8])] {
        let mut client = flooded.connect().await;
        let many = asking.repeat(4000);
        for _ in 0..100 {
            let sent = tokio::time::timeout(Duration::from_millis(100), client.flood(&many)).await;
            if sent != Ok(true) {
                break;
            }
        }
        flooded.is_well().await;
    }
}

#[tokio::test]
async fn answers_to_nothing_are_endured() {
    let origin = slow().await;
    let flooded = Flooded::start(&origin).await;
    let mut client = flooded.connect().await;
    client
        .flood(&frame(PING, ACK, 0, &[0; 8]).repeat(10_000))
        .await;
    client
        .flood(&frame(0xfe, 0, 0, &[0; 100]).repeat(10_000))
        .await;
    client.send(request(1, "GET", &[], true)).await;
    assert!(client.find(DATA, 1).await.is_some());
    flooded.is_well().await;
}

#[tokio::test]
async fn data_without_bytes() {
    let origin = slow().await;
    let flooded = Flooded::start(&origin).await;
    let mut client = flooded.connect().await;
    client.send(request(1, "POST", &[], false)).await;
    let many = frame(DATA, 0, 1, &[]).repeat(10_000);
    for _ in 0..50 {
        if !client.flood(&many).await {
            break;
        }
    }
    flooded.is_well().await;
    // Padding counts for the window, which is opened again; so it is bounded by time alone.
    let mut client = flooded.connect().await;
    client.send(request(1, "POST", &[], false)).await;
    let padded = frame(DATA, 8, 1, &[&[255][..], &[0; 255]].concat());
    for _ in 0..20 {
        if !client.flood(&padded.repeat(200)).await {
            break;
        }
    }
    flooded.is_well().await;
}

#[tokio::test]
async fn windows_that_overflow() {
    let origin = slow().await;
    let flooded = Flooded::start(&origin).await;
    let most = 0x7fff_ffff_u32.to_be_bytes();
    let mut client = flooded.connect().await;
    client
        .send(frame(WINDOW_UPDATE, 0, 0, &most).repeat(2))
        .await;
    assert_eq!(client.goaway().await, Some(3));
    let mut client = flooded.connect().await;
    client.send(request(1, "POST", &[], false)).await;
    client
        .send(frame(WINDOW_UPDATE, 0, 1, &most).repeat(2))
        .await;
    assert_eq!(client.find(RST_STREAM, 1).await.unwrap().code(), 3);
    client.send(frame(WINDOW_UPDATE, 0, 0, &[0; 4])).await;
    assert_eq!(client.goaway().await, Some(1));
    // Windows of streams by settings, which change with each.
    let mut client = flooded.connect().await;
    let change = |value: u32| {
        frame(
            SETTINGS,
            0,
            0,
            &[&[0, 4], &value.to_be_bytes()[..]].concat(),
        )
    };
    let both = [change(0), change(0x7fff_ffff)].concat();
    client.flood(&both.repeat(5000)).await;
    flooded.is_well().await;
}

#[tokio::test]
async fn a_head_of_ten_thousand_fields() {
    let origin = slow().await;
    let flooded = Flooded::start(&origin).await;
    let mut client = flooded.connect().await;
    let fields = vec![("x", "y"); 1000];
    let block = h2_support::block(&fields);
    client
        .send(frame(HEADERS, END_STREAM, 1, &head("GET", &[])))
        .await;
    let mut is_open = true;
    for nth in 0..10 {
        let flags = if nth == 9 { END_HEADERS } else { 0 };
        is_open = is_open && client.flood(&frame(CONTINUATION, flags, 1, &block)).await;
    }
    // Either it is told that its head is too large, or it is told to go.
    loop {
        let Some(frame) = client.next().await else {
            break;
        };
        match frame.kind {
            HEADERS => {
                let status = String::from_utf8_lossy(&frame.payload).into_owned();
                assert!(!status.contains("200"), "{status}");
                break;
            }
            RST_STREAM | GOAWAY => break,
            _ => {}
        }
    }
    flooded.is_well().await;
}

#[tokio::test]
async fn ten_thousand_streams() {
    let origin = slow().await;
    let flooded = Flooded::start(&origin).await;
    let mut client = flooded.connect().await;
    let bytes: Vec<u8> = (0..10_000)
        .flat_map(|nth| request(2 * nth + 1, "POST", &[], true))
        .collect();
    client.flood(&bytes).await;
    let mut refused = 0;
    while refused < 500 {
        match client.next().await {
            Some(frame) if frame.kind == RST_STREAM => refused += 1,
            Some(frame) if frame.kind == GOAWAY => break,
            Some(_) => {}
            None => break,
        }
    }
    assert!(origin.connections() <= 1 + 128, "{}", origin.connections());
    flooded.is_well().await;
}

#[tokio::test]
async fn a_preface_that_never_ends_has_its_time() {
    let origin = slow().await;
    let flooded = Flooded::start(&origin).await;
    for begun in [
        &b"PRI * HTT"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0",
    ] {
        let mut client = flooded.proxy.connect().await;
        client.send(begun).await;
        tokio::time::timeout(SOON, client.rest()).await.unwrap();
    }
    flooded.is_well().await;
}
