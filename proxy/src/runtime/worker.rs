//! One worker: accepts, limits, serves, drains.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;

use super::{Alive, Order, Shared};
use crate::admin::{self, Report};
use crate::error::Fault;
use crate::forward::context::{Context, Rules};
use crate::forward::{self, http};
use crate::net::dial::Dialler;
use crate::net::resolve::Resolver;
use crate::net::ticks::Ticks;
use crate::plan::Plan;
use crate::telemetry::access::AccessLog;
use crate::telemetry::log::Complaints;
use crate::upstream::pool::{Pool, PoolLimits};

/// Starts a worker's thread.
pub(super) fn spawn(
    index: usize,
    sockets: Vec<StdListener>,
    shared: Arc<Shared>,
    orders: watch::Receiver<Order>,
    alive: Alive,
) -> io::Result<JoinHandle<()>> {
    let lookups = shared.plan.load().limits.lookups;
    spawn_loop(format!("risefall-{index}"), lookups, move || {
        Box::pin(async move {
            work(sockets, shared, orders).await;
            drop(alive);
        })
    })
}

/// Starts the admin API's thread. It ends with the last worker, so that it still answers while
/// they drain.
pub(super) fn spawn_admin(
    sockets: Vec<StdListener>,
    report: Report,
    mut all_ended: mpsc::Receiver<Infallible>,
) -> io::Result<JoinHandle<()>> {
    spawn_loop("risefall-admin".to_owned(), 1, move || {
        Box::pin(async move {
            let served = async {
                for socket in sockets {
                    let listener = TcpListener::from_std(socket)?;
                    admin::serve(listener, Rc::new(report.clone())).await;
                }
                Ok::<_, io::Error>(())
            };
            tokio::select! {
                Err(error) = served => tracing::error!(%error, "the admin API could not start"),
                _ = all_ended.recv() => {}
            }
        })
    })
}

type Work = std::pin::Pin<Box<dyn Future<Output = ()>>>;

fn spawn_loop(
    name: String,
    blocking_threads: usize,
    work: impl FnOnce() -> Work + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(blocking_threads)
        .build()?;
    std::thread::Builder::new().name(name).spawn(move || {
        LocalSet::new().block_on(&runtime, work());
        // Lookups that are still under way end by themselves.
        runtime.shutdown_background();
    })
}

async fn work(sockets: Vec<StdListener>, shared: Arc<Shared>, mut orders: watch::Receiver<Order>) {
    let worker = Rc::new(Worker::new(&shared));
    let sweeper = tokio::task::spawn_local(sweep(Rc::clone(&worker.context)));
    let mut acceptors = Vec::new();
    for socket in sockets {
        match TcpListener::from_std(socket) {
            Ok(listener) => {
                acceptors.push(tokio::task::spawn_local(accept(
                    listener,
                    Rc::clone(&worker),
                )));
            }
            Err(error) => tracing::error!(%error, "a listener could not be used"),
        }
    }
    let order = match orders.wait_for(|order| *order != Order::Serve).await {
        Ok(order) => *order,
        // Nobody is left to give orders: a proxy that was dropped runs on.
        Err(_) => std::future::pending().await,
    };
    if let Order::Drain(time) = order {
        worker.drain(acceptors, time, &mut orders).await;
    }
    shared
        .cut
        .fetch_add(worker.context.live.get(), Ordering::Relaxed);
    sweeper.abort();
}

/// Advances the worker's coarse clock, for as long as the worker lives.
async fn sweep(context: Rc<Context>) {
    let mut interval = tokio::time::interval(context.ticks.tick());
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        context.ticks.sweep();
        context.pool.reap();
    }
}

struct Worker {
    context: Rc<Context>,
    shared: Arc<Shared>,
    plan: RefCell<Cache<Arc<ArcSwap<Plan>>, Arc<Plan>>>,
    rules: RefCell<Rc<Rules>>,
    /// How many of the open connections are only told why they are not served. They take no place
    /// of the limit: strangers must not be able to fill it.
    barred: Rc<Cell<usize>>,
    complaints: Cell<Complaints>,
}

impl Worker {
    fn new(shared: &Arc<Shared>) -> Self {
        let mut cache = Cache::new(Arc::clone(&shared.plan));
        let plan = Arc::clone(cache.load());
        let ticks = Ticks::new(plan.timeouts.shortest());
        let limits = PoolLimits {
            per_origin: plan.limits.idle_per_origin,
            total: plan.limits.idle_origins,
            idle: ticks.span(plan.timeouts.pool_idle),
        };
        let names = Arc::clone(&shared.services.names);
        let resolver = Resolver::new(names, plan.limits.lookups, plan.timeouts.resolve);
        let context = Context {
            dialler: Dialler::new(Arc::clone(&shared.services.judge), resolver),
            pool: Pool::new(limits, ticks.clone()),
            access: shared.services.access.as_ref().map(AccessLog::writer),
            http: http::builder(&plan.limits),
            draining: Cell::new(false),
            live: Cell::new(0),
            last_loud: Cell::new(None),
            changed: Notify::new(),
            ticks,
        };
        let rules = Rules::new(plan, shared.own.clone(), &context.ticks);
        Self {
            context: Rc::new(context),
            shared: Arc::clone(shared),
            plan: RefCell::new(cache),
            rules: RefCell::new(Rc::new(rules)),
            barred: Rc::default(),
            complaints: Cell::default(),
        }
    }

