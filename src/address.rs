//! An address as the registry knows it: canonical, packed into three words, hashed with a key.
//!
//! Two spellings of one destination are one address. An IPv4-mapped IPv6 address dials the IPv4
//! host, so it *is* that IPv4 address; the flow label does not choose a host and is dropped; the
//! scope does (`fe80::1%2` and `fe80::1%3` are different hosts) and is kept.

#[cfg(not(any(risefall_loom, risefall_shuttle)))]
use std::hash::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// A canonical address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Key {
    /// The upper half of the IPv6 address; zero for IPv4.
    pub(crate) high: u64,
    /// The lower half; for IPv4 the mapped form.
    pub(crate) low: u64,
    /// Scope in bits 16-47, port in bits 0-15.
    pub(crate) place: u64,
}

/// How many low bits of `Key::place` are in use; a record keeps its incarnation above them.
pub(crate) const PLACE_BITS: u32 = 48;

impl Key {
    #[inline]
    pub(crate) fn of(address: &SocketAddr) -> Self {
        let place = u64::from(address.port());
        match address {
            SocketAddr::V4(v4) => Self {
                high: 0,
                low: MAPPED | u64::from(u32::from(*v4.ip())),
                place,
            },
            SocketAddr::V6(v6) => {
                let bits = u128::from(*v6.ip());
                let (high, low) = ((bits >> 64) as u64, bits as u64);
                let mapped = high == 0 && low >> 32 == MAPPED >> 32;
                let scope = if mapped { 0 } else { u64::from(v6.scope_id()) };
                Self {
                    high,
                    low,
                    place: scope << 16 | place,
                }
            }
        }
    }

    pub(crate) fn address(self) -> SocketAddr {
        let port = self.place as u16;
        let ip = Ipv6Addr::from(u128::from(self.high) << 64 | u128::from(self.low));
        match ip.to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), port),
            None => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, (self.place >> 16) as u32)),
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.high);
        state.write_u64(self.low);
        state.write_u64(self.place);
    }
}

/// A keyed hash of addresses: clients choose them, so they must not be able to choose collisions.
///
/// Three folded multiplications at most; the key comes from the operating system's randomness, once per
/// registry. It is not a cryptographic hash: it keeps an outsider, who sees neither key nor
/// order, from filling one bucket on purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddressHash {
    seeds: [u64; 3],
}

impl AddressHash {
    /// Under a model checker every run must be the same.
    #[cfg(any(risefall_loom, risefall_shuttle))]
    pub(crate) fn random() -> Self {
        Self::keyed(FIXED)
    }

    #[cfg(not(any(risefall_loom, risefall_shuttle)))]
    pub(crate) fn random() -> Self {
        let state = RandomState::new();
        Self::keyed([0u64, 1, 2].map(|n| state.hash_one(n)))
    }

    /// The same for the same seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::keyed([1u64, 2, 3].map(|n| mixed(seed.wrapping_add(n.wrapping_mul(GOLDEN)))))
    }

    pub(crate) fn keyed(seeds: [u64; 3]) -> Self {
        Self { seeds }
    }

    #[inline]
    pub(crate) fn of(&self, key: Key) -> u64 {
        let [a, b, c] = self.seeds;
        let near = fold(key.low ^ a, key.place ^ b);
        // IPv4 needs no second round: all that tells it apart is in these two words.
        if key.high == 0 {
            fold(near, c | 1)
        } else {
            fold(near ^ key.high, c | 1)
        }
    }
}

/// Spreads the bits of a number (the finalizer of `SplitMix64`).
fn mixed(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The 128-bit product, folded: every bit of either factor reaches the whole result.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// Lets the ledger's map use the same hash.
impl BuildHasher for AddressHash {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher {
            hash: *self,
            words: [0; 3],
            count: 0,
        }
    }
}

/// Takes the three words of a [`Key`].
#[derive(Debug)]
pub(crate) struct KeyHasher {
    hash: AddressHash,
    words: [u64; 3],
    count: usize,
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        if let Some(place) = self.words.get_mut(self.count) {
            *place = word;
            self.count += 1;
        }
    }

    fn finish(&self) -> u64 {
        let [high, low, place] = self.words;
        self.hash.of(Key { high, low, place })
    }
}

/// Seeds for tests that need the same buckets in every run.
#[cfg(any(test, risefall_loom, risefall_shuttle))]
const FIXED: [u64; 3] = [
    0x9e37_79b9_7f4a_7c15,
    0xd1b5_4a32_d192_ed03,
    0x8cb9_2ba7_2f3d_8dd7,
];

/// The step of `SplitMix64`.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// `::ffff:0:0/96`, its lower half.
const MAPPED: u64 = 0xffff_0000_0000;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::of(&text.parse().unwrap())
    }

    #[test]
    fn an_ipv4_mapped_address_is_the_ipv4_address() {
        assert_eq!(key("[::ffff:192.0.2.1]:80"), key("192.0.2.1:80"));
        assert_eq!(
            key("[::ffff:192.0.2.1]:80").address(),
            "192.0.2.1:80".parse().unwrap()
        );
        assert_ne!(key("[::192.0.2.1]:80"), key("192.0.2.1:80"));
    }

    #[test]
    fn the_scope_tells_link_local_hosts_apart_and_the_flow_label_does_not() {
        let ip = "fe80::1".parse().unwrap();
        let at = |flow, scope| Key::of(&SocketAddr::V6(SocketAddrV6::new(ip, 80, flow, scope)));
        assert_ne!(at(0, 2), at(0, 3));
        assert_eq!(at(0, 2), at(7, 2));
        assert_eq!(
            at(7, u32::MAX).address(),
            SocketAddrV6::new(ip, 80, 0, u32::MAX).into()
        );
    }

    #[test]
    fn addresses_survive_packing() {
        for text in [
            "0.0.0.0:0",
            "255.255.255.255:65535",
            "[::]:1",
            "[2001:db8::7]:443",
        ] {
            assert_eq!(key(text).address().to_string(), text);
        }
    }

    #[test]
    fn neighbouring_addresses_spread_over_the_buckets() {
        let hash = AddressHash::keyed(FIXED);
        for bits in [52, 57, 60] {
            let mut buckets = std::collections::HashMap::new();
            let count = 1 << (64 - bits);
            for host in 0..count * 4 {
                let ip = std::net::Ipv4Addr::from(0x0a00_0000 + host);
                let bucket = hash.of(Key::of(&SocketAddr::new(ip.into(), 80))) >> bits;
                *buckets.entry(bucket).or_insert(0u32) += 1;
            }
            let fullest = buckets.values().max().copied().unwrap();
            assert!(
                fullest <= 24,
                "{fullest} of {} in one bucket of {count}",
                count * 4
            );
        }
    }
}
