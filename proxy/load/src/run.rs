//! `run`: threads, connections, and the loop each connection is in.

use std::{
    cell::RefCell,
    fs,
    net::{SocketAddr, TcpStream},
    rc::Rc,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::task::LocalSet;

use crate::{
    args::{RunPlan, Supply},
    client::{Client, Link},
    error::RunError,
    limits,
    pace::Pace,
    report::Report,
    stage::{self, DeadTarget},
    tally::Tally,
    targets::{Chooser, Class, Target},
};

/// Does the whole run and reports it.
///
/// # Errors
///
/// What keeps the run from starting; failures of single units are part of the report.
pub(crate) fn run(plan: &RunPlan) -> Result<Report, RunError> {
    // The origin of `--self-contained` has the other end of each connection, once more.
    let ends = match plan.supply {
        Supply::Given(_) => 1,
        Supply::Staged(_) => 2,
    };
    limits::allow_open_files("--connections", plan.connections, plan.connections * ends)?;
    reach(plan.proxy, plan.timeout)?;
    let targets = Targets::open(&plan.supply)?;
    let pace = Arc::new(Pace::new(Instant::now(), plan.duration, plan.rate));
    let shares = thread::scope(|scope| {
        let spawn = |number: usize| {
            let name = format!("load-{number}");
            let (pace, addresses) = (Arc::clone(&pace), targets.addresses.as_slice());
            thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, move || run_share(plan, number, addresses, pace))
        };
        let threads: Vec<_> = (0..plan.threads)
            .map(|number| spawn(number).map_err(RunError::Runtime))
            .collect();
        // This thread keeps the schedule meanwhile.
        pace.keep_schedule();
        threads
            .into_iter()
            .map(|thread| thread?.join().map_err(|_| RunError::ThreadPanicked)?)
            .collect::<Result<Vec<Share>, RunError>>()
    })?;
    let mut tally = Tally::new(pace.end());
    for share in &shares {
        tally.merge(&share.tally);
    }
    let busiest = shares.iter().map(|share| share.busy_percent).max();
    Ok(Report::new(
        plan,
        &tally,
        pace.not_started(),
        busiest.unwrap_or(0),
    ))
}

/// Fails early and clearly when there is no proxy at all.
pub(crate) fn reach(proxy: SocketAddr, timeout: Duration) -> Result<(), RunError> {
    TcpStream::connect_timeout(&proxy, timeout)
        .map(drop)
        .map_err(|source| RunError::ProxyUnreachable { proxy, source })
}

/// The addresses of a run; a staged dead target lives as long as this.
struct Targets {
    addresses: Vec<(Class, SocketAddr)>,
    _dead: Option<DeadTarget>,
}

impl Targets {
    fn open(supply: &Supply) -> Result<Self, RunError> {
        match supply {
            Supply::Given(addresses) => Ok(Self {
                addresses: addresses.clone(),
                _dead: None,
            }),
            Supply::Staged(kind) => {
                let dead = DeadTarget::open(*kind)?;
                let live = stage::start_origin()?;
                Ok(Self {
                    addresses: vec![(Class::Live, live), (Class::Dead, dead.address)],
                    _dead: Some(dead),
                })
            }
        }
    }
}

/// One thread's part of the run.
struct Share {
    tally: Tally,
    /// How much of the time this thread was on a core: near 100, the loader is what limits.
    busy_percent: u64,
}

/// What the connections of one thread have in common.
struct Workbench {
    client: Client,
    pace: Arc<Pace>,
    tally: RefCell<Tally>,
}

/// Every thread has an event loop of its own: connections never cross threads.
fn run_share(
    plan: &RunPlan,
    number: usize,
    addresses: &[(Class, SocketAddr)],
    pace: Arc<Pace>,
) -> Result<Share, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    let targets = addresses
        .iter()
        .map(|&(class, address)| Target::new(class, address, &plan.exchange))
        .collect();
    let chooser = Chooser::new(targets, plan.dead_share);
    let began = Instant::now();
    let bench = Rc::new(Workbench {
        client: Client {
            proxy: plan.proxy,
            mode: plan.mode,
            timeout: plan.timeout,
            units_per_connection: plan.units_per_connection,
            buffer_bytes: BUFFER_BYTES,
        },
        tally: RefCell::new(Tally::new(pace.end())),
        pace,
    });
    let connections = LocalSet::new();
    for connection in (number..plan.connections).step_by(plan.threads) {
        let chooser = chooser.seeded(connection);
        connections.spawn_local(work(Rc::clone(&bench), chooser));
    }
    runtime.block_on(connections);
    let tally = bench.tally.borrow().clone();
    Ok(Share {
        tally,
        busy_percent: busy_percent(began.elapsed()),
    })
}

/// One connection's units, one after the other, until no more are to start.
async fn work(bench: Rc<Workbench>, mut chooser: Chooser) {
    let mut link: Option<Link> = None;
    while let Some(due) = bench.pace.next().await {
        let tunnel_to = link.as_ref().and_then(|link| link.tunnel_to.clone());
        let Some(target) = tunnel_to.or_else(|| chooser.draw()) else {
            return;
        };
        let (outcome, left) = bench.client.unit(link.take(), &target).await;
        let ended = Instant::now();
        link = left;
        bench
            .tally
            .borrow_mut()
            .record(target.class, outcome, due, ended);
    }
}

/// 0 where the kernel does not tell.
fn busy_percent(elapsed: Duration) -> u64 {
    // The first number is the time this thread spent on a core, in nanoseconds.
    let busy_ns = fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse::<u128>().ok())
        .unwrap_or(0);
    let percent = (busy_ns * 100).checked_div(elapsed.as_nanos()).unwrap_or(0);
    u64::try_from(percent).unwrap_or(u64::MAX).min(100)
}

const BUFFER_BYTES: usize = 16 * 1024;
