//! How servers are asked whether they work: from what is said of it to the library's checks.

use std::time::Duration;

use risefall::check::{
    BodyMatch, DefinitionError, Exchange, Expect, Grpc, Http, Kind, PaceError, Pattern, Start,
    Statuses, Thresholds, Timing, TimingBuilder, Version,
};

use super::Refused;
use crate::config::tree::upstream::{self as tree, Check as Said, CheckKind, Upstream};
use crate::plan::Check;
use crate::units;

/// The check of an upstream; all that is wrong with it is `refused`.
pub(super) fn of_upstream(
    place: &str,
    upstream: &Upstream,
    refused: &mut Vec<Refused>,
) -> Option<Check> {
    let said = upstream.check.as_ref()?;
    let mut settling = Settling {
        place: format!("{place}.check"),
        refused,
    };
    settling.refuse_strangers(said);
    let kind = match said.kind {
        CheckKind::Http => settling.request(said, version(said, upstream)),
        CheckKind::Grpc => settling.grpc(said),
        CheckKind::Tcp => settling.exchange(said),
        CheckKind::Udp => settling.datagram(said, upstream),
    };
    Some(Check {
        kind,
        timing: settling.timing(said),
        thresholds: Thresholds {
            fall: said.fall,
            rise: said.rise,
            start: match said.start {
                tree::Start::Up => Start::Eligible,
                tree::Start::Down => Start::NotEligible,
            },
        },
    })
}

/// A check that is being settled. What was refused is left out, so that the rest can be looked at.
struct Settling<'a> {
    place: String,
    refused: &'a mut Vec<Refused>,
}

impl Settling<'_> {
    fn refuse(&mut self, key: &str, message: impl Into<String>) {
        let place = format!("{}.{key}", self.place);
        self.refused.push(Refused::new(place, message));
    }

    /// What `make` makes of `kept`, or that itself if it is refused.
    fn with<T: Clone>(
        &mut self,
        kept: T,
        key: &str,
        make: impl FnOnce(T) -> Result<T, DefinitionError>,
    ) -> T {
        match make(kept.clone()) {
            Ok(made) => made,
            Err(error) => {
                self.refuse(key, error.to_string());
                kept
            }
        }
    }

    /// Keys that say nothing of such a check.
    fn refuse_strangers(&mut self, said: &Said) {
        use CheckKind::{Grpc, Http, Tcp, Udp};
        let keys: [(&str, bool, &[CheckKind], &str); 12] = [
            ("path", said.path.is_some(), &[Http], ONE_HTTP),
            ("method", said.method.is_some(), &[Http], ONE_HTTP),
            ("host", said.host.is_some(), &[Http, Grpc], HTTP_OR_GRPC),
            ("headers", !said.headers.is_empty(), &[Http], ONE_HTTP),
            ("expect", said.expect.is_some(), &[Http], ONE_HTTP),
            ("http", said.http.is_some(), &[Http], ONE_HTTP),
            ("body", said.body.is_some(), &[Http], ONE_HTTP),
            (
                "body_pattern",
                said.body_pattern.is_some(),
                &[Http],
                ONE_HTTP,
            ),
            (
                "agent_header",
                said.agent_header.is_some(),
                &[Http],
                ONE_HTTP,
            ),
            ("service", said.service.is_some(), &[Grpc], ONE_GRPC),
            ("send", said.send.is_some(), &[Tcp, Udp], TCP_OR_UDP),
            ("receive", said.receive.is_some(), &[Tcp, Udp], TCP_OR_UDP),
        ];
        for (key, is_said, kinds, message) in keys {
            if is_said && !kinds.contains(&said.kind) {
                self.refuse(key, message);
            }
        }
    }

    fn request(&mut self, said: &Said, version: Version) -> Kind {
        let path = said.path.as_ref().map_or("/", |path| &path.0.0);
        let http = match Http::new(path) {
            Ok(http) => http,
            Err(error) => {
                self.refuse("path", error.to_string());
                return Kind::Connect;
            }
        };
        let mut http = http.version(version);
        if let Some(method) = &said.method {
            http = self.with(http, "method", |http| http.method(method.0.as_str()));
        }
        if let Some(host) = &said.host {
            http = self.with(http, "host", |http| http.host(&host.0.0));
        }
        for (name, value) in &said.headers.0 {
            let value = String::from_utf8_lossy(value.0.as_bytes());
            let key = format!("headers.{name}");
            http = self.with(http, &key, |http| http.header(name, &value));
        }
        if let Some(expect) = &said.expect {
            let ranges = expect.ranges().into_iter();
            let ranges = ranges.map(|range| (range.0, range.1));
            http = self.with(http, "expect", |http| {
                Ok(http.statuses(Statuses::new(ranges)?))
            });
        }
        if let Some(name) = &said.agent_header {
            http = self.with(http, "agent_header", |http| {
                http.agent_header(name.0.as_str())
            });
        }
        let is_head = (said.method.as_ref()).is_some_and(|method| method.0 == hyper::Method::HEAD);
        let bodies = [
            ("body", said.body.is_some()),
            ("body_pattern", said.body_pattern.is_some()),
        ];
        for (key, _) in bodies.iter().filter(|(_, is_said)| *is_said && is_head) {
            self.refuse(
                key,
                "an answer to HEAD has no body; expected another method",
            );
        }
        Kind::Http(match (&said.body, &said.body_pattern) {
            (Some(_), Some(_)) => {
                self.refuse(
                    "body_pattern",
                    "there is body already; expected one of the two",
                );
                http
            }
            (Some(body), None) => http.body(BodyMatch::Contains(body.0.0.clone())),
            (None, Some(pattern)) => self.with(http, "body_pattern", |http| {
                Ok(http.body(BodyMatch::Pattern(Pattern::new(&pattern.0.0)?)))
            }),
            (None, None) => http,
        })
    }

    fn grpc(&mut self, said: &Said) -> Kind {
        let mut grpc = Grpc::default();
        if let Some(service) = &said.service {
            grpc = self.with(grpc, "service", |_| Grpc::new(service));
        }
        if let Some(host) = &said.host {
            grpc = self.with(grpc, "host", |grpc| grpc.authority(&host.0.0));
        }
        Kind::Grpc(grpc)
    }

    /// By TCP: what a server says first, or answers.
    fn exchange(&mut self, said: &Said) -> Kind {
        match (&said.send, &said.receive) {
            (None, None) => Kind::Connect,
            (Some(_), None) => {
                let message = "proves no more than a connection does; expected receive beside it, \
                               what the answer begins with";
                self.refuse("send", message);
                Kind::Connect
            }
            (_, Some(_)) => Kind::Exchange(self.bytes(said)),
        }
    }

    /// By UDP: without both there is nothing to hear.
    fn datagram(&mut self, said: &Said, upstream: &Upstream) -> Kind {
        if said.send.is_none() {
            let message = "is missing, expected the datagram to send, such as \"ping\"";
            self.refuse("send", message);
        }
        if said.receive.is_none() {
            let message = "is missing, expected what the answer begins with, such as \"pong\"";
            self.refuse("receive", message);
        }
        if upstream.tls.is_some() {
            let message = "datagrams are not sent by TLS, which these servers are spoken to by; \
                           expected tcp, http or grpc";
            self.refuse("type", message);
        }
        Kind::Datagram(self.bytes(said))
    }

    fn bytes(&mut self, said: &Said) -> Exchange {
        let sent = said.send.as_ref().map(|sent| sent.0.0.clone());
        let exchange = Exchange::new(sent.unwrap_or_default());
        let Some(receive) = &said.receive else {
            return exchange;
        };
        let expected = Expect::prefix(receive.0.0.clone());
        self.with(exchange, "receive", |exchange| exchange.expect(expected))
    }

    /// Every time that is out of its range is told, and left out.
    fn timing(&mut self, said: &Said) -> Timing {
        let mut pace = Pace::of(said);
        loop {
            let error = match pace.build() {
                Ok(timing) => return timing,
                Err(error) => error,
            };
            match &error {
                PaceError::TimeOutOfRange {
                    field,
                    time,
                    least,
                    most,
                } => {
                    let [found, least, most] = [time, least, most].map(|&time| units::show(time));
                    let of = match *field {
                        "fast_interval" => ", which is interval",
                        _ => "",
                    };
                    let message = format!("found {found}, expected from {least} to {most}{of}");
                    self.refuse(field, message);
                }
                PaceError::JitterOutOfRange { percent, most } => {
                    let message = format!("found {percent}%, expected at most {most}%");
                    self.refuse("jitter", message);
                }
                other => self.refuse("interval", other.to_string()),
            }
            if !pace.leave_out(&error) {
                return Timing::default();
            }
        }
    }
}

