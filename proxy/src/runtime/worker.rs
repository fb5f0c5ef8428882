//! One worker: serves what its listeners accept, keeps to the limits, drains.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::clients::Counted;
use super::engine::Rules;
use super::force::{InForce, Listener};
use super::memory::{Group, LOOK_PAUSE, Pressure};
use super::rate::Rate;
use super::shared::Shared;
use super::{Order, acceptor, outliers, upkeep};
use crate::bounds::{Limits, Timeouts};
use crate::error::Fault;
use crate::net::inherit;
use crate::net::resolve::Resolver;
use crate::net::ticks::Ticks;
use crate::serve::context::{Context, Counts, Gate};
use crate::telemetry::access::AccessLog;
use crate::telemetry::log::Complaints;
use crate::upstream::dial::Dialler;
use crate::upstream::groups::Groups;
use crate::upstream::pool::{Pool, PoolLimits};

/// What a worker is told while it runs.
pub(super) enum Command {
    /// Accept from `socket`, which belongs to the listener `id` of what is in force.
    Listen { id: u64, socket: StdListener },
    /// Give a copy of every listening socket.
    Lend(mpsc::UnboundedSender<(u64, OwnedFd)>),
    /// Stop accepting from these. `closed` is dropped when their sockets are; their connections
    /// have `drain` to end.
    Close {
        ids: Vec<u64>,
        drain: Duration,
        closed: mpsc::Sender<Infallible>,
    },
}

/// Works until the order to drain or to stop, and through that.
pub(super) async fn work(
    index: usize,
    shared: Arc<Shared>,
    mut orders: watch::Receiver<Order>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let worker = Rc::new(Worker::new(index, &shared));
    let sweeper = tokio::task::spawn_local(sweep(Rc::clone(&worker)));
    if index == 0 {
        tokio::task::spawn_local(look_at_memory(Arc::clone(&shared)));
        let context = Rc::clone(&worker.context);
        tokio::task::spawn_local(upkeep::check(Arc::clone(&shared), context));
        tokio::task::spawn_local(outliers::look(Arc::clone(&shared)));
        tokio::task::spawn_local(upkeep::follow_certificates(Arc::clone(&shared)));
    }
    let order = loop {
        tokio::select! {
            biased;
            order = orders.wait_for(|order| *order != Order::Serve) => break match order {
                Ok(order) => *order,
                // Nobody is left to give orders: a proxy that was dropped runs on.
                Err(_) => std::future::pending().await,
            },
            Some(command) = commands.recv() => worker.obey(command),
        }
    };
    if let Order::Drain(time) = order {
        // A listener that was bound a moment ago has connections in its queue already.
        while let Ok(command) = commands.try_recv() {
            worker.obey(command);
        }
        worker.drain(time, &mut orders).await;
    }
    shared
        .cut
        .fetch_add(worker.context.live(), Ordering::Relaxed);
    sweeper.abort();
}

/// Advances the worker's coarse clock, for as long as the worker lives.
async fn sweep(worker: Rc<Worker>) {
    let context = &worker.context;
    loop {
        tokio::time::sleep(context.ticks.period()).await;
        context.ticks.sweep();
        context.pool.reap();
        context.counters.idle.set(context.pool.len() as u64);
        context.counters.beats.bump();
        worker.feel_pressure();
    }
}

