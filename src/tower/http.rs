//! What HTTP and gRPC answers say of the server that gave them (feature `http`).

use std::time::Duration;

use ::http::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use ::http::{Response, StatusCode};
use http_body::Body;

use super::watched::{Trailers, Watched};
use super::{Call, Classify};
use crate::outcome::{Cause, Outcome};

/// Judges HTTP answers by their status, and watches their bodies.
///
/// | answer | outcome |
/// |---|---|
/// | 502, 503, 504 | a failure, [`Cause::BadGateway`] |
/// | 503 or 429 with `Retry-After` (RFC 9110 §10.2.3) | [`Outcome::RateLimited`]: set aside for so long |
/// | 429 without | nothing: it may be about this client alone |
/// | other 5xx but 501 and 505 | a success; with [`server_errors`](Self::server_errors) a failure, [`Cause::ServerError`] |
/// | any other | a success, once its body has ended: see [`Watched`] |
///
/// These causes weigh nothing by the default policy, which is about dials: see
/// [`weigh_answers`](crate::PolicyBuilder::weigh_answers).
///
/// Errors are judged by [`outcome_of`](super::outcome_of).
#[derive(Clone, Copy, Debug)]
pub struct HttpStatus {
    counts_server_errors: bool,
    most_retry_after: Duration,
}

impl HttpStatus {
    /// Gateways' failures count, others do not.
    #[must_use]
    pub fn new() -> Self {
        Self {
            counts_server_errors: false,
            most_retry_after: MOST_RETRY_AFTER,
        }
    }

    /// Lets 500 and other 5xx count as failures as well. Not 501 and 505, which are about what was
    /// asked for.
    #[must_use]
    pub fn server_errors(self) -> Self {
        Self {
            counts_server_errors: true,
            ..self
        }
    }

    /// The longest that a server may set itself aside. Default 60 s: a number that it got wrong, or
    /// somebody on the way, must not cost more.
    #[must_use]
    pub fn most_retry_after(self, time: Duration) -> Self {
        Self {
            most_retry_after: time,
            ..self
        }
    }

    /// What an answer with that status and those fields says of the server.
    #[must_use]
    pub fn outcome(&self, status: StatusCode, headers: &HeaderMap) -> Outcome {
        let wait = || retry_after(headers).map(|wait| wait.min(self.most_retry_after));
        let rate_limited = |retry_after| Outcome::RateLimited { retry_after };
        match status.as_u16() {
            429 => wait().map_or(Outcome::Cancelled, rate_limited),
            503 => wait().map_or(Outcome::Failed(Cause::BadGateway), rate_limited),
            502 | 504 => Outcome::Failed(Cause::BadGateway),
            501 | 505 => Outcome::Success,
            500..=599 if self.counts_server_errors => Outcome::Failed(Cause::ServerError),
            _ => Outcome::Success,
        }
    }
}

impl Default for HttpStatus {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Body> Classify<Response<B>> for HttpStatus {
    type Answer = Response<Watched<B>>;

    fn answered(&self, response: Response<B>, call: Call) -> Response<Watched<B>> {
        let outcome = self.outcome(response.status(), response.headers());
        response.map(|body| watched(body, call, outcome, Trailers::Ignored))
    }
}

/// Judges gRPC answers by their status, in trailers or in the head.
///
/// | code | outcome |
/// |---|---|
/// | 14 `UNAVAILABLE` | a failure, [`Cause::BadGateway`] |
/// | 4 `DEADLINE_EXCEEDED` | a failure, [`Cause::Slow`] |
/// | 2 `UNKNOWN`, 13 `INTERNAL`, 15 `DATA_LOSS` | a success; with [`server_errors`](Self::server_errors) a failure, [`Cause::ServerError`] |
/// | 14 or 8 `RESOURCE_EXHAUSTED` with `grpc-retry-pushback-ms` | [`Outcome::RateLimited`] |
/// | 8 without, 1 `CANCELLED` | nothing |
/// | any other | a success |
/// | none, or what is no number | a failure, [`Cause::Reset`] |
///
/// A head that is not 200 is judged as [`HttpStatus`] does. For weights see there, too.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcStatus {
    http: HttpStatus,
}

