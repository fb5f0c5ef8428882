//! Metrics of sites and upstreams. Their labels are names of the configuration.

use std::fmt;

use super::Out;
use crate::admin::Report;
use crate::admin::service::{EndpointStatus, GroupStatus, ServerStatus, UpstreamStatus};
use crate::runtime::standing::WORDS;
use crate::telemetry::counters::CLASSES;
use crate::telemetry::tally::FAILURES;

pub(super) fn sites(report: &Report, out: &mut Out<'_>) -> fmt::Result {
    let force = report.force.load();
    let mut all = Vec::new();
    for site in force.plan.sites() {
        for (nth, class) in CLASSES.iter().enumerate() {
            let sum = (force.tallies).site_sum(site.name(), |one| one.requests.get(nth));
            all.push(([("site", site.name()), ("code", *class)], sum));
        }
    }
    let series: Vec<_> = all
        .iter()
        .map(|(labels, sum)| (&labels[..], *sum))
        .collect();
    let help = "Requests to a site that are over, by class of the answer";
    out.counters("site_requests", help, &series)?;
    let certificates = report.certificates();
    let all = certificates.iter().map(|one| {
        let labels = [("site", one.site.as_str()), ("certificate", &one.file)];
        (labels, u64::try_from(one.not_after).unwrap_or(0))
    });
    let all: Vec<_> = all.collect();
    let series: Vec<_> = all
        .iter()
        .map(|(labels, end)| (&labels[..], *end))
        .collect();
    let help = "When the certificate that is shown ends, in Unix time";
    out.gauges("certificate_not_after_seconds", help, &series)
}

pub(super) fn upstreams(all: &[UpstreamStatus], out: &mut Out<'_>) -> fmt::Result {
    let help = "Requests and tunnels for an upstream, however often each was sent";
    out.counters(
        "upstream_requests",
        help,
        &by_name(all, |one| one.requests).each(),
    )?;
    let help = "Requests and tunnels at servers of an upstream";
    out.gauges(
        "upstream_in_flight",
        help,
        &by_name(all, |one| one.in_flight).each(),
    )?;
    let failures = FAILURES.iter().flat_map(|&failure| {
        let count = move |one: &UpstreamStatus| one.failures.get(failure).copied().unwrap_or(0);
        all.iter().map(move |one| {
            (
                [("upstream", one.name.as_str()), ("kind", failure)],
                count(one),
            )
        })
    });
    let help = "Tries that failed by a server's fault, by how they did";
    out.counters(
        "upstream_failures",
        help,
        &Series(failures.collect()).each(),
    )?;
    let help = "Requests that were sent again";
    out.counters(
        "upstream_retries",
        help,
        &by_name(all, |one| one.retries).each(),
    )?;
    let help = "Requests that were not sent again because the budget was spent";
    let refused = by_name(all, |one| one.retries_refused);
    out.counters("upstream_retries_refused", help, &refused.each())?;
    let help = "Requests that wait for a server";
    out.gauges(
        "upstream_queue",
        help,
        &by_name(all, |one| one.waiting).each(),
    )?;
    let help = "Requests that have waited for a server";
    out.counters(
        "upstream_queued",
        help,
        &by_name(all, |one| one.queued).each(),
    )?;
    let refused = all.iter().flat_map(|one| {
        let kinds = [("full", one.queue_full), ("timeout", one.queue_timeouts)];
        kinds.map(|(kind, count)| ([("upstream", one.name.as_str()), ("kind", kind)], count))
    });
    let help = "Requests that found the queue full, or waited in vain";
    out.counters(
        "upstream_queue_refused",
        help,
        &Series(refused.collect()).each(),
    )?;
    groups(all, out)?;
    servers(all, out)
}

