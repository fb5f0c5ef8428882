//! Who may use the proxy, for which targets, and how many at a time.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::net::SocketAddr;

use risefall_proxy::plan::{Admin, Draft, ForwardDraft, PlanFault};
use risefall_proxy::runtime::{self, Services, StartError};
use support::{
    Client, Origin, PATIENCE, Proxy, connect, get, policy, socks5, socks5_address, socks5_name,
    until, within,
};

#[tokio::test]
async fn the_proxy_never_dials_its_own_listeners() {
    let proxy = Proxy::with(policy(), |draft| {
        draft.admin = Some(Admin::on(SocketAddr::from(([127, 0, 0, 1], 0))));
    });
    let admin = proxy.running().admin_address().unwrap();
    for port in [proxy.address.port(), admin.port()] {
        for host in ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"] {
            let own = format!("{host}:{port}");
            for request in [get(&own, "/"), connect(&own)] {
                let response = proxy.ask(request).await;
                assert_eq!(response.status(), 508, "{host}");
                assert!(
                    response
                        .field("proxy-status")
                        .contains("proxy_loop_detected")
                );
            }
        }
        let mut client = proxy.connect().await;
        let own = SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(socks5(&mut client, &socks5_address(own)).await.0, 2);
    }
    assert!(
        proxy.registry.statuses().is_empty(),
        "a rule is no evidence"
    );
}

#[tokio::test]
async fn a_wildcard_listener_is_itself_under_every_address_of_the_host() {
    let proxy = Proxy::with(policy(), |draft| {
        draft.forwards[0].listen = vec![SocketAddr::from(([0, 0, 0, 0], 0))];
        draft.forwards[0].clients = vec!["127.0.0.0/8".parse().unwrap()];
        draft.forwards[0].allow_private = Some(true);
    });
    let port = proxy.address.port();
    for host in ["127.0.0.1", "127.1.2.3", "0.0.0.0", "localhost"] {
        let mut client = Client::connect(SocketAddr::from(([127, 0, 0, 1], port))).await;
        client.send(get(format!("{host}:{port}"), "/")).await;
        assert_eq!(client.response().await.status(), 508, "{host}");
    }
}

#[tokio::test]
async fn private_targets_are_prohibited_where_the_plan_says_so() {
    let origin = Origin::echo().await;
    let port = origin.address.port();
    let proxy = Proxy::with(policy(), |draft| {
        draft.forwards[0].allow_private = Some(false);
    });
    for host in [
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0.0.0.0",
    ] {
        let response = proxy.ask(connect(format!("{host}:{port}"))).await;
        assert_eq!(response.status(), 403, "{host}");
        assert!(
            response
                .field("proxy-status")
                .contains("destination_ip_prohibited")
        );
    }
    let mut client = proxy.connect().await;
    assert_eq!(
        socks5(&mut client, &socks5_name("localhost", port)).await.0,
        2
    );
    assert_eq!(origin.connections(), 0);
    assert!(
        proxy.registry.statuses().is_empty(),
        "a rule is no evidence"
    );
}

#[tokio::test]
async fn clients_outside_the_ranges_are_told_so() {
    let origin = Origin::echo().await;
    let proxy = Proxy::with(policy(), |draft| {
        draft.forwards[0].clients = vec!["192.0.2.0/24".parse().unwrap()];
    });
    let response = proxy.get(origin.address, "/").await;
    assert_eq!(response.status(), 403);
    assert!(
        response
            .field("proxy-status")
            .contains("http_request_denied")
    );
    let mut client = proxy.connect().await;
    assert_eq!(
        socks5(&mut client, &socks5_address(origin.address)).await.0,
        2
    );
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn connections_above_the_limit_are_told_so_and_a_free_place_is_used() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::with(policy(), |draft| draft.limits.connections = 2);
    let mut inside = Vec::new();
    for _ in 0..2 {
        let mut client = proxy.connect().await;
        client.send(connect(origin.address)).await;
        assert!(client.head().await.starts_with("HTTP/1.1 200 "));
        inside.push(client);
    }
    let turned_away = proxy.get(origin.address, "/").await;
    assert_eq!(turned_away.status(), 503);
    assert!(
        turned_away
            .field("proxy-status")
            .contains("connection_limit_reached")
    );
    assert_eq!(turned_away.field("retry-after"), "1");
    let mut client = proxy.connect().await;
    assert_eq!(
        socks5(&mut client, &socks5_address(origin.address)).await.0,
        1
    );
    drop(client);

    drop(inside.pop());
    loop {
        let mut client = proxy.connect().await;
        client.send(connect(origin.address)).await;
        if client.head().await.starts_with("HTTP/1.1 200 ") {
            break;
        }
    }
}

