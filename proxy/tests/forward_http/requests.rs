//! Which origin a request goes to, in which form, and on which connection.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::{Origin, Proxy, ask, field, get, policy, within};

#[tokio::test]
async fn a_get_reaches_its_origin_in_origin_form() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let address = origin.address;
    let response = proxy
        .ask(format!(
            "GET http://{address}/path?q=1 HTTP/1.1\r\nHost: elsewhere.example\r\n\
             Proxy-Connection: keep-alive\r\nConnection: x-mine\r\nX-Mine: 1\r\n\
             Proxy-Authorization: Basic eDp5\r\nX-Kept: 2\r\n\r\n"
        ))
        .await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.field("via"), "1.1 risefall");
    let seen = response.text();
    assert!(seen.starts_with("GET /path?q=1 HTTP/1.1\r\n"), "{seen}");
    assert_eq!(field(seen, "host"), Some(&*address.to_string()));
    assert_eq!(field(seen, "via"), Some("1.1 risefall"));
    assert_eq!(field(seen, "x-kept"), Some("2"));
    for gone in [
        "proxy-connection",
        "connection",
        "x-mine",
        "proxy-authorization",
    ] {
        assert_eq!(field(seen, gone), None, "{gone} in {seen}");
    }
}

#[tokio::test]
async fn requests_of_one_connection_go_each_to_its_own_host() {
    let first = Origin::echo().await;
    let second = Origin::echo().await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    for origin in [&first, &second, &first, &second] {
        let response = client.ask(get(origin.address, "/")).await;
        assert_eq!(
            field(response.text(), "host"),
            Some(&*origin.address.to_string())
        );
    }
    assert_eq!((first.connections(), second.connections()), (1, 1));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    let request = |n| get(origin.address, &format!("/{n}"));
    client.send((0..5).map(request).collect::<String>()).await;
    for n in 0..5 {
        let response = client.response().await;
        assert!(response.text().starts_with(&format!("GET /{n} ")));
    }
}

#[tokio::test]
async fn connections_to_an_origin_are_used_by_all_clients_of_a_worker() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    for _ in 0..4 {
        assert_eq!(proxy.get(origin.address, "/").await.status(), 200);
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_client_that_has_sent_all_it_had_still_gets_its_answer() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let mut client = proxy.connect().await;
    client.send(get(origin.address, "/")).await;
    client.end().await;
    assert_eq!(client.response().await.status(), 200);
}

#[tokio::test]
async fn max_forwards_ends_at_zero_and_counts_down_before() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let left = |method, left| {
        let fields = format!("Max-Forwards: {left}\r\n");
        ask(method, origin.address, "/", &fields)
    };
    let ours = proxy.ask(left("OPTIONS", 0)).await;
    assert_eq!(ours.status(), 200);
    assert!(ours.field("allow").contains("CONNECT"));
    assert_eq!(origin.connections(), 0);
    let theirs = proxy.ask(left("OPTIONS", 3)).await;
    assert_eq!(field(theirs.text(), "max-forwards"), Some("2"));
    assert_eq!(proxy.ask(left("TRACE", 0)).await.status(), 405);
}

#[tokio::test]
async fn a_name_is_looked_up_and_one_that_is_not_found_is_said_to_be() {
    let origin = Origin::echo().await;
    let proxy = Proxy::start();
    let localhost = format!("localhost:{}", origin.address.port());
    let response = proxy.ask(get(&localhost, "/")).await;
    assert_eq!(field(response.text(), "host"), Some(&*localhost));
    let missing = get("no-such-host.invalid", "/");
    let response = within(proxy.ask(missing)).await;
    assert!(matches!(response.status(), 502 | 504), "{}", response.head);
    assert!(response.field("proxy-status").contains("error=dns_"));
}

#[tokio::test]
async fn two_workers_serve_one_port() {
    let origin = Origin::echo().await;
    let proxy = Proxy::with(policy(), |draft| draft.threads = 2);
    let asked = (0..32).map(|_| proxy.get(origin.address, "/"));
    for asked in asked {
        assert_eq!(asked.await.status(), 200);
    }
    let mut stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    stream
        .write_all(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'H');
}
