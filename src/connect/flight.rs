//! One dial, and what it tells of the address.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::admit::Permit;
use crate::error::DialFault;
use crate::judge::{Judge, Ticket};
use crate::outcome::{Cause, Outcome};

/// How a stream is opened. Tests have their own way.
pub(crate) trait Open: Sync {
    type Stream: Send + 'static;

    fn open(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send + 'static;
}

/// TCP of the operating system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tcp;

impl Open for Tcp {
    type Stream = TcpStream;

    #[expect(
        clippy::manual_async_fn,
        reason = "the future must not borrow the opener"
    )]
    fn open(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<TcpStream>> + Send + 'static {
        async move { not_ourselves(TcpStream::connect(address).await?) }
    }
}

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
pub(crate) async fn fly<J: Judge, S>(
    judge: J,
    open: impl Future<Output = io::Result<S>>,
    address: SocketAddr,
    right: Right,
    timeout: Duration,
) -> Result<S, DialFault> {
    let mut mark = Mark {
        judge,
        address,
        began: Instant::now(),
        right: Some(right),
    };
    match tokio::time::timeout(timeout, open).await {
        Ok(Ok(stream)) => {
            mark.tell(Outcome::Success);
            Ok(stream)
        }
        Ok(Err(error)) => {
            mark.tell(Outcome::of(&error));
            Err(DialFault::Io(error))
        }
        Err(_) => {
            mark.tell(Outcome::Failed(Cause::TimedOut));
            Err(DialFault::TimedOut(timeout))
        }
    }
}

/// Refuses a stream that is connected to itself.
///
/// TCP's simultaneous open lets a dial to a closed port of this host succeed when the system picks
/// that very port as the source: an answer from nobody. A peer that has gone again before it could
/// be looked at has reset the connection.
fn not_ourselves(stream: TcpStream) -> io::Result<TcpStream> {
    let peer = stream.peer_addr().map_err(|error| match error.kind() {
        io::ErrorKind::NotConnected => io::ErrorKind::ConnectionReset.into(),
        _ => error,
    })?;
    if peer.ip().is_loopback() && stream.local_addr()? == peer {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}
