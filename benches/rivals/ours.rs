//! This crate's registry, asked by address. Its handles are asked by the benches themselves: a
//! handle knows its address.

use std::net::SocketAddr;

use risefall::Registry;

use super::Contender;

impl Contender for Registry {
    const NAME: &str = "risefall";

    fn fresh(capacity: usize) -> Self {
        Registry::builder().capacity(capacity).build()
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
