//! TLS on both sides of a site: certificates, names, versions, and servers that are not who they
//! should be.

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
#[path = "support/tls.rs"]
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use h2_support::{H2, get as get_h2};
use hyper::Request;
use risefall::Policy;
use risefall_proxy::net::tls::ClientTls;
use risefall_proxy::plan::upstream::HttpVersion;
use risefall_proxy::plan::{Draft, SiteTlsDraft};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use sites::{site_by, site_of};
use support::{Client, Origin, PATIENCE, Proxy, SOON, echo_heads, field};
use tls::{Folder, accept, gullible, shake, shown, speak_tls, try_shake};
use tokio::net::TcpStream;

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
const H1: &[&[u8]] = &[b"http/1.1"];
const ANY: &[&rustls::SupportedProtocolVersion] = &[&TLS13, &TLS12];

fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// A site with the certificates of `names`, each in a folder's file of its first host.
async fn secured(names: &[&[&str]]) -> (Folder, Origin, Proxy) {
    let folder = Folder::new();
    let identities: Vec<_> = names
        .iter()
        .map(|hosts| folder.identity(hosts[0], hosts))
        .collect();
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], |draft| speak_tls(draft, identities));
    (folder, origin, proxy)
}

#[tokio::test]
async fn a_client_chooses_its_protocol_and_keeps_its_connection() {
    let (folder, origin, proxy) = secured(&[&["shop.example"]]).await;
    for version in ANY {
        let config = folder.client(&[version], H1);
        let mut client = shake(proxy.address, &config, "shop.example").await;
        for _ in 0..3 {
            client.send(get("shop.example")).await;
            let answer = client.response().await;
            assert_eq!(answer.status(), 200);
            assert_eq!(field(answer.text(), "x-forwarded-proto"), Some("https"));
        }
        let config = folder.client(&[version], BOTH);
        let client = shake(proxy.address, &config, "shop.example").await;
        assert_eq!(client.stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let client = H2::over(client.stream).await;
        for _ in 0..3 {
            let uri = "https://shop.example/";
            let answer = client
                .ask(Request::get(uri).body(()).unwrap())
                .await
                .unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(field(answer.text(), "host"), Some("shop.example"));
        }
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn the_certificate_is_the_one_for_the_name() {
    let names: &[&[&str]] = &[&["first.example"], &["*.wild.example"], &["a.wild.example"]];
    let (folder, _origin, proxy) = secured(names).await;
    let config = folder.client(ANY, H1);
    for (asked, file) in [
        ("first.example", "first.example"),
        ("A.wild.example", "a.wild.example"),
        ("b.wild.example", "*.wild.example"),
    ] {
        let client = shake(proxy.address, &config, asked).await;
        assert_eq!(shown(&client), folder.certificate(file), "{asked}");
    }
    for unknown in ["other.example", "a.b.wild.example"] {
        let refused = try_shake(proxy.address, &config, unknown).await;
        let told = refused.unwrap_err().to_string();
        assert!(told.contains("first.example"), "{told}");
    }
}

#[tokio::test]
async fn a_host_that_the_certificate_does_not_cover_is_misdirected() {
    let names: &[&[&str]] = &[&["a.example", "b.example"], &["c.example"]];
    let (folder, _origin, proxy) = secured(names).await;
    let config = folder.client(ANY, H1);
    let mut client = shake(proxy.address, &config, "a.example").await;
    for (host, status) in [
        ("a.example", 200),
        ("b.example", 200),
        ("c.example", 421),
        ("A.EXAMPLE:8443", 200),
    ] {
        client.send(get(host)).await;
        assert_eq!(client.response().await.status(), status, "{host}");
    }
    // One that no certificate is for is shown the first, and knows it.
    let stranger = gullible(&config);
    for (sni, host, status) in [
        ("z.example", "z.example", 200),
        ("z.example", "c.example", 421),
        ("z.example", "y.example", 421),
        ("127.0.0.1", "z.example", 200),
    ] {
        let mut client = shake(proxy.address, &stranger, sni).await;
        client.send(get(host)).await;
        assert_eq!(client.response().await.status(), status, "{sni} {host}");
    }
    let config = folder.client(ANY, BOTH);
    let client = shake(proxy.address, &config, "a.example").await;
    let client = H2::over(client.stream).await;
    for (host, status) in [("a.example", 200), ("b.example", 200), ("c.example", 421)] {
        let request = Request::get(format!("https://{host}/")).body(()).unwrap();
        assert_eq!(
            client.ask(request).await.unwrap().status(),
            status,
            "{host}"
        );
    }
}

#[tokio::test]
async fn a_session_is_resumed_by_any_worker_and_through_a_reload() {
    let folder = Folder::new();
    let identity = folder.identity("shop", &["shop.example"]);
    let origin = Origin::echo().await;
    let mut plan = Draft::default();
    let mut proxy = site_of(&[origin.address], |draft| {
        draft.threads = 2;
        speak_tls(draft, vec![identity]);
        plan = draft.clone();
    });
    for version in ANY {
        let config = folder.client(&[version], H1);
        for nth in 0..8 {
            if nth == 5 {
                let mut again = plan.clone();
                speak_tls(&mut again, vec![folder.load("shop")]);
                let judge = Arc::new(proxy.registry.clone());
                let changes = proxy.running_mut().reload(again.resolve().unwrap(), judge);
                assert_eq!(changes.await.unwrap().kept, 1);
            }
            let mut client = shake(proxy.address, &config, "shop.example").await;
            client.send(get("shop.example")).await;
            assert_eq!(client.response().await.status(), 200);
            let kind = client.stream.get_ref().1.handshake_kind();
            let is_resumed = kind == Some(HandshakeKind::Resumed);
            assert_eq!(is_resumed, nth > 0, "{version:?}, {nth}");
        }
    }
}

#[tokio::test]
async fn plain_http_is_sent_to_the_port_of_tls() {
    let folder = Folder::new();
    let identity = folder.identity("shop", &["shop.example"]);
    let origin = Origin::echo().await;
    // A port that was free a moment ago: the redirect names what the configuration says.
    let port = support::DeadPort::new().address();
    let proxy = site_of(&[origin.address], |draft| {
        draft.sites[0].tls = Some(SiteTlsDraft {
            listen: vec![port],
            identities: vec![identity],
            ..SiteTlsDraft::default()
        });
    });
    let addresses = proxy.running().forward_addresses();
    let plain = addresses.iter().find(|address| **address != port).unwrap();
    let mut client = Client::connect(*plain).await;
    client
        .send("POST /a?b=c HTTP/1.1\r\nHost: shop.example:80\r\nContent-Length: 0\r\n\r\n")
        .await;
    let answer = client.response().await;
    assert_eq!(answer.status(), 308);
    let to = format!("https://shop.example:{}/a?b=c", port.port());
    assert_eq!(answer.field("location"), to);
    let config = folder.client(ANY, H1);
    let mut client = shake(port, &config, "shop.example").await;
    client.send(get("shop.example")).await;
    assert_eq!(client.response().await.status(), 200);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn what_is_no_tls_is_closed_and_the_next_is_served() {
    let folder = Folder::new();
    let identity = folder.identity("shop", &["shop.example"]);
    let origin = Origin::echo().await;
    let proxy = site_of(&[origin.address], |draft| {
        draft.timeouts.handshake = Duration::from_millis(200);
        speak_tls(draft, vec![identity]);
    });
    for garbage in [
        &get("shop.example").into_bytes()[..],
        &[0; 4096],
        &[0x16, 3, 1, 0xff, 0xff],
    ] {
        let mut client = proxy.connect().await;
        client.send(garbage).await;
        let closed = tokio::time::timeout(SOON, client.rest()).await.unwrap();
        assert!(!closed.starts_with(b"HTTP"), "{closed:?}");
    }
    // A handshake that never ends has its time and no more.
    let mut silent = proxy.connect().await;
    tokio::time::timeout(SOON, silent.rest()).await.unwrap();
    let config = folder.client(ANY, H1);
    let mut client = shake(proxy.address, &config, "shop.example").await;
    client.send(get("shop.example")).await;
    assert_eq!(client.response().await.status(), 200);
}

#[tokio::test]
async fn certificates_are_exchanged_as_their_files_are() {
    let (folder, _origin, proxy) = secured(&[&["shop.example"]]).await;
    let config = || folder.client(ANY, H1);
    let mut open = shake(proxy.address, &config(), "shop.example").await;
    let before = shown(&open);
    let (cert, key) = folder.pair("shop.example");
    // A key that is another's is waited out.
    folder.issue("other", &["shop.example"]);
    std::fs::copy(folder.pair("other").1, &key).unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let client = shake(proxy.address, &config(), "shop.example").await;
    assert_eq!(shown(&client), before);
    std::fs::copy(folder.pair("other").0, &cert).unwrap();
    let after = folder.certificate("other");
    let exchanged = async {
        while shown(&shake(proxy.address, &config(), "shop.example").await) != after {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(4), exchanged)
        .await
        .expect("the new certificate was not shown");
    open.send(get("shop.example")).await;
    assert_eq!(open.response().await.status(), 200);
}

/// A server that speaks TLS by a certificate for `hosts`, and tells the name it was asked for as a
/// field of its answer.
async fn origin_of(folder: &Folder, hosts: &[&str], alpn: &[&[u8]]) -> Origin {
    folder.issue("origin", hosts);
    serve_tls(folder.server("origin", alpn)).await
}

async fn serve_tls(acceptor: tokio_rustls::TlsAcceptor) -> Origin {
    Origin::start(move |client: Client<TcpStream>| {
        let acceptor = acceptor.clone();
        async move {
            let Some(mut client) = accept(&acceptor, client).await else {
                return;
            };
            let (_, connection) = client.stream.get_ref();
            if connection.alpn_protocol() == Some(b"h2") {
                h2_support::serve(client.stream, h2_support::echo).await;
            } else if connection.server_name() == Some("told.example") {
                client.head().await;
                let name = "told.example";
                let len = name.len();
                client
                    .send(format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{name}"
                    ))
                    .await;
            } else {
                echo_heads(client).await;
            }
        }
    })
    .await
}

fn site_by_tls(servers: &[SocketAddr], tls: Arc<ClientTls>) -> Proxy {
    site_of(servers, |draft| draft.upstreams[0].tls = Some(tls))
}

#[tokio::test]
async fn a_server_is_verified_by_its_roots_and_its_name() {
    let (ours, theirs) = (Folder::new(), Folder::new());
    let right = origin_of(&ours, &["127.0.0.1"], H1).await;
    let proxy = site_by_tls(&[right.address], ours.asking(|_| ()));
    assert_eq!(proxy.ask(get("a")).await.status(), 200);

    let named = origin_of(&ours, &["told.example"], H1).await;
    let name = Some("told.example".to_owned());
    let tls = ours.asking(|spec| spec.name = name);
    let proxy = site_by_tls(&[named.address], tls);
    assert_eq!(proxy.ask(get("a")).await.text(), "told.example");

    let stranger = origin_of(&theirs, &["127.0.0.1"], H1).await;
    for (address, tls) in [
        // The name of nobody here, and then an authority that is not trusted.
        (named.address, ours.asking(|_| ())),
        (stranger.address, ours.asking(|_| ())),
    ] {
        let proxy = site_by_tls(&[address], tls);
        let before = named.connections() + stranger.connections();
        for _ in 0..3 {
            let answer = proxy.ask(get("a")).await;
            assert_eq!(answer.status(), 502);
            assert_eq!(
                answer.field("proxy-status"),
                "risefall; error=tls_certificate_error"
            );
        }
        let after = named.connections() + stranger.connections();
        assert_eq!(after - before, 3, "each handshake is tried once");
        // Three failures in a row take it down, and nothing is dialled any more.
        assert_eq!(proxy.ask(get("a")).await.status(), 503);
        assert_eq!(named.connections() + stranger.connections(), after);
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let folder = Folder::new();
    folder.issue("origin", &["127.0.0.1"]);
    folder.issue("client", &["proxy.example"]);
    let origin = serve_tls(folder.strict_server("origin")).await;
    let pair = folder.pair("client");
    let with = folder.asking(|spec| spec.cert_and_key = Some(pair));
    let proxy = site_by_tls(&[origin.address], with);
    assert_eq!(proxy.ask(get("a")).await.status(), 200);
    let proxy = site_by_tls(&[origin.address], folder.asking(|_| ()));
    assert_eq!(proxy.ask(get("a")).await.status(), 502);
}

#[tokio::test]
async fn the_server_chooses_what_is_spoken() {
    let folder = Folder::new();
    for (alpn, version) in [(BOTH, "HTTP/2.0"), (H1, "HTTP/1.1"), (&[][..], "HTTP/1.1")] {
        let origin = origin_of(&folder, &["127.0.0.1"], alpn).await;
        let proxy = site_by_tls(&[origin.address], folder.asking(|_| ()));
        for _ in 0..3 {
            let answer = proxy.ask(get("a.example")).await;
            assert_eq!(answer.status(), 200);
            let line = answer.text().lines().next().unwrap();
            assert!(line.ends_with(version), "{line}");
        }
        assert_eq!(origin.connections(), 1);
    }
}

#[tokio::test]
async fn a_server_may_speak_http2_without_tls() {
    let origin = Origin::start(|client| h2_support::serve(client.stream, h2_support::echo)).await;
    let proxy = site_of(&[origin.address], |draft| {
        draft.upstreams[0].http = HttpVersion::H2;
        draft.sites[0].h2c = true;
    });
    let answer = proxy.ask(get("a.example")).await;
    assert!(
        answer
            .text()
            .starts_with("GET http://a.example/ HTTP/2.0\r\n"),
        "{answer:?}"
    );
    let answer = H2::connect(proxy.address)
        .await
        .ask(get_h2("/b"))
        .await
        .unwrap();
    assert!(
        answer
            .text()
            .starts_with("GET http://shop.example/b HTTP/2.0\r\n")
    );
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_websocket_has_http1_where_requests_have_http2() {
    let folder = Folder::new();
    folder.issue("origin", &["127.0.0.1"]);
    let acceptor = folder.server("origin", BOTH);
    let origin = Origin::start(move |client| {
        let acceptor = acceptor.clone();
        async move {
            let mut client = accept(&acceptor, client).await.unwrap();
            if client.stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                return h2_support::serve(client.stream, h2_support::echo).await;
            }
            let head = client.head().await;
            assert_eq!(field(&head, "upgrade"), Some("websocket"), "{head}");
            let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                            Connection: Upgrade\r\n\r\nhello";
            client.send(switched).await;
            let said = client.take(5).await;
            client.send(said).await;
            client.end().await;
        }
    })
    .await;
    let proxy = site_by_tls(&[origin.address], folder.asking(|_| ()));
    assert!(proxy.ask(get("a")).await.text().contains("HTTP/2.0"));
    let mut client = proxy.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(client.take(5).await, b"hello");
    client.send("again").await;
    assert_eq!(client.rest().await, b"again");
    assert!(proxy.ask(get("a")).await.text().contains("HTTP/2.0"));
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_server_that_never_speaks_tls_is_passed_over() {
    let folder = Folder::new();
    let right = origin_of(&folder, &["127.0.0.1"], H1).await;
    let silent = Origin::start(|mut client| async move {
        client.rest().await;
    })
    .await;
    let servers = [silent.address, right.address];
    let proxy = site_by_tls(&servers, folder.asking(|_| ()));
    for _ in 0..8 {
        assert_eq!(proxy.ask(get("a")).await.status(), 200);
    }
    assert_eq!(silent.connections(), 3, "three failures take it down");
}

#[tokio::test]
async fn a_handshake_with_a_server_is_a_part_of_the_requests_time() {
    let folder = Folder::new();
    let silent = Origin::start(|mut client| async move {
        client.rest().await;
    })
    .await;
    let patient = Policy::builder().connect_timeout(PATIENCE).build().unwrap();
    let proxy = site_by(patient, &[silent.address], |draft| {
        draft.upstreams[0].tls = Some(folder.asking(|_| ()));
        draft.timeouts.request = Some(Duration::from_millis(100));
    });
    let answer = tokio::time::timeout(SOON, proxy.ask(get("a"))).await;
    assert_eq!(answer.unwrap().status(), 504);
}