    /// The rules of the plan in force. A load and a compare while it stays the same.
    fn rules(&self) -> Rc<Rules> {
        let mut cache = self.plan.borrow_mut();
        let plan = cache.load();
        let mut rules = self.rules.borrow_mut();
        if !Arc::ptr_eq(plan, &rules.plan) {
            let own = self.shared.own.clone();
            *rules = Rc::new(Rules::new(Arc::clone(plan), own, &self.context.ticks));
        }
        Rc::clone(&rules)
    }

    fn serve(&self, stream: TcpStream, client: SocketAddr) {
        let rules = self.rules();
        let is_stranger = !rules.plan.access.admits(client.ip());
        if is_stranger && self.barred.get() >= TURNED_AWAY_MOST {
            tracing::debug!(%client, "dropped: too many are being turned away already");
            return;
        }
        let barred = if is_stranger {
            Some(Fault::Stranger {
                client: client.ip(),
            })
        } else if self.is_full(&rules) {
            Some(Fault::Limit {
                what: "connections",
                limit: rules.plan.limits.connections,
            })
        } else {
            None
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%client, %error, "connection is gone already");
            return;
        }
        let place = self.context.enter();
        if barred.is_none() {
            tokio::task::spawn_local(forward::serve(stream, client, place, rules, barred));
            return;
        }
        let counted = Barred::count(&self.barred);
        let time = rules.plan.timeouts.handshake.min(BARRED_TIME);
        tokio::task::spawn_local(async move {
            let told = forward::serve(stream, client, place, rules, barred);
            if tokio::time::timeout(time, told).await.is_err() {
                tracing::debug!(%client, "cut: it took too long to turn it away");
            }
            drop(counted);
        });
    }

    /// This worker's part of the limit on connections.
    fn share(&self, rules: &Rules) -> usize {
        rules.plan.limits.connections.div_ceil(rules.plan.threads)
    }

    /// Whether the connections that are served have reached the worker's part of the limit.
    fn is_full(&self, rules: &Rules) -> bool {
        self.context.live.get().saturating_sub(self.barred.get()) >= self.share(rules)
    }

    /// Whether another connection can be served, or at least told that it is not.
    fn has_room(&self) -> bool {
        self.barred.get() < TURNED_AWAY_MOST || !self.is_full(&self.rules())
    }

    /// Logs an accept error, but not every one of them. True if it is one to wait after.
    fn complain(&self, error: &io::Error) -> bool {
        let is_peers = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        );
        if is_peers {
            return false;
        }
        let mut complaints = self.complaints.get();
        if complaints.may_be_heard(Instant::now()) {
            self.complaints.set(complaints);
            tracing::error!(%error, "cannot accept connections; trying again");
        }
        true
    }

    async fn drain(
        &self,
        acceptors: Vec<tokio::task::JoinHandle<()>>,
        time: Duration,
        orders: &mut watch::Receiver<Order>,
    ) {
        let context = &self.context;
        context.draining.set(true);
        context.changed.notify_waiters();
        context.pool.clear();
        let drained = async {
            for acceptor in acceptors {
                // One that panicked has nothing left to accept.
                let _ = acceptor.await;
            }
            context.ticks.wake_all();
            while context.live.get() > 0 {
                context.changed.notified().await;
            }
        };
        tokio::select! {
            () = drained => {}
            () = tokio::time::sleep(time) => {}
            _ = orders.wait_for(|order| *order == Order::Cut) => {}
        }
    }
}

/// One connection that is being turned away; counted until it is dropped.
struct Barred(Rc<Cell<usize>>);

impl Barred {
    fn count(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get().saturating_add(1));
        Self(Rc::clone(count))
    }
}

impl Drop for Barred {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Accepts until the worker drains; then takes what the kernel has accepted already, because
/// closing a socket resets what waits in its queue.
async fn accept(listener: TcpListener, worker: Rc<Worker>) {
    let context = &worker.context;
    while !context.draining.get() {
        if !worker.has_room() {
            context.changed.notified().await;
            continue;
        }
        tokio::select! {
            biased;
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => worker.serve(stream, client),
                Err(error) => {
                    if worker.complain(&error) {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            },
            () = context.changed.notified() => {}
        }
    }
    if let Err(error) = take_waiting(listener, &worker) {
        tracing::warn!(%error, "connections that waited to be accepted may be lost");
    }
}

/// Asks the kernel itself: the event loop may not have heard of the latest connections yet.
fn take_waiting(listener: TcpListener, worker: &Worker) -> io::Result<()> {
    let listener = listener.into_std()?;
    for _ in 0..WAITING_MOST {
        let (stream, client) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        worker.serve(TcpStream::from_std(stream)?, client);
    }
    Ok(())
}

/// Connections that are told why they are not served. Of more than these, strangers are dropped,
/// and those above the limit wait in the kernel's queue.
const TURNED_AWAY_MOST: usize = 64;
/// How long that may take: whoever is turned away has no claim to a slow handshake.
const BARRED_TIME: Duration = Duration::from_secs(2);
/// Bounds the last round of accepting; above the limit on connections they are told so.
const WAITING_MOST: usize = 4096;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
