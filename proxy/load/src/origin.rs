//! A tiny origin: a fixed body over HTTP/1.1, or an echo of whatever does not look like HTTP.

use std::{convert::Infallible, io, net::SocketAddr, rc::Rc, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::LocalSet,
    time::timeout,
};

use crate::{
    body::{Body, Malformed},
    error::RunError,
    message::{HeadBuffer, MAX_FIELDS, is_kept_alive},
};

/// Opens the origin's port. A listener that is not yet served already accepts connections.
pub(crate) fn listen(listen: SocketAddr) -> Result<std::net::TcpListener, RunError> {
    let open = || -> io::Result<std::net::TcpListener> {
        let domain = Domain::for_address(listen);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|source| RunError::Listen { listen, source })
}

/// Serves `size` bytes to every request, until the process ends.
pub(crate) fn serve(listener: std::net::TcpListener, size: usize) -> Result<Infallible, RunError> {
    let page = Rc::new(Page::new(size));
    accept(listener, |stream| {
        let page = Rc::clone(&page);
        // A client that breaks off is no concern of the origin's.
        tokio::task::spawn_local(async move { answer(stream, &page).await.ok() });
    })
}

/// Gives every connection to `welcome`, on this thread, until the process ends.
pub(crate) fn accept(
    listener: std::net::TcpListener,
    welcome: impl Fn(TcpStream),
) -> Result<Infallible, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::from_std(listener).map_err(RunError::Runtime)?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => welcome(stream),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    })
}

/// Every answer the origin gives, ready to send.
#[derive(Debug)]
struct Page {
    kept_alive: Answer,
    closing: Answer,
}

#[derive(Debug)]
struct Answer {
    bytes: Vec<u8>,
    head_bytes: usize,
}

impl Page {
    fn new(size: usize) -> Self {
        Self {
            kept_alive: Answer::new(size, ""),
            closing: Answer::new(size, "Connection: close\r\n"),
        }
    }
}

impl Answer {
    fn new(size: usize, field: &str) -> Self {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n{field}\r\n"
        );
        let mut bytes = head.into_bytes();
        let head_bytes = bytes.len();
        bytes.resize(head_bytes + size, b'x');
        Self { bytes, head_bytes }
    }

    fn to(&self, method: Method) -> &[u8] {
        match method {
            Method::Head => self.bytes.get(..self.head_bytes).unwrap_or_default(),
            Method::GetOrPost => &self.bytes,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Method {
    GetOrPost,
    Head,
}

async fn answer(stream: TcpStream, page: &Page) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(BUFFER_BYTES, stream);
    let first = timeout(IDLE, stream.fill_buf()).await??;
    match first.first() {
        Some(byte) if byte.is_ascii_uppercase() => answer_http(&mut stream, page).await,
        Some(_) => echo(&mut stream).await,
        None => Ok(()),
    }
}

async fn echo(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    let mut bytes = vec![0; BUFFER_BYTES];
    loop {
        let count = timeout(IDLE, stream.read(&mut bytes)).await??;
        if count == 0 {
            return stream.shutdown().await;
        }
        let received = bytes.get(..count).unwrap_or_default();
        timeout(IDLE, stream.write_all(received)).await??;
    }
}

async fn answer_http(stream: &mut BufReader<TcpStream>, page: &Page) -> io::Result<()> {
    let mut head = HeadBuffer::default();
    loop {
        head.clear();
        let request = match timeout(IDLE, read_request(stream, &mut head)).await?? {
            Received::Request(request) => request,
            Received::End => return Ok(()),
            Received::Malformed => {
                timeout(IDLE, stream.write_all(BAD_REQUEST)).await??;
                return stream.shutdown().await;
            }
        };
        let answer = if request.is_kept_alive {
            &page.kept_alive
        } else {
            &page.closing
        };
        timeout(IDLE, stream.write_all(answer.to(request.method))).await??;
        if !request.is_kept_alive {
            return stream.shutdown().await;
        }
    }
}

#[derive(Debug)]
enum Received {
    Request(Request),
    /// The client closed between requests, or in the middle of one.
    End,
    Malformed,
}

#[derive(Debug)]
struct Request {
    method: Method,
    is_kept_alive: bool,
    body: Body,
}

/// Reads a request and throws its body away.
async fn read_request(
    stream: &mut BufReader<TcpStream>,
    head: &mut HeadBuffer,
) -> io::Result<Received> {
    let mut request: Option<Request> = None;
    loop {
        let bytes = stream.fill_buf().await?;
        if bytes.is_empty() {
            return Ok(Received::End);
        }
        let Ok(taken) = feed(bytes, head, &mut request) else {
            return Ok(Received::Malformed);
        };
        stream.consume(taken);
        if let Some(request) = request.take_if(|request| request.body.is_done()) {
            return Ok(Received::Request(request));
        }
    }
}

/// Takes more of the head, or of the body once the head is whole.
fn feed(
    bytes: &[u8],
    head: &mut HeadBuffer,
    request: &mut Option<Request>,
) -> Result<usize, Malformed> {
    if let Some(request) = request {
        return request.body.feed(bytes);
    }
    let (taken, is_whole) = head.feed(bytes)?;
    if is_whole {
        *request = Some(parse_request(head.bytes())?);
    }
    Ok(taken)
}

fn parse_request(head: &[u8]) -> Result<Request, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        _ => return Err(Malformed),
    }
    let method = match parsed.method {
        Some("GET" | "POST") => Method::GetOrPost,
        Some("HEAD") => Method::Head,
        _ => return Err(Malformed),
    };
    // Without a length a request has no body; it never runs to the end of the connection.
    let body = Body::announced(parsed.headers)?.unwrap_or_else(|| Body::sized(0));
    if body.ends_with_connection() {
        return Err(Malformed);
    }
    Ok(Request {
        method,
        is_kept_alive: is_kept_alive(parsed.version, parsed.headers),
        body,
    })
}

const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const BUFFER_BYTES: usize = 4096;
const BACKLOG: i32 = 4096;
/// Longer than the longest run, so that no idle tunnel is cut by the origin.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// Out of descriptors, most likely: waiting lets some go.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// All that the origin answers to `sent` before it closes.
    async fn talk(sent: &[u8]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        client.write_all(sent).await.unwrap();
        client.shutdown().await.unwrap();
        answer(stream, &Page::new(3)).await.unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        received
    }

    #[tokio::test]
    async fn requests_on_one_connection_are_answered_in_turn() {
        let sent = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\
            POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n\
            POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab\
            HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n";
        let expected = format!(
            "{}{head}Connection: close\r\n\r\n",
            format!("{head}\r\nxxx").repeat(3)
        );
        assert_eq!(String::from_utf8(talk(sent).await).unwrap(), expected);
    }

    #[tokio::test]
    async fn what_is_not_http_comes_back() {
        assert_eq!(talk(b"\0hello").await, b"\0hello");
    }

    #[tokio::test]
    async fn what_breaks_http_is_refused() {
        for sent in [
            b"GET\r\n\r\n".as_slice(),
            b"BREW / HTTP/1.1\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        ] {
            assert_eq!(talk(sent).await, BAD_REQUEST);
        }
    }
}
