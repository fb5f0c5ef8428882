//! Targets that are reached through another proxy.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::net::SocketAddr;

use risefall_proxy::plan::{Balance, KeyBy, Server, UpstreamDraft};
use risefall_proxy::proto::Target;
use support::{Client, DeadPort, Origin, Proxy, connect, get, policy, socks5, socks5_address};

/// A proxy whose targets are reached through `servers`; those behind the first are backups.
fn through(servers: &[SocketAddr]) -> Proxy {
    let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
    Proxy::with(policy(), move |draft| {
        let servers = servers.iter().enumerate().map(|(nth, server)| Server {
            target: Target::parse(server).unwrap(),
            weight: 1,
            is_srv: false,
            is_backup: nth > 0,
        });
        draft.upstreams.push(UpstreamDraft {
            name: "hub".to_owned(),
            servers: servers.collect(),
            ..UpstreamDraft::default()
        });
        draft.forwards[0].parent = Some("hub".to_owned());
    })
}

#[tokio::test]
async fn requests_and_tunnels_go_through_the_parent() {
    let origin = Origin::echo().await;
    let parent = Proxy::start();
    let proxy = through(&[parent.address]);
    assert_eq!(proxy.get(origin.address, "/").await.status(), 200);
    let mut client = proxy.connect().await;
    client.send(connect(origin.address)).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    client
        .send(format!(
            "GET / HTTP/1.1\r\nHost: {}\r\n\r\n",
            origin.address
        ))
        .await;
    assert_eq!(client.response().await.status(), 200);
    drop(client);
    let mut client = proxy.connect().await;
    let (reply, _) = socks5(&mut client, &socks5_address(origin.address)).await;
    assert_eq!(reply, 0);
    drop(client);
    // All three came to the parent: as a request, and as two tunnels.
    let lines = parent.lines(3).await;
    let protocols: Vec<_> = lines
        .iter()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(protocols, ["http", "connect", "connect"], "{lines:?}");
}

#[tokio::test]
async fn one_connection_to_the_parent_serves_requests_for_several_origins() {
    let (one, other) = (Origin::echo().await, Origin::echo().await);
    let hub = Origin::start(|mut client: Client| async move {
        while !client.head().await.is_empty() {
            client
                .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .await;
        }
    })
    .await;
    let proxy = through(&[hub.address]);
    let mut client = proxy.connect().await;
    for origin in [&one, &other, &one] {
        let response = client.ask(get(origin.address, "/")).await;
        assert_eq!(response.status(), 200);
    }
    assert_eq!(hub.connections(), 1);
    assert_eq!(one.connections() + other.connections(), 0);
}

#[tokio::test]
async fn a_backup_is_taken_when_no_other_can_be_had() {
    let origin = Origin::echo().await;
    let (dead, backup) = (DeadPort::new(), Proxy::start());
    let proxy = through(&[dead.address(), backup.address]);
    for _ in 0..5 {
        let mut client = proxy.connect().await;
        client.send(connect(origin.address)).await;
        assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    }
    assert!(proxy.registry.is_fall_down(&dead.address()));
    assert!(!proxy.registry.is_fall_down(&backup.address));
}

#[tokio::test]
async fn what_a_parent_refuses_is_told_and_is_not_held_against_it() {
    for (answer, status, reply) in [
        ("HTTP/1.1 403 Forbidden\r\n\r\n", 403, 2),
        ("HTTP/1.1 407 Who\r\nA: b\r\n\r\n", 502, 4),
        ("HTTP/1.1 504 Late\r\n\r\n", 504, 6),
        ("SSH-2.0-nonsense\r\n\r\n", 502, 1),
        ("", 502, 1),
    ] {
        let hub = Origin::start(move |mut client: Client| async move {
            client.head().await;
            client.send(answer).await;
        })
        .await;
        let proxy = through(&[hub.address]);
        let target = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(
            proxy.ask(connect(target)).await.status(),
            status,
            "{answer:?}"
        );
        let mut client = proxy.connect().await;
        let found = socks5(&mut client, &socks5_address(target)).await.0;
        assert_eq!(found, reply, "{answer:?}");
        assert!(proxy.registry.statuses().is_empty());
    }
}

#[tokio::test]
async fn a_rule_on_private_targets_holds_where_an_address_is_written() {
    let parent = Proxy::start();
    let address = parent.address;
    let proxy = Proxy::with(policy(), move |draft| {
        draft.upstreams.push(UpstreamDraft {
            name: "hub".to_owned(),
            servers: vec![Server {
                target: Target::parse(&address.to_string()).unwrap(),
                weight: 1,
                is_srv: false,
                is_backup: false,
            }],
            ..UpstreamDraft::default()
        });
        draft.forwards[0].parent = Some("hub".to_owned());
        draft.forwards[0].allow_private = Some(false);
    });
    let private = SocketAddr::from(([10, 0, 0, 1], 80));
    assert_eq!(proxy.ask(connect(private)).await.status(), 403);
    assert_eq!(proxy.get(private, "/").await.status(), 403);
}

#[tokio::test]
async fn a_connection_that_one_listener_opened_is_none_for_a_stricter_one() {
    use risefall_proxy::plan::ForwardDraft;
    let origin = Origin::echo().await;
    let proxy = Proxy::with(policy(), |draft| {
        draft.forwards.push(ForwardDraft {
            name: "strict".to_owned(),
            allow_private: Some(false),
            ..ForwardDraft::on(vec![SocketAddr::from(([127, 0, 0, 1], 0))])
        });
    });
    assert_eq!(proxy.get(origin.address, "/").await.status(), 200);
    let strict = proxy.running().forward_addresses()[1];
    let mut client = Client::connect(strict).await;
    let response = client.ask(get(origin.address, "/")).await;
    assert_eq!(response.status(), 403);
    // And it is still there for the first.
    assert_eq!(proxy.get(origin.address, "/").await.status(), 200);
    assert_eq!(origin.connections(), 1);
}

