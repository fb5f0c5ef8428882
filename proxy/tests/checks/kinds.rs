//! Each kind of check, as servers of that kind see it.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use hyper::Response as Head;
use risefall::check::{Exchange, Expect, Grpc, Kind};
use tokio::net::UdpSocket;

use super::admin::{eventually, with_admin};
use super::service::{Told, by, checked, http, told, until_used};
use super::sites::site_of;
use super::support::{Client, Origin};
use super::{h2s, tls};

#[tokio::test]
async fn grpc_is_asked_for_its_service_over_http2() {
    let serving = Arc::new(AtomicU16::new(1));
    let shared = Arc::clone(&serving);
    let origin = Origin::start(move |client: Client| {
        let serving = Arc::clone(&shared);
        async move {
            let answer = move |request: hyper::Request<h2::RecvStream>, respond| {
                let serving = Arc::clone(&serving);
                health(request, respond, serving)
            };
            h2s::serve(client.stream, answer).await;
        }
    })
    .await;
    let kind = Kind::Grpc(Grpc::new("shop.Cart").unwrap());
    let proxy = checked(&[origin.address], by(kind));
    let passed = async || {
        let server = told(&proxy, "app", origin.address).await;
        server["check_report"]["last"]["passed"] == true
    };
    eventually("passed", passed).await;
    serving.store(2, Ordering::SeqCst);
    until_used(&proxy, "app", origin.address, false).await;
    let server = told(&proxy, "app", origin.address).await;
    let failure = &server["check_report"]["last"]["failure"];
    assert_eq!(failure, "service is NOT_SERVING");
    serving.store(1, Ordering::SeqCst);
    until_used(&proxy, "app", origin.address, true).await;
}

/// Answers as `grpc.health.v1` does, if it is asked as that is.
async fn health(
    request: hyper::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<bytes::Bytes>,
    serving: Arc<AtomicU16>,
) {
    let path = request.uri().path().to_owned();
    let (asked, _) = h2s::drain(&mut request.into_body()).await.unwrap();
    let is_asked = path == "/grpc.health.v1.Health/Check" && asked.ends_with(b"\x0a\x09shop.Cart");
    let status = if is_asked { "0" } else { "5" };
    let mut stream = respond.send_response(Head::new(()), false).unwrap();
    let number = serving.load(Ordering::SeqCst).to_le_bytes()[0];
    let message = vec![0, 0, 0, 0, 2, 8, number];
    stream.send_data(message.into(), false).unwrap();
    let trailers = h2s::fields(&[("grpc-status", status)]);
    stream.send_trailers(trailers).unwrap();
}

#[tokio::test]
async fn bytes_are_sent_and_expected_by_tcp_and_udp() {
    let reply = Arc::new(Mutex::new("+PONG\r\n"));
    let shared = Arc::clone(&reply);
    let origin = Origin::start(move |mut client: Client| {
        let reply = Arc::clone(&shared);
        async move {
            if client.line().await == "PING\r\n" {
                let reply = *reply.lock().unwrap();
                client.send(reply).await;
            }
        }
    })
    .await;
    // The same port, and another service on it.
    let socket = UdpSocket::bind(origin.address).await.unwrap();
    let shared = Arc::clone(&reply);
    tokio::spawn(async move {
        let mut heard = [0; 64];
        while let Ok((len, from)) = socket.recv_from(&mut heard).await {
            assert_eq!(&heard[..len], b"PING\r\n");
            let reply = *shared.lock().unwrap();
            socket.send_to(reply.as_bytes(), from).await.unwrap();
        }
    });
    let asks = Exchange::new("PING\r\n")
        .expect(Expect::prefix("+PONG"))
        .unwrap();
    let kinds = [Kind::Exchange(asks.clone()), Kind::Datagram(asks)];
    let proxies = kinds.map(|kind| checked(&[origin.address], by(kind)));
    for word in ["-ERR\r\n", "+PONG\r\n"] {
        *reply.lock().unwrap() = word;
        for proxy in &proxies {
            until_used(proxy, "app", origin.address, word.starts_with('+')).await;
        }
    }
    let server = told(&proxies[0], "app", origin.address).await;
    assert_eq!(server["check_report"]["last"]["passed"], true);
}

#[tokio::test]
async fn servers_by_tls_are_checked_by_the_roots_of_their_group() {
    let (ours, theirs) = (tls::Folder::new(), tls::Folder::new());
    ours.issue("app", &["app.example"]);
    let acceptor = ours.server("app", &[b"http/1.1"]);
    let shared = Told::with(&[200]);
    let origin = Origin::start(move |client| {
        let (acceptor, told) = (acceptor.clone(), Arc::clone(&shared));
        async move {
            if let Some(mut client) = tls::accept(&acceptor, client).await {
                let head = client.head().await;
                client.send(told.answer(&head)).await;
            }
        }
    })
    .await;
    let by_roots = |folder: &tls::Folder| {
        let asks = folder.asking(|spec| spec.name = Some("app.example".to_owned()));
        site_of(&[origin.address], |draft| {
            with_admin(draft);
            draft.upstreams[0].tls = Some(asks);
            draft.upstreams[0].check = Some(by(Kind::Http(http())));
        })
    };
    let (trusting, distrusting) = (by_roots(&ours), by_roots(&theirs));
    until_used(&distrusting, "app", origin.address, false).await;
    let server = told(&distrusting, "app", origin.address).await;
    let failure = server["check_report"]["last"]["failure"].as_str().unwrap();
    assert!(failure.starts_with("no TLS: "), "{failure}");
    assert_eq!(server["dial"]["state"], "up", "it was connected to");
    eventually("passed", async || {
        let server = told(&trusting, "app", origin.address).await;
        server["check_report"]["last"]["passed"] == true
    })
    .await;
    assert!(told(&trusting, "app", origin.address).await["eligible"] == true);
}
