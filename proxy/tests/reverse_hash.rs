//! Sites whose clients keep their server because of where they come from.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "support/sites.rs"]
mod sites;
mod support;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use risefall::Policy;
use risefall_proxy::plan::{Balance, Draft, KeyBy};
use sites::{get, site_by};
use support::origin::ok;
use support::{Client, Proxy, within};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

/// A server that can go and come back at its address, which is nobody else's meanwhile.
struct Server {
    address: SocketAddr,
    name: &'static str,
    listening: Option<JoinHandle<()>>,
    _keeper: TcpSocket,
}

impl Server {
    async fn start(name: &'static str) -> Self {
        let keeper = TcpSocket::new_v4().unwrap();
        keeper.set_reuseaddr(true).unwrap();
        keeper.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let mut server = Self {
            address: keeper.local_addr().unwrap(),
            name,
            listening: None,
            _keeper: keeper,
        };
        server.come().await;
        server
    }

    async fn come(&mut self) {
        let (listener, name) = (TcpListener::bind(self.address).await.unwrap(), self.name);
        self.listening = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut client = Client::over(stream);
                    client.head().await;
                    client.send(ok(name)).await;
                    client.rest().await;
                });
            }
        }));
    }

    /// From now on it refuses.
    async fn go(&mut self) {
        let listening = self.listening.take().unwrap();
        listening.abort();
        assert!(listening.await.unwrap_err().is_cancelled());
    }
}

/// Which server the client of that address is given.
async fn asked_from(proxy: &Proxy, client: u8) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, client], 0).into()).unwrap();
    let stream = within(socket.connect(proxy.address)).await.unwrap();
    let mut client = Client::over(stream);
    client.send(get("/")).await;
    client.response().await.text().to_owned()
}

async fn all(proxy: &Proxy) -> BTreeMap<u8, String> {
    let mut given = BTreeMap::new();
    for client in CLIENTS {
        given.insert(client, asked_from(proxy, client).await);
    }
    given
}

#[tokio::test]
async fn a_client_keeps_its_server_and_has_it_back_when_that_returns() {
    let mut servers = Vec::new();
    for name in ["one", "two", "three"] {
        servers.push(Server::start(name).await);
    }
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let policy = Policy::builder().max_fails(1).min_rises(1);
    let policy = policy.fail_timeout(Duration::from_millis(50)).build();
    let proxy = site_by(policy.unwrap(), &addresses, |draft: &mut Draft| {
        draft.upstreams[0].balance = Balance::Hash;
        draft.upstreams[0].by = KeyBy::Client;
        // Each request is dialled for, so a server that is gone is gone at once.
        draft.limits.idle_per_origin = 0;
    });
    let home = all(&proxy).await;
    let names: HashSet<_> = home.values().collect();
    assert_eq!(names.len(), 3, "clients are spread: {home:?}");
    assert_eq!(all(&proxy).await, home);

    servers[0].go().await;
    let meanwhile = all(&proxy).await;
    for (client, name) in &home {
        match name.as_str() {
            "one" => assert_ne!(meanwhile[client], "one"),
            // It is no concern of those who have another.
            name => assert_eq!(meanwhile[client], name),
        }
    }
    assert_eq!(all(&proxy).await, meanwhile);

    servers[0].come().await;
    let waits = home.iter().find(|(_, name)| *name == "one").unwrap().0;
    within(async { while asked_from(&proxy, *waits).await != "one" {} }).await;
    assert_eq!(all(&proxy).await, home);
}

/// The last parts of their addresses, `127.0.0.x`.
const CLIENTS: std::ops::RangeInclusive<u8> = 2..=33;
