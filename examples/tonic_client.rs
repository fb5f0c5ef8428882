//! A tonic client of two servers, whose channels go through a layer each: what a server answers is
//! judged, and while it is down no call waits for it. Time is simulated, the servers are real.
//!
//! `cargo run --example tonic_client --features hyper-util,http`

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use risefall::tower::{GrpcStatus, Health, HealthLayer, Peer};
use risefall::{HealthConnector, ManualClock, Policy, Recovery, Registry, Weight};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::health_reporter;
use tower::ServiceBuilder;

/// Stands for any client that tonic generates.
type Client = HealthClient<Health<Channel, Peer, GrpcStatus>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let first = Backend::start().await?;
    let second = Backend::start().await?;

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
    let client = |address: SocketAddr| {
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .connect_with_connector_lazy(HealthConnector::new(&dials));
        let channel = ServiceBuilder::new()
            .layer(HealthLayer::new(services.endpoint(address)).classify(GrpcStatus::new()))
            .service(channel);
        Ok::<Client, tonic::transport::Error>(HealthClient::new(channel))
    };
    let mut clients = [client(first.address)?, client(second.address)?];

    println!("the first server is unavailable");
    first.is_ill.store(true, Ordering::Relaxed);
    ask(&mut clients, 4).await?;

    println!("it is well, and its time has come");
    first.is_ill.store(false, Ordering::Relaxed);
    let down_time = services.status(&first.address).retry_in;
    clock.advance(down_time.unwrap_or_default());
    ask(&mut clients, 2).await?;
    println!("  {}", services.status(&first.address));

    println!("it is stopped");
    first.stop().await?;
    ask(&mut clients, 4).await?;
    second.stop().await
}

/// Asks so many times, each time the servers in turn until one answers.
async fn ask(clients: &mut [Client], times: usize) -> Result<(), Status> {
    for _ in 0..times {
        let mut answer = Err(Status::unavailable("there are no servers"));
        for (client, name) in clients.iter_mut().zip(["first", "second"]) {
            answer = client.check(HealthCheckRequest::default()).await;
            match &answer {
                Ok(_) => {
                    println!("  {name}: answers");
                    break;
                }
                Err(status) => println!("  {name}: {}", reason(status)),
            }
        }
        answer?;
    }
    Ok(())
}

/// The innermost error: for a call that was not made, `Denied` or, of the dial, `ConnectError`.
fn reason(status: &Status) -> String {
    let first = status.source();
    std::iter::successors(first, |&error| error.source())
        .last()
        .map_or_else(|| status.message().to_owned(), ToString::to_string)
}

/// A server of gRPC's health protocol, which tonic-health has ready.
struct Backend {
    address: SocketAddr,
    /// Answers `UNAVAILABLE`.
    is_ill: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Backend {
    async fn start() -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let is_ill = Arc::new(AtomicBool::new(false));
        let (_, health) = health_reporter();
        let told = Arc::clone(&is_ill);
        let service = InterceptedService::new(health, move |request: Request<()>| {
            match told.load(Ordering::Relaxed) {
                true => Err(Status::unavailable("the database is gone")),
                false => Ok(request),
            }
        });
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming_shutdown(TcpIncoming::from(listener), async {
                    let _ = stopped.await;
                }),
        );
        Ok(Self {
            address,
            is_ill,
            stop,
            task,
        })
    }

    async fn stop(self) -> Result<(), Box<dyn Error>> {
        drop(self.stop);
        Ok(self.task.await??)
    }
}
