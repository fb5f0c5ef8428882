//! What each kind of check makes of a server's answer.

use std::time::Duration;

use risefall::check::{
    Availability, BodyMatch, Checker, Definition, Exchange, Expect, Failure, Grpc, Http, Kind,
    Pattern, Statuses, Thresholds, Tls, Verdict, Version,
};
use risefall::{Cause, Outcome, Policy, Registry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use super::servers::{
    Answers, NEVER, SOON, definition, fails, first, http, http2, nobody, passes, runs, says, serve,
    silent, timing,
};

#[tokio::test]
async fn a_connection_is_enough_or_its_refusal_is_told_to_dials_as_well() {
    passes(silent().await, Kind::Connect).await;
    let address = nobody().await;
    let (report, dials) = first(address, definition(Kind::Connect, NEVER)).await;
    let failure = report.last.unwrap().result.unwrap_err();
    assert_eq!(failure.to_string(), "connection refused");
    assert_eq!(failure.outcome(), Outcome::Failed(Cause::Refused));
    assert_eq!(report.verdict, Verdict::Down);
    assert_eq!(dials.status(&address).failures, 1);
}

#[tokio::test]
async fn tls_without_a_connector_for_it_is_nobody_s_fault() {
    let tls = Some(Tls::new("a.test").unwrap());
    let wanted = Definition::new(Kind::Connect, tls, timing(NEVER)).unwrap();
    let (report, _) = first(silent().await, wanted).await;
    assert_eq!(report.verdict, Verdict::Pending);
    assert_eq!(
        report.last.unwrap().result.unwrap_err().to_string(),
        "not checked: checks by TLS need a connector that speaks it"
    );
}

#[tokio::test]
async fn http_1_passes_by_status_and_body() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nall is well";
    passes(says(ok).await, Kind::Http(http())).await;
    let body = BodyMatch::Contains(b"is well".to_vec());
    passes(says(ok).await, Kind::Http(http().body(body))).await;
    let pattern = BodyMatch::Pattern(Pattern::new("^all .* well$").unwrap());
    passes(says(ok).await, Kind::Http(http().body(pattern))).await;
    let statuses = Statuses::new([(404, 404), (503, 503)]).unwrap();
    let missing = says("HTTP/1.0 404 No\r\n\r\n").await;
    passes(missing, Kind::Http(http().statuses(statuses))).await;
}

#[tokio::test]
async fn http_1_asks_what_it_was_told_to() {
    let (told, mut heard) = tokio::sync::mpsc::channel(1);
    let address = serve(move |mut stream| {
        let told = told.clone();
        async move {
            let mut bytes = vec![0; 4096];
            let len = stream.read(&mut bytes).await?;
            bytes.truncate(len);
            let _ = told.send(String::from_utf8(bytes).unwrap()).await;
            stream.write_all(b"HTTP/1.1 204 No\r\n\r\n").await
        }
    })
    .await;
    let http = Http::new("/health?full").unwrap();
    let http = http.method("HEAD").unwrap().host("app.test").unwrap();
    let http = http.header("X-Token", "secret").unwrap();
    passes(address, Kind::Http(http)).await;
    assert_eq!(
        heard.recv().await.unwrap(),
        "HEAD /health?full HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\
         user-agent: risefall-check\r\nx-token: secret\r\n\r\n"
    );
}

#[tokio::test]
async fn http_1_that_is_wrong_says_why() {
    let body = || http().body(BodyMatch::Contains(b"well".to_vec()));
    let large = format!("HTTP/1.1 200 OK\r\n\r\n{}well", "x".repeat(100_000));
    let head = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(100_000));
    for (said, http, text, cause) in [
        (
            "HTTP/1.1 503 No\r\n\r\n",
            http(),
            "status 503, expected 200-399",
            Cause::BadGateway,
        ),
        (
            "HTTP/1.1 500 No\r\n\r\n",
            http(),
            "status 500, expected 200-399",
            Cause::ServerError,
        ),
        (
            "",
            http(),
            "closed before its answer was whole",
            Cause::Reset,
        ),
        (
            "HTTP/1.1 200 OK\r\nA",
            http(),
            "closed before its answer was whole",
            Cause::Reset,
        ),
        (
            "SSH-2.0-OpenSSH\r\n",
            http(),
            "no usable answer: it is not HTTP/1",
            Cause::Malformed,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nill",
            body(),
            "body without \"well\" in its 3 bytes",
            Cause::ServerError,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwell",
            body(),
            "closed before its answer was whole",
            Cause::Reset,
        ),
        (
            &large,
            body(),
            "body without \"well\" in its 65536 bytes",
            Cause::ServerError,
        ),
        (
            &head,
            http(),
            "no usable answer: its head is longer than 16384 bytes or 100 fields",
            Cause::Malformed,
        ),
    ] {
        let failure = fails(says(said).await, Kind::Http(http), NEVER).await;
        assert_eq!(failure.to_string(), text);
        assert_eq!(failure.outcome(), Outcome::Failed(cause), "{text}");
    }
}

