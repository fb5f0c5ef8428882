//! Dialling that asks the registry first and tells it every outcome: Happy Eyeballs (RFC 8305)
//! that knows health.
//!
//! `order.rs` says which addresses are dialled and in which order, `race.rs` runs them against each
//! other, `flight.rs` is one dial and what it tells, `dial.rs` how its stream is opened. Here is the
//! public door.

mod dial;
mod flight;
mod order;
mod race;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, ToSocketAddrs, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::error::ConnectError;
use crate::judge::Judge;
use crate::policy::Policy;
use crate::registry::Registry;
use crate::resolve::{Resolve, SystemResolver};

pub use self::dial::{Dial, DialEnd, TcpDialler};
pub use self::race::Won;

/// How long a dial may take and what it may risk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) connect_timeout: Duration,
    pub(crate) dial_timeout: Duration,
    pub(crate) fail_open: bool,
    pub(crate) keeps_order: bool,
}

impl Options {
    fn of(policy: &Policy) -> Self {
        Self {
            connect_timeout: policy.connect_timeout(),
            dial_timeout: policy.dial_timeout(),
            fail_open: policy.fail_open(),
            keeps_order: false,
        }
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.dial_timeout)
            .unwrap_or_else(|| now + NEVER)
    }
}

impl Registry {
    /// Resolves `target`, skips the addresses that are down, races the others as RFC 8305 has it,
    /// and records every outcome. The first that answers wins.
    ///
    /// - **Order**: up before suspect, families interleaved (§4), slow ones behind; an address that
    ///   is due for a probe, or a suspect's race of the second, is dialled beside the first good
    ///   one, so that finding out costs the caller nothing. At most one such dial a call; it goes
    ///   on in a task of its own when another has won.
    /// - **Pace**: the next address is dialled when one has failed, or has been silent for four
    ///   times its usual connect time: at least the policy's `suspect_after` (30 ms), at most its
    ///   `attempt_delay` (250 ms, §5). Silence makes an address suspect, if there is another.
    /// - **Limits**: each address is given the policy's `connect_timeout` (default 5 s), the whole
    ///   call its `dial_timeout` (10 s), name resolution included.
    /// - **Evidence**: an answer is a success; refusal, reset, unreachable host and time-out are
    ///   failures; what is this host's own fault (no route, out of files, buffers or ports) blames
    ///   nobody. Losers of the race blame nobody either, unless they had been silent for
    ///   `stall_after`.
    /// - When all addresses are down it fails at once, or dials the one whose turn comes first if
    ///   the policy says [`fail_open`](crate::Policy::fail_open).
    ///
    /// # Errors
    ///
    /// [`ConnectError`], with the cause of each address.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its dials. Those that had been silent for `stall_after`
    /// (default 1 s) are recorded as failures; of the others nothing is, and a probe's permit is
    /// given back.
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
        self.connect_by(target, Options::of(self.policy())).await
    }

    /// As [`connect`](Self::connect), dialling each address no longer than `timeout`, and all of
    /// them no longer than twice that if that is more than the policy's `dial_timeout`.
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
        self.connect_by(target, with_timeout(self.policy(), timeout))
            .await
    }

    /// Dials with choices of its own: resolver, dialler, timeouts, failing open.
    pub fn connector(&self) -> Connector {
        Connector {
            registry: self.clone(),
            resolver: SystemResolver,
            dialler: TcpDialler::new(),
            options: Options::of(self.policy()),
        }
    }

    async fn connect_by<A: ToSocketAddrs>(
        &self,
        target: A,
        options: Options,
    ) -> Result<TcpStream, ConnectError> {
        let deadline = options.deadline();
        let addresses: Vec<_> = timeout_at(deadline, lookup_host(target))
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(ConnectError::Resolve)?
            .collect();
        let won = race::connect(self, &TcpDialler::new(), &addresses, &options, deadline).await;
        won.map(|won| won.stream)
    }
}

/// Dials by a registry, with choices of its own. From [`Registry::connector`].
#[derive(Clone, Debug)]
#[must_use = "call `connect` to dial"]
pub struct Connector<R = SystemResolver, D = TcpDialler> {
    registry: Registry,
    resolver: R,
    dialler: D,
    options: Options,
}

