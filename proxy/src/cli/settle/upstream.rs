//! Groups of servers: from what is said of them to how they are asked.

use hyper::StatusCode;
use risefall::Policy;

use super::{Refused, check, group, policy, tls};
use crate::config::scalar::HashBy;
use crate::config::tree::upstream::{Http, Member, Upstream};
use crate::config::tree::{self, Health, Part};
use crate::plan::upstream::{HttpVersion, Queue, Retries, Sticky};
use crate::plan::{Balance, KeyBy, Server, UpstreamDraft};
use crate::proto::{Host, Target};

pub(super) fn draft(
    name: &str,
    said: &Upstream,
    health: &Health,
    usual: &Policy,
    refused: &mut Vec<Refused>,
) -> UpstreamDraft {
    let place = format!("upstream.{name}");
    let own = policy::of_group(said, health).and_then(|built| {
        let built = built.map_err(|error| refused.push(policy::refuse(&place, &error)));
        built.ok()
    });
    let http = match said.http {
        Http::Auto => HttpVersion::Auto,
        Http::H1 => HttpVersion::H1,
        Http::H2 => HttpVersion::H2,
    };
    refuse_lone(&place, said, refused);
    refuse_lone_retries(&format!("{place}.retries"), said, refused);
    UpstreamDraft {
        name: name.to_owned(),
        servers: servers(&format!("{place}.servers"), &said.servers, refused),
        balance: balance(said.balance),
        by: (said.hash_by.as_ref()).map_or(KeyBy::Client, |by| key_by(&by.0)),
        service: Some(own.clone().unwrap_or_else(|| usual.clone())),
        policy: own,
        statuses: statuses(&said.statuses),
        tls: (said.tls.as_ref())
            .and_then(|tls| tls::of_upstream(&format!("{place}.tls"), tls, http, refused)),
        http,
        retries: retries(&said.retries),
        sticky: said.sticky.as_ref().map(|sticky| Sticky {
            cookie: sticky.cookie.0.0.clone(),
            max_age: sticky.max_age.as_ref().map(|time| time.0),
            secure: sticky.secure,
        }),
        queue: Queue {
            length: said.queue.length,
            timeout: (said.queue.timeout.as_ref()).map_or(Queue::default().timeout, |time| time.0),
        },
        max_requests: said.max_requests,
        check: check::of_upstream(&place, said, refused),
        group: group::policy(&place, (&said.group, &said.outliers), refused),
    }
}

/// Keys that say nothing without another.
fn refuse_lone(place: &str, said: &Upstream, refused: &mut Vec<Refused>) {
    if said.hash_by.is_some() && said.balance != tree::upstream::Balance::Hash {
        let message = "is of use with balance = \"hash\" alone; expected that beside it";
        refused.push(Refused::new(format!("{place}.hash_by"), message));
    }
    if said.queue.timeout.is_some() && said.queue.length == 0 {
        let message =
            "is of use with length alone; expected length = 100, or another number, beside it";
        refused.push(Refused::new(format!("{place}.queue.timeout"), message));
    }
}

/// The same of retries that nobody makes.
fn refuse_lone_retries(place: &str, said: &Upstream, refused: &mut Vec<Refused>) {
    let (retries, http) = (&said.retries, said.http);
    if retries.attempts > 0 {
        return;
    }
    let mut refuse = |key, message: &str| {
        refused.push(Refused::new(format!("{place}.{key}"), message));
    };
    if retries.budget.is_some() {
        refuse("budget", NO_ATTEMPTS);
    }
    if !retries.statuses.is_empty() {
        refuse("statuses", NO_ATTEMPTS);
    }
    // By HTTP/2 a server can send back what it has not begun: that is no retry.
    let is_h1 = http == Http::H1 || http == Http::Auto && said.tls.is_none();
    if retries.body_size.is_some() && is_h1 {
        refuse(
            "body_size",
            "is of use with attempts, or by HTTP/2, alone; expected attempts = 2, or another number, \
             beside it",
        );
    }
}

/// What is not said is as the plan has it.
fn retries(said: &tree::upstream::Retries) -> Retries {
    let usual = Retries::default();
    let body_bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    Retries {
        attempts: said.attempts,
        budget_percent: (said.budget.as_ref()).map_or(usual.budget_percent, Part::percent),
        non_idempotent: said.non_idempotent,
        statuses: statuses(&said.statuses),
        body_bytes: (said.body_size.as_ref()).map_or(usual.body_bytes, |size| body_bytes(size.0.0)),
    }
}