#[tokio::test]
async fn silence_and_a_slow_drip_are_the_service_s_once_it_is_connected() {
    let drips = serve(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
        loop {
            stream.write_all(b"A: b\r\n").await?;
            // As long as the check reads; then it closes, and writing fails.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for address in [silent().await, drips] {
        for kind in [
            Kind::Http(http()),
            Kind::Http(http().version(Version::Http2)),
            Kind::Grpc(Grpc::default()),
            Kind::Exchange(Exchange::new("").expect(Expect::contains("OK?")).unwrap()),
        ] {
            let is_http2 = matches!(&kind, Kind::Grpc(_))
                || kind == Kind::Http(http().version(Version::Http2));
            if address == drips && is_http2 {
                continue;
            }
            let failure = fails(address, kind, SOON).await;
            assert_eq!(failure, Failure::TimedOut(SOON));
            assert_eq!(failure.to_string(), "no answer in 20ms");
        }
    }
}

#[tokio::test]
async fn bytes_are_exchanged_over_tcp() {
    let exchange = |sent, expect| Kind::Exchange(Exchange::new(sent).expect(expect).unwrap());
    let pong = || Expect::prefix("+PONG");
    passes(says("+PONG\r\n").await, exchange("PING\r\n", pong())).await;
    passes(
        says("x +PONG").await,
        exchange("PING", Expect::contains("PONG")),
    )
    .await;
    passes(silent().await, Kind::Exchange(Exchange::new("hello"))).await;
    for (said, expect, text) in [
        (
            "-ERR\r\n",
            pong(),
            "answered \"-ERR\\r\\n\", expected \"+PONG\"",
        ),
        ("+PO", pong(), "answered \"+PO\", expected \"+PONG\""),
        ("", pong(), "closed before its answer was whole"),
        ("x", Expect::contains("y"), "answered \"x\", expected \"y\""),
    ] {
        let failure = fails(says(said).await, exchange("PING", expect), NEVER).await;
        assert_eq!(failure.to_string(), text);
    }
    // No more is read than the limit.
    let limited = Exchange::new("a").limit_bytes(10).unwrap();
    let limited = limited.expect(Expect::contains("end")).unwrap();
    let failure = fails(says("0123456789end").await, Kind::Exchange(limited), NEVER).await;
    assert_eq!(
        failure.to_string(),
        "answered \"0123456789\", expected \"end\""
    );
}

#[tokio::test]
async fn a_greeting_is_waited_for_without_sending_anything() {
    let address = serve(|mut stream| async move { stream.write_all(b"220 mail\r\n").await }).await;
    let greeting = Exchange::new("").expect(Expect::prefix("220 ")).unwrap();
    passes(address, Kind::Exchange(greeting)).await;
}

#[tokio::test]
async fn datagrams_are_exchanged_and_say_nothing_of_dials() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let answers = tokio::spawn(async move {
        let mut heard = [0; 64];
        loop {
            let (len, from) = server.recv_from(&mut heard).await.unwrap();
            match &heard[..len] {
                b"silence" => {}
                other => drop(
                    server
                        .send_to(&[b"re: ", other].concat(), from)
                        .await
                        .unwrap(),
                ),
            }
        }
    });
    let datagram = |sent, expect| Kind::Datagram(Exchange::new(sent).expect(expect).unwrap());
    passes(address, datagram("hello", Expect::prefix("re: hello"))).await;
    let failure = fails(address, datagram("ill", Expect::prefix("well")), NEVER).await;
    assert_eq!(
        failure.to_string(),
        "answered \"re: ill\", expected \"well\""
    );
    let failure = fails(address, datagram("silence", Expect::prefix("re")), SOON).await;
    assert_eq!(failure, Failure::TimedOut(SOON));
    answers.abort();
    let _ = answers.await;
    let failure = fails(address, datagram("hello", Expect::prefix("re")), NEVER).await;
    assert_eq!(failure.to_string(), "connection refused");
}

#[tokio::test]
async fn http_2_passes_by_status_and_body_and_asks_what_it_was_told_to() {
    let asks = || http().version(Version::Http2);
    let answers = Answers {
        body: b"all is well".to_vec(),
        ..Answers::default()
    };
    let (address, mut heard) = http2(answers.clone()).await;
    let body = BodyMatch::Contains(b"is well".to_vec());
    let http = asks().body(body).header("x-token", "secret").unwrap();
    passes(address, Kind::Http(http.host("app.test").unwrap())).await;
    let (asked, _) = heard.recv().await.unwrap();
    assert_eq!(asked.uri, "http://app.test/health");
    assert_eq!(asked.headers["x-token"], "secret");
    assert_eq!(asked.headers["user-agent"], "risefall-check");
    let status = 503;
    let (address, _heard) = http2(Answers { status, ..answers }).await;
    let failure = fails(address, Kind::Http(asks()), NEVER).await;
    assert_eq!(failure.to_string(), "status 503, expected 200-399");
    let (address, _heard) = http2(Answers {
        body: vec![b'x'; 200_000],
        ..Answers::default()
    })
    .await;
    let body = BodyMatch::Contains(b"well".to_vec());
    let failure = fails(address, Kind::Http(asks().body(body)), NEVER).await;
    assert_eq!(
        failure.to_string(),
        "body without \"well\" in its 65536 bytes"
    );
}

