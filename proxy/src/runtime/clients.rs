//! How many connections each client has, over all workers.
//!
//! Asked only where there is a bound on it, because it is shared: a shard's lock for each
//! connection's beginning and end.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use dashmap::DashMap;

/// Who has how many.
#[derive(Debug, Default)]
pub(super) struct Clients(DashMap<IpAddr, usize>);

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    clients: Arc<Clients>,
    client: IpAddr,
}

impl Clients {
    /// Counts one more connection of `ip`, unless there are `most` already.
    pub(super) fn enter(self: &Arc<Self>, ip: IpAddr, most: usize) -> Option<Counted> {
        let client = one_of(ip);
        let mut count = self.0.entry(client).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Counted {
            clients: Arc::clone(self),
            client,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.clients.0.remove_if_mut(&self.client, |_, count| {
            *count = count.saturating_sub(1);
            *count == 0
        });
    }
}

/// A household has a /64 of IPv6, and one address of IPv4.
fn one_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let network = ip.to_bits() & (u128::MAX << 64);
            Ipv6Addr::from_bits(network).into()
        }
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_and_what_ends_makes_room() {
        let clients = Arc::new(Clients::default());
        let ip = "192.0.2.1".parse().unwrap();
        let first = clients.enter(ip, 2).unwrap();
        let _second = clients
            .enter("::ffff:192.0.2.1".parse().unwrap(), 2)
            .unwrap();
        assert!(clients.enter(ip, 2).is_none());
        assert!(clients.enter("192.0.2.2".parse().unwrap(), 2).is_some());
        drop(first);
        assert!(clients.enter(ip, 2).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_nobody_is_remembered() {
        let clients = Arc::new(Clients::default());
        let one = clients.enter("2001:db8::1".parse().unwrap(), 1).unwrap();
        assert!(
            clients
                .enter("2001:db8::ffff:2".parse().unwrap(), 1)
                .is_none()
        );
        assert!(
            clients
                .enter("2001:db8:0:1::1".parse().unwrap(), 1)
                .is_some()
        );
        drop(one);
        assert!(clients.0.is_empty());
    }
}
