//! A client that speaks raw bytes, what it asks, and what it is answered.

use std::fmt::Display;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::within;

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

    /// Sends one request and reads the whole response.
    pub async fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request).await;
        self.response().await
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

/// A GET in absolute form, as a forward proxy is sent it.
pub fn get(target: impl Display, path: &str) -> String {
    ask("GET", target, path, "")
}

/// A head in absolute form.
pub fn ask(method: &str, target: impl Display, path: &str, fields: &str) -> String {
    format!("{method} http://{target}{path} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n")
}

/// A CONNECT, without anything behind it.
pub fn connect(target: impl Display) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// The value of a head's field.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
