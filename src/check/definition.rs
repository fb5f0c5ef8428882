//! How a server is checked, and how often: plain data, valid by construction.

use std::time::Duration;

use http::HeaderName;

use super::error::{DefinitionError, PaceError};
use super::exchange::Exchange;
use super::http::{Grpc, Http};
use super::schedule::Pace;
use crate::error::PolicyError;
use crate::outcome::{Cause, Weight};
use crate::policy::{Policy, Recovery};

/// How a server is checked: what is asked, by which way, how often. Valid by construction.
///
/// Two equal definitions of one address are one check, whose findings both subscribers are told.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Definition {
    kind: Kind,
    tls: Option<Tls>,
    timing: Timing,
}

/// What is asked of a server.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// A TCP connection; with [`Tls`], and its handshake.
    Connect,
    /// A request by HTTP.
    Http(Http),
    /// The gRPC health protocol.
    Grpc(Grpc),
    /// Bytes sent over TCP or TLS, and bytes expected.
    Exchange(Exchange),
    /// One datagram sent, and one expected (UDP).
    Datagram(Exchange),
}

/// That a server is spoken to by TLS.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Tls {
    name: String,
    profile: String,
}

/// How often a server is checked, and how long that may take. Valid by construction.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Timing {
    interval: Duration,
    fast_interval: Duration,
    down_interval: Duration,
    timeout: Duration,
    jitter_percent: u8,
}

/// Collects the values of a [`Timing`]; what is not given keeps its default.
#[derive(Clone, Debug, Default)]
#[must_use = "call `build` to get the timing"]
pub struct TimingBuilder {
    interval: Option<Duration>,
    fast_interval: Option<Duration>,
    down_interval: Option<Duration>,
    timeout: Option<Duration>,
    jitter_percent: Option<u8>,
}

impl Definition {
    /// A check of that kind, by TLS if `tls` is given.
    ///
    /// # Errors
    ///
    /// Datagrams are not sent by TLS, and say nothing unless something is sent.
    pub fn new(kind: Kind, tls: Option<Tls>, timing: Timing) -> Result<Self, DefinitionError> {
        if let Kind::Datagram(exchange) = &kind {
            if tls.is_some() {
                return Err(DefinitionError::DatagramOverTls);
            }
            if exchange.sent().is_empty() {
                return Err(DefinitionError::NothingSent);
            }
        }
        Ok(Self { kind, tls, timing })
    }

    /// What is asked.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// How TLS is spoken, if it is.
    #[must_use]
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// How often, and for how long.
    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.timing
    }
}

impl Kind {
    /// The field by which a server speaks for itself, if it is listened to.
    pub(super) fn agent_field(&self) -> Option<&HeaderName> {
        match self {
            Self::Http(http) => http.agent_field(),
            _ => None,
        }
    }

    /// The same, asking for `host` (`Host`, `:authority`) where it does not say itself for which.
    /// Nothing changes where nobody is asked for.
    ///
    /// # Errors
    ///
    /// It is no host, with or without a port.
    pub fn asking_for(self, host: &str) -> Result<Self, DefinitionError> {
        Ok(match self {
            Self::Http(http) if http.asked_host().is_none() => Self::Http(http.host(host)?),
            Self::Grpc(grpc) if grpc.asked_authority().is_none() => {
                Self::Grpc(grpc.authority(host)?)
            }
            other => other,
        })
    }
}

impl Tls {
    /// By TLS, the certificate holding `name` (a host name or an IP address).
    ///
    /// # Errors
    ///
    /// The name is empty.
    pub fn new(name: impl Into<String>) -> Result<Self, DefinitionError> {
        let name = name.into();
        if name.is_empty() {
            return Err(DefinitionError::Empty { field: "TLS name" });
        }
        let profile = String::new();
        Ok(Self { name, profile })
    }

    /// Under which name the connector knows the settings (roots, client certificate). Default: the
    /// empty one.
    #[must_use]
    pub fn profile(mut self, profile: impl Into<String>) -> Self {
        self.profile = profile.into();
        self
    }

    /// The name that is asked for, and that the certificate must hold.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the settings.
    #[must_use]
    pub fn profile_name(&self) -> &str {
        &self.profile
    }
}

impl Timing {
    /// Starts from the default: every 5 s, for 2 s at most.
    pub fn builder() -> TimingBuilder {
        TimingBuilder::default()
    }

    /// From the beginning of one check to that of the next, while the verdict is up and nothing
    /// speaks against it. Default 5 s.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The same while the verdict is changing, or there is none yet. Default 1 s, or `interval` if
    /// that is shorter.
    #[must_use]
    pub fn fast_interval(&self) -> Duration {
        self.fast_interval
    }

