//! A dialler of one's own: a protocol that has to greet before a connection is of use, as TLS does.
//! A server that accepts and then says nothing is passed as one that does not accept.
//!
//! `cargo run --example own_dialler`

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use risefall::{Cause, Dial, Outcome, Policy, Registry, TcpDialler};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Waits for a greeting. A dialler for TLS would have the connector and the server's name here.
#[derive(Clone)]
struct Greeted;

impl Dial for Greeted {
    type Stream = TcpStream;

    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = TcpDialler::new().nodelay(true).dial(address).await?;
        let mut greeting = [0; 2];
        stream.read_exact(&mut greeting).await?;
        match &greeting {
            b"hi" => Ok(stream),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no greeting")),
        }
    }

    fn outcome(&self, error: &io::Error) -> Outcome {
        match error.kind() {
            // Which errors are the peer's, only the protocol knows.
            io::ErrorKind::InvalidData => Outcome::Failed(Cause::Tls),
            _ => Outcome::of(error),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The system accepts for this one, and nobody greets.
    let mute = TcpListener::bind("127.0.0.1:0").await?;
    let polite = TcpListener::bind("127.0.0.1:0").await?;
    let addresses = [mute.local_addr()?, polite.local_addr()?];
    tokio::spawn(greet(polite));

    let registry = Registry::new(Policy::default());
    let connector = registry.connector().dialler(Greeted);
    for _ in 0..3 {
        let (_stream, address) = connector.connect_to(&addresses).await?;
        println!("greeted by {address}; {}", registry.status(&addresses[0]));
    }
    Ok(())
}

async fn greet(listener: TcpListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.write_all(b"hi").await?;
    }
}
