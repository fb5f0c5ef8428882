//! What ends a command early. Each message names the flag at fault and what to do about it.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

/// Why a command ended without doing all it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The flags contradict each other or ask for what is not allowed.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The flags were fine, the run was not.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Failure {
    /// 2 for bad usage (as clap has it), 1 for what went wrong while running.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Run(_) => ExitCode::from(1),
        }
    }
}

/// Flags that parse one by one, and make no sense together.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum UsageError {
    /// A slip of the keyboard must not put load on somebody else's machine.
    #[error("{flag} {address} is not a loopback address; add --allow-remote if you mean it")]
    NotLoopback {
        flag: &'static str,
        address: SocketAddr,
    },
    /// Without bounds and checks it is nothing for anybody else to reach.
    #[error("{flag} {address} is not a loopback address; a bare proxy stays on this machine")]
    LoopbackOnly {
        flag: &'static str,
        address: SocketAddr,
    },
    #[error("no live target: add --live ADDR, or --self-contained to start one here")]
    NoLiveTarget,
    #[error(
        "--dead-share {share} needs a dead target: add --dead ADDR or --self-contained, \
         or set --dead-share 0"
    )]
    NoDeadTarget { share: u8 },
    #[error("--path {path:?} must start with '/' and hold visible ASCII only")]
    Path { path: String },
    #[error("--ping needs a tunnel: use --mode connect or --mode socks5, or drop --ping")]
    PingWithoutTunnel,
    #[error("--threads {threads} is more than --connections {connections}: lower --threads")]
    IdleThreads { threads: usize, connections: usize },
}

/// What went wrong once the command had begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("cannot connect to --proxy {proxy}: {source}; start the proxy, or correct the address")]
    ProxyUnreachable {
        proxy: SocketAddr,
        source: io::Error,
    },
    #[error("no live unit succeeded ({units} tried): see the outcomes above")]
    NothingSucceeded { units: u64 },
    #[error("only {open} of --tunnels {wanted} are open: see the outcomes above")]
    TunnelsMissing { open: usize, wanted: usize },
    #[error(
        "{flag} {count} needs about {needed} open files, and this process may have {allowed}: \
         lower {flag}, or raise the hard limit (`ulimit -Hn`)"
    )]
    TooFewFiles {
        flag: &'static str,
        count: usize,
        needed: u64,
        allowed: u64,
    },
    #[error("cannot raise the limit of open files to {needed}: {source}; lower {flag}")]
    RaiseLimit {
        flag: &'static str,
        needed: u64,
        source: io::Error,
    },
    #[error("--listen {listen}: {source}")]
    Listen {
        listen: SocketAddr,
        source: io::Error,
    },
    #[error("{}: {why}; --cert and --key take PEM files that belong together", file.display())]
    Certificate { file: PathBuf, why: String },
    #[error("cannot make the dead target of --dead-kind {kind}: {source}; try --dead ADDR")]
    DeadTarget {
        kind: &'static str,
        source: io::Error,
    },
    #[error("the kernel went on accepting: no black hole here; use --dead-kind closed")]
    NoBlackHole,
    #[error("--pid {pid}: cannot read its memory from {path}: {source}")]
    Memory {
        pid: u32,
        path: String,
        source: io::Error,
    },
    #[error("--pid {pid}: {path} has no VmRSS line (a kernel thread?)")]
    NoMemoryLine { pid: u32, path: String },
    #[error("cannot start a thread or its event loop: {0}")]
    Runtime(#[source] io::Error),
    #[error("a loader thread panicked; this is a bug of the loader")]
    ThreadPanicked,
    #[error("cannot write the report: {0}")]
    Output(#[source] io::Error),
}