#[tokio::test]
async fn hundreds_above_the_limit_all_get_an_answer() {
    let proxy = Proxy::with(policy(), |draft| draft.limits.connections = 1);
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(proxy.connect().await);
    }
    let mut answered = 0;
    for mut client in clients {
        client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.end().await;
        answered += usize::from(client.rest().await.starts_with(b"HTTP/1.1 "));
    }
    assert_eq!(answered, 200);
}

#[test]
fn an_open_proxy_is_refused_with_a_remedy() {
    let draft = Draft {
        forwards: vec![ForwardDraft::on(vec!["0.0.0.0:0".parse().unwrap()])],
        ..Draft::default()
    };
    let errors = draft.resolve().unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(matches!(errors[0].fault, PlanFault::OpenProxy { .. }));
    assert!(errors[0].to_string().contains("clients = ["));
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let proxy = Proxy::start();
    for threads in [1, 2] {
        let plan = Draft {
            forwards: vec![ForwardDraft::on(vec![proxy.address])],
            admin: None,
            threads,
            ..Draft::default()
        };
        let judge = std::sync::Arc::new(proxy.registry.clone());
        let error = runtime::start(plan.resolve().unwrap(), Services::new(judge)).unwrap_err();
        assert!(matches!(error, StartError::Bind(_)));
        let text = error.to_string();
        assert!(text.contains(&proxy.address.to_string()), "{text}");
        assert!(text.contains("another program listens there"), "{text}");
    }
}

#[tokio::test]
async fn an_admin_port_in_use_costs_the_admin_api_alone() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::with(policy(), |draft| {
        draft.admin = Some(Admin::on(taken.local_addr().unwrap()));
    });
    assert_eq!(proxy.running().admin_address(), None);
    assert!(proxy.running().admin_error().is_some());
    let origin = Origin::echo().await;
    assert_eq!(proxy.get(origin.address, "/").await.status(), 200);
}

#[tokio::test]
async fn a_dropped_client_frees_its_place() {
    let proxy = Proxy::with(policy(), |draft| draft.limits.connections = 1);
    for _ in 0..5 {
        drop(proxy.connect().await);
    }
    let origin = Origin::echo().await;
    let address = origin.address;
    let served = std::cell::Cell::new(false);
    for _ in 0..100 {
        if proxy.get(address, "/").await.status() == 200 {
            served.set(true);
            break;
        }
    }
    until(|| served.get()).await;
}

/// A connection from an address that is in no client range of these tests.
async fn stranger(proxy: &Proxy) -> Client {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
    Client {
        stream: within(socket.connect(proxy.address)).await.unwrap(),
        bytes: Vec::new(),
    }
}

#[tokio::test]
async fn silent_strangers_take_no_place_of_the_limit_and_are_soon_cut() {
    let origin = Origin::echo().await;
    let proxy = Proxy::with(policy(), |draft| {
        draft.forwards[0].clients = vec!["127.0.0.1/32".parse().unwrap()];
        draft.forwards[0].allow_private = Some(true);
        draft.limits.connections = 1;
        draft.timeouts.handshake = PATIENCE * 10;
    });
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(stranger(&proxy).await);
    }
    let mut told = stranger(&proxy).await;
    assert_eq!(told.rest().await, b"", "one more than are told is dropped");
    let response = proxy.get(origin.address, "/").await;
    assert_eq!(response.status(), 200);
    for stranger in &mut silent {
        assert_eq!(stranger.rest().await, b"");
    }
    let mut told = stranger(&proxy).await;
    told.send(get(origin.address, "/")).await;
    assert_eq!(told.response().await.status(), 403);
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_unroutable_and_blames_nobody() {
    let proxy = Proxy::start();
    // Without a scope, nobody can tell on which link it would be.
    let target = "[fe80::1]:80";
    let response = proxy.ask(get(target, "/")).await;
    assert_eq!(response.status(), 502, "{}", response.text());
    assert!(
        response
            .field("proxy-status")
            .contains("destination_ip_unroutable")
    );
    let mut client = proxy.connect().await;
    let request = socks5_address(target.parse().unwrap());
    assert_eq!(socks5(&mut client, &request).await.0, 3);
    assert!(proxy.registry.statuses().is_empty());
}
