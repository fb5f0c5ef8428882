//! HTTP/2: clients and servers by an engine, and raw frames where the engine would not send them.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::support::{Client, within};

/// A client's connection. Its driver is a task of the test.
#[derive(Clone)]
pub struct H2(pub SendRequest<Bytes>);

/// A response that came whole.
#[derive(Debug)]
pub struct Whole {
    pub head: Response<()>,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl H2 {
    /// By prior knowledge.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(within(TcpStream::connect(address)).await.unwrap()).await
    }

    pub async fn over<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Self {
        let (send, connection) = within(h2::client::handshake(stream)).await.unwrap();
        tokio::spawn(async move {
            // How it ends, its streams tell.
            let _ = connection.await;
        });
        Self(send)
    }

    /// Begins a request; its body, if there is one, is the caller's to send.
    pub async fn begin(
        &self,
        request: Request<()>,
        is_whole: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut ready = within(self.0.clone().ready()).await.unwrap();
        ready.send_request(request, is_whole).unwrap()
    }

    /// Sends a request without a body.
    pub async fn ask(&self, request: Request<()>) -> Result<Whole, h2::Error> {
        let (response, _) = self.begin(request, true).await;
        whole(response).await
    }

    pub async fn get(&self, path: &str) -> Whole {
        self.ask(get(path)).await.unwrap()
    }
}

impl Whole {
    pub fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name)?.to_str().ok()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A request to the host of the tests, over plain HTTP.
pub fn get(path: &str) -> Request<()> {
    let uri = format!("http://shop.example{path}");
    Request::get(uri).body(()).unwrap()
}

pub fn post(path: &str) -> Request<()> {
    let uri = format!("http://shop.example{path}");
    Request::post(uri).body(()).unwrap()
}

/// Reads a response to its end.
pub async fn whole(response: ResponseFuture) -> Result<Whole, h2::Error> {
    let (parts, mut body) = within(response).await?.into_parts();
    let (all, trailers) = drain(&mut body).await?;
    Ok(Whole {
        head: Response::from_parts(parts, ()),
        body: all,
        trailers,
    })
}

/// Reads a body to its end.
pub async fn drain(body: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut all = Vec::new();
    while let Some(chunk) = next(body).await {
        all.extend(chunk?);
    }
    Ok((all, within(body.trailers()).await?))
}

/// The next piece of a body; the sender may send as much again.
pub async fn next(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let chunk = within(body.data()).await?;
    if let Ok(chunk) = &chunk {
        body.flow_control().release_capacity(chunk.len()).unwrap();
    }
    Some(chunk)
}

/// Serves one connection; each request is answered by a task of its own.
pub async fn serve<S, F, A>(stream: S, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> A,
    A: Future<Output = ()> + Send + 'static,
{
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond));
    }
}

/// Answers with the request's head as HTTP/1 would have it, and with its body behind that.
pub async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, mut body) = request.into_parts();
    let mut told = format!("{} {} {:?}\r\n", parts.method, parts.uri, parts.version);
    for (name, value) in &parts.headers {
        told += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    let Ok((said, trailers)) = drain(&mut body).await else {
        return;
    };
    let mut send = respond.send_response(Response::new(()), false).unwrap();
    let bytes = [told.as_bytes(), b"\r\n", &said].concat();
    send.send_data(bytes.into(), trailers.is_none()).unwrap();
    if let Some(trailers) = trailers {
        send.send_trailers(trailers).unwrap();
    }
}

/// Fields of the given names and values.
pub fn fields(all: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for &(name, value) in all {
        map.append(name, HeaderValue::from_static(value));
    }
    map
}

/// A connection on which frames are sent as they are written here.
pub struct Frames(pub Client);

/// A frame that came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

impl Frames {
    /// Connects, and sends the preface and settings of these identifiers and values.
    pub async fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut client = Client::connect(address).await;
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        client.send(PREFACE).await;
        client.send(frame(SETTINGS, 0, 0, &payload)).await;
        Self(client)
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.send(bytes).await;
    }

    /// Sends what may be cut off, because the other side has had enough.
    pub async fn flood(&mut self, bytes: &[u8]) -> bool {
        use tokio::io::AsyncWriteExt as _;
        within(self.0.stream.write_all(bytes)).await.is_ok()
    }

    /// The next frame; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let head = self.read(9).await?;
        let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload: self.read(len).await?,
        })
    }

    /// The next frame of that kind and stream.
    pub async fn find(&mut self, kind: u8, stream: u32) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind && frame.stream == stream {
                return Some(frame);
            }
        }
    }

    /// Reads on to the end of the connection; gives why it ended, if that was said.
    pub async fn goaway(&mut self) -> Option<u32> {
        let mut reason = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                reason = Some(number(&frame.payload[4..]));
            }
        }
        reason
    }

    async fn read(&mut self, len: usize) -> Option<Vec<u8>> {
        use tokio::io::AsyncReadExt as _;
        let bytes = &mut self.0.bytes;
        while bytes.len() < len {
            if !matches!(within(self.0.stream.read_buf(bytes)).await, Ok(1..)) {
                return None;
            }
        }
        Some(bytes.drain(..len).collect())
    }
}

impl Frame {
    /// The code of a RST_STREAM.
    pub fn code(&self) -> u32 {
        number(&self.payload)
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![len[1], len[2], len[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A field block in which nothing is compressed (RFC 7541 §6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            push_len(text.len(), &mut block);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// With a prefix of seven bits (RFC 7541 §5.1).
fn push_len(len: usize, block: &mut Vec<u8>) {
    let Some(mut rest) = len.checked_sub(127) else {
        block.push(u8::try_from(len).unwrap());
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push((rest & 127) as u8 | 128);
        rest >>= 7;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The pseudo fields of a request to the host of the tests, and these fields.
pub fn head(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", method),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "shop.example"),
    ];
    fields.extend(more);
    block(&fields)
}

/// A request in one frame.
pub fn request(stream: u32, method: &str, more: &[(&str, &str)], is_whole: bool) -> Vec<u8> {
    let end = if is_whole { END_STREAM } else { 0 };
    frame(HEADERS, END_HEADERS | end, stream, &head(method, more))
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
