//! `hold`: many idle tunnels, and what each costs the proxy in memory.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt, fs,
    rc::Rc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{
    io::BufReader,
    net::TcpStream,
    task::LocalSet,
    time::{sleep, timeout},
};

use crate::{
    args::HoldPlan,
    client::{self, Client},
    error::RunError,
    limits,
    outcome::Outcome,
    report::outcomes_by_key,
    run, stage,
    targets::{Class, Exchange, Target},
};

/// What `hold` found. Field names are the keys in JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HoldReport {
    proxy: String,
    mode: &'static str,
    tunnels: usize,
    open: usize,
    open_after_s: f64,
    /// Tunnels that were neither closed nor written to while they idled.
    still_open: usize,
    idle_s: f64,
    #[serde(serialize_with = "outcomes_by_key")]
    failures: Vec<(Outcome, u64)>,
    /// Absent without `--pid`.
    memory: Option<Memory>,
}

/// Resident memory of the proxy (VmRSS), in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
struct Memory {
    before: u64,
    idle: u64,
    after: u64,
    /// Growth from `before` to `idle`, per open tunnel. Absent if none opened.
    per_tunnel: Option<i64>,
}

impl HoldReport {
    /// # Errors
    ///
    /// Not every tunnel opened: the memory per tunnel is then of fewer than asked for.
    pub(crate) fn verdict(&self) -> Result<(), RunError> {
        if self.open < self.tunnels {
            return Err(RunError::TunnelsMissing {
                open: self.open,
                wanted: self.tunnels,
            });
        }
        Ok(())
    }
}

impl Memory {
    fn new(before: u64, idle: u64, after: u64, open: usize) -> Self {
        let growth = idle as i64 - before as i64;
        Self {
            before,
            idle,
            after,
            per_tunnel: growth.checked_div(open as i64),
        }
    }
}

impl fmt::Display for HoldReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} tunnels through {}\n", self.mode, self.proxy)?;
        let (open, tunnels) = (self.open, self.tunnels);
        writeln!(
            f,
            "opened         {open} of {tunnels} in {:.2} s",
            self.open_after_s
        )?;
        writeln!(
            f,
            "still open     {} after {} s idle",
            self.still_open, self.idle_s
        )?;
        for (outcome, count) in &self.failures {
            writeln!(f, "failed         {count}  {}", outcome.label())?;
        }
        let Some(memory) = self.memory else {
            return Ok(());
        };
        writeln!(f, "\nmemory before  {}", mebibytes(memory.before))?;
        writeln!(f, "memory idle    {}", mebibytes(memory.idle))?;
        writeln!(f, "memory after   {}", mebibytes(memory.after))?;
        match memory.per_tunnel {
            Some(bytes) => writeln!(f, "per tunnel     {bytes} bytes"),
            None => Ok(()),
        }
    }
}