impl<R: Resolve, D: Dial + Clone + 'static> Connector<R, D> {
    /// Looks names up there. Default: [`SystemResolver`].
    pub fn resolver<S: Resolve>(self, resolver: S) -> Connector<S, D> {
        let Self {
            registry,
            dialler,
            options,
            ..
        } = self;
        Connector {
            registry,
            resolver,
            dialler,
            options,
        }
    }

    /// Opens streams by that. Default: [`TcpDialler`].
    ///
    /// It is cloned for a dial that goes on when another has won.
    pub fn dialler<E: Dial + Clone + 'static>(self, dialler: E) -> Connector<R, E> {
        let Self {
            registry,
            resolver,
            options,
            ..
        } = self;
        Connector {
            registry,
            resolver,
            dialler,
            options,
        }
    }

    /// How long one address is dialled. Default: the policy's.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.options.connect_timeout = time;
        self
    }

    /// How long one call may take, name resolution included. Default: the policy's.
    pub fn dial_timeout(mut self, time: Duration) -> Self {
        self.options.dial_timeout = time;
        self
    }

    /// Whether the address whose turn comes first is dialled when all are down; never one that an
    /// operator took out. Default: the policy's.
    pub fn fail_open(mut self, fail_open: bool) -> Self {
        self.options.fail_open = fail_open;
        self
    }

    /// Resolves `host`, unless it is an IP address, and dials, as [`Registry::connect`] does.
    ///
    /// # Errors
    ///
    /// As [`Registry::connect`].
    ///
    /// # Cancel safety
    ///
    /// As [`Registry::connect`].
    pub async fn connect(&self, host: &str, port: u16) -> Result<D::Stream, ConnectError> {
        let deadline = self.options.deadline();
        let addresses = match host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => timeout_at(deadline, self.resolver.resolve(host, port))
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
                .map_err(ConnectError::Resolve)?,
        };
        let won = race::connect(
            &self.registry,
            &self.dialler,
            &addresses,
            &self.options,
            deadline,
        )
        .await;
        won.map(|won| won.stream)
    }

    /// Dials addresses that are known already, best first, and says which answered.
    ///
    /// # Errors
    ///
    /// As [`Registry::connect`].
    ///
    /// # Cancel safety
    ///
    /// As [`Registry::connect`].
    pub async fn connect_to(
        &self,
        addresses: &[SocketAddr],
    ) -> Result<(D::Stream, SocketAddr), ConnectError> {
        let deadline = self.options.deadline();
        let won = race::connect(
            &self.registry,
            &self.dialler,
            addresses,
            &self.options,
            deadline,
        )
        .await?;
        Ok((won.stream, won.address))
    }
}

/// Dials the addresses by `dialler` as [`Registry::connect`] does, and says which answered.
///
/// # Errors
///
/// As [`Registry::connect`].
///
/// # Cancel safety
///
/// As [`Registry::connect`].
pub async fn connect<J: Judge + Clone + 'static, D: Dial + Clone + 'static>(
    judge: &J,
    dialler: &D,
    addresses: &[SocketAddr],
) -> Result<Won<D::Stream>, ConnectError> {
    let options = Options::of(judge.policy());
    race::connect(judge, dialler, addresses, &options, options.deadline()).await
}

/// The same for addresses whose order is a choice already, a balancer's, which preferences of ours
/// must not undo: neither families nor times change it. A suspect is still dialled behind the others.
///
/// # Errors
///
/// As [`Registry::connect`].
///
/// # Cancel safety
///
/// As [`Registry::connect`].
pub async fn connect_in_order<J: Judge + Clone + 'static, D: Dial + Clone + 'static>(
    judge: &J,
    dialler: &D,
    addresses: &[SocketAddr],
) -> Result<Won<D::Stream>, ConnectError> {
    let options = Options {
        keeps_order: true,
        ..Options::of(judge.policy())
    };
    race::connect(judge, dialler, addresses, &options, options.deadline()).await
}

fn with_timeout(policy: &Policy, timeout: Duration) -> Options {
    Options {
        connect_timeout: timeout,
        dial_timeout: policy.dial_timeout().max(timeout.saturating_mul(2)),
        ..Options::of(policy)
    }
}

/// As good as no deadline: 30 years.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
