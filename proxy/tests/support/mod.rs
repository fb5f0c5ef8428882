//! Starts the proxy in process, origins with a script, and clients that speak raw bytes.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail"
)]
#![allow(clippy::indexing_slicing, reason = "a test may fail")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use risefall::{Policy, Registry};
use risefall_proxy::net::resolve::{Names, SystemNames};
use risefall_proxy::plan::{Draft, ForwardDraft};
use risefall_proxy::runtime::{self, Running, Services, Stopped};
use risefall_proxy::telemetry::access::{AccessLog, Flush, Format};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything here takes; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Far below every deadline that a test did not set itself.
pub const SOON: Duration = Duration::from_secs(2);

/// A proxy on a port of its own.
pub struct Proxy {
    pub address: SocketAddr,
    pub registry: Registry,
    running: Option<Running>,
    log: Log,
    _flush: Flush,
}

/// The access lines, as they were written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Proxy {
    pub fn start() -> Self {
        Self::with(policy(), |_| ())
    }

    /// One worker, no admin API, and what `change` makes of that.
    pub fn with(policy: Policy, change: impl FnOnce(&mut Draft)) -> Self {
        Self::by(Registry::new(policy), Arc::new(SystemNames), change)
    }

    /// The same by a registry and a resolver.
    pub fn by(registry: Registry, names: Arc<dyn Names>, change: impl FnOnce(&mut Draft)) -> Self {
        let mut draft = Draft {
            forwards: vec![ForwardDraft::on(vec![SocketAddr::from((
                [127, 0, 0, 1],
                0,
            ))])],
            admin: None,
            threads: 1,
            ..Draft::default()
        };
        change(&mut draft);
        let plan = draft.resolve().unwrap();
        let log = Log::default();
        let (access, flush) = AccessLog::start(log.clone(), Format::Text);
        let services = Services {
            judge: Arc::new(registry.clone()),
            names,
            access: Some(access),
            operator: None,
            is_admin_needed: false,
        };
        let running = runtime::start(plan, services).unwrap();
        Self {
            address: running.forward_addresses()[0],
            registry,
            running: Some(running),
            log,
            _flush: flush,
        }
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub fn running_mut(&mut self) -> &mut Running {
        self.running.as_mut().unwrap()
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Sends one request on a connection of its own and reads the whole response.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Response {
        let mut client = self.connect().await;
        client.send(request).await;
        client.response().await
    }

    pub async fn get(&self, origin: SocketAddr, path: &str) -> Response {
        self.ask(format!(
            "GET http://{origin}{path} HTTP/1.1\r\nHost: {origin}\r\n\r\n"
        ))
        .await
    }

    /// Waits for `count` access lines and gives what each says behind the client's address, the
    /// time it took left out.
    pub async fn lines(&self, count: usize) -> Vec<String> {
        let told = |line: &String| {
            let words = line.split(' ').skip(2).filter(|word| !word.ends_with("ms"));
            words.take(9).collect::<Vec<_>>().join(" ")
        };
        self.whole_lines(count).await.iter().map(told).collect()
    }

    /// Waits for `count` access lines and gives all that they say.
    pub async fn whole_lines(&self, count: usize) -> Vec<String> {
        let text = || String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
        until(|| text().lines().count() >= count).await;
        text().lines().map(ToOwned::to_owned).collect()
    }

    /// Waits until a place for a connection is free, which is soon and not at some deadline.
    pub async fn has_room(&self) {
        let asked = async {
            let options = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
            while self.ask(options).await.status() != 200 {}
        };
        tokio::time::timeout(SOON, asked)
            .await
            .expect("no place came free");
    }

    pub async fn shutdown(mut self, time: Duration) -> Stopped {
        within(self.running.take().unwrap().shutdown(time)).await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.cut();
        }
    }
}

/// Down after three failures, for a time that a test can wait for.
pub fn policy() -> Policy {
    Policy::builder()
        .fail_timeout(Duration::from_millis(300))
        .connect_timeout(Duration::from_millis(100))
        .build()
        .unwrap()
}

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("took too long")
}