/// Opens the tunnels, keeps them idle, closes them and reports.
///
/// # Errors
///
/// What keeps the hold from starting, or its memory from being read; tunnels that do not open are
/// part of the report.
pub(crate) fn hold(plan: &HoldPlan) -> Result<HoldReport, RunError> {
    let ends = if plan.live.is_some() { 1 } else { 2 };
    limits::allow_open_files("--tunnels", plan.tunnels, plan.tunnels * ends)?;
    run::reach(plan.proxy, plan.timeout)?;
    let live = match plan.live {
        Some(live) => live,
        None => stage::start_origin()?,
    };
    let exchange = match plan.ping {
        Some(bytes) => Exchange::Ping { bytes },
        None => Exchange::Get {
            path: "/".to_owned(),
        },
    };
    let opener = Opener {
        client: Client {
            proxy: plan.proxy,
            mode: plan.mode,
            timeout: plan.timeout,
            units_per_connection: None,
            buffer_bytes: BUFFER_BYTES,
        },
        target: Target::new(Class::Live, live, &exchange),
        uses_tunnels: plan.ping.is_some(),
        left: Cell::new(plan.tunnels),
        open: RefCell::default(),
        failures: RefCell::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    runtime.block_on(observe(plan, opener))
}

async fn observe(plan: &HoldPlan, opener: Opener) -> Result<HoldReport, RunError> {
    let read_memory = || plan.pid.map(resident_bytes).transpose();
    let before = read_memory()?;
    let began = Instant::now();
    let (open, failures) = opener.open_all().await;
    let open_after = began.elapsed();
    sleep(plan.duration).await;
    let idle = read_memory()?;
    let count = open.len();
    let still_open = open
        .iter()
        .filter(|tunnel| client::is_open_and_silent(tunnel.get_ref(), &mut [0]))
        .count();
    drop(open);
    sleep(if before.is_some() {
        SETTLE
    } else {
        Duration::ZERO
    })
    .await;
    let after = read_memory()?;
    let memory = match (before, idle, after) {
        (Some(before), Some(idle), Some(after)) => Some(Memory::new(before, idle, after, count)),
        _ => None,
    };
    Ok(HoldReport {
        proxy: plan.proxy.to_string(),
        mode: plan.mode.name(),
        tunnels: plan.tunnels,
        open: count,
        open_after_s: open_after.as_secs_f64(),
        still_open,
        idle_s: plan.duration.as_secs_f64(),
        failures: failures.into_iter().collect(),
        memory,
    })
}

type Tunnel = BufReader<TcpStream>;

/// Opens tunnels, a few at a time: a flood would measure the proxy's accept queue.
struct Opener {
    client: Client,
    target: Target,
    /// Send something through each tunnel, so that whatever is allocated on first use counts too.
    uses_tunnels: bool,
    left: Cell<usize>,
    open: RefCell<Vec<Tunnel>>,
    failures: RefCell<BTreeMap<Outcome, u64>>,
}

impl Opener {
    async fn open_all(self) -> (Vec<Tunnel>, BTreeMap<Outcome, u64>) {
        let opener = Rc::new(self);
        let tasks = LocalSet::new();
        for _ in 0..OPENING_AT_ONCE {
            let opener = Rc::clone(&opener);
            tasks.spawn_local(async move { opener.open_in_turn().await });
        }
        tasks.await;
        (opener.open.take(), opener.failures.take())
    }

    async fn open_in_turn(&self) {
        while let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            let opened = timeout(self.client.timeout, self.open_one()).await;
            match opened.unwrap_or(Err(Outcome::Timeout)) {
                Ok(tunnel) => self.open.borrow_mut().push(tunnel),
                Err(outcome) => *self.failures.borrow_mut().entry(outcome).or_default() += 1,
            }
        }
    }

    async fn open_one(&self) -> Result<Tunnel, Outcome> {
        let mut tunnel = self.client.open_tunnel(&self.target).await?;
        if self.uses_tunnels {
            client::exchange(&mut tunnel, &self.target.inner).await?;
        }
        Ok(tunnel)
    }
}

fn resident_bytes(pid: u32) -> Result<u64, RunError> {
    let path = format!("/proc/{pid}/status");
    match fs::read_to_string(&path) {
        Ok(status) => parse_resident(&status).ok_or(RunError::NoMemoryLine { pid, path }),
        Err(source) => Err(RunError::Memory { pid, path, source }),
    }
}

/// `VmRSS:     1234 kB`, where kB means 1024 bytes (proc_pid_status(5)).
fn parse_resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
}

const OPENING_AT_ONCE: usize = 64;
/// Answers to a handshake are short, and thousands of these are held.
const BUFFER_BYTES: usize = 512;
/// How long the proxy gets to notice that the tunnels are closed.
const SETTLE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_size_is_read_from_its_line() {
        let status = "Name:\tx\nVmHWM:\t    9 kB\nVmRSS:\t    1234 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(parse_resident(status), Some(1234 * 1024));
        for odd in ["", "Name:\tx\n", "VmRSS:\t12 MB\n", "VmRSS:\t-1 kB\n"] {
            assert_eq!(parse_resident(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn memory_per_tunnel_is_the_growth_shared_out() {
        assert_eq!(Memory::new(1000, 9000, 2000, 4).per_tunnel, Some(2000));
        assert_eq!(Memory::new(9000, 1000, 1000, 4).per_tunnel, Some(-2000));
        assert_eq!(Memory::new(1000, 9000, 2000, 0).per_tunnel, None);
    }
}
