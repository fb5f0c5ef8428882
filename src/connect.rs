//! Dialling that asks the registry first and tells it every outcome.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, ToSocketAddrs, lookup_host};
use tokio::time::Instant;

use crate::error::{ConnectError, DialFailure, DialFault};
use crate::judge::Judge;
use crate::outcome::Cause;
use crate::registry::Registry;

impl Registry {
    /// Resolves `target`, skips the addresses that are down, dials the others one after another
    /// until one answers, and records every outcome.
    ///
    /// Names are resolved off the async threads, for as long as the system takes: give the whole
    /// call a deadline of your own if that may be too long. Each address is given the policy's
    /// `connect_timeout` (default 5 s). An answer is a success; refusal, reset, unreachable host
    /// and time-out are failures; what is this host's own fault (no route, out of files, buffers
    /// or ports) blames nobody.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], with the cause of each address. When all are down it returns at once.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the dial. If it had been silent for `stall_after` (default
    /// 1 s) that is recorded as a failure; sooner, nothing is recorded.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn dial() -> Result<(), risefall::ConnectError> {
    /// let registry = risefall::Registry::new(risefall::Policy::default());
    /// let stream = registry.connect("example.org:80").await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect<A: ToSocketAddrs>(&self, target: A) -> Result<TcpStream, ConnectError> {
        self.connect_timeout(target, self.policy().connect_timeout())
            .await
    }

    /// As [`connect`](Self::connect), dialling each address no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_timeout<A: ToSocketAddrs>(
        &self,
        target: A,
        timeout: Duration,
    ) -> Result<TcpStream, ConnectError> {
        let addresses: Vec<_> = lookup_host(target)
            .await
            .map_err(ConnectError::Resolve)?
            .collect();
        connect_timeout(self, &addresses, timeout)
            .await
            .map(|(stream, _)| stream)
    }
}

/// Dials the first of `addresses` that is up and answers, and says which that was.
///
/// # Errors
///
/// As [`Registry::connect`].
///
/// # Cancel safety
///
/// As [`Registry::connect`].
pub async fn connect(
    judge: &dyn Judge,
    addresses: &[SocketAddr],
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    connect_timeout(judge, addresses, judge.policy().connect_timeout()).await
}

/// As [`connect`], dialling each address no longer than `timeout`.
///
/// # Errors
///
/// As [`Registry::connect`].
///
/// # Cancel safety
///
/// As [`Registry::connect`].
pub async fn connect_timeout(
    judge: &dyn Judge,
    addresses: &[SocketAddr],
    timeout: Duration,
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let mut attempts = Vec::new();
    for &address in addresses {
        let fault = if judge.is_fall_down(&address) {
            DialFault::Down(judge.status(&address))
        } else {
            match dial(judge, address, timeout).await {
                Ok(stream) => return Ok((stream, address)),
                Err(fault) => fault,
            }
        };
        attempts.push(DialFailure { address, fault });
    }
    Err(failed(attempts))
}

async fn dial(
    judge: &dyn Judge,
    address: SocketAddr,
    timeout: Duration,
) -> Result<TcpStream, DialFault> {
    let attempt = Attempt {
        judge,
        address,
        began: Instant::now(),
    };
    let answer = tokio::time::timeout(timeout, TcpStream::connect(address)).await;
    match answer.map(|answer| answer.and_then(not_ourselves)) {
        Ok(Ok(stream)) => {
            attempt.settle(|attempt| judge.record_success(attempt.address));
            Ok(stream)
        }
        Ok(Err(error)) => {
            attempt.settle(|attempt| {
                if let Some(cause) = Cause::of(&error) {
                    judge.record_failure(attempt.address, cause);
                }
            });
            Err(DialFault::Io(error))
        }
        Err(_) => {
            attempt.settle(|attempt| judge.record_failure(attempt.address, Cause::TimedOut));
            Err(DialFault::TimedOut(timeout))
        }
    }
}

/// A dial on its way. Dropped unsettled, the caller has given up on it.
struct Attempt<'a> {
    judge: &'a dyn Judge,
    address: SocketAddr,
    began: Instant,
}

impl Attempt<'_> {
    fn settle(self, record: impl FnOnce(&Self)) {
        record(&self);
        std::mem::forget(self);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.began.elapsed() >= self.judge.policy().stall_after() {
            self.judge.record_failure(self.address, Cause::Stalled);
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

fn failed(attempts: Vec<DialFailure>) -> ConnectError {
    let down = attempts.iter().map(|attempt| match &attempt.fault {
        DialFault::Down(status) => Some(*status),
        _ => None,
    });
    match down.collect::<Option<Vec<_>>>() {
        Some(addresses) if addresses.is_empty() => ConnectError::NoAddress,
        Some(addresses) => ConnectError::FallDown { addresses },
        None => ConnectError::Unreachable { attempts },
    }
}