impl GrpcStatus {
    /// What says that the server cannot serve counts, other errors do not.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `UNKNOWN`, `INTERNAL` and `DATA_LOSS` count as failures as well, and 5xx as
    /// [`HttpStatus::server_errors`] does.
    #[must_use]
    pub fn server_errors(self) -> Self {
        let http = self.http.server_errors();
        Self { http }
    }

    /// As [`HttpStatus::most_retry_after`].
    #[must_use]
    pub fn most_retry_after(self, time: Duration) -> Self {
        let http = self.http.most_retry_after(time);
        Self { http }
    }

    /// What trailers, or a head that stands for them, say of the server; `None` if they have no
    /// status.
    #[must_use]
    pub fn outcome(&self, trailers: &HeaderMap) -> Option<Outcome> {
        let wait = number(trailers, &GRPC_RETRY_PUSHBACK).map(|millis| {
            let retry_after = Duration::from_millis(millis).min(self.http.most_retry_after);
            Outcome::RateLimited { retry_after }
        });
        Some(match number(trailers, &GRPC_STATUS)? {
            1 => Outcome::Cancelled,
            4 => Outcome::Failed(Cause::Slow),
            8 => wait.unwrap_or(Outcome::Cancelled),
            14 => wait.unwrap_or(Outcome::Failed(Cause::BadGateway)),
            2 | 13 | 15 if self.http.counts_server_errors => Outcome::Failed(Cause::ServerError),
            _ => Outcome::Success,
        })
    }
}

impl<B: Body> Classify<Response<B>> for GrpcStatus {
    type Answer = Response<Watched<B>>;

    fn answered(&self, response: Response<B>, call: Call) -> Response<Watched<B>> {
        if response.status() != StatusCode::OK {
            return self.http.answered(response, call);
        }
        match self.outcome(response.headers()) {
            // A head without a body, which is its trailers (the protocol's "Trailers-Only").
            Some(outcome) => response.map(|body| {
                call.end(outcome);
                Watched::unwatched(body)
            }),
            None => {
                response.map(|body| watched(body, call, Outcome::Success, Trailers::Judged(*self)))
            }
        }
    }
}

/// The body of an answer whose head says `outcome`.
fn watched<B: Body>(body: B, call: Call, outcome: Outcome, trailers: Trailers) -> Watched<B> {
    match outcome {
        Outcome::Success => Watched::new(body, call, trailers),
        outcome => {
            call.end(outcome);
            Watched::unwatched(body)
        }
    }
}

/// How long a server wants to be left alone: seconds, or a date, counted from the answer's own.
/// This host's wall clock is not asked, as the two need not agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    if let Some(seconds) = number(headers, &RETRY_AFTER) {
        return Some(Duration::from_secs(seconds));
    }
    let date = |name| httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok();
    let wait = date(RETRY_AFTER)?.duration_since(date(DATE)?);
    Some(wait.unwrap_or_default())
}

