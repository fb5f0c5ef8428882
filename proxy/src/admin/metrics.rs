//! `/metrics`: what Prometheus scrapes, in the OpenMetrics text format.
//!
//! The workers count for themselves; here they are added up, at each scrape. Every label is one of
//! a fixed set, or a name of the configuration: no client can make another series.

mod services;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::Report;
use super::operator::STATES;
use super::service::ListenerStatus;
use crate::runtime::memory::Pressure;
use crate::telemetry::counters::{BOUNDS, CLASSES, Count, Counters, FAULTS, PROTOCOLS};

/// The kind of the text.
pub(super) const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as text.
pub(super) fn text(report: &Report) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("risefall");
    registry.register_collector(Box::new(Scrape(report.clone())));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

struct Scrape(Report);

impl fmt::Debug for Scrape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        self.process(&mut out)?;
        self.listeners(&mut out)?;
        self.requests(&mut out)?;
        self.durations(&mut out)?;
        self.dials(&mut out)?;
        self.health(&mut out)?;
        services::sites(&self.0, &mut out)?;
        services::upstreams(&self.0.upstreams(), &mut out)?;
        services::checks(&self.0, &mut out)?;
        self.reloads(&mut out)
    }
}

/// Labels with their values.
type Labels<'a> = [(&'static str, &'a str)];

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.gauges(name, help, &[(&[], value)])
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counters(name, help, &[(&[], value)])
    }

    fn gauges(&mut self, name: &str, help: &str, all: &[(&Labels<'_>, u64)]) -> fmt::Result {
        let kind = MetricType::Gauge;
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in all {
            let value = i64::try_from(*value).unwrap_or(i64::MAX);
            let gauge = ConstGauge::new(value);
            if labels.is_empty() {
                return gauge.encode(family);
            }
            gauge.encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn counters(&mut self, name: &str, help: &str, all: &[(&Labels<'_>, u64)]) -> fmt::Result {
        let kind = MetricType::Counter;
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in all {
            let counter = ConstCounter::new(*value);
            if labels.is_empty() {
                return counter.encode(family);
            }
            counter.encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }
}

impl Scrape {
    fn sum<'a>(&'a self, count: impl Fn(&'a Counters) -> &'a Count) -> u64 {
        let workers = self.0.counters.iter();
        workers.map(|worker| count(worker).get()).sum()
    }

    /// One series for each name, of counts that the workers keep in the order of the names.
    fn named<'a>(
        &'a self,
        out: &mut Out<'_>,
        name: &str,
        help: &str,
        counts: impl Fn(&'a Counters) -> &'a [Count],
    ) -> fmt::Result {
        let counts = &counts;
        let sums = FAULTS.iter().enumerate().map(|(nth, &fault)| {
            let workers = self.0.counters.iter();
            let sum: u64 = (workers.filter_map(|worker| counts(worker).get(nth)))
                .map(Count::get)
                .sum();
            ([("error", fault)], sum)
        });
        let sums: Vec<_> = sums.collect();
        let series: Vec<_> = sums.iter().map(|(label, sum)| (&label[..], *sum)).collect();
        out.counters(name, help, &series)
    }

    fn process(&self, out: &mut Out<'_>) -> fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        out.gauges(
            "build",
            "1, with the version of the program",
            &[(&version, 1)],
        )?;
        let uptime = self.0.started.elapsed().as_secs();
        out.gauge("uptime_seconds", "Since the start of the process", uptime)?;
        let is_ready = u64::from(self.0.is_ready());
        out.gauge("ready", "1 while new work is taken", is_ready)?;
        if let Some((used, limit)) = self.0.memory.room() {
            out.gauge("memory_used_bytes", "Memory in use", used)?;
            out.gauge("memory_limit_bytes", "Memory that may be used", limit)?;
        }
        let is_short = self.0.memory.pressure() != Pressure::None;
        let help = "1 while new connections are refused because memory is short";
        out.gauge("memory_is_short", help, u64::from(is_short))
    }

    fn listeners(&self, out: &mut Out<'_>) -> fmt::Result {
        let listeners = self.0.listeners();
        let addresses: Vec<_> = listeners
            .iter()
            .map(|one| one.address.to_string())
            .collect();
        let labels: Vec<_> = listeners
            .iter()
            .zip(&addresses)
            .map(|(one, address)| {
                let (kind, name) = (one.kind.as_str(), one.name.as_str());
                [("kind", kind), ("name", name), ("address", address)]
            })
            .collect();
        let series = |value: fn(&ListenerStatus) -> u64| -> Vec<_> {
            let labels = labels.iter().map(|labels| &labels[..]);
            labels.zip(listeners.iter().map(value)).collect()
        };
        let open = series(|one| one.connections);
        out.gauges("connections", "Client connections that are open", &open)?;
        let accepted = series(|one| one.accepted);
        let help = "Client connections that were served";
        out.counters("connections_accepted", help, &accepted)?;
        let refused = series(|one| one.refused);
        let help = "Client connections that were turned away";
        out.counters("connections_refused", help, &refused)
    }

    fn requests(&self, out: &mut Out<'_>) -> fmt::Result {
        let mut sums = Vec::new();
        for (row, protocol) in PROTOCOLS.iter().enumerate() {
            for (column, class) in CLASSES.iter().enumerate() {
                let workers = self.0.counters.iter();
                let counts = workers.filter_map(|one| one.requests.get(row)?.get(column));
                let sum: u64 = counts.map(Count::get).sum();
                sums.push(([("protocol", *protocol), ("code", *class)], sum));
            }
        }
        let series: Vec<_> = sums
            .iter()
            .map(|(labels, sum)| (&labels[..], *sum))
            .collect();
        let help = "Requests and tunnels that are over, by protocol and class of the answer";
        out.counters("requests", help, &series)?;
        let help = "Requests and tunnels that go on";
        out.gauge("requests_in_flight", help, self.sum(|one| &one.in_flight))?;
        let help = "What went wrong with requests and tunnels, by error type (RFC 9209)";
        self.named(out, "faults", help, |one| &one.faults)?;
        let help = "Body and tunnel bytes from clients";
        out.counter("received_bytes", help, self.sum(|one| &one.bytes_in))?;
        let help = "Body and tunnel bytes to clients";
        out.counter("sent_bytes", help, self.sum(|one| &one.bytes_out))
    }

    fn durations(&self, out: &mut Out<'_>) -> fmt::Result {
        let mut family = out.0.encode_descriptor(
            "request_duration",
            "From a request to the end of its answer, or of its tunnel",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (row, protocol) in PROTOCOLS.iter().enumerate() {
            let histograms = || {
                self.0
                    .counters
                    .iter()
                    .filter_map(|one| one.durations.get(row))
            };
            let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]).enumerate();
            let buckets: Vec<_> = bounds
                .map(|(nth, bound)| {
                    let counts = histograms().filter_map(|one| one.buckets.get(nth));
                    (bound, counts.map(Count::get).sum::<u64>())
                })
                .collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let micros: u64 = histograms().map(|one| one.sum.get()).sum();
            #[expect(
                clippy::cast_precision_loss,
                reason = "a sum of times need not be exact"
            )]
            let seconds = micros as f64 / 1e6;
            let labels = [("protocol", *protocol)];
            let mut one = family.encode_family(&labels)?;
            one.encode_histogram::<[(&str, &str); 0]>(seconds, count, &buckets, None)?;
        }
        Ok(())
    }

    fn dials(&self, out: &mut Out<'_>) -> fmt::Result {
        let help = "Dials for clients that ended in a connection";
        out.counter("dials", help, self.sum(|one| &one.dials))?;
        let help = "Dials for clients that failed, and what came to no dial, by error type";
        self.named(out, "dials_failed", help, |one| &one.failed_dials)?;
        let help = "Dials for clients that were given up early, mostly for another that won";
        let abandoned = self.sum(|one| &one.abandoned_dials);
        out.counter("dials_abandoned", help, abandoned)?;
        let help = "Requests that found an open connection";
        out.counter("pool_reused", help, self.sum(|one| &one.reused))?;
        let help = "Connections to origins that wait for a request";
        out.gauge("pool_idle", help, self.sum(|one| &one.idle))
    }

    fn health(&self, out: &mut Out<'_>) -> fmt::Result {
        let counts = self.0.counts_by_state();
        let labels = STATES.map(|state| [("state", state)]);
        let series: Vec<_> = (labels.iter().map(|label| &label[..]))
            .zip(counts)
            .collect();
        let help = "Addresses with something against them, by state; up: with failures of late";
        out.gauges("addresses", help, &series)?;
        if let Some(operator) = &self.0.operator {
            let transitions = operator.transitions();
            let series: Vec<_> = (labels.iter().map(|label| &label[..]))
                .zip(transitions)
                .collect();
            out.counters(
                "transitions",
                "Changes of an address, by its new state",
                &series,
            )?;
        }
        let help = "First failures that found no room in the registry";
        out.counter("overflow", help, self.0.overflow())
    }

    fn reloads(&self, out: &mut Out<'_>) -> fmt::Result {
        out.gauge(
            "generation",
            "The number of the plan in force",
            self.0.generation(),
        )?;
        let Some(operator) = &self.0.operator else {
            return Ok(());
        };
        let reloads = operator.reloads();
        let (done, refused) = ([("result", "done")], [("result", "refused")]);
        let series = [(&done[..], reloads.done), (&refused[..], reloads.refused)];
        out.counters(
            "reloads",
            "Reloads of the configuration, by result",
            &series,
        )
    }
}
