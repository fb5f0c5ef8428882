//! How much and how long: limits and deadlines, with their defaults.

use std::time::Duration;

/// Bounds on what is held at one time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Client connections in the whole process. Default 10 000. An idle one costs two sockets at
    /// most and a few KiB. Split over the workers, which share nothing: each may hold its part,
    /// rounded up, and the kernel deals connections out without knowing who is full. So one worker
    /// may turn clients away while another has room.
    pub connections: usize,
    /// Client connections of one address; 0, the default, is as many as in all.
    pub per_client: usize,
    /// Connections that one listener accepts in a second; 0, the default, is as many as come.
    pub accept_rate: u32,
    /// Bytes of a request's head. Default 64 KiB.
    pub header_size: usize,
    /// Fields of a request's head. Default 100.
    pub header_count: usize,
    /// Idle connections kept to one origin, per worker. Default 256: as many as one server has requests
    /// at a time, or those above are opened anew for each.
    pub idle_per_origin: usize,
    /// Idle connections kept to all origins, per worker. Default 1024.
    pub idle_origins: usize,
    /// Names being looked up at a time, per worker, each on a thread. Default 32.
    pub lookups: usize,
    /// Checks of servers under way at a time, in the whole process. Default 64. Each has a connection
    /// open, for a millisecond or for as long as it may take; those that are due wait their turn.
    pub checks: usize,
    /// Bytes of small files that a worker keeps in memory, for each route that shows a folder. Default
    /// 32 MiB; 0 keeps none.
    pub file_cache: usize,
    /// Memory that the process may use. Default: what its control group may.
    pub memory: Memory,
}

/// How much memory the process may use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Memory {
    /// What its control group may.
    Auto,
    /// As much as there is.
    Off,
    /// So many bytes.
    Bytes(u64),
}

/// Deadlines. Each is kept by a coarse clock, so it may come up to an eighth of the shortest (at
/// most half a second) late.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From a connection's beginning to its first bytes, and to the end of a SOCKS handshake.
    /// Default 10 s.
    pub handshake: Duration,
    /// From a request's first byte to the end of its head. Default 10 s.
    pub header: Duration,
    /// How long a client connection may stay without a request. Default 60 s.
    pub keep_alive: Duration,
    /// How long a name lookup may take. Default 5 s.
    pub resolve: Duration,
    /// From the last byte of a request to the head of the origin's answer. Default 60 s.
    pub answer: Duration,
    /// How long a body may stand still. Default 10 min.
    pub body_idle: Duration,
    /// How long a tunnel may stand still. Default 10 min.
    pub idle: Duration,
    /// How long a request may take in all. Default: as long as it takes.
    pub request: Option<Duration>,
    /// How long a tunnel may live. Default: as long as it does.
    pub tunnel: Option<Duration>,
    /// How long an unused connection to an origin is kept. Default 30 s.
    pub pool_idle: Duration,
    /// How long work in flight may go on after the signal to stop. Default 30 s.
    pub drain: Duration,
}

/// What a file that is held open counts as, of [`Limits::file_cache`]: open files are dear.
pub const HELD_FILE_BYTES: u64 = 128 * 1024;

impl Timeouts {
    /// The shortest deadline that the coarse clock has to keep.
    pub(crate) fn shortest(&self) -> Duration {
        [
            Some(self.handshake),
            Some(self.header),
            Some(self.keep_alive),
            Some(self.answer),
            Some(self.body_idle),
            Some(self.idle),
            Some(self.pool_idle),
            self.request,
            self.tunnel,
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(self.handshake)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            per_client: 0,
            accept_rate: 0,
            header_size: 64 * 1024,
            header_count: 100,
            idle_per_origin: 256,
            idle_origins: 1024,
            lookups: 32,
            checks: 64,
            file_cache: 32 * 1024 * 1024,
            memory: Memory::Auto,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            resolve: Duration::from_secs(5),
            answer: Duration::from_secs(60),
            body_idle: Duration::from_secs(600),
            idle: Duration::from_secs(600),
            request: None,
            tunnel: None,
            pool_idle: Duration::from_secs(30),
            drain: Duration::from_secs(30),
        }
    }
}
