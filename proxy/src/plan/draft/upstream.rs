//! What was said of a group of servers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use risefall::{GroupPolicy, Policy};

use super::Errors;
use crate::net::tls::ClientTls;
use crate::plan::error::PlanFault;
use crate::plan::upstream::{self, HttpVersion, Queue, Retries, Service, Sticky};
use crate::plan::{Balance, Check, KeyBy, Server, Upstream};
use crate::units;

/// What was said of a group of servers.
#[derive(Clone, Debug)]
pub struct UpstreamDraft {
    /// Its name; no two have the same.
    pub name: String,
    /// The servers, in the order in which they are tried.
    pub servers: Vec<Server>,
    /// How one is chosen. Default: each in turn.
    pub balance: Balance,
    /// What of a request it is chosen by, if the balance asks for that. Default: its client.
    pub by: KeyBy,
    /// When one of them is down. Default: the policy of the process.
    pub policy: Option<Policy>,
    /// Thresholds and times for what its servers answer. Default: `policy`, or the usual ones.
    pub service: Option<Policy>,
    /// Statuses that count as failures. Default: 502, 503 and 504.
    pub statuses: Vec<StatusCode>,
    /// How its servers are spoken to by TLS. Default: they are not.
    pub tls: Option<Arc<ClientTls>>,
    /// What is spoken. Default: what the server chooses.
    pub http: HttpVersion,
    /// When a request is sent again.
    pub retries: Retries,
    /// A cookie by which a client keeps its server. Default: none.
    pub sticky: Option<Sticky>,
    /// What becomes of requests while no server is up or all are full. Default: none waits.
    pub queue: Queue,
    /// Requests that one server is given at a time, by each worker; 0, the default, for as many as
    /// come.
    pub max_requests: u32,
    /// How servers are asked before clients do. Default: they are not.
    pub check: Option<Check>,
    /// What it may do to its servers; by what their answers are judged is `service`'s to say.
    pub group: GroupPolicy,
}

impl UpstreamDraft {
    /// A group of `servers`, all else by default.
    #[must_use]
    pub fn of(name: &str, servers: Vec<Server>) -> Self {
        Self {
            name: name.to_owned(),
            servers,
            ..Self::default()
        }
    }

    pub(super) fn check(&self, errors: &mut Errors) {
        let place = format!("upstream.{}", self.name);
        self.check_servers(&format!("{place}.servers"), errors);
        if let Some(sticky) = &self.sticky {
            check_sticky(&format!("{place}.sticky"), sticky, errors);
        }
        errors.check_time(format!("{place}.queue.timeout"), self.queue.timeout);
        if self.retries.body_bytes > BODY_MOST {
            let fault = PlanFault::OutOfRange {
                found: units::show_size(self.retries.body_bytes as u64),
                expected: "at most 16MiB",
            };
            errors.add(format!("{place}.retries.body_size"), fault);
        }
    }

    fn check_servers(&self, place: &str, errors: &mut Errors) {
        if self.servers.is_empty() {
            errors.add(place.to_owned(), PlanFault::NoServer);
        } else if self.servers.iter().all(|server| server.is_backup) {
            errors.add(place.to_owned(), PlanFault::OnlyBackups);
        }
        let mut seen = HashSet::new();
        for (nth, server) in self.servers.iter().enumerate() {
            if !seen.insert((&server.target, server.is_srv)) {
                let server = server.target.to_string();
                let fault = PlanFault::SameServer { server };
                errors.add(format!("{place}[{nth}]"), fault);
            }
        }
    }

    pub(super) fn complete(self) -> Upstream {
        let service = self.service.or_else(|| self.policy.clone());
        Upstream {
            name: self.name,
            servers: self.servers,
            balance: self.balance,
            by: self.by,
            service: Service {
                policy: Arc::new(service.unwrap_or_default()),
                group: self.group,
                statuses: self.statuses,
            },
            policy: self.policy.map(Arc::new),
            tls: self.tls,
            http: self.http,
            retries: self.retries,
            sticky: self.sticky,
            queue: self.queue,
            max_requests: self.max_requests,
            check: self.check,
        }
    }
}

