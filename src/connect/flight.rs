//! One dial, and what it tells of the address.

use std::borrow::Borrow;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::dial::Dial;
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
struct Mark<J: Judge> {
    judge: J,
    address: SocketAddr,
    began: Instant,
    /// `None` once told.
    right: Option<Right>,
}

impl<J: Judge> Mark<J> {
    fn tell(&mut self, outcome: Outcome) {
        match self.right.take() {
            Some(Right::Attempt(ticket)) => {
                let took = self.began.elapsed();
                self.judge.end(self.address, ticket, outcome, took);
            }
            Some(Right::Probe(permit)) => permit.end(outcome),
            None => {}
        }
    }
}

impl<J: Judge> Drop for Mark<J> {
    fn drop(&mut self) {
        // A permit's own drop decides.
        if let Some(Right::Attempt(_)) = self.right
            && self.began.elapsed() >= self.judge.policy().stall_after()
        {
            self.tell(Outcome::Failed(Cause::Stalled));
        }
    }
}

/// Dials the address for `timeout` at most and tells how that went.
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
) -> Result<D::Stream, DialFault> {
    let dialler = dialler.borrow();
    let mut mark = Mark {
        judge,
        address,
        began: Instant::now(),
        right: Some(right),
    };
    match tokio::time::timeout(timeout, dialler.dial(address)).await {
        Ok(Ok(stream)) => {
            mark.tell(Outcome::Success);
            Ok(stream)
        }
        Ok(Err(error)) => {
            mark.tell(dialler.outcome(&error));
            Err(DialFault::Io(error))
        }
        Err(_) => {
            mark.tell(Outcome::Failed(Cause::TimedOut));
            Err(DialFault::TimedOut(timeout))
        }
    }
}