    /// The same while the verdict is down. Default: `interval`.
    #[must_use]
    pub fn down_interval(&self) -> Duration {
        self.down_interval
    }

    /// The shortest of the three.
    pub(super) fn shortest(&self) -> Duration {
        self.fast_interval.min(self.down_interval)
    }

    /// How long one check may take, from the dial to the last byte that matters. Default 2 s.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// By how many percent an interval may be shorter or longer. Default 10. With 0, checks that
    /// came together stay together.
    #[must_use]
    pub fn jitter_percent(&self) -> u8 {
        self.jitter_percent
    }

    /// The policy of a word that such checks are recorded in: `fall` failures in a row take it
    /// down, `rise` passes in a row bring it up, and nothing else does while checks are made.
    ///
    /// Every failing check renews the word, so evidence need only outlast the pace of the checks,
    /// and it does by far: ten rounds, at least 10 minutes, at most 24 h. It does end, so that a
    /// checker that has stopped does not hold a server down for ever.
    ///
    /// # Errors
    ///
    /// A threshold is zero.
    pub fn policy(&self, fall: u8, rise: u8) -> Result<Policy, PolicyError> {
        let round = self.interval.max(self.down_interval) + self.timeout;
        let lasts = round.saturating_mul(EVIDENCE_ROUNDS);
        Policy::builder()
            .max_fails(fall)
            .min_rises(rise)
            .fail_timeout(lasts.clamp(EVIDENCE_LEAST, EVIDENCE_MOST))
            // No permits: nobody but the checker records here.
            .recovery(Recovery::Open)
            .weight(Cause::BadGateway, Weight::Count)
            .weight(Cause::ServerError, Weight::Count)
            .weight(Cause::Slow, Weight::Count)
            .build()
    }

    pub(super) fn pace(&self, interval: Duration) -> Pace {
        let jitter_percent = self.jitter_percent;
        Pace {
            interval,
            jitter_percent,
        }
    }
}

/// Every 5 s, for 2 s at most.
impl Default for Timing {
    fn default() -> Self {
        Self {
            interval: INTERVAL,
            fast_interval: FAST_INTERVAL,
            down_interval: INTERVAL,
            timeout: TIMEOUT,
            jitter_percent: JITTER_PERCENT,
        }
    }
}

impl TimingBuilder {
    /// From one check to the next: 10 ms to 12 h.
    pub fn interval(mut self, time: Duration) -> Self {
        self.interval = Some(time);
        self
    }

    /// The same while the verdict is changing: 10 ms to `interval`.
    pub fn fast_interval(mut self, time: Duration) -> Self {
        self.fast_interval = Some(time);
        self
    }

    /// The same while the verdict is down: 10 ms to 12 h.
    pub fn down_interval(mut self, time: Duration) -> Self {
        self.down_interval = Some(time);
        self
    }

    /// How long one check may take: 1 ms to 10 min. It may be longer than the interval: a check
    /// that takes long is not begun a second time beside itself.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// By how many percent an interval may be shorter or longer: 0 to 50.
    pub fn jitter_percent(mut self, percent: u8) -> Self {
        self.jitter_percent = Some(percent);
        self
    }

    /// Checks the values.
    ///
    /// # Errors
    ///
    /// A value is outside its range.
    pub fn build(self) -> Result<Timing, PaceError> {
        let interval = self.interval.unwrap_or(INTERVAL);
        let timing = Timing {
            interval,
            fast_interval: self.fast_interval.unwrap_or(FAST_INTERVAL.min(interval)),
            down_interval: self.down_interval.unwrap_or(interval),
            timeout: self.timeout.unwrap_or(TIMEOUT),
            jitter_percent: self.jitter_percent.unwrap_or(JITTER_PERCENT),
        };
        for (field, time, least, most) in [
            ("interval", interval, INTERVAL_LEAST, INTERVAL_MOST),
            (
                "fast_interval",
                timing.fast_interval,
                INTERVAL_LEAST,
                interval,
            ),
            (
                "down_interval",
                timing.down_interval,
                INTERVAL_LEAST,
                INTERVAL_MOST,
            ),
            ("timeout", timing.timeout, TIMEOUT_LEAST, TIMEOUT_MOST),
        ] {
            if time < least || time > most {
                return Err(PaceError::TimeOutOfRange {
                    field,
                    time,
                    least,
                    most,
                });
            }
        }
        match timing.jitter_percent {
            0..=JITTER_PERCENT_MOST => Ok(timing),
            percent => Err(PaceError::JitterOutOfRange {
                percent,
                most: JITTER_PERCENT_MOST,
            }),
        }
    }
}

