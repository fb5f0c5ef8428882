//! What has happened so far, counted by each worker for itself.
//!
//! A count is written by one thread alone, so counting is a load and a store on a line that nobody
//! else writes; whoever asks adds the workers up. Everything is bounded: what a client sends names
//! no count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that one thread writes and every thread may read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

/// One worker's counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Requests and tunnels that are over, by protocol and by the class of their answer.
    pub requests: [[Count; CLASSES.len()]; PROTOCOLS.len()],
    /// How long they took.
    pub durations: [Histogram; PROTOCOLS.len()],
    /// Requests and tunnels that go on now.
    pub in_flight: Count,
    /// What went wrong, by the names of [`FAULTS`].
    pub faults: [Count; FAULTS.len()],
    /// Dials for clients that ended well.
    pub dials: Count,
    /// Dials for clients that did not, and what came to no dial, by the names of [`FAULTS`].
    pub failed_dials: [Count; FAULTS.len()],
    /// Dials for clients that were given up before they had been silent for long.
    pub abandoned_dials: Count,
    /// Requests that found an open connection.
    pub reused: Count,
    /// Connections to origins that wait for a request.
    pub idle: Count,
    /// Client connections.
    pub connections: Count,
    /// How often the worker has gone round.
    pub beats: Count,
    /// Body and tunnel bytes from clients.
    pub bytes_in: Count,
    /// Body and tunnel bytes to clients.
    pub bytes_out: Count,
}

/// What one worker has had from one listener.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ListenerCounts {
    /// Connections that were served.
    pub accepted: Count,
    /// Connections that were turned away.
    pub refused: Count,
    /// Connections that are open now.
    pub open: Count,
}

/// Times by how long they were at most.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each of [`BOUNDS`], and one for the rest.
    pub buckets: [Count; BOUNDS.len() + 1],
    /// The sum, in microseconds.
    pub sum: Count,
}

/// A client's protocol, as an index of [`PROTOCOLS`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// A request.
    Http,
    /// A tunnel asked for in HTTP.
    Connect,
    /// A tunnel asked for in SOCKS5.
    Socks5,
}

impl Protocol {
    /// Its name in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Connect => "connect",
            Self::Socks5 => "socks5",
        }
    }
}

impl Count {
    /// One more.
    pub fn bump(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }

    /// One less.
    pub fn drop_one(&self) {
        self.set(self.get().saturating_sub(1));
    }

    /// Sets it. Only the thread whose count it is may.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What it is now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// A request or tunnel has ended with `status`.
    pub fn note_end(&self, protocol: Protocol, status: u16, took: Duration) {
        let class = match (protocol, status) {
            (Protocol::Socks5, 0) => 2,
            (Protocol::Socks5, NOT_ALLOWED | NOT_SUPPORTED..) => 4,
            (Protocol::Socks5, _) => 5,
            (_, status) => usize::from(status / 100),
        };
        let row = self.requests.get(protocol as usize);
        if let Some(count) = row.and_then(|row| row.get(class)) {
            count.bump();
        }
        if let Some(histogram) = self.durations.get(protocol as usize) {
            histogram.note(took);
        }
    }

    /// Something went wrong.
    pub fn note_fault(&self, token: &str) {
        bump_named(&self.faults, token);
    }

    /// A dial did not end well, or there was none.
    pub fn note_failed_dial(&self, token: &str) {
        bump_named(&self.failed_dials, token);
    }
}

fn bump_named(counts: &[Count], token: &str) {
    let named = FAULTS.iter().position(|&name| name == token);
    if let Some(count) = named.and_then(|nth| counts.get(nth)) {
        count.bump();
    }
}

impl Histogram {
    fn note(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let nth = BOUNDS.iter().position(|&bound| seconds <= bound);
        if let Some(bucket) = self.buckets.get(nth.unwrap_or(BOUNDS.len())) {
            bucket.bump();
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum.add(micros);
    }
}

/// The names of [`Protocol`].
pub const PROTOCOLS: [&str; 3] = ["http", "connect", "socks5"];
/// Classes of answers; `none` if there was no answer. A SOCKS reply counts as 2xx (00), as 4xx
/// (02, 07, 08), or as 5xx.
pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// The upper bounds of durations, in seconds.
pub const BOUNDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0,
];
/// The error types of a fault (RFC 9209 §2.3), and one of our own.
pub const FAULTS: [&str; 22] = [
    "connection_limit_reached",
    "connection_read_timeout",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "destination_unavailable",
    "dns_error",
    "dns_timeout",
    "file_changed",
    "http_protocol_error",
    "http_request_denied",
    "http_request_error",
    "http_response_header_section_size",
    "http_response_incomplete",
    "http_response_timeout",
    "http_upgrade_failed",
    "proxy_internal_error",
    "proxy_loop_detected",
    "tls_certificate_error",
    "tls_protocol_error",
];
const NOT_ALLOWED: u16 = 2;
const NOT_SUPPORTED: u16 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;

    #[test]
    fn every_fault_is_counted_that_servers_and_files_have() {
        let tls = |is_certificate| Fault::Tls {
            address: ([127, 0, 0, 1], 443).into(),
            reason: "".into(),
            is_certificate,
        };
        for fault in [tls(true), tls(false), Fault::Changed, Fault::Memory] {
            let counters = Counters::default();
            counters.note_fault(fault.token());
            counters.note_failed_dial(fault.token());
            for counts in [&counters.faults, &counters.failed_dials] {
                let sum: u64 = counts.iter().map(Count::get).sum();
                assert_eq!(sum, 1, "{}", fault.token());
            }
        }
    }

    #[test]
    fn an_end_is_counted_by_protocol_and_class() {
        let counters = Counters::default();
        for (protocol, status, class) in [
            (Protocol::Http, 204, "2xx"),
            (Protocol::Http, 0, "none"),
            (Protocol::Http, 503, "5xx"),
            (Protocol::Connect, 200, "2xx"),
            (Protocol::Socks5, 0, "2xx"),
            (Protocol::Socks5, 2, "4xx"),
            (Protocol::Socks5, 4, "5xx"),
            (Protocol::Socks5, 8, "4xx"),
        ] {
            let class = CLASSES.iter().position(|&name| name == class).unwrap();
            let count = &counters.requests[protocol as usize][class];
            let before = count.get();
            counters.note_end(protocol, status, Duration::from_millis(3));
            assert_eq!(count.get(), before + 1, "{protocol:?} {status}");
        }
        // No answer has such a status, and none is counted.
        counters.note_end(Protocol::Http, 999, Duration::ZERO);
        let socks = &counters.durations[Protocol::Socks5 as usize];
        assert_eq!((socks.buckets[2].get(), socks.sum.get()), (4, 12_000));
    }
}