impl Default for UpstreamDraft {
    fn default() -> Self {
        Self {
            name: "upstream".to_owned(),
            servers: Vec::new(),
            balance: Balance::default(),
            by: KeyBy::default(),
            policy: None,
            service: None,
            statuses: vec![
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ],
            tls: None,
            http: HttpVersion::default(),
            retries: Retries::default(),
            sticky: None,
            queue: Queue::default(),
            max_requests: 0,
            check: None,
            group: upstream::usual_group(),
        }
    }
}

fn check_sticky(place: &str, sticky: &Sticky, errors: &mut Errors) {
    if let Some(age) = sticky.max_age
        && !(AGE_LEAST..=AGE_MOST).contains(&age)
    {
        let fault = PlanFault::OutOfRange {
            found: units::show(age),
            expected: "from 1s to 9600h",
        };
        errors.add(format!("{place}.max_age"), fault);
    }
}

/// Each request may hold this much until its answer begins.
const BODY_MOST: usize = 16 * 1024 * 1024;
/// A cookie's age is a number of seconds.
const AGE_LEAST: Duration = Duration::from_secs(1);
/// The longest that user agents keep a cookie (RFC 6265bis §5.5).
const AGE_MOST: Duration = Duration::from_secs(400 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::super::Draft;
    use super::super::tests::said;
    use super::*;
    use crate::proto::Target;

    fn server(text: &str, is_backup: bool) -> Server {
        Server {
            target: Target::parse(text).unwrap(),
            weight: 1,
            is_backup,
            is_srv: false,
        }
    }

    fn draft(upstream: UpstreamDraft) -> Draft {
        Draft {
            upstreams: vec![upstream],
            ..Draft::default()
        }
    }

    #[test]
    fn a_group_has_each_server_once_and_not_only_backups() {
        let of = |servers| draft(UpstreamDraft::of("hub", servers));
        let twice = of(vec![server("a:1", false), server("A:1", false)]);
        assert_eq!(
            said(twice),
            ["upstream.hub.servers[1]: a:1 is in this group already"]
        );
        assert_eq!(said(of(vec![server("a:1", true)])).len(), 1);
        assert_eq!(said(of(Vec::new())).len(), 1);
    }

    #[test]
    fn what_its_servers_answer_is_judged_as_its_dials_are_unless_said_otherwise() {
        let policy = Policy::builder().max_fails(7).build().unwrap();
        let upstream = UpstreamDraft {
            policy: Some(policy.clone()),
            ..UpstreamDraft::of("hub", vec![server("a:1", false)])
        };
        let plan = draft(upstream).resolve().unwrap();
        let service = &plan.upstreams[0].service;
        assert_eq!(*service.policy, policy);
        assert_eq!(service.statuses.len(), 3);
    }

    #[test]
    fn times_and_sizes_of_a_group_have_bounds() {
        let upstream = UpstreamDraft {
            retries: Retries {
                body_bytes: BODY_MOST + 1,
                ..Retries::default()
            },
            sticky: Some(Sticky {
                cookie: "s".to_owned(),
                max_age: Some(Duration::ZERO),
                secure: None,
            }),
            queue: Queue {
                timeout: Duration::ZERO,
                ..Queue::default()
            },
            ..UpstreamDraft::of("hub", vec![server("a:1", false)])
        };
        let errors = draft(upstream).resolve().unwrap_err();
        let places: Vec<_> = errors.iter().map(|error| error.place.as_str()).collect();
        assert_eq!(
            places,
            [
                "upstream.hub.sticky.max_age",
                "upstream.hub.queue.timeout",
                "upstream.hub.retries.body_size",
            ]
        );
    }
}
