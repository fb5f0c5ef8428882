//! One dial, and what it tells of the address.

use std::borrow::Borrow;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::dial::{Dial, DialEnd};
use crate::admit::Permit;
use crate::error::DialFault;
use crate::judge::{Judge, Ticket};
use crate::outcome::{Cause, Outcome};

/// By what right an address is dialled: what its verdict is told by.
#[derive(Debug)]
pub(crate) enum Right {
    Attempt(Ticket),
    Probe(Permit),
}

/// A dial on its way. Dropped without a verdict, the caller has given up on it: that is a failure
/// if it had been silent for `stall_after`, and says nothing sooner.
struct Mark<'a, J: Judge, D: Dial> {
    judge: J,
    dialler: &'a D,
    address: SocketAddr,
    began: Instant,
    /// When the call that it is for gives up.
    deadline: Instant,
    /// `None` once told.
    right: Option<Right>,
}

impl<J: Judge, D: Dial> Mark<'_, J, D> {
    fn tell(&mut self, outcome: Outcome, end: DialEnd<'_>) {
        match self.right.take() {
            Some(Right::Attempt(ticket)) => {
                let took = self.began.elapsed();
                self.judge.end(self.address, ticket, outcome, took);
            }
            Some(Right::Probe(permit)) => permit.end(outcome),
            None => return,
        }
        self.dialler.note_end(self.address, end);
    }
}

impl<J: Judge, D: Dial> Drop for Mark<'_, J, D> {
    fn drop(&mut self) {
        let is_stalled = self.began.elapsed() >= self.judge.policy().stall_after();
        let end = match is_stalled || Instant::now() >= self.deadline {
            true => DialEnd::Silent,
            false => DialEnd::Abandoned,
        };
        match &self.right {
            Some(Right::Attempt(_)) if is_stalled => {
                self.tell(Outcome::Failed(Cause::Stalled), end);
            }
            // Of an attempt there is nothing to tell; a permit's own drop decides.
            Some(_) => self.dialler.note_end(self.address, end),
            None => {}
        }
    }
}

/// Dials the address for `timeout` at most, for a call that gives up at `deadline`, and tells how
/// that went.
///
/// # Cancel safety
///
/// Dropping it is telling: see [`Mark`].
pub(crate) async fn fly<J: Judge, D: Dial>(
    judge: J,
    dialler: impl Borrow<D>,
    address: SocketAddr,
    right: Right,
    timeout: Duration,
    deadline: Instant,
) -> Result<D::Stream, DialFault> {
    let dialler = dialler.borrow();
    let mut mark = Mark {
        judge,
        dialler,
        address,
        began: Instant::now(),
        deadline,
        right: Some(right),
    };
    match tokio::time::timeout(timeout, dialler.dial(address)).await {
        Ok(Ok(stream)) => {
            mark.tell(Outcome::Success, DialEnd::Answered);
            Ok(stream)
        }
        Ok(Err(error)) => {
            mark.tell(dialler.outcome(&error), DialEnd::Failed(&error));
            Err(DialFault::Io(error))
        }
        Err(_) => {
            mark.tell(Outcome::Failed(Cause::TimedOut), DialEnd::Silent);
            Err(DialFault::TimedOut(timeout))
        }
    }
}
