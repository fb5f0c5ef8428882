//! The one way out: every connection that this process opens for a client is opened here.
//!
//! A dial resolves the target, judges each address by the listener's rules, and asks the health
//! registry, which dials what is not down and remembers how that went.

use std::net::SocketAddr;
use std::sync::Arc;

use risefall::judge::{self, Judge};
use tokio::net::TcpStream;

use crate::error::Fault;
use crate::net::guard::{Guard, Verdict};
use crate::net::resolve::Resolver;
use crate::proto::Target;

/// Dials for the clients of one worker.
pub struct Dialler {
    judge: Arc<dyn Judge>,
    resolver: Resolver,
}

/// An open connection.
#[derive(Debug)]
pub struct Dialled {
    /// The connection, with `TCP_NODELAY` set.
    pub stream: TcpStream,
    /// Where it leads.
    pub address: SocketAddr,
}

impl Dialler {
    /// Joins the parts of a dial.
    #[must_use]
    pub fn new(judge: Arc<dyn Judge>, resolver: Resolver) -> Self {
        Self { judge, resolver }
    }

    /// Opens a connection to `target`, as far as `guard` allows.
    ///
    /// # Errors
    ///
    /// No address of the target may be dialled, is up, and answers; the fault tells which it was.
    ///
    /// # Cancel safety
    ///
    /// A dial dropped early blames nobody; one dropped after it stalled counts as a failure of the
    /// address.
    pub async fn dial(&self, target: &Target, guard: &Guard) -> Result<Dialled, Fault> {
        let (stream, address) = match target.address() {
            Some(address) => {
                check(guard, address)?;
                judge::connect(&self.judge, &[address]).await?
            }
            None => {
                let addresses = allowed(guard, self.resolver.resolve(target).await?)?;
                judge::connect(&self.judge, &addresses).await?
            }
        };
        stream.set_nodelay(true)?;
        Ok(Dialled { stream, address })
    }
}

/// Keeps the addresses that may be dialled; when none may, tells why the first may not.
fn allowed(guard: &Guard, mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Fault> {
    let mut first = None;
    addresses.retain(|&address| match check(guard, address) {
        Ok(()) => true,
        Err(fault) => {
            first.get_or_insert(fault);
            false
        }
    });
    match first {
        Some(fault) if addresses.is_empty() => Err(fault),
        _ => Ok(addresses),
    }
}

fn check(guard: &Guard, address: SocketAddr) -> Result<(), Fault> {
    match guard.judge(address) {
        Verdict::Allowed => Ok(()),
        Verdict::Own => Err(Fault::Loop { address }),
        Verdict::Private => Err(Fault::Prohibited { address }),
    }
}