/// Digits alone, as the two specifications have it.
fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const MOST_RETRY_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: Outcome = Outcome::Failed(Cause::BadGateway);
    const SERVER: Outcome = Outcome::Failed(Cause::ServerError);

    fn set_aside(seconds: u64) -> Outcome {
        Outcome::RateLimited {
            retry_after: Duration::from_secs(seconds),
        }
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        fields.collect()
    }

    fn http(judge: HttpStatus, status: u16, fields: &[(&'static str, &str)]) -> Outcome {
        judge.outcome(StatusCode::from_u16(status).unwrap(), &headers(fields))
    }

    #[test]
    fn statuses_of_gateways_are_failures_and_the_rest_as_told() {
        let (mild, strict) = (HttpStatus::new(), HttpStatus::new().server_errors());
        for (status, by_mild, by_strict) in [
            (200, Outcome::Success, Outcome::Success),
            (304, Outcome::Success, Outcome::Success),
            (404, Outcome::Success, Outcome::Success),
            (429, Outcome::Cancelled, Outcome::Cancelled),
            (500, Outcome::Success, SERVER),
            (501, Outcome::Success, Outcome::Success),
            (502, GATEWAY, GATEWAY),
            (503, GATEWAY, GATEWAY),
            (504, GATEWAY, GATEWAY),
            (505, Outcome::Success, Outcome::Success),
            (507, Outcome::Success, SERVER),
            (599, Outcome::Success, SERVER),
        ] {
            assert_eq!(http(mild, status, &[]), by_mild, "{status}");
            assert_eq!(http(strict, status, &[]), by_strict, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_has_a_limit() {
        let judge = HttpStatus::new();
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let until = |value| [("retry-after", value), date];
        for (value, outcome) in [
            ("0", set_aside(0)),
            ("7", set_aside(7)),
            ("60", set_aside(60)),
            ("61", set_aside(60)),
            ("99999999999999999999999", set_aside(60)),
            ("Sun, 06 Nov 1994 08:49:57 GMT", set_aside(20)),
            ("Sun, 06 Nov 1994 09:49:37 GMT", set_aside(60)),
            ("Sun, 06 Nov 1994 08:49:30 GMT", set_aside(0)),
            ("+7", Outcome::Cancelled),
            ("", Outcome::Cancelled),
            ("soon", Outcome::Cancelled),
        ] {
            assert_eq!(http(judge, 429, &until(value)), outcome, "{value:?}");
        }
        assert_eq!(http(judge, 503, &[("retry-after", "7")]), set_aside(7));
        assert_eq!(http(judge, 503, &[("retry-after", "soon")]), GATEWAY);
        assert_eq!(http(judge, 200, &[("retry-after", "7")]), Outcome::Success);
        let undated = [("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT")];
        assert_eq!(http(judge, 429, &undated), Outcome::Cancelled);
        let patient = judge.most_retry_after(Duration::from_secs(3600));
        assert_eq!(http(patient, 429, &[("retry-after", "61")]), set_aside(61));
    }

    #[test]
    fn codes_of_grpc_are_judged_by_whom_they_blame() {
        let (mild, strict) = (GrpcStatus::new(), GrpcStatus::new().server_errors());
        for code in 0..=17u8 {
            let text = code.to_string();
            let trailers = headers(&[("grpc-status", &text)]);
            let (by_mild, by_strict) = match code {
                1 | 8 => (Outcome::Cancelled, Outcome::Cancelled),
                2 | 13 | 15 => (Outcome::Success, SERVER),
                4 => [Outcome::Failed(Cause::Slow); 2].into(),
                14 => (GATEWAY, GATEWAY),
                _ => (Outcome::Success, Outcome::Success),
            };
            assert_eq!(mild.outcome(&trailers), Some(by_mild), "{code}");
            assert_eq!(strict.outcome(&trailers), Some(by_strict), "{code}");
        }
        for text in ["", "-1", "ok", "1.0"] {
            let trailers = headers(&[("grpc-status", text)]);
            assert_eq!(mild.outcome(&trailers), None, "{text:?}");
        }
        assert_eq!(mild.outcome(&HeaderMap::new()), None);
    }

    #[test]
    fn a_pushback_sets_aside() {
        let pushed = |code, millis| {
            let fields = [("grpc-status", code), ("grpc-retry-pushback-ms", millis)];
            GrpcStatus::new().outcome(&headers(&fields)).unwrap()
        };
        for code in ["8", "14"] {
            assert_eq!(pushed(code, "2000"), set_aside(2), "{code}");
            assert_eq!(pushed(code, "70000"), set_aside(60), "{code}");
        }
        // "Do not retry": no time.
        assert_eq!(pushed("8", "-1"), Outcome::Cancelled);
        assert_eq!(pushed("14", "-1"), GATEWAY);
        assert_eq!(pushed("0", "2000"), Outcome::Success);
    }
}
