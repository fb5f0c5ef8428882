//! Servers that do what they are told, and places where nobody answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{Client, field};

/// A server on a port of its own, which counts its connections.
pub struct Origin {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Origin {
    /// Does `script` on every connection.
    pub async fn start<F, S>(script: S) -> Self
    where
        S: Fn(Client) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    /// The same at an address that was dead until now.
    pub fn revive<F, S>(dead: DeadPort, script: S) -> Self
    where
        S: Fn(Client) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        dead.0.listen(16).unwrap();
        Self::serve(TcpListener::from_std(dead.0.into()).unwrap(), script)
    }

    fn serve<F, S>(listener: TcpListener, script: S) -> Self
    where
        S: Fn(Client) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(Client {
                    stream,
                    bytes: Vec::new(),
                }));
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// Answers every request with its own head as the body, and keeps the connection.
    pub async fn echo() -> Self {
        Self::start(echo_heads).await
    }

    /// Sends back every byte.
    pub async fn mirror() -> Self {
        Self::start(|mut client| async move {
            let (mut read, mut write) = client.stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        })
        .await
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

pub async fn echo_heads<S: AsyncRead + AsyncWrite + Unpin>(mut client: Client<S>) {
    loop {
        if client.bytes.is_empty() && client.more().await == 0 {
            return;
        }
        let head = client.head().await;
        let len = head.len();
        client
            .send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{head}"
            ))
            .await;
    }
}

/// A port that refuses connections and is nobody else's: bound, but not listened on.
pub struct DeadPort(socket2::Socket);

impl DeadPort {
    pub fn new() -> Self {
        let socket = socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )
        .unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }
}

/// A listener whose queue is full, so that it answers no further handshake; and what fills it.
pub async fn black_hole() -> (socket2::Socket, Vec<TcpStream>) {
    let DeadPort(socket) = DeadPort::new();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut filling = Vec::new();
    let patience = Duration::from_millis(200);
    while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
        filling.push(stream.unwrap());
    }
    (socket, filling)
}

/// An answer of 200 with this body.
pub fn ok(body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{body}")
}

/// Gives `answer` to every request, which has no body, and keeps the connection.
pub async fn answering(answer: impl Into<String>) -> Origin {
    let answer = answer.into();
    Origin::start(move |mut client: Client| {
        let answer = answer.clone();
        async move {
            while !client.bytes.is_empty() || client.more().await > 0 {
                client.head().await;
                client.send(&answer).await;
            }
        }
    })
    .await
}

/// Reads a head, says something, and closes.
pub async fn saying(said: impl Into<Vec<u8>>) -> Origin {
    let said = said.into();
    Origin::start(move |mut client: Client| {
        let said = said.clone();
        async move {
            client.head().await;
            client.send(said).await;
        }
    })
    .await
}

/// Reads a head, says something, and stays until the other side closes.
pub async fn staying(said: impl Into<Vec<u8>>) -> Origin {
    let said = said.into();
    Origin::start(move |mut client: Client| {
        let said = said.clone();
        async move {
            client.head().await;
            client.send(said).await;
            client.rest().await;
        }
    })
    .await
}

/// Reads a head, tells that it has one, and never answers.
pub async fn hearing() -> (Origin, UnboundedReceiver<()>) {
    let (tell, heard) = unbounded_channel();
    let origin = Origin::start(move |mut client: Client| {
        let tell = tell.clone();
        async move {
            client.head().await;
            tell.send(()).unwrap();
            client.rest().await;
        }
    })
    .await;
    (origin, heard)
}

/// Reads a head and resets the connection.
pub async fn resetting() -> Origin {
    Origin::start(|mut client: Client| async move {
        client.head().await;
        client.reset();
    })
    .await
}

/// Reads a head, says something, and resets the connection when it is told to: a reset overtakes
/// what the other side has not read.
pub async fn resetting_behind(said: &'static str) -> (Origin, Arc<Notify>) {
    let told = Arc::new(Notify::new());
    let waiting = Arc::clone(&told);
    let origin = Origin::start(move |mut client: Client| {
        let told = Arc::clone(&waiting);
        async move {
            client.head().await;
            client.send(said).await;
            told.notified().await;
            client.reset();
        }
    })
    .await;
    (origin, told)
}

/// Reads everything and never says a word.
pub async fn silent() -> Origin {
    Origin::start(|mut client: Client| async move {
        client.rest().await;
    })
    .await
}

/// Reads a whole request; its body has a length or comes in chunks.
pub async fn read_whole(client: &mut Client) -> (String, Vec<u8>) {
    let head = client.head().await;
    let body = match field(&head, "content-length") {
        Some(len) => client.take(len.parse().unwrap()).await,
        None if field(&head, "transfer-encoding").is_some() => client.chunks().await,
        None => Vec::new(),
    };
    (head, body)
}

/// Answers each request with its body.
pub async fn echoing_bodies() -> Origin {
    Origin::start(|mut client: Client| async move {
        while !client.bytes.is_empty() || client.more().await > 0 {
            let (_, body) = read_whole(&mut client).await;
            client.send(ok(std::str::from_utf8(&body).unwrap())).await;
        }
    })
    .await
}
