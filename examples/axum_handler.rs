//! A gateway in a handler of axum's: requests go to two servers in turn, by a client that judges what
//! they answer and leaves out who is down. Time is simulated, the servers are real.
//!
//! `cargo run --example axum_handler --features hyper-util,http`

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use risefall::tower::{Denied, Health, HealthLayer, HttpStatus, Peer};
use risefall::{Endpoint, HealthConnector, ManualClock, Policy, Recovery, Registry, Weight};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let first = Backend::start("first").await?;
    let second = Backend::start("second").await?;

    // What can be reached, and what answers well, are two things: a registry for each.
    let clock = Arc::new(ManualClock::new());
    let dials = Registry::new(Policy::default());
    let policy = Policy::builder()
        .weigh_answers(Weight::Count)
        .recovery(Recovery::PROBE);
    let services = Registry::builder()
        .policy(policy.build()?)
        .clock(clock.clone())
        .build();

    let client = Client::builder(TokioExecutor::new()).build(HealthConnector::new(&dials));
    let server = |address: SocketAddr| {
        let answers = Arc::new(services.endpoint(address));
        let upstream = ServiceBuilder::new()
            .layer(HealthLayer::new(Arc::clone(&answers)).classify(HttpStatus::new()))
            .service(client.clone());
        Server {
            dials: dials.endpoint(address),
            answers,
            upstream,
        }
    };
    let servers = Servers {
        servers: [server(first.address), server(second.address)],
        turn: AtomicUsize::new(0),
    };
    let gateway = Router::new()
        .fallback(forward)
        .with_state(Arc::new(servers));
    let gateway = Backend::serve(gateway, Arc::default()).await?;

    println!("the second server is ill");
    second.is_ill.store(true, Ordering::Relaxed);
    ask(gateway.address, 8).await?;

    println!("and the first");
    first.is_ill.store(true, Ordering::Relaxed);
    ask(gateway.address, 5).await?;

    println!("both are well, and their time has come");
    for backend in [&first, &second] {
        backend.is_ill.store(false, Ordering::Relaxed);
        let down_time = services.status(&backend.address).retry_in;
        clock.advance(down_time.unwrap_or_default());
    }
    ask(gateway.address, 4).await?;

    println!("the first is stopped");
    first.stop().await?;
    ask(gateway.address, 8).await?;
    second.stop().await?;
    gateway.stop().await
}

/// A server is eligible when neither word says that it is down.
struct Server {
    dials: Endpoint,
    answers: Arc<Endpoint>,
    upstream: Health<Client<HealthConnector, Body>, Peer, HttpStatus>,
}

struct Servers {
    servers: [Server; 2],
    turn: AtomicUsize,
}

impl Servers {
    /// The next that is eligible; if none is, the next, which says why.
    fn next(&self) -> Option<&Server> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.servers.len();
        let (before, from) = self.servers.split_at_checked(turn)?;
        let mut later = from.iter().chain(before);
        let eligible = later
            .clone()
            .find(|server| !server.dials.is_fall_down() && !server.answers.is_fall_down());
        eligible.or_else(|| later.next())
    }
}

async fn forward(State(servers): State<Arc<Servers>>, mut request: Request) -> Response {
    let Some(server) = servers.next() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let target = Uri::builder()
        .scheme("http")
        .authority(server.answers.address().to_string())
        .path_and_query(
            request
                .uri()
                .path_and_query()
                .map_or("/", |path| path.as_str()),
        );
    let Ok(target) = target.build() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    *request.uri_mut() = target;
    match server.upstream.clone().oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) => match Denied::of(&*error).and_then(Denied::retry_after) {
            Some(seconds) => {
                let field = [(RETRY_AFTER, seconds.to_string())];
                (StatusCode::SERVICE_UNAVAILABLE, field).into_response()
            }
            None => StatusCode::BAD_GATEWAY.into_response(),
        },
    }
}

/// Asks the gateway so many times, and tells what it answers.
async fn ask(gateway: SocketAddr, times: usize) -> Result<(), Box<dyn Error>> {
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
    for _ in 0..times {
        let response = client.get(format!("http://{gateway}/").parse()?).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        print!("  {} {}", head.status, String::from_utf8_lossy(&body));
        match head.headers.get(RETRY_AFTER) {
            Some(seconds) => println!("Retry-After: {}", seconds.to_str()?),
            None => println!(),
        }
    }
    Ok(())
}

/// An application of axum's on a port of its own.
struct Backend {
    address: SocketAddr,
    /// Answers as a gateway does whose server is gone.
    is_ill: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Backend {
    /// It answers with its name.
    async fn start(name: &'static str) -> io::Result<Self> {
        let is_ill = Arc::new(AtomicBool::new(false));
        let answer = move |State(is_ill): State<Arc<AtomicBool>>| async move {
            match is_ill.load(Ordering::Relaxed) {
                true => StatusCode::BAD_GATEWAY.into_response(),
                false => name.into_response(),
            }
        };
        let app = Router::new().fallback(answer);
        Self::serve(app.with_state(Arc::clone(&is_ill)), is_ill).await
    }

    async fn serve(app: Router, is_ill: Arc<AtomicBool>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let serving = axum::serve(listener, app).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        Ok(Self {
            address,
            is_ill,
            stop,
            task: tokio::spawn(serving.into_future()),
        })
    }

    async fn stop(self) -> Result<(), Box<dyn Error>> {
        drop(self.stop);
        Ok(self.task.await??)
    }
}