/// A proxy that answers every request, and counts its connections.
async fn hub() -> Origin {
    Origin::start(|mut client: Client| async move {
        loop {
            client.head().await;
            client
                .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .await;
        }
    })
    .await
}

fn balanced(balance: Balance, by: KeyBy, weighted: &[(SocketAddr, u16)]) -> Proxy {
    let servers = weighted.iter().map(|(server, weight)| Server {
        target: Target::parse(&server.to_string()).unwrap(),
        weight: *weight,
        is_srv: false,
        is_backup: false,
    });
    let servers: Vec<_> = servers.collect();
    Proxy::with(policy(), move |draft| {
        draft.upstreams.push(UpstreamDraft {
            name: "hub".to_owned(),
            servers,
            balance,
            by,
            ..UpstreamDraft::default()
        });
        draft.forwards[0].parent = Some("hub".to_owned());
    })
}

/// How many of `tunnels` tunnels, all open at once, each of the hubs got.
async fn spread(proxy: &Proxy, hubs: &[&Origin], targets: impl Iterator<Item = u16>) -> Vec<usize> {
    let mut open = Vec::new();
    for port in targets {
        let mut client = proxy.connect().await;
        client
            .send(connect(SocketAddr::from(([192, 0, 2, 1], port))))
            .await;
        assert!(client.head().await.starts_with("HTTP/1.1 200 "));
        open.push(client);
    }
    hubs.iter().map(|hub| hub.connections()).collect()
}

#[tokio::test]
async fn servers_take_turns_by_weight_and_the_idlest_is_found() {
    for balance in [Balance::RoundRobin, Balance::LeastConn] {
        let (one, other) = (hub().await, hub().await);
        let weighted = [(one.address, 3), (other.address, 1)];
        let proxy = balanced(balance, KeyBy::Client, &weighted);
        let counts = spread(&proxy, &[&one, &other], 1..=12).await;
        assert_eq!(counts, [9, 3], "{balance:?}");
    }
}

#[tokio::test]
async fn a_hash_keeps_a_client_or_a_target_at_its_server() {
    let (one, other) = (hub().await, hub().await);
    let weighted = [(one.address, 1), (other.address, 1)];
    let proxy = balanced(Balance::Hash, KeyBy::Client, &weighted);
    let mut counts = spread(&proxy, &[&one, &other], 1..=6).await;
    counts.sort_unstable();
    assert_eq!(counts, [0, 6], "one client, one server");
    let proxy = balanced(Balance::Hash, KeyBy::Target, &weighted);
    let before = one.connections();
    spread(&proxy, &[&one, &other], 1..=4).await;
    let moved = one.connections() - before;
    assert!(
        moved == 0 || moved == 4,
        "one host, one server, whatever the port"
    );
}

#[tokio::test]
async fn requests_are_balanced_too_and_each_server_keeps_its_connection() {
    let (one, other) = (hub().await, hub().await);
    let weighted = [(one.address, 1), (other.address, 1)];
    let proxy = balanced(Balance::RoundRobin, KeyBy::Client, &weighted);
    let mut client = proxy.connect().await;
    for _ in 0..10 {
        client
            .send("GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n")
            .await;
        assert_eq!(client.response().await.status(), 200);
    }
    assert_eq!((one.connections(), other.connections()), (1, 1));
}

#[tokio::test]
async fn a_server_that_is_dead_or_silent_costs_no_client_its_answer() {
    let (well, dead) = (hub().await, DeadPort::new());
    let (hole, _filling) = support::black_hole().await;
    let hole = hole.local_addr().unwrap().as_socket().unwrap();
    for lost in [dead.address(), hole] {
        let weighted = [(lost, 1), (well.address, 1)];
        let proxy = balanced(Balance::RoundRobin, KeyBy::Client, &weighted);
        for port in 1..=12 {
            let mut client = proxy.connect().await;
            client
                .send(connect(SocketAddr::from(([192, 0, 2, 1], port))))
                .await;
            let head = tokio::time::timeout(support::SOON, client.head());
            let head = head.await.unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{lost}: {head}");
        }
    }
}

#[tokio::test]
async fn when_all_are_down_the_answer_is_at_once_or_one_is_tried_all_the_same() {
    let hub = hub().await;
    let server = Server {
        target: Target::parse(&hub.address.to_string()).unwrap(),
        weight: 1,
        is_srv: false,
        is_backup: false,
    };
    for (fails_open, status) in [(false, 503), (true, 200)] {
        let own = policy().into_builder().fail_open(fails_open).build();
        let upstream = UpstreamDraft {
            name: "hub".to_owned(),
            servers: vec![server.clone()],
            policy: Some(own.unwrap()),
            ..UpstreamDraft::default()
        };
        let proxy = Proxy::with(policy(), move |draft| {
            draft.upstreams.push(upstream);
            draft.forwards[0].parent = Some("hub".to_owned());
        });
        for _ in 0..3 {
            proxy.registry.add_fall_down(hub.address);
        }
        let answer = proxy.get(([192, 0, 2, 1], 80).into(), "/").await;
        assert_eq!(answer.status(), status);
    }
}