fn servers(place: &str, said: &[Member], refused: &mut Vec<Refused>) -> Vec<Server> {
    let mut servers = Vec::new();
    for (nth, member) in said.iter().enumerate() {
        match server(member) {
            Ok(server) => servers.push(server),
            Err(message) => refused.push(Refused::new(format!("{place}[{nth}]"), message)),
        }
    }
    servers
}

fn server(member: &Member) -> Result<Server, String> {
    let (address, srv, weight, is_backup) = match member {
        Member::Plain(address) => (Some(address), None, 1, false),
        Member::Table(table) => {
            let (address, srv) = (table.address.as_ref(), table.srv.as_ref());
            (address, srv, table.weight, table.backup)
        }
    };
    let target = match (address, srv) {
        (Some(address), None) => Target::parse(&address.0.0).map_err(|error| error.to_string())?,
        (None, Some(srv)) => {
            let host = Host::parse(srv.0.0.as_bytes()).map_err(|error| error.to_string())?;
            Target::new(host, ANY_PORT).map_err(|error| error.to_string())?
        }
        (Some(_), Some(_)) => {
            return Err("there are both address and srv; expected one of the two".to_owned());
        }
        (None, None) => {
            return Err("nothing is said of where it is; expected address or srv".to_owned());
        }
    };
    Ok(Server {
        target,
        weight,
        is_backup,
        is_srv: srv.is_some(),
    })
}

fn balance(said: tree::upstream::Balance) -> Balance {
    use tree::upstream::Balance as Said;
    match said {
        Said::RoundRobin => Balance::RoundRobin,
        Said::LeastConn => Balance::LeastConn,
        Said::Random => Balance::Random,
        Said::P2c => Balance::P2c,
        Said::Hash => Balance::Hash,
    }
}

fn key_by(said: &HashBy) -> KeyBy {
    match said {
        HashBy::Client => KeyBy::Client,
        HashBy::Target => KeyBy::Target,
        HashBy::Path => KeyBy::Path,
        HashBy::Header(name) => KeyBy::Header(name.clone()),
        HashBy::Cookie(name) => KeyBy::Cookie(name.clone()),
    }
}

/// The schema lets nothing through that is none.
fn statuses(said: &[u16]) -> Vec<StatusCode> {
    let said = said.iter();
    said.filter_map(|&status| StatusCode::from_u16(status).ok())
        .collect()
}

const NO_ATTEMPTS: &str = "is of use with attempts alone; expected attempts = 2, or another number, \
                           beside it";
/// SRV records tell the ports.
const ANY_PORT: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn refusals(said: serde_json::Value) -> Vec<String> {
        let said: Upstream = serde_json::from_value(said).unwrap();
        let mut refused = Vec::new();
        refuse_lone_retries("retries", &said, &mut refused);
        refused.into_iter().map(|one| one.place).collect()
    }

    #[test]
    fn what_is_of_use_without_retries_may_be_said_without_them() {
        let none = Vec::<String>::new();
        let with = |key: &str, value: serde_json::Value, more: &str| {
            let mut said = serde_json::json!({ "servers": ["a:1"], "retries": { "attempts": 0 } });
            said["retries"][key] = value;
            match more {
                "" => {}
                "tls" => said["tls"] = true.into(),
                http => said["http"] = http.into(),
            }
            refusals(said)
        };
        // A server that closes an idle connection has done nothing: that is no retry.
        assert_eq!(with("non_idempotent", true.into(), ""), none);
        assert_eq!(with("statuses", Vec::<u16>::new().into(), ""), none);
        assert_eq!(
            with("statuses", vec![503].into(), "h2"),
            ["retries.statuses"]
        );
        assert_eq!(with("budget", 20.into(), "tls"), ["retries.budget"]);
        // What a server by HTTP/2 sends back unread is sent to another.
        for (more, refused) in [("", true), ("h1", true), ("h2", false), ("tls", false)] {
            let told = with("body_size", "1KiB".into(), more);
            assert_eq!(told.is_empty(), !refused, "{more}: {told:?}");
        }
    }

    #[test]
    fn retries_that_are_not_said_are_those_of_the_plan() {
        let said = tree::upstream::Retries::default();
        assert_eq!(retries(&said), Retries::default());
    }
}
