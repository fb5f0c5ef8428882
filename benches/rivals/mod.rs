//! The contenders: this crate's registry and four other ways to remember which addresses are down.
//!
//! All keep the classic rules with the classic numbers (3 failures, 2 successes, 60 s) and know
//! nothing else. The three modern rivals share one atomic word per failing address (`entry.rs`)
//! and forget an address that has nothing against it any more, as a good engineer would write
//! them today; what differs is the map. `classic.rs` stands alone, so that other benches can
//! include it by path.
#![allow(dead_code)] // each bench uses a part

pub(crate) mod arc_swap_map;
pub(crate) mod classic;
pub(crate) mod dash_map;
pub(crate) mod entry;
pub(crate) mod ours;
pub(crate) mod papaya_map;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use risefall::Registry;

/// A registry of down addresses, asked by address.
pub(crate) trait Contender: Send + Sync {
    const NAME: &str;

    /// An empty one, for about `capacity` failing addresses where that is a setting.
    fn fresh(capacity: usize) -> Self;

    fn is_down(&self, address: &SocketAddr) -> bool;
    fn success(&self, address: SocketAddr);
    fn failure(&self, address: SocketAddr);
}

impl Contender for classic::Classic {
    const NAME: &str = "classic RwLock";

    fn fresh(_: usize) -> Self {
        Self::default()
    }

    #[inline]
    fn is_down(&self, address: &SocketAddr) -> bool {
        self.is_fall_down(address)
    }

    #[inline]
    fn success(&self, address: SocketAddr) {
        self.add_rise_up(address);
    }

    #[inline]
    fn failure(&self, address: SocketAddr) {
        self.add_fall_down(address);
    }
}

/// As after a while of traffic: every address has answered once, and `percent_down` of them have
/// then failed three times.
pub(crate) fn traffic<C: Contender>(contender: &C, addresses: &[SocketAddr], percent_down: u64) {
    for (at, &address) in (0u64..).zip(addresses) {
        contender.success(address);
        if is_chosen(at, percent_down) {
            take_down(contender, address);
        }
    }
}

pub(crate) fn take_down<C: Contender>(contender: &C, address: SocketAddr) {
    for _ in 0..3 {
        contender.failure(address);
    }
}

/// Fills the registry again and again, each time with other addresses, which then answer and are
/// evicted. Leaves chains as long as the fullest time made them, and every record vacant.
pub(crate) fn storms(registry: &Registry, capacity: u32) {
    for storm in 0..8 {
        let failing = || (0..capacity).map(|n| newcomer(0x00f0_0000 + storm * capacity + n));
        failing().for_each(|address| registry.add_fall_down(address));
        failing().for_each(|address| registry.add_rise_up(address));
        registry.sweep();
    }
}

/// Picks `percent` of all places, in no pattern that a branch predictor learns at once.
fn is_chosen(at: u64, percent: u64) -> bool {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 100 < percent
}

/// Addresses as a proxy sees them: many hosts, few ports.
pub(crate) fn ipv4(count: u32) -> Vec<SocketAddr> {
    (0..count).map(newcomer).collect()
}

pub(crate) fn ipv6(count: u32) -> Vec<SocketAddr> {
    let network = 0x2001_0db8_0000_0001_u128 << 64;
    (0..count)
        .map(|host| SocketAddr::from((Ipv6Addr::from(network | u128::from(host)), 443)))
        .collect()
}

/// The `n`th IPv4 address of 2^24.
#[inline]
pub(crate) fn newcomer(n: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(0x0a00_0000 | n & 0x00ff_ffff), 443))
}