/// One worker looks for all; a small file or three, four times a second.
async fn look_at_memory(shared: Arc<Shared>) {
    let group = Group::own();
    loop {
        let bound = shared.force.load().plan.limits.memory;
        shared.memory.look(bound, group.as_ref());
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// One listener, as one worker has it.
pub(super) struct Door {
    pub(super) gate: Rc<Gate>,
    id: u64,
    rate: Arc<Rate>,
    /// What it accepts from, until it is closed: one socket, or several that were inherited.
    sockets: RefCell<Vec<Weak<TcpListener>>>,
    /// Those of the last plan that had it, and the number of the last plan.
    rules: RefCell<(u64, Rules)>,
}

/// A door, and the tasks that accept for it: one for each socket.
type Open = (Rc<Door>, Vec<JoinHandle<()>>);

pub(super) struct Worker {
    pub(super) context: Rc<Context>,
    index: usize,
    shared: Arc<Shared>,
    force: RefCell<Cache<Arc<ArcSwap<InForce>>, Arc<InForce>>>,
    /// What the bounds of the whole worker were taken from.
    generation: Cell<u64>,
    doors: RefCell<HashMap<u64, Open>>,
    /// How many of the open connections are only told why they are not served. They take no place
    /// of the limit: strangers must not be able to fill it.
    barred: Rc<Cell<usize>>,
    complaints: Cell<Complaints>,
    pressure: Cell<Pressure>,
}

impl Worker {
    fn new(index: usize, shared: &Arc<Shared>) -> Self {
        let mut cache = Cache::new(Arc::clone(&shared.force));
        let force = Arc::clone(cache.load());
        let (limits, timeouts) = (&force.plan.limits, &force.plan.timeouts);
        let ticks = Ticks::new(force.plan.shortest());
        let names = Arc::clone(&shared.names);
        let resolver = Resolver::new(names, limits.lookups, timeouts.resolve);
        let counters = shared.counters.get(index).cloned().unwrap_or_default();
        let context = Context {
            dialler: Dialler::new(resolver, Arc::clone(&counters)),
            pool: Pool::new(pooled(limits, timeouts, &ticks), ticks.clone()),
            access: shared.access.as_ref().map(AccessLog::writer),
            groups: Groups::default(),
            counters,
            draining: Cell::new(false),
            tight: Cell::new(false),
            connections: RefCell::default(),
            last_loud: Cell::new(None),
            complaints: Cell::default(),
            changed: Notify::new(),
            ticks,
        };
        Self {
            context: Rc::new(context),
            index,
            shared: Arc::clone(shared),
            generation: Cell::new(force.generation),
            force: RefCell::new(cache),
            doors: RefCell::default(),
            barred: Rc::default(),
            complaints: Cell::default(),
            pressure: Cell::new(Pressure::None),
        }
    }

    fn obey(self: &Rc<Self>, command: Command) {
        match command {
            Command::Listen { id, socket } => match TcpListener::from_std(socket) {
                Ok(socket) => self.open(id, socket),
                Err(error) => tracing::error!(%error, "a listener could not be used"),
            },
            Command::Lend(lent) => {
                for (door, _) in self.doors.borrow().values() {
                    for socket in door.sockets.borrow().iter().filter_map(Weak::upgrade) {
                        match inherit::copy(&*socket) {
                            Ok(copy) => drop(lent.send((door.id, copy))),
                            Err(error) => tracing::error!(%error, "a socket cannot be passed on"),
                        }
                    }
                }
            }
            Command::Close { ids, drain, closed } => {
                for id in ids {
                    self.close(id, drain, closed.clone());
                }
            }
        }
    }

    fn open(self: &Rc<Self>, id: u64, socket: TcpListener) {
        let mut doors = self.doors.borrow_mut();
        let (door, acceptors) = match doors.entry(id) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => match self.make_door(id) {
                Some(door) => none.insert((Rc::new(door), Vec::new())),
                // The next plan does without it already; nobody was promised anything.
                None => return,
            },
        };
        let socket = Rc::new(socket);
        door.sockets.borrow_mut().push(Rc::downgrade(&socket));
        let accepting = acceptor::accept(socket, Rc::clone(door), Rc::clone(self));
        acceptors.push(tokio::task::spawn_local(accepting));
    }

    fn make_door(&self, id: u64) -> Option<Door> {
        let force = Arc::clone(self.force.borrow_mut().load());
        let listener = force.listeners.iter().find(|one| one.id == id)?;
        let rules = self.make_rules(&force, listener);
        let counts = Counts {
            all: Arc::clone(&listener.counts),
            worker: self.index,
        };
        Some(Door {
            gate: Rc::new(Gate::new(counts)),
            id,
            rate: Arc::clone(&listener.rate),
            sockets: RefCell::default(),
            rules: RefCell::new((force.generation, rules)),
        })
    }

    fn close(self: &Rc<Self>, id: u64, drain: Duration, closed: mpsc::Sender<Infallible>) {
        let Some((door, acceptors)) = self.doors.borrow_mut().remove(&id) else {
            return;
        };
        door.gate.draining.set(true);
        self.context.changed.notify_waiters();
        let context = Rc::clone(&self.context);
        tokio::task::spawn_local(async move {
            for acceptor in acceptors {
                // One that panicked has nothing left to accept.
                let _ = acceptor.await;
            }
            drop(closed);
            context.ticks.wake_all();
            let ended = async {
                while door.gate.live.get() > 0 {
                    context.changed.notified().await;
                }
            };
            if tokio::time::timeout(drain, ended).await.is_err() {
                let cut = context.cut(&door.gate);
                tracing::info!(cut, "a removed listener's connections were cut");
            }
        });
    }

    /// The rules of the plan in force for this listener; the last that it had, if the plan does
    /// without it. A load and a compare while the plan stays the same.
    fn rules(&self, door: &Door) -> Rules {
        let mut cache = self.force.borrow_mut();
        let force = cache.load();
        let mut rules = door.rules.borrow_mut();
        if rules.0 != force.generation {
            let listener = force.listeners.iter().find(|one| one.id == door.id);
            if let Some(listener) = listener {
                rules.1 = self.make_rules(force, listener);
            }
            rules.0 = force.generation;
        }
        rules.1.clone()
    }

    fn make_rules(&self, force: &InForce, listener: &Listener) -> Rules {
        self.adjust(force);
        Rules::new(
            force,
            listener,
            &self.context,
            &self.shared.evidences,
            self.index,
        )
    }

    /// What is the worker's and not a connection's follows the plan at once.
    fn adjust(&self, force: &InForce) {
        if self.generation.replace(force.generation) == force.generation {
            return;
        }
        let (limits, timeouts) = (&force.plan.limits, &force.plan.timeouts);
        let context = &self.context;
        context.ticks.hasten(force.plan.shortest());
        context
            .pool
            .adjust(pooled(limits, timeouts, &context.ticks));
        let resolver = context.dialler.resolver();
        resolver.adjust(limits.lookups, timeouts.resolve);
        let is_wanted = |name: &str| force.plan.upstreams().any(|one| one.name == name);
        context.groups.retain(is_wanted);
        self.shared.evidences.retain(is_wanted);
    }

    /// Whether the listener's rate allows another connection now; if not, how long to wait.
    pub(super) fn may_accept(&self, door: &Door) -> Result<(), Duration> {
        door.rate
            .take(self.rules(door).terms().plan.limits.accept_rate)
    }

    pub(super) fn serve(&self, stream: TcpStream, client: SocketAddr, door: &Door) {
        let rules = self.rules(door);
        let is_stranger = !rules.admits(client.ip());
        if is_stranger && self.barred.get() >= TURNED_AWAY_MOST {
            tracing::debug!(%client, "dropped: too many are being turned away already");
            return;
        }
        let admitted = if is_stranger {
            Err(Fault::Stranger {
                client: client.ip(),
            })
        } else {
            self.admit(&rules, client)
        };
        let place = self.context.enter(&door.gate);
        let seat = place.seat();
        let task = match admitted {
            Ok(counted) => {
                door.gate.counts.of_worker(|counts| counts.accepted.bump());
                tokio::task::spawn_local(async move {
                    rules.serve(stream, client, place, None).await;
                    drop(counted);
                })
            }
            Err(fault) => {
                door.gate.counts.of_worker(|counts| counts.refused.bump());
                let counted = Barred::count(&self.barred);
                let time = rules.terms().plan.timeouts.handshake.min(BARRED_TIME);
                tokio::task::spawn_local(async move {
                    let told = rules.serve(stream, client, place, Some(fault));
                    if tokio::time::timeout(time, told).await.is_err() {
                        tracing::debug!(%client, "cut: it took too long to turn it away");
                    }
                    drop(counted);
                })
            }
        };
        self.context.seat(seat, task.abort_handle());
    }

    /// Whether a client that may use the listener can be served now.
    fn admit(&self, rules: &Rules, client: SocketAddr) -> Result<Option<Counted>, Fault> {
        let limits = &rules.terms().plan.limits;
        if self.pressure.get() >= Pressure::Refuse {
            return Err(Fault::Memory);
        }
        if self.is_full(rules) {
            return Err(Fault::Limit {
                what: "connections",
                limit: limits.connections,
            });
        }
        if limits.per_client == 0 {
            return Ok(None);
        }
        let counted = self.shared.clients.enter(client.ip(), limits.per_client);
        counted.map(Some).ok_or(Fault::Limit {
            what: "connections of one client",
            limit: limits.per_client,
        })
    }

    /// This worker's part of the limit on connections.
    fn share(&self, rules: &Rules) -> usize {
        rules
            .terms()
            .plan
            .limits
            .connections
            .div_ceil(rules.terms().plan.threads)
    }

    /// Whether the connections that are served have reached the worker's part of the limit.
    fn is_full(&self, rules: &Rules) -> bool {
        self.context.live().saturating_sub(self.barred.get()) >= self.share(rules)
    }

    /// Whether another connection can be served, or at least told that it is not.
    pub(super) fn has_room(&self, door: &Door) -> bool {
        self.barred.get() < TURNED_AWAY_MOST
            || !(self.is_full(&self.rules(door)) || self.pressure.get() >= Pressure::Refuse)
    }

    /// Logs an accept error, but not every one of them. True if it is one to wait after.
    pub(super) fn complain(&self, error: &io::Error) -> bool {
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

    /// Does what the memory there is asks for: more the less there is.
    fn feel_pressure(&self) {
        let pressure = self.shared.memory.pressure();
        let context = &self.context;
        let was_tight = context.tight.replace(pressure >= Pressure::EndIdle);
        if self.pressure.replace(pressure) != pressure {
            context.changed.notify_waiters();
        }
        if context.tight.get() {
            context.pool.clear();
            if !was_tight {
                context.ticks.wake_all();
            }
        }
        if pressure >= Pressure::Shed && self.shared.memory.may_shed(self.index) {
            let cut = context.shed(context.live() / SHED_PART + 1);
            tracing::warn!(cut, "connections were cut: memory is short");
        }
    }

    async fn drain(&self, time: Duration, orders: &mut watch::Receiver<Order>) {
        let context = &self.context;
        context.draining.set(true);
        context.changed.notify_waiters();
        context.pool.clear();
        let doors = std::mem::take(&mut *self.doors.borrow_mut());
        let drained = async {
            for acceptor in doors.into_values().flat_map(|(_, acceptors)| acceptors) {
                // One that panicked has nothing left to accept.
                let _ = acceptor.await;
            }
            context.ticks.wake_all();
            while context.live() > 0 {
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

fn pooled(limits: &Limits, timeouts: &Timeouts, ticks: &Ticks) -> PoolLimits {
    PoolLimits {
        per_origin: limits.idle_per_origin,
        total: limits.idle_origins,
        idle: ticks.span(timeouts.pool_idle),
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

/// Connections that are told why they are not served. Of more than these, strangers are dropped,
/// and those above the limit wait in the kernel's queue.
const TURNED_AWAY_MOST: usize = 64;
/// How long that may take: whoever is turned away has no claim to a slow handshake.
const BARRED_TIME: Duration = Duration::from_secs(2);
/// One in so many connections is cut at a time while memory is short.
const SHED_PART: usize = 8;