/// A client that speaks raw bytes.
pub struct Client<S = TcpStream> {
    pub stream: S,
    /// Read but not used yet.
    pub bytes: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within(TcpStream::connect(address)).await.unwrap();
        Self {
            stream,
            bytes: Vec::new(),
        }
    }

    /// Cuts the connection with a reset.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// One by a connection that is open already.
    pub fn over(stream: S) -> Self {
        let bytes = Vec::new();
        Self { stream, bytes }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = async {
            self.stream.write_all(bytes.as_ref()).await?;
            // TLS keeps what it has not written yet.
            self.stream.flush().await
        };
        within(sent).await.unwrap();
    }

    pub async fn end(&mut self) {
        within(self.stream.shutdown()).await.unwrap();
    }

    /// Reads what comes next; 0 at the end.
    pub async fn more(&mut self) -> usize {
        within(self.stream.read_buf(&mut self.bytes))
            .await
            .unwrap_or(0)
    }

    /// Exactly `len` bytes.
    pub async fn take(&mut self, len: usize) -> Vec<u8> {
        while self.bytes.len() < len {
            assert!(self.more().await > 0, "ended after {:?}", self.text());
        }
        self.bytes.drain(..len).collect()
    }

    /// Everything until the peer closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await > 0 {}
        std::mem::take(&mut self.bytes)
    }

    /// A head, with its empty line.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                return String::from_utf8(self.take(at + 4).await).unwrap();
            }
            assert!(self.more().await > 0, "ended after {:?}", self.text());
        }
    }

    /// A response with its body, which ends by its length, its last chunk, or the connection.
    pub async fn response(&mut self) -> Response {
        let head = self.head().await;
        let has_none = [" 204 ", " 304 "]
            .iter()
            .any(|status| head[..14].contains(status));
        let body = if has_none {
            Vec::new()
        } else if let Some(len) = field(&head, "content-length") {
            self.take(len.parse().unwrap()).await
        } else if field(&head, "transfer-encoding").is_some() {
            self.chunks().await
        } else {
            self.rest().await
        };
        Response { head, body }
    }

    pub async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await;
            let len = usize::from_str_radix(line.trim(), 16).unwrap();
            body.extend(self.take(len).await);
            if len == 0 {
                while self.line().await != "\r\n" {}
                return body;
            }
            self.take(2).await;
        }
    }

    pub async fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.bytes.iter().position(|&byte| byte == b'\n') {
                return String::from_utf8(self.take(at + 1).await).unwrap();
            }
            assert!(self.more().await > 0, "ended after {:?}", self.text());
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

#[derive(Debug)]
pub struct Response {
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn field(&self, name: &str) -> &str {
        field(&self.head, name).unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// The value of a head's field.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

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

/// Waits until `is_done`.
pub async fn until(is_done: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < PATIENCE, "waited too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A SOCKS5 handshake without authentication; gives the reply code and the bound address's bytes.
pub async fn socks5(client: &mut Client, address: &[u8]) -> (u8, Vec<u8>) {
    client.send([5, 1, 0]).await;
    assert_eq!(client.take(2).await, [5, 0]);
    client.send([&[5, 1, 0], address].concat()).await;
    let reply = client.take(4).await;
    assert_eq!((reply[0], reply[2]), (5, 0));
    let bound = match reply[3] {
        1 => client.take(6).await,
        4 => client.take(18).await,
        other => panic!("address type {other}"),
    };
    (reply[1], bound)
}

/// A SOCKS5 address.
pub fn socks5_address(address: SocketAddr) -> Vec<u8> {
    let mut bytes = match address.ip() {
        std::net::IpAddr::V4(ip) => [&[1], &ip.octets()[..]].concat(),
        std::net::IpAddr::V6(ip) => [&[4], &ip.octets()[..]].concat(),
    };
    bytes.extend(address.port().to_be_bytes());
    bytes
}

pub fn socks5_name(name: &str, port: u16) -> Vec<u8> {
    let mut bytes = vec![3, name.len() as u8];
    bytes.extend(name.as_bytes());
    bytes.extend(port.to_be_bytes());
    bytes
}
