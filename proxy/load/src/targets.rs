//! What a unit of work is sent to, and the draw that decides it.
//!
//! Bytes that never change are made here once, so that the loader spends its time waiting for the
//! proxy, not formatting.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

/// Whether a target is expected to answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Class {
    Live,
    Dead,
}

/// What passes once a target is reached.
#[derive(Clone, Debug)]
pub(crate) enum Exchange {
    Get { path: String },
    Ping { bytes: u32 },
}

/// One target and every message a unit sends on its behalf.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) class: Class,
    /// `GET http://target/path`: to a proxy that forwards requests.
    pub(crate) absolute_get: Vec<u8>,
    /// `CONNECT target`.
    pub(crate) connect: Vec<u8>,
    /// The SOCKS5 request (RFC 1928 §4), after the method was agreed.
    pub(crate) socks_request: Vec<u8>,
    pub(crate) inner: Inner,
}

/// What goes through a tunnel.
#[derive(Debug)]
pub(crate) enum Inner {
    Get(Vec<u8>),
    Ping(Vec<u8>),
}

impl Target {
    pub(crate) fn new(class: Class, address: SocketAddr, exchange: &Exchange) -> Self {
        let (path, inner) = match exchange {
            Exchange::Get { path } => (path.as_str(), Inner::Get(get(path, address))),
            // The first byte must not be a letter: the built-in origin takes letters for HTTP.
            Exchange::Ping { bytes } => ("/", Inner::Ping(vec![0; *bytes as usize])),
        };
        Self {
            class,
            absolute_get: get(&format!("http://{address}{path}"), address),
            connect: format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes(),
            socks_request: socks_request(address),
            inner,
        }
    }
}

/// Draws targets in a fixed share of live and dead, the same ones in every run.
#[derive(Clone, Debug)]
pub(crate) struct Chooser {
    live: Rc<[Rc<Target>]>,
    dead: Rc<[Rc<Target>]>,
    dead_share: u8,
    /// Never zero, where xorshift would stay for ever.
    state: u64,
}

impl Chooser {
    pub(crate) fn new(targets: Vec<Target>, dead_share: u8) -> Self {
        let (live, dead): (Vec<_>, Vec<_>) = targets
            .into_iter()
            .map(Rc::new)
            .partition(|target| target.class == Class::Live);
        Self {
            live: live.into(),
            dead: dead.into(),
            dead_share,
            state: 1,
        }
    }

    /// The same targets with a draw of its own, so that connections do not march in step.
    pub(crate) fn seeded(&self, connection: usize) -> Self {
        Self {
            state: spread(connection as u64) | 1,
            ..self.clone()
        }
    }

    /// `None` only when the class drawn has no target, which a checked plan rules out.
    pub(crate) fn draw(&mut self) -> Option<Rc<Target>> {
        let is_dead = self.next_random() % 100 < u64::from(self.dead_share);
        let pick = self.next_random();
        let from = if is_dead { &self.dead } else { &self.live };
        let at = pick.checked_rem(from.len() as u64)?;
        from.get(at as usize).cloned()
    }

    /// xorshift64* (Vigna 2016): the product's high half is the well-mixed one.
    fn next_random(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
    }
}

fn get(form: &str, host: SocketAddr) -> Vec<u8> {
    format!("GET {form} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: risefall-load\r\n\r\n").into_bytes()
}

fn socks_request(address: SocketAddr) -> Vec<u8> {
    const VERSION: u8 = 5;
    const CONNECT: u8 = 1;
    const RESERVED: u8 = 0;
    let mut bytes = vec![VERSION, CONNECT, RESERVED];
    match address.ip() {
        IpAddr::V4(ip) => {
            bytes.push(1);
            bytes.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes.push(4);
            bytes.extend(ip.octets());
        }
    }
    bytes.extend(address.port().to_be_bytes());
    bytes
}

/// splitmix64: neighbouring numbers become unrelated seeds.
fn spread(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chooser(dead_share: u8) -> Chooser {
        let target = |class, port| {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            Target::new(
                class,
                address,
                &Exchange::Get {
                    path: "/".to_owned(),
                },
            )
        };
        let targets = vec![
            target(Class::Live, 1),
            target(Class::Live, 2),
            target(Class::Dead, 3),
        ];
        Chooser::new(targets, dead_share)
    }

    #[test]
    fn the_share_of_dead_targets_is_kept() {
        for share in [0, 1, 10, 50, 100] {
            let base = chooser(share);
            let mut dead = 0;
            for connection in 0..100 {
                let mut draws = base.seeded(connection);
                for _ in 0..1000 {
                    dead += u32::from(draws.draw().unwrap().class == Class::Dead);
                }
            }
            let expected = u32::from(share) * 1000;
            assert!(
                dead.abs_diff(expected) <= 500,
                "{share} %: {dead} of 100000"
            );
        }
    }

    #[test]
    fn targets_of_one_class_are_drawn_evenly() {
        let mut draws = chooser(0).seeded(7);
        let first = draws.live.first().cloned().unwrap();
        let hits = (0..10_000)
            .filter(|_| Rc::ptr_eq(&first, &draws.draw().unwrap()))
            .count();
        assert!(hits.abs_diff(5_000) < 250, "{hits} of 10000");
    }

    #[test]
    fn the_same_connection_draws_the_same_targets() {
        let base = chooser(30);
        let classes = |connection| {
            let mut draws = base.seeded(connection);
            (0..64)
                .map(|_| draws.draw().unwrap().class)
                .collect::<Vec<_>>()
        };
        assert_eq!(classes(3), classes(3));
        assert_ne!(classes(3), classes(4));
    }

    #[test]
    fn a_class_without_targets_draws_nothing() {
        let mut draws = Chooser::new(Vec::new(), 10);
        assert!(draws.draw().is_none());
    }

    #[test]
    fn messages_name_the_target_as_their_protocol_wants() {
        let exchange = Exchange::Get {
            path: "/a".to_owned(),
        };
        let target = Target::new(Class::Live, "[::1]:80".parse().unwrap(), &exchange);
        assert!(
            target
                .absolute_get
                .starts_with(b"GET http://[::1]:80/a HTTP/1.1\r\nHost: [::1]:80\r\n")
        );
        assert!(target.connect.starts_with(b"CONNECT [::1]:80 HTTP/1.1\r\n"));
        assert_eq!(target.socks_request.len(), 4 + 16 + 2);
        let four = Target::new(Class::Dead, "127.0.0.1:258".parse().unwrap(), &exchange);
        assert_eq!(four.socks_request, [5, 1, 0, 1, 127, 0, 0, 1, 1, 2]);
    }
}