fn groups(all: &[UpstreamStatus], out: &mut Out<'_>) -> fmt::Result {
    let of = |value: fn(&GroupStatus) -> u64| {
        let known = all
            .iter()
            .filter_map(|one| Some((one, one.group.as_ref()?)));
        Series(
            known
                .map(|(one, group)| ([("upstream", one.name.as_str())], value(group)))
                .collect(),
        )
    };
    let help = "Addresses of servers that nothing is held against";
    out.gauges("upstream_live", help, &of(|one| one.live.into()).each())?;
    let help = "Addresses that are ejected for what they answer";
    out.gauges(
        "upstream_ejected",
        help,
        &of(|one| one.ejected.into()).each(),
    )?;
    let help = "1 while so few are up that answers and checks are passed over";
    let failing_open = of(|one| one.failing_open.into());
    out.gauges("upstream_failing_open", help, &failing_open.each())?;
    let help = "Ejections of addresses for what they answer";
    out.counters("upstream_ejections", help, &of(|one| one.ejections).each())?;
    let help = "Ejections that did not happen, as too many were ejected already";
    out.counters("upstream_spared", help, &of(|one| one.spared).each())
}

fn servers(all: &[UpstreamStatus], out: &mut Out<'_>) -> fmt::Result {
    let servers = || {
        all.iter()
            .flat_map(|one| one.endpoints.iter().map(move |end| (one, end)))
    };
    let up = servers().map(|(upstream, server)| {
        let labels = [
            ("upstream", upstream.name.as_str()),
            ("server", server.address.as_str()),
        ];
        (labels, u64::from(is_up(server)))
    });
    let help = "1 while health lets the server be used, or one of its addresses";
    out.gauges("server_up", help, &Series(up.collect()).each())?;
    let mut words = Vec::new();
    for (upstream, server) in servers() {
        for word in WORDS {
            if let Some(is_up) = is_up_by(server, word) {
                let labels = [
                    ("upstream", upstream.name.as_str()),
                    ("server", server.address.as_str()),
                    ("by", word),
                ];
                words.push((labels, u64::from(is_up)));
            }
        }
    }
    let help = "The same by one word alone: of its dials, of its traffic, of its checks";
    out.gauges("server_up_by", help, &Series(words).each())?;
    let counted = |count: fn(&EndpointStatus) -> Option<u64>| {
        let all = servers().filter_map(|(upstream, server)| {
            let labels = [
                ("upstream", upstream.name.as_str()),
                ("server", server.address.as_str()),
            ];
            Some((labels, count(server)?))
        });
        Series(all.collect())
    };
    let help = "Checks of a server that have ended, at all addresses that it has had";
    out.counters("server_checks", help, &counted(|one| one.checks).each())?;
    let help = "Those of them that it did not pass";
    let failed = counted(|one| one.checks_failed);
    out.counters("server_checks_failed", help, &failed.each())
}

/// Checks as a whole: identical ones of several upstreams are one.
pub(super) fn checks(report: &Report, out: &mut Out<'_>) -> fmt::Result {
    let (made, in_flight) = report.standings.checks();
    let help = "Different checks of servers that are made";
    out.gauge("checks", help, made as u64)?;
    let help = "Checks of servers that are under way";
    out.gauge("checks_in_flight", help, in_flight as u64)
}

/// One that was not looked up yet is not known to be down; one that is found nowhere is.
fn is_up(server: &EndpointStatus) -> bool {
    let is_unknown = server.addresses.is_empty() && server.lookup_error.is_none();
    is_unknown || server.addresses.iter().any(|one| one.eligible)
}

/// Whether one of the server's addresses is up by that word; `None` if it says nothing.
fn is_up_by(server: &EndpointStatus, word: &str) -> Option<bool> {
    let said = server.addresses.iter().flat_map(ServerStatus::words);
    let said = said.filter(|(name, _)| *name == word);
    said.map(|(_, status)| !status.is_down)
        .reduce(|one, other| one || other)
}

/// Values with their labels.
struct Series<'a, const LABELS: usize>(Vec<([(&'static str, &'a str); LABELS], u64)>);

impl<'a, const LABELS: usize> Series<'a, LABELS> {
    fn each(&self) -> Vec<(&[(&'static str, &'a str)], u64)> {
        let all = self.0.iter();
        all.map(|(labels, value)| (&labels[..], *value)).collect()
    }
}

fn by_name(all: &[UpstreamStatus], value: fn(&UpstreamStatus) -> u64) -> Series<'_, 1> {
    let all = all.iter();
    Series(
        all.map(|one| ([("upstream", one.name.as_str())], value(one)))
            .collect(),
    )
}