#[tokio::test]
async fn http_2_that_is_none_says_so() {
    for kind in [
        Kind::Http(http().version(Version::Http2)),
        Kind::Grpc(Grpc::default()),
    ] {
        let garbage = says("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let failure = fails(garbage, kind.clone(), NEVER).await;
        assert!(matches!(failure, Failure::Malformed(_)), "{failure}");
        let failure = fails(says("").await, kind, NEVER).await;
        assert_eq!(failure, Failure::Closed);
    }
}

#[tokio::test]
async fn grpc_passes_when_its_service_serves() {
    const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc")];
    const OK: Option<&[(&str, &str)]> = Some(&[("grpc-status", "0")]);
    let serving = Answers {
        head: GRPC,
        body: b"\0\0\0\0\x02\x08\x01".to_vec(),
        trailers: OK,
        ..Answers::default()
    };
    let (address, mut heard) = http2(serving.clone()).await;
    passes(address, Kind::Grpc(Grpc::new("shop.Cart").unwrap())).await;
    let (asked, body) = heard.recv().await.unwrap();
    assert_eq!(asked.uri.path(), "/grpc.health.v1.Health/Check");
    assert_eq!(asked.headers["content-type"], "application/grpc");
    assert_eq!(asked.headers["te"], "trailers");
    assert_eq!(body, b"\0\0\0\0\x0b\x0a\x09shop.Cart");
    let body = |body: &[u8]| Answers {
        body: body.to_vec(),
        ..serving.clone()
    };
    let trailers = |trailers| Answers {
        trailers,
        ..serving.clone()
    };
    for (answers, text) in [
        (body(b"\0\0\0\0\x02\x08\x02"), "service is NOT_SERVING"),
        (body(b"\0\0\0\0\0"), "service is UNKNOWN"),
        (
            body(b"\x01\0\0\0\x02\x08\x01"),
            "no usable answer: the message is compressed",
        ),
        (
            body(b"\0\0\0\0\x09\x08\x01"),
            "no usable answer: the message is not as long as it says",
        ),
        (
            body(&[0; 5000]),
            "no usable answer: its message is too long",
        ),
        (trailers(None), "gRPC status missing, expected 0"),
        (
            trailers(Some(&[("grpc-status", "5"), ("grpc-message", "no such")])),
            "gRPC status 5 (no such), expected 0",
        ),
        (
            // Nothing but trailers.
            Answers {
                head: &[("grpc-status", "12")],
                ..Answers::default()
            },
            "gRPC status 12, expected 0",
        ),
        (
            Answers {
                status: 404,
                ..Answers::default()
            },
            "no usable answer: status 404",
        ),
    ] {
        let (address, _heard) = http2(answers).await;
        let failure = fails(address, Kind::Grpc(Grpc::default()), NEVER).await;
        assert_eq!(failure.to_string(), text);
    }
}

#[tokio::test]
async fn a_server_reports_weight_and_state_by_a_field() {
    let dials = Registry::new(Policy::default());
    let evidence = Registry::new(Policy::default());
    let (checker, runner) = Checker::new(&dials);
    runs(runner);
    let (fields, _heard) = http2(Answers {
        head: &[("x-agent", "25%, drain")],
        ..Answers::default()
    })
    .await;
    let one = says("HTTP/1.1 200 OK\r\nX-Agent: 25%, drain\r\n\r\n").await;
    for (address, version) in [(one, Version::Http1), (fields, Version::Http2)] {
        let asks = http().version(version).agent_header("X-Agent").unwrap();
        let kind = definition(Kind::Http(asks), NEVER);
        let server = checker
            .subscribe(address, kind, &evidence, Thresholds::default())
            .unwrap();
        assert_eq!(server.weight_percent(), 100);
        assert!(server.is_eligible());
        let report = server.wait_for_checks(1).await;
        assert_eq!(report.verdict, Verdict::Up);
        assert_eq!(server.weight_percent(), 25);
        assert_eq!(server.availability(), Availability::Drain);
        assert!(!server.is_eligible());
    }
    let down = says("HTTP/1.1 200 OK\r\nX-Agent: down # disk full\r\n\r\n").await;
    let kind = Kind::Http(http().agent_header("X-Agent").unwrap());
    let failure = fails(down, kind, NEVER).await;
    assert_eq!(failure.to_string(), "it says that it is down: disk full");
}
