//! Bounds and deadlines.

use std::time::Duration;

use crate::bounds::{Limits, Timeouts};
use crate::config::scalar::{Bytes, Said};
use crate::config::tree;

pub(super) fn limits(said: &tree::Limits) -> Limits {
    let default = Limits::default();
    Limits {
        connections: said.connections.map_or(default.connections, wide),
        per_client: wide(said.connections_per_client),
        accept_rate: said.accept_rate,
        header_size: bytes(&said.header_size),
        header_count: said.header_count.into(),
        idle_per_origin: said.idle_per_origin.into(),
        idle_origins: said.idle_origins.into(),
        lookups: said.lookups.into(),
        checks: said.checks.into(),
        file_cache: bytes(&said.file_cache),
        memory: said.memory.0,
    }
}

pub(super) fn timeouts(said: &tree::Limits, drain: Duration) -> Timeouts {
    Timeouts {
        handshake: said.handshake_timeout.0,
        header: said.header_timeout.0,
        keep_alive: said.keep_alive_timeout.0,
        resolve: said.resolve_timeout.0,
        answer: said.answer_timeout.0,
        body_idle: said.body_idle_timeout.0,
        idle: said.idle_timeout.0,
        request: said.request_timeout.0.0,
        tunnel: said.tunnel_timeout.0.0,
        pool_idle: said.pool_idle_timeout.0,
        drain,
    }
}

fn bytes(said: &Said<Bytes>) -> usize {
    usize::try_from(said.0.0).unwrap_or(usize::MAX)
}

fn wide(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
