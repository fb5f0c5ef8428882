//! What the end of a call says of the peer.

use std::error::Error;
use std::io;

use super::{Call, Denied};
use crate::outcome::{Cause, Outcome};

/// Says what the answers and errors of a service mean for the peer that was called.
///
/// Implemented for functions `Fn(Result<&A, &(dyn Error + 'static)>) -> Outcome`, which is enough
/// where an answer is whole when it comes.
///
/// # Examples
///
/// ```
/// use std::error::Error;
///
/// use risefall::tower::{HealthLayer, outcome_of};
/// use risefall::{Cause, Outcome, Policy, Registry};
///
/// let registry = Registry::new(Policy::default());
/// let endpoint = registry.endpoint("192.0.2.7:443".parse().unwrap());
/// let layer = HealthLayer::new(endpoint).classify(
///     |result: Result<&String, &(dyn Error + 'static)>| match result {
///         Ok(answer) if answer == "overloaded" => Outcome::Failed(Cause::Reported),
///         Ok(_) => Outcome::Success,
///         Err(error) => outcome_of(error),
///     },
/// );
/// # let _ = layer;
/// ```
pub trait Classify<A> {
    /// What the caller is given: the answer as it is, or one that is watched to its end.
    type Answer;

    /// The service answered: ends the call, or has somebody do so who sees more of the answer.
    fn answered(&self, answer: A, call: Call) -> Self::Answer;

    /// What an error of the service says. Default: [`outcome_of`].
    fn failed(&self, error: &(dyn Error + 'static)) -> Outcome {
        outcome_of(error)
    }
}

impl<A, F> Classify<A> for F
where
    F: Fn(Result<&A, &(dyn Error + 'static)>) -> Outcome,
{
    type Answer = A;

    fn answered(&self, answer: A, call: Call) -> A {
        call.end(self(Ok(&answer)));
        answer
    }

    fn failed(&self, error: &(dyn Error + 'static)) -> Outcome {
        self(Err(error))
    }
}

/// Every answer is a success, and errors are judged by [`outcome_of`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ByError;

impl<A> Classify<A> for ByError {
    type Answer = A;

    fn answered(&self, answer: A, call: Call) -> A {
        call.end(Outcome::Success);
        answer
    }
}

/// What an error says of the peer, as far as it or one of its sources is known here.
///
/// | in the chain | outcome |
/// |---|---|
/// | a [`Denied`], or a `ConnectError`: a registry has been told already | nothing |
/// | an [`io::Error`] that is the peer's: refused, reset, timed out, unreachable, broken off | a failure |
/// | tokio's `Elapsed` (feature `tokio`) | timed out |
/// | hyper's error (feature `hyper-util`): the caller's doing, or cancelled | nothing |
/// | hyper's error: any other | timed out, malformed (what is no HTTP/1), or reset |
/// | nothing of all that | [`Outcome::LocalFault`]: what is not known to be the peer's blames nobody |
#[must_use]
pub fn outcome_of(error: &(dyn Error + 'static)) -> Outcome {
    known(error).unwrap_or(Outcome::LocalFault)
}

/// The same; `None` if it is not known.
pub(super) fn known(error: &(dyn Error + 'static)) -> Option<Outcome> {
    let mut best = None;
    for error in chain(error) {
        match said_by(error) {
            Said::All(outcome) => return Some(outcome),
            Said::Something(outcome) => best = Some(outcome),
            Said::Nothing => {}
        }
    }
    best
}

/// What one link of a chain says.
enum Said {
    /// Whatever it was caused by.
    All(Outcome),
    /// Unless a cause of it says more.
    Something(Outcome),
    Nothing,
}

fn said_by(error: &(dyn Error + 'static)) -> Said {
    if error.is::<Denied>() {
        return Said::All(Outcome::Cancelled);
    }
    #[cfg(feature = "tokio")]
    {
        if error.is::<crate::ConnectError>() {
            return Said::All(Outcome::Cancelled);
        }
        if error.is::<tokio::time::error::Elapsed>() {
            return Said::Something(Outcome::Failed(Cause::TimedOut));
        }
    }
    #[cfg(feature = "hyper-util")]
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return said_by_hyper(error);
    }
    match error.downcast_ref::<io::Error>().and_then(cause_of) {
        Some(cause) => Said::Something(Outcome::Failed(cause)),
        None => Said::Nothing,
    }
}

#[cfg(feature = "hyper-util")]
fn said_by_hyper(error: &hyper::Error) -> Said {
    if error.is_user() || error.is_body_write_aborted() {
        Said::All(Outcome::LocalFault)
    } else if error.is_canceled() || error.is_closed() {
        Said::All(Outcome::Cancelled)
    } else if error.is_timeout() {
        Said::Something(Outcome::Failed(Cause::TimedOut))
    } else if error.is_parse() || is_unreadable(error) {
        Said::Something(Outcome::Failed(Cause::Malformed))
    } else {
        Said::Something(Outcome::Failed(Cause::Reset))
    }
}

/// Whether it is of a body whose chunks cannot be read.
#[cfg(feature = "hyper-util")]
fn is_unreadable(error: &hyper::Error) -> bool {
    let source = Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| error.kind() == io::ErrorKind::InvalidInput)
}

/// As [`Cause::of`], of a connection that had been accepted.
fn cause_of(error: &io::Error) -> Option<Cause> {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => Some(Cause::Reset),
        _ => Cause::of(error),
    }
}

/// The error and its sources, outermost first.
pub(super) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| source(error))
}

/// An [`io::Error`] names what it wraps only if asked for it, and as its source what is behind that.
fn source<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(wrapper) => wrapper.get_ref().map(|inner| inner as _),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] Box<dyn Error + Send + Sync>);

    fn wrapped(error: impl Into<Box<dyn Error + Send + Sync>>) -> Wrapped {
        Wrapped(Wrapped(error.into()).into())
    }

    fn io(kind: io::ErrorKind) -> io::Error {
        kind.into()
    }

    #[test]
    fn what_is_known_of_a_chain_is_used_and_the_unknown_blames_nobody() {
        use io::ErrorKind as Kind;
        let reset = Outcome::Failed(Cause::Reset);
        for (error, outcome) in [
            (wrapped("no idea"), Outcome::LocalFault),
            (wrapped(io(Kind::OutOfMemory)), Outcome::LocalFault),
            (
                wrapped(io(Kind::ConnectionRefused)),
                Outcome::Failed(Cause::Refused),
            ),
            (
                wrapped(io(Kind::TimedOut)),
                Outcome::Failed(Cause::TimedOut),
            ),
            (wrapped(io(Kind::ConnectionReset)), reset),
            (wrapped(io(Kind::BrokenPipe)), reset),
            (wrapped(io(Kind::UnexpectedEof)), reset),
            (wrapped(io::Error::other(io(Kind::BrokenPipe))), reset),
        ] {
            assert_eq!(outcome_of(&error), outcome, "{error:?}");
        }
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn what_a_registry_has_been_told_is_not_told_again() {
        let refused = || crate::ConnectError::Resolve(io(io::ErrorKind::ConnectionRefused));
        assert_eq!(outcome_of(&wrapped(refused())), Outcome::Cancelled);
        let dropped_in = io::Error::from(refused());
        assert_eq!(dropped_in.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(outcome_of(&wrapped(dropped_in)), Outcome::Cancelled);
    }
}
