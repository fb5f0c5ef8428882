//! hyper-util's client dials by the registry: a name with a dead address costs three dials, and from
//! then on nothing.
//!
//! `cargo run --example hyper_client --features hyper-util`

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::Uri;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use risefall::{HealthConnector, Policy, Registry, Resolve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

/// Two addresses for any name.
struct Both([SocketAddr; 2]);

impl Resolve for Both {
    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(self.0.to_vec())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // One that is bound and does not listen, and one that answers.
    let bound = TcpSocket::new_v4()?;
    bound.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addresses = [bound.local_addr()?, listener.local_addr()?];
    tokio::spawn(serve(listener));

    // The one line is `HealthConnector::new(&registry)`; this one has a resolver of its own.
    let registry = Registry::new(Policy::default());
    let connector = registry.connector().resolver(Both(addresses));
    let client: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build(HealthConnector::from(connector));

    for _ in 0..5 {
        let response = client.get(Uri::from_static("http://service.test/")).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        println!("{status} {}", String::from_utf8_lossy(&body));
        println!("  {}", registry.status(&addresses[0]));
    }
    Ok(())
}

/// Answers one request a connection.
async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
            stream.write_all(answer.as_bytes()).await
        });
    }
}