/// What was said of how often; what is `None` is as usual.
struct Pace {
    times: [(&'static str, Option<Duration>); 4],
    jitter_percent: Option<u8>,
}

impl Pace {
    fn of(said: &Said) -> Self {
        let fast = said.fast_interval.as_ref().map(|time| time.0);
        let down = said.down_interval.as_ref().map(|time| time.0);
        Self {
            times: [
                ("interval", Some(said.interval.0)),
                ("fast_interval", fast),
                ("down_interval", down),
                ("timeout", Some(said.timeout.0)),
            ],
            jitter_percent: Some(said.jitter.percent()),
        }
    }

    fn build(&self) -> Result<Timing, PaceError> {
        let set = |builder: TimingBuilder, &(name, time): &(&str, Option<Duration>)| match time {
            None => builder,
            Some(time) => match name {
                "interval" => builder.interval(time),
                "fast_interval" => builder.fast_interval(time),
                "down_interval" => builder.down_interval(time),
                _ => builder.timeout(time),
            },
        };
        let builder = self.times.iter().fold(Timing::builder(), set);
        match self.jitter_percent {
            Some(percent) => builder.jitter_percent(percent).build(),
            None => builder.build(),
        }
    }

    /// Whether there was something to leave out: what was not said is in range.
    fn leave_out(&mut self, error: &PaceError) -> bool {
        match error {
            PaceError::TimeOutOfRange { field, .. } => {
                let mut times = self.times.iter_mut();
                let time = times.find(|(name, _)| name == field);
                time.is_some_and(|(_, time)| time.take().is_some())
            }
            _ => self.jitter_percent.take().is_some(),
        }
    }
}

/// By which version of HTTP servers are asked: that of requests, unless said otherwise.
fn version(said: &Said, upstream: &Upstream) -> Version {
    match (said.http, upstream.http) {
        (Some(tree::CheckHttp::H2), _) | (None, tree::Http::H2) => Version::Http2,
        (Some(tree::CheckHttp::H1), _) | (None, tree::Http::H1 | tree::Http::Auto) => {
            Version::Http1
        }
    }
}

const ONE_HTTP: &str = "is of use with type = \"http\" alone";
const ONE_GRPC: &str = "is of use with type = \"grpc\" alone";
const HTTP_OR_GRPC: &str = "is of use with type = \"http\" or \"grpc\" alone";
const TCP_OR_UDP: &str = "is of use with type = \"tcp\" or \"udp\" alone";
