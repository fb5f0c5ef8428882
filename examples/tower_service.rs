//! A client for one server, as it stands in a handler of axum's or any other service: what the
//! server answers is judged, and while it is down nobody waits for it.
//!
//! `cargo run --example tower_service --features hyper-util,http`

use std::io;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use risefall::tower::{BoxError, Denied, HealthLayer, HttpStatus, Watched};
use risefall::{HealthConnector, Policy, Recovery, Registry, Weight};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener));

    // What can be reached, and what answers well, are two things: a registry for each.
    let dials = Registry::new(Policy::default());
    let policy = Policy::builder()
        .weigh_answers(Weight::Count)
        .recovery(Recovery::PROBE);
    let services = Registry::new(policy.build()?);

    let client: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build(HealthConnector::new(&dials));
    let service = ServiceBuilder::new()
        .layer(HealthLayer::new(services.endpoint(address)).classify(HttpStatus::new()))
        .service(client);

    for _ in 0..5 {
        let request = Request::get(format!("http://{address}/")).body(Empty::new())?;
        let (status, retry_after) = handle(service.clone(), request).await?;
        println!("{status}, Retry-After: {retry_after:?}");
    }
    Ok(())
}

/// What a handler would tell its own client.
async fn handle<S, B>(
    mut service: S,
    request: Request<Empty<Bytes>>,
) -> Result<(StatusCode, Option<u64>), BoxError>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<Watched<B>>, Error = BoxError>,
    B: hyper::body::Body,
    B::Error: Into<BoxError>,
{
    match service.ready().await?.call(request).await {
        Ok(response) => {
            let status = response.status();
            // Read to its end: a body that breaks off counts.
            response.into_body().collect().await?;
            Ok((status, None))
        }
        Err(error) => match Denied::of(&*error) {
            Some(denied) => Ok((StatusCode::SERVICE_UNAVAILABLE, denied.retry_after())),
            None => Err(error),
        },
    }
}

/// A gateway whose own server is gone.
async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let answer =
                "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).await
        });
    }
}
