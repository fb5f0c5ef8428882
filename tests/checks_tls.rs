//! Checks by TLS, with the connector for rustls.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use risefall::check::{
    Checker, Definition, Failure, Grpc, Http, Kind, Report, Rustls, Thresholds, Timing, Tls,
    Verdict, Version,
};
use risefall::{Cause, Outcome, Policy, Registry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A server for `app.test` that answers with a status by HTTP/1.1, or with nothing by HTTP/2; and
/// who trusts it.
async fn serve(protocols: &[&str]) -> (SocketAddr, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["app.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    let connection = h2::server::handshake(stream).await;
                    let mut connection = connection.map_err(std::io::Error::other)?;
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        assert_eq!(request.uri().scheme_str(), Some("https"));
                        let host = request.uri().host().unwrap_or_default();
                        assert_eq!(host, "app.test");
                        let _ = respond.send_response(http::Response::new(()), true);
                    }
                    return Ok(());
                }
                let _ = stream.read(&mut [0; 1024]).await?;
                stream.write_all(b"HTTP/1.1 204 No\r\n\r\n").await?;
                stream.shutdown().await
            });
        }
    });
    (address, client)
}

fn tls() -> Tls {
    Tls::new("app.test").unwrap()
}

async fn first(address: SocketAddr, connector: Rustls, kind: Kind, tls: Tls) -> Report {
    let dials = Registry::new(Policy::default());
    let evidence = Registry::new(Policy::default());
    let (checker, runner) = Checker::builder(&dials).connector(connector).build();
    tokio::spawn(runner.run());
    let timing = Timing::builder().timeout(Duration::from_secs(60));
    let wanted = Definition::new(kind, Some(tls), timing.build().unwrap()).unwrap();
    let server = checker.subscribe(address, wanted, &evidence, Thresholds::default());
    let report = server.unwrap().wait_for_checks(1).await;
    assert_eq!(dials.status(&address).failures, 0, "the dial was well");
    report
}

fn failure(report: Report) -> Failure {
    report.last.unwrap().result.unwrap_err()
}

#[tokio::test]
async fn a_handshake_is_enough_and_requests_go_over_it() {
    for (protocols, kind) in [
        (&[][..], Kind::Connect),
        (&[], Kind::Http(Http::new("/").unwrap())),
        (&["h2", "http/1.1"], Kind::Http(Http::new("/").unwrap())),
        (
            &["h2", "http/1.1"],
            Kind::Http(Http::new("/").unwrap().version(Version::Http2)),
        ),
    ] {
        let (address, client) = serve(protocols).await;
        let report = first(address, Rustls::new(&client), kind, tls()).await;
        assert_eq!(report.verdict, Verdict::Up, "{report}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_right_is_the_service_s_fault() {
    let (address, _) = serve(&[]).await;
    let (_, stranger) = serve(&[]).await;
    let report = first(address, Rustls::new(&stranger), Kind::Connect, tls()).await;
    let failure_of_trust = failure(report);
    assert!(failure_of_trust.to_string().starts_with("no TLS: "));
    assert_eq!(failure_of_trust.outcome(), Outcome::Failed(Cause::Tls));
    let (address, client) = serve(&[]).await;
    let other = Tls::new("other.test").unwrap();
    let report = first(address, Rustls::new(&client), Kind::Connect, other).await;
    assert!(matches!(failure(report), Failure::Tls(_)));
}

#[tokio::test]
async fn a_server_that_does_not_offer_http_2_says_so() {
    for kind in [
        Kind::Grpc(Grpc::default()),
        Kind::Http(Http::new("/").unwrap().version(Version::Http2)),
    ] {
        let (address, client) = serve(&[]).await;
        let report = first(address, Rustls::new(&client), kind, tls()).await;
        assert_eq!(
            failure(report).to_string(),
            "no TLS: the server does not offer HTTP/2"
        );
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_does_not_pass() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    });
    let (_, client) = serve(&[]).await;
    let report = first(address, Rustls::new(&client), Kind::Connect, tls()).await;
    assert!(matches!(failure(report), Failure::Tls(_)));
}

#[tokio::test]
async fn settings_are_found_by_their_name_and_missing_ones_blame_nobody() {
    let (address, client) = serve(&[]).await;
    let connector = || Rustls::default().profile("api", &client);
    let named = || tls().profile("api");
    let report = first(address, connector(), Kind::Connect, named()).await;
    assert_eq!(report.verdict, Verdict::Up);
    let report = first(address, connector(), Kind::Connect, tls()).await;
    assert_eq!(report.verdict, Verdict::Pending);
    assert_eq!(
        failure(report).to_string(),
        "not checked: no TLS profile \"\""
    );
}
