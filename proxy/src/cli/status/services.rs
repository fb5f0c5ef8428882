//! Listeners, sites, certificates and upstreams as tables.

use std::time::Duration;

use super::{aligned, words};
use crate::admin::service::{
    CertificateStatus, EndpointStatus, GroupStatus, ListenerStatus, ServerStatus, SiteStatus,
    UpstreamStatus,
};
use crate::admin::status::ProxyStatus;
use crate::units;

pub(super) fn show(status: &ProxyStatus) -> String {
    let mut out = listeners(&status.listeners);
    let mut table = |is_wanted: bool, table: String| {
        if is_wanted {
            out.push('\n');
            out.push_str(&table);
        }
    };
    table(!status.sites.is_empty(), sites(&status.sites));
    let shown = &status.certificates;
    table(!shown.is_empty(), certificates(shown));
    let groups = &status.upstreams;
    table(!groups.is_empty(), servers(groups));
    table(groups.iter().any(|one| one.requests > 0), upstreams(groups));
    let checked = checks(groups);
    table(checked.len() > 1, aligned(&checked));
    out
}

/// How one address stands in the upstreams that have it.
pub(super) fn show_server(upstreams: &[UpstreamStatus]) -> String {
    let heads = ["UPSTREAM", "SERVER", "WEIGHT", "SHARE", "EJECTED"];
    let mut rows = vec![heads.map(String::from)];
    for upstream in upstreams {
        for server in &upstream.endpoints {
            rows.extend(server.addresses.iter().map(|one| {
                [
                    upstream.name.clone(),
                    server.address.clone(),
                    server.weight.to_string(),
                    format!("{} %", one.share_percent),
                    is_ejected(one, upstream.group.as_ref()),
                ]
            }));
        }
    }
    let mut out = format!("{}\n{}", servers(upstreams), aligned(&rows));
    let checked = checks(upstreams);
    if checked.len() > 1 {
        out.push('\n');
        out.push_str(&aligned(&checked));
    }
    out
}

/// Whether the address is ejected for what it answers, and how many of its group are.
fn is_ejected(one: &ServerStatus, group: Option<&GroupStatus>) -> String {
    let Some(traffic) = &one.traffic else {
        return "-".to_owned();
    };
    let said = if traffic.is_down { "yes" } else { "no" };
    format!("{said} ({})", ejected(group))
}

fn listeners(all: &[ListenerStatus]) -> String {
    let heads = [
        "LISTENER", "ADDRESS", "SPEAKS", "OPEN", "ACCEPTED", "REFUSED", "HOSTS",
    ];
    let mut rows = vec![heads.map(String::from)];
    rows.extend(all.iter().map(|one| {
        let speaks = match (one.kind.as_str(), one.tls) {
            ("site", true) => "https",
            ("site", false) => "http",
            (kind, _) => kind,
        };
        [
            one.name.clone(),
            one.address.to_string(),
            speaks.to_owned(),
            one.connections.to_string(),
            one.accepted.to_string(),
            one.refused.to_string(),
            some(&one.hosts),
        ]
    }));
    aligned(&rows)
}

fn sites(all: &[SiteStatus]) -> String {
    let mut rows = vec![["SITE", "REQUESTS", "FAILED", "HOSTS"].map(String::from)];
    rows.extend(all.iter().map(|one| {
        let (requests, failed) = (one.requests.to_string(), one.failed.to_string());
        [one.name.clone(), requests, failed, some(&one.hosts)]
    }));
    aligned(&rows)
}

fn certificates(all: &[CertificateStatus]) -> String {
    let mut rows = vec![["CERTIFICATE", "SITE", "ENDS", "NAMES"].map(String::from)];
    rows.extend(all.iter().map(|one| {
        let ends = match one.days_left {
            days @ ..0 => format!("{} days ago", days.unsigned_abs()),
            days => format!("in {days} days"),
        };
        [one.file.clone(), one.site.clone(), ends, some(&one.names)]
    }));
    let mut out = aligned(&rows);
    for one in all {
        if let Some(trouble) = &one.trouble {
            out.push_str(&format!("{} is not taken up: {trouble}\n", one.file));
        }
    }
    out
}

fn servers(all: &[UpstreamStatus]) -> String {
    let heads = [
        "UPSTREAM", "SERVER", "USED", "DIAL", "TRAFFIC", "CHECK", "WHY",
    ];
    let mut rows = vec![heads.map(String::from)];
    for upstream in all {
        for server in &upstream.endpoints {
            let backup = if server.backup { " (backup)" } else { "" };
            let row = |name: String, found: Option<&ServerStatus>| {
                let name = format!("{name}{backup}");
                let [used, dial, traffic, check, why] =
                    found.map_or_else(|| unknown(server), |found| standing(server, found));
                [upstream.name.clone(), name, used, dial, traffic, check, why]
            };
            if server.addresses.is_empty() {
                rows.push(row(server.address.clone(), None));
            }
            rows.extend(server.addresses.iter().map(|one| {
                let address = one.address.to_string();
                let name = match address == server.address {
                    true => address,
                    false => format!("{} {address}", server.address),
                };
                row(name, Some(one))
            }));
        }
    }
    aligned(&rows)
}