const INTERVAL: Duration = Duration::from_secs(5);
const FAST_INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);
const JITTER_PERCENT: u8 = 10;
/// A shorter interval would be a load of its own.
const INTERVAL_LEAST: Duration = Duration::from_millis(10);
/// With its jitter and a timeout it comes well before what it found is forgotten.
const INTERVAL_MOST: Duration = Duration::from_secs(12 * 60 * 60);
const TIMEOUT_LEAST: Duration = Duration::from_millis(1);
const TIMEOUT_MOST: Duration = Duration::from_secs(10 * 60);
const JITTER_PERCENT_MOST: u8 = 50;
/// Checks that may be left out, or wait for their turn, before what they found is forgotten.
const EVIDENCE_ROUNDS: u32 = 10;
/// With many checks waiting for their turn that is long enough.
const EVIDENCE_LEAST: Duration = Duration::from_secs(10 * 60);
/// What a policy can hold.
const EVIDENCE_MOST: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_follow_the_interval_unless_they_are_given() {
        let timing = Timing::builder().build().unwrap();
        assert_eq!(timing, Timing::default());
        let ms = Duration::from_millis;
        let timing = Timing::builder().interval(ms(100)).build().unwrap();
        assert_eq!(
            (timing.fast_interval(), timing.down_interval()),
            (ms(100), ms(100))
        );
    }

    #[test]
    fn a_value_outside_its_range_is_refused_by_name_and_range() {
        let ms = Duration::from_millis;
        for (builder, text) in [
            (
                Timing::builder().interval(ms(9)),
                "interval is 9ms, must be from 10ms to 43200s",
            ),
            (
                Timing::builder().interval(ms(20)).fast_interval(ms(21)),
                "fast_interval is 21ms, must be from 10ms to 20ms",
            ),
            (
                Timing::builder().down_interval(Duration::MAX),
                "down_interval is 18446744073709551615.999999999s, must be from 10ms to 43200s",
            ),
            (
                Timing::builder().timeout(Duration::ZERO),
                "timeout is 0ns, must be from 1ms to 600s",
            ),
            (
                Timing::builder().jitter_percent(51),
                "jitter_percent is 51, must be at most 50",
            ),
        ] {
            assert_eq!(builder.build().unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn evidence_outlasts_the_slowest_pace_and_fits_a_policy() {
        let jitter = INTERVAL_MOST * u32::from(JITTER_PERCENT_MOST) / 100;
        assert!(INTERVAL_MOST + jitter + TIMEOUT_MOST < EVIDENCE_MOST);
        for (interval, lasts) in [
            (Duration::from_secs(5), EVIDENCE_LEAST),
            (Duration::from_secs(600), Duration::from_secs(6020)),
            (INTERVAL_MOST, EVIDENCE_MOST),
        ] {
            let timing = Timing::builder().interval(interval).build().unwrap();
            assert_eq!(timing.policy(3, 2).unwrap().fail_timeout(), lasts);
        }
        let zero = Timing::default().policy(0, 2).unwrap_err();
        assert_eq!(zero.to_string(), "max_fails must be at least 1");
    }

    #[test]
    fn a_host_is_put_in_where_none_is_said() {
        let http = || Http::new("/").unwrap();
        let given = Kind::Http(http().host("a.test").unwrap());
        let put_in = Kind::Http(http()).asking_for("a.test").unwrap();
        assert_eq!(put_in, given);
        assert_eq!(given.clone().asking_for("b.test").unwrap(), given);
        let grpc = Kind::Grpc(Grpc::default().authority("a.test").unwrap());
        let put_in = Kind::Grpc(Grpc::default()).asking_for("a.test").unwrap();
        assert_eq!(put_in, grpc);
        assert_eq!(Kind::Connect.asking_for("a.test").unwrap(), Kind::Connect);
        assert!(Kind::Http(http()).asking_for("a b").is_err());
    }

    #[test]
    fn datagrams_go_without_tls_and_not_empty() {
        let kind = |sent| Kind::Datagram(Exchange::new(sent));
        let tls = Some(Tls::new("a.test").unwrap());
        let made = |kind, tls| Definition::new(kind, tls, Timing::default());
        assert_eq!(
            made(kind("x"), tls).unwrap_err(),
            DefinitionError::DatagramOverTls
        );
        assert_eq!(
            made(kind(""), None).unwrap_err(),
            DefinitionError::NothingSent
        );
        assert!(made(kind("x"), None).is_ok());
        assert!(Tls::new("").is_err());
    }
}