fn standing(server: &EndpointStatus, one: &ServerStatus) -> [String; 5] {
    let word = |word| {
        let mut said = one.words().filter(|(name, _)| *name == word);
        said.next()
            .map_or_else(|| "-".to_owned(), |(_, status)| words(&status.state))
    };
    let used = if one.eligible { "yes" } else { "no" };
    let is_plain = one.share_percent >= 100 && !one.words().any(|(_, word)| word.is_down);
    let reason = (!one.eligible || !is_plain).then_some(&one.reason);
    let lookup = (server.lookup_error.as_ref()).map(|error| format!("its last address; {error}"));
    let why: Vec<_> = reason.cloned().into_iter().chain(lookup).collect();
    [
        used.to_owned(),
        word("dial"),
        word("traffic"),
        word("check"),
        why.join("; "),
    ]
}

/// Nobody has found it.
fn unknown(server: &EndpointStatus) -> [String; 5] {
    let (used, why) = match &server.lookup_error {
        Some(error) => ("no", error.as_str()),
        None => ("-", "not looked up yet"),
    };
    [used, "-", "-", "-", why].map(String::from)
}

fn upstreams(all: &[UpstreamStatus]) -> String {
    let heads = [
        "UPSTREAM",
        "REQUESTS",
        "IN FLIGHT",
        "WAITING",
        "FAILED TRIES",
        "SENT AGAIN",
        "NOT SENT AGAIN",
        "EJECTED",
    ];
    let mut rows = vec![heads.map(String::from)];
    rows.extend(all.iter().map(|one| {
        let failed: u64 = one.failures.values().sum();
        let kinds = one.failures.iter().filter(|(_, count)| **count > 0);
        let kinds: Vec<_> = kinds
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let failed = match kinds.is_empty() {
            true => "0".to_owned(),
            false => format!("{failed} ({})", kinds.join(", ")),
        };
        [
            one.name.clone(),
            one.requests.to_string(),
            one.in_flight.to_string(),
            one.waiting.to_string(),
            failed,
            one.retries.to_string(),
            one.retries_refused.to_string(),
            ejected(one.group.as_ref()),
        ]
    }));
    aligned(&rows)
}

fn ejected(group: Option<&GroupStatus>) -> String {
    let Some(group) = group else {
        return "-".to_owned();
    };
    let fails_open = if group.failing_open {
        ", fails open"
    } else {
        ""
    };
    format!("{} of {}{fails_open}", group.ejected, group.most_ejected)
}

/// What the last check of each server met.
fn checks(all: &[UpstreamStatus]) -> Vec<[String; 7]> {
    let heads = [
        "UPSTREAM", "CHECKED", "SAYS", "CHECKS", "FAILED", "TOOK", "LAST",
    ];
    let mut rows = vec![heads.map(String::from)];
    for upstream in all {
        for server in upstream.endpoints.iter().flat_map(|one| &one.addresses) {
            let Some(checks) = &server.check_report else {
                continue;
            };
            let (took, last) = checks.last.as_ref().map_or_else(never, |last| {
                let took = Duration::from_micros(last.took_us);
                let ago = units::show_about(Duration::from_millis(last.age_ms));
                let found = last.failure.as_deref().unwrap_or("passed");
                (format!("{took:?}"), format!("{ago} ago: {found}"))
            });
            rows.push([
                upstream.name.clone(),
                server.address.to_string(),
                checks.says.clone(),
                checks.checks.to_string(),
                checks.failed.to_string(),
                took,
                last,
            ]);
        }
    }
    rows
}

fn never() -> (String, String) {
    ("-".to_owned(), "not yet".to_owned())
}

fn some(all: &[String]) -> String {
    match all {
        [] => "-".to_owned(),
        all if all.len() > NAMES_MOST => {
            let shown = all.iter().take(NAMES_MOST).map(String::as_str);
            let shown: Vec<_> = shown.collect();
            format!("{} and {} more", shown.join(" "), all.len() - NAMES_MOST)
        }
        all => all.join(" "),
    }
}

/// Names in one row.
const NAMES_MOST: usize = 6;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(lookup_error: &Value, addresses: &Value) -> String {
        let endpoint: EndpointStatus = serde_json::from_value(json!({
            "address": "app.internal:80", "weight": 1, "backup": false, "status": null,
            "checks": null, "checks_failed": null, "lookup_error": lookup_error,
            "addresses": addresses,
        }))
        .unwrap();
        let upstream = UpstreamStatus {
            name: "app".to_owned(),
            endpoints: vec![endpoint],
            ..UpstreamStatus::default()
        };
        servers(&[upstream])
    }

    #[test]
    fn a_name_that_is_not_found_is_told_from_one_that_nobody_has_asked_for() {
        let error = "name app.internal not resolved: no such name";
        for (error, line) in [
            (
                Value::Null,
                "app  app.internal:80  -  -  -  -  not looked up yet".to_owned(),
            ),
            (
                json!(error),
                format!("app  app.internal:80  no  -  -  -  {error}"),
            ),
        ] {
            let shown = shown(&error, &json!([]));
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(words(shown.lines().nth(1).unwrap()), words(&line));
        }
        let address = json!({
            "address": "10.0.0.1:80", "is_down": false, "state": "up", "failures": 0, "trips": 0,
            "successes": 0, "last_cause": null, "last_failure_age_ms": null, "retry_in_ms": null,
            "usual_connect_ms": null,
        });
        let found = json!([{
            "address": "10.0.0.1:80", "eligible": true, "reason": "up", "dial": address,
            "traffic": null, "check": null, "check_report": null, "share_percent": 100,
        }]);
        let shown = shown(&json!(error), &found);
        assert!(
            shown.contains(&format!("its last address; {error}")),
            "{shown}"
        );
    }
}
